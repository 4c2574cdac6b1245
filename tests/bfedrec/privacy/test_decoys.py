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
from scipy import stats

from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.prepare import prepare
from bfedrec.federation.unledgered import learner_alone
from bfedrec.learning.implicit_als import train_client
from bfedrec.learning.task import Shown
from bfedrec.privacy.decoys.draw import Decoys
from bfedrec.privacy.settings import DecoySettings
from bfedrec.streams import Streams
from tests.bfedrec.privacy.test_dp_runs import assert_a_resume_ends_alike
from tests.bfedrec.runs.test_simulation import SMALL
from tests.helpers.sign_attack import auc

ITEMS = 50
OWN = np.array([0, 2, 2, 5, 9, 30, 1, 7], np.int32)
HIDDEN = ("privacy.decoys.kept=0.5", "privacy.decoys.share=0.2")
INDPTR = np.array([0, 6, 8, 8], np.int64)


def drawn(seed: int = 0, **options: Any) -> Decoys:
    generator = partial(Streams(seed).generator, "decoys")
    return Decoys(DecoySettings(**options), (INDPTR, OWN), ITEMS, generator)


def test_own_items_and_others_are_shown_with_their_chances() -> None:
    """Each by a binomial test over 300 clients of 50 items."""
    users, items = 300, 50
    has = np.random.default_rng(0).random((users, items)) < 0.2
    own = (np.concatenate([[0], np.cumsum(has.sum(axis=1))]), np.nonzero(has)[1].astype(np.int32))
    for kept, share in ((0.25, 0.05), (1.0, 0.3), (0.4, 0.0)):
        settings_ = DecoySettings(kept=kept, share=share)
        decoys = Decoys(settings_, own, items, partial(Streams(0).generator, "decoys"))
        shows = np.zeros((users, items), np.bool_)
        for user in range(users):
            shows[user, decoys.of(user)] = True
        for among, chance in ((has, kept), (~has, share)):
            trials = int(among.sum())
            found = int((shows & among).sum())
            assert stats.binomtest(found, trials, chance).pvalue > 1e-3


@given(seed=st.integers(0, 10_000), kept=st.floats(0.01, 1.0), part=st.floats(0, 0.99))
@settings(max_examples=60, deadline=None)
def test_what_a_client_shows_is_ascending_and_once(seed: int, kept: float, part: float) -> None:
    decoys = drawn(seed, kept=kept, share=kept * part)
    for client in range(3):
        shown = decoys.of(client)
        assert (np.diff(shown) > 0).all()
        assert shown.dtype == np.int32
    assert len(drawn(seed).of(0)) == 5  # all of its own, of which it has one twice, and no other


def test_counts_are_the_mean_numbers_of_items_shown() -> None:
    """By draws of many seeds: own items are kept or not, and none of them is a decoy as well."""
    chances = {"kept": 0.3, "share": 0.25}
    assert drawn(**chances).counts().tolist() == [13, 13, 12]  # 12.75, 12.6, 12.5 to even
    every = [[len(drawn(seed, **chances).of(client)) for client in range(3)] for seed in range(800)]
    away = np.abs(np.mean(every, axis=0) - [12.75, 12.6, 12.5])
    assert (away < 4 * np.std(every, axis=0) / np.sqrt(len(every))).all()
    assert drawn(kept=0.9, share=0.5).counts().tolist() == [27, 26, 25]
    assert drawn(kept=1.0, share=0.0).counts().tolist() == [5, 2, 0]


def test_draws_are_the_same_in_every_round_and_differ_by_client_and_seed() -> None:
    one, again = drawn(kept=0.5, share=0.3), drawn(kept=0.5, share=0.3)
    shown = one.shown(np.array([1, 0]))
    assert shown[2:] == (0.5, 0.3, False)
    assert shown.indptr[2] == shown.indptr[3] == len(shown.indices)
    assert (shown.indices[: shown.indptr[1]] == again.of(0)).all()
    assert (shown.indices[shown.indptr[1] :] == again.of(1)).all()
    assert not np.array_equal(one.of(0), one.of(1))
    assert not np.array_equal(drawn(1, kept=0.5, share=0.3).of(0), one.of(0))


def test_the_sign_tells_items_with_the_auc_of_the_chances() -> None:
    """(1 + t - f) / 2, over clients with many items; the decoys' own ranking is not in the sign."""
    found, users = [], 400
    generator = np.random.default_rng(1)
    has = generator.random((users, 200)) < 0.3
    own = (np.concatenate([[0], np.cumsum(has.sum(axis=1))]), np.nonzero(has)[1].astype(np.int32))
    settings_ = DecoySettings(kept=0.3, share=0.1)
    decoys = Decoys(settings_, own, 200, partial(Streams(0).generator, "decoys"))
    for user in range(users):
        signs = np.zeros(200)
        signs[decoys.of(user)] = 1.0
        found.append(auc(signs, np.flatnonzero(has[user]), np.flatnonzero(~has[user])))
    assert np.mean(found) == pytest.approx(0.6, abs=0.01)


def learner_of(method: str, *overrides: str) -> Any:
    config = load(None, [*SMALL, f"training.method={method}", *overrides])
    return learner_alone(config, prepare(config.data))


