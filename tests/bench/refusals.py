"""Measures what it costs to refuse hostile input: whole commands, each in a process of its own.

    python -m tests.bench.refusals

Told are, for each input, the seconds from the command's start to its end, its processor time, its
peak of resident memory and its status. The bar is a second and 200 MB; other work on the machine
shows in the seconds more than in processor time.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests.bench.command import ROOT, Ended, played
from tests.bfedrec.config.test_hostile_configs import LAUGHS, MERGES
from tests.consensus.storage.test_bombs import BOMBS, archive_of, chain_of, genesis_of

QUICKSTART = ROOT / "experiments" / "quickstart.yaml"
MOST_SECONDS, MOST_MB = 1.0, 200.0
ROUNDS = 6


def play(*words: object) -> Ended:
    """Play a command to its end."""
    return played(words)


def configs(folder: Path) -> Iterator[tuple[str, Ended]]:
    """Configs and overrides."""
    texts = {
        "aliases of aliases": LAUGHS,
        "merges of merges": MERGES,
        "5,000 brackets": "[" * 5000,
        "an integer of 100,000 digits": "seed: " + "9" * 100_000,
        "its own base": "base: c.yaml",
        "a device as its base": "base: /dev/zero",
        "128 KiB of maps": "{a: " * 30_000,
        "a list of 60,000 stakes": "servers: {stake: [" + "1," * 60_000 + "1]}",
    }
    path = folder / "c.yaml"
    for name, text in texts.items():
        path.write_text(text)
        yield f"config: {name}", play("run", path, "--out", folder / "run")
    os.mkfifo(folder / "fifo")
    yield "config: a FIFO", play("run", folder / "fifo", "--out", folder / "run")
    for override in (
        "servers.count=1000000000",
        "servers.latency_ms_between=0",
        "model.dimension=1000000000",
        "committee.vote_seconds=1e300",
        "faults=[{churn: 1, until: 1e9}]",
    ):
        yield override, play("run", QUICKSTART, override, "--out", folder / "run")


def traces() -> Iterator[tuple[str, Ended]]:
    """Scenarios to be replayed."""
    start = {"seed": 0, "servers": 4}
    for name, text in {
        "10,000 maps": '{"a":' * 10_000,
        "100,000 brackets": "[" * 100_000,
        "10**9 servers": json.dumps(start | {"servers": 10**9}),
        "10**12 heights": json.dumps(start | {"heights": 10**12}),
        "a latency that is not a number": json.dumps(start | {"latency": "x"}),
    }.items():
        yield f"trace: {name}", play("torture", "--replay", text)


def bombs(folder: Path) -> Iterator[tuple[str, Ended]]:
    """Archives and chain files that claim more than they hold."""
    for name, (root, blocks) in BOMBS.items():
        archive = archive_of(folder / "bomb.car", genesis_of(root.cid), blocks)
        out = folder / "imported"
        yield f"archive: {name}", play("chain", "import", archive, "--out", out)
        chain = chain_of(folder / "bomb.sqlite", genesis_of(root.cid), blocks)
        yield f"chain file: {name}", play("audit", chain)
        chain.unlink()
    yield "archive: a device", play("chain", "import", "/dev/zero", "--out", folder / "imported")


def forgeries(folder: Path) -> Iterator[tuple[str, Ended]]:
    """A finished run whose files were changed."""
    whole, run = folder / "whole", folder / "forged"
    words = (f"rounds={ROUNDS}", "evaluation.every=6", "--out", whole)
    if (made := play("run", QUICKSTART, *words)).status:
        raise SystemExit(made.said)
    for name, statement in {
        "all updates deleted": "DELETE FROM updates",
        "the last block deleted": f"DELETE FROM blocks WHERE height = {ROUNDS}",
        "updates of a height deleted": "DELETE FROM updates WHERE height = 3",
    }.items():
        shutil.copytree(whole, run)
        with closing(sqlite3.connect(run / "chain.sqlite")) as database, database:
            database.execute(statement)
        yield f"audit: {name}", play("audit", run)
        shutil.rmtree(run)
    shutil.copytree(whole, run)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("rank: 4", "rank: 3"))
    yield "audit: another config", play("audit", run)


def main() -> int:
    over = 0
    print(f"{'input':<46}{'seconds':>9}{'processor':>11}{'MB':>7}{'status':>8}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for part in (configs(folder), traces(), bombs(folder), forgeries(folder)):
            for name, ended in part:
                lines = [line for line in ended.said.splitlines() if line]
                odd = ended.status not in (1, 2) or len(lines) != 1
                dear = ended.wall > MOST_SECONDS or ended.megabytes > MOST_MB
                over += odd or dear
                print(
                    f"{name:<46}{ended.wall:>9.2f}{ended.processor:>11.2f}"
                    f"{ended.megabytes:>7.0f}{ended.status:>8}"
                    f"{'  more than a line' if odd else ''}{'  over' if dear else ''}",
                    flush=True,
                )
                if odd:
                    print(ended.said[-500:])
    print(f"over the bar or odd: {over}")
    return 1 if over else 0


if __name__ == "__main__":
    raise SystemExit(main())
