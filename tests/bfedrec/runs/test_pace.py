"""The time and memory of rounds, which the summary tells."""

from __future__ import annotations

import resource
import subprocess
import sys
from itertools import chain, count
from pathlib import Path

import pytest

from bfedrec.runs import pace
from bfedrec.runs.figures import MEASURED
from bfedrec.runs.pace import Pace, peak_memory
from tests.bfedrec.runs.test_simulation import play


def test_a_round_is_the_median_and_what_is_between_rounds_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wall = iter([0.0, 1.0, 100.0, 103.0, 200.0, 209.0])
    processor = iter([0.0, 0.5, 50.0, 50.25, 60.0, 67.0])
    found = Pace()
    assert found.figures() == {}
    monkeypatch.setattr(pace.time, "perf_counter", lambda: next(wall))
    monkeypatch.setattr(pace.time, "process_time", lambda: next(processor))
    monkeypatch.setattr(pace, "peak_memory", lambda: 3 * 2**20)
    for _ in range(3):
        with found.round():
            pass
    assert found.figures() == {
        "round_seconds": 3.0,
        "round_processor_seconds": 0.5,
        "round_memory_mib": 3.0,
    }


def test_what_other_processes_use_counts_as_processor_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = iter([1.0, 3.0])
    monkeypatch.setattr(pace.time, "process_time", lambda: 7.0)
    found = Pace(lambda: next(used))
    with found.round():
        pass
    assert found.figures()["round_processor_seconds"] == 2.0


PEAKS = """
import numpy as np
from bfedrec.runs.pace import Pace, peak_memory
whole = np.ones(2**24)  # 128 MiB
before = peak_memory()
del whole
Pace()
after = peak_memory()
kept = np.ones(2**23)
print(before - after > 100 * 2**20, peak_memory() >= after + 60 * 2**20, len(kept))
"""


def test_the_peak_of_memory_is_that_since_the_pace_began() -> None:
    """In a process of its own: here others' memory that is free again may be used once more."""
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", str(2**23)]


def test_without_a_list_of_the_system_the_peak_is_that_since_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    greatest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    monkeypatch.setattr(pace, "PROCESS", tmp_path / "not there")
    Pace()
    assert peak_memory() >= greatest
    monkeypatch.setattr(pace, "PROCESS", tmp_path)
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t    12 kB\n")
    assert peak_memory() == 12 * 1024


def test_the_summary_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds alone, not their evaluation: here each call of the clock is a second later."""
    ticks = chain(map(float, count()))
    monkeypatch.setattr(pace.time, "process_time", lambda: next(ticks))
    summary = play(tmp_path, "rounds=3", "evaluation.every=1", "crypto=modelled")
    assert set(MEASURED) <= set(summary)
    assert summary["round_processor_seconds"] == 1.0
    assert summary["round_seconds"] > 0