@pytest.mark.parametrize("method", ["sgd", "ials"])
def test_private_factors_are_trained_on_real_items_alone(method: str) -> None:
    options = ("aggregation.rule=uniform",)
    plain = learner_of(method, *options)
    hidden = learner_of(method, *options, "privacy.decoys.share=0.2", "privacy.decoys.kept=0.5")
    clients = plain.clients(1)
    P = plain.P[clients]
    without = plain.trained(1, clients, P, plain.task(1, b"beacon"))
    task = hidden.task(1, b"beacon")
    with_decoys = hidden.trained(1, clients, P, task)
    assert (with_decoys.P == without.P).all()
    assert (with_decoys.loss == without.loss).all()
    assert (with_decoys.samples == without.samples).all()
    assert (with_decoys.A != without.A).any()
    indptr, indices = task.shown[:2]
    for place, client in enumerate(clients):
        shown = indices[indptr[client] : indptr[client + 1]]
        others = np.setdiff1d(np.arange(60), shown)
        along = with_decoys.A[place].T @ (task.B.T @ with_decoys.P[place])
        assert auc(along, shown, others) > 0.9


def test_the_update_of_sgd_is_trained_with_factors_that_stay() -> None:
    hidden = learner_of("sgd", "aggregation.rule=uniform", "training.user_epochs=2", *HIDDEN)
    task, clients = hidden.task(1, b"beacon"), hidden.clients(1)
    update = hidden.trained(1, clients, hidden.P[clients], task)
    again = hidden.trained(1, clients, update.P, task.for_updates())
    assert (again.P == update.P).all()
    assert (again.A == update.A).all()


def test_an_update_of_ials_is_the_gradient_of_the_items_that_are_shown() -> None:
    hidden = learner_of("ials", "aggregation.rule=uniform", *HIDDEN)
    task, clients = hidden.task(1, b"beacon"), hidden.clients(1)
    update = hidden.trained(1, clients, hidden.P[clients], task)
    alpha, l2, f, scale = task.settings.unobserved, task.settings.l2, 0.2, 0.5 - 0.2
    for place, client in enumerate(clients[:3]):
        own = train_client(replace(task, shown=None), int(client))
        x = task.Q.astype(np.float64) @ own.p
        gradient = scale * alpha * (np.outer(x, own.p) + l2 * task.Q)
        gradient -= f * (np.outer(x - 1, own.p) + l2 * task.Q)
        indptr, indices = task.shown[:2]
        for i in indices[indptr[client] : indptr[client + 1]]:
            gradient[i] += (x[i] - 1) * own.p + l2 * task.Q[i]
        assert update.A[place] == pytest.approx(-(gradient @ task.B).T, abs=1e-5)


def test_an_update_follows_from_what_is_shown_alone() -> None:
    """A client with other items that shows the same sends the same bytes, and is scored by its
    own."""
    learner = learner_of(
        "ials", "aggregation.rule=uniform", *HIDDEN, "privacy.decoys.factors=shown"
    )
    task, clients = learner.task(1, b"beacon"), learner.clients(1)
    others = replace(task, indices=(task.indices + 7) % 60)
    P = learner.P[clients]
    sent = [learner.train(1, b"beacon", clients, P, each, None)[1] for each in (task, others)]
    assert [u.payload for u in sent[0]] == [u.payload for u in sent[1]]
    method = learner.config.training.chosen
    assert (method.factors(task, learner.P) != method.factors(others, learner.P)).any()
    plain = learner_of("ials", "aggregation.rule=uniform", *HIDDEN)
    assert (
        plain.trained(1, clients, P, plain.task(1, b"beacon")).P
        != learner.trained(1, clients, P, task).P
    ).any()


@pytest.mark.parametrize("flipped", [False, True])
def test_the_mean_update_of_ials_is_a_share_of_that_without_decoys(flipped: bool) -> None:
    """Over all draws of one client: each item is shown or not, and enters once."""
    learner = learner_of("ials", "aggregation.rule=uniform")
    task = replace(learner.task(1, b"beacon"), flipped=flipped)
    client = np.array([next(u for u in range(80) if len(set(task.positives(u))) > 5)])
    P = learner.P[client]
    plain = learner.trained(1, client, P, task).A[0].astype(np.float64)
    kept, share = 0.7, 0.2
    lengths = np.zeros(81, np.int64)
    lengths[client[0] + 1 :] = 1
    own, items = set(task.positives(int(client[0])).tolist()), np.arange(60, dtype=np.int32)
    none = lengths * 0
    every = replace(task, shown=Shown(lengths * 60, items, kept, share, False))
    nothing = replace(task, shown=Shown(none, items[:0], kept, share, False))
    on = learner.trained(1, client, P, every).A[0].astype(np.float64)
    off = learner.trained(1, client, P, nothing).A[0].astype(np.float64)
    chance = np.array([kept if item in own else share for item in range(60)])
    mean = chance * on + (1 - chance) * off
    assert mean == pytest.approx((kept - share) * plain, abs=2e-5)


@pytest.mark.parametrize("method", ["sgd", "ials"])
def test_a_run_with_decoys_is_audited_and_ends_alike_after_a_stop(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (
        f"training.method={method}",
        *HIDDEN,
        "ledger.retain_updates=all",
    )
    assert_a_resume_ends_alike(options, 6, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("privacy.decoys.share=0.5", "privacy.decoys.kept=0.5"), "less than privacy.decoys.kept"),
        (("privacy.decoys.kept=0",), "float > 0"),
        (("privacy.decoys.factors=shown",), "own, as privacy.decoys shows a client's own items"),
        (
            ("privacy.decoys.factors=shown", "privacy.decoys.share=0.1"),
            "own, as training.method sgd keeps one p_u",
        ),
        (
            ("privacy.decoys.share=0.1", "training.method=fedncf", "compression.kind=dense"),
            "sgd | ials, as privacy.decoys is on",
        ),
    ],
)
def test_decoys_that_would_do_nothing_are_refused(overrides: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(None, overrides)
    assert told in str(refused.value)
