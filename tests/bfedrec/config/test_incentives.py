"""The options by which stake moves: what goes together, and what the genesis gets of them."""

from __future__ import annotations

import pytest

from bfedrec.config.load import config_hash, load
from bfedrec.config.yaml_core import ConfigError
from consensus.protocols.registry import PROTOCOLS

ON = ("ledger.incentives.on=true", "servers.stake_mean=1000000")


def test_stake_does_not_move_by_default() -> None:
    config = load(None, [])
    assert not config.ledger.incentives.on
    assert config_hash(config) == config_hash(load(None, ["ledger.incentives.on=false"]))
    assert config_hash(config) != config_hash(load(None, list(ON)))


def test_the_genesis_gets_parts_of_a_million() -> None:
    config = load(None, [*ON, "ledger.incentives.slash=0.25", "ledger.incentives.treasury=0.5"])
    rule = config.ledger.incentives.rule(30_000_000)
    assert (rule.treasury, rule.slash, rule.report) == (15_000_000, 250_000, 50_000)
    assert (rule.reward, rule.propose, rule.leak) == (10_000, 125_000, 10_000)
    assert (rule.patience, rule.window) == (16, 100)
    assert type(rule).from_node(rule.to_node()) == rule


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["ledger.incentives.slash=0.1"], ["ledger.incentives.slash", "0.5", "on is false"]),
        (["ledger.incentives.patience=3"], ["ledger.incentives.patience", "16", "on is false"]),
        ([*ON, "protocol=paper"], ["protocol", "bft | tendermint", "ledger.incentives.on"]),
        ([*ON, "committee.kind=weighted"], ["committee.kind", "fixed", "ledger.incentives.on"]),
        ([*ON[:1]], ["servers.stake_mean", "762 or more", "one unit of stake"]),
        (
            [*ON, "servers.stake_mean=761"],
            ["servers.stake_mean", "762 or more"],
        ),
        ([*ON, "ledger.incentives.slash=0.0"], ["ledger.incentives.slash"]),
        ([*ON, "ledger.incentives.slash=1.5"], ["ledger.incentives.slash"]),
        ([*ON, "ledger.incentives.report=-0.1"], ["ledger.incentives.report"]),
        ([*ON, "ledger.incentives.window=0"], ["ledger.incentives.window"]),
        ([*ON, "ledger.incentives.treasury=.inf"], ["ledger.incentives.treasury"]),
        ([*ON, "ledger.incentives.slush=1"], ["slush", "slash"]),
    ],
)
def test_what_does_not_go_together_is_one_line(overrides: list[str], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, overrides)
    told = str(caught.value)
    assert "\n" not in told
    for part in parts:
        assert part in told


@pytest.mark.parametrize(
    "overrides",
    [
        ["servers.stake_mean=762"],
        ["ledger.incentives.treasury=0.0", "servers.stake_mean=1"],
        ["ledger.incentives.reward=0.0", "servers.stake_mean=1"],
        ["protocol=tendermint"],
    ],
)
def test_what_goes_together_is_read(overrides: list[str]) -> None:
    assert load(None, [*ON, *overrides]).ledger.incentives.on


def test_protocols_say_whether_they_move_stake() -> None:
    assert {name for name, each in PROTOCOLS.items() if each.moves_stake} >= {"bft", "tendermint"}
    assert not PROTOCOLS["paper"].moves_stake
