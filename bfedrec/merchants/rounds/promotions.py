"""Products for a merchant to promote: those that its users have not touched and may want.

A product's score is the mean, over the merchant's users that have never touched it, of the strength
that the model predicts for them. The federated model combines the users' rows, which never leave
the merchant, with the products' factors that all merchants made together; the model of the shop
alone is trained on the same events for as many epochs, from the same initial model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from bfedrec.merchants.model import Home, Shared
from bfedrec.merchants.rounds.agreement import Agreement
from bfedrec.merchants.rounds.learning import Learner, read_events
from bfedrec.merchants.rounds.workspace import Kept, Workspace

TOP: Final = 20


@dataclass(frozen=True)
class Promotion:
    """One product, as both models rank it."""

    product: int
    """Id of the product."""
    score: float
    """Mean predicted strength over users that never touched it, by the federated model."""
    rank: int
    """Its place by the federated model, from 1."""
    alone_score: float
    alone_rank: int
    users: int
    """Number of the merchant's users that have touched it."""


def scores(home: Home, shared: Shared, touched: np.ndarray, places: np.ndarray) -> np.ndarray:
    """float64[K]: for each product at ``places``, the mean predicted strength over users for whom
    ``touched`` (bool[M, K]) is False; -inf where all have touched it."""
    Q = shared.factors[places].astype(np.float64)
    predicted = home.factors.astype(np.float64) @ Q.T
    predicted += home.biases.astype(np.float64)[:, None] + shared.biases[places] + float(home.mean)
    free = ~touched
    count = free.sum(axis=0)
    total = np.where(free, predicted, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), -np.inf)


def promotions(
    workspace: Workspace, agreement: Agreement, shared: Shared, number: int, top: int = TOP
) -> list[Promotion]:
    """The products to promote after round ``number``, whose aggregate is ``shared``; best first.

    Raises NoEvents without events, and WorkspaceError where the merchant has not trained yet or its
    folder cannot be read.
    """
    learner = Learner(read_events(workspace.event_files(), agreement), agreement, workspace.name)
    kept = workspace.kept(number + 1)
    home = learner.home(agreement.dimension, kept)
    alone = _alone(workspace, agreement, learner, number)
    places = learner.assortment
    touched = np.zeros((len(learner.users), len(places)), np.bool_)
    touched[learner.pairs.user, np.searchsorted(places, learner.pairs.item)] = True
    ours = scores(home, shared, touched, places)
    theirs = scores(alone[1], alone[0], touched, places)
    order, by_alone = _ranked(ours), _ranked(theirs)
    place_alone = np.empty(len(places), np.int64)
    place_alone[by_alone] = np.arange(1, len(places) + 1)
    return [
        Promotion(
            product=int(agreement.catalogue.ids[places[at]]),
            score=float(ours[at]),
            rank=rank,
            alone_score=float(theirs[at]),
            alone_rank=int(place_alone[at]),
            users=int(touched[:, at].sum()),
        )
        for rank, at in enumerate(order[:top], 1)
        if np.isfinite(ours[at])
    ]


def _ranked(found: np.ndarray) -> np.ndarray:
    """Places by falling score; ties by place."""
    return np.argsort(-found, kind="stable")


def _alone(
    workspace: Workspace, agreement: Agreement, learner: Learner, number: int
) -> tuple[Shared, Home]:
    """The model of the shop alone after as many rounds; kept, as training takes seconds."""
    name = f"alone-{number}-{learner.digest[:16]}.safetensors"
    content = workspace.noted(name)
    if content is not None:
        try:
            found = load(content)
            home = Home(found["p"], found["b_u"], np.float32(found["m"][0]))
            return Shared(found["q"], found["b_i"]), home
        except (SafetensorError, KeyError, IndexError):
            pass  # it is computed again
    shared, kept = agreement.initial(), None
    for each in range(1, number + 1):
        shared, home = learner.train(shared, each, kept)
        kept = Kept(home, learner.users)
    home = learner.home(agreement.dimension, kept)
    tensors = {
        "q": shared.factors,
        "b_i": shared.biases,
        "p": home.factors,
        "b_u": home.biases,
        "m": np.array([home.mean], np.float32),
    }
    workspace.note(name, save(tensors))
    return shared, home
