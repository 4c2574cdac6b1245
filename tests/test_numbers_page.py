"""docs/numbers.md: every key of a summary or of a line of metrics is on the page, and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

import bfedrec as bf
from bfedrec.runs.figures import MEASURED
from tests.helpers.tiny import TINY

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "numbers.md"
RECORDS = ROOT / "results" / "reference"
NO_FIGURES = {"overrides", "seed", "config_hash", "summary", "label"}
"""Keys of a compact record that tell which run it is."""


def explained() -> list[str]:
    """The keys in the first column of the page's tables; `*` stands for any name."""
    rows = re.findall(r"^\| (`[^|]+`) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [key for row in rows for key in re.findall(r"`([^`]+)`", row)]


def unexplained(keys: Iterator[str] | set[str]) -> set[str]:
    """Those of the keys that no row of the page explains."""
    patterns = explained()
    return {key for key in keys if not any(fnmatchcase(key, each) for each in patterns)}


def recorded() -> set[str]:
    """The keys of all recorded summaries, stops and lines of metrics."""
    found: set[str] = set()
    for name in ("summary.json", "stopped.json"):
        for path in RECORDS.rglob(name):
            found |= json.loads(path.read_text(encoding="utf-8")).keys()
    for path in RECORDS.rglob("metrics.jsonl"):
        found |= json.loads(path.read_text(encoding="utf-8").splitlines()[-1]).keys()
    for path in RECORDS.rglob("runs.jsonl"):
        line = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
        found |= (line | line.get("summary", {})).keys()
    return found - NO_FIGURES


def test_every_recorded_figure_is_explained() -> None:
    keys = recorded()
    assert {"hr@10", "uplink_bytes", "seconds_until_level", "stopped_because"} <= keys
    assert unexplained(keys) == set()
    assert unexplained({"surprise", "hr"}) == {"surprise", "hr"}


@pytest.mark.parametrize(
    ("changes", "some"),
    [
        ({"servers": {"malicious": "1/3"}, "evaluation": {"targets": [3]}}, {"er@10", "evidence"}),
        (
            {
                "aggregation": {"rule": "per_item", "secure": True, "group": 4},
                "compression": {"kind": "levels"},
                "evaluation": {"select": "validation", "every": 1},
                "faults": [{"crash": [1], "from": 1, "until": 3}],
            },
            {"groups_opened", "selected_by", "test_hr@10", "blocks_while_faulty"},
        ),
        ({"adversary": {"corruption": {"strategy": "members"}}}, {"corruptions", "held_seconds"}),
        (
            {"training": {"method": "ials", "local_epochs": 2}, "evaluation": {"recency": True}},
            {"ordered_hr@10"},
        ),
        (
            {"servers": {"gossip": "mesh", "mesh_degree": 1, "heartbeat_ms": 50.0}},
            {"gossip_duplicates", "gossip_bytes_ihave"},
        ),
    ],
)
def test_every_figure_of_a_run_is_explained(
    changes: dict[str, Any], some: set[str], tmp_path: Path
) -> None:
    options = {**yaml.safe_load(TINY), "rounds": 2, "evaluation": {"every": 1}}
    run = bf.run(options, out=tmp_path / "run", progress=False, profile=True, **changes)
    keys = {*run.summary, *run.metrics.columns, "height"}
    assert keys >= some
    assert unexplained(keys) == set()


def test_what_is_learnt_without_a_ledger_and_by_other_methods_is_explained(tmp_path: Path) -> None:
    options = {**yaml.safe_load(TINY), "rounds": 2}
    learnt = bf.learn(options, out=tmp_path / "learnt", progress=False)
    popular = bf.run({"data": options["data"], "method": "popularity"}, out=tmp_path / "popular")
    keys = {*learnt.summary, *learnt.metrics.columns, *popular.summary}
    assert {"ledger", "epochs"} <= keys
    assert unexplained(keys) == set()


def test_nothing_is_explained_twice_and_the_measured_is_there() -> None:
    keys = explained()
    assert len(keys) == len(set(keys))
    assert unexplained(set(MEASURED)) == set()
