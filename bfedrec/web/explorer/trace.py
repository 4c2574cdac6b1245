"""The pages of a torture trace: its violation, and what led to it, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from bfedrec.explorer.trace import read_trace
from bfedrec.runs.folder import RunError
from bfedrec.web.explorer.kept import Kept
from bfedrec.web.explorer.network import Now, drawing
from bfedrec.web.explorer.telling import called, sentence
from bfedrec.web.explorer.timeline import values_of
from bfedrec.web.explorer.visits import Visit
from consensus.simulation.layout import FaultFacts
from consensus.simulation.timeline import Event, HeightTimeline
from consensus.torture.trace import Trace

START: Final = "The beginning: nothing has happened yet."
VIOLATION: Final = "Here the violation shows"

Stamp = tuple[Path, int, int, int]


@dataclass(frozen=True)
class Step:
    """One step of a trace: an event of a height, the violation, or the beginning."""

    at_us: int
    height: int
    """The place of its height among those of the trace."""
    place: int
    """The place of its event in that height; of the last one so far if it is none; -1: none."""
    event: Event | None
    """None at the beginning and where the violation shows."""


class Story:
    """A trace as steps in the order of time: 0 is the beginning."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    @cached_property
    def steps(self) -> list[Step]:
        """All steps."""
        found = [
            Step(event.at_us, index, place, event)
            for index, height in enumerate(self.trace.heights)
            for place, event in enumerate(height.events)
        ]
        found.sort(key=lambda step: step.at_us)
        began = self.trace.heights[0].began_us if self.trace.heights else 0
        found.insert(0, Step(began, 0, -1, None))
        at = self.violated
        if at is not None and self.trace.violation is not None:
            height = self._height(self.trace.violation.height, found[at - 1].height)
            last = max((s.place for s in found[:at] if s.height == height), default=-1)
            found.insert(at, Step(self.trace.violation.at_us, height, last, None))
        return found

    @cached_property
    def violated(self) -> int | None:
        """The step at which the violation shows: after all events up to its time; None if every
        invariant holds."""
        violation = self.trace.violation
        if violation is None:
            return None
        events = (event for height in self.trace.heights for event in height.events)
        return 1 + sum(event.at_us <= violation.at_us for event in events)

    @cached_property
    def numbers(self) -> dict[tuple[int, int], int]:
        """The number of the step of each event, by the place of its height and its own."""
        return {
            (step.height, step.place): number
            for number, step in enumerate(self.steps)
            if step.event is not None
        }

    def _height(self, height: int | None, otherwise: int) -> int:
        numbers = [each.height for each in self.trace.heights]
        return numbers.index(height) if height in numbers else otherwise

    def timeline(self, step: Step) -> HeightTimeline | None:
        """The timeline of the height of a step; None in a trace without heights."""
        return self.trace.heights[step.height] if self.trace.heights else None

    def told(self, number: int) -> str:
        """A sentence of what happens at a step."""
        step, violation = self.steps[number], self.trace.violation
        if step.event is None:
            if number and violation is not None:
                return f"{VIOLATION}: {violation.invariant}: {violation.what}"
            return START
        server, servers = step.event.server, self.trace.layout.servers
        if server is None:
            return sentence(step.event)
        placed = servers[server] if server < len(servers) else None
        timeline = self.timeline(step)
        height = 0 if timeline is None else timeline.height
        return sentence(step.event, called(placed, server, height))

    def now(self, number: int) -> Now:
        """The state of the network after a step."""
        step = self.steps[number]
        timeline = self.timeline(step)
        first = self.trace.heights[0].down.servers if self.trace.heights else ()
        moved = {e.server for h in self.trace.heights for e in h.events if e.kind == "crashed"}
        down = set(first) - moved  # they were down from the beginning
        heard = set()
        for each in self.steps[1 : number + 1]:
            event = each.event
            if event is None or event.server is None:
                continue
            if event.kind == "crashed":
                down.add(event.server)
            elif event.kind == "restarted":
                down.discard(event.server)
            elif each.height == step.height:
                heard.add(event.server)
        faults = tuple(f for f in self.trace.layout.faults if f.active(step.at_us, step.at_us))
        return Now(
            None if timeline is None else timeline.height,
            frozenset(down),
            cut_off(faults, len(self.trace.layout.servers)),
            faults,
            None if step.event is None else step.event.server,
            frozenset(heard),
        )


def cut_off(faults: Sequence[FaultFacts], servers: int) -> frozenset[int]:
    """The servers that one of some faults keeps from more than half of the others."""
    off: set[int] = set()
    for each in faults:
        if each.name == "eclipse":
            off.update(each.servers.servers)
        grouped = {server for group in each.groups for server in group.servers}
        parts = [set(group.servers) for group in each.groups]
        if parts:
            parts.append(set(range(servers)) - grouped)
        for part in parts:
            if 2 * (servers - len(part)) > servers - 1:
                off |= part
    return frozenset(off)


_stories: Kept[Stamp, Story] = Kept(2)


def story_of(visit: Visit) -> Story:
    """The trace that this server shows. Raises `RunError` for a file that is none."""
    path = visit.explorer.trace
    if path is None:
        raise HTTPException(404)
    try:
        stat = path.stat()
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from None
    stamp = (path, stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return _stories.get(stamp, lambda: Story(read_trace(path)))


def lead(visit: Visit) -> Response:
    """The way to the trace from the address of the server."""
    return RedirectResponse("/trace", 303)


def show(visit: Visit) -> Response:
    """A trace at a step: ``step``, or the beginning."""
    story = story_of(visit)
    asked = visit.asked("step", 12)
    last = len(story.steps) - 1
    number = 0
    if asked.isascii() and asked.isdigit():
        number = min(int(asked), last)
    step = story.steps[number]
    timeline = story.timeline(step)
    layout = story.trace.layout
    values: dict[str, object] = {} if timeline is None else values_of(timeline, layout.servers)
    values |= {
        **drawing(layout, story.now(number), " at the start"),
        "trace": story.trace,
        "timeline": timeline,
        "height": None if timeline is None else timeline.height,
        "number": number,
        "last": last,
        "violated": story.violated,
        "sentence": story.told(number),
        "seconds": step.at_us / 1e6,
        "now": step.place,
        "at": lambda place: f"/trace?step={story.numbers[step.height, place]}#step",
    }
    return visit.page("trace.html", values)


def show_height(visit: Visit) -> Response:
    """The whole timeline of one height of a trace."""
    story, height = story_of(visit), visit.height()
    heights = [each.height for each in story.trace.heights]
    if height not in heights:
        raise HTTPException(404, f"The trace has no height {height:,}.")
    place = heights.index(height)
    values = {
        **values_of(story.trace.heights[place], story.trace.layout.servers),
        "height": height,
        "before": heights[place - 1] if place else None,
        "after": heights[place + 1] if place + 1 < len(heights) else None,
    }
    return visit.page("trace_height.html", values)
