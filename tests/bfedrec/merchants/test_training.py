"""Training: the compiled steps against written gradients, losses, and what it learns."""

from __future__ import annotations

import numpy as np
import pytest

from bfedrec.learning.negative_sampling import client_state, draw_absent
from bfedrec.learning.upload import Diverged
from bfedrec.merchants.comparison import histories_of
from bfedrec.merchants.interactions import Catalogue, Pairs, Split, pairs_of, split
from bfedrec.merchants.market import MarketSettings
from bfedrec.merchants.model import Shared, initial_home, initial_shared
from bfedrec.merchants.settings import StepSettings
from bfedrec.merchants.training import EpochLosses, Trainer, gradients
from bfedrec.streams import Streams

PRODUCTS = 12
SOLD = np.array([0, 2, 3, 5, 6, 7, 8, 9, 11])


def some_pairs() -> Split:
    """Users with one pair, some, and every product that is sold."""
    rng = np.random.default_rng(3)
    rows = [(u, i) for u in range(6) for i in sorted(rng.choice(SOLD, u + 1, replace=False))]
    rows += [(6, i) for i in SOLD]
    user, item = np.array(rows, np.int32).T
    strength = rng.random(len(rows)).astype(np.float32)
    pairs = Pairs(np.arange(7) + 100, user, item, strength, np.zeros(len(rows), np.int64))
    test = np.zeros(len(rows), np.bool_)
    test[[4, 9]] = True
    return Split(pairs.select(~test), pairs.select(test))


def losses_of(trainer: Trainer, start: Shared, round: int = 0) -> tuple[Shared, list[EpochLosses]]:
    told: list[EpochLosses] = []
    return trainer.play_round(start, round, told.append).shared, told


@pytest.mark.parametrize("negatives", [0, 3])
def test_an_epoch_is_a_step_along_every_gradient(negatives: int) -> None:
    settings, streams = StepSettings(2, 0.1, 0.03, negatives), Streams(5)
    parts, start = some_pairs(), initial_shared(PRODUCTS, streams, 4)
    trainer = Trainer(parts, SOLD, settings, streams, 2)
    trained = trainer.play_round(start, 7)

    pairs = parts.training
    mean = pairs.strength.sum() / (len(pairs) + len(trainer._training.user) - len(pairs))
    home = initial_home(7, mean, streams, 2, 4)
    P, b_u = home.factors.astype(np.float64), home.biases.astype(np.float64)
    Q, b_i = start.factors.astype(np.float64), start.biases.astype(np.float64)
    own = [np.searchsorted(SOLD, np.sort(pairs.item[pairs.user == u])) for u in range(7)]
    for epoch in (1, 2):
        order = streams.generator("shop_training", 0, 2, 7, epoch).permutation(len(pairs))
        seed = streams.integer("shop_training", 0, 2, 7, epoch)
        state = np.uint64(client_state(seed, 0))
        for sample in order:
            u = pairs.user[sample]
            drawn = [(pairs.item[sample], float(pairs.strength[sample]))]
            for _ in range(negatives if len(own[u]) < len(SOLD) else 0):
                place, state = draw_absent(state, own[u], len(SOLD))
                state = np.uint64(state)
                drawn.append((SOLD[place], 0.0))
            for i, y in drawn:
                rest = (float(home.mean), y, settings.l2)
                of_p, of_q, of_u, of_i = gradients(P[u], Q[i], b_u[u], b_i[i], rest)
                P[u] -= settings.step * of_p
                Q[i] -= settings.step * of_q
                b_u[u] -= settings.step * of_u
                b_i[i] -= settings.step * of_i
    assert trained.home.factors == pytest.approx(P, abs=1e-5)
    assert trained.home.biases == pytest.approx(b_u, abs=1e-5)
    assert trained.shared.factors == pytest.approx(Q, abs=1e-5)
    assert trained.shared.biases == pytest.approx(b_i, abs=1e-5)
    assert np.abs(trained.shared.factors - start.factors).max() > 0.001


def test_gradients_are_those_of_the_loss() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=8)

    def loss(x: np.ndarray) -> float:
        e = 0.3 + x[6] + x[7] + x[:3] @ x[3:6] - 0.8
        return float(e * e / 2 + 0.05 / 2 * (x @ x))

    found = gradients(x[:3], x[3:6], x[6], x[7], (0.3, 0.8, 0.05))
    steps = np.eye(8) * 1e-6
    numeric = [(loss(x + step) - loss(x - step)) / 2e-6 for step in steps]
    assert np.hstack(found) == pytest.approx(numeric, abs=1e-8)


