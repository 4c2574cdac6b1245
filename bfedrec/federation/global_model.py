"""The global model as the ledger's application: the check of payloads, their aggregate, and the
merging of every committed A into Q (equations 5 and 6, or another optimizer's step).

Both a run and an audit of its chain drive this class, so both compute the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np

from bfedrec.aggregation.registry import aggregator_named
from bfedrec.aggregation.use import agreement
from bfedrec.compression.codec import FLOAT
from bfedrec.compression.exchange import Exchange, describe, described
from bfedrec.learning.basis import BASES
from bfedrec.learning.optimizer import Optimizer, Plain, Progress, optimizer_named
from bfedrec.privacy.secure.exchange import SecureExchange
from consensus.encoding.node import Node

SMALL_BASIS = 2**22
"""Greatest number of entries of B (d x r) where it is larger than Q (N x d) itself: a genesis of a
few bytes must not make its reader allocate gigabytes."""


def basis_in_proportion(N: int, d: int, r: int) -> bool:
    """True if B (d x r) is small, or no larger than Q (N x d)."""
    return d * r <= max(N * d, SMALL_BASIS)


State = tuple[np.ndarray, ...]
"""The optimizer's state (`bfedrec.learning.optimizer.Optimizer.state_shapes`)."""
KnownAggregate = Callable[[int, Sequence[bytes], Sequence[int], bytes], bytes | None]
"""The aggregate at a height of payloads in their order, with these sample counts and this beacon;
None where it is not known."""


