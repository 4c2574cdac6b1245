"""Malicious servers by schedule: until a height or a second, and in turns."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.adversary.behaviour import Behaviour
from consensus.adversary.composed import Composed
from consensus.adversary.groups import assign
from consensus.adversary.when import ALWAYS, HEIGHTS, SECONDS, When
from consensus.simulation.layout import Malice
from tests.helpers.toy import Toy


def dealt(*nodes: dict[str, Any]) -> dict[int, Behaviour]:
    return assign(nodes, 5, [1] * 5, [0] * 5, np.random.default_rng(0))


def active(nodes: dict[str, Any], heights: int, server: int = 0) -> tuple[list[Any], Toy]:
    """The behaviours of a server at each height of a small world."""
    found = dealt(nodes)
    toy, seen = Toy(servers=5, clients=3, crypto="modelled", malicious=found), []
    composed = found[server]
    assert isinstance(composed, Composed)
    for _ in range(heights):
        toy.play()
        seen.append(composed.active)
    return seen, toy


@given(
    st.integers(1, 50),
    st.integers(0, 50),
    st.integers(1, 9),
    st.integers(1, 5),
    st.integers(1, 200),
    st.sampled_from([HEIGHTS, SECONDS]),
)
def test_of_behaviours_in_turn_one_applies_at_a_time(
    from_: int, length: int, each: int, turns: int, now: int, unit: str
) -> None:
    whole = When(from_, from_ + length, unit, each)
    other = 10**6 if unit == HEIGHTS else now
    at = (now, other) if unit == HEIGHTS else (10**6, now)
    held = [when.holds(*at) for when in whole.taking_turns(turns)]
    inside = from_ <= now <= from_ + length
    assert sum(held) == inside
    if inside:
        assert held.index(True) == (now - from_) // each % turns


def test_always_is_always() -> None:
    assert ALWAYS.holds(1, 0.0)
    assert ALWAYS.holds(2**31, 1e9)


def test_behaviours_take_turns() -> None:
    nodes = {"behaviour": ["silent", "honest", "stale"], "servers": [0], "each": 2, "from": 2}
    seen, toy = active(nodes, 9)
    turns = [("silent",)] * 2 + [()] * 2 + [("stale",)] * 2
    assert seen == [(), *turns, *turns[:2]]
    assert toy.world.network._relays[0] is False


def test_a_sleeper_turns_with_the_first_height_after_its_second() -> None:
    nodes = {"behaviour": "silent", "servers": [0], "by": "seconds", "from": 3.0, "until": 6.0}
    found = dealt(nodes)
    toy = Toy(servers=5, clients=3, crypto="modelled", malicious=found)
    began, acting = [], []
    for _ in range(14):
        result = toy.play()
        began.append(result.began)
        acting.append(found[0].acting)
    assert acting == [3.0 <= at <= 6.0 for at in began]
    assert True in acting
    assert acting[0] is acting[-1] is False


def test_a_sleeper_has_no_malicious_weight_before_it_turns() -> None:
    toy = Toy(
        servers=5,
        clients=3,
        crypto="modelled",
        malicious=dealt({"behaviour": "spam", "servers": [0, 1], "from": 3}),
    )
    weights = [toy.play().malicious_weight[0] for _ in range(4)]
    assert weights == [(0, 5), (0, 5), (2, 5), (2, 5)]


def test_what_is_wrong_with_a_schedule_is_told() -> None:
    good = {"behaviour": ["silent", "honest"], "servers": [0], "each": 3}
    assert dealt(good)[0].names == ("silent",)  # type: ignore[attr-defined]
    for change, told in (
        ({"each": 0}, r"malicious\.each: expected a number of heights, from 1 to 2147483648"),
        ({"each": 2.5}, r"malicious\.each: expected a number of heights"),
        ({"by": "blocks"}, r"malicious\.by: expected one of heights, seconds, got 'blocks'"),
        ({"by": "seconds", "each": 0}, r"malicious\.each: expected simulated seconds, from 1e-09"),
        ({"by": "seconds", "from": -1}, r"malicious\.from: expected simulated seconds, from 0 to"),
        ({"from": 1.5}, r"malicious\.from: expected a height, from 1"),
        ({"from": 9, "until": 8}, r"malicious: until \(8\) comes before from \(9\)"),
        ({"behaviour": ["silent", "honst"]}, r"malicious\.behaviour: there is no 'honst'"),
    ):
        with pytest.raises(ValueError, match=told):
            dealt({**good, **change})
    at_once = {"behaviour": ["silent", "honest"], "servers": [0]}
    with pytest.raises(ValueError, match=r"malicious\.behaviour: there is no 'honest'"):
        dealt(at_once)


@given(
    st.integers(1, 20), st.one_of(st.none(), st.integers(20, 40)), st.integers(1, 4),
    st.integers(1, 3), st.integers(1, 60),
)  # fmt: skip
def test_pages_know_the_heights_of_a_schedule(
    first: int, last: int | None, each: int, turns: int, height: int
) -> None:
    whole = When(first, inf if last is None else last, HEIGHTS, each)
    for when in whole.taking_turns(turns):
        malice = Malice.of("silent", when)
        assert malice.at(height) == when.holds(height, 0.0)


def test_pages_tell_the_seconds_of_a_schedule() -> None:
    until = When(100, 250, SECONDS, 30).taking_turns(2)[1]
    assert Malice.of("silent", until).name == "silent (seconds 100 to 250, turn 2 of 2)"
    assert Malice.of("silent", When(7.5, unit=SECONDS)).name == "silent (seconds 7.5 on)"