def test_training_is_repeated_exactly_and_goes_on_at_home() -> None:
    streams, start = Streams(5), initial_shared(PRODUCTS, Streams(5))
    one, other = (Trainer(some_pairs(), SOLD, StepSettings(3), streams) for _ in range(2))
    first = one.play_round(start)
    again = other.play_round(start)
    assert (first.shared.factors == again.shared.factors).all()
    second = one.play_round(first.shared, 1)
    assert (second.home.factors != first.home.factors).any()
    assert (other.home.factors == first.home.factors).all()  # type: ignore[union-attr]
    # Another round, or another merchant, draws otherwise.
    assert (other.play_round(first.shared, 2).shared.factors != second.shared.factors).any()
    third = Trainer(some_pairs(), SOLD, StepSettings(3), streams, 1).play_round(start)
    assert (third.shared.factors != first.shared.factors).any()
    # After a restart, what was kept goes on as if nothing had happened.
    restarted = Trainer(some_pairs(), SOLD, StepSettings(3), streams)
    restarted.home = first.home
    assert (restarted.play_round(first.shared, 1).home.factors == second.home.factors).all()


def test_products_that_are_not_sold_keep_their_numbers_and_biases_start_at_zero() -> None:
    start = initial_shared(PRODUCTS, Streams(5))
    assert not start.biases.any()
    assert not initial_home(3, 0.5, Streams(5)).biases.any()
    trained = Trainer(some_pairs(), SOLD, StepSettings(2), Streams(5)).play_round(start).shared
    others = np.setdiff1d(np.arange(PRODUCTS), SOLD)
    assert (trained.factors[others] == start.factors[others]).all()
    assert (trained.biases[others] == 0).all()
    assert (trained.biases[SOLD] != 0).all()


def test_losses_are_told_beside_those_of_a_constant() -> None:
    parts, start = some_pairs(), initial_shared(PRODUCTS, Streams(5))
    trainer = Trainer(parts, SOLD, StepSettings(4, negatives=0), Streams(5))
    shared, told = losses_of(trainer, start)
    assert [one.epoch for one in told] == [1, 2, 3, 4]
    mean = parts.training.strength.mean()
    for pairs, constant in (
        (parts.training, told[0].constant_training),
        (parts.test, told[0].constant_test),
    ):
        assert constant == pytest.approx(((pairs.strength - mean) ** 2).mean())
    home = trainer.home
    assert home is not None
    scores = (home.factors[parts.test.user] * shared.factors[parts.test.item]).sum(axis=1)
    scores += home.mean + home.biases[parts.test.user] + shared.biases[parts.test.item]
    expected = ((scores - parts.test.strength) ** 2).mean()
    assert told[-1].test == pytest.approx(expected, rel=1e-5)


def test_fixed_negatives_are_none_of_the_users_products() -> None:
    parts = some_pairs()
    trainer = Trainer(parts, SOLD, StepSettings(negatives=4), Streams(5))
    known = {
        (u, np.searchsorted(SOLD, i))
        for pairs in parts
        for u, i in zip(pairs.user.tolist(), pairs.item.tolist(), strict=True)
    }
    count = len(parts.test)
    drawn = set(zip(trainer._test.user[count:], trainer._test.product[count:], strict=True))
    assert len(trainer._test.user) == 5 * count
    assert not drawn & known
    # The user with every product has no negatives.
    assert (trainer._training.user == 6).sum() == (parts.training.user == 6).sum()


def test_what_cannot_be_trained_is_refused() -> None:
    parts = some_pairs()
    empty = parts.training.select(np.empty(0, np.int64))
    with pytest.raises(ValueError, match="no pairs to train on"):
        Trainer(Split(empty, parts.test), SOLD, StepSettings(), Streams(0))
    with pytest.raises(ValueError, match="outside of the assortment"):
        Trainer(parts, SOLD[:-1], StepSettings(), Streams(0))
    with pytest.raises(Diverged, match="epoch 1: the model's numbers grow too large; lower step"):
        Trainer(parts, SOLD, StepSettings(step=10.0), Streams(0)).play_round(
            initial_shared(PRODUCTS, Streams(0))
        )
    start = initial_shared(PRODUCTS, Streams(0))
    start.biases[SOLD[0]] = np.nan  # in the last of the parts that are looked at
    with pytest.raises(Diverged):
        Trainer(parts, SOLD, StepSettings(1), Streams(0)).play_round(start)
    for changes in ({"epochs": 0}, {"step": 0.0}, {"l2": float("nan")}, {"negatives": -1}):
        with pytest.raises(ValueError, match="must be"):
            StepSettings(**changes)  # type: ignore[arg-type]


def test_it_learns_more_than_a_constant_knows() -> None:
    """A floor of quality: on generated structure the test loss falls well below the constant's;
    without negatives, as in the report, it does not."""
    streams = Streams(2)
    (history,) = histories_of(MarketSettings(1, 300, 200, 1.0, 1.0), 8_000, streams)
    catalogue = Catalogue.of(history.products)
    parts = split(pairs_of(history, catalogue), streams)
    everything, start = np.arange(len(catalogue)), initial_shared(len(catalogue), streams)
    ends = {}
    for negatives in (4, 0):
        settings = StepSettings(60, negatives=negatives)
        ends[negatives] = losses_of(Trainer(parts, everything, settings, streams), start)[1]
    assert ends[4][-1].test < 0.9 * ends[4][-1].constant_test
    assert ends[4][-1].training < ends[4][9].training < ends[4][0].training
    assert ends[0][-1].test > 0.9 * ends[0][-1].constant_test
