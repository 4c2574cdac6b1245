"""Loggers that follow a run: each has every line of metrics.jsonl once, whatever came between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bfedrec as bf
from bfedrec.config.load import config_digest, config_hash
from bfedrec.config.yaml_core import ConfigError
from bfedrec.loggers.following import Following, missing_library, numbers
from bfedrec.loggers.logger import LOGGERS, Line, Logger, Subject, logger

SUBJECT = Subject(Path("run"), "run", "0" * 32, {})


class Memory(Logger):
    """A tracker in memory, with one run, which fails at a height on purpose."""

    meaning = "memory"
    library = ""
    held: ClassVar[list[Line]] = []
    writes: ClassVar[list[float]] = []
    closed: ClassVar[list[bool]] = []
    fails_at: ClassVar[float] = -1
    unreadable: ClassVar[bool] = False

    def lines(self) -> list[Line]:
        if self.unreadable:
            raise OSError("torn")
        return list(self.held)

    def clear(self) -> None:
        self.held.clear()

    def add(self, line: Line) -> None:
        if line["height"] == self.fails_at:
            raise OSError("no space\nleft")
        self.held.append(line)
        self.writes.append(line["height"])

    def close(self, finished: bool) -> None:
        self.closed.append(finished)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Memory]]:
    for name in ("held", "writes", "closed"):
        monkeypatch.setattr(Memory, name, [])
    with LOGGERS.restored():
        logger("memory")(Memory)
        yield Memory


def line_of(height: int, part: int) -> dict[str, object]:
    """A line whose time differs with the part of the run that wrote it."""
    return {"height": height, "split": "validation", "hr@10": height / 10, "wall_seconds": part}


@given(
    parts=st.lists(
        st.tuples(
            st.integers(0, 3),  # lines that a resume cuts
            st.integers(0, 4),  # lines of the part
            st.sampled_from(["ends", "killed", "without", "unreadable"]),
        ),
        max_size=6,
    )
)
def test_a_logger_has_every_line_once(parts: list[tuple[int, int, str]]) -> None:
    """Parts of a run that is killed, cut back and continued, some of them without the logger."""
    Memory.held, Memory.writes, Memory.closed = [], [], []
    file: list[Mapping[str, object]] = []
    with LOGGERS.restored():
        logger("memory")(Memory)
        for part, (cut, lines, end) in enumerate([*parts, (1, 1, "ends")]):
            del file[max(0, len(file) - cut) :]
            names = () if end == "without" else ("memory",)
            following = Following(names, lambda: SUBJECT, lambda: list(file))
            for _ in range(lines):
                file.append(line_of(len(file) + 1, part))
                Memory.unreadable = end == "unreadable" and len(file) % 2 == 1
                following.added(file[-1])
                Memory.unreadable = False
                assert not names or Memory.held == [numbers(each) for each in file]
            if end != "killed":
                following.close(False)
                assert not names or not file or Memory.held == [numbers(each) for each in file]
            assert following.failures == []


def test_only_what_is_missing_is_written(memory: type[Memory]) -> None:
    file: list[Mapping[str, object]] = [line_of(1, 0), line_of(2, 0)]
    for _ in range(2):
        Following(("memory",), lambda: SUBJECT, lambda: file).close(True)
    assert memory.writes == [1, 2]
    file.append(line_of(3, 1))
    following = Following(("memory",), lambda: SUBJECT, lambda: file)
    following.added(file[-1])
    assert memory.writes == [1, 2, 3]
    following.close(False)
    assert memory.closed == [True, True, False]


def test_a_line_is_logged_as_its_numbers(memory: type[Memory]) -> None:
    file = [line_of(1, 0)]
    Following(("memory",), lambda: SUBJECT, lambda: file).close(True)
    assert memory.held == [{"height": 1, "hr@10": 0.1, "wall_seconds": 0.0}]
    assert [type(value) for value in memory.held[0].values()] == [int, float, float]


def test_a_run_that_has_not_begun_is_not_logged(memory: type[Memory]) -> None:
    Following(("memory",), lambda: None, lambda: [line_of(1, 0)]).close(False)
    Following(("memory",), lambda: SUBJECT, list).close(False)
    assert (memory.held, memory.closed) == ([], [])


def test_a_logger_that_fails_is_left_out(
    memory: type[Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(Memory):
        held: ClassVar[list[Line]] = []

    logger("other")(Other)
    monkeypatch.setattr(memory, "fails_at", 2)
    monkeypatch.setattr(Other, "fails_at", -1)
    file: list[Mapping[str, object]] = []
    following = Following(("memory", "other"), lambda: SUBJECT, lambda: file)
    for height in (1, 2, 3):
        file.append(line_of(height, 0))
        following.added(file[-1])
    following.close(True)
    assert [line["height"] for line in memory.held] == [1]
    assert [line["height"] for line in Other.held] == [1, 2, 3]
    assert following.failures == ["logger memory is left out: OSError: no space left"]


def test_a_missing_library_is_told_before_anything_is_made(
    tmp_path: Path, memory: type[Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing_library(["memory"]) == ""
    monkeypatch.setattr(memory, "library", "no_such_library")
    monkeypatch.setattr(memory, "extra", "'bfedrec[loggers]'")
    told = "memory: this needs no_such_library: pip install 'bfedrec\\[loggers\\]'"
    with pytest.raises(ConfigError, match=f"^loggers: {told}$"):
        bf.run("quickstart", out=tmp_path / "run", loggers=["memory"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("names", [["tensorbord"], ["mlflow", "mlflow"], "mlflow", [1]])
def test_wrong_names_are_refused(names: object) -> None:
    with pytest.raises(ConfigError, match=r"loggers: .*expected (a )?list of tensorboard \| mlf"):
        bf.read_config({}, loggers=names)


@pytest.mark.parametrize("method", ["federated", "bpr"])
def test_loggers_are_of_no_hash(method: str) -> None:
    with_loggers = bf.read_config({}, method=method, loggers=["mlflow", "tensorboard"])
    without = bf.read_config({}, method=method)
    assert config_hash(with_loggers) == config_hash(without)
    assert config_digest(with_loggers) == config_digest(without)
