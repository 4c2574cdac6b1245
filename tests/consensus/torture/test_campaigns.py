"""Campaigns on the real MovieLens-1M that take minutes: `make test-slow`."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from bfedrec.cli.audit import audit_command
from bfedrec.runs.claims import build
from bfedrec.runs.figures import MEASURED
from consensus.audit import AuditFailure, audit
from consensus.storage.content import StoreError
from consensus.storage.sqlite import SqliteStore

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "experiments" / "ml-1m-per-item.yaml"
WALL = MEASURED

pytestmark = [pytest.mark.slow, pytest.mark.data, pytest.mark.timeout(3000)]


def command(out: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "bfedrec", "run", str(CONFIG), *words, "--out", str(out)]


def summary_of(run: Path) -> dict[str, object]:
    summary = json.loads((run / "summary.json").read_text())
    return {key: value for key, value in summary.items() if key not in WALL}


def played(out: Path, *words: str) -> Path:
    subprocess.run(command(out, *words), check=True, stdout=subprocess.DEVNULL)
    return out


def test_any_changed_byte_of_the_chain_is_found(data_folder: Path, tmp_path: Path) -> None:
    """200 random single-byte changes, each in a block or in a block of content."""
    run = played(tmp_path / "run")
    assert audit_command(run) == 0
    draws = random.Random(20)
    source, copy = run / "chain.sqlite", tmp_path / "chain.sqlite"
    for change in range(200):
        shutil.copyfile(source, copy)
        table, key = draws.choice([("blocks", "height"), ("content", "cid")])
        with closing(sqlite3.connect(copy)) as database, database:
            rows = database.execute(f"SELECT {key} FROM {table} ORDER BY {key}").fetchall()
            where = draws.choice(rows)
            query = f"SELECT data FROM {table} WHERE {key} = ?"
            data = bytearray(database.execute(query, where).fetchone()[0])
            data[draws.randrange(len(data))] ^= draws.randrange(1, 256)
            database.execute(f"UPDATE {table} SET data = ? WHERE {key} = ?", (bytes(data), *where))
        errors = (AuditFailure, StoreError)
        with SqliteStore(copy, read_only=True) as store, pytest.raises(errors) as found:
            audit(store, build)
        assert str(found.value), f"change {change} in {table}"


def test_a_run_killed_five_times_ends_the_same(data_folder: Path, tmp_path: Path) -> None:
    undisturbed = played(tmp_path / "undisturbed", "rounds=100")
    draws, out = random.Random(7), tmp_path / "run"
    kills = 0
    while kills < 5:
        process = subprocess.Popen(
            command(out, "rounds=100", "--resume"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(draws.uniform(2.5, 5.0))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"
        kills += 1
    subprocess.run(command(out, "rounds=100", "--resume"), check=True, stdout=subprocess.DEVNULL)
    assert summary_of(out) == summary_of(undisturbed)
