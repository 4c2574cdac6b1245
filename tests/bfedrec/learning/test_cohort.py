"""The compiled cohort: what it computes, and what must not move it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.learning.basis import basis
from bfedrec.learning.client import train_client
from bfedrec.learning.cohort import train_cohort
from bfedrec.learning.cohort_torch import train_cohort_on
from bfedrec.learning.factorization import batch_gradients, batch_loss, initial_factors
from bfedrec.learning.negative_sampling import client_draws
from bfedrec.learning.settings import TrainingSettings
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import Diverged, LocalUpdates
from tests.helpers.learning_data import csr, random_clients

USERS, ITEMS, D, R = 9, 40, 20, 3
PLAIN = TrainingSettings(user_epochs=1, batch_size=16, negatives=3, l2=0.02)


def world(seed: int = 0) -> tuple[np.ndarray, ...]:
    """P of all users, Q, B and the interactions (indptr, indices)."""
    rng = np.random.default_rng(seed)
    P, Q = initial_factors(USERS, D, 2.0, rng), initial_factors(ITEMS, D, 2.0, rng)
    return P, Q, basis("seeded", D, R, bytes([seed])), *random_clients(rng, USERS, ITEMS)


def train(
    clients: list[int],
    training: TrainingSettings = PLAIN,
    threads: int | None = None,
    predicts: bool = False,
) -> LocalUpdates:
    P, Q, B, indptr, indices = world()
    task = TrainingTask(Q, B, indptr, indices, training, -7, predicts=predicts)
    return train_cohort(task, clients, P[clients], threads)


def assert_same(one: LocalUpdates, two: LocalUpdates) -> None:
    for name in ("A", "touched", "P", "samples", "loss"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name


@pytest.mark.parametrize("l2", [0.0, 0.05])
@pytest.mark.parametrize(("kind", "rank"), [("seeded", R), ("seeded", D), ("identity", D)])
@pytest.mark.parametrize(("share", "predicts"), [(0.0, False), (1.5, False), (1.5, True)])
def test_it_steps_along_the_gradients_of_the_loss(
    kind: str, rank: int, l2: float, share: float, predicts: bool
) -> None:
    P, Q, _, indptr, indices = world()
    B = basis(kind, D, rank, b"x")
    training = PLAIN.model_copy(update={"l2": l2, "local_epochs": 2, "virtual_share": share})
    task = TrainingTask(Q, B, indptr, indices, training, -7, predicts=predicts)
    update = train_cohort(task, range(USERS), P)
    for u in range(USERS):
        p, A, loss = P[u].astype(np.float64), np.zeros((rank, ITEMS)), 0.0
        touched, virtual = np.zeros(ITEMS, bool), np.full(ITEMS, 1 / 4)
        positives = indices[indptr[u] : indptr[u + 1]]
        for number, (items, labels) in enumerate(client_draws(-7, u, positives, ITEMS, training)):
            loss = 0.0
            if predicts and number == training.user_epochs:
                virtual = 1 / (1 + np.exp(-Q @ p))
            filled = np.where(np.isnan(labels), virtual[items], labels)
            for first in range(0, len(items), 16):
                i, y = items[first : first + 16], filled[first : first + 16]
                loss += batch_loss(p, A, Q, B, i, y, 0.0) * len(i) / len(items)
                in_p, in_A = batch_gradients(p, A, Q, B, i, y, l2)
                p = p - training.user_step * in_p
                if number >= training.user_epochs:
                    A = A - training.item_step * np.sqrt(rank / D) * len(i) * in_A
                    touched[i] = True
        assert update.P[u] == pytest.approx(p, abs=2e-6)
        assert update.A[u] == pytest.approx(A, abs=2e-6)
        assert np.array_equal(update.touched[u], touched)
        assert update.loss[u] == pytest.approx(loss, abs=1e-6)
        assert update.samples[u] == len(positives)


def test_softmax_sets_every_positive_against_its_own_negatives() -> None:
    P, Q, B, indptr, indices = world()
    training = PLAIN.model_copy(update={"loss": "softmax", "batch_size": 11, "local_epochs": 2})
    assert training.step_samples == 8  # two positives, each with three negatives
    update = train_cohort(TrainingTask(Q, B, indptr, indices, training, -7), range(USERS), P)
    for u in range(USERS):
        p, A, loss = P[u].astype(np.float64), np.zeros((R, ITEMS)), 0.0
        positives = indices[indptr[u] : indptr[u + 1]]
        for number, (items, _) in enumerate(client_draws(-7, u, positives, ITEMS, training)):
            loss = 0.0
            for first in range(0, len(items), 8):
                batch = items[first : first + 8]
                in_p, in_A = np.zeros(D), np.zeros((R, ITEMS))
                groups = batch.reshape(-1, 4)
                for group in groups:
                    q = Q[group] + (B @ A[:, group]).T
                    chances = np.exp(q @ p) / np.exp(q @ p).sum()
                    loss -= np.log(chances[0]) / len(positives)
                    g = chances - [1, 0, 0, 0]
                    in_p += g @ q
                    for item, slope, row in zip(group, g, q, strict=True):
                        in_A[:, item] += B.T @ (slope * p + training.l2 * row)
                p = p - training.user_step * (in_p / len(groups) + training.l2 * p)
                if number >= training.user_epochs:
                    A = A - training.item_step * np.sqrt(R / D) * in_A
        assert update.P[u] == pytest.approx(p, abs=2e-6)
        assert update.A[u] == pytest.approx(A, abs=2e-6)
        assert update.loss[u] == pytest.approx(loss, abs=1e-6)


def test_who_has_every_item_learns_nothing_under_softmax() -> None:
    P, Q, B, _, _ = world()
    indptr, indices = csr([list(range(ITEMS)), [0, 1]])
    training = PLAIN.model_copy(update={"loss": "softmax"})
    update = train_cohort(TrainingTask(Q, B, indptr, indices, training, -7), [0, 1], P[:2])
    assert not update.A[0].any()
    assert not update.touched[0].any()
    assert np.array_equal(update.P[0], P[0])
    assert update.loss[0] == 0
    assert update.A[1].any()


def test_threads_cohorts_and_places_move_no_bit() -> None:
    alone = [train([u]) for u in range(USERS)]
    order = [4, 0, 8, 2, 6, 1, 7, 3, 5]
    together = train(order, threads=1)
    assert_same(together, train(order, threads=4))
    for place, u in enumerate(order):
        for name in ("A", "touched", "P", "samples", "loss"):
            assert np.array_equal(getattr(together, name)[place], getattr(alone[u], name)[0])


def test_it_runs_in_background_threads_at_the_same_time() -> None:
    expected, results = train(list(range(USERS))), {}

    def work(number: int) -> None:
        results[number] = train(list(range(USERS)))

    threads = [Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        assert_same(expected, results[number])


def test_arguments_stay_as_they_were() -> None:
    arguments = world()
    copies = [array.copy() for array in arguments]
    P, Q, B, indptr, indices = arguments
    train_cohort(TrainingTask(Q, B, indptr, indices, PLAIN, 1), np.arange(USERS), P)
    for array, copy in zip(arguments, copies, strict=True):
        assert np.array_equal(array, copy)


def test_new_factors_are_not_written_over_the_old() -> None:
    rng = np.random.default_rng(0)
    P, Q = initial_factors(2, 16, 1.0, rng), initial_factors(6, 16, 1.0, rng)
    copy = P.copy()
    indptr, indices = csr([[0, 1], [2, 5]])
    task = TrainingTask(Q, basis("seeded", 16, 1, b""), indptr, indices, PLAIN, 1)
    update = train_cohort(task, [0, 1], P)
    assert np.array_equal(P, copy)
    assert not np.array_equal(update.P, copy)


def test_a_client_without_data_changes_nothing() -> None:
    P = world()[0]
    update = train([0])
    assert update.samples[0] == 0
    assert update.loss[0] == 0
    assert not update.A.any()
    assert not update.touched.any()
    assert np.array_equal(update.P[0], P[0])


def test_an_empty_cohort_is_an_empty_update() -> None:
    P, Q, B, indptr, indices = world()
    update = train_cohort(TrainingTask(Q, B, indptr, indices, PLAIN, 0), [], P[:0])
    assert update.A.shape == (0, R, ITEMS)


def test_training_lowers_the_loss() -> None:
    once, often = train([2, 3, 4]), train([2, 3, 4], PLAIN.model_copy(update={"local_epochs": 30}))
    assert (often.loss < once.loss - 0.05).all()


def test_turned_labels_teach_the_opposite() -> None:
    P, Q, B, indptr, indices = world()
    task = TrainingTask(Q, B, indptr, indices, TrainingSettings(l2=0.0), -7)
    learnt, turned = (
        train_cohort(replace(task, flipped=flipped), [2], P[[2]]) for flipped in (False, True)
    )
    positives = indices[indptr[2] : indptr[3]]

    def mean_score(update: LocalUpdates) -> float:
        return float(((Q + (B @ update.A[0]).T) @ update.P[0])[positives].mean())

    assert mean_score(learnt) > (Q @ P[2])[positives].mean() > mean_score(turned)
    assert np.array_equal(learnt.touched, turned.touched)


def test_no_virtual_item_moves_no_bit() -> None:
    without = train(list(range(USERS)))
    few = PLAIN.model_copy(update={"virtual_share": 1 / (ITEMS + 1)})  # less than one a client
    assert_same(without, train(list(range(USERS)), few, predicts=True))
    some = train(list(range(USERS)), PLAIN.model_copy(update={"virtual_share": 0.1}))
    assert not np.array_equal(some.A, without.A)


def test_step_scale_scales_both_steps() -> None:
    P, Q, B, indptr, indices = world()
    half = PLAIN.model_copy(
        update={"item_step": PLAIN.item_step / 2, "user_step": PLAIN.user_step / 2}
    )
    one = train_cohort(TrainingTask(Q, B, indptr, indices, PLAIN, 5, step_scale=0.5), [3], P[[3]])
    two = train_cohort(TrainingTask(Q, B, indptr, indices, half, 5), [3], P[[3]])
    assert_same(one, two)


def test_the_mean_divides_the_step_on_items_by_a_clients_interactions() -> None:
    """Whatever else: p is trained beside A, so that the two differ in A's step alone."""
    P, Q, B, indptr, indices = world()
    mean = PLAIN.model_copy(update={"item_gradient": "mean", "item_step": 3.0})
    all_of_them = train_cohort(TrainingTask(Q, B, indptr, indices, mean, 5), range(USERS), P)
    for u in range(1, USERS):
        n = int(indptr[u + 1] - indptr[u])
        step = PLAIN.model_copy(update={"item_step": 3.0 / n})
        alone = train_cohort(TrainingTask(Q, B, indptr, indices, step, 5), [u], P[[u]])
        np.testing.assert_allclose(all_of_them.A[u], alone.A[0], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(all_of_them.P[u], alone.P[0], rtol=1e-5, atol=1e-7)


def test_under_the_mean_all_interactions_weigh_alike_in_the_sample_weighted_mean() -> None:
    """To first order in the step: the mean of two clients by N_u/N is the update, divided by N, of
    the summed gradients of all their interactions."""
    P, Q, B, indptr, indices = world()
    P = np.repeat(P[[3]], USERS, axis=0)  # the same p, so that only the data differ
    small = {"user_step": 1e-7, "user_epochs": 0, "local_epochs": 1, "l2": 0.0, "negatives": 1}
    summed = PLAIN.model_copy(update={**small, "item_step": 1e-4})
    mean = summed.model_copy(update={"item_gradient": "mean"})
    one, two = (
        train_cohort(TrainingTask(Q, B, indptr, indices, each, 5), range(USERS), P)
        for each in (summed, mean)
    )
    weights = two.samples / two.samples.sum()
    merged = np.tensordot(weights, two.A.astype(np.float64), 1)
    assert merged == pytest.approx(one.A.sum(axis=0) / two.samples.sum(), rel=1e-3, abs=1e-12)


def test_divergence_names_the_client() -> None:
    huge = PLAIN.model_copy(update={"item_step": 1e30, "user_step": 1e30})
    with pytest.raises(Diverged, match="client 2's factors"):
        train([0, 2, 3], huge)


@pytest.mark.parametrize(
    ("clients", "p_rows", "words"),
    [([1, 2], 3, "do not fit"), ([USERS], 1, "client ids"), ([-1], 1, "client ids")],
)
def test_what_does_not_fit_is_refused(clients: list[int], p_rows: int, words: str) -> None:
    P, Q, B, indptr, indices = world()
    with pytest.raises(ValueError, match=words):
        train_cohort(TrainingTask(Q, B, indptr, indices, PLAIN, 0), clients, P[:p_rows])


def test_importing_the_cohort_does_not_import_torch() -> None:
    modules = "sys, bfedrec.learning.cohort, bfedrec.evaluation.metrics"
    code = f"import {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(st.data(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_a_pass_holds_each_positive_once_and_only_true_negatives(
    data: st.DataObject, seed: int, client: int
) -> None:
    items = data.draw(st.integers(1, 30))
    positives = data.draw(st.lists(st.integers(0, items - 1), max_size=40))
    training = TrainingSettings(negatives=data.draw(st.integers(1, 5)), local_epochs=2)
    draws = client_draws(seed, client, np.array(positives, np.int32), items, training)
    complete = len(set(positives)) == items
    assert len(draws) == 2
    for epoch in draws:
        width = 1 if complete else 1 + training.negatives
        assert sorted(epoch.items[epoch.labels == 1].tolist()) == sorted(positives)
        assert len(epoch.items) == width * len(positives)
        assert np.array_equal(epoch.labels, [1.0, *[0.0] * (width - 1)] * len(positives))
        assert not set(epoch.items[epoch.labels == 0].tolist()) & set(positives)


