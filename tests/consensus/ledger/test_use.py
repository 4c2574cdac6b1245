"""Stake that moves by the use of updates: who is paid, what blocks say of it, and lies about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.encoding.fields import MalformedRecord
from consensus.ledger.settlement import stakes_after
from consensus.ledger.use import home, most_use, uses_of
from consensus.ledger.validity import InvalidBlock
from consensus.records.block import Block, Header
from consensus.records.genesis import MILLION
from consensus.records.settlement import Settlement, Uses
from tests.helpers.audited import Keeper, assert_fails, verify
from tests.helpers.incentives import RULE, SERVERS, STAKE, staked
from tests.helpers.toy import ToyApplication

PAID = replace(RULE, use=500_000)
TOY = staked(rule=PAID, clients=9, seed=3)
RESULTS = [TOY.play() for _ in range(6)]
GENESIS, PROTOCOL = TOY.genesis, TOY.world.protocol
CHAIN = TOY.world.servers[1].chain
UPDATES = [TOY.update(client) for client in range(9)]
BLOCK = CHAIN.blocks[-1]
assert BLOCK.settlement is not None
SETTLEMENT: Settlement = BLOCK.settlement
USES = SETTLEMENT.uses


def found(count: int = 9, genesis: Any = GENESIS) -> Uses:
    return uses_of(genesis, ToyApplication(), UPDATES[:count], b"")


def test_clients_of_a_server_are_paid_to_it_by_their_share_of_all_use() -> None:
    assert [home(client, SERVERS) for client in range(9)] == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    whole = sum(range(1, 10))
    assert found() == (
        (0, MILLION * (1 + 8) // whole),
        (1, MILLION * (2 + 9) // whole),
        *((server, MILLION * (server + 1) // whole) for server in range(2, 7)),
    )
    assert found() == USES, "the same clients send as much in every block"


def test_a_block_below_the_quota_pays_so_much_less() -> None:
    assert GENESIS.parameters.quota == 9
    most = [most_use(GENESIS, count) for count in (1, 3, 9, 20)]
    assert most == [111_111, 333_333, MILLION, MILLION]
    assert found(1) == ((0, 111_111),)
    assert sum(share for _, share in found(3)) in range(333_330, 333_334)


@given(st.integers(1, 9))
def test_no_block_pays_more_by_use_than_it_may(count: int) -> None:
    assert sum(share for _, share in found(count)) <= most_use(GENESIS, count)


def test_nothing_is_measured_where_nothing_is_paid_by_use() -> None:
    plain = replace(GENESIS, incentives=RULE)
    assert found(genesis=plain) == ()
    assert found(genesis=replace(GENESIS, incentives=None)) == ()
    assert "uses" not in replace(SETTLEMENT, uses=()).to_node()
    assert "use" not in plain.to_node()["incentives"]


def test_an_application_that_measures_nothing_is_refused() -> None:
    class Unmeasured:
        pass

    with pytest.raises(MalformedRecord, match="measures no use"):
        uses_of(GENESIS, Unmeasured(), UPDATES, b"")  # type: ignore[arg-type]


def test_stake_follows_use() -> None:
    stakes = CHAIN.head.stakes
    assert stakes is not None
    assert stakes.total == SERVERS * STAKE + RULE.treasury
    assert stakes.held[1] > stakes.held[2]
    assert stakes.held[6] > stakes.held[2]


# -- lies -----------------------------------------------------------------------------------------


def stated(settlement: Settlement, block: Block = BLOCK) -> Header:
    """The header of a block with that settlement, whose stake follows from it."""
    head = CHAIN.heads[block.height - 1]
    who = block.header.aggregator
    stakes = stakes_after(GENESIS, head, who, settlement, PROTOCOL.sortition)
    assert stakes is not None
    return replace(block.header, stakes=stakes.digest)


@pytest.mark.parametrize(
    ("uses", "reason"),
    [
        (lambda: ((0, MILLION + 1),), "more than 9 updates may have"),
        (lambda: ((0, MILLION), (3, 1)), "more than 9 updates may have"),
        (lambda: USES[::-1], "ascending"),
        (lambda: (USES[0], USES[0]), "ascending"),
    ],
)
def test_what_nobody_can_have_is_refused_without_updates(
    uses: Callable[[], Uses], reason: str
) -> None:
    settlement = replace(SETTLEMENT, uses=uses())
    head = CHAIN.heads[BLOCK.height - 1]
    with pytest.raises(InvalidBlock, match=reason):
        PROTOCOL.check_settlement(GENESIS, head, stated(settlement), settlement)


def test_a_header_binds_the_use_that_its_block_states_even_where_nothing_is_paid() -> None:
    """Nothing is paid in block 1; whoever passes it on could state any use of it otherwise."""
    block, head = CHAIN.blocks[0], CHAIN.heads[0]
    told = block.settlement
    assert told is not None
    assert told.uses == USES
    PROTOCOL.check_settlement(GENESIS, head, block.header, told)
    for uses in ((), USES[:-1]):
        with pytest.raises(InvalidBlock, match="stakes that it states"):
            PROTOCOL.check_settlement(GENESIS, head, block.header, replace(told, uses=uses))


def test_a_server_that_is_not_registered_is_refused() -> None:
    settlement = replace(SETTLEMENT, uses=((SERVERS, 1),))
    head = CHAIN.heads[BLOCK.height - 1]
    with pytest.raises(InvalidBlock, match="registered"):
        PROTOCOL.check_settlement(GENESIS, head, BLOCK.header, settlement)


def test_uses_are_refused_where_nothing_is_paid_by_use() -> None:
    plain = staked()
    plain.play()
    block, head = plain.play().block, plain.world.servers[1].chain.heads[1]
    assert block.settlement is not None
    told = replace(block.settlement, uses=((0, 1),))
    with pytest.raises(InvalidBlock, match="nothing is paid so"):
        plain.world.protocol.check_settlement(plain.genesis, head, block.header, told)


@pytest.mark.parametrize(
    ("uses", "reason"),
    [
        ([], "left out"),
        ([[0, 0]], "share"),
        ([[0, MILLION + 1]], "share"),
        ([[0]], "pair"),
        ([[-1, 5]], "server"),
        ("uses", "uses"),
    ],
)
def test_malformed_uses_are_no_record(uses: object, reason: str) -> None:
    with pytest.raises(MalformedRecord, match=reason):
        Settlement.from_node(SETTLEMENT.to_node() | {"uses": uses})


def test_uses_are_read_as_they_are_written() -> None:
    assert Settlement.decode(SETTLEMENT.encoded) == SETTLEMENT
    assert Block.decode(BLOCK.encoded) == BLOCK


# -- who proposes and who votes -------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["bft", "tendermint"])
def test_voters_refuse_another_use_than_they_compute(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import consensus.adversary.behaviours.stake as attacks

    monkeypatch.setattr(attacks, "LIES", ())
    toy = staked("frame", rule=PAID, protocol=protocol, crypto="modelled")
    lied = 0
    for _ in range(20):
        result = toy.play()
        assert result.block.settlement is not None
        assert result.block.settlement.uses == result.contents.uses
        assert result.contents.uses == uses_of(toy.genesis, ToyApplication(), result.updates, b"")
        lied += result.block.header.view != (0, 0)
    assert lied > 0


def test_fewer_updates_are_of_the_use_that_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = staked("censor", rule=PAID, quota=2, clients=5)
    counts = set()
    for _ in range(20):
        result = toy.play()
        counts.add(result.block.header.count)
        assert result.block.settlement is not None
        assert result.block.settlement.uses == uses_of(
            toy.genesis, ToyApplication(), result.updates, b""
        )
    assert 2 in counts


# -- audit ----------------------------------------------------------------------------------------


def test_an_audit_recomputes_use(tmp_path: Path) -> None:
    report = verify(Keeper(tmp_path / "chain.sqlite", GENESIS).write_all(RESULTS))
    assert report.aggregates == len(RESULTS)


class Flattering(ToyApplication):
    """An application under which the last server's clients were of more use."""

    def use(self, groups: Any, beacon: bytes) -> list[int]:
        *others, last = super().use(groups, beacon)
        return [*others, 2 * last]


def test_an_audit_finds_a_captured_committees_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.helpers.toy.ToyApplication", Flattering)
    toy = staked(rule=PAID, clients=9, seed=3)
    results = [toy.play() for _ in range(2)]
    monkeypatch.undo()
    path = Keeper(tmp_path / "kept.sqlite", toy.genesis).write_all(results)
    assert_fails(path, 1, "the uses are not those of its 9 updates")
    path = Keeper(tmp_path / "none.sqlite", toy.genesis).write_all(results, retain=False)
    assert verify(path).aggregates == 0, "sums and stakes alone are right"
