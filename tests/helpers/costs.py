"""What tests cost: `pytest -p tests.helpers.costs` ends with the processor seconds of each file and
of the dearest tests, those of the processes that they start included.

Unlike the seconds of pytest's `--durations`, they are nearly the same on a busy machine."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

SHOWN = 40
"""How many files and how many tests are listed."""
TICKS = os.sysconf("SC_CLK_TCK")
"""The parts of a second in which Linux counts."""
_BEFORE = pytest.StashKey[float]()


def spent() -> float:
    """The processor seconds of this process and of all that it has started, ended or not; without
    those of a process that has outlived the one that started it."""
    return sum(os.times()[:2]) + _of_children(os.getpid()) + sum(os.times()[2:4])


def _of_children(process: int) -> float:
    total = 0.0
    try:
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, fields[11:15])) / TICKS + _of_children(child)
    except OSError:  # ended meanwhile: its seconds are its parent's, and found the next time
        pass
    return total


def pytest_collection_finish(session: pytest.Session) -> None:
    """Count from here: what came before is the collection."""
    session.config.stash[_BEFORE] = spent()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write the processor seconds since the last phase to the report, with which they come from a
    worker of xdist to the terminal."""
    report = yield
    now = spent()
    report.processor_seconds = max(0.0, now - item.config.stash[_BEFORE])
    item.config.stash[_BEFORE] = now
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print both lists."""
    files: Counter[str] = Counter()
    phases: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            seconds = getattr(report, "processor_seconds", 0.0)
            if seconds:
                files[report.nodeid.partition("::")[0]] += seconds
                phases[f"{report.when:8} {report.nodeid}"] += seconds
    terminalreporter.section(f"processor seconds: {files.total():.0f}")
    for costs in (files, phases):
        for name, seconds in costs.most_common(SHOWN):
            terminalreporter.line(f"{seconds:8.2f}  {name}")
        terminalreporter.line("")
