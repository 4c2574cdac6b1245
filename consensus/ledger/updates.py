"""The pool of checked updates that one server holds for the height it is at.

An update enters only if it builds on this very block, is by a registered client, has a sample count
no larger than registered, an intact and finite payload and a valid signature. An update that is
turned away is counted by reason and changes nothing else.

One update per client and slot counts (`consensus.application.Application.slot`; most applications
have one slot). Two different ones of one client, both signed, are evidence against it: this server
no longer aggregates either, but keeps both and passes both on. Otherwise a client
that sends different updates to different servers would leave them with different pools, in none of
which all updates of a candidate are found, and could stop the chain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from consensus.encoding.dag_cbor import merkle_root
from consensus.encoding.fields import computed_once
from consensus.encoding.unixfs import file_cid
from consensus.ledger.validity import Head
from consensus.records.genesis import Genesis
from consensus.records.update import UpdateRecord

PayloadCheck = Callable[[bytes], str | None]
"""`consensus.application.Application.check_payload`."""
SlotOf = Callable[[int, bytes], int | None]
"""`consensus.application.Application.slot`."""


MOST_SLOTS: Final = 256
"""The number of slots that an update's name can tell apart (`slot_name`)."""


def only_slot(client: int, payload: bytes) -> int | None:
    """The slot of an application whose clients send one message at a height."""
    return 0


@dataclass(frozen=True)
class SignedUpdate:
    """An update as it travels: its signed record and its payload."""

    record: UpdateRecord
    payload: bytes

    @classmethod
    def by_signer(cls, record: UpdateRecord, payload: bytes) -> SignedUpdate:
        """The message of whoever has just signed the address of this very payload, which is not
        hashed again."""
        update = cls(record, payload)
        update.__dict__["payload_cid"] = record.payload
        return update

    @computed_once
    def wire_bytes(self) -> int:
        """Bytes of the encoded message."""
        return len(self.record.encoded) + len(self.payload)

    @computed_once
    def payload_cid(self) -> bytes:
        """The address of the payload that came, which need not be the one that was signed."""
        return file_cid(self.payload)


def check_update(
    genesis: Genesis,
    head: Head,
    update: SignedUpdate,
    check_payload: PayloadCheck,
    slot: SlotOf = only_slot,
) -> str | None:
    """The reason to turn ``update`` away on top of ``head``, or None if it is fit."""
    record = update.record
    if record.chain_id != genesis.chain_id:
        return "other chain"
    if record.height != head.height + 1:
        return "stale" if record.height <= head.height else "early"
    if record.parent != head.cid:
        return "other parent"
    registered = genesis.registered.get(record.client)
    if registered is None:
        return "unknown client"
    if not 0 < record.samples <= registered:
        return "sample count"
    if update.payload_cid != record.payload:
        return "payload digest"
    reason = check_payload(update.payload)
    if reason is not None:
        return reason
    if slot(genesis.client_numbers[record.client], update.payload) is None:
        return "other client"
    if not genesis.suite.verify(record.client, record.signed, record.signature):
        return "signature"
    return None


def slot_name(genesis: Genesis, update: SignedUpdate, slot: SlotOf) -> bytes:
    """The name of the client and the slot of an update that `check_update` found fit; of the
    first slot the client's key itself."""
    client = update.record.client
    found = slot(genesis.client_numbers[client], update.payload)
    return client + bytes((found,)) if found else client


def _client(update: SignedUpdate) -> bytes:
    return update.record.client


class Arrivals(Protocol):
    """Updates that came to one server and that its pool has not looked at yet: all fit, and each
    the first of its slot (`consensus.server.unheard.Inbox`)."""

    def waiting(self) -> int:
        """The number of updates that are here."""
        ...

    def updates(self) -> tuple[Sequence[bytes], Sequence[tuple[SignedUpdate, int]]]:
        """Take them out: the names of their slots, and each with the server that began to gossip
        it."""
        ...

    def note(self, name: bytes) -> None:
        """Note that the pool has an update of the slot ``name``, and is to look at the next."""
        ...

    def clear(self) -> None:
        """Forget what is here, and the slots."""
        ...


