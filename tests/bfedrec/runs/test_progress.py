"""What a person sees of a run."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from bfedrec.runs.progress import Evaluated, Note, Progress, RoundDone, RoundLearnt, duration
from bfedrec.runs.sparkline import WIDEST

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
            progress.update(RoundDone(height, 60, 2, height * 9.0, 1_000))
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
        progress.update(RoundDone(91, 60, 1, 5.0, 1_000))
        assert progress.status() == "height 91/100  simulated 5.0 s  attempts 1"
        clock.now = 40.0
        progress.update(RoundDone(92, 60, 1, 6.0, 1_000))
    assert progress.status().endswith("  6 clients/s  simulated 6.0 s  attempts 2  ETA 1m20s")


def test_an_old_score_says_how_old_it_is() -> None:
    progress = Progress(100, lambda line: None, Console(file=io.StringIO()))
    progress.update(Evaluated(10, "validation", {"HR@5": 0.5, "NDCG@5": 0.25}))
    progress.update(RoundDone(11, 1, 1, 1.0, 1_000))
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
            progress.update(RoundDone(3, 60, 1, 5.0, 1_000))
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


# -- sparklines -----------------------------------------------------------------------------------


def shown(width: int, encoding: str = "utf-8", heights: int = 30, scored: bool = True) -> list[str]:
    """The lines of the live display after some heights, at this width of the terminal."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    environment = {"TERM": "xterm"}
    console = Console(file=file, force_terminal=True, width=width, _environ=environment)
    progress = Progress(100, lambda line: None, console, clock=Clock())
    for height in range(1, heights + 1):
        traffic = 1_000_000 + 500_000 * (height % 2)
        progress.update(RoundDone(height, 60, 1 + (height % 5 == 0), 1.0 * height, traffic))
        if scored:
            progress.update(Evaluated(height, "validation", {"HR@10": height / 100, "ND": 0.9}))
    with console.capture() as captured:
        console.print(progress._display())
    return captured.get().splitlines()


def plain(lines: list[str]) -> list[str]:
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in lines]


def test_the_live_display_shows_the_course_of_validation_attempts_and_bytes() -> None:
    *above, trends = plain(shown(120))
    assert len(above) == 3
    score, attempts, traffic = trends.split("   ")
    assert score.startswith("HR@10 ▁▁▁▂▂▂")
    assert score.endswith("██ 0.3000")
    assert attempts.startswith("attempts ")
    assert attempts.endswith("▁▁▁▁█▁▁▁▁█ 2")
    assert traffic.startswith("bytes ")
    assert traffic.endswith("▁█▁█▁ 1.0 MB")
    assert len(score.split()[1]) == len(attempts.split()[1]) == len(traffic.split()[1]) == 24


@pytest.mark.parametrize(("width", "lines"), [(120, 1), (80, 1), (60, 2), (40, 2), (26, 3)])
def test_a_narrow_terminal_has_more_lines_and_none_is_too_long(width: int, lines: int) -> None:
    found = plain(shown(width))
    trends = [line for line in found if re.search("[▁-█]", line)]
    assert len(trends) == lines
    assert max(map(len, found)) <= width
    text = " ".join(trends)
    assert "HR@10" in text
    assert "attempts" in text
    assert "bytes" in text


def test_what_has_no_room_at_all_is_left_out() -> None:
    trends = [line for line in plain(shown(18)) if re.search("[▁-█]", line)]
    assert [line.split()[0] for line in trends] == ["attempts"]


def test_a_terminal_without_blocks_has_ascii() -> None:
    (line,) = [line for line in plain(shown(100, "latin-1")) if "HR@10 _" in line]
    line.encode("ascii")
    assert "attempts _" in line or "____#____#" in line


def test_no_data_are_no_line() -> None:
    assert len(plain(shown(100, heights=0, scored=False))) == 3
    without_score = plain(shown(100, scored=False))
    assert len(without_score) == 4
    assert without_score[-1].startswith("attempts ")


def test_rounds_without_a_ledger_have_bytes_and_no_attempts() -> None:
    console = Console(file=io.StringIO(), width=100)
    progress = Progress(9, lambda line: None, console, unit="round")
    progress.update(RoundLearnt(1, 60, 2_500_000))
    with console.capture() as captured:
        console.print(progress._display())
    assert captured.get().splitlines()[-1].strip() == "bytes ▁ 2.5 MB"


def test_a_display_that_is_asked_for_often_keeps_few_values() -> None:
    progress = Progress(10_000, lambda line: None, Console(file=io.StringIO()), clock=Clock())
    for height in range(1, 5_000):
        progress.update(RoundDone(height, 60, 1, 1.0, height))
    assert [len(trend.values) for trend in progress._trends()] == [0, WIDEST, WIDEST]
