"""Honest worlds under `paper`: servers decide, fall behind and catch up."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from consensus.encoding.unixfs import file_cid
from consensus.faults.faults import Faults
from consensus.faults.kinds import Crash, Fault, Loss, Partition
from consensus.simulation.results import HeightResult
from tests.helpers.paper_rig import PaperForge
from tests.helpers.rules import chain_from
from tests.helpers.toy import Toy

# -- honest worlds ---------------------------------------------------------------------------------


def check_chain(toy: Toy, results: list[HeightResult]) -> None:
    """What every server holds, checked afresh."""
    replay = chain_from(toy.genesis)
    for result in results:
        replay.append(result.block)
        assert not result.captured
        exact = toy.application.aggregate(
            [update.payload for update in result.updates],
            [update.record.samples for update in result.updates],
        )
        assert file_cid(exact) == result.block.header.aggregate_cid
    for server in toy.world.servers:
        cids = [block.cid for block in server.chain.blocks]
        assert cids == [result.block.cid for result in results][: len(cids)]
    for one, other in pairwise(results):
        assert one.ended == other.began


@pytest.mark.parametrize(
    ("servers", "size", "crypto"),
    [
        (1, 1, "real"),
        (4, 4, "real"),
        (9, 6, "real"),
        (4, 4, "modelled"),
        (9, 6, "modelled"),
        (30, 20, "modelled"),
    ],
)
def test_honest_servers_decide_height_after_height(servers: int, size: int, crypto: str) -> None:
    toy = Toy(servers=servers, clients=5, committee_size=size, protocol="paper", crypto=crypto)
    results = [toy.play() for _ in range(6)]
    check_chain(toy, results)
    assert {server.chain.height for server in toy.world.servers} == {6}
    assert all(len(result.updates) == 5 for result in results)
    assert sum(result.block.header.view == (0, 0) for result in results) > 3
    for result in results:
        assert set(result.refused) <= {"another candidate was first"}
        assert result.evidence == ()
        assert result.malicious_weight == ((0, size),)


def test_stakes_decide_who_may_sit() -> None:
    """One of ten servers has five sixths of the stake: it may always sit, others now and then."""
    toy = Toy(
        servers=10,
        clients=2,
        committee_size=1,
        stakes=[1] * 9 + [45],
        protocol="paper",
        crypto="modelled",
    )
    seats, expected = 0, 0.0
    for _ in range(30):
        winners = PaperForge(toy, toy.world.head).winners
        assert 9 in winners
        expected += 1 / len(winners)
        seats += toy.play().block.tickets[0].server == 9
    assert 0.8 < expected / 30 < 0.95
    assert 0.7 < seats / 30 < 1.0


def test_the_same_seed_gives_the_same_chain_byte_for_byte() -> None:
    def chain(seed: int) -> list[bytes]:
        toy = Toy(
            servers=9, clients=4, seed=seed, committee_size=6, protocol="paper", crypto="modelled"
        )
        return [toy.play().block.encoded for _ in range(3)]

    assert chain(3) == chain(3)
    assert chain(3) != chain(4)


def test_updates_may_be_few_once_the_deadline_has_passed() -> None:
    toy = Toy(servers=4, clients=3, quota=5, update_us=3_000_000, protocol="paper")
    results = [toy.play() for _ in range(2)]
    check_chain(toy, results)
    assert all(result.ended - result.began > 3.0 for result in results)


@pytest.mark.parametrize(
    "faults",
    [
        [Crash(servers=(2,), from_=1.0, until=6.0, lost_tail=1)],
        [Partition(groups=((0, 1), (2, 3, 4, 5, 6)), from_=0.8, until=6.0)],
        [Loss(rate=0.2, until=6.0)],
    ],
)
def test_servers_that_fell_behind_catch_up(faults: list[Fault]) -> None:
    toy = Toy(
        servers=7,
        clients=4,
        seed=2,
        committee_size=5,
        protocol="paper",
        crypto="modelled",
        faults=Faults(faults, 7, np.random.default_rng(0)),
    )
    results = [toy.play() for _ in range(12)]
    check_chain(toy, results)
    assert toy.world.faults is not None
    assert sum(toy.world.faults.fired.values()) > 0
    assert {server.chain.height for server in toy.world.servers} == {12}
