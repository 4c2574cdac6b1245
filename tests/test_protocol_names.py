"""Nothing outside `consensus/protocols/` names a protocol: a third one is a package of its own."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from consensus.protocols.registry import PROTOCOLS

ROOT = Path(__file__).resolve().parent.parent

#: Files in which "paper" is the column of the numbers as published.
PUBLISHED = {
    "bfedrec/report/figures/fig2.py",
    "bfedrec/report/table.py",
    "bfedrec/report/tables/table1.py",
    "bfedrec/report/tables/table3.py",
}


def named(source: str, names: Collection[str]) -> Iterator[tuple[int, str]]:
    """Every text in ``source`` that is one of ``names``, with its line, wherever it stands: in a
    comparison, a case, a key, a tuple, a Literal, a default or an argument."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names:
            yield node.lineno, node.value


def test_no_protocol_is_named_outside_the_protocols() -> None:
    found = []
    for package in ("bfedrec", "consensus"):
        for path in sorted((ROOT / package).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            if place.startswith("consensus/protocols/"):
                continue
            for line, name in named(path.read_text(encoding="utf-8"), PROTOCOLS):
                if name != "paper" or place not in PUBLISHED:
                    found.append(f"{place}:{line} names {name}")
    assert found == []


def test_every_exception_is_needed() -> None:
    for place in PUBLISHED:
        assert list(named((ROOT / place).read_text(encoding="utf-8"), ("paper",))), place


@pytest.mark.parametrize(
    "planted",
    [
        'if server.genesis.parameters.protocol != "bft": pass',
        'paper = "paper" == config.protocol',
        'NAMES = {"bft": "two phases"}',
        'WORDS = ("bft", "weighted")',
        'protocol: Literal["bft", "mine"]',
        'def draw(seed, protocol="bft"): pass',
        'parser.add_argument("--protocol", default="bft")',
        'match protocol:\n    case "paper": pass',
    ],
)
def test_a_planted_name_is_found(planted: str) -> None:
    assert len(list(named(planted, PROTOCOLS))) == 1


def test_a_name_within_a_text_is_none() -> None:
    assert not list(named('"""Under ``bft`` the paper races."""\nx = "protocol=bft"', PROTOCOLS))
