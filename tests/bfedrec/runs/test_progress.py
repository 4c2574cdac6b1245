"""What a person sees of a run."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bfedrec.runs.progress import Evaluated, Note, Progress, RoundDone, duration

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Clock:
    """A wall clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_come_with_evaluations_and_after_a_while() -> None:
    output, log, clock = io.StringIO(), list[str](), Clock()
    with Progress(100, log.append, Console(file=output), every=10.0, clock=clock) as progress:
        for height in range(1, 21):
            clock.now = height * 1.0
            progress.update(RoundDone(height, 60, 2, height * 9.0))
            if height == 15:
                progress.update(Evaluated(15, "validation", {"HR@10": 0.51239, "NDCG@10": 0.2}))
    lines = output.getvalue().splitlines()
    assert lines == log
    assert len(lines) == 2
    assert lines[0] == ("height 10/100  60 clients/s  simulated 1m30s  attempts 20  ETA 1m30s")
    assert lines[1] == (
        "height 15/100  validation HR@10 0.5124 NDCG@10 0.2000  60 clients/s  "
        "simulated 2m15s  attempts 30  ETA 1m25s"
    )


def test_a_run_is_timed_after_its_first_round_here_which_compiles() -> None:
    clock = Clock()
    progress = Progress(100, lambda line: None, Console(file=io.StringIO()), clock=clock)
    with progress:
        clock.now = 30.0
        progress.update(RoundDone(91, 60, 1, 5.0))
        assert progress.status() == "height 91/100  simulated 5.0 s  attempts 1"
        clock.now = 40.0
        progress.update(RoundDone(92, 60, 1, 6.0))
    assert progress.status().endswith("  6 clients/s  simulated 6.0 s  attempts 2  ETA 1m20s")


def test_an_old_score_says_how_old_it_is() -> None:
    progress = Progress(100, lambda line: None, Console(file=io.StringIO()))
    progress.update(Evaluated(10, "validation", {"HR@5": 0.5, "NDCG@5": 0.25}))
    progress.update(RoundDone(11, 1, 1, 1.0))
    assert "validation (height 10) HR@5 0.5000 NDCG@5 0.2500" in progress.status()


def test_notes_are_shown_as_they_are() -> None:
    output, log = io.StringIO(), list[str]()
    with Progress(1, log.append, Console(file=output)) as progress:
        progress.update(Note("resumed after height [bold]3"))
    assert output.getvalue() == "resumed after height [bold]3\n"
    assert log == ["resumed after height [bold]3"]


def test_a_terminal_is_left_as_it_was_even_when_interrupted() -> None:
    output, log = io.StringIO(), list[str]()
    console = Console(file=output, force_terminal=True, width=100, _environ={"TERM": "xterm"})

    def interrupted() -> None:
        with Progress(9, log.append, console) as progress:
            progress.update(RoundDone(3, 60, 1, 5.0))
            progress.update(Evaluated(3, "validation", {"HR@10": 0.25, "NDCG@10": 0.125}))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    shown = output.getvalue()
    assert shown.count(HIDE_CURSOR) == shown.count(SHOW_CURSOR) == 1
    assert shown.rindex(SHOW_CURSOR) > shown.rindex(HIDE_CURSOR)
    assert "height 3/9" in shown
    assert len(log) == 1  # the log has the evaluation, though no line was printed


def test_durations() -> None:
    seconds = (0.04, 59.94, 61, 3599.4, 3600, 7510, 90000, 300000)
    assert [duration(value) for value in seconds] == [
        "0.0 s", "59.9 s", "1m01s", "59m59s", "1h00m", "2h05m", "1d01h", "3d11h",
    ]  # fmt: skip
