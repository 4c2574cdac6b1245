"""A run's timelines as rows, one a height."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bfedrec.runs.folder import RunError
from bfedrec.runs.timelines import read_timelines
from consensus.simulation.timeline import HeightTimeline


def rows_of(run: Path) -> list[dict[str, object]]:
    """The rows of `bfedrec.api.finished.Run.heights`, in their order. Raises RunError for a damaged
    file."""
    try:
        return [_row(timeline) for timeline in read_timelines(run)]
    except ValueError as error:
        raise RunError(f"{run}: timeline.jsonl: {error}") from None


def _row(timeline: HeightTimeline) -> dict[str, object]:
    attempts = timeline.attempts
    lost = Counter(attempt.ended for attempt in attempts if attempt.ended != "decided")
    row: dict[str, object] = {
        "height": timeline.height,
        "outcome": timeline.outcome,
        "seconds": (timeline.ended_us - timeline.began_us) / 1e6,
        "attempts": len(attempts) + timeline.attempts_left_out,
        "lost": ", ".join(f"{many} {ended}" for ended, many in sorted(lost.items())),
    }
    figures = timeline.figures
    if figures is not None:
        row |= {"messages": figures.messages, "bytes": sum(figures.bytes.values())}
        row |= {"refused": sum(figures.refused.values()), "evidence": figures.evidence}
        row |= {"updates": figures.updates, "captured": figures.captured}
    if figures is not None and figures.delay_us is not None:
        row["delay"] = figures.delay_us / 1e6
    return row
