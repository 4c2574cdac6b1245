"""The timeline of a height: its form in JSON, which may come from anybody."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from consensus.simulation.checked_json import BadTimeline
from consensus.simulation.timeline import (
    KINDS,
    MOST_BLOCKS,
    MOST_OF_A_KIND,
    MOST_SERVERS,
    Event,
    HeightTimeline,
    Named,
)
from tests.helpers.timelines import BLOCK, TIMELINE


def test_a_line_gives_the_timeline_back() -> None:
    line = TIMELINE.line()
    assert "\n" not in line
    assert line.startswith('{"height":7,'), "a reader finds a height by the beginning of its line"
    assert HeightTimeline.from_line(line) == TIMELINE
    bare = replace(TIMELINE, figures=None, events=(), attempts=(), block="", outcome="open")
    assert HeightTimeline.from_line(bare.line()) == bare


def test_figures_of_before_delays_were_measured_are_read() -> None:
    figures = TIMELINE.figures
    assert figures is not None
    older = replace(TIMELINE, figures=replace(figures, delay_us=None))
    assert "delay_us" not in older.line()
    assert HeightTimeline.from_line(older.line()) == older


def test_events_count_from_the_beginning_of_the_height_and_end_with_what_is_set() -> None:
    node: Any = TIMELINE.to_node()
    assert node["events"][0] == [0, "cut", None, None, None, "partition"]
    assert node["events"][1] == [200_000, "proposed", 3, 0, 0, "", 0]
    assert node["events"][5] == [1_100_000, "evidence", 1, 0, 0, "proposal", None, 3]
    assert node["blocks"][1] == BLOCK


def test_servers_and_blocks_are_named_up_to_a_number() -> None:
    many = Named.of([*range(MOST_SERVERS + 5), 3])
    assert (many.count, many.servers[-1]) == (MOST_SERVERS + 5, MOST_SERVERS - 1)
    events = tuple(
        Event(1_000_000, "proposed", 1, 0, 0, block=f"block {number}")
        for number in range(MOST_BLOCKS + 2)
    )
    found = HeightTimeline.from_line(replace(TIMELINE, events=events, down=many).line())
    assert found.down == many
    assert [event.block for event in found.events[-3:]] == [f"block {MOST_BLOCKS - 1}", "", ""]


def changed(place: list[Any], value: Any) -> str:
    """The line with one value replaced; no value: taken away."""
    node: Any = json.loads(TIMELINE.line())
    there = node
    for key in place[:-1]:
        there = there[key]
    if value is Ellipsis:
        del there[place[-1]]
    else:
        there[place[-1]] = value
    return json.dumps(node)


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (["height"], 0, "height: expected an integer from 1, got 0"),
        (["height"], True, "height: "),
        (["height"], 7.0, "height: "),
        (["height"], 2**63, "height: "),
        (["began"], -1, "began: expected an integer from 0, got -1"),
        (["ended"], 999_999, "ended: expected an integer from 1000000"),
        (["outcome"], "won", "outcome: expected one of decided, "),
        (["outcome"], ["decided"], "outcome: "),
        (["block"], "x" * 201, "block: expected a text of 200 characters at most"),
        (["block"], None, "block: "),
        (["figures"], ..., "timeline: expected a map of height, "),
        (["figures"], [], "figures: expected a map of bytes, "),
        (["figures", "captured"], 0, "figures.captured: "),
        (["figures", "messages"], -1, "figures.messages: "),
        (["figures", "bytes"], {"vote": "7"}, "figures.bytes: "),
        (["figures", "bytes"], {f"{n}": 1 for n in range(201)}, "figures.bytes: "),
        (["figures", "bytes"], {"x" * 201: 1}, "figures.bytes: "),
        (["figures", "delay_us"], 0.25, "figures.delay_us: "),
        (["left_out", "received"], -12, "left_out: "),
        (["down"], [2], "down: expected [number, "),
        (["down"], [1, [2, 1]], "down: expected ascending servers"),
        (["down"], [1, [1, 2]], "down: expected an integer from 2, got 1"),
        (["down"], [2000, list(range(1025))], "down: expected a list of 1024 at most"),
        (["cut_off", 1, 0], -1, "cut_off: "),
        (["blocks"], ["x"] * 65, "blocks: "),
        (["events"], {}, "events: expected a list"),
        (["events"], [[0, "cut"]] * (len(KINDS) * MOST_OF_A_KIND + 1), "events: "),
        (["events", 0], [0], "event: expected [time, kind, ...]"),
        (["events", 0], [0, "cut", *range(7)], "event: expected a list of 8 at most"),
        (["events", 0], "cut", "event: "),
        (["events", 0, 0], -1, "event.time: "),
        (["events", 0, 0], 2**63 - 1, "event.time: "),
        (["events", 0, 1], "vanished", "event.kind: "),
        (["events", 1, 2], "3", "event.server: "),
        (["events", 1, 3], -1, "event.attempt: "),
        (["events", 1, 5], 7, "event.what: "),
        (["events", 1, 6], 2, "event.block: there is no such block"),
        (["events", 1, 6], -1, "event.block: "),
        (["events", 5, 7], 1.5, "event.about: "),
        (["attempts", 0], [0], "attempt: expected nine values"),
        (["attempts", 0, 1], "lost", "attempt.ended: "),
        (["attempts", 0, 2], -1, "attempt.began: "),
        (["attempts", 0, 5], [], "attempt.votes: "),
        (["attempts", 0, 8], "100", "attempt.weight: "),
        (["attempts"], [[0] * 9] * 65, "attempts: "),
    ],
)
def test_what_is_no_timeline_is_told_in_a_line(place: list[Any], value: Any, told: str) -> None:
    with pytest.raises(BadTimeline) as error:
        HeightTimeline.from_line(changed(place, value))
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "not JSON: "),
        ("null", "timeline: "),
        ("[]", "timeline: "),
        ('"height"', "timeline: "),
        ('{"height":1', "not JSON: "),
        (TIMELINE.line().replace("9500000", "NaN"), "not JSON: NaN is no number"),
        (TIMELINE.line().replace("9500000", "-Infinity"), "not JSON: -Infinity is no number"),
        (TIMELINE.line().replace("9500000", "1e400"), "ended: "),
        (TIMELINE.line().replace("9500000", "9" * 5000), "not JSON: "),
        ("[" * 100_000, "more than 32 lists and maps within each other"),
        ('{"a":' * 100_000, "more than 32 lists and maps within each other"),
        ("[" * 33 + "]" * 33, "more than 32 lists and maps within each other"),
        ("[" * 32 + "]" * 32, "timeline: "),
    ],
)
def test_what_is_no_json_or_too_deep_is_told_in_a_line(line: str, told: str) -> None:
    with pytest.raises(BadTimeline) as error:
        HeightTimeline.from_line(line)
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250