def test_draws_differ_between_clients_rounds_and_passes() -> None:
    positives = np.arange(30, dtype=np.int32)
    seen = {
        epoch.items.tobytes()
        for seed in range(3)
        for client in range(3)
        for epoch in client_draws(seed, client, positives, 100, PLAIN)
    }
    assert len(seen) == 3 * 3 * (PLAIN.user_epochs + PLAIN.local_epochs)


def test_negatives_are_uniform_over_what_is_left() -> None:
    training = TrainingSettings(negatives=200, local_epochs=50)
    draws = client_draws(1, 2, np.array([3, 7], np.int32), 12, training)
    drawn = np.concatenate([epoch.items[epoch.labels == 0] for epoch in draws])
    counts = np.bincount(drawn, minlength=12)
    assert counts[[3, 7]].sum() == 0
    expected = len(drawn) / 10
    chi_square = ((np.delete(counts, [3, 7]) - expected) ** 2 / expected).sum()
    assert chi_square < 27.9  # the 0.999 quantile at 9 degrees of freedom


def test_draws_stay_the_same_over_versions() -> None:
    positives = np.array([2, 5, 8], np.int32)
    epoch = client_draws(42, 7, positives, 20, PLAIN)[0]
    assert epoch.items.tolist() == [5, 14, 13, 9, 8, 18, 18, 13, 2, 14, 11, 1]
    epoch = client_draws(42, 7, positives, 20, PLAIN.model_copy(update={"virtual_share": 1.0}))[1]
    assert epoch.items[np.isnan(epoch.labels)].tolist() == [14, 16, 3]
    assert epoch.items.tolist() == [5, 0, 16, 10, 14, 8, 14, 18, 19, 16, 2, 18, 14, 14, 3]


