"""Training of a merchant's model by stochastic gradient descent, with its losses by epoch.

An epoch goes once through the pairs in a seeded order. Each pair is followed by ``negatives``
products of the shop that the user has no training pair with, whose strength is 0; with none, as in
the report, the model learns how strong interactions are but not which products a user prefers. With
e = m + b_u + b_i + p_u . q_i - y, the gradients of half the squared error of a sample (u, i, y) are

    p_u: e q_i + lambda p_u    q_i: e p_u + lambda q_i    b_u: e + lambda b_u    b_i: e + lambda b_i

`gradients` writes them out for readers; the compiled loop takes the same steps, and tests hold them
equal. It runs in one thread: the same streams give the same model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit

from bfedrec.learning.negative_sampling import client_state, draw_absent
from bfedrec.learning.upload import Diverged
from bfedrec.merchants.interactions import Pairs, Split
from bfedrec.merchants.model import LARGEST, Home, Shared, initial_home
from bfedrec.merchants.settings import StepSettings
from bfedrec.streams import Streams


class EpochLosses(NamedTuple):
    """Mean squared errors after an epoch, on the same samples throughout.

    The samples are the pairs, each with its own fixed draw of negatives. The constant is the mean
    of the training samples, the best that a model without any user or product can do there.
    """

    epoch: int
    training: float
    test: float
    """NaN without test pairs."""
    constant_training: float
    constant_test: float


class Trained(NamedTuple):
    """The result of training."""

    shared: Shared
    home: Home


class Samples(NamedTuple):
    """Samples to measure a loss on: user int64[n], product of the shop int64[n], float32[n]."""

    user: np.ndarray
    product: np.ndarray
    strength: np.ndarray


class Trainer:
    """A merchant that trains, one round after the other.

    It keeps its own part of the model, ``home``, from round to round; each round starts from the
    products' factors and biases that the merchants have agreed on. Whoever goes on after a restart
    sets ``home`` to what was kept; before the first round it is None.
    """

    def __init__(
        self,
        split: Split,
        assortment: np.ndarray,
        settings: StepSettings,
        streams: Streams,
        merchant: int = 0,
    ) -> None:
        """``assortment``: int64[K], ascending, the places in the catalogue of the products that the
        merchant sells; negatives are drawn from them, and no other product's numbers change.

        Raises ValueError without pairs to train on, or for a pair of a product outside.
        """
        if not len(split.training):
            raise ValueError("there are no pairs to train on")
        self.settings, self.streams, self.merchant = settings, streams, merchant
        self.assortment = np.asarray(assortment, np.int64)
        self.user = split.training.user.astype(np.int64)
        self.product = self._places(split.training)
        self.strength = split.training.strength
        self.users = len(split.training.users)
        self.rows = _rows(self.user, self.product, self.users)
        self._training = self._samples(0, self.user, self.product, self.strength, self.rows)
        test = (split.test.user.astype(np.int64), self._places(split.test))
        users, products = np.hstack([(self.user, self.product), test])
        touched = _rows(users, products, self.users)
        # No product that the user has in training or test is a negative of the test.
        self._test = self._samples(1, *test, split.test.strength, touched)
        mean = float(self._training.strength.mean(dtype=np.float64))
        self._constants = (_constant(self._training, mean), _constant(self._test, mean))
        self.home: Home | None = None
        self._mean = mean

    def play_round(
        self, start: Shared, round: int = 0, tell: Callable[[EpochLosses], None] | None = None
    ) -> Trained:
        """Train all epochs of a round from these factors; ``tell`` gets the losses after each;
        without it none are computed.

        Raises Diverged when the numbers are no longer finite, or larger than may be shared.
        """
        d = start.factors.shape[1]
        if self.home is None:
            self.home = self.fresh_home(d)
        P, b_u = self.home.factors.copy(), self.home.biases.copy()
        Q = np.ascontiguousarray(start.factors[self.assortment])
        b_i = start.biases[self.assortment]
        model = (self.home.mean, P, b_u, Q, b_i)
        for epoch in range(1, self.settings.epochs + 1):
            self._play_epoch(round, epoch, model)
            # NaN is not below, either.
            if not all(np.abs(part).max(initial=0.0) <= LARGEST for part in (P, b_u, Q, b_i)):
                raise Diverged(f"epoch {epoch}: the model's numbers grow too large; lower step")
            if tell is not None:
                tell(self._losses(epoch, model))
        shared = Shared(start.factors.copy(), start.biases.copy())
        shared.factors[self.assortment] = Q
        shared.biases[self.assortment] = b_i
        self.home = Home(P, b_u, self.home.mean)
        return Trained(shared, self.home)

    def fresh_home(self, dimension: int) -> Home:
        """The merchant's own part before its first round."""
        return initial_home(self.users, self._mean, self.streams, self.merchant, dimension)

    def _play_epoch(self, round: int, epoch: int, model: tuple[object, ...]) -> None:
        settings, place = self.settings, (self.merchant, round, epoch)
        order = self.streams.generator("shop_training", 0, *place).permutation(len(self.user))
        state = np.uint64(client_state(self.streams.integer("shop_training", 0, *place), 0))
        samples = (order, self.user, self.product, self.strength, *self.rows)
        sizes = (np.float32(settings.step), np.float32(settings.l2))
        play_epoch(*samples, state, settings.negatives, *sizes, *model)

    def _losses(self, epoch: int, model: tuple[object, ...]) -> EpochLosses:
        training, test = (squared_error(*part, *model) for part in (self._training, self._test))
        return EpochLosses(epoch, training, test, *self._constants)

    def _places(self, pairs: Pairs) -> np.ndarray:
        """The places of the pairs' products in the assortment."""
        places = np.searchsorted(self.assortment, pairs.item)
        found = self.assortment[np.minimum(places, len(self.assortment) - 1)]
        if (found != pairs.item).any():
            raise ValueError("a pair is of a product outside of the assortment")
        return places

    def _samples(
        self,
        part: int,
        user: np.ndarray,
        product: np.ndarray,
        strength: np.ndarray,
        rows: tuple[np.ndarray, np.ndarray],
    ) -> Samples:
        """These pairs and their fixed negatives, none of them among the ``rows`` of products."""
        seed = self.streams.integer("shop_training", 1, self.merchant, part)
        state, K = np.uint64(client_state(seed, 0)), len(self.assortment)
        drawn = fixed_negatives(user, *rows, K, self.settings.negatives, state)
        return Samples(
            np.concatenate([user, drawn[0]]),
            np.concatenate([product, drawn[1]]),
            np.concatenate([strength, np.zeros(len(drawn[0]), np.float32)]),
        )


