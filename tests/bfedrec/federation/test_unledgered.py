"""Rounds without a ledger against those of a run on one, each with beacons of its own."""

from __future__ import annotations

import numpy as np
import pytest

from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.prepare import prepare
from bfedrec.federation.federation import Federation
from bfedrec.federation.unledgered import learn, learner_alone, rounds_of
from tests.bfedrec.runs.test_simulation import SMALL

ROUNDS = 6
TWICE = ("clients.per_round=50",)
"""80 users are dealt 50 at a time, so that many train twice."""


@pytest.mark.parametrize(
    "overrides",
    [
        ("compression.kind=dense",),
        ("compression.kind=dense", "aggregation.rule=samples"),
        ("compression.kind=dense", "clients.dropout=0.3", "aggregation.rule=median"),
        ("training.method=ials", "model.basis=identity", "model.rank=8"),
    ],
    ids=" ".join,
)
def test_a_model_that_draws_nothing_of_a_beacon_is_that_of_a_run_to_the_bit(
    overrides: tuple[str, ...],
) -> None:
    """The order of updates is the same, too: servers sort them by digest, which no rule minds
    beyond the last bit of a float64, and the model is float32."""
    config = load(None, [*SMALL, *TWICE, f"rounds={ROUNDS}", "crypto=modelled", *overrides])
    data = prepare(config.data)
    federation = Federation(config, data)
    run = [federation.play_round() for _ in range(ROUNDS)]
    federation.close()
    alone = learner_alone(config, data)
    played = list(rounds_of(alone))
    before = learner_alone(config, data)
    assert (alone.Q != before.Q).any()
    assert (alone.Q == federation.learner.Q).all()
    assert (alone.P == federation.learner.P).all()
    assert [each.loss for each in played] == [each.loss for each in run]
    assert [each.aggregate_bytes for each in played] == [
        len(each.result.contents.aggregate) for each in run
    ]
    for one, other in zip(played, run, strict=True):
        sent = sum(len(update.payload) for update in other.result.updates)
        assert one.uplink_bytes == sent


def test_a_basis_of_beacons_differs_and_learns_as_well() -> None:
    config = load(None, [*SMALL, f"rounds={ROUNDS}", "crypto=modelled"])
    data = prepare(config.data)
    federation = Federation(config, data)
    for _ in range(ROUNDS):
        federation.play_round()
    federation.close()
    alone = learn(config, data)
    assert (alone.Q != federation.learner.Q).any()
    moved = [
        float(np.linalg.norm(x - learner_alone(config, data).Q))
        for x in (alone.Q, federation.learner.Q)
    ]
    assert moved[0] == pytest.approx(moved[1], rel=0.3)


def test_rounds_that_were_played_are_not_played_again() -> None:
    config = load(None, [*SMALL, f"rounds={ROUNDS}"])
    whole = learner_alone(config, prepare(config.data))
    heights = [played.height for played in rounds_of(whole)]
    assert heights == [1, 2, 3, 4, 5, 6]
    assert [played.height for played in rounds_of(whole, 4)] == [5, 6]


def test_more_clients_than_users_are_refused() -> None:
    config = load(None, [*SMALL, "clients.per_round=81"])
    with pytest.raises(ConfigError, match=r"clients\.per_round: 81 is more than the 80 users"):
        learn(config, prepare(config.data))
