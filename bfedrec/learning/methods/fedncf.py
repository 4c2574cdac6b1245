"""The training method ``fedncf``: federated neural collaborative filtering (Perifanis and
Efraimidis, 2022, after He et al., 2017), in the form of NeuMF.

A client keeps its factors p = [p_G, p_M], two halves of k = d/2 numbers; items have q_i = [q_G,
q_M]. The network fuses weighted products with two layers of a perceptron:

    u = relu(W_1 [p_M; q_M] + b_1)    (k units)
    v = relu(W_2 u + b_2)             (k/2 units)
    z_i = sum_j w_j p_Gj q_Gj + m . v + b,

and of the n samples (i, y) of a batch, drawn as in Algorithm 1,

    L = 1/n sum [ -y log sigmoid(z_i) - (1 - y) log(1 - sigmoid(z_i)) ]
        + lambda/2 ( |p|^2 + 1/n sum |q_i|^2 ).

Items and weights theta = (w, W_1, b_1, W_2, b_2, m, b) are shared. The weights travel as further
rows of Q, after those of the items: theta in this order, d numbers a row, the last row filled up
with zeros. Every client touches these rows, so that `aggregation.rule=per_item` is the paper's
decomposed average: each item over the clients that trained on it, the network over all. Steps
follow the gradients in p and theta, and n times the gradient in Q.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bfedrec.learning.method import PASSES, Scorer, Trainer, TrainingMethod, training_method
from bfedrec.learning.settings import TrainingSettings
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import LocalUpdates
from bfedrec.section import setting_error

if TYPE_CHECKING:  # reading a config loads no compiler
    from bfedrec.learning.negative_sampling import Epoch


@training_method("fedncf", place=4)
@dataclass(frozen=True)
class FedNCF(TrainingMethod):
    """Shared item factors and a shared network over private user factors."""

    meaning = "FedNCF: a shared network (NeuMF) over shared item factors and private user factors"
    reads = PASSES | {"network_step"}
    products = False
    whole_rows = True
    remedy = "lower training.item_step, training.user_step or training.network_step"

    def trainer(self, device: str, threads: int | None) -> Trainer:
        return partial(_train, threads)

    def samples(
        self, settings: TrainingSettings, interactions: np.ndarray, items: int, dimension: int
    ) -> np.ndarray:
        # A sample of Algorithm 1 takes about four products of d numbers; the layers take three of
        # their weights besides.
        k = dimension // 2
        layers = 3.0 * (2 * k * k + k * max(1, k // 2))
        samples = super().samples(settings, interactions, items, dimension)
        return np.asarray(samples * (1 + layers / (4 * dimension)))

    def check(self, training: TrainingSettings, dimension: int) -> None:
        if dimension % 2:
            told = f"an even number, as training.method {self.name} halves it"
            raise setting_error("model.dimension", told)

    def shared_rows(self, dimension: int) -> int:
        return math.ceil(_weights(dimension) / dimension)

    def initial_shared(self, dimension: int, generator: np.random.Generator) -> np.ndarray:
        """Weights of products 1, so that it begins as matrix factorisation; those of layers normal
        with variance 2 / inputs (He et al., 2015); biases 0."""
        from bfedrec.learning.fedncf_kernels import network

        theta = np.zeros(self.shared_rows(dimension) * dimension, np.float32)
        net = network(theta, dimension // 2)
        net.product[:] = 1
        for layer, inputs in ((net.first, dimension), (net.second, dimension // 2)):
            layer[:] = generator.standard_normal(layer.shape, np.float32) * math.sqrt(2 / inputs)
        net.last[:] = generator.standard_normal(net.last.shape, np.float32) / math.sqrt(
            len(net.last)
        )
        return theta.reshape(-1, dimension)

    def scorer(self, task: TrainingTask, P: np.ndarray) -> Scorer:
        from bfedrec.learning.fedncf_kernels import item_halves, network

        Q, d = task.Q, task.Q.shape[1]
        items = len(Q) - self.shared_rows(d)
        net = network(Q[items:].ravel(), d // 2)
        return partial(_scores, Q, P, items, net, item_halves(Q, net, items))


def _weights(dimension: int) -> int:
    """The number of weights; equal to `bfedrec.learning.fedncf_kernels.sizes`, which only a
    training loads."""
    k = dimension // 2
    h = max(1, k // 2)
    return 2 * k * k + 2 * k + h * k + 2 * h + 1


def _train(
    threads: int | None, task: TrainingTask, clients: np.ndarray, P: np.ndarray
) -> LocalUpdates:
    from bfedrec.learning.private_training import train_clients

    items = len(task.Q) - FedNCF().shared_rows(task.Q.shape[1])
    return train_clients(partial(_train_client, items), task, clients, P, items, threads)


def _train_client(
    N: int,
    task: TrainingTask,
    draws: list[Epoch],
    p: np.ndarray,
    delta: np.ndarray,
    touched: np.ndarray,
) -> float:
    from bfedrec.learning.fedncf_kernels import Steps, network, train_pass

    settings, d = task.settings, task.Q.shape[1]
    steps = Steps(
        settings.batch_size,
        np.float32(task.user_step),
        np.float32(task.item_step),
        np.float32(settings.network_step * task.step_scale),
        np.float32(settings.l2),
    )
    theta = task.Q[N:].flatten()
    sums = np.zeros_like(theta)
    views = network(theta, d // 2), network(sums, d // 2)
    loss = 0.0
    for epoch in draws:
        loss = train_pass(task.Q, delta, touched, p, theta, views[0], sums, views[1], epoch, steps)
    delta[N:] = theta.reshape(-1, d) - task.Q[N:]
    touched[N:] = len(draws[-1].items) > 0
    return loss / max(1, len(draws[-1].items))


def _scores(
    Q: np.ndarray,
    P: np.ndarray,
    items: int,
    net: object,
    halves: np.ndarray,
    users: np.ndarray,
) -> np.ndarray:
    """The scores of all items for ``users`` (int64[b]), float32[b, N]."""
    from bfedrec.learning.fedncf_kernels import score_all

    scores = np.empty((len(users), items), np.float32)
    for row, user in zip(scores, users, strict=True):
        score_all(Q, P[user], net, halves, row)
    return scores
