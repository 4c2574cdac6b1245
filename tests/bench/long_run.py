"""A long run and others beside it, which `test_bench_explorer` and `watched` are about."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Final

from tests.bench.command import played

HEIGHTS: Final = 1000
CURVES: Final = 20
CONFIG: Final = """\
name: long
rounds: {heights}
data: {{dataset: synthetic, synthetic: {{users: 40, items: 220, interactions_per_user: 8}}}}
model: {{dimension: 4, rank: 1}}
training: {{local_epochs: 1}}
clients: {{per_round: 3}}
servers: {{count: 30}}
committee: {{size: 20}}
evaluation: {{every: 1}}
"""


def config(path: Path, heights: int = HEIGHTS) -> Path:
    """Write the config of a run of thirty servers, as cheap as its heights can be."""
    path.write_text(CONFIG.format(heights=heights))
    return path


def play(folder: Path, heights: int = HEIGHTS) -> Path:
    """Play the run into a folder: about two minutes of a processor."""
    path = config(folder.with_suffix(".yaml"), heights)
    ended = played(["run", path, "--out", folder])
    assert ended.status == 0, ended.said[-2000:]
    return folder


def copies(run: Path, folder: Path, settings: bool) -> list[str]:
    """Write twenty folders with the curves of a run, of other seeds and with other scores; with
    ``settings`` each is of another setting too. Returns their addresses."""
    drawn = random.Random(1)
    text = (run / "config.yaml").read_text()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = []
    for number in range(CURVES):
        place = folder / f"{'setting' if settings else 'seed'}-{number}"
        place.mkdir(parents=True)
        for name in ("manifest.json", "summary.json"):
            shutil.copy(run / name, place)
        changed = text.replace("\nseed: 0\n", f"\nseed: {number}\n")
        if settings:
            changed = changed.replace("local_epochs: 1\n", f"local_epochs: {number + 1}\n")
        assert not number or changed != text
        (place / "config.yaml").write_text(changed)
        with (place / "metrics.jsonl").open("w") as file:
            for line in lines:
                scored = {name: drawn.random() for name in line if "@" in name}
                file.write(f"{json.dumps({**line, **scored})}\n")
        found.append(f"{folder.name}/{place.name}")
    return found
