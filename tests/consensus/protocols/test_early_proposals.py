"""Malicious leaders that propose at once, before all draws are in: they do not choose who sits."""

from __future__ import annotations

from collections import Counter

import pytest

from consensus.adversary.behaviour import Circle
from consensus.adversary.composed import Composed
from tests.helpers import bft_rig as rig
from tests.helpers.bft_rig import FORGE, LEADER, MEMBER, MEMBERS, Bench
from tests.helpers.toy import Toy

SERVERS, SEATS, BAD = 20, 7, range(4)
"""The malicious alone are more than a third of a committee that they choose."""


@pytest.mark.parametrize("protocol", ["bft", "tendermint", "hotstuff"])
def test_whoever_proposes_early_does_not_choose_the_next_committee(protocol: str) -> None:
    proposed = 0
    for seed in range(3):
        circle = Circle(frozenset(BAD))
        malicious = {server: Composed(["choose_draws"], circle=circle) for server in BAD}
        ledger = {"protocol": protocol, "crypto": "modelled", "committee_size": SEATS}
        toy = Toy(SERVERS, 3, seed, malicious, **ledger)
        blocks = [toy.play(120.0).block for _ in range(5)]
        assert [len(block.tickets) for block in blocks] == [SERVERS] * 5
        acted = sum((behaviour.acted for behaviour in malicious.values()), Counter())
        proposed += acted["choose_draws: left out tickets"]
    assert proposed, "none of them led"


def test_a_block_is_judged_once_the_time_for_tickets_is_over() -> None:
    bench = Bench().updates().hear("candidate", FORGE.candidate())
    assert bench.said("vote") == []
    bench.wake("tickets")
    assert [vote.phase for vote in bench.said("vote")] == ["soft"]


def test_a_locked_block_is_judged_at_once() -> None:
    """A quorum stands behind it, and some honest member has judged it in time."""
    closing = FORGE.closing(locks={MEMBERS[0]: FORGE.lock(FORGE.candidate())})
    again = FORGE.again(FORGE.candidate(), (0, 1), closing)
    bench = Bench().updates().hear("candidate", again)
    bench.wake("listen")
    assert [vote.phase for vote in bench.said("vote")] == ["soft"]


@pytest.mark.parametrize("late", [False, True])
def test_a_block_must_have_the_tickets_of_the_first_half_of_their_time(
    late: bool,
) -> None:
    """An honest aggregator waits for twice as long, and has them, too; what came after may have
    come to this server first."""
    other = next(server for server in MEMBERS if server not in (LEADER, MEMBER))
    listed = [server for server in range(rig.SERVERS) if server != other]
    bench = Bench().updates()
    half = bench.server.parameters.ticket_us // 2
    bench.host.now += half + late
    bench.hear("ticket", FORGE.ticket(other))
    bench.host.now += half - late
    bench.hear("candidate", FORGE.candidate(tickets=FORGE.tickets(listed))).wake("tickets")
    assert [vote.phase for vote in bench.said("vote")] == (["soft"] if late else [])
