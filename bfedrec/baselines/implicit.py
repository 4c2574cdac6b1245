"""Matrix factorisation of the library `implicit` (Frederickson), as peers of ours: its own code, on
the same training interactions, each counted once.

Its ALS (Hu, Koren and Volinsky, 2008) minimises, over all users u and items i, with a_ui = 1 where
u has i and 0 where not, and the weight c_ui = `centralised.confidence` or 1,

    sum of c_ui (a_ui - p_u . q_i)^2 + l2 (sum of |p_u|^2 + sum of |q_i|^2),

each p_u and q_i solved exactly. Our training method `ials` weighs a user's own n items by 1 and
all N by alpha = `training.unobserved` besides, and its L2 term by n + alpha N. For the same Q its
p_u is 1 / (1 + alpha) of this one's with confidence = 1 + 1/alpha and l2 = `training.l2` (n/alpha +
N); a test holds them equal.

Its BPR (Rendle et al., 2009) has item biases and draws as many triples an epoch as there are
interactions, the item that the user lacks by its number of interactions. Both run in one thread, so
that a seed gives the same numbers again on one machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from bfedrec.baselines.item_knn import distinct
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.dataset import Dataset
from bfedrec.learning.upload import Diverged
from bfedrec.streams import Streams

if TYPE_CHECKING:
    from bfedrec.config.schema import Config


def check_installed(method: str) -> None:
    """Raise ConfigError where the library of this method is not installed."""
    if find_spec("implicit") is None:
        raise ConfigError(
            f"method: {method!r}: this needs implicit: pip install 'bfedrec[implicit]'"
        )


def epochs(config: Config, data: Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Train by the library; yield P float32[M, d'] and Q float32[N, d'] after each epoch.

    d' is d for ALS, and d + 1 for BPR, whose last numbers are 1 and the item's bias. Raises
    Diverged for factors that are no longer finite.
    """
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    indptr, indices = distinct(data)
    ones = np.ones(len(indices), np.float32)
    matrix = csr_matrix((ones, indices, indptr), shape=(data.users, data.items))
    # The library would start a pool of threads inside each of its own.
    with threadpool_limits(1, "blas"):
        model = _model(config)
        for epoch in range(1, config.centralised.epochs + 1):
            try:
                model.fit(matrix, show_progress=False)  # goes on from its factors
                P, Q = (np.array(each) for each in (model.user_factors, model.item_factors))
            except Exception as error:
                if type(error).__name__ != "ModelFitError":
                    raise
                P = Q = np.full(1, np.nan)
            if not (np.isfinite(P).all() and np.isfinite(Q).all()):
                raise Diverged(
                    f"epoch {epoch}: the factors are no longer finite numbers; "
                    "raise centralised.l2, or lower centralised.step"
                )
            yield P, Q


def _model(config: Config) -> Any:
    """The library's model, which takes one epoch at each `fit`."""
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    settings, draws = config.centralised, Streams(config.seed).generator("initial", 0)
    common = {"iterations": 1, "num_threads": 1, "random_state": draws}
    if config.method == "implicit_als":
        return AlternatingLeastSquares(
            factors=config.model.dimension,
            regularization=settings.l2,
            alpha=settings.confidence,
            use_cg=False,
            **common,
        )
    return BayesianPersonalizedRanking(
        factors=config.model.dimension,
        learning_rate=settings.step,
        regularization=settings.l2,
        **common,
    )
