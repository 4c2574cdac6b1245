"""The pages of a torture trace, over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from bfedrec.cli.main import main
from bfedrec.web.explorer.trace import START, Story, cut_off
from consensus.simulation.layout import FaultFacts, Layout, Malice
from consensus.simulation.timeline import Event, Named
from consensus.torture.arena.scenario import Scenario
from consensus.torture.trace import Trace, Violated
from consensus.torture.tracing import trace_of
from tests.helpers.shown import served
from tests.helpers.timelines import timelines
from tests.helpers.web import Client

LOCK = (
    '{"seed":0,"servers":6,"latency":60.0,"clients":1,"heights":2,"vote":4000,"settle":500,'
    '"resend":2000,"faults":[{"loss":0.02,"servers":[0,1,2,3,5],"from":0.0,"until":3.78},'
    '{"crash":[1,2,3,4,5],"lost_tail":5,"from":1.51,"until":2.35},'
    '{"partition":[[0,2,3]],"from":0.61,"until":4.67}]}'
)
"""A shrunk scenario that finds out that the rule ``lock`` is off."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trace of a mutant's violation, as the command writes it."""
    path = tmp_path_factory.mktemp("trace") / "lock.json"
    words = ["torture", "--break", "lock", "--replay", LOCK, "--trace", str(path)]
    assert main(words) == 1
    return path


