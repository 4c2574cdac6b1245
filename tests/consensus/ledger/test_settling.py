"""What a block says of stake: every lie about evidence, signers and stakes is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from consensus.encoding.fields import MalformedRecord
from consensus.encoding.unixfs import file_cid
from consensus.ledger.chain import heads_of
from consensus.ledger.settling import stakes_after
from consensus.ledger.validity import Head, InvalidBlock
from consensus.protocols.registry import protocol_of
from consensus.records.block import Block, Candidate, Header
from consensus.records.evidence import Evidence
from consensus.records.genesis import Genesis
from consensus.records.settlement import MOST_EVIDENCE, Settlement
from consensus.records.votes import Certificate
from tests.helpers.incentives import RULE, staked
from tests.helpers.toy import Toy

TOY = staked("equivocate_candidates", "equivocate_votes")
for _ in range(30):
    TOY.play()
GENESIS, BFT = TOY.genesis, TOY.world.protocol
CHAIN = TOY.world.servers[1].chain
BLOCK = next(each for each in CHAIN.blocks if each.settlement and each.settlement.evidence)
"""The first block that brings evidence."""
HEAD, AFTER = CHAIN.heads[BLOCK.height - 1], CHAIN.heads[BLOCK.height]
assert BLOCK.settlement is not None
SETTLEMENT: Settlement = BLOCK.settlement
assert SETTLEMENT.certificate is not None
CERTIFICATE: Certificate = SETTLEMENT.certificate
PROOF = SETTLEMENT.evidence[0]
HONEST = next(server for server in range(7) if server not in (0, 3))


def verdict(settlement: Settlement | None, head: Head = HEAD, header: Header | None = None) -> None:
    """Check a settlement after ``head``, with the stake that it leads to, if any, in the header.
    Raises `InvalidBlock`."""
    if header is None:
        header = BLOCK.header
        try:
            who = header.aggregator
            stakes = stakes_after(GENESIS, head, who, settlement, BFT.sortition)
        except (InvalidBlock, IndexError):
            stakes = None
        if stakes is not None:
            header = replace(header, stakes=stakes.digest)
    BFT.check_settled(GENESIS, head, header, settlement)


def with_evidence(*evidence: Evidence) -> Settlement:
    return replace(SETTLEMENT, evidence=evidence)


def with_signatures(*signatures: tuple[int, bytes]) -> Settlement:
    return replace(SETTLEMENT, certificate=replace(CERTIFICATE, signatures=signatures))


def test_the_settlement_of_the_chain_is_right() -> None:
    verdict(SETTLEMENT, header=BLOCK.header)
    verdict(with_evidence())
    assert PROOF.server in (0, 3)
    assert AFTER.stakes is not None
    assert HEAD.stakes is not None
    assert AFTER.stakes.held[PROOF.server] < HEAD.stakes.held[PROOF.server]


def two_of_one() -> Evidence:
    """Evidence of another height against the same server, as its keys can make any."""
    return replace(PROOF, height=max(1, PROOF.height - 1))


@pytest.mark.parametrize(
    ("settlement", "reason"),
    [
        (lambda: None, "no settlement"),
        (lambda: with_evidence(PROOF, PROOF), "one piece a server and height"),
        (lambda: with_evidence(PROOF, two_of_one()), "ascending"),
        (lambda: with_evidence(*(PROOF,) * (MOST_EVIDENCE + 1)), "too many"),
        (lambda: with_evidence(replace(PROOF, server=99)), "does not count"),
        (lambda: with_evidence(replace(PROOF, height=BLOCK.height)), "does not count"),
        (lambda: with_evidence(replace(PROOF, height=BLOCK.height + 5)), "does not count"),
        (lambda: with_evidence(replace(PROOF, server=HONEST)), "does not hold"),
        (lambda: with_evidence(replace(PROOF, said=(PROOF.said[0],) * 2)), "does not hold"),
        (lambda: with_evidence(replace(PROOF, phase="approve")), "does not hold"),
        (
            lambda: with_evidence(replace(PROOF, signatures=(bytes(64), PROOF.signatures[1]))),
            "does not hold",
        ),
        (lambda: replace(SETTLEMENT, certificate=None), "lacks a certificate"),
        (
            lambda: replace(SETTLEMENT, certificate=replace(CERTIFICATE, block=file_cid(b"x"))),
            "of another block",
        ),
        (
            lambda: replace(SETTLEMENT, certificate=replace(CERTIFICATE, height=1)),
            "certificate is of height 1",
        ),
        (lambda: replace(SETTLEMENT, certificate=replace(CERTIFICATE, step=3)), "MaxStep"),
        (
            lambda: replace(SETTLEMENT, certificate=replace(CERTIFICATE, phase="soft")),
            "of the soft phase",
        ),
        (lambda: with_signatures(*CERTIFICATE.signatures[:3]), "not more than two thirds"),
        (lambda: with_signatures(*CERTIFICATE.signatures[:1] * 4), "not distinct"),
        (
            lambda: with_signatures((CERTIFICATE.signatures[0][0], bytes(64)), *rest()),
            "vote signature is not valid",
        ),
    ],
)
def test_a_lie_is_refused(settlement: Callable[[], Settlement | None], reason: str) -> None:
    with pytest.raises(InvalidBlock, match=reason):
        verdict(settlement())


def rest() -> tuple[tuple[int, bytes], ...]:
    return CERTIFICATE.signatures[1:]


def test_the_same_evidence_does_not_count_again() -> None:
    again = CHAIN.blocks[BLOCK.height].settlement
    assert again is not None
    with pytest.raises(InvalidBlock, match=r"does not count \(again\)"):
        verdict(replace(again, evidence=(PROOF,)), AFTER)


def test_evidence_does_not_count_against_a_server_without_stake() -> None:
    assert HEAD.stakes is not None
    held = list(HEAD.stakes.held)
    held[PROOF.server] = 0
    with pytest.raises(InvalidBlock, match="does not count"):
        verdict(SETTLEMENT, replace(HEAD, stakes=replace(HEAD.stakes, held=tuple(held))))


@pytest.mark.parametrize("stakes", [None, bytes(32), AFTER.stakes.digest[::-1]])  # type: ignore[union-attr]
def test_other_stakes_than_follow_are_refused(stakes: bytes | None) -> None:
    header = replace(BLOCK.header, stakes=stakes)
    with pytest.raises(InvalidBlock, match="stakes that it states"):
        verdict(SETTLEMENT, header=header)


def test_stake_may_not_move_where_the_genesis_says_nothing_of_it() -> None:
    toy = Toy(servers=4, clients=2, crypto="modelled")
    block, plain = toy.play().block, toy.world.protocol
    head = plain.first_head(toy.genesis)
    assert "settlement" not in block.to_node()
    assert "stakes" not in block.header.to_node()
    assert "incentives" not in toy.genesis.to_node()
    with pytest.raises(InvalidBlock, match="never moves"):
        plain.check_settled(toy.genesis, head, block.header, Settlement(None))
    with pytest.raises(InvalidBlock, match="never moves"):
        plain.check_block(toy.genesis, head, replace(block, settlement=Settlement(None)))
    stated = replace(block.header, stakes=bytes(32))
    certificate = replace(block.certificate, block=stated.cid)
    with pytest.raises(InvalidBlock, match="never move"):
        plain.check_block(toy.genesis, head, replace(block, header=stated, certificate=certificate))


def test_the_first_block_brings_no_certificate() -> None:
    first = CHAIN.blocks[0]
    assert first.settlement == Settlement(None)
    BFT.check_settled(GENESIS, CHAIN.heads[0], first.header, first.settlement)
    with pytest.raises(InvalidBlock, match="block 1"):
        BFT.check_settled(GENESIS, CHAIN.heads[0], first.header, Settlement(CERTIFICATE))


def test_heads_are_the_same_from_the_blocks_alone() -> None:
    assert heads_of(GENESIS, protocol_of(GENESIS), CHAIN.blocks) == CHAIN.heads
    assert all(head.before is None or head.before.before is None for head in CHAIN.heads)


def test_only_committees_of_fixed_size_move_stake() -> None:
    BFT.check_genesis(GENESIS)
    weighted = replace(GENESIS, parameters=replace(GENESIS.parameters, committee="weighted"))
    with pytest.raises(MalformedRecord, match="with incentives only 'fixed'"):
        BFT.check_genesis(weighted)


def test_a_protocol_that_moves_no_stake_refuses_incentives() -> None:
    genesis = replace(GENESIS, parameters=replace(GENESIS.parameters, protocol="paper"))
    with pytest.raises(MalformedRecord, match="paper moves no stake"):
        protocol_of(genesis).check_genesis(genesis)


# -- records --------------------------------------------------------------------------------------


def test_records_of_moving_stake_are_read_again() -> None:
    assert Block.decode(BLOCK.encoded) == BLOCK
    assert Settlement.decode(SETTLEMENT.encoded) == SETTLEMENT
    assert Genesis.decode(GENESIS.encoded) == GENESIS
    locks = (None, (0, 1, file_cid(b"a")))
    left = replace(PROOF, phase="timeout", said=locks)
    assert Evidence.decode(left.encoded) == left
    candidate = Candidate(
        BLOCK.header, BLOCK.signature, BLOCK.tickets, (bytes(32),), settlement=SETTLEMENT
    )
    assert Candidate.decode(candidate.encoded) == candidate


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"said": [file_cid(b"a")] * 2}, "two different things"),
        ({"said": [None, file_cid(b"a")]}, "expected a link"),
        ({"said": [file_cid(b"a")]}, "expected a pair"),
        ({"phase": "perjury"}, "one of"),
        ({"phase": "timeout"}, r"lock: expected \[attempt, step, block\]"),
        ({"signatures": [bytes(64), b""]}, "64 bytes"),
        ({"height": 0}, "evidence.height"),
        ({"server": -1}, "evidence.server"),
        ({"more": 1}, "unknown fields more"),
    ],
)
def test_evidence_that_is_none_is_refused(change: dict[str, object], reason: str) -> None:
    with pytest.raises(MalformedRecord, match=reason):
        Evidence.from_node(PROOF.to_node() | change)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"evidence": [PROOF.to_node()] * (MOST_EVIDENCE + 1)}, "16 pieces at most"),
        ({"evidence": None}, "expected a list"),
        ({"certificate": 5}, "certificate: expected a map"),
        ({"reward": 10**18}, "unknown fields reward"),
    ],
)
def test_a_settlement_that_is_none_is_refused(change: dict[str, object], reason: str) -> None:
    with pytest.raises(MalformedRecord, match=reason):
        Settlement.from_node(SETTLEMENT.to_node() | change)


@pytest.mark.parametrize(
    ("name", "value"),
    [("slash", 0), ("slash", 1_000_001), ("report", -1), ("window", 0), ("treasury", 2**63)],
)
def test_incentives_out_of_range_are_refused(name: str, value: int) -> None:
    node = GENESIS.to_node()
    assert type(RULE).from_node(node["incentives"]) == RULE
    with pytest.raises(MalformedRecord, match=f"genesis.incentives.{name}"):
        Genesis.from_node(node | {"incentives": RULE.to_node() | {name: value}})
