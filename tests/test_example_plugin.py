"""The package of docs/examples/plugin: its length, its types, installed by pip and used."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from bfedrec import extending
from tests.helpers import tiny
from tests.helpers.commands import completed

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "docs" / "examples" / "plugin"
LINES = 60


def mypy(path: Path) -> subprocess.CompletedProcess[str]:
    """What the type checker says of a file, by the settings and the cache of `make lint`."""
    words = [sys.executable, "-m", "mypy", "--cache-dir", str(ROOT / ".mypy_cache")]
    return subprocess.run([*words, str(path)], cwd=ROOT, capture_output=True, text=True)


class Shop:
    """A folder into which pip has put the package, and commands with it on their path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        source, site = folder / "source", folder / "site"
        shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
        pip += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(site)]
        subprocess.run([*pip, str(source)], check=True, capture_output=True)
        (folder / "tiny.yaml").write_text(f"rounds: 2\n{tiny.TINY}", encoding="utf-8")
        path = os.pathsep.join([str(site), str(ROOT)])
        self.environment = {**os.environ, "PYTHONPATH": path}

    def command(self, *words: str) -> str:
        """The output of a command that went well."""
        done = completed(*words, env=self.environment, cwd=self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, name: str, *overrides: str) -> dict[str, str | float]:
        """The summary of a run that was audited."""
        self.command("run", "tiny.yaml", *overrides, "--out", name)
        self.command("audit", name)
        manifest = json.loads((self.folder / name / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["versions"]["example-parts"] == "1.0"
        summary: dict[str, str | float] = json.loads(
            (self.folder / name / "summary.json").read_text(encoding="utf-8")
        )
        return summary


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("shop"))


def test_the_package_is_short() -> None:
    files = [path for path in EXAMPLE.iterdir() if path.is_file()]
    assert {path.name for path in files} == {"pyproject.toml", "example_parts.py"}
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files) <= LINES


def test_each_part_is_used_audited_and_listed(shop: Shop) -> None:
    plain = shop.run("plain", "aggregation.rule=uniform")
    mean = shop.run("mean", "aggregation.rule=shrunk", "aggregation.at_least=1")
    assert mean["head"] != plain["head"], "the genesis names the rule"
    shrunk = shop.run("shrunk", "aggregation.rule=shrunk")
    echo = shop.run("echo", "clients.malicious=[{attack: echo, share: 1/2, factor: 3}]")
    stammer = shop.run("stammer", "servers.malicious=stammer:1/4")
    heads = {one["head"] for one in (plain, mean, shrunk, echo, stammer)}
    assert len(heads) == 5


def test_the_parts_are_listed(shop: Shop) -> None:
    text = " ".join(shop.command("run", "--help").split())
    assert "shrunk: the sum of the updates over their number, or over at_least" in text
    assert "shrunk: the clients below which a round counts for less" in text
    assert "echo (factor=2.0): Every colluder sends what the first of them learnt" in text
    assert "\nstammer " in f"\n{shop.command('behaviours')}"
    assert "example-parts 1.0 (example = example_parts)" in shop.command("doctor")


# -- the names ------------------------------------------------------------------------------------

GUIDE = ROOT / "docs" / "extending.md"
INNER = {"ATTACKERS", "OWN"}
"""Registries that are no place for parts of others: of torture's and of a comparison's own."""


def registries() -> dict[str, object]:
    """Every registry of parts, by the name of its constant."""
    assigned = re.compile(r"^(\w+): (?:Final\[)?Registry\[.*= Registry\(", re.MULTILINE)
    found = {}
    for package in ("bfedrec", "consensus"):
        for path in (ROOT / package).rglob("*.py"):
            for name in assigned.findall(path.read_text(encoding="utf-8")):
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                found[name] = getattr(import_module(module), name)
    return found


def table_of_kinds() -> list[list[str]]:
    """The rows of the guide's table: the names in code, of the base classes and of decorators."""
    lines = GUIDE.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ") and "`" in line]
    return [re.findall(r"`(\w+)`", row) for row in rows]


def test_the_names_of_every_kind_are_in_one_place() -> None:
    kinds = set(registries()) - INNER
    assert len(kinds) == len(table_of_kinds()) + 1, "tables and figures have a row together"
    registering = {name for names in table_of_kinds() for name in names if name[0].islower()}
    assert registering == {*DECORATORS.split(), "register_table", "register_figure"}
    for names in table_of_kinds():
        assert set(names) <= set(extending.__all__)
    assert all(hasattr(extending, name) for name in extending.__all__)


def test_the_guides_files_take_from_that_place_what_is_there() -> None:
    pages = (GUIDE.read_text(encoding="utf-8"), (ROOT / "docs" / "data.md").read_text("utf-8"))
    for module, names in re.findall(r"^from ([\w.]+) import ([\w, ]+)$", "\n".join(pages), re.M):
        if module.startswith(("bfedrec.", "consensus.")) and module != "bfedrec.extending":
            assert not set(names.split(", ")) & set(extending.__all__), module


# -- types ----------------------------------------------------------------------------------------


def test_the_package_passes_the_type_checker() -> None:
    done = mypy(EXAMPLE / "example_parts.py")
    assert (done.returncode, done.stdout.count("Success")) == (0, 1), done.stdout


WRONG = """\
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

import bfedrec.extending as ext


@ext.aggregator("rule")
@dataclass(frozen=True)
class Rule(ext.Aggregator):
    meaning = "wrong"

    def mean(self, updates: Iterable[np.ndarray], counts: Sequence[int]) -> np.ndarray:  # override
        return np.zeros(1)


class Nothing(ext.Codec):
    meaning = "wrong"


Nothing(1, 2, 3)  # abstract


class Greedy(ext.Attack):
    def forge(self, uploads: Sequence[ext.Upload], scene: ext.Scene) -> ext.Upload:  # override
        return uploads[0].client  # return-value


class Shy(ext.Behaviour):
    relays = "no"  # assignment

    def takes(self, server: ext.EdgeServer, client: str) -> bool:  # override
        return bool(server.nonsense)  # attr-defined


class Score(ext.Metric):
    def of(self, rank: np.ndarray, k: int) -> np.ndarray:
        return rank


class Unit(ext.Basis):
    def columns(self, d: int, r: int, beacon: bytes, Q: np.ndarray | None) -> np.ndarray:
        return np.eye(d)


"""
"""A comment names the error of its line by mypy's code."""
DECORATORS = (
    "aggregator attack behaviour codec data_set delays engine file_format inference logger metric "
    "optimizer protocol register_basis target training_method"
)
"""All that register a class; each is put on a part of another kind."""
FOREIGN = "".join(
    f"ext.{name}('foreign')({'Unit' if name == 'metric' else 'Score'})  # type-var\n"
    for name in DECORATORS.split()
)


def test_a_part_that_does_not_fit_is_told_by_the_type_checker(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    text = WRONG + FOREIGN
    path.write_text(text, encoding="utf-8")
    lines = text.splitlines()
    wanted = {
        (number, line.partition("  # ")[2])
        for number, line in enumerate(lines, 1)
        if "  # " in line
    }
    found = set()
    for line in mypy(path).stdout.splitlines():
        if ": error: " in line:
            found.add((int(line.split(":")[1]), line.rpartition("[")[2].rstrip("]")))
    assert found == wanted
