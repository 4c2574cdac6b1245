"""The move of the item factors Q by a block's aggregate: ||Delta Q||, and the items moved most.

Under the paper's merge, Q + BA with a basis drawn from the beacon, a block's Delta Q is BA and
needs nothing else. Where the step depends on Q or on a state (an optimizer, a basis that follows
from Q), Q is rebuilt from the latest snapshot below, or from the genesis; that is done up to a
bound of work, and goes on from where it was left.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final

import numpy as np

from bfedrec.explorer.chain import RunChain, block_at
from consensus.ledger.committee import first_beacon
from consensus.records.genesis import Genesis
from consensus.storage.content import Busy, StoreError
from consensus.storage.live import LiveChain

if TYPE_CHECKING:
    from bfedrec.federation.global_model import GlobalModel

MOST_WORK: Final = 30_000_000
"""Numbers of Q that may be computed anew for one page, over all heights that are replayed."""
MOST_NUMBERS: Final = 2**26
"""Numbers of the largest Q that is looked at; 2**26 are 256 MiB."""
SHOWN: Final = 10
KEPT: Final = 4


@dataclass(frozen=True)
class ItemMove:
    """The move of one item's factors."""

    item: int
    """Its row of Q, from 0."""
    length: float
    """Euclidean length of its row of Delta Q."""


@dataclass(frozen=True)
class Moves:
    """The move of all item factors at a height."""

    norm: float
    """||Delta Q||, Frobenius; NaN where it is not known."""
    moved: int
    """The number of items whose factors moved at all."""
    items: int
    most: tuple[ItemMove, ...]
    """The items that moved most, the farthest first."""
    told: str = ""
    """The reason if it is not known; empty if it is."""


class MovesOf:
    """The moves of the blocks of chains, with the models that were rebuilt last."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._models: OrderedDict[tuple[str, bytes], tuple[int, GlobalModel]] = OrderedDict()

    def at(self, run: RunChain, height: int, most_work: int = MOST_WORK) -> Moves:
        """The moves of the block at a height. Raises `bfedrec.runs.folder.RunError` and `Busy`."""
        return run.ask(lambda chain: self._moves(run, chain, height, most_work))

    def _moves(self, run: RunChain, chain: LiveChain, height: int, most_work: int) -> Moves:
        genesis = run.genesis(chain)
        try:
            beacon = run.bare_head(chain, height - 1).beacon
            aggregate = chain.get(block_at(chain, height).header.aggregate_cid)
            return self._moved(run, chain, genesis, height, beacon, aggregate, most_work)
        except Busy:
            raise
        except (MemoryError, OverflowError, StoreError, ValueError) as error:
            return Moves(float("nan"), 0, 0, (), " ".join(str(error).split())[:300])

    def _moved(
        self,
        run: RunChain,
        chain: LiveChain,
        genesis: Genesis,
        height: int,
        beacon: bytes,
        aggregate: bytes,
        most_work: int,
    ) -> Moves:
        model = initial_model(chain, genesis)
        direct = _direct(model, beacon, aggregate)
        if direct is not None:
            return _measured(direct)
        with self._lock:
            model = self._rebuilt(run, chain, genesis, height - 1, most_work)
            before = model.Q
            after = copy.copy(model)
            after.commit(height, beacon, aggregate)
            return _measured(after.Q.astype(np.float64) - before)

    def _rebuilt(
        self, run: RunChain, chain: LiveChain, genesis: Genesis, height: int, most_work: int
    ) -> GlobalModel:
        """The model after a height. Raises ValueError where that takes too much work."""
        key = str(run.path), genesis.cid
        known, model = self._models.get(key, (0, None))
        if model is None or known > height:
            known, model = 0, None
        start = snapshot_below(run, chain, height, known)
        if start > known or model is None:
            known, model = start, model_at(chain, genesis, start)
        if (height - known) * model.Q.size > most_work:
            raise ValueError(
                f"the step depends on Q, which {height - known} aggregates below would have to "
                "be applied for"
            )
        for at, beacon, aggregate in steps(run, chain, known, height):
            model.commit(at, beacon, aggregate)
        self._models[key] = height, model
        self._models.move_to_end(key)
        while len(self._models) > KEPT:
            self._models.popitem(last=False)
        return copy.copy(model)


def initial_model(chain: LiveChain, genesis: Genesis) -> GlobalModel:
    """The model of a chain's genesis. Raises ValueError for another application's, or one too large
    to be looked at, and StoreError."""
    from bfedrec.federation.global_model import GlobalModel  # slow to load

    initial = chain.get_at_most(genesis.model, 4 * MOST_NUMBERS)
    return GlobalModel.from_genesis(genesis.application, initial, first_beacon(genesis))


def model_at(chain: LiveChain, genesis: Genesis, height: int) -> GlobalModel:
    """The model after a height whose block has a snapshot, or of the genesis (0)."""
    model = initial_model(chain, genesis)
    if height == 0:
        return model
    link = block_at(chain, height).header.snapshot
    data = b"" if link is None else chain.get_at_most(link, model.snapshot_size)
    if len(data) != model.snapshot_size:
        raise ValueError(f"height {height}: its snapshot has {len(data)} bytes")
    numbers, at = np.frombuffer(data, "<f4").astype(np.float32), model.Q.size
    model.Q = numbers[:at].reshape(model.Q.shape)
    arrays = []
    for array in model.state:
        arrays.append(numbers[at : at + array.size].reshape(array.shape))
        at += array.size
    model.state = tuple(arrays)
    return model


def steps(
    run: RunChain, chain: LiveChain, after: int, last: int
) -> Iterator[tuple[int, bytes, bytes]]:
    """Height, beacon and aggregate of the blocks above ``after`` up to ``last``."""
    for height in range(after + 1, last + 1):
        beacon = run.bare_head(chain, height - 1).beacon
        yield height, beacon, chain.get(block_at(chain, height).header.aggregate_cid)


def snapshot_below(run: RunChain, chain: LiveChain, height: int, known: int = 0) -> int:
    """The latest height up to ``height`` and above ``known`` whose block has a snapshot; else 0."""
    blocks = run.follow(chain, height)
    above = (at for at in range(height, known, -1) if blocks[at - 1].snapshot is not None)
    return next(above, 0)


def _direct(model: GlobalModel, beacon: bytes, aggregate: bytes) -> np.ndarray | None:
    """Delta Q = BA, float64[N, d], where neither the step nor the basis depends on Q; else None."""
    from bfedrec.learning.basis import BASES
    from bfedrec.learning.optimizer import Plain

    if model.optimizer != Plain():
        return None
    kind = BASES[model.kind]
    seed = model.first_beacon if kind.drawn_once else beacon
    try:
        B = kind().matrix(model.dimension, model.rank, seed, None)
    except (AttributeError, TypeError, ValueError):  # it needs Q
        return None
    A = model.exchange.decode_aggregate(aggregate, beacon)
    return A.T.astype(np.float64) @ B.T.astype(np.float64)


def _measured(move: np.ndarray) -> Moves:
    lengths = np.sqrt((move.astype(np.float64) ** 2).sum(axis=1))
    order = np.argsort(-lengths, kind="stable")[:SHOWN]
    most = tuple(ItemMove(int(item), float(lengths[item])) for item in order if lengths[item] > 0)
    norm = float(np.sqrt((lengths**2).sum()))
    return Moves(norm, int((lengths > 0).sum()), len(lengths), most)
