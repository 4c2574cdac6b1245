"""A run as a holder sees it: round by round, the updates that reach it and what is public.

Only honest clients' updates are handed on, and only those that the blocks hold, provably
(`bfedrec.runs.replay`). A run may be finished or go on; of one that goes on, the rounds are those
that it had when reading began.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from bfedrec.attacks.adversary import Adversary
from bfedrec.config.schema import Config
from bfedrec.data.dataset import Dataset
from bfedrec.federation.client_sampling import participants
from bfedrec.federation.federation import Federation
from bfedrec.federation.global_model import GlobalModel
from bfedrec.federation.learner import Learner
from bfedrec.federation.unledgered import learner_alone, seeded
from bfedrec.learning.upload import Upload
from bfedrec.privacy.observation import Observation
from bfedrec.runs.claims import build
from bfedrec.runs.folder import RunError, has_ledger
from bfedrec.runs.following import after, skim
from bfedrec.runs.holders import Holder
from bfedrec.runs.replay import Replay, kept_updates, state_of
from bfedrec.runs.state import RunState, StateError
from bfedrec.runs.timelines import read_timelines
from bfedrec.runs.views import Told, view_of
from bfedrec.streams import Streams
from consensus.encoding.fields import MalformedRecord
from consensus.ledger.updates import SignedUpdate
from consensus.ledger.validity import Head
from consensus.protocols.registry import protocol_of
from consensus.records.block import Header
from consensus.records.genesis import Genesis
from consensus.storage.live import LiveChain, read_live

Tell = Callable[[int, int], None]
"""Is told the rounds that are read, and all that are to be."""


@dataclass
class Reading:
    """A run's folder that is read for a holder, and what could not be read of it."""

    run: Path
    config: Config
    data: Dataset
    holder: Holder
    rounds: Sequence[range] | None = None
    """The rounds that are observed, as spans; None for all."""
    unheard: list[int] = field(default_factory=list)
    """The rounds of which no update reached the holder."""
    untold: list[int] = field(default_factory=list)
    """The rounds of which it cannot be told which updates their blocks hold."""
    grouped: bool = False
    """True once a client has been shown by the mean of its group (`bfedrec.runs.views`)."""

    def observations(
        self, tell: Tell = lambda done, total: None
    ) -> Generator[Observation, None, None]:
        """The rounds in their order, each as the holder sees it.

        Raises `RunError`, StateError and StoreError, each one line, for files that are missing,
        damaged or not of one run.
        """
        if has_ledger(self.run) is False:
            yield from _Unledgered(self).observations(tell)
        else:
            with ExitStack() as stack:
                yield from _OnLedger(self, stack).observations(tell)

    @cached_property
    def honest(self) -> np.ndarray:
        """bool[M]: the clients that follow no attack at any time."""
        groups, streams = self.config.clients.malicious, Streams(self.config.seed)
        return Adversary(groups, self.data.users, streams, b"", self.config.servers.count).honest

    def wants(self, height: int) -> bool:
        """True if the round is to be observed."""
        return self.rounds is None or any(height in span for span in self.rounds)

    def last(self, height: int) -> int:
        """The last round that is read, of a run that has come to ``height``. Raises `RunError` for
        one that has no rounds, or none of those wanted."""
        spans = [range(1, height + 1)] if self.rounds is None else self.rounds
        ends = [min(height, span[-1]) for span in spans if span and span[0] <= height]
        if not height or not ends:
            raise RunError(f"{self.run}: has {height} rounds so far, and none of those asked for")
        return max(ends)

    def observation(self, task: _Public, updates: Sequence[Told] | None) -> Observation:
        """A round from client, sample count and payload of each update; None where none is held."""
        model, N = task.model, self.data.items
        if updates is None:
            streams = Streams(self.config.seed)
            clients = participants(streams, self.data.users, self.config.clients, task.height)
            clients = clients[self.honest[clients]]
            A = touched = masked = None
            samples = self.data.sample_counts[clients]
        else:
            view = view_of(model, task.height, task.beacon, updates, self.honest)
            clients, samples = view.clients, view.samples
            A, touched = view.A[:, :, :N], view.touched[:, :N]
            masked = None if view.masked is None else view.masked[:, :, :N]
            self.grouped |= view.masked is not None
        aggregate = model.exchange.decode_aggregate(task.aggregate, task.beacon)[:, :N]
        Q, B = task.Q[:N], model.basis(task.beacon)
        return Observation(task.height, clients, samples, A, touched, Q, B, aggregate, masked)


