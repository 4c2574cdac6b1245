"""The options of an adversary that looks on: what is refused, and what is told beforehand."""

from __future__ import annotations

import pytest

from bfedrec.config.help import help_text
from bfedrec.config.load import config_hash, load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.federation.adversary import warnings
from consensus.adversary.corruption import TARGETS
from consensus.adversary.delays import DELAYS

CORRUPT = "adversary.corruption.strategy=members"
DELAY = "adversary.delays.strategy=last_moment"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["adversary.corruption.strategy=membrs"],
            "adversary.corruption.strategy: 'membrs': expected none | stake | random | members | "
            "proposer | voters; did you mean 'members'?",
        ),
        (
            ["adversary.delays.strategy=late"],
            "adversary.delays.strategy: 'late': expected none | last_moment | shuffle | halves | "
            "sides | against_leader | for_malicious",
        ),
        ([CORRUPT, "adversary.corruption.at_once=0"], "adversary.corruption.at_once: 0: expected"),
        (
            [CORRUPT, "adversary.corruption.at_once=31"],
            "adversary.corruption.at_once: 31: expected at most servers.count = 30",
        ),
        (
            ["adversary.corruption.at_once=2"],
            "adversary.corruption.at_once: 2: expected 1, as strategy is none",
        ),
        (
            ["adversary.delays.bound_seconds=1"],
            "adversary.delays.bound_seconds: 1: expected 0.2, as strategy is none",
        ),
        (
            ["adversary.corruption.behaviour=[withhold]"],
            "behaviour: ['withhold']: expected [\"silent\"], as strategy is none",
        ),
        (
            [CORRUPT, "adversary.corruption.behaviour=[silnt]"],
            "adversary.corruption.behaviour: ['silnt']: expected a list of abstain | ",
        ),
        ([CORRUPT, "adversary.corruption.behaviour=[]"], "adversary.corruption.behaviour: []"),
        (
            [CORRUPT, "adversary.corruption.by=heights", "adversary.corruption.delay=0.5"],
            "adversary.corruption.delay: 0.5: expected whole heights up to 2147483648, as by is",
        ),
        ([CORRUPT, "adversary.corruption.delay=-1"], "adversary.corruption.delay: -1"),
        ([CORRUPT, "adversary.corruption.delay=.inf"], "adversary.corruption.delay: "),
        (
            [CORRUPT, "adversary.corruption.at_once=3", "adversary.corruption.in_all=2"],
            "adversary.corruption.in_all: 2: expected 0, or at least at_once = 3",
        ),
        ([DELAY, "adversary.delays.bound_seconds=1e12"], "adversary.delays.bound_seconds: 1"),
        (["adversary.delay.strategy=halves"], "adversary.delay: unknown key"),
        (
            [DELAY, "servers.gossip=mesh"],
            "servers.gossip: 'mesh': expected tree, as adversary.delays.strategy is given",
        ),
        (["method=bpr", CORRUPT], "as method bpr does not read it"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, words)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_adversary_leaves_the_hash_of_a_config() -> None:
    none = ["adversary.corruption.strategy=none", "adversary.delays.strategy=none"]
    assert config_hash(load(None, none)) == config_hash(load(None))
    assert config_hash(load(None, [CORRUPT])) != config_hash(load(None))


def test_the_help_lists_every_strategy() -> None:
    told = " ".join(help_text().split())
    for name, strategy in {**TARGETS, **DELAYS}.items():
        assert f"{name}: {strategy.meaning}" in told


def test_the_power_over_committees_is_told_beside_that_of_chance() -> None:
    def told(*words: str) -> list[str]:
        return list(warnings(load(None, words)))

    assert told() == []
    assert told(CORRUPT, "adversary.corruption.at_once=6") == []
    (block,) = told(CORRUPT, "adversary.corruption.at_once=7")
    assert "7 servers at once are enough to block a committee of 20 (7 seats)" in block
    (capture,) = told(CORRUPT, "adversary.corruption.at_once=14")
    assert "enough to capture a committee of 20 (14 seats); drawn by lot they would" in capture
    assert told(CORRUPT, "adversary.corruption.at_once=14", "protocol=paper") == []


def test_a_bound_beyond_the_premise_is_told() -> None:
    assert list(warnings(load(None, [DELAY]))) == []
    (told,) = warnings(load(None, [DELAY, "adversary.delays.bound_seconds=0.25"]))
    assert "not less than committee.settle_seconds = 0.5" in told
    loose = [DELAY, "adversary.delays.bound_seconds=3", "protocol=tendermint"]
    assert list(warnings(load(None, loose))) == []
