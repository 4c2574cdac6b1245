"""Records: one canonical byte form each, and nothing else passes for one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.encoding.cid import EncodingError, node_cid
from consensus.encoding.dag_cbor import decode, encode
from consensus.encoding.fields import MalformedRecord, Record
from consensus.encoding.unixfs import file_cid
from consensus.records.block import Block, Candidate, Header, Turn
from consensus.records.genesis import Genesis, Member, Parameters
from consensus.records.sync import Status, Want
from consensus.records.ticket import Ticket, tickets_digest
from consensus.records.update import UpdateRecord
from consensus.records.view import proposal_digest
from consensus.records.votes import PHASES, Certificate, Timeout, TimeoutCertificate, Vote

RECORDS: tuple[type[Record], ...] = (
    Genesis,
    UpdateRecord,
    Ticket,
    Header,
    Vote,
    Certificate,
    Timeout,
    TimeoutCertificate,
    Candidate,
    Block,
    Status,
    Want,
)

naturals = st.integers(0, 2**63 - 1)
positive = st.integers(1, 2**63 - 1)
links = st.binary(max_size=20).flatmap(
    lambda data: st.sampled_from([file_cid(data), node_cid(encode(data))])
)


def fixed(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


parameters = st.builds(
    Parameters,
    st.sampled_from(["bft", "paper", "tendermint"]),
    st.sampled_from(["real", "modelled"]),
    st.sampled_from(["fixed", "weighted"]),
    *[positive] * 6,
    naturals,
    naturals,
    positive,
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
updates = st.builds(UpdateRecord, fixed(32), positive, links, fixed(32), naturals, links, fixed(64))
tickets = st.builds(Ticket, positive, naturals, fixed(80))
headers = st.builds(
    Header,
    fixed(32),
    positive,
    naturals,
    naturals,
    naturals,
    links,
    naturals,
    fixed(32),
    fixed(32),
    positive,
    positive,
    links,
    st.none() | links,
)
votes = st.builds(
    Vote,
    fixed(32),
    positive,
    naturals,
    naturals,
    st.sampled_from(PHASES),
    links,
    naturals,
    fixed(64),
    st.just(b"") | fixed(64),
)
certificates = st.builds(
    Certificate,
    positive,
    naturals,
    naturals,
    st.sampled_from(PHASES),
    links,
    st.lists(st.tuples(naturals, fixed(64)), max_size=3).map(tuple),
)
timeouts = st.builds(
    Timeout,
    fixed(32),
    positive,
    naturals,
    naturals,
    st.booleans(),
    naturals,
    fixed(64),
    st.none() | certificates,
)
closings = st.builds(
    TimeoutCertificate,
    positive,
    naturals,
    naturals,
    st.booleans(),
    st.lists(
        st.tuples(naturals, st.none() | st.tuples(naturals, naturals, links), fixed(64)),
        max_size=3,
    ).map(tuple),
    st.none() | certificates,
)
seats = st.lists(tickets, max_size=3).map(tuple)
candidates = st.builds(
    Candidate,
    headers,
    fixed(64),
    seats,
    st.lists(fixed(32), max_size=4).map(tuple),
    st.none() | closings,
    st.none() | st.builds(Turn, naturals, naturals, naturals, fixed(64)),
)
blocks = st.builds(Block, headers, fixed(64), seats, certificates)
statuses = st.builds(
    Status,
    naturals,
    naturals,
    naturals,
    st.lists(fixed(32), max_size=3).map(tuple),
    st.lists(naturals, max_size=3).map(tuple),
)
wants = st.builds(Want, positive, st.lists(fixed(32), max_size=3).map(tuple))
records = st.one_of(
    geneses,
    updates,
    tickets,
    headers,
    votes,
    certificates,
    timeouts,
    closings,
    candidates,
    blocks,
    statuses,
    wants,
)


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
def test_an_update_signs_every_field_but_the_signature(update: UpdateRecord) -> None:
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
        changed = UpdateRecord.from_node({**node, name: value})
        differs = name != "signature" and value != node[name]
        assert (changed.signed != update.signed) == differs


def assert_signs(record: Any, others: dict[str, Any], unsigned: set[str]) -> None:
    """Every field of ``others`` is signed but those of ``unsigned``."""
    for name, value in others.items():
        changed = replace(record, **{name: value})
        differs = name not in unsigned and value != getattr(record, name)
        assert (changed.signed != record.signed) == differs, name


@settings(deadline=None)
@given(votes)
def test_a_vote_signs_its_view_its_block_and_its_phase(vote: Vote) -> None:
    others: dict[str, Any] = {
        "chain_id": bytes(32),
        "height": vote.height % 7 + 8,
        "attempt": vote.attempt // 2 + 3,
        "step": vote.step // 2 + 3,
        "block": file_cid(b"other"),
        "phase": PHASES[PHASES.index(vote.phase) - 1],
        "server": vote.server // 2 + 3,
        "signature": bytes(64),
        "proposal": bytes(64),
    }
    assert others.keys() == vote.to_node().keys()
    assert_signs(vote, others, {"server", "signature", "proposal"})


@settings(deadline=None)
@given(timeouts, certificates)
def test_a_timeout_signs_its_view_its_reach_and_its_lock(
    timeout: Timeout, lock: Certificate
) -> None:
    others: dict[str, Any] = {
        "chain_id": bytes(32),
        "height": timeout.height % 7 + 8,
        "attempt": timeout.attempt // 2 + 3,
        "step": timeout.step // 2 + 3,
        "everyone": not timeout.everyone,
        "server": timeout.server // 2 + 3,
        "signature": bytes(64),
    }
    assert_signs(timeout, others, {"server", "signature"})
    of_lock: dict[str, Any] = {
        "attempt": lock.attempt // 2 + 3,
        "step": lock.step // 2 + 3,
        "block": file_cid(b"other"),
        "signatures": (),
        "phase": PHASES[PHASES.index(lock.phase) - 1],
        "height": lock.height % 7 + 8,
    }
    holding = replace(timeout, lock=lock)
    assert holding.signed != replace(timeout, lock=None).signed
    for name, value in of_lock.items():
        changed = replace(timeout, lock=replace(lock, **{name: value}))
        differs = name in ("attempt", "step", "block") and value != getattr(lock, name)
        assert (changed.signed != holding.signed) == differs, name


@settings(deadline=None)
@given(headers, naturals, naturals)
def test_a_proposal_signs_chain_height_view_and_block(
    header: Header, attempt: int, step: int
) -> None:
    """The header's own signature is its proposal in its own view, and in no other."""
    digest = proposal_digest(header.chain_id, header.height, (attempt, step), header.cid)
    assert (digest == header.signed) == (header.view == (attempt, step))
    others = [
        proposal_digest(bytes(32), header.height, header.view, header.cid),
        proposal_digest(header.chain_id, header.height % 7 + 8, header.view, header.cid),
        proposal_digest(header.chain_id, header.height, header.view, file_cid(b"other")),
    ]
    assert len({header.signed, *others}) >= 3


