"""Servers that are a few heights apart: what one that is behind knows, and is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consensus.server.catching_up import EARLY_HEIGHTS
from tests.consensus.server.test_catching_up import AFTER, CANDIDATE, FIRST, NEXT, at, between
from tests.helpers.bft_rig import FORGE, LEADER


def test_messages_of_a_height_too_far_ahead_are_not_kept() -> None:
    bench, vote = at(0), AFTER.vote(AFTER.candidate(), LEADER)
    for ahead in range(1, EARLY_HEIGHTS + 4):
        kept = bench.server.receive("vote", replace(vote, height=1 + ahead), 5)
        assert kept == (ahead <= EARLY_HEIGHTS)
    assert len(bench.server.catch_up.early) == EARLY_HEIGHTS
    assert bench.server.refused == {}


def test_a_server_that_was_left_behind_knows_other_proposals_before_it_votes() -> None:
    """A leader shows it one block; before it votes, it hears of the vote for the other one."""
    voter = NEXT.members()[0]
    bench = at(0, next(s for s in NEXT.members()[1:] if s not in NEXT.order()))
    shown, other = NEXT.candidate(), NEXT.candidate(timestamp=2_500_000)
    bench.hear("candidate", shown, sender=NEXT.order()[0])
    for update in NEXT.updates():
        bench.hear("update", update)
    vote = replace(NEXT.vote(other, voter), proposal=other.proposal)
    bench.hear("vote", vote, sender=voter)
    bench.hear("block", FIRST)
    bench.server.enter_height()
    assert bench.part.first_votes, "the vote was taken in"
    bench.wake("tickets")
    assert [vote for vote in bench.said("vote") if vote.phase == "soft"] == []
    assert [timeout.view for timeout in bench.said("timeout")] == [(0, 0)]


TWIN = FORGE.candidate(timestamp=2_500_000)
GOES_ON: dict[str, tuple[str, Any, bool]] = {
    "a closure": ("closure", FORGE.closing(), True),
    "a closure with the block's lock": (
        "closure",
        FORGE.closing(locks={LEADER: FORGE.lock(CANDIDATE)}),
        False,
    ),
    "a closure with another lock": (
        "closure",
        FORGE.closing(locks={LEADER: FORGE.lock(TWIN)}),
        True,
    ),
    "a candidate after a closure": (
        "candidate",
        FORGE.candidate(view=(0, 1), justification=FORGE.closing()),
        True,
    ),
    "a first candidate": ("candidate", TWIN, False),
    "a vote for the block": ("vote", FORGE.vote(CANDIDATE, LEADER), False),
    "a vote for another": ("vote", FORGE.vote(TWIN, LEADER), True),
    "a timeout": ("timeout", FORGE.timeout(LEADER), True),
    "a timeout with the block's lock": (
        "timeout",
        FORGE.timeout(LEADER, lock=FORGE.lock(CANDIDATE)),
        False,
    ),
}


@pytest.mark.parametrize("what", GOES_ON)
@pytest.mark.parametrize("height", [1, 2, 3])
def test_a_server_that_goes_on_without_a_block_is_shown_it(what: str, height: int) -> None:
    """Once, whether the next heights have begun here or not."""
    kind, body, shown = GOES_ON[what]
    bench = between() if height == 1 else at(height - 1)
    for _ in range(3):
        assert not bench.server.receive(kind, body, 5)
    blocks = [block.header.height for block in bench.said("block")]
    assert blocks == ([1] if shown else [])
    assert [to for to in bench.host.whom("block") if to is not None] == ([(5,)] if shown else [])
    bench.server.receive(kind, body, 6)
    assert len(bench.said("block")) == (2 if shown else 0), "another server is, too"


def test_an_older_lock_on_the_block_is_no_excuse_for_silence() -> None:
    """A candidate may come with yet another certificate, whose lock is higher than that one."""
    lock, later = FORGE.lock(CANDIDATE), FORGE.lock(CANDIDATE, (0, 1))
    bench = at(0).hear("block", FORGE.block(CANDIDATE, view=(0, 1)))
    for kind, body, shown in [
        ("closure", FORGE.closing((0, 1), locks={LEADER: lock}), True),
        ("timeout", FORGE.timeout(LEADER, (0, 1), lock=lock), True),
        ("closure", FORGE.closing((0, 1), locks={LEADER: later}), False),
    ]:
        bench.server.catch_up._corrected.clear()
        bench.host.sent.clear()
        bench.server.receive(kind, body, 5)
        assert len(bench.said("block")) == shown


def test_blocks_of_long_ago_are_not_shown_again() -> None:
    bench = at(2)
    bench.server.catch_up._corrected = {(5, height) for height in range(-40, 2)}
    bench.server.catch_up.begin()
    assert all(height > 2 - EARLY_HEIGHTS for _, height in bench.server.catch_up._corrected)