@given(st.data(), st.integers(-(2**63), 2**63 - 1), st.floats(0, 4) | st.just(1e300))
@settings(max_examples=60, deadline=None)
def test_virtual_items_are_others_spread_over_the_passes_that_train_items(
    data: st.DataObject, seed: int, share: float
) -> None:
    items = data.draw(st.integers(1, 30))
    positives = np.array(data.draw(st.lists(st.integers(0, items - 1), max_size=40)), np.int32)
    training = PLAIN.model_copy(update={"local_epochs": 2, "virtual_share": share})
    plain = client_draws(seed, 0, positives, items, PLAIN)
    draws = client_draws(seed, 0, positives, items, training)
    known = set(positives.tolist())
    count = min(int(share * len(positives)), items - len(known))
    assert draws[0].items.tolist() == plain[0].items.tolist()
    assert draws[0].labels.tolist() == plain[0].labels.tolist()
    seen = []
    for epoch in draws[1:]:
        virtual = np.isnan(epoch.labels)
        seen.append(epoch.items[virtual].tolist())
        assert len(set(seen[-1])) == virtual.sum() == count
        assert not set(seen[-1]) & known
        assert epoch.labels[~virtual].tolist() == plain[1].labels.tolist()
        assert sorted(epoch.items[epoch.labels == 1]) == sorted(positives.tolist())
        among_the_first = np.cumsum(virtual)
        even = np.arange(1, len(virtual) + 1) * count / max(1, len(virtual))
        assert (abs(among_the_first - even) <= 1).all()
    assert seen[0] == seen[1]