@settings(deadline=None)
@given(candidates)
def test_a_candidate_says_who_proposes_it_and_where(candidate: Candidate) -> None:
    header, turn = candidate.header, candidate.turn
    if turn is None:
        assert candidate.view == header.view
        assert (candidate.proposer, candidate.proposal) == (header.aggregator, candidate.signature)
    else:
        assert candidate.view == (turn.attempt, turn.step)
        assert (candidate.proposer, candidate.proposal) == (turn.server, turn.signature)
    assert candidate.proposal_signed == proposal_digest(
        header.chain_id, header.height, candidate.view, header.cid
    )


@settings(deadline=None)
@given(votes)
def test_a_certificate_holds_what_votes_signed(vote: Vote) -> None:
    certificate = Certificate(
        vote.height, vote.attempt, vote.step, vote.phase, vote.block, ((0, vote.signature),)
    )
    assert certificate.signed(vote.chain_id) == vote.signed
    assert certificate.signed(bytes(31) + b"x") != vote.signed
    assert certificate.view == (vote.attempt, vote.step)
    assert certificate.name == (vote.attempt, vote.step, vote.block)


def test_a_signature_for_one_kind_serves_no_other() -> None:
    """The same fields under another tag give another digest."""
    link = file_cid(b"")
    digests = {
        UpdateRecord.signing_digest(bytes(32), 1, link, bytes(32), 1, link),
        Vote.signing_digest(bytes(32), 1, 0, 0, "soft", link),
        Vote.signing_digest(bytes(32), 1, 0, 0, "cert", link),
        proposal_digest(bytes(32), 1, (0, 0), link),
        Timeout.signing_digest(bytes(32), 1, (0, 0), False, None),
        Timeout.signing_digest(bytes(32), 1, (0, 0), False, (0, 0, link)),
    }
    assert len(digests) == 6


@settings(deadline=None)
@given(headers, headers)
def test_a_header_is_known_by_its_bytes(one: Header, other: Header) -> None:
    assert (one.cid == other.cid) == (one.encoded == other.encoded)
    assert (one.signed == other.signed) == (one == other)


def test_the_alpha_of_a_ticket_names_chain_beacon_and_height() -> None:
    first = (bytes(32), bytes(32), 1)
    others = [
        (b"\x01" * 32, bytes(32), 1),
        (bytes(32), b"\x01" * 32, 1),
        (bytes(32), bytes(32), 2),
    ]
    assert len({Ticket.alpha(*fields) for fields in [first, *others]}) == 4


