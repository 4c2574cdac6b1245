"""Positions in drawings of timelines: a lane for each server, time from left to right.

Long times in which nothing happens are drawn short, each as a break with its length. Pure functions
of `consensus.simulation.timeline` records: the templates write what they return as SVG.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from consensus.simulation.timeline import Attempt, Event

LEFT: Final = 66.0
"""Room for the names of servers."""
RIGHT: Final = 34.0
TOP: Final = 50.0
"""Room for the names of attempts and the times."""
ACROSS: Final = 980.0
"""Width of the time that is drawn."""
MOST_BREAKS: Final = 8
IDLE_SHARE: Final = 0.12
"""Share of the time that is drawn from which on a time without an event is a break."""
BREAK: Final = 30.0
"""Width of a break."""
LANE_HEIGHTS: Final = ((40, 22.0), (120, 16.0), (10**9, 11.0))
"""Height of a lane up to this many of them."""
TICKS: Final = 7
MOST_STEPS: Final = 60
"""Most steps whose beginnings are drawn."""


class Mark(NamedTuple):
    """An event, at its middle."""

    x: float
    y: float
    event: Event
    place: int
    """Its place among the events that were given."""


class Lane(NamedTuple):
    """The lane of one server."""

    y: float
    """Its middle."""
    server: int


class Stretch(NamedTuple):
    """A piece of the time that is drawn, with what it is."""

    x: float
    width: float
    label: str


class Band(NamedTuple):
    """The time of one attempt."""

    x: float
    width: float
    attempt: Attempt


class Tick(NamedTuple):
    """A place on the axis of time."""

    x: float
    label: str


class Absence(NamedTuple):
    """A time in which a server was down."""

    x: float
    y: float
    width: float


@dataclass(frozen=True)
class Lanes:
    """A timeline as drawn."""

    width: float
    height: float
    lane_height: float
    lanes: tuple[Lane, ...]
    bands: tuple[Band, ...]
    steps: tuple[Tick, ...]
    """Where the steps after the first of an attempt begin."""
    breaks: tuple[Stretch, ...]
    ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    turns: tuple[Mark, ...]
    """Events of the network, across all lanes."""
    absences: tuple[Absence, ...]
    across: tuple[float, ...]
    """The horizontal place of each event."""
    left: float = LEFT
    top: float = TOP


class Axis:
    """The axis of time: from microseconds to the horizontal place, with breaks."""

    def __init__(self, began: int, ended: int, times: Sequence[int]) -> None:
        """``times``: those at which something happens; in microseconds, in any order."""
        known = sorted({began, max(began, ended), *(at for at in times if began <= at <= ended)})
        gaps = {index: later - at for index, (at, later) in enumerate(pairwise(known))}
        broken = _long_gaps(gaps)
        drawn = sum(gap for index, gap in gaps.items() if index not in broken)
        room = ACROSS - BREAK * len(broken)
        self._times, self._places = known, [LEFT]
        self.breaks: list[Stretch] = []
        for index, gap in gaps.items():
            x = self._places[-1]
            if index in broken:
                self.breaks.append(Stretch(round(x, 1), BREAK, seconds(gap)))
                self._places.append(x + BREAK)
            else:
                self._places.append(x + (room * gap / drawn if drawn else 0.0))

    def place(self, at: int) -> float:
        """The horizontal place of a time; of the nearer end for one that is outside."""
        index = bisect_right(self._times, at) - 1
        if index < 0:
            return self._places[0]
        if index + 1 >= len(self._times):
            return round(self._places[-1], 1)
        low, high = self._times[index], self._times[index + 1]
        x, to = self._places[index], self._places[index + 1]
        return round(x + (to - x) * (at - low) / (high - low), 1)

    def ticks(self, count: int = TICKS) -> list[Tick]:
        """Times to be named, about evenly spaced in the drawing: those of events."""
        found: list[Tick] = []
        least = ACROSS / count
        for at, x in zip(self._times, self._places, strict=True):
            if not found or x - found[-1].x >= least:
                found.append(Tick(round(x, 1), seconds(at - self._times[0])))
        return found


def _long_gaps(gaps: Mapping[int, int]) -> set[int]:
    """The gaps that are breaks: the longest, as long as it is a great share of what is drawn."""
    broken: set[int] = set()
    left = sum(gaps.values())
    for index, gap in sorted(gaps.items(), key=lambda each: (-each[1], each[0])):
        if len(broken) == MOST_BREAKS or gap < IDLE_SHARE * left or gap == left:
            break
        broken.add(index)
        left -= gap
    return broken


def seconds(microseconds: int) -> str:
    """A time for people, as short as it is exact enough."""
    value = microseconds / 1e6
    if value >= 120:
        return f"{value:,.0f} s"
    return f"{value:.1f} s" if value >= 10 else f"{value:.3f} s"


def lanes_of(
    events: Sequence[Event],
    attempts: Sequence[Attempt],
    began: int,
    ended: int,
    down: Sequence[int] = (),
) -> Lanes:
    """The drawing of a timeline.

    ``events``: in the order of time; ``began``, ``ended``: the time that is drawn, in microseconds.
    ``down``: servers that were down for some of it; they have a lane even if nothing was heard of
    them.
    """
    servers = sorted({each.server for each in events if each.server is not None} | set(down))
    lane_height = next(height for most, height in LANE_HEIGHTS if len(servers) <= most)
    middles = {server: TOP + lane_height * (at + 0.5) for at, server in enumerate(servers)}
    axis = Axis(began, ended, [each.at_us for each in events])
    across = [axis.place(each.at_us) for each in events]
    marks, turns = [], []
    for place, (event, x) in enumerate(zip(events, across, strict=True)):
        if event.server is None:
            turns.append(Mark(x, TOP, event, place))
        else:
            marks.append(Mark(x, middles[event.server], event, place))
    return Lanes(
        LEFT + ACROSS + RIGHT,
        TOP + lane_height * len(servers) + 14.0,
        lane_height,
        tuple(Lane(middles[server], server) for server in servers),
        tuple(_bands(attempts, axis.place, ended)),
        tuple(_steps(events, axis.place)),
        tuple(axis.breaks),
        tuple(axis.ticks()),
        tuple(marks),
        tuple(turns),
        tuple(_absences(events, down, axis.place, middles)),
        tuple(across),
    )


def _bands(attempts: Sequence[Attempt], place: Callable[[int], float], ended: int) -> list[Band]:
    """The bands of attempts: each goes on until the next one of which something was seen."""
    seen = [each for each in attempts if each.began_us is not None]
    begins = [place(each.began_us or 0) for each in seen]
    ends = [*begins[1:], place(ended)][: len(begins)]
    return [
        Band(x, round(max(to - x, 1.0), 1), each)
        for x, to, each in zip(begins, ends, seen, strict=True)
    ]


def _steps(events: Sequence[Event], place: Callable[[int], float]) -> list[Tick]:
    """The first event of every step after the first one of its attempt."""
    found: dict[tuple[int, int], int] = {}
    for each in events:
        if each.step and each.attempt is not None and each.kind != "appended":
            found.setdefault((each.attempt, each.step), each.at_us)
    first = list(found.items())[:MOST_STEPS]
    return [Tick(place(at), f"step {step}") for (attempt, step), at in first]


def _absences(
    events: Sequence[Event],
    down: Sequence[int],
    place: Callable[[int], float],
    middles: Mapping[int, float],
) -> list[Absence]:
    """The times in which servers were down: from a crash, or the beginning, to the return."""
    moves: dict[int, list[Event]] = {server: [] for server in down}
    for each in events:
        if each.server is not None and each.kind in ("crashed", "restarted"):
            moves.setdefault(each.server, []).append(each)
    end, found = LEFT + ACROSS, []
    for server, turns in sorted(moves.items()):
        since = None if turns and turns[0].kind == "crashed" else LEFT
        for each in turns:
            if each.kind == "crashed":
                since = place(each.at_us) if since is None else since
            elif since is not None:
                found.append(Absence(since, middles[server], round(place(each.at_us) - since, 1)))
                since = None
        if since is not None:
            found.append(Absence(since, middles[server], round(end - since, 1)))
    return found