def test_virtual_items_are_uniform_over_what_is_left() -> None:
    training = PLAIN.model_copy(update={"virtual_share": 3.0})
    counts = np.zeros(14, int)
    for seed in range(2000):
        epoch = client_draws(seed, 2, np.array([3, 7], np.int32), 14, training)[1]
        counts += np.bincount(epoch.items[np.isnan(epoch.labels)], minlength=14)
    assert counts[[3, 7]].sum() == 0
    left = np.delete(counts, [3, 7])
    # Without replacement, 6 of 12: the variance of a count is half of a Poisson's.
    assert (2 * (left - 1000) ** 2 / 1000).sum() * 11 / 12 < 31.3  # 0.999 quantile, 11 degrees


def test_whether_labels_are_predicted_goes_by_the_share_of_the_rounds() -> None:
    for share, rounds, first in ((0.1, 1000, 101), (0.29, 100, 30), (0.0, 7, 1), (0.5, 1, 1)):
        training = TrainingSettings(virtual_share=1.0, virtual_mean_share=share)
        assert training.predicts(first, rounds)
        assert first == 1 or not training.predicts(first - 1, rounds)
    always = TrainingSettings(virtual_share=1.0, virtual_mean_share=1.0)
    assert not always.predicts(9, 9)


# -- what is never a negative ---------------------------------------------------------------------


