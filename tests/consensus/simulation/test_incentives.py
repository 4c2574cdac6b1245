"""Worlds in which stake moves: offenders and absent members lose it, and with it their seats."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.encoding.dag_cbor import encode
from consensus.ledger.protocol import PROTOCOLS
from consensus.ledger.stakes import Stakes
from consensus.protocols.registry import protocol_of
from consensus.records.block import Block
from consensus.records.votes import Vote
from consensus.server.settling import Gathered
from consensus.simulation.checkpoint import Standing
from tests.helpers.audited import Keeper, assert_fails, verify
from tests.helpers.incentives import BAD, RULE, SERVERS, STAKE, staked
from tests.helpers.toy import Toy

WHOLE = SERVERS * STAKE + RULE.treasury
HASTY = replace(RULE, leak=200_000)


def stakes_of(toy: Toy) -> Stakes:
    stakes = toy.world.head.stakes
    assert stakes is not None
    return stakes


def evidence_in(toy: Toy) -> set[int]:
    """The servers against which blocks bring evidence."""
    found = set()
    for block in toy.world.servers[1].chain.blocks:
        assert block.settlement is not None
        found |= {each.server for each in block.settlement.evidence}
    return found


@pytest.mark.parametrize("protocol", [name for name, each in PROTOCOLS.items() if each.moves_stake])
def test_equivocators_lose_stake_and_honest_servers_do_not(protocol: str) -> None:
    toy = staked("equivocate_candidates", "equivocate_votes", protocol=protocol, rule=RULE)
    for _ in range(25):
        result = toy.play()
        stakes = stakes_of(toy)
        assert result.stakes == stakes
        assert result.malicious_stake == sum(stakes.held[bad] for bad in BAD)
        assert stakes.total == WHOLE
    assert evidence_in(toy) == set(BAD)
    assert all(stakes.held[bad] < STAKE for bad in BAD)
    assert all(held > STAKE for server, held in enumerate(stakes.held) if server not in BAD)
    level = [each.chain for each in toy.world.servers if each.chain.height == 25]
    assert len(level) >= SERVERS - len(BAD)
    assert all(chain.head.stakes == stakes for chain in level)


def test_honest_servers_are_paid_and_keep_their_shares() -> None:
    toy = staked()
    for _ in range(30):
        result = toy.play()
    stakes = stakes_of(toy)
    assert evidence_in(toy) == set()
    assert result.malicious_stake == 0
    assert stakes.treasury < RULE.treasury
    assert min(stakes.held) > STAKE
    assert max(stakes.held) < 1.05 * STAKE
    assert max(stakes.absences) <= RULE.patience


def test_who_sits_and_is_absent_loses_its_seats() -> None:
    toy = staked("idle", rule=HASTY, servers=9, stakes=[STAKE] * 9)
    for _ in range(60):
        toy.play()
    stakes = stakes_of(toy)
    assert stakes.total == 9 * STAKE + RULE.treasury
    assert all(stakes.held[bad] < STAKE / 2 for bad in BAD)
    assert min(held for server, held in enumerate(stakes.held) if server not in BAD) > STAKE


def test_whoever_has_lost_all_has_no_seat_and_the_others_decide() -> None:
    rule = replace(RULE, slash=1_000_000)
    toy = staked("equivocate_votes", rule=rule, committee_size=SERVERS)
    for _ in range(15):
        result = toy.play()
    stakes = stakes_of(toy)
    assert [stakes.held[bad] for bad in BAD] == [0, 0]
    assert result.malicious_weight[-1] == (0, SERVERS - len(BAD))
    assert min(held for server, held in enumerate(stakes.held) if server not in BAD) > STAKE


def test_votes_that_come_late_are_brought_too() -> None:
    toy = staked()
    brought = 0
    for _ in range(20):
        block = toy.play().block
        chain = toy.world.servers[1].chain
        if block.height > 1:
            assert block.settlement is not None
            assert block.settlement.certificate is not None
            before = chain.blocks[block.height - 2].certificate
            own = len(block.settlement.certificate.signatures)
            brought += own - len(before.signatures)
    assert brought > 0


def test_a_late_vote_is_heard_only_if_it_is_right() -> None:
    toy = staked()
    toy.play()
    toy.play()
    server, world = toy.world.servers[1], toy.world
    block, head = server.chain.blocks[-1], server.chain.head
    assert head.before is not None
    certificate = block.certificate
    committee = world.checks.sortition(toy.genesis, head.before, certificate.attempt).committee
    late = next(s for s in committee.weights if s not in dict(certificate.signatures))
    stranger = next(s for s in range(SERVERS) if s not in committee.weights)

    def vote(who: int, signer: int | None = None, **changes: object) -> Vote:
        fields: dict[str, object] = {
            "chain_id": toy.genesis.chain_id,
            "height": block.height,
            "attempt": certificate.attempt,
            "step": certificate.step,
            "phase": certificate.phase,
            "block": certificate.block,
        } | changes
        key = toy.keys[who if signer is None else signer][0]
        return Vote(**fields, server=who, signature=key.sign(Vote.signing_digest(**fields)))  # type: ignore[arg-type]

    server.settling._late = None
    for wrong in (
        vote(stranger),
        vote(late, signer=stranger),
        vote(late, phase="soft"),
        vote(late, step=certificate.step + 1),
        vote(late, chain_id=bytes(32)),
        vote(99, signer=late),
    ):
        server.receive("vote", wrong, 0)
        assert server.settling.certificate == certificate
    server.receive("vote", vote(late), 0)
    server.receive("vote", vote(late), 0)
    assert server.settling.certificate is not None
    assert set(dict(server.settling.certificate.signatures)) == {
        late,
        *dict(certificate.signatures),
    }


@pytest.mark.parametrize("behaviours", [("starve",), ("frame",), ("frame", "equivocate_votes")])
def test_nobody_honest_loses_by_lies(behaviours: tuple[str, ...]) -> None:
    toy = staked(*behaviours)
    for _ in range(30):
        toy.play()
    stakes = stakes_of(toy)
    assert stakes.total == WHOLE
    assert evidence_in(toy) <= (set(BAD) if "equivocate_votes" in behaviours else set())
    assert all(held >= STAKE for server, held in enumerate(stakes.held) if server not in BAD)
    acted = toy.world.behaviours[BAD[0]].acted + toy.world.behaviours[BAD[1]].acted
    assert all(acted[name] for name in behaviours)


def test_who_starves_others_earns_less() -> None:
    """Of two whose seats and turns are alike, it is the one that brings all signatures."""
    honest, starving = staked(), staked("starve")
    for _ in range(40):
        honest.play()
        starving.play()
    paid = [sum(stakes_of(toy).held[bad] for bad in BAD) for toy in (honest, starving)]
    assert paid[1] < paid[0]


def test_a_world_goes_on_with_the_same_stake() -> None:
    names = ("equivocate_candidates", "equivocate_votes")
    through, resumed = staked(*names), staked(*names)
    for height in range(24):
        through.play()
        resumed.play()
        if height % 3 == 0:
            resumed = staked(*names, continues=resumed.world)
    assert resumed.world.head == through.world.head
    assert evidence_in(through) == set(BAD)


def test_what_a_server_holds_between_heights_is_written_and_read() -> None:
    toy = staked("equivocate_candidates", "equivocate_votes")
    seen: list[Gathered] = []
    for _ in range(12):
        toy.play()
        standing = toy.world.standing()
        node = json.loads(json.dumps(standing.to_node()))
        assert Standing.from_node(node) == standing
        standing.check(SERVERS, toy.world.head.height)
        seen += [gathered for _, gathered in standing.settlements]
    assert any(each.evidence for each in seen)
    assert any(each.late for each in seen)
    assert any(each.others for each in seen)
    empty = Gathered().to_node()
    bad = {"servers": [], "holders": [], "backlog": [], "settlements": [[SERVERS, empty]]}
    with pytest.raises(ValueError, match="there are 7 servers"):
        Standing.from_node(bad).check(SERVERS, 5)
    with pytest.raises(ValueError, match="hex"):
        Standing.from_node(bad | {"settlements": [[0, empty | {"late": "zz"}]]})
    assert "settlements" not in Toy(servers=4, clients=2).world.standing().to_node()


# -- audits ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slashed() -> tuple[Toy, list[Block]]:
    toy = staked("equivocate_candidates", "equivocate_votes")
    results = [toy.play() for _ in range(16)]
    toy.results = results  # type: ignore[attr-defined]
    return toy, [result.block for result in results]


def test_an_audit_recomputes_stake(slashed: tuple[Toy, list[Block]], tmp_path: Path) -> None:
    toy, blocks = slashed
    path = Keeper(tmp_path / "chain.sqlite", toy.genesis).write_all(toy.results)  # type: ignore[attr-defined]
    report = verify(path)
    counted = sum(b.settlement.signature_count for b in blocks if b.settlement is not None)
    votes = sum(1 + len(b.certificate.signatures) for b in blocks)
    updates = sum(b.header.count for b in blocks)
    assert report.signatures == votes + counted + updates


@pytest.mark.parametrize("which", ["settlement", "evidence", "certificate", "stakes"])
def test_an_audit_refuses_a_chain_whose_stake_is_wrong(
    slashed: tuple[Toy, list[Block]], tmp_path: Path, which: str
) -> None:
    """A block whose settlement another one takes the place of, and a header that a captured
    committee signed: both are told at their height."""
    toy, blocks = slashed
    height = next(b.height for b in blocks if b.settlement and b.settlement.evidence)
    block = blocks[height - 1]
    settlement = block.settlement
    assert settlement is not None
    assert settlement.certificate is not None
    fewer = settlement.certificate.signatures[1:]
    reason = "the stakes that it states are not those"
    if which == "settlement":
        wrong, reason = replace(block, settlement=None), "it has no settlement"
    elif which == "evidence":
        wrong = replace(block, settlement=replace(settlement, evidence=()))
    elif which == "certificate":
        short = replace(settlement.certificate, signatures=fewer)
        wrong = replace(block, settlement=replace(settlement, certificate=short))
        committee = 5
        if 3 * len(fewer) <= 2 * committee:
            reason = "is not more than two thirds"
    else:
        wrong = _captured(toy, block)
    keeper = Keeper(tmp_path / "chain.sqlite", toy.genesis)
    for result, kept in zip(toy.results, [*blocks], strict=True):  # type: ignore[attr-defined]
        told = wrong if kept is block else kept
        keeper.write(told, result.contents.aggregate, result.updates)
        if kept is block:
            break
    keeper.store.close()
    assert_fails(tmp_path / "chain.sqlite", height, reason)


def _captured(toy: Toy, block: Block) -> Block:
    """The block with another digest of stakes, signed by its aggregator and by its committee."""
    header = replace(block.header, stakes=bytes(32))
    signature = toy.keys[header.aggregator][0].sign(header.signed)
    certificate = replace(block.certificate, block=header.cid)
    signed = certificate.signed(toy.genesis.chain_id)
    signatures = tuple((s, toy.keys[s][0].sign(signed)) for s, _ in certificate.signatures)
    certificate = replace(certificate, signatures=signatures)
    return replace(block, header=header, signature=signature, certificate=certificate)


def test_a_chain_says_by_its_genesis_whether_stake_moves() -> None:
    plain, moving = Toy(servers=SERVERS, clients=3).genesis, staked().genesis
    assert protocol_of(moving).first_head(moving).stakes == Stakes.of_genesis(moving, RULE)
    assert protocol_of(plain).first_head(plain).stakes is None
    node = moving.to_node()
    del node["incentives"]
    assert encode(node) == replace(moving, incentives=None).encoded
