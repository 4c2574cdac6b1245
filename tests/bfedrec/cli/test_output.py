"""Exit statuses where output cannot be written, or is no text: those of what was done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from bfedrec.cli.main import main
from tests.helpers import tiny
from tests.helpers.commands import Command

#: A name that is no UTF-8, as Python has it.
ODD = "q\udcff"


def status(words: str, *arguments: object, **variables: str) -> tuple[int, str]:
    """The exit status of a line for the shell, and what it writes on standard error; in it "$@" are
    the arguments, and $bfedrec is the program."""
    done = subprocess.run(
        ["bash", "-c", words, "bash", *map(os.fsencode, map(str, arguments))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "bfedrec": f"{sys.executable} -m bfedrec", **variables},
        timeout=120,
    )
    return done.returncode, done.stderr.decode(errors="replace")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one round, whose chain passes, in a folder whose name is no text."""
    folder = tmp_path_factory.mktemp("output")
    config = folder / "tiny.yaml"
    config.write_text(f"name: tiny\nrounds: 1\n{tiny.TINY}")
    made = Command("run", config, "--out", folder / "run")
    made.communicate()
    assert made.returncode == 0
    (folder / "run").rename(folder / ODD)
    return folder / ODD


def test_commands_succeed_without_standard_output(finished: Path) -> None:
    assert status('$bfedrec audit "$@" >&-', finished) == (0, "")
    assert status('$bfedrec show "$@" >&-', finished) == (0, "")
    assert status("$bfedrec version >&- 2>&-") == (0, "")


def test_a_name_that_is_no_text_is_printed(finished: Path) -> None:
    assert status('$bfedrec audit "$@"', finished, PYTHONIOENCODING="utf-8:strict") == (0, "")
    code, told = status('$bfedrec audit "$@"', f"no-{ODD}", PYTHONIOENCODING="utf-8:strict")
    assert (code, told.count("\n")) == (2, 1)


def test_a_reader_that_leaves_is_no_failed_check(tmp_path: Path) -> None:
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("user,item\n" + "".join(f"{k // 8},{k % 11}\n" for k in range(80)))
    reading, writing = os.pipe()
    os.close(reading)
    try:
        for words in (
            ["version"],
            ["data", "check", str(ratings), "data.file.min_interactions=1"],
        ):
            done = subprocess.run(
                [sys.executable, "-m", "bfedrec", *words],
                stdout=writing,
                stderr=subprocess.PIPE,
                timeout=120,
            )
            assert (done.returncode, done.stderr) == (130, b""), words
        words = [sys.executable, "-m", "bfedrec", "run", "nope.yaml"]
        assert subprocess.run(words, stdout=writing, stderr=writing, timeout=120).returncode == 2
    finally:
        os.close(writing)


def test_a_full_disk_is_bad_output_once() -> None:
    code, told = status("$bfedrec version >/dev/full")
    assert (code, told) == (2, "bfedrec: [Errno 28] No space left on device\n")


def test_an_interrupt_while_plugins_are_loaded_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("bfedrec.cli.main.load_plugins", interrupted)
    assert main(["version"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
