"""Searching for options: what a trial scores, and what training without a ledger learns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bfedrec.config.load import load
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.prepare import prepare
from bfedrec.evaluation.ranking import evaluate
from bfedrec.federation.learner import Learner
from bfedrec.federation.unledgered import learn
from bfedrec.learning.upload import Diverged
from bfedrec.sweeps import tuning
from bfedrec.sweeps.tuning import check, score

SMALL = """
name: small
rounds: 40
data: {dataset: synthetic, synthetic: {users: 120, items: 80, interactions_per_user: 15}}
model: {dimension: 8, rank: 2}
clients: {per_round: 12}
training: {item_step: 1.0, user_step: 1.0}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def test_learning_beats_the_initial_factors_and_repeats_exactly(config: Path) -> None:
    settings = load(config)
    data = prepare(settings.data)
    learned, again = learn(settings, data, threads=1), learn(settings, data, threads=2)
    assert (learned.P == again.P).all()
    assert (learned.Q == again.Q).all()
    before = learn(load(config, ["rounds=1"]), data)
    figures = [evaluate(x.P, x.Q, data, "validation").means() for x in (before, learned)]
    assert figures[1]["full_ndcg@10"] > figures[0]["full_ndcg@10"] + 0.05


def scored(config: Path, overrides: Sequence[str], seeds: Sequence[int]) -> dict[str, float]:
    """The score of a config's file with these overrides and seeds."""
    return score([load(config, [*overrides, f"seed={seed}"]) for seed in seeds])


def test_a_score_is_the_mean_over_seeds_of_validation_items_alone(config: Path) -> None:
    found = [scored(config, ["rounds=4"], seeds) for seeds in ((0,), (1,), (0, 1))]
    scores = [each["validation_ndcg@10"] for each in found]
    settings = load(config, ["rounds=4", "seed=1"])
    learner, data = learn(settings, prepare(settings.data)), prepare(settings.data)
    means = evaluate(learner.P, learner.Q, data, "validation").means()
    assert scores[1] == means["ndcg@10"] != scores[0]
    assert scores[2] == pytest.approx((scores[0] + scores[1]) / 2)
    assert not any("test" in name for name in found[0])


def test_centralised_methods_are_scored_too(config: Path) -> None:
    config.write_text(SMALL.partition("model:")[0].replace("rounds: 40", "method: popularity"))
    found = scored(config, [], (0,))
    assert set(found) == {f"validation_{x}@10" for x in ("hr", "ndcg", "full_hr", "full_ndcg")}


def test_an_attacks_targets_have_their_exposure(config: Path) -> None:
    assert "er@10" in scored(config, ["rounds=2", "evaluation.targets=[3]"], (0,))


def test_steps_that_are_too_large_are_told(config: Path) -> None:
    with pytest.raises(Diverged, match="round 1: client"):
        scored(config, ["training.item_step=1e30"], (0,))


def test_without_validation_items_there_is_nothing_to_tune_on(config: Path) -> None:
    check(load(config))
    with pytest.raises(ConfigError, match="'train' leaves no validation items") as refused:
        check(load(config, ["data.validation=train"]))
    assert "\n" not in str(refused.value)
    with pytest.raises(ConfigError, match="no validation items"):
        scored(config, ["rounds=2", "data.validation=train"], (0,))


ORDERED = (
    *("training.method=ials", "training.item_step=0.5", "training.user_step=0.5"),
    *("model.rank=8", "evaluation.recency=true", "rounds=3"),
)


def test_trials_of_scoring_alone_train_once(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Config] = []

    def counted(config: Config, *rest: Any, **named: Any) -> Learner:
        trained.append(config)
        return learn(config, *rest, **named)

    monkeypatch.setattr(tuning, "learn", counted)
    monkeypatch.setattr(tuning, "_KEPT", {})

    def figures(*words: str, kept: bool = True) -> dict[str, float]:
        found = score(
            [load(config, [*ORDERED, *words, f"seed={seed}"]) for seed in (0, 1)], kept=kept
        )
        del found["clients_per_second"]
        return found

    first = figures()
    assert len(trained) == 2
    other = figures("evaluation.recency_weight=2", "evaluation.l2=0.3")
    assert len(trained) == 2
    assert figures() == first
    assert other["validation_ordered_ndcg@10"] != first["validation_ordered_ndcg@10"]
    assert other["validation_full_ndcg@10"] != first["validation_full_ndcg@10"]
    alone = figures("evaluation.recency_weight=2", "evaluation.l2=0.3", kept=False)
    assert alone == other
    assert len(trained) == 4
    assert not tuning._KEPT
    figures()
    few = figures("evaluation.users=50")  # which a learner reads
    assert few == figures("evaluation.users=50", kept=False)
    assert few != first
    figures("training.l2=0.3")
    assert len(trained) == 12
    assert len(tuning._KEPT) == 2


def test_ordered_metrics_need_scores_by_order(config: Path) -> None:
    check(load(config, ORDERED), "ordered_ndcg")
    check(load(config), "ndcg")
    with pytest.raises(ConfigError, match=r"evaluation\.recency: false: expected true") as refused:
        check(load(config), "ordered_hr")
    assert "\n" not in str(refused.value)
