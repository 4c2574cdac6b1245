"""Positions in drawings of timelines."""

from __future__ import annotations

from itertools import pairwise

import pytest

from bfedrec.web.explorer.lanes import (
    ACROSS,
    BREAK,
    LEFT,
    MOST_BREAKS,
    MOST_STEPS,
    Axis,
    lanes_of,
    seconds,
)
from consensus.simulation.timeline import Attempt, Event
from tests.helpers.timelines import TIMELINE


def test_time_runs_from_left_to_right() -> None:
    times = [3, 40, 41, 90, 100]
    axis = Axis(0, 100, times)
    assert axis.place(0) == axis.place(-5) == LEFT
    assert axis.place(100) == axis.place(10**9) == LEFT + ACROSS
    places = [axis.place(at) for at in range(101)]
    assert all(one < other for one, other in pairwise(places))


def test_even_time_is_drawn_as_it_is() -> None:
    axis = Axis(0, 1000, range(0, 1001, 50))
    assert axis.breaks == []
    assert axis.place(500) == pytest.approx(LEFT + ACROSS / 2, abs=0.1)


def test_long_idle_times_are_short_breaks() -> None:
    burst = [10_000_000 + each for each in range(0, 1000, 50)]
    axis = Axis(0, 20_000_000, burst)
    assert [each.label for each in axis.breaks] == ["10.0 s", "9.999 s"]
    assert [each.width for each in axis.breaks] == [BREAK, BREAK]
    drawn = axis.place(burst[-1]) - axis.place(burst[0])
    assert drawn == pytest.approx(ACROSS - 2 * BREAK, abs=0.2)


def test_breaks_are_few_and_something_is_left() -> None:
    doubling = [2**each for each in range(40)]
    axis = Axis(0, 2**39, doubling)
    assert len(axis.breaks) == MOST_BREAKS
    assert axis.place(2**39) == pytest.approx(LEFT + ACROSS)
    assert Axis(5, 5, []).place(5) == LEFT
    assert Axis(0, 100, []).breaks == []
    assert Axis(9, 3, [4]).place(9) == LEFT  # a foreign file may say anything


def test_ticks_keep_their_distance() -> None:
    axis = Axis(0, 1_000_000, range(0, 1_000_001, 1000))
    ticks = axis.ticks(5)
    assert 4 <= len(ticks) <= 6
    assert all(other.x - one.x >= ACROSS / 5 for one, other in pairwise(ticks))
    assert ticks[0].label == "0.000 s"


def test_times_are_told_as_exactly_as_needed() -> None:
    assert [seconds(each) for each in (1_234, 12_345_678, 4_155_000_000)] == [
        "0.001 s",
        "12.3 s",
        "4,155 s",
    ]


def test_every_server_that_acted_or_was_down_has_a_lane() -> None:
    drawn = lanes_of(
        TIMELINE.events, TIMELINE.attempts, TIMELINE.began_us, TIMELINE.ended_us, (2, 9)
    )
    assert [lane.server for lane in drawn.lanes] == [1, 2, 3, 9]
    middles = {lane.server: lane.y for lane in drawn.lanes}
    assert len(drawn.marks) + len(drawn.turns) == len(TIMELINE.events)
    for mark in drawn.marks:
        assert mark.event is TIMELINE.events[mark.place]
        assert mark.y == middles[mark.event.server or 0]
        assert mark.x == drawn.across[mark.place]
    assert [mark.event.kind for mark in drawn.turns] == ["cut"]
    assert max(middles.values()) < drawn.height


def test_attempts_follow_each_other_as_bands() -> None:
    drawn = lanes_of(TIMELINE.events, TIMELINE.attempts, TIMELINE.began_us, TIMELINE.ended_us)
    first, second = drawn.bands
    assert [band.attempt.ended for band in drawn.bands] == ["closed by all", "decided"]
    assert first.x + first.width == pytest.approx(second.x)
    assert second.x + second.width == pytest.approx(LEFT + ACROSS, abs=0.2)
    unseen = Attempt(1, "no candidate", None, 0, 0, {}, 0)
    assert lanes_of((), [unseen], 0, 10).bands == ()


def test_steps_begin_with_their_first_event() -> None:
    events = [Event(at, "voted", 0, 0, step) for at, step in ((1, 0), (5, 1), (6, 1), (9, 2))]
    drawn = lanes_of(events, (), 0, 10)
    assert [tick.label for tick in drawn.steps] == ["step 1", "step 2"]
    assert [tick.x for tick in drawn.steps] == [drawn.across[1], drawn.across[3]]
    many = [Event(at, "voted", 0, 0, at) for at in range(MOST_STEPS + 9)]
    assert len(lanes_of(many, (), 0, 1000).steps) == MOST_STEPS


def test_absences_go_from_a_crash_to_the_return() -> None:
    events = [
        Event(10, "crashed", 1),
        Event(20, "restarted", 1),
        Event(30, "restarted", 2),
        Event(40, "crashed", 1),
        Event(50, "crashed", 1),
    ]
    drawn = lanes_of(events, (), 0, 100, (1, 2, 3))
    x = dict(zip([10, 20, 30, 40, 50], drawn.across, strict=True))
    right = LEFT + ACROSS
    assert [(gone.x, round(gone.x + gone.width, 1)) for gone in drawn.absences] == [
        (x[10], x[20]),
        (x[40], right),
        (LEFT, x[30]),
        (LEFT, right),
    ]
    assert [gone.y for gone in drawn.absences] == [
        drawn.lanes[0].y,
        drawn.lanes[0].y,
        drawn.lanes[1].y,
        drawn.lanes[2].y,
    ]


def test_many_lanes_are_lower() -> None:
    def height(servers: int) -> float:
        return lanes_of([Event(1, "voted", each) for each in range(servers)], (), 0, 2).lane_height

    assert height(30) > height(100) > height(1000)
