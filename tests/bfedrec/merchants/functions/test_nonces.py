"""The file of nonces: once, in order, in several processes at the same time."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from bfedrec.merchants.functions.nonces import NonceError, Nonces


def taken(path: Path, start: multiprocessing.synchronize.Event, found: object) -> None:
    """Take the nonces 1 to 200, as soon as all processes are ready."""
    with Nonces(path) as nonces:
        start.wait(60)
        found.put([each for each in range(1, 201) if nonces.take("a", each)])  # type: ignore[attr-defined]


def test_two_processes_take_no_nonce_twice(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    start, found = fork.Event(), fork.Queue()
    processes = [
        fork.Process(target=taken, args=(tmp_path / "nonces", start, found)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    start.set()
    both = found.get(timeout=60) + found.get(timeout=60)
    for process in processes:
        process.join(60)
    assert len(both) == len(set(both))
    assert max(both) == 200


def test_nonces_increase_and_are_kept(tmp_path: Path) -> None:
    with Nonces(tmp_path / "nonces") as nonces:
        assert [nonces.take("a", each) for each in (5, 5, 4, 6)] == [True, False, False, True]
        assert nonces.take("b", 1)
        nonces.count("store", "accepted")
        nonces.count("store", "foreign")
        nonces.count("store", "foreign")
    with Nonces(tmp_path / "nonces") as nonces:
        assert not nonces.take("a", 6)
        assert nonces.counts("store") == {"accepted": 1, "foreign": 2}
        assert nonces.counts("collect") == {}


def test_what_is_no_file_of_nonces_is_told_in_one_line(tmp_path: Path) -> None:
    import sqlite3

    (tmp_path / "text").write_text("not a database, but a text that is long enough to be read" * 9)
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    os.mkfifo(tmp_path / "pipe")
    for name in ("text", "other", "pipe", "none/there"):
        with pytest.raises(NonceError) as error:
            Nonces(tmp_path / name)
        assert "\n" not in str(error.value)