class GlobalModel:
    """Item factors Q under encoded updates; a `consensus.application.Application`."""

    def __init__(
        self,
        Q: np.ndarray,
        kind: str,
        exchange: Exchange,
        snapshot_every: int | None,
        first_beacon: bytes,
        optimizer: Optimizer | None = None,
        rounds: int = 1,
        secure: SecureExchange | None = None,
    ) -> None:
        """``Q``: float32[N, d], the initial model. ``snapshot_every``: heights between blocks that
        also hold the address of a whole snapshot; None for none. ``first_beacon``: beacon of height
        1, for a basis that is drawn once. ``optimizer``: how an aggregate moves Q (None: the
        paper's Q + BA), over so many ``rounds``. ``secure``: how updates
        are masked (None: they are not)."""
        self.Q = Q
        self.kind = kind
        self.exchange = exchange
        """The exchange, as it is in the first round (`exchange_at`)."""
        self.secure = secure
        self.height = 0
        """The last committed height."""
        self.snapshot_every = snapshot_every
        self.optimizer = optimizer or Plain()
        self.rounds = rounds
        shapes = self.optimizer.state_shapes(*Q.shape)
        self.state: State = tuple(np.zeros(shape, np.float32) for shape in shapes)
        """The optimizer's state after the last committed height."""
        self.first_beacon = first_beacon
        """The beacon of height 1, which a basis that is drawn once is drawn from."""
        self._basis: tuple[bytes, np.ndarray] | None = None
        self._foreseen: tuple[tuple[int, bytes, bytes], tuple[np.ndarray, State]] | None = None
        """The last result of `foresee`, by height, beacon and aggregate."""
        self._checked: dict[int, dict[int, tuple[bytes, str | None]]] = {}
        """By height: payloads that were checked ahead, by identity, with their flaws."""
        self.known_aggregate: KnownAggregate | None = None
        """Knows aggregates that were made before a server asks for them; None for none."""

    def exchange_at(self, height: int) -> Exchange:
        """The exchange in the round of ``height``."""
        return self.exchange.at(Progress(height, self.rounds))

    @property
    def items(self) -> int:
        """N."""
        return int(self.Q.shape[0])

    @property
    def dimension(self) -> int:
        """d."""
        return int(self.Q.shape[1])

    @property
    def rank(self) -> int:
        """r, rows of an update: d where the whole Delta Q is trained."""
        return self.exchange.up.rows

    def describe(self) -> Node:
        """The description in the genesis, from which `from_genesis` rebuilds this model."""
        description: Node = {
            "items": self.items,
            "dimension": self.dimension,
            "rank": self.rank,
            "basis": self.kind,
            "aggregation": self.exchange.rule.name,
            "snapshot_every": self.snapshot_every,
        }
        if self.exchange.rule.parameters:
            description["aggregation_parameters"] = self.exchange.rule.parameters
        if self.optimizer != Plain():
            description["optimizer"] = {
                "kind": self.optimizer.name,
                "parameters": self.optimizer.parameters,
                "rounds": self.rounds,
            }
        if self.exchange.up.scheduled:
            description["rounds"] = self.rounds
        if self.secure is not None:
            description["secure"] = self.secure.parameters
        return description | describe(self.exchange)

    @classmethod
    def from_genesis(
        cls, application: Mapping[str, Any], initial: bytes, first_beacon: bytes
    ) -> GlobalModel:
        """The model that a chain's genesis describes, from its initial Q's bytes.

        Raises ValueError for a description or bytes that do not fit each other.
        """
        try:
            N, d, r = (int(application[key]) for key in ("items", "dimension", "rank"))
            every = application["snapshot_every"]
            kind, name = application["basis"], application["aggregation"]
            rule = aggregator_named(name, dict(application.get("aggregation_parameters", {})))
        except (KeyError, TypeError) as error:
            raise ValueError(f"the genesis describes no global model: {error}") from None
        if rule.missing():
            raise ValueError(f"aggregation rule {rule.missing()}")
        if type(kind) is not str or kind not in BASES:
            raise ValueError(f"the genesis names an unknown basis {kind!r}")
        if min(N, d) < 1 or len(initial) != 4 * N * d:
            raise ValueError(f"an initial model of {N} x {d} has {4 * N * d} bytes")
        if not BASES[kind].fits(d, r) or not basis_in_proportion(N, d, r):
            raise ValueError(f"a basis {kind!r} of {d} x {r} does not fit a model of {N} x {d}")
        exchange = described(application, rule, r, N)
        secure = None
        if "secure" in application:
            secure = SecureExchange.described(exchange, application["secure"])
        Q = np.frombuffer(initial, FLOAT).reshape(N, d).astype(np.float32)
        optimizer, rounds = _optimizer(application)
        if exchange.up.scheduled:
            rounds = _rounds(application.get("rounds"))
        return cls(Q, kind, exchange, every, first_beacon, optimizer, rounds, secure)

    def encode(self) -> bytes:
        """Q's bytes: float32 little-endian, N x d."""
        return np.ascontiguousarray(self.Q, FLOAT).tobytes()

    def basis(self, beacon: bytes) -> np.ndarray:
        """B(t), float32[d, r], of the height whose beacon this is (line 8 of Algorithm 1)."""
        if self._basis is None or self._basis[0] != beacon:
            self._basis = (beacon, self.basis_on(self.Q, beacon))
        return self._basis[1]

    def basis_on(self, Q: np.ndarray, beacon: bytes) -> np.ndarray:
        """The same on another ``Q`` than the present one."""
        kind = BASES[self.kind]
        seed = self.first_beacon if kind.drawn_once else beacon
        return kind().matrix(self.dimension, self.rank, seed, Q)

    # -- the application's methods ----------------------------------------------------------------

    def check_payload(self, payload: bytes) -> str | None:
        """Return the flaw of a client's payload, or None."""
        for checked in tuple(self._checked.values()):
            known = checked.get(id(payload))
            if known is not None:
                return known[1]
        return self._flaw(payload)

    def check_ahead(self, height: int, payload: bytes) -> None:
        """Check a payload of the round of ``height`` before a server asks for it
        (`check_payload`). Called from any thread."""
        self.note_flaw(height, payload, self._flaw(payload))

    def note_flaw(self, height: int, payload: bytes, flaw: str | None) -> None:
        """Note that a payload of the round of ``height`` was found to have this ``flaw``, or None.
        Called from any thread."""
        self._checked.setdefault(height, {})[id(payload)] = payload, flaw

    def _flaw(self, payload: bytes) -> str | None:
        return (self.secure or self.exchange).check(payload)

    def slot(self, client: int, payload: bytes) -> int | None:
        """The stage of a payload under secure aggregation, else the only slot."""
        return 0 if self.secure is None else self.secure.slot(client, payload)

    def aggregate(self, payloads: Sequence[bytes], samples: Sequence[int], beacon: bytes) -> bytes:
        """Algorithm 2, line 5: the bytes of A from the payloads in their order."""
        known = self.known_aggregate and self.known_aggregate(
            self.height + 1, payloads, samples, beacon
        )
        if known is not None:
            return known
        exchange = self.exchange_at(self.height + 1)
        if self.secure is not None:
            return self.secure.aggregate(exchange, payloads, beacon)
        return exchange.aggregate(payloads, samples, beacon)

    def use(self, groups: Sequence[Sequence[bytes]], beacon: bytes) -> Sequence[int]:
        """The use of each group of payloads: their agreement with those of the others
        (`bfedrec.aggregation.use`). Raises ValueError under masks, which show no single update."""
        if self.secure is not None:
            raise ValueError("masked updates show no use of a single one")
        exchange = self.exchange_at(self.height + 1)
        return agreement(
            lambda: ((exchange.decode(each, beacon).A for each in group) for group in groups),
            sum(map(len, groups)),
        )

    @property
    def snapshot_size(self) -> int:
        """Bytes of a snapshot: Q, and the optimizer's state, which a returning client needs too."""
        return FLOAT.itemsize * (self.Q.size + sum(array.size for array in self.state))

    def snapshot(self, height: int, beacon: bytes, aggregate: bytes) -> bytes | None:
        """The bytes of Q after ``aggregate``, and those of the optimizer's state, at every
        ``snapshot_every``-th height, else None."""
        if self.snapshot_every is None or height % self.snapshot_every:
            return None
        Q, state = self._merged(height, beacon, aggregate)
        return b"".join(np.ascontiguousarray(array, FLOAT).tobytes() for array in (Q, *state))

    def commit(self, height: int, beacon: bytes, aggregate: bytes) -> None:
        """Algorithm 1, line 7: Q += B A, or the optimizer's step."""
        for past in [each for each in tuple(self._checked) if each <= height]:
            del self._checked[past]
        self.Q, self.state = self._merged(height, beacon, aggregate)
        self.height, self._foreseen = height, None

    def foresee(self, height: int, beacon: bytes, aggregate: bytes) -> np.ndarray:
        """Q as `commit` will leave it: for whoever goes on before all have the block."""
        merged = self._merged(height, beacon, aggregate)
        self._foreseen = (height, beacon, aggregate), merged
        return merged[0]

    def as_it_is(self) -> GlobalModel:
        """The model as it is now, for a thread that goes on from it (`aggregate`, `foresee`) while
        blocks are committed to this one."""
        found = copy(self)  # no array is ever written to
        found.known_aggregate, found._checked = None, {}
        return found

    def _merged(self, height: int, beacon: bytes, aggregate: bytes) -> tuple[np.ndarray, State]:
        if self._foreseen is not None and self._foreseen[0] == (height, beacon, aggregate):
            return self._foreseen[1]
        B, A = self.basis(beacon), self.exchange.decode_aggregate(aggregate, beacon)
        progress = Progress(height, self.rounds)
        return self.optimizer.checked(self.Q, self.state, B, A, progress)


def _optimizer(application: Mapping[str, Any]) -> tuple[Optimizer, int]:
    """The optimizer that a genesis describes, and its rounds. Raises ValueError for an invalid
    description."""
    if "optimizer" not in application:
        return Plain(), 1
    told = application["optimizer"]
    try:
        kind, rounds, parameters = told["kind"], told["rounds"], dict(told["parameters"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the genesis describes no optimizer: {error}") from None
    if type(kind) is not str:
        raise ValueError(f"the genesis describes no optimizer: {kind!r}")
    return optimizer_named(kind, parameters), _rounds(rounds)


def _rounds(told: object) -> int:
    """The number of rounds that a genesis names. Raises ValueError for another value."""
    if type(told) is not int or not 1 <= told < 2**31:
        raise ValueError(f"the genesis names no number of rounds: {told!r}")
    return told