@settings(deadline=None)
@given(tickets, fixed(48), fixed(32))
def test_tickets_are_named_by_draws_not_by_proofs(
    ticket: Ticket, response: bytes, gamma: bytes
) -> None:
    """A key's holder can make many proofs of one draw; all have the same name."""
    same = replace(ticket, proof=ticket.proof[:32] + response)
    other = replace(ticket, proof=gamma + ticket.proof[32:])
    assert tickets_digest((same,)) == tickets_digest((ticket,))
    assert (tickets_digest((other,)) == tickets_digest((ticket,))) == (gamma == ticket.proof[:32])
    assert tickets_digest((ticket, same)) != tickets_digest((ticket,)) != tickets_digest(())


GENESIS = Genesis(
    Parameters("bft", "real", "fixed", 3, 2, 3, 4, 5, 6, 7, 8, 9),
    tuple(Member(bytes([i] * 32), bytes([i + 9] * 32), 1) for i in range(3)),
    tuple((bytes([i + 20] * 32), i) for i in range(3)),
    file_cid(b""),
    {"items": 3},
)
LINK = file_cid(b"")
LOCK = Certificate(1, 0, 1, "soft", LINK, ((0, bytes(64)), (2, bytes(64))))
TIMEOUT = Timeout(bytes(32), 1, 0, 2, False, 1, bytes(64), LOCK)
CLOSING = TimeoutCertificate(
    1, 0, 2, False, ((0, None, bytes(64)), (1, LOCK.name, bytes(64))), LOCK
)
HEADER = Header(bytes(32), 1, 0, 0, 1, LINK, 0, bytes(32), bytes(32), 1, 1, LINK, None)
CANDIDATE = Candidate(
    HEADER, bytes(64), (Ticket(2, 0, bytes(80)),), (bytes(32),), CLOSING, Turn(0, 3, 1, bytes(64))
)
BLOCK = Block(HEADER, bytes(64), CANDIDATE.tickets, replace(LOCK, phase="cert"))
VOTE = Vote(bytes(32), 1, 0, 0, "soft", LINK, 0, bytes(64))
STATUS = Status(0, 0, 0, (bytes(32),), (1, 2))
WANT = Want(1, (bytes(32),))


def test_a_proof_has_no_place_in_a_candidate_without_one() -> None:
    assert "proof" not in CANDIDATE.to_node()
    proof = replace(LOCK, phase="prevote")
    proven = replace(CANDIDATE, justification=None, proof=proof)
    assert Candidate.decode(proven.encoded) == proven
    with pytest.raises(MalformedRecord, match="certificate: expected a map"):
        Candidate.from_node(CANDIDATE.to_node() | {"proof": None})
    with pytest.raises(MalformedRecord, match="unknown fields proofs"):
        Candidate.from_node(CANDIDATE.to_node() | {"proofs": proof.to_node()})


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
        (("parameters", "protocol"), 1, "a protocol's name"),
        (("parameters", "crypto"), "none", "one of real, modelled"),
        (("parameters", "committee"), "paper", "one of fixed, weighted"),
        (("parameters", "committee"), ["fixed"], "one of fixed, weighted"),
        (("parameters", "quota"), 0, "quota"),
        (("parameters", "resend_us"), 0, "resend_us"),
        (("parameters", "settle_us"), -1, "settle_us"),
        (("parameters", "max_step"), True, "max_step"),
        (("timestamp",), -1, "timestamp"),
        (("model",), bytes(36), "link"),
    ],
)
def test_a_genesis_that_is_none_is_refused(path: tuple[Any, ...], value: Any, reason: str) -> None:
    with pytest.raises(MalformedRecord, match=reason):
        Genesis.from_node(replaced(GENESIS.to_node(), path, value))


def test_a_genesis_may_do_without_settling_and_recovery() -> None:
    node = GENESIS.to_node()
    for name in ("settle_us", "recovery_us"):
        node = replaced(node, ("parameters", name), 0)
    assert Genesis.from_node(node).parameters.recovery_us == 0


def test_a_genesis_knows_its_stake_and_its_clients() -> None:
    assert GENESIS.total_stake == 3
    assert GENESIS.registered == {bytes([i + 20] * 32): i for i in range(3)}
    assert len(GENESIS.chain_id) == 32
    assert GENESIS.suite.name == "real"


