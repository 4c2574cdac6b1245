"""A height's timeline made by hand, with a value in every field."""

from __future__ import annotations

from dataclasses import replace

from consensus.simulation.timeline import (
    Attempt,
    Event,
    HeightFigures,
    HeightTimeline,
    Named,
)

BLOCK, OTHER = "bafyreiblock", "bafyreiother"
TIMELINE = HeightTimeline(
    7,
    "decided",
    1_000_000,
    9_500_000,
    BLOCK,
    (
        Event(1_000_000, "cut", what="partition"),
        Event(1_200_000, "proposed", 3, 0, 0, block=OTHER),
        Event(1_300_000, "received", 1, 0, 0, block=OTHER),
        Event(1_400_000, "crashed", 2, what="churn"),
        Event(2_000_000, "timed_out", 1, 0, 0, "all"),
        Event(2_100_000, "evidence", 1, 0, 0, "proposal", about=3),
        Event(2_500_000, "proposed", 1, 1, 0, block=BLOCK),
        Event(2_600_000, "voted", 1, 1, 0, "soft", BLOCK),
        Event(9_500_000, "appended", 1, 1, 0, block=BLOCK),
    ),
    {"received": 12},
    (
        Attempt(0, "closed by all", 1_200_000, 1, 1, {}, 1, 40, 100),
        Attempt(1, "decided", 2_500_000, 1, 1, {"soft": 1}, 0, 20, 100),
    ),
    2,
    Named(1, (2,)),
    Named(2, (0, 3)),
    HeightFigures({"block": 5, "vote": 7}, 12, {"second vote": 1}, 1, 4, False, 1, 0, 250_000),
)


def timelines(heights: int) -> list[HeightTimeline]:
    """The same timeline at every height from 1 on."""
    return [replace(TIMELINE, height=height) for height in range(1, heights + 1)]
