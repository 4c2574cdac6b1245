"""The table of a profiled run: its real time by part."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bfedrec.runs.figures import PROFILE, Figures, count, number
from bfedrec.runs.profiling import PARTS, REST
from bfedrec.screen import screen

COLUMNS = (
    "part",
    "seconds",
    "share",
    "ms a round",
    "calls",
    "other threads",
    "processor",
)


def print_profile(figures: Figures) -> None:
    """Print the table of a summary's profile (`bfedrec.runs.profiling.Profile.figures`), the
    longest part first."""
    seconds = {
        name: number(figures, f"{PROFILE}{name}_seconds")
        for name in PARTS
        if f"{PROFILE}{name}_seconds" in figures
    }
    rounds, whole = count(figures, f"{PROFILE}rounds"), number(figures, f"{PROFILE}seconds")
    table = Table(title=f"real time of {rounds:,} rounds, by part", box=SIMPLE_HEAD)
    for heading in COLUMNS:
        table.add_column(heading, justify="left" if heading == "part" else "right")
    totals = [0.0, 0.0]
    for name in sorted(seconds, key=lambda each: (each == REST, -seconds[each])):
        beside = [
            number(figures, f"{PROFILE}{name}_{what}")
            for what in ("beside_seconds", "beside_processor_seconds")
        ]
        totals = [total + one for total, one in zip(totals, beside, strict=True)]
        calls = count(figures, f"{PROFILE}{name}_calls")
        table.add_row(
            PARTS[name].label, *_times(seconds[name], whole, rounds), f"{calls:,}", *_beside(beside)
        )
    table.add_section()
    table.add_row("the whole", *_times(whole, whole, rounds), "", *_beside(totals))
    screen(120).print(table)
    print(_told(figures))


def _times(seconds: float, whole: float, rounds: int) -> tuple[str, str, str]:
    each = f"{1000 * seconds / rounds:,.2f}" if rounds else "-"
    return f"{seconds:,.2f}", f"{seconds / whole:.1%}" if whole else "-", each


def _beside(seconds: list[float]) -> list[str]:
    return [f"{one:,.2f}" if one else "" for one in seconds]


def _told(figures: Figures) -> str:
    """The processors' side of it, and the cost of the measuring."""
    every, main, cost = (
        number(figures, f"{PROFILE}{name}")
        for name in ("processor_seconds", "main_processor_seconds", "cost_seconds")
    )
    return (
        f"  processor time {every:,.2f} s, of the main thread {main:,.2f} s; the measuring itself "
        f"took at least {cost:,.2f} s. Threads beside work at the same time: not in the sums."
    )
