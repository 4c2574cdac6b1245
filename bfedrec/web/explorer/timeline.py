"""The page of a height's timeline: who proposed, voted and gave up, when, and why attempts
failed."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.responses import Response

from bfedrec.runs.folder import RunError
from bfedrec.runs.messages import is_traced
from bfedrec.web.explorer.lanes import lanes_of
from bfedrec.web.explorer.network import NO_TIMELINE, network_of, timeline_of
from bfedrec.web.explorer.telling import (
    SHAPES,
    called,
    failures,
    named,
    outcome,
    reason,
    sentence,
    shape,
)
from bfedrec.web.explorer.visits import Visit
from consensus.simulation.layout import Placed
from consensus.simulation.timeline import Event, HeightTimeline


def told_of(
    events: Sequence[Event], servers: Sequence[Placed], height: int
) -> tuple[list[str], frozenset[int]]:
    """A sentence about each event, and the malicious servers among those that act.

    ``servers``: all, by index; none where they are not known.
    """
    names: dict[int, str] = {}
    bad = set()
    for each in events:
        number = each.server
        if number is not None and number not in names:
            placed = servers[number] if number < len(servers) else None
            names[number] = called(placed, number, height)
            if placed is not None and placed.malicious_at(height):
                bad.add(number)
    told = [sentence(e, None if e.server is None else names[e.server]) for e in events]
    return told, frozenset(bad)


def values_of(timeline: HeightTimeline, servers: Sequence[Placed]) -> dict[str, object]:
    """The values of the drawing of a timeline and of its tables; ``servers`` as in `told_of`."""
    told, bad = told_of(timeline.events, servers, timeline.height)
    shapes = dict.fromkeys(shape(e) for e in timeline.events if e.kind not in ("cut", "joined"))
    ended, down = timeline.ended_us, timeline.down.servers
    return {
        "timeline": timeline,
        "told": told,
        "bad": bad,
        "lanes": lanes_of(timeline.events, timeline.attempts, timeline.began_us, ended, down),
        "shape": shape,
        "shapes": [(name, meaning) for name, meaning in SHAPES.items() if name in shapes],
        "reason": reason,
        "named": named,
        "outcome": outcome(timeline),
        "failed": failures(timeline.attempts),
        "turns": any(each.kind in ("cut", "joined") for each in timeline.events),
    }


def show(visit: Visit) -> Response:
    """The timeline of a height of a run."""
    folder, height = visit.place(), visit.height()
    heights, timeline = timeline_of(folder, height)
    if not heights:
        return visit.page("timeline.html", {"height": height, "problem": NO_TIMELINE}, 404)
    if timeline is None:
        raise HTTPException(404, f"There is no timeline of height {height:,}.")
    try:
        servers = network_of(folder).layout.servers
    except RunError:  # the timeline says enough without it
        servers = ()
    place = heights.index(height)
    values = {
        **values_of(timeline, servers),
        "height": height,
        "problem": "",
        "before": heights[place - 1] if place else None,
        "after": heights[place + 1] if place + 1 < len(heights) else None,
        "last": heights[-1],
        "traced": is_traced(folder),
    }
    return visit.page("timeline.html", values)
