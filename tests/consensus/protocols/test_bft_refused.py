"""Messages that one server under `bft` refuses, and their counters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.helpers.bft_rig import (
    BYSTANDER,
    FORGE,
    LEADER,
    ORDER,
    SERVERS,
    TOY,
    Bench,
    snapshot,
)
from tests.helpers.bft_scene import (
    LATE,
    OTHERS,
    REFUSED,
    closed,
)


def waiting() -> Bench:
    return Bench()


def voting() -> Bench:
    """It has voted softly, and others too."""
    candidate = FORGE.candidate(timestamp=1_500_000)
    others = [server for server in OTHERS if server != OTHERS[0]]
    return (
        Bench()
        .tickets(s for s in range(SERVERS) if s != LATE)
        .updates()
        .wake("tickets")
        .hear("candidate", candidate)
        .votes(candidate, others[:2])
    )


@pytest.mark.parametrize("stage", [waiting, voting])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_counted_and_changes_nothing(
    name: str, stage: Callable[[], Bench]
) -> None:
    kind, body, reason = REFUSED[name]
    bench = stage()
    if stage is voting and name == "a ticket for another server":
        body = replace(body, server=LATE, proof=FORGE.ticket(LEADER).proof)
    state, before = bench.part.state, snapshot(bench.server)
    sent, timers = list(bench.host.sent), list(bench.host.timers)
    assert bench.server.receive(kind, body, OTHERS[0]) is False, "not passed on"
    [(counted, times)] = bench.server.refused.items()
    assert counted.startswith(reason)
    assert times == 1
    assert bench.part.state is state
    assert snapshot(bench.server) == before
    assert (bench.host.sent, bench.host.timers) == (sent, timers)


@pytest.mark.parametrize("stage", [waiting, voting])
def test_an_unfit_update_is_counted_in_the_pool(stage: Callable[[], Bench]) -> None:
    bench = stage()
    state, before = bench.part.state, snapshot(bench.server)
    assert not bench.server.receive("update", TOY.update(0, value=3.0, samples=99), 0)
    assert bench.server.pool.rejected == {"sample count": 1}
    assert bench.part.state is state
    assert snapshot(bench.server) == before


def test_what_a_captured_committee_locks_out_of_turn_breaks_nobody() -> None:
    """Six colluding members lock and decide a block that was not its aggregator's to propose: no
    server takes it."""
    bastard = FORGE.candidate(aggregator=BYSTANDER)
    again = FORGE.again(bastard, (0, 1), closed((0, 0), FORGE.lock(bastard)))
    bench = Bench().ready()
    assert not bench.server.receive("candidate", again, ORDER[1])
    assert bench.server.refused == {"candidate: first proposed out of turn": 1}
    bench.votes(again, phase="cert")
    assert bench.server.chain.height == 0
    later = FORGE.candidate(view=(1, 0))
    early = FORGE.again(later, (0, 1), closed((0, 0), FORGE.lock(later, (0, 0))))
    bench = Bench().ready()
    assert not bench.server.receive("candidate", early, ORDER[1])
    assert bench.server.refused == {"candidate: first proposed out of turn": 1}


def test_a_captured_committee_cannot_decide_before_it_was_proposed() -> None:
    later = FORGE.candidate(view=(1, 0), justification=closed((0, 2)))
    bench = Bench().ready().hear("candidate", later).votes(later, OTHERS, "cert", (0, 0))
    assert bench.server.refused == {"decision": 1}
    assert bench.server.chain.height == 0
    bench.hear("block", FORGE.block())
    assert bench.server.chain.height == 1