@pytest.fixture(scope="module")
def story(place: Path) -> Story:
    return Story(Trace.decode(place.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def client(place: Path) -> Iterator[Client]:
    with served(place) as found:
        yield found


def sound() -> Trace:
    return trace_of(Scenario(seed=1, servers=4, heights=2), "bfedrec torture --replay ...")[1]


def told_at(page: str) -> str:
    """What a page says of its step."""
    (found,) = re.findall(r'<p class="note[^"]*" role="status">(.*?)</p>', page, re.DOTALL)
    return unescape(found)


def test_the_address_leads_to_the_trace_and_to_nothing_else(client: Client, place: Path) -> None:
    first = client.get("/")
    assert (first.status, first.where) == (303, "/trace")
    for path in (
        f"/run/{place.parent.name}",
        "/compare",
        "/network/x",
        f"/chain/{place.parent.name}",
    ):
        assert client.get(path).status == 404


def test_the_violation_comes_first_and_loud(client: Client, story: Story) -> None:
    page = client.get("/trace").text
    violation = story.trace.violation
    assert violation is not None
    assert 0 < page.index('role="alert"') < page.index("<h2")
    alert = unescape(page[page.index('role="alert"') : page.index("<h2")])
    assert violation.invariant in alert
    assert violation.what in alert
    assert "switched off on purpose" in alert
    assert f"Step 0 of {len(story.steps) - 1}" in page
    assert f"To the violation (step {story.violated})" in page
    assert "Here the violation shows" in told_at(client.get(f"/trace?step={story.violated}").text)
    assert unescape(page).count(story.trace.command) == 1
    assert story.trace.scenario in unescape(page)


def test_a_trace_is_walked_from_the_beginning_to_its_end(client: Client, story: Story) -> None:
    path, seen = "/trace?step=0", []
    while path:
        page = client.get(path).text
        seen.append(told_at(page).split(": ", 1)[1])
        following = re.search(r'rel="next" href="([^"#]+)', page)
        path = following[1] if following else ""
    events = [event for height in story.trace.heights for event in height.events]
    assert len(seen) == len(events) + 2
    assert seen == [story.told(number) for number in range(len(story.steps))]
    assert seen[0] == START
    assert seen[story.violated or 0].startswith("Here the violation shows")
    assert len(re.findall(r'rel="prev"', page)) == 1
    assert 'href="/trace?step=0#step">First' in page


def test_a_step_shows_what_has_happened_so_far(client: Client, story: Story) -> None:
    for number in (0, 5, 20, story.violated or 0):
        step = story.steps[number]
        height = story.trace.heights[step.height]
        page = client.get(f"/trace?step={number}").text
        ahead = [each for each in height.events[step.place + 1 :] if each.server is not None]
        assert len(re.findall(r'<use [^>]*class="m [a-z_-]+ ahead"', page)) == len(ahead)
        assert page.count('<tr class="ahead">') == len(height.events) - step.place - 1
        assert page.count('<tr class="now">') == (step.place >= 0)
        assert page.count('class="here"') == (step.place >= 0)
    assert page.count("To the violation (step") == 0
    assert "To the violation (step" in client.get("/trace?step=1").text


def test_the_network_follows_the_steps(client: Client, story: Story) -> None:
    crashed = [n for n, s in enumerate(story.steps) if s.event and s.event.kind == "crashed"]
    assert len(crashed) == 5
    page = client.get(f"/trace?step={crashed[-1]}").text
    assert page.count('class="badge bad">✕ down') == 5
    assert page.count("is-down") - 1 == 5  # one in the legend
    assert page.count('class="server honest acts') == 1
    assert page.count('class="badge bad">cut off') == 6  # three and three: nobody hears most others
    before = client.get(f"/trace?step={crashed[0] - 1}").text
    assert "✕ down" not in before
    last = client.get(f"/trace?step={len(story.steps) - 1}").text
    assert "✕ down" not in last


def test_events_link_to_their_steps(client: Client, story: Story) -> None:
    page = client.get("/trace").text
    links = [int(each) for each in re.findall(r'<td><a href="/trace\?step=(\d+)#step">', page)]
    assert links == [n for n, s in enumerate(story.steps) if s.event is not None]


@pytest.mark.parametrize("asked", ["", "x", "-3", "1e3", "²", "9" * 500])
def test_an_odd_step_is_the_beginning_or_the_last(client: Client, story: Story, asked: str) -> None:
    page = client.get("/trace?step=" + "".join(f"%{b:02x}" for b in asked.encode()))
    assert page.status == 200
    number = len(story.steps) - 1 if asked.startswith("9") else 0
    assert f"Step {number} of" in page.text


def test_every_height_has_its_timeline(tmp_path: Path) -> None:
    trace = sound()
    path = tmp_path / "sound.json"
    path.write_text(trace.encode())
    with served(path) as client:
        page = client.get("/trace").text
        assert "Every invariant holds." in page
        assert 'role="alert"' not in page
        assert told_at(page).endswith(START)
        for each in trace.heights:
            assert f'href="/trace/{each.height}"' in page
            height = client.get(f"/trace/{each.height}")
            assert height.status == 200
            assert f"{len(each.events)} events" in height.text
        assert 'rel="next"' in client.get("/trace/1").text
        assert client.get("/trace/99").status == 404


def test_the_violation_stands_among_the_events_at_its_time() -> None:
    trace = sound()
    (first, second) = trace.heights
    at = second.events[2].at_us
    violation: dict[str, Any] = {
        "invariant": "i",
        "what": "w",
        "at_us": at,
        "height": 2,
        "servers": (),
    }
    story = Story(replace(trace, violation=Violated(**violation)))
    violated = story.violated or 0
    assert story.steps[violated].event is None
    assert story.steps[violated].height == 1
    assert all(each.at_us <= at for each in story.steps[:violated])
    assert all(each.at_us > at for each in story.steps[violated + 1 :])
    events = [each.event for each in story.steps if each.event is not None]
    assert sorted(events, key=str) == sorted([*first.events, *second.events], key=str)
    unknown = Story(replace(trace, violation=Violated(**{**violation, "height": 77})))
    assert unknown.steps[violated].height == unknown.steps[violated - 1].height


def test_who_is_cut_off_follows_from_the_faults() -> None:
    groups = (Named.of([0]), Named.of([1, 2]))
    partition = FaultFacts("partition", 0, None, groups=groups)
    assert cut_off([partition], 9) == {0, 1, 2}
    eclipse = FaultFacts("eclipse", 0, None, Named.of([4]))
    assert cut_off([partition, eclipse, FaultFacts("loss", 0, None, Named.of([7]))], 9) == {
        0,
        1,
        2,
        4,
    }
    assert cut_off([], 9) == frozenset()
    nothing = FaultFacts("partition", 0, None, groups=(Named.of(range(9)),))
    assert cut_off([nothing], 9) == frozenset()


def test_a_server_without_a_crash_was_down_from_the_beginning() -> None:
    events = (Event(1, "voted", 0), Event(2, "restarted", 1), Event(3, "crashed", 2))
    (height,) = timelines(1)
    height = replace(height, began_us=0, events=events, down=Named.of([1, 2, 3]))
    story = Story(replace(sound(), heights=(height,)))
    downs = [sorted(story.now(number).down) for number in range(4)]
    assert downs == [[1, 3], [1, 3], [3], [2, 3]]


def test_hostile_texts_are_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\u202e\n"
    events = (
        Event(1, "voted", 2**62, 2**62, 2**62, evil, evil),
        Event(2, "evidence", 9, what=evil),
    )
    (height,) = timelines(1)
    height = replace(height, began_us=0, events=events, left_out={evil: 1}, block=evil)
    violation: dict[str, Any] = {
        "invariant": evil,
        "what": evil,
        "at_us": 1,
        "height": None,
        "servers": (2**62,),
    }
    texts: dict[str, Any] = dict.fromkeys(
        ("scenario", "command", "protocol", "premise", "rule", "digest"), evil
    )
    counted = {name: {evil: 1} for name in ("faults", "behaviours", "branches", "clients")}
    fault = FaultFacts(evil, 0, None, Named.of([1]), options=evil)
    layout = Layout.of([0, 0], [1, 1], {0: (Malice(evil),)}, None, None)
    texts["layout"] = replace(layout, faults=(fault,))
    trace = replace(
        sound(), heights=(height,), violation=Violated(**violation), counted=counted, **texts
    )
    path = tmp_path / "evil.json"
    path.write_text(trace.encode())
    with served(path) as client:
        for address in ("/trace", "/trace?step=0", "/trace?step=3", "/trace/1"):
            page = client.get(address)
            assert page.status == 200
            assert "<script>alert" not in page.text
            assert "\u202e" not in page.text
    assert "&lt;script&gt;" in page.text


def test_a_trace_without_heights_is_served(tmp_path: Path) -> None:
    violation: dict[str, Any] = {
        "invariant": "i",
        "what": "at once",
        "at_us": 0,
        "height": 1,
        "servers": (),
    }
    trace = replace(sound(), heights=(), violation=Violated(**violation))
    path = tmp_path / "empty.json"
    path.write_text(trace.encode())
    with served(path) as client:
        page = client.get("/trace")
        assert page.status == 200
        assert "Step 0 of 1" in page.text
        assert "at once" in told_at(client.get("/trace?step=1").text)
        assert "No height had begun." in page.text


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "\x00", "[" * 10**5, '{"format":"bfedrec-trace-1"}']
)
def test_a_file_that_is_no_trace_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x<b>.json"
    path.write_text(content)
    with served(path) as client:
        for address in ("/trace", "/trace/1"):
            page = client.get(address)
            assert page.status == 422
            assert "This cannot be shown" in page.text
            assert "x<b>" not in page.text


def test_a_trace_that_is_replaced_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text(sound().encode())
    with served(path) as client:
        assert "Every invariant holds." in client.get("/trace").text
        path.write_text("{}")
        assert client.get("/trace").status == 422
        path.unlink()
        assert client.get("/trace").status == 422
        path.write_text(json.dumps(replace(sound(), outside=True).to_node()))
        assert "Outside of the premise" in client.get("/trace").text
