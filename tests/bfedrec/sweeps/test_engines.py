"""The interface of engines, and the processes of this machine behind it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bfedrec.cli.main import main
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.interactions import DataError
from bfedrec.sweeps.callers import Callers
from bfedrec.sweeps.engine import ENGINES, engine
from bfedrec.sweeps.engines.processes import Processes
from bfedrec.sweeps.registry import engine_of
from bfedrec.threads import thread_count
from consensus.workers import TRIES, InTurn, Lost, Unit, Workers


def here(number: int) -> tuple[int, int]:
    """A number, and the process that was given it."""
    return number, os.getpid()


def die_first(place: Path) -> str:
    """Kill the process that calls it the first time."""
    if not place.exists():
        place.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return place.name


def die() -> None:
    """Kill the process that calls it."""
    os.kill(os.getpid(), signal.SIGKILL)


def refuse() -> None:
    """Raise an error of data."""
    raise DataError("no such data")


def all_of(workers: Workers, *units: Unit) -> list[object]:
    """The results of units, in the order of their ends."""
    for unit in units:
        workers.submit(unit)
    results: list[object] = []
    while found := workers.ended():
        results += found
    return results


def test_processes_make_every_unit_and_are_used_again() -> None:
    with Callers(2) as callers:
        assert callers.ended() == []
        units = [Unit(f"unit {number}", here, (number,)) for number in range(9)]
        found = all_of(callers, *units)
        again = all_of(callers, *units)
    processes = {process for _, process in [*found, *again]}  # type: ignore[misc]
    assert sorted(number for number, _ in found) == list(range(9))  # type: ignore[misc]
    assert len(processes) == 2
    assert os.getpid() not in processes


def test_a_unit_whose_process_dies_is_tried_again_and_at_last_given_up(tmp_path: Path) -> None:
    with Callers(2) as callers:
        lost = Unit("the lost one", die)
        once = Unit("once", die_first, (tmp_path / "once",))
        found = all_of(callers, lost, once, *(Unit("sound", here, (n,)) for n in range(3)))
    (given_up,) = (each for each in found if isinstance(each, Lost))
    told = f"the lost one: its process died {TRIES} times, the last time with status -9"
    assert str(given_up) == told
    assert "once" in found
    assert len(found) == 5


def test_what_a_function_raises_is_raised_here_and_leaves_the_others() -> None:
    with Callers(1) as callers:
        for unit in (Unit("refused", refuse), Unit("sound", here, (3,))):
            callers.submit(unit)
        with pytest.raises(DataError, match="no such data") as raised:
            callers.ended()
        assert "in a worker, refused" in raised.value.__notes__[0]
        assert [number for number, _ in callers.ended()] == [3]


def test_what_is_left_when_workers_are_closed_is_ended() -> None:
    with Callers(2) as callers:
        for number in range(2):
            callers.submit(Unit(f"unit {number}", signal.pause))
        processes = [caller.process for caller, _ in callers._busy]
        assert all(process.is_alive() for process in processes)
    assert not any(process.is_alive() for process in processes)


def test_one_at_a_time_is_this_process() -> None:
    with Processes(1).workers() as workers:
        assert isinstance(workers, InTurn)
        assert all_of(workers, Unit("one", here, (1,))) == [(1, os.getpid())]


def test_processes_share_the_processors() -> None:
    assert engine_of("processes").at_once == 1
    assert engine_of("processes", None, 7).at_once == 7
    assert engine_of("processes", 3, 7).at_once == 3
    assert Processes(1).threads is None
    assert Processes(2).threads == max(1, thread_count() // 2)
    assert Processes(1000).threads == 1


@pytest.mark.parametrize(
    ("told", "jobs", "why"),
    [
        ("process", None, "engine 'process' is not one of processes"),
        ("process", None, "did you mean 'processes'?"),
        ("processes://here", None, "--engine processes://here: expected processes"),
        ("processes", 0, "--jobs 0: expected int >= 1"),
    ],
)
def test_a_wrong_engine_is_told_in_one_line(told: str, jobs: int | None, why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        engine_of(told, jobs)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("words", [["--model", "list"], ["--twins", "1"], ["--replay", "3"]])
def test_what_is_played_here_takes_no_engine(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with ENGINES.restored():

        @engine("mine")
        class Mine(Processes):
            """An engine of a plugin's."""

            meaning = "mine"

        assert main(["torture", *words, "--engine", "mine"]) == 2
    told = capsys.readouterr().err
    assert f"--engine mine: {words[0]} plays in this process" in told
    assert told.count("\n") == 1


def test_lost_seeds_are_told_and_not_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bfedrec.sweeps.callers._serve", os._exit)
    words = ["torture", "--seeds", "0-19", "--jobs", "2", "--record", str(tmp_path / "kept")]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "seeds 0-19: its process died 3 times" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "kept").exists()