def _rows(user: np.ndarray, product: np.ndarray, users: int) -> tuple[np.ndarray, np.ndarray]:
    """The products of each user, ascending: indptr int64[M + 1] and indices int64[n]."""
    order = np.lexsort((product, user))
    counts = np.bincount(user, minlength=users)
    return np.concatenate([[0], np.cumsum(counts)]), product[order]


def _constant(samples: Samples, mean: float) -> float:
    """The mean squared error of a constant prediction; NaN of no samples."""
    if not len(samples.user):
        return float("nan")
    return float(((samples.strength.astype(np.float64) - mean) ** 2).mean())


def gradients(
    p: np.ndarray, q: np.ndarray, b_u: float, b_i: float, rest: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """The gradients in p_u, q_i (float64[d]), b_u and b_i of a sample; ``rest`` are the mean m, the
    strength y and lambda."""
    mean, y, l2 = rest
    e = mean + b_u + b_i + p @ q - y
    return e * q + l2 * p, e * p + l2 * q, e + l2 * b_u, e + l2 * b_i


# -- compiled -------------------------------------------------------------------------------------


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def play_epoch(  # type: ignore[no-untyped-def]
    order, user, product, strength, indptr, indices, state, negatives, step, l2, m, P, b_u, Q, b_i
):
    """Take a step for each pair in `order` and for each of its negatives; change P, b_u, Q, b_i."""
    K, d = Q.shape
    for sample in order:
        u = user[sample]
        present = indices[indptr[u] : indptr[u + 1]]
        p = P[u]
        for draw in range(1 + (negatives if present.size < K else 0)):
            i = product[sample]
            y = strength[sample]
            if draw:
                i, state = draw_absent(state, present, K)
                y = np.float32(0)
            q = Q[i]
            e = m + b_u[u] + b_i[i] - y
            for k in range(d):
                e += p[k] * q[k]
            for k in range(d):
                old = p[k]
                p[k] -= step * (e * q[k] + l2 * old)
                q[k] -= step * (e * old + l2 * q[k])
            b_u[u] -= step * (e + l2 * b_u[u])
            b_i[i] -= step * (e + l2 * b_i[i])


@njit(nogil=True, cache=True)
def fixed_negatives(user, indptr, indices, products, negatives, state):  # type: ignore[no-untyped-def]
    """Users and products (int64) of negatives for each of these users; none for a user who has
    every product."""
    users = np.empty(user.size * negatives, np.int64)
    drawn = np.empty(user.size * negatives, np.int64)
    count = 0
    for u in user:
        present = indices[indptr[u] : indptr[u + 1]]
        if present.size < products:
            for _ in range(negatives):
                drawn[count], state = draw_absent(state, present, products)
                users[count] = u
                count += 1
    return users[:count], drawn[:count]


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def squared_error(user, product, strength, m, P, b_u, Q, b_i):  # type: ignore[no-untyped-def]
    """The mean squared error over samples; NaN of none."""
    total = 0.0
    for sample in range(user.size):
        u, i = user[sample], product[sample]
        e = m + b_u[u] + b_i[i] - strength[sample]
        for k in range(P.shape[1]):
            e += P[u, k] * Q[i, k]
        total += np.float64(e) * np.float64(e)
    return total / user.size if user.size else np.nan
