"""Scenarios to replay that are none: one line, whatever stands where a number belongs."""

from __future__ import annotations

import json
from math import inf, nan

import pytest

from bfedrec.cli.main import main
from bfedrec.runs import simulation  # noqa: F401 - loaded before a copy with little memory is made
from consensus.protocols.registry import PROTOCOLS
from consensus.torture.arena.drawing import draw
from consensus.torture.arena.scenario import Scenario
from tests.helpers.limited import command

START = {"seed": 0, "servers": 4}


@pytest.mark.parametrize(
    "change",
    [
        *({"latency": value} for value in (nan, inf, 1e300, 1e-300, -5, 0, "20", True, [], None)),
        *({name: 0} for name in ("vote", "ticket", "update", "resend", "clients", "heights")),
        *({name: 10**12} for name in ("vote", "settle", "recovery", "heights", "max_step")),
        *({name: value} for name in ("size", "quota", "onset") for value in (-1, 1.0, "1", True)),
        *({"seed": value} for value in (-1, 2**63, 1e400, True, "0", None, [0])),
        *({"servers": value} for value in (0, 65, 10**9, 10**400, 4.0, True, "4")),
        *({"stakes": value} for value in (5, "1111", ["a"], [1] * 3, [1, 1, 1, 2**70], {"a": 1})),
        {"stakes": [True, 1, 1, 1]},
        {"stakes": [10**12, 10**12, 1, 1], "committee": "weighted", "recovery": 2000},
        *({"malicious": value} for value in (5, "silent", [0], [[0]], [[0, "silent"]], {"0": []})),
        {"malicious": [[True, ["silent"]]]},
        {"malicious": [[4, ["silent"]]]},
        {"malicious": [[0, [["silent"]]]]},
        {"malicious": [[0, ["nope"]]]},
        {"malicious": [[0, ["silent"]], [0, ["silent"]]]},
        {"malicious": [[0, ["silent"] * 1000]]},
        *({"faults": value} for value in (5, [5], [None], "loss", [{}], {"loss": 0.5})),
        {"faults": [{"loss": 0.5}]},
        {"faults": [{"loss": 0.5, "until": nan}]},
        {"faults": [{"loss": 0.5, "until": 1e300}]},
        {"faults": [{"loss": [0.5], "until": 5}]},
        {"faults": [{"crash": [4], "until": 5}]},
        {"faults": [{"delay": 1e6, "until": 5}]},
        {"faults": [{"slow": 1e6, "until": 5}]},
        {"faults": [{"bandwidth": 1e-6, "until": 5}]},
        {"faults": [{"churn": 1e6, "down": 1e-6, "until": 5}]},
        {"faults": [{"loss": 0.5, "until": 5}] * 1000},
        *({"protocol": value} for value in ("zz", ["bft"], {}, 5, None)),
        *({"committee": value} for value in ("zz", ["fixed"], 5)),
        *({"topology": value} for value in ("star", ["ring"], 5)),
        {"hostile": 3},
        {"size": 5},
        {"zz": 1},
    ],
    ids=repr,
)
def test_an_odd_value_is_one_line(change: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(change, dict)
    assert main(["torture", "--replay", json.dumps(START | change)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bfedrec: command line: --replay: ")
    assert len(line) < 1000


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "1.5", "{}", '{"seed":0}', '{"servers":4}', '{"seed":0,"servers":NaN}'),
        *("[" * 60_000, "[" * 10**6, '{"a":' * 10_000, '{"seed":' + "9" * 5000 + ',"servers":4}'),
    ],
    ids=range(12),
)
def test_what_is_no_scenario_is_one_line(text: str) -> None:
    ended = command("torture", "--replay", text)
    assert (ended.status, len(ended.lines)) == (2, 1), ended.out


@pytest.mark.parametrize("seeds", ["9" * 5000, "0-" + "9" * 30, "\u00b2", "-", "5-1"])
def test_seeds_that_no_range_holds_are_one_line(
    seeds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["torture", f"--seeds={seeds}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert len(line) < 300


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_drawn_scenario_is_read_again(protocol: str) -> None:
    for seed in range(500):
        drawn = draw(seed, protocol)
        assert Scenario.from_text(drawn.text()) == drawn
