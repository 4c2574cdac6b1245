"""The options by which stake moves: what goes together, and what the genesis gets of them."""

from __future__ import annotations

import pytest

from bfedrec.config.load import config_hash, load
from bfedrec.config.yaml_core import ConfigError
from consensus.encoding.fields import MalformedRecord
from consensus.protocols.registry import PROTOCOLS

MASKED = ("aggregation.rule=per_item", "compression.kind=levels")
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


def test_use_is_in_the_genesis_where_it_is_paid_alone() -> None:
    plain = load(None, list(ON)).ledger.incentives.rule(30_000_000)
    paid = load(None, [*ON, "ledger.incentives.use=0.5"]).ledger.incentives.rule(30_000_000)
    assert (plain.use, paid.use) == (0, 500_000)
    assert "use" not in plain.to_node()
    for rule in (plain, paid):
        assert type(rule).from_node(rule.to_node()) == rule
    with pytest.raises(MalformedRecord, match="use"):
        type(plain).from_node(plain.to_node() | {"use": 0})
    assert config_hash(load(None, [*ON, "ledger.incentives.use=0.0"])) == config_hash(
        load(None, list(ON))
    )


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
        (["ledger.incentives.use=0.1"], ["ledger.incentives.use", "0", "on is false"]),
        ([*ON, "ledger.incentives.use=1.1"], ["ledger.incentives.use"]),
        ([*ON, "ledger.incentives.use=0.5", "servers.stake_mean=1523"], ["1,524 or more"]),
        (
            [*ON, "ledger.incentives.use=0.5", "aggregation.secure=true", *MASKED],
            ["ledger.incentives.use", "aggregation.secure", "no server sees"],
        ),
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
        ["ledger.incentives.use=0.5", "servers.stake_mean=1524"],
        ["ledger.incentives.use=1.0", "servers.stake_mean=1"],
        ["protocol=tendermint"],
    ],
)
def test_what_goes_together_is_read(overrides: list[str]) -> None:
    assert load(None, [*ON, *overrides]).ledger.incentives.on


def test_protocols_say_whether_they_move_stake() -> None:
    assert {name for name, each in PROTOCOLS.items() if each.moves_stake} >= {"bft", "tendermint"}
    assert not PROTOCOLS["paper"].moves_stake
