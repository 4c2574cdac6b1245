"""The centralised methods: yardsticks that see all training data at once, with neither clients nor
a ledger, on the same splits and scored the same way as a federated run.

gmf and bpr are trained by epochs (`sgd.py`), and so are the methods of the library implicit
(`implicit.py`); item_knn (`item_knn.py`) and popularity, an item's
number of training interactions, in one pass. Their run folder has everything but a chain.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from bfedrec.baselines import implicit, item_knn
from bfedrec.baselines import mf_sgd as sgd
from bfedrec.baselines.item_knn import ItemNeighbours
from bfedrec.config.centralised import READ
from bfedrec.config.schema import Config
from bfedrec.data.dataset import Dataset
from bfedrec.data.prepare import prepare
from bfedrec.evaluation.metrics import Evaluation, Split, labelled
from bfedrec.evaluation.ranking import evaluate, evaluate_blocks
from bfedrec.runs.figures import Figures, Scalar
from bfedrec.runs.folder import RunFolder
from bfedrec.runs.memory import check_memory
from bfedrec.runs.progress import EpochDone, Evaluated, Note, Watcher
from bfedrec.runs.ranks import Ranks
from bfedrec.streams import Streams


class Model(Protocol):
    """A trained centralised model."""

    def evaluate(
        self, data: Dataset, split: Split, k: int, full: bool, threads: int | None = None
    ) -> Evaluation:
        """Rank the held-out items of a split (`metrics.evaluate`)."""

    def tensors(self) -> Mapping[str, np.ndarray]:
        """The arrays for the model's file, by name."""


@dataclass(frozen=True)
class Product:
    """Scores that are products of factors: P float32[M, d] for users, Q float32[N, d]."""

    P: np.ndarray
    Q: np.ndarray

    def evaluate(
        self, data: Dataset, split: Split, k: int, full: bool, threads: int | None = None
    ) -> Evaluation:
        """Rank the held-out items of a split (`Model.evaluate`)."""
        return evaluate(self.P, self.Q, data, split, k, full, threads)

    def tensors(self) -> Mapping[str, np.ndarray]:
        """Both factors; nobody's are private here."""
        return {"P": self.P, "Q": self.Q}


@dataclass(frozen=True)
class Neighbourhood:
    """Scores that are sums of similarities to the user's items."""

    items: ItemNeighbours

    def evaluate(
        self, data: Dataset, split: Split, k: int, full: bool, threads: int | None = None
    ) -> Evaluation:
        """Rank the held-out items of a split (`Model.evaluate`)."""
        return evaluate_blocks(item_knn.Scorer(self.items, data), data, split, k, full, threads)

    def tensors(self) -> Mapping[str, np.ndarray]:
        """The neighbours of every item and their similarities."""
        return vars(self.items)


@dataclass(frozen=True)
class Epoch:
    """State of training after an epoch; a method of one pass has a single epoch."""

    epoch: int
    samples: int
    """Number of steps of this epoch, or of interactions in a single pass."""
    loss: float | None
    """Mean loss over the epoch's samples; None if the method minimises nothing."""
    model: Callable[[], Model]
    """Function that returns the model so far; to be called before the next epoch."""


def epochs(config: Config) -> int:
    """Number of epochs of the configured method."""
    by_epochs = "centralised.epochs" in READ[config.method]
    return config.centralised.epochs if by_epochs else 1


def popularity(data: Dataset) -> Product:
    """Score every item by its number of training interactions, the same for every user."""
    counts = np.bincount(data.indices, minlength=data.items).astype(np.float32)
    return Product(np.ones((data.users, 1), np.float32), counts[:, None])


def train(config: Config, data: Dataset, threads: int | None = None) -> Iterator[Epoch]:
    """Train a centralised method; yield every epoch when it is done.

    Raises `bfedrec.learning.upload.Diverged` if the steps are too large, and ConfigError for a
    method whose library is not installed.
    """
    if config.method.startswith("implicit_"):
        implicit.check_installed(config.method)
        for epoch, factors in enumerate(implicit.epochs(config, data), 1):
            yield Epoch(epoch, len(data.indices), None, partial(Product, *factors))
        return
    if config.method in ("gmf", "bpr"):
        model_settings = (config.model.dimension, config.model.init_scale)
        pairwise, streams = config.method == "bpr", Streams(config.seed)
        trainer = sgd.Trainer(pairwise, data, config.centralised, *model_settings, streams)
        for epoch in range(1, config.centralised.epochs + 1):
            loss = trainer.play_epoch()
            yield Epoch(epoch, trainer.samples, loss, lambda: Product(*trainer.factors.product()))
        return
    model: Model = popularity(data)
    if config.method == "item_knn":
        model = Neighbourhood(item_knn.fit(data, config.centralised, threads))
    yield Epoch(1, len(data.indices), None, lambda: model)


def learn(config: Config, data: Dataset, threads: int | None = None) -> Model:
    """Train a centralised method; return the model after the last epoch."""
    *_, last = train(config, data, threads)
    return last.model()


def run(config: Config, folder: RunFolder, resume: bool, progress: Watcher) -> Figures:
    """Run a centralised method in `folder`; returns the summary.

    It takes minutes, so that a resumed run begins anew. Raises
    `bfedrec.data.interactions.DataError`, `bfedrec.learning.upload.Diverged` and
    `bfedrec.evaluation.metrics.NotFinite`, each one line.
    """
    began = time.perf_counter()
    data = prepare(config.data)
    check_memory(config, data)
    folder.start(data.digest)
    folder.cut_metrics(0)
    if resume:
        progress.update(Note(f"method {config.method} keeps no state between epochs: begins anew"))
    k, samples = config.evaluation.k, 0
    for found in train(config, data):
        samples += found.samples
        progress.update(EpochDone(found.epoch, found.samples))
        if found.epoch % config.evaluation.every and found.epoch < epochs(config):
            continue
        line: dict[str, Scalar] = {"height": found.epoch}
        if found.loss is not None:
            line["loss"] = found.loss
        if (data.validation >= 0).any():
            scores = found.model().evaluate(data, "validation", k, full=False).means()
            line |= {"split": "validation", **scores}
            progress.update(Evaluated(found.epoch, "validation", labelled(scores, k)))
        folder.append_metrics(line | {"wall_seconds": time.perf_counter() - began})
    model = found.model()
    trained = time.perf_counter() - began
    evaluation = model.evaluate(data, "test", k, config.evaluation.full_ranking)
    means = evaluation.means()
    progress.update(Evaluated(found.epoch, "test", labelled(means, k)))
    folder.write_tensors(model.tensors())
    folder.write_ranks(Ranks.of(evaluation, data.users).encode())
    return {
        **means,
        "users_scored": len(evaluation.users),
        "epochs": found.epoch,
        "samples_per_second": samples / trained,
        "wall_seconds": time.perf_counter() - began,
    }
