"""Records: one canonical byte form each, and nothing else passes for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.encoding import EncodingError, decode, encode, file_cid, node_cid
from consensus.fields import MalformedRecord, Record
from consensus.genesis import Genesis, Member, Parameters
from consensus.records import Block, Candidate, Header, ModelUpdate, Ticket, Vote, committee_digest

RECORDS: tuple[type[Record], ...] = (Genesis, ModelUpdate, Ticket, Header, Vote, Candidate, Block)

naturals = st.integers(0, 2**63 - 1)
positive = st.integers(1, 2**63 - 1)
links = st.binary(max_size=20).flatmap(
    lambda data: st.sampled_from([file_cid(data), node_cid(encode(data))])
)


def fixed(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


parameters = st.builds(
    Parameters,
    st.sampled_from(["fixed", "weighted"]),
    *[positive] * 6,
)
geneses = st.builds(
    Genesis,
    parameters,
    st.lists(
        st.builds(Member, fixed(32), fixed(32), positive),
        min_size=1,
        max_size=4,
        unique_by=(lambda member: member.signing_key, lambda member: member.vrf_key),
    ).map(tuple),
    st.lists(st.tuples(fixed(32), naturals), max_size=4, unique_by=lambda entry: entry[0]).map(
        tuple
    ),
    links,
    st.dictionaries(st.text(max_size=5), st.one_of(naturals, st.text(max_size=5), st.none())),
    naturals,
)
updates = st.builds(ModelUpdate, fixed(32), positive, links, fixed(32), naturals, links, fixed(64))
tickets = st.builds(Ticket, positive, naturals, naturals, fixed(80))
headers = st.builds(
    Header,
    fixed(32),
    positive,
    naturals,
    naturals,
    naturals,
    links,
    naturals,
    fixed(80),
    fixed(32),
    fixed(32),
    positive,
    positive,
    links,
    st.none() | links,
)
votes = st.builds(
    Vote, fixed(32), positive, naturals, naturals, links, st.booleans(), naturals, fixed(64)
)


@st.composite
def seated(draw: st.DrawFn) -> tuple[Header, tuple[Ticket, ...]]:
    header = draw(headers)
    seats = draw(st.lists(st.tuples(naturals, fixed(80)), max_size=4))
    return header, tuple(Ticket(header.height, header.attempt, *seat) for seat in seats)


candidates = st.builds(
    lambda seat, signature, listed: Candidate(seat[0], signature, seat[1], tuple(listed)),
    seated(),
    fixed(64),
    st.lists(fixed(32), max_size=4),
)
blocks = st.builds(
    lambda seat, signature, certificate: Block(seat[0], signature, seat[1], tuple(certificate)),
    seated(),
    fixed(64),
    st.lists(st.tuples(naturals, fixed(64)), max_size=4),
)
records = st.one_of(geneses, updates, tickets, headers, votes, candidates, blocks)


@settings(deadline=None)
@given(records)
def test_a_record_comes_back_from_its_bytes(record: Record) -> None:
    again = type(record).decode(record.encoded)
    assert again == record
    assert again.encoded == record.encoded == encode(record.to_node())


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a node, the root first."""
    yield path
    if isinstance(node, dict):
        for key in node:
            yield from places(node[key], (*path, key))
    elif isinstance(node, list):
        for position, value in enumerate(node):
            yield from places(value, (*path, position))


def replaced(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(node) if isinstance(node, dict) else list(node)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


odd_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.text(max_size=3),
    st.binary(max_size=100),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)


@settings(deadline=None)
@given(records, odd_values, st.data())
def test_a_mutated_node_is_refused_or_is_another_record(
    record: Record, value: Any, data: st.DataObject
) -> None:
    """Whatever `from_node` lets pass has the very bytes of the node it was given: no two nodes
    are one record (a version of True, equal to 1, once was)."""
    node = record.to_node()
    path = data.draw(st.sampled_from(list(places(node))))
    mutated = replaced(node, path, value)
    try:
        found = type(record).from_node(mutated)
    except MalformedRecord:
        return
    assert encode(found.to_node()) == encode(mutated)


@settings(deadline=None)
@given(records, st.sampled_from(RECORDS))
def test_a_record_of_one_kind_is_none_of_another(record: Record, kind: type[Record]) -> None:
    if kind is not type(record):
        with pytest.raises(MalformedRecord):
            kind.decode(record.encoded)


@settings(deadline=None)
@given(records, st.data())
def test_unknown_and_missing_fields_are_refused(record: Record, data: st.DataObject) -> None:
    node = record.to_node()
    with pytest.raises(MalformedRecord, match="surplus"):
        type(record).from_node({**node, "surplus": 1})
    missing = data.draw(st.sampled_from(sorted(node)))
    del node[missing]
    with pytest.raises(MalformedRecord, match=missing):
        type(record).from_node(node)


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(RECORDS))
def test_random_bytes_are_refused(data: bytes, kind: type[Record]) -> None:
    with pytest.raises(MalformedRecord):
        kind.decode(data)


@settings(max_examples=200, deadline=None)
@given(records, st.data())
def test_a_flipped_byte_is_refused_or_is_another_record(
    record: Record, data: st.DataObject
) -> None:
    position = data.draw(st.integers(0, len(record.encoded) - 1))
    flipped = bytearray(record.encoded)
    flipped[position] ^= data.draw(st.integers(1, 255))
    try:
        found = type(record).decode(bytes(flipped))
    except MalformedRecord:
        return
    assert found != record
    assert found.encoded == bytes(flipped)