@dataclass(frozen=True)
class _Public:
    """The public things of a round."""

    height: int
    beacon: bytes
    model: GlobalModel
    Q: np.ndarray
    """float32: the global factors before the round, and other shared rows."""
    aggregate: bytes


class _OnLedger:
    """A run with a chain."""

    def __init__(self, reading: Reading, stack: ExitStack) -> None:
        """``stack``: closes what is opened."""
        self.reading = reading
        run, config, data = reading.run, reading.config, reading.data
        self.path = run / "chain.sqlite"
        if not self.path.exists():
            raise RunError(f"{run}: has no chain.sqlite, of which the rounds are read")
        self.end = read_live(self.path, LiveChain.last_height)
        encoded, initial = read_live(self.path, _beginning)
        self.genesis = Genesis.decode(encoded)
        self.client = {key: number for number, (key, _) in enumerate(self.genesis.clients)}
        if len(self.genesis.clients) != data.users:
            raise RunError(f"{self.path}: the chain is not of this config: it has other clients")
        self.replay: Replay | None = None
        self.state: RunState | None = None
        if reading.holder.servers:
            left: dict[int, bytes] = {}
            federation = Federation(config, data, partial(_recalled, left), plays=False)
            stack.callback(federation.close)
            if federation.genesis != self.genesis:
                raise RunError(f"{self.path}: its genesis is not that of this config")
            self.replay = Replay(federation, left)
            self.state = stack.enter_context(state_of(run, config))
            self.model = federation.learner.model
        else:
            self.model = build(self.genesis, initial)

    def observations(self, tell: Tell) -> Iterator[Observation]:
        reading, protocol = self.reading, protocol_of(self.genesis)
        last, head = reading.last(self.end), protocol.first_head(self.genesis)
        deaf = self._deaf()
        for height in range(1, last + 1):
            header, following, aggregate, kept = read_live(
                self.path, partial(self._height, head, protocol)
            )
            public = _Public(height, head.beacon, self.model, self.model.Q, aggregate)
            heard = height not in deaf
            updates = self._updates(head, header, kept, heard)
            if reading.wants(height):
                if not heard:
                    reading.unheard.append(height)
                elif updates is None and reading.holder.servers:
                    reading.untold.append(height)
                elif updates is None:
                    reading.unheard.append(height)
                held = None if updates is None or not heard else self._told(updates)
                yield reading.observation(public, held)
            self.model.commit(height, head.beacon, aggregate)
            self._advance(height)
            head = following
            tell(height, last)

    def _height(
        self, head: Head, protocol: object, chain: LiveChain
    ) -> tuple[Header, Head, bytes, list[SignedUpdate] | None]:
        """Header, next head, aggregate and kept updates of the block after ``head``."""
        height = head.height + 1
        try:
            block = skim(height, chain.block(height))
            following, followed = after(self.genesis, protocol, head, block)  # type: ignore[arg-type]
        except MalformedRecord as error:
            raise RunError(f"{self.path}: {error}") from None
        aggregate = chain.get(followed.model)
        kept = kept_updates(chain, head, block.header) if self.reading.wants(height) else None
        return block.header, following, aggregate, kept

    def _updates(
        self, head: Head, header: Header, kept: list[SignedUpdate] | None, heard: bool
    ) -> list[SignedUpdate] | None:
        """The updates of a block; None where the holder has none or they cannot be told."""
        replay = self.replay
        if replay is None or (kept is not None and not replay.needs_every_round):
            return kept
        if not replay.needs_every_round and not (heard and self.reading.wants(head.height + 1)):
            return None
        found = replay.updates(head, header)
        return found if kept is None else kept

    def _told(self, updates: Sequence[SignedUpdate]) -> list[Told]:
        return [
            (self.client[each.record.client], each.record.samples, each.payload)
            for each in updates
            if each.record.client in self.client
        ]

    def _advance(self, height: int) -> None:
        """Bring the private factors forward by the state's row of a height."""
        if self.replay is None or self.state is None:
            return
        row, P = self.state.row(height), self.replay.federation.learner.P
        try:
            if row.clients.size and row.clients.min() < 0:
                raise IndexError
            P[row.clients] = row.factors
        except (IndexError, ValueError):
            raise StateError(
                f"{self.reading.run}: state.sqlite: height {height} does not fit P {P.shape}"
            ) from None

    def _deaf(self) -> frozenset[int]:
        """The heights whose updates did not reach the holder, by what faults did to its servers."""
        reading = self.reading
        if not reading.config.faults or not reading.holder.servers:
            return frozenset()
        try:
            lines = list(read_timelines(reading.run))
        except ValueError as error:
            raise RunError(f"{reading.run / 'timeline.jsonl'}: {error}") from None
        return frozenset(each.height for each in lines if not reading.holder.hears(each))


