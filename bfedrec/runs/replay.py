"""The updates of a run's rounds: as the chain keeps them, or made again from config and seed.

Most runs keep no updates, or those of a window. Every draw of a round depends on its height alone,
RUN/state.sqlite has the private factors before it and the chain the beacon and Q, so a round can be
trained again by the very code of the run (`bfedrec.federation.federation.Federation.retrained`),
signatures included, which are deterministic. A block names the Merkle root of its updates' digests,
and a digest covers client, sample count and the payload's address: updates that are made again and
have this root are those that were sent, to the bit. Nothing else is handed on.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from math import comb
from pathlib import Path

from bfedrec.config.load import config_digest
from bfedrec.config.schema import Config
from bfedrec.federation.federation import Federation
from bfedrec.runs.folder import RunError
from bfedrec.runs.holding import held
from bfedrec.runs.state import RunState, StateError
from consensus.encoding.fields import MalformedRecord
from consensus.ledger.updates import SignedUpdate, check_update, updates_root
from consensus.ledger.validity import Head
from consensus.records.block import Header
from consensus.records.genesis import Genesis
from consensus.records.update import UpdateRecord
from consensus.storage.live import LiveChain

MOST_SUBSETS = 2_000
"""Most subsets of a round's updates of which it is tried whether the block holds them."""


@contextmanager
def state_of(run: Path, config: Config) -> Iterator[RunState]:
    """The private state of a run with this config at rest, or a copy of one moment of it while the
    run goes on. Raises `StateError`, also for another run's."""
    path, digest = run / "state.sqlite", config_digest(config)
    if not path.exists():
        raise StateError(f"{path}: no such file, and it holds the clients' own factors")
    if not held(run):
        with RunState(path, read_only=True, digest=digest) as state:
            yield state
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        try:
            source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            target = sqlite3.connect(copy)
            try:
                source.backup(target)
            finally:
                target.close()
                source.close()
        except sqlite3.Error as error:
            raise StateError(f"{path}: {error}") from None
        with RunState(copy, read_only=True, digest=digest) as state:
            yield state


def kept_updates(chain: LiveChain, head: Head, header: Header) -> list[SignedUpdate] | None:
    """The updates of a block that its chain keeps, in their order; None if it keeps none. Raises
    `RunError` where they are not those that the block names, and StoreError."""
    height = head.height + 1
    encoded = chain.updates(height)
    if not encoded:
        return None
    try:
        records = [UpdateRecord.decode(data) for data in encoded]
    except MalformedRecord as error:
        raise RunError(f"height {height}: a kept update: {error}") from None
    if updates_root([record.digest for record in records]) != header.updates:
        raise RunError(f"height {height}: the kept updates are not those that the block names")
    return [SignedUpdate(record, chain.get(record.payload)) for record in records]


class Replay:
    """The rounds of a run on a ledger, trained again one by one, from the first on.

    `Federation.learner` must be brought forward by the caller after each height: its P by the
    state's row, its model by the block's aggregate.
    """

    def __init__(self, federation: Federation, left: dict[int, bytes]) -> None:
        """``left``: the residuals that the federation's learner recalls, by client, which this
        keeps up to date under error feedback."""
        self.federation = federation
        self._left = left

    @property
    def needs_every_round(self) -> bool:
        """True if a round cannot be trained again without those before it."""
        learner = self.federation.learner
        return learner.adversary.keeps_messages or learner.config.compression.error_feedback

    def updates(self, head: Head, header: Header) -> list[SignedUpdate] | None:
        """The updates of the block after ``head``, in its order.

        None where it cannot be told which of the updates that were made it holds: many came late,
        or malicious servers chose them, or messages under masks answer to others that came late.
        Raises `RunError` where what is made again is not what was
        sent: the run's files are not of one run, or another kind of processor trained it.
        """
        if self.federation.masking is not None:
            return included(self.federation, head, header, self.federation.remasked(head))
        sent, residuals = self.federation.retrained(head)
        self.federation.learner.adversary.remember(sent)
        self._left.update(residuals)
        made = list({message.record.digest: message for _, message in sent}.values())
        found = included(self.federation, head, header, made)
        if found is None and len(made) == header.count and not self._servers_may_choose:
            raise RunError(
                f"height {header.height}: the updates that its config and seed lead to are not "
                "those of its block: the folder's files are not of one run, or it was made on "
                "another kind of processor; a run with ledger.retain_updates=all needs no replay"
            )
        return found

    @property
    def _servers_may_choose(self) -> bool:
        return bool(self.federation.config.servers.malicious)


def included(
    federation: Federation, head: Head, header: Header, made: Sequence[SignedUpdate]
) -> list[SignedUpdate] | None:
    """The part of the updates ``made`` that a block holds, in its order, which is that of digests;
    None if no part has the block's root, or too many would have to be tried."""
    genesis: Genesis = federation.genesis
    ordered = sorted(made, key=lambda update: update.record.digest)
    if _is_root_of(ordered, header):
        return ordered
    check = federation.learner.model.check_payload
    fit = [each for each in ordered if check_update(genesis, head, each, check) is None]
    clients = Counter(each.record.client for each in fit)
    fit = [each for each in fit if clients[each.record.client] == 1]
    missing = len(fit) - header.count
    if missing < 0 or comb(len(fit), missing) > MOST_SUBSETS:
        return None
    for absent in combinations(range(len(fit)), missing):
        some = [each for place, each in enumerate(fit) if place not in absent]
        if _is_root_of(some, header):
            return some
    return None


def _is_root_of(updates: Sequence[SignedUpdate], header: Header) -> bool:
    if len(updates) != header.count:
        return False
    return updates_root([update.record.digest for update in updates]) == header.updates
