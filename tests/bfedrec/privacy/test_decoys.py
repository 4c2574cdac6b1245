"""Decoys: persistent draws, p_u on real items alone, and runs that end alike."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.cli.audit import audit_command
from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.prepare import prepare
from bfedrec.federation.unledgered import learner_alone
from bfedrec.learning.implicit_als import train_client
from bfedrec.privacy.decoys.draw import Decoys
from bfedrec.privacy.settings import DecoySettings
from bfedrec.runs.simulation import Simulation
from bfedrec.streams import Streams
from tests.bfedrec.runs.test_simulation import SMALL, lasting, play
from tests.helpers.sign_attack import auc, direction

ITEMS = 50
OWN = np.array([0, 2, 2, 5, 9, 30, 1, 7], np.int32)
INDPTR = np.array([0, 6, 8, 8], np.int64)


def drawn(seed: int = 0, **options: Any) -> Decoys:
    generator = partial(Streams(seed).generator, "decoys")
    return Decoys(DecoySettings(**options), (INDPTR, OWN), ITEMS, generator)


@given(
    seed=st.integers(0, 10_000),
    per_item=st.floats(0, 40),
    kept=st.floats(0.01, 1.0),
    draw=st.sampled_from(["popularity", "uniform"]),
)
@settings(max_examples=100, deadline=None)
def test_a_client_shows_some_of_its_own_items_and_others(
    seed: int, per_item: float, kept: float, draw: str
) -> None:
    options = {"per_item": per_item, "kept": kept} | ({"draw": draw} if per_item else {})
    decoys = drawn(seed, **options)
    for client, own in enumerate(np.split(OWN, INDPTR[1:-1])):
        shown = decoys.of(client)
        mine = shown[np.isin(shown, own)]
        fake = shown[~np.isin(shown, own)]
        keep = max(round(len(own) * kept), 1) if len(own) else 0
        assert len(mine) == keep
        assert len(fake) == len(set(fake.tolist()))
        assert len(fake) == min(round(keep * per_item), ITEMS - len(set(own.tolist())))
        assert (shown == np.sort(shown)).all()


def test_draws_are_the_same_in_every_round_and_differ_by_client_and_seed() -> None:
    one, again = drawn(per_item=3.0, kept=0.5), drawn(per_item=3.0, kept=0.5)
    indptr, indices = one.shown(np.array([1, 0]))
    assert indptr.tolist() == [0, 12, 16, 16]
    assert (indices[:12] == again.of(0)).all()
    assert (indices[12:] == again.of(1)).all()
    assert (drawn(1, per_item=3.0, kept=0.5).of(0) != one.of(0)).any()


def test_decoys_are_as_popular_as_other_items_or_uniform() -> None:
    users, items = 400, 40
    generator = np.random.default_rng(0)
    chance = np.linspace(0.02, 0.5, items)
    has = generator.random((users, items)) < chance
    indptr = np.concatenate([[0], np.cumsum(has.sum(axis=1))])
    own = (indptr, np.nonzero(has)[1].astype(np.int32))
    mean = {}
    for draw in ("popularity", "uniform"):
        settings_ = DecoySettings(per_item=0.5, draw=draw)
        decoys = Decoys(settings_, own, items, partial(Streams(0).generator, "decoys"))
        fake = [np.setdiff1d(decoys.of(u), np.flatnonzero(has[u])) for u in range(users)]
        mean[draw] = chance[np.concatenate(fake)].mean()
    real = chance[own[1]].mean()
    assert mean["uniform"] < 0.26 < 0.28 < mean["popularity"] < real


def learner_of(method: str, *overrides: str) -> Any:
    config = load(None, [*SMALL, f"training.method={method}", *overrides])
    return learner_alone(config, prepare(config.data))


@pytest.mark.parametrize("method", ["sgd", "ials"])
def test_private_factors_are_trained_on_real_items_alone(method: str) -> None:
    options = ("aggregation.rule=uniform",)
    plain = learner_of(method, *options)
    hidden = learner_of(method, *options, "privacy.decoys.per_item=2", "privacy.decoys.kept=0.5")
    clients = plain.clients(1)
    P = plain.P[clients]
    without = plain.trained(1, clients, P, plain.task(1, b"beacon"))
    task = hidden.task(1, b"beacon")
    with_decoys = hidden.trained(1, clients, P, task)
    assert (with_decoys.P == without.P).all()
    assert (with_decoys.loss == without.loss).all()
    assert (with_decoys.samples == without.samples).all()
    assert (with_decoys.A != without.A).any()
    indptr, indices = task.shown
    for place, client in enumerate(clients):
        shown = indices[indptr[client] : indptr[client + 1]]
        others = np.setdiff1d(np.arange(60), shown)
        assert auc(direction(with_decoys.A[place]), shown, others) > 0.9


def test_an_update_of_ials_is_the_gradient_of_the_items_that_are_shown() -> None:
    hidden = learner_of("ials", "aggregation.rule=uniform", "privacy.decoys.per_item=1")
    task, clients = hidden.task(1, b"beacon"), hidden.clients(1)
    update = hidden.trained(1, clients, hidden.P[clients], task)
    alpha, l2 = task.settings.unobserved, task.settings.l2
    for place, client in enumerate(clients[:3]):
        own = train_client(replace(task, shown=None), int(client))
        x = task.Q @ own.p
        gradient = alpha * (np.outer(x, own.p) + l2 * task.Q)
        indptr, indices = task.shown
        for i in indices[indptr[client] : indptr[client + 1]]:
            gradient[i] += (x[i] - 1) * own.p + l2 * task.Q[i]
        assert update.A[place] == pytest.approx(-(gradient @ task.B).T, abs=1e-5)


@pytest.mark.parametrize("method", ["sgd", "ials"])
def test_a_run_with_decoys_is_audited_and_ends_alike_after_a_stop(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (
        f"training.method={method}",
        "privacy.decoys.per_item=1",
        "privacy.decoys.kept=0.5",
        "ledger.retain_updates=all",
    )
    whole = play(tmp_path / "whole", *options)
    recorded = Simulation._record

    def stop(self: Simulation, played: Any) -> None:
        recorded(self, played)
        if played.height == 6:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Simulation, "_record", stop)
        with pytest.raises(KeyboardInterrupt):
            play(tmp_path / "cut", *options)
    assert lasting(play(tmp_path / "cut", *options, resume=True)) == lasting(whole)
    assert audit_command(tmp_path / "cut") == 0


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("privacy.decoys.draw=uniform",), "popularity, as privacy.decoys.per_item is 0"),
        (("privacy.decoys.kept=0",), "float > 0"),
        (
            ("privacy.decoys.per_item=1", "training.method=fedncf", "compression.kind=dense"),
            "sgd | ials, as privacy.decoys is on",
        ),
    ],
)
def test_decoys_that_would_do_nothing_are_refused(overrides: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(None, overrides)
    assert told in str(refused.value)