class _Unledgered:
    """Learning without a ledger: played again from its seed, and checked by the private factors
    that every round left. Its one aggregator hears everything; nothing is published but the
    model."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.left: dict[int, bytes] = {}
        recall = partial(_recalled, self.left)
        self.learner: Learner = learner_alone(reading.config, reading.data, recall)

    def observations(self, tell: Tell) -> Iterator[Observation]:
        reading, learner = self.reading, self.learner
        beacon = seeded(reading.config.seed)
        with state_of(reading.run, reading.config) as state:
            last = reading.last(state.last_height)
            for height in range(1, last + 1):
                heard: list[tuple[Upload, bytes]] = []
                Q = learner.Q
                played = learner.play(height, beacon(height), partial(_heard, heard))
                self.left.update(played.residuals)
                row = state.row(height)
                if not (
                    np.array_equal(row.clients, played.clients)
                    and row.factors.tobytes() == played.factors.tobytes()
                ):
                    raise RunError(
                        f"{reading.run}: round {height} cannot be played again: state.sqlite is of "
                        "another run, or it was made on another kind of processor"
                    )
                if reading.wants(height):
                    yield self._observation(height, beacon(height), Q, heard)
                tell(height, last)

    def _observation(
        self,
        height: int,
        beacon: bytes,
        Q: np.ndarray,
        heard: Sequence[tuple[Upload, bytes]],
    ) -> Observation:
        learner, reading = self.learner, self.reading
        fit = [each for each in heard if learner.accepted([each[0]], [each[1]])[0]]
        payloads, samples = learner.accepted(*zip(*heard, strict=True)) if heard else ([], [])
        model = learner.model
        # Its basis is that of the round still: the model keeps it with its beacon.
        exchange, nothing = model.exchange_at(height), bytes(model.exchange.down.byte_size)
        aggregate = exchange.aggregate(payloads, samples, beacon) if payloads else nothing
        public = _Public(height, beacon, model, Q, aggregate)
        held = [(upload.client, upload.samples, payload) for upload, payload in fit]
        # Under secure aggregation the one aggregator has sums, of groups that no chain deals.
        shown = bool(reading.holder.servers) and model.secure is None
        if not shown:
            reading.unheard.append(height)
        return reading.observation(public, held if shown else None)


def _beginning(chain: LiveChain) -> tuple[bytes, bytes]:
    """The genesis and the initial model's bytes."""
    encoded = chain.block(0)
    try:
        return encoded, chain.get(Genesis.decode(encoded).model)
    except MalformedRecord as error:
        raise RunError(f"the chain's genesis cannot be read: {error}") from None


def _heard(
    heard: list[tuple[Upload, bytes]], uploads: Sequence[Upload], payloads: Sequence[bytes]
) -> None:
    heard.extend(zip(uploads, payloads, strict=True))


def _recalled(left: dict[int, bytes], height: int, clients: Sequence[int]) -> dict[int, bytes]:
    """The residuals of these clients that are ``left`` from earlier rounds."""
    return {client: left[client] for client in clients if client in left}
