"""The commands of the pages that make a run or read one, run in the order of their page: runs with
three rounds each, or two passes over the data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bfedrec.config.load import load
from bfedrec.config.shipped import located
from docs.generator.blocks import blocks
from docs.generator.sources import ROOT, pages
from tests.docs.test_blocks import GUIDE
from tests.helpers.commands import completed
from tests.helpers.shell import commands

pytestmark = [pytest.mark.slow, pytest.mark.data]

PLAYED = {
    "audit",
    "behaviours",
    "chain",
    "data",
    "doctor",
    "figure",
    "learn",
    "privacy",
    "recommend",
    "report",
    "run",
    "show",
    "table",
    "version",
}
"""The commands that are run; the others are held against their parsers alone (`test_blocks`), as
they take minutes, serve until they are stopped, or need other machines."""
LEFT = {
    "servers.count=10000": "takes two GiB",
    "experiments/ml-1m-ipfs.yaml": "needs an IPFS node",
    "@costs.yaml": "needs what an IPFS node was measured for",
    "costs.yaml": "measures an IPFS node",
    "prepare": "needs the official archive",
    "bafyrei...": "is the head of a reader's own run",
}
"""Words of commands that are left out all the same, and why."""
SHORT = ("rounds=3", "evaluation.every=1")
SHORT_AT_ONCE = ("centralised.epochs=2", "evaluation.every=1")
"""Those of a method that has no rounds."""
RUNS = ("RUN", "results/runs/quickstart", "results/runs/ml-1m-9dcdbd51-s0")
"""A reader's own run, as pages call it."""
EVENTS = "timestamp,visitorid,event,itemid,transactionid\n"
NOT_RECORDED = 2
"""Status of a table or a figure that lacks runs."""


def to_be_run(name: str) -> list[list[str]]:
    """The commands of a page that are run, in order."""
    found = blocks((ROOT / name).read_text(encoding="utf-8"))
    shell = [each.text for each in found if each.language == "sh" and not each.not_run]
    words = [each[1:] for text in shell for each in commands(text) if each[0] == "bfedrec"]
    return [each for each in words if each[0] in PLAYED and not LEFT.keys() & set(each)]


PAGES = [name for name in pages() if name.endswith(".md") and name != GUIDE and to_be_run(name)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 20 rounds that keeps its updates."""
    out = tmp_path_factory.mktemp("run") / "quickstart"
    words = ("rounds=20", "evaluation.every=5", "ledger.retain_updates=all")
    done = completed("run", str(ROOT / "experiments/quickstart.yaml"), *words, "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out


def folder_of(tmp_path: Path) -> Path:
    """A folder as a clone has it, with files of a reader's own."""
    (tmp_path / "results" / "runs").mkdir(parents=True)
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    for name in ("reference", "merchants", "tuning"):
        (tmp_path / "results" / name).symlink_to(ROOT / "results" / name)
    pairs = [(user, (7 * user + 3 * place) % 80) for user in range(60) for place in range(24)]
    times = [7919 * place % len(pairs) for place in range(len(pairs))]
    rows = [f"{u},{i},5,{time}" for (u, i), time in zip(pairs, times, strict=True)]
    for name, ids in (("ratings.csv", "userId,movieId"), ("mine.csv", "user,item")):
        time = "timestamp" if name == "ratings.csv" else "time"
        text = "\n".join([f"{ids},rating,{time}", *rows])
        (tmp_path / name).write_text(f"{text}\n", encoding="utf-8")
    events = [f"{t},{u},transaction,{i},1\n" for (u, i), t in zip(pairs, times, strict=True)]
    (tmp_path / "events.csv").write_text(EVENTS + "".join(events), encoding="utf-8")
    return tmp_path


def _config(folder: Path, name: str) -> Path:
    """The config of this name in a reader's folder, or else the shipped one."""
    return folder / name if (folder / name).is_file() else located(Path(name))


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_a_page_run(name: str, run: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    told = []
    for words in to_be_run(name):
        given = [str(run) if word in RUNS else word.replace("FILE", "mine.csv") for word in words]
        if words[0] in ("run", "learn") and "--help" not in words:
            config = load(_config(folder, words[1]), [each for each in words[2:] if "=" in each])
            given += SHORT if config.method == "federated" else SHORT_AT_ONCE
        done = completed(*given, env=dict(os.environ), cwd=folder)
        lacking = words[0] in ("table", "figure") and done.returncode == NOT_RECORDED
        above = "--fail-above" in words and done.returncode == 1
        if done.returncode and not (lacking and "recorded" in done.stderr) and not above:
            told.append(
                f"{' '.join(words)}: {done.returncode}: {done.stdout[-300:]}{done.stderr[-600:]}"
            )
    assert not told, "\n".join(told)


def test_enough_is_run() -> None:
    assert sum(len(to_be_run(name)) for name in PAGES) >= 45
