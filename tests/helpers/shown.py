"""Run folders for the explorer: real tiny runs, and folders written as a run leaves them."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import yaml

from bfedrec.cli.main import main
from bfedrec.config.load import changed, config_hash, dump, parse
from bfedrec.config.schema import Config
from bfedrec.web.explorer.app import application
from bfedrec.web.explorer.serving import explorer_of
from tests.helpers.tiny import TINY
from tests.helpers.web import Client, serving

TEXT = f"name: tiny\nrounds: 6\n{TINY}evaluation: {{every: 2}}\n"


def config_of(*overrides: str) -> Config:
    """The tiny config with overrides."""
    return changed(parse(dump(Config.model_validate(_tree())), "tiny"), overrides, "tiny")


def _tree() -> dict[str, object]:
    tree = yaml.safe_load(TEXT)
    assert isinstance(tree, dict)
    return tree


def line(height: int, **values: object) -> dict[str, object]:
    """A line of metrics.jsonl with the totals that grow with the height."""
    told: dict[str, object] = {
        "height": height,
        "loss": 0.5 / height,
        "split": "validation",
        "hr@10": min(1.0, 0.01 * height),
        "ndcg@10": min(1.0, 0.005 * height),
        "blocks": height,
        "attempts": height + height // 2,
        "uplink_bytes": 1000 * height,
        "downlink_bytes": 2000 * height,
        "gossip_bytes": 50_000 * height,
        "refused_messages": height,
        "evidence": 0,
        "captured_blocks": 0,
        "simulated_seconds": 1.5 * height,
        "wall_seconds": 0.1 * height,
    }
    return {**told, **values}


def summary(rounds: int = 6, **values: object) -> dict[str, object]:
    """A summary such as a finished run's."""
    last = line(rounds)
    for name in ("height", "loss", "split"):
        del last[name]
    return {"rounds": rounds, "head": "bafyhead", "full_hr@10": 0.125, **last, **values}


def lines_of(values: Sequence[Mapping[str, object]]) -> str:
    """JSON lines."""
    return "".join(f"{json.dumps(each)}\n" for each in values)


def write_run(
    folder: Path,
    *overrides: str,
    lines: Sequence[Mapping[str, object]] | None = None,
    end: Mapping[str, object] | None = None,
    name: str = "summary.json",
) -> Path:
    """Write a run's folder: config, manifest, metrics (by default of heights 2 and 4) and, with an
    ``end``, its summary or the stop in the file ``name``."""
    folder.mkdir(parents=True, exist_ok=True)
    config = config_of(*overrides)
    (folder / "config.yaml").write_text(dump(config))
    manifest = {
        "started": "2026-01-02T03:04:05+00:00",
        "command": ["bfedrec", "run", "tiny.yaml"],
        "seed": config.seed,
        "config_hash": config_hash(config),
        "data_digest": "d" * 64,
        "git": {"commit": "c0ffee", "dirty": False},
        "versions": {"python": "3.11.7", "torch": None},
        "machine": {"cpu": "a processor", "cores": 2},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    found = [line(2), line(4)] if lines is None else lines
    (folder / "metrics.jsonl").write_text(lines_of(found))
    if end is not None:
        (folder / name).write_text(json.dumps(end))
    return folder


def write_ranks(folder: Path, rank: Sequence[int]) -> None:
    """Write the ranks of all users' test items."""
    file = io.BytesIO()
    np.savez_compressed(file, rank=np.array(rank, np.int8))
    (folder / "ranks.npz").write_bytes(file.getvalue())


def play(folder: Path, *words: str, text: str = TEXT) -> Path:
    """A real run of a tiny config, or of another one, in this process."""
    path = folder.parent / f"{folder.name}.yaml"
    path.write_text(text)
    assert main(["run", str(path), *words, "--out", str(folder)]) == 0
    return folder


@contextmanager
def served(root: Path) -> Iterator[Client]:
    """A client of the pages of a folder, of a run or of a trace."""
    with serving(application(explorer_of(root))) as port:
        yield Client(port)


def change(chain: Path, statement: str) -> None:
    """Change the database of a chain behind its back."""
    with closing(sqlite3.connect(chain)) as connection, connection:
        connection.execute(statement)