class UpdatePool:
    """The fit updates of one height, at one server."""

    def __init__(
        self,
        check: Callable[[Head, SignedUpdate], str | None],
        name: Callable[[SignedUpdate], bytes] = _client,
    ) -> None:
        """``check(head, update)`` gives the reason to turn an update away, or None; ``name`` the
        name of a fit update's slot (`slot_name`), by default its client's key."""
        self._check, self._name = check, name
        self._by_slot: dict[bytes, SignedUpdate] = {}
        self._by_digest: dict[bytes, SignedUpdate] = {}
        self._twice: set[bytes] = set()
        """Clients of whom there are two different updates."""
        self._wanted: dict[bytes, set[bytes]] = {}
        """By digest: the blocks that list an update which was not here."""
        self._filled: set[tuple[bytes, bytes]] = set()
        """Blocks, each with a slot of which an update is kept as the block lists it."""
        self.rejected: Counter[str] = Counter()
        """The number of updates turned away, by reason (kept over all heights)."""
        self._arrivals: Arrivals | None = None
        self._took: Callable[[Sequence[tuple[SignedUpdate, int]]], object] = _ignore

    def __len__(self) -> int:
        """The number of updates to be aggregated."""
        count = len(self._by_slot) - len(self._twice)
        return count if self._arrivals is None else count + self._arrivals.waiting()

    def fill_from(
        self, arrivals: Arrivals, took: Callable[[Sequence[tuple[SignedUpdate, int]]], object]
    ) -> None:
        """Keep what comes to ``arrivals``, too. It is taken from there when the pool is looked at,
        and then told to ``took``, each with its origin."""
        self._arrivals, self._took = arrivals, took

    def take_in(self) -> None:
        """Take what has arrived."""
        if self._arrivals is None or not self._arrivals.waiting():
            return
        names, came = self._arrivals.updates()
        updates = [update for update, _ in came]
        self._by_slot.update(zip(names, updates, strict=True))
        self._by_digest.update((update.record.digest, update) for update in updates)
        self._took(came)

    def add(self, update: SignedUpdate, head: Head) -> bool:
        """Keep ``update`` if it is fit and its slot's first, or its second and so evidence, or
        one that is wanted. Returns True if it was kept (and is worth passing on)."""
        self.take_in()
        record = update.record
        if record.digest in self._by_digest:
            return False  # the same update by another path: nothing to count
        reason = self._check(head, update)
        if reason is not None:
            self.rejected[reason] += 1
            return False
        name = self._name(update)
        if name in self._by_slot:
            self.rejected["second update"] += 1
            if name in self._twice and not self._fills(record.digest, name):
                return False
            self._twice.add(name)
        else:
            self._by_slot[name] = update
            if self._arrivals is not None:
                self._arrivals.note(name)
        self._by_digest[record.digest] = update
        return True

    def want(self, digests: Iterable[bytes], block: bytes = b"") -> None:
        """Keep these updates when they come, of any client: a candidate for ``block`` lists them.

        Of a client that sent many different ones, every server keeps the first two that reach it.
        Without this, one server could list a third that another refuses for good. A right list has
        one of each slot, so no more are kept for it: else a leader and a client together could have
        everybody keep as many as they like.
        """
        for digest in digests:
            self._wanted.setdefault(digest, set()).add(block)

    def _fills(self, digest: bytes, name: bytes) -> bool:
        """True if an update of the slot ``name`` is the first to be kept for a block that lists it;
        it is noted as such."""
        for block in sorted(self._wanted.get(digest, ())):
            if (block, name) not in self._filled:
                self._filled.add((block, name))
                return True
        return False

    def ordered(self) -> list[SignedUpdate]:
        """The updates to be aggregated, by ascending digest: the order of aggregation."""
        self.take_in()
        found = [self._by_digest[key] for key in sorted(self._by_digest)]
        if not self._twice:
            return found
        return [update for update in found if self._name(update) not in self._twice]

    def has(self, update: SignedUpdate) -> bool:
        """True if this update is one of those to be aggregated (`ordered`)."""
        self.take_in()
        if update.record.digest not in self._by_digest:
            return False
        return not self._twice or self._name(update) not in self._twice

    def pick(self, digests: Sequence[bytes]) -> list[SignedUpdate] | None:
        """The updates with these digests, in the given order, or None while one is missing."""
        self.take_in()
        try:
            return [self._by_digest[key] for key in digests]
        except KeyError:
            return None

    def digests(self) -> tuple[bytes, ...]:
        """The digests of all updates that are kept, those of clients that sent two included."""
        self.take_in()
        return tuple(sorted(self._by_digest))

    def clear(self) -> None:
        """Forget the updates: the height is decided."""
        if self._arrivals is not None:
            self._arrivals.clear()
        self._by_slot.clear()
        self._by_digest.clear()
        self._twice.clear()
        self._wanted.clear()
        self._filled.clear()


def _ignore(taken: Sequence[tuple[SignedUpdate, int]]) -> None: ...


def updates_root(digests: Sequence[bytes]) -> bytes:
    """The value of `Header.updates`: the Merkle root over the updates' digests, in their order."""
    return merkle_root(digests)