@settings(deadline=None)
@given(updates)
def test_an_update_signs_every_field_but_the_signature(update: ModelUpdate) -> None:
    node = update.to_node()
    others: dict[str, Any] = {
        "chain_id": bytes(32),
        "height": update.height % 7 + 8,
        "parent": file_cid(b"other"),
        "client": bytes(32),
        "samples": update.samples // 2 + 3,
        "payload": file_cid(b"other"),
        "signature": bytes(64),
    }
    assert others.keys() == node.keys()
    for name, value in others.items():
        changed = ModelUpdate.from_node({**node, name: value})
        differs = name != "signature" and value != node[name]
        assert (changed.signed != update.signed) == differs


@settings(deadline=None)
@given(votes)
def test_a_vote_signs_its_slot_its_block_and_its_verdict(vote: Vote) -> None:
    node = vote.to_node()
    others: dict[str, Any] = {
        "chain_id": bytes(32),
        "height": vote.height % 7 + 8,
        "attempt": vote.attempt // 2 + 3,
        "step": vote.step // 2 + 3,
        "block": file_cid(b"other"),
        "approve": not vote.approve,
    }
    for name, value in others.items():
        changed = Vote.from_node({**node, name: value})
        assert (changed.signed != vote.signed) == (value != node[name])


def test_a_signature_for_one_kind_serves_no_other() -> None:
    """The same fields under another tag give another digest."""
    link = file_cid(b"")
    update = ModelUpdate.signing_digest(bytes(32), 1, link, bytes(32), 1, link)
    vote = Vote.signing_digest(bytes(32), 1, 0, 0, link, True)
    assert update != vote
    assert decode(encode(["bfedrec/vote", bytes(32), 1, 0, 0, link, True]))[0] == "bfedrec/vote"


@settings(deadline=None)
@given(headers, headers)
def test_a_header_is_known_by_its_bytes(one: Header, other: Header) -> None:
    assert (one.cid == other.cid) == (one.encoded == other.encoded)
    assert (one.signed == other.signed) == (one == other)


def test_the_alpha_of_a_ticket_names_chain_beacon_height_and_attempt() -> None:
    first = (bytes(32), bytes(32), 1, 0)
    others = [
        (b"\x01" * 32, bytes(32), 1, 0),
        (bytes(32), b"\x01" * 32, 1, 0),
        (bytes(32), bytes(32), 2, 0),
        (bytes(32), bytes(32), 1, 1),
    ]
    assert len({Ticket.alpha(*fields) for fields in [first, *others]}) == 5


@settings(deadline=None)
@given(tickets, fixed(48), fixed(32))
def test_a_committee_is_named_by_draws_not_by_proofs(
    ticket: Ticket, response: bytes, gamma: bytes
) -> None:
    """A key's holder can make many proofs of one draw; all name the same committee."""
    fields = (ticket.height, ticket.attempt, ticket.server)
    same = Ticket(*fields, ticket.proof[:32] + response)
    other = Ticket(*fields, gamma + ticket.proof[32:])
    assert committee_digest((same,)) == committee_digest((ticket,))
    assert (committee_digest((other,)) == committee_digest((ticket,))) == (
        gamma == ticket.proof[:32]
    )


GENESIS = Genesis(
    Parameters("fixed", 3, 2, 3, 4, 5, 6),
    tuple(Member(bytes([i] * 32), bytes([i + 9] * 32), 1) for i in range(3)),
    tuple((bytes([i + 20] * 32), i) for i in range(3)),
    file_cid(b""),
    {"items": 3},
)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("version",), 2, "version"),
        (("version",), True, "version"),
        (("servers",), [], "no servers"),
        (("servers", 0, 2), 0, "stake"),
        (("servers", 0), [bytes(32), bytes(32)], "signing key, VRF key, stake"),
        (("servers", 1, 0), bytes(32), "signing_key: stands twice"),
        (("servers", 1, 1), bytes([9] * 32), "vrf_key: stands twice"),
        (("clients", 1, 0), bytes([20] * 32), "clients.key: stands twice"),
        (("clients", 1), [bytes(32)], "pair"),
        (("application",), [], "map"),
        (("parameters", "committee"), "paper", "fixed or weighted"),
        (("parameters", "committee"), ["fixed"], "fixed or weighted"),
        (("parameters", "quota"), 0, "quota"),
        (("parameters", "max_step"), True, "max_step"),
        (("timestamp",), -1, "timestamp"),
        (("model",), bytes(36), "link"),
    ],
)
def test_a_genesis_that_is_none_is_refused(path: tuple[Any, ...], value: Any, reason: str) -> None:
    with pytest.raises(MalformedRecord, match=reason):
        Genesis.from_node(replaced(GENESIS.to_node(), path, value))


def test_a_genesis_knows_its_stake_and_its_clients() -> None:
    assert GENESIS.total_stake == 3
    assert GENESIS.registered == {bytes([i + 20] * 32): i for i in range(3)}
    assert len(GENESIS.chain_id) == 32


def test_records_are_frozen() -> None:
    with pytest.raises(AttributeError):
        GENESIS.timestamp = 1  # type: ignore[misc]


def test_what_is_no_record_says_why() -> None:
    with pytest.raises(MalformedRecord, match="expected a map, got list"):
        Vote.from_node([])
    with pytest.raises(MalformedRecord, match="vote: not DAG-CBOR"):
        Vote.decode(b"\xff")
    with pytest.raises(MalformedRecord):
        Vote.decode("text")  # type: ignore[arg-type]
    assert not issubclass(MalformedRecord, EncodingError)
