"""Runs of PFedRec, FedNCF and FedRAP through the ledger: audited, and one chain after any kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bfedrec.cli.audit import audit_command
from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.prepare import prepare
from bfedrec.evaluation.ranking import evaluate, evaluate_blocks, expose, expose_blocks
from bfedrec.federation import cohorts
from bfedrec.runs.memory import check_memory
from bfedrec.sweeps.tuning import learn
from tests.bfedrec.runs.test_simulation import SMALL, lasting, metrics, play, stopped_at

STEPS = ("training.item_step=0.3", "training.user_step=1.0", "training.l2=0.003")
LEADERS = {
    "pfedrec": ("training.user_epochs=2", "compression.kind=dense", "aggregation.rule=uniform"),
    "fedncf": ("compression.kind=dense", "aggregation.rule=per_item"),
    "fedrap": (
        "training.difference=0.01",
        "training.sparsity=0.001",
        "compression.kind=quantised",
        "compression.size=4",
        "model.rank=8",
        "model.basis=identity",
        "aggregation.rule=per_item",
    ),
}
each_leader = pytest.mark.parametrize("name", LEADERS)


def words(name: str) -> tuple[str, ...]:
    return (f"training.method={name}", *STEPS, *LEADERS[name], "evaluation.targets=[3]")


@each_leader
def test_a_run_is_audited_and_ends_alike_after_a_kill(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    summary = play(whole, *words(name))
    assert audit_command(whole) == 0
    assert 0.0 <= summary["er@10"] <= 1.0
    monkeypatch.setattr(cohorts, "TRAINING_PARTS", 1)  # one part of the cohort instead of four
    for kept in (5, 8):
        cut = tmp_path / f"cut-{kept}"
        stopped_at(whole, cut, kept)
        assert lasting(play(cut, *words(name), resume=True)) == lasting(summary)
        assert metrics(cut) == metrics(whole)


@each_leader
def test_tuning_learns_what_a_run_learns(name: str, tmp_path: Path) -> None:
    """The beacons differ, which codecs without a basis do not read."""
    config = load(None, [*SMALL, *words(name), "rounds=5"])
    play(tmp_path, *words(name), "rounds=5")
    Q = load_file(tmp_path / "model.safetensors")["Q"]
    tuned = learn(config, prepare(config.data))
    shared = config.training.chosen.shared_rows(8)
    assert Q.shape == (60 + shared, 8)
    assert (shared > 0) == (name == "fedncf")
    assert np.array_equal(tuned.Q, Q)


@each_leader
def test_what_is_never_a_negative_is_another_run(name: str, tmp_path: Path) -> None:
    plain, knows = (
        play(tmp_path / exclude, *words(name), f"training.negatives_exclude={exclude}", "rounds=2")
        for exclude in ("train", "all")
    )
    assert plain["head"] != knows["head"]


@each_leader
def test_malicious_clients_are_met_in_these_runs_too(name: str, tmp_path: Path) -> None:
    for attack in ("label_flip", "gaussian"):
        group = f"clients.malicious=[{{attack: {attack}, share: 0.3}}]"
        path = tmp_path / attack
        assert play(path, *words(name), group, "rounds=3")["malicious_updates"] > 0
        assert audit_command(path) == 0


@each_leader
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (("clients.malicious=[{attack: push, share: 0.1}]",), "another attack than push"),
        (("compression.kind=low_rank", "model.basis=seeded"), "model.basis: .*identity"),
        (
            ("compression.kind=quantised", "model.basis=identity", "model.rank=7"),
            "model.rank: .*model.dimension = 8",
        ),
        (("evaluation.recency=true",), "evaluation.recency"),
        (("training.unobserved=0.5",), "training.unobserved"),
        (("training.loss=softmax",), "training.loss"),
        (("device=torch",), "trains on the cpu; on torch devices train: sgd$"),
    ],
)
def test_what_a_leader_cannot_do_is_refused(
    name: str, changes: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=told):
        play(tmp_path, *words(name), *changes)


def test_settings_that_a_leader_cannot_use_are_refused() -> None:
    for options, told in (
        (["training.method=pfedrec", "compression.kind=dense"], "training.user_epochs"),
        (["training.method=fedncf", "compression.kind=dense", "model.dimension=9"], "even number"),
        (["training.difference=0.1"], "training.difference"),
        (["training.network_step=0.1"], "training.network_step"),
        (["training.method=fedncf", "training.sparsity=0.1"], "training.sparsity"),
    ):
        with pytest.raises(ConfigError, match=told):
            load(None, options)


def test_private_numbers_count_as_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(None, [*SMALL, *words("fedrap")])
    data = prepare(config.data)
    monkeypatch.setattr("bfedrec.runs.memory.available", lambda: 4 * 80 * 68 - 1)
    with pytest.raises(ConfigError, match="the 68 private numbers of each of 80 users"):
        check_memory(config, data)


def test_any_scorer_ranks_as_its_products_would() -> None:
    config = load(None, list(SMALL))
    data, rng = prepare(config.data), np.random.default_rng(1)
    P = rng.standard_normal((data.users, 8)).astype(np.float32)
    Q = rng.standard_normal((data.items, 8)).astype(np.float32)

    def scorer(users: np.ndarray) -> np.ndarray:
        return (P[users].astype(np.float64) @ Q.T.astype(np.float64)).astype(np.float32)

    asked = np.arange(data.users) % 3 > 0
    one, two = expose(P, Q, data, (3, 7), 10, asked), expose_blocks(scorer, data, (3, 7), 10, asked)
    assert np.array_equal(one.rank, two.rank)
    assert (one.rank[:, ~asked] == -1).all()
    by_factors, by_scores = evaluate(P, Q, data, "test"), evaluate_blocks(scorer, data, "test")
    assert np.array_equal(by_factors.rank, by_scores.rank)
    with pytest.raises(ValueError, match="not all items"):
        expose_blocks(scorer, data, (60,))