@pytest.mark.parametrize(
    ("record", "path", "value", "reason"),
    [
        (VOTE, ("phase",), "yes", "one of soft, cert, approve, reject"),
        (VOTE, ("phase",), True, "one of soft, cert"),
        (VOTE, ("block",), bytes(36), "vote.block: expected a link"),
        (VOTE, ("server",), -1, "vote.server"),
        (VOTE, ("height",), 0, "vote.height"),
        (VOTE, ("attempt",), 2**63, "vote.attempt"),
        (VOTE, ("proposal",), bytes(63), "vote.proposal: expected 64 bytes"),
        (VOTE, ("proposal",), None, "vote.proposal: expected 64 bytes"),
        (LOCK, ("signatures",), {}, "certificate.signatures: expected a list"),
        (LOCK, ("signatures", 0), [0], "expected a pair"),
        (LOCK, ("signatures", 0, 0), -1, "signatures.server"),
        (LOCK, ("signatures", 1, 1), bytes(63), "signatures.signature: expected 64 bytes"),
        (LOCK, ("phase",), "hard", "one of"),
        (TIMEOUT, ("everyone",), 1, "timeout.everyone: expected a boolean"),
        (TIMEOUT, ("lock",), [], "certificate: expected a map, got list"),
        (TIMEOUT, ("lock", "block"), b"", "certificate.block"),
        (TIMEOUT, ("step",), None, "timeout.step"),
        (CLOSING, ("everyone",), 0, "timeout_certificate.everyone: expected a boolean"),
        (CLOSING, ("entries",), None, "entries: expected a list"),
        (CLOSING, ("entries", 0), [0, None], r"expected \[server, lock, signature\]"),
        (CLOSING, ("entries", 1, 1), [0, 1], r"lock: expected \[attempt, step, block\]"),
        (CLOSING, ("entries", 1, 1, 2), b"", "lock.block"),
        (CLOSING, ("entries", 1, 2), b"", "signature: expected 64 bytes"),
        (CLOSING, ("entries", 1, 0), True, "timeout_certificate.server"),
        (CANDIDATE, ("turn",), [0, 3, 1], r"expected \[attempt, step, server, signature\]"),
        (CANDIDATE, ("turn", 3), b"", "candidate.turn.signature"),
        (CANDIDATE, ("turn", 2), -1, "candidate.turn.server"),
        (CANDIDATE, ("tickets", 0), [2, 0], r"expected \[height, server, proof\]"),
        (CANDIDATE, ("tickets", 0, 0), 0, "tickets.height"),
        (CANDIDATE, ("tickets", 0, 2), bytes(79), "tickets.proof"),
        (CANDIDATE, ("updates", 0), bytes(31), "candidate.updates"),
        (CANDIDATE, ("justification",), [], "timeout_certificate: expected a map"),
        (CANDIDATE, ("header",), None, "header: expected a map, got NoneType"),
        (BLOCK, ("certificate",), None, "certificate: expected a map, got NoneType"),
        (BLOCK, ("header", "count"), 0, "header.count"),
        (BLOCK, ("header", "samples"), 0, "header.samples"),
        (BLOCK, ("header", "snapshot"), bytes(36), "header.snapshot"),
        (BLOCK, ("header", "tickets"), bytes(31), "header.tickets"),
        (BLOCK, ("signature",), bytes(65), "block.signature"),
        (STATUS, ("updates", 0), b"", "status.updates"),
        (STATUS, ("tickets", 1), -1, "status.tickets"),
        (STATUS, ("tickets",), b"", "expected a list"),
        (WANT, ("height",), 0, "want.height"),
        (WANT, ("updates",), None, "want.updates: expected a list"),
    ],
)
def test_a_record_that_is_none_is_refused_by_the_field(
    record: Record, path: tuple[Any, ...], value: Any, reason: str
) -> None:
    with pytest.raises(MalformedRecord, match=reason):
        type(record).from_node(replaced(record.to_node(), path, value))


@settings(deadline=None)
@given(headers)
def test_the_address_of_the_aggregate_is_called_model_on_the_wire(header: Header) -> None:
    """Chains that are written have this key, and paths on an IPFS node end in it."""
    node = decode(header.encoded)
    names = {field.name for field in fields(Header)} - {"aggregate_cid", "stakes"} | {"model"}
    assert node.keys() == names
    assert node["model"] == header.aggregate_cid


def test_records_are_frozen() -> None:
    with pytest.raises(AttributeError):
        GENESIS.timestamp = 1  # type: ignore[misc]
    with pytest.raises(AttributeError):
        VOTE.phase = "cert"  # type: ignore[misc]


def test_what_is_no_record_says_why() -> None:
    with pytest.raises(MalformedRecord, match="expected a map, got list"):
        Vote.from_node([])
    with pytest.raises(MalformedRecord, match="vote: not DAG-CBOR"):
        Vote.decode(b"\xff")
    with pytest.raises(MalformedRecord):
        Vote.decode("text")  # type: ignore[arg-type]
    assert not issubclass(MalformedRecord, EncodingError)