def test_excluded_items_are_never_drawn_by_any_implementation() -> None:
    """By default held-out items are drawn like any other; excluded, by nobody, and all
    implementations agree on what they draw instead."""
    P, Q, B, indptr, indices = world()
    held_out = np.array([3, 17, 31])
    sets = [
        np.union1d(indices[indptr[u] : indptr[u + 1]], held_out).astype(np.int32)
        for u in range(USERS)
    ]
    excluded = (np.cumsum([0, *map(len, sets)]), np.concatenate(sets))
    task = TrainingTask(Q, B, indptr, indices, PLAIN, -7)
    told = replace(task, excluded=excluded)
    blind, knows = (train_cohort(one, range(USERS), P) for one in (task, told))
    strangers = [u for u in range(USERS) if not np.isin(held_out, task.positives(u)).any()]
    assert strangers
    assert blind.touched[strangers][:, held_out].any()
    assert not knows.touched[strangers][:, held_out].any()
    for u in range(USERS):
        one = train_client(told, u, P[u])
        assert np.array_equal(one.touched, knows.touched[u])
        assert knows.A[u] == pytest.approx(one.A, abs=2e-6)
    torch = train_cohort_on("cpu", told, range(USERS), P)
    assert np.array_equal(torch.touched, knows.touched)


def test_marks_of_one_client_do_not_reach_the_next() -> None:
    P, Q, B, indptr, indices = world()
    excluded = (indptr + np.arange(USERS + 1), np.insert(indices, indptr[1:], 39).astype(np.int32))
    task = TrainingTask(Q, B, indptr, indices, PLAIN, -7, excluded=excluded)
    assert_same(
        train_cohort(task, [4], P[[4]], 1),
        LocalUpdates(
            *(
                getattr(train_cohort(task, range(USERS), P, 1), name)[[4]]
                for name in ("A", "touched", "P", "samples", "loss")
            )
        ),
    )
