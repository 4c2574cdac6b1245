"""Audit: re-verify a chain from its bytes alone, trusting nothing that the writer computed.

Height by height: the block's encoding, its link to the one before, the aggregator's proof and
signature, every committee ticket, every vote and the threshold
(`consensus.ledger.protocol.Protocol.check_block`); then what the block points to: that the
aggregate's bytes hash to its address and, where the updates' bytes were kept, that each update is
genuine and that the aggregate is exactly theirs. Last, that every block of content in the store,
needed or not, hashes to its CID.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from consensus.application import Application
from consensus.encoding.cid import cid_text
from consensus.encoding.fields import MalformedRecord
from consensus.ledger.protocol import Protocol
from consensus.ledger.updates import SignedUpdate, check_update, updates_root
from consensus.ledger.validity import Head, InvalidBlock
from consensus.protocols.registry import protocol_of
from consensus.records.block import Block, Header
from consensus.records.genesis import Genesis
from consensus.records.update import UpdateRecord
from consensus.storage.content import NotFound, StoreError
from consensus.storage.sqlite import SqliteStore


class AuditFailure(Exception):
    """Error: the first thing that an audit found wrong, with the height at which it shows.

    ``height`` is None for content that no single height points to.
    """

    def __init__(self, height: int | None, reason: str) -> None:
        where = "content" if height is None else f"height {height}"
        super().__init__(f"{where}: {reason}")
        self.height = height
        self.reason = reason


@dataclass
class AuditReport:
    """Counts of the things that an audit verified."""

    blocks: int = 0
    proofs: int = 0
    """Verified VRF proofs: those of the draws that blocks carry."""
    signatures: int = 0
    """Verified signatures: of aggregators, of votes, and of updates whose bytes were kept."""
    aggregates: int = 0
    """Number of blocks whose aggregate was recomputed from its updates."""
    contents: int = 0
    """Number of content blocks whose hash is their CID."""
    head: str = ""
    """The CID of the last block, as text."""
    modelled: bool = False
    """True if signatures and proofs are keyed hashes, which anybody can make
    (`consensus.crypto.suites`); their validity then shows nothing."""


ApplicationFactory = Callable[[Genesis, bytes], Application]
"""Builds the application that a genesis describes, from the initial model's bytes; raises
ValueError where they do not fit."""


def audit(
    store: SqliteStore,
    build: ApplicationFactory,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> AuditReport:
    """Verify everything in ``store``; return counts of what was verified.

    ``progress(done, total)`` is called after every height. Raises `AuditFailure` for the first
    thing that is wrong, and `StoreError` for a file that cannot be read at all.
    """
    report = AuditReport()
    heights = store.heights()
    if not heights:
        raise AuditFailure(0, "there is no genesis: the store holds no chain")
    for expected, height in enumerate(heights):
        if height != expected:
            raise AuditFailure(expected, "the block is missing")
    genesis, protocol, application = _audit_genesis(store, build)
    report.modelled = genesis.parameters.crypto == "modelled"
    head = protocol.first_head(genesis)
    for height in heights[1:]:
        head = _audit_height(store, genesis, protocol, application, head, report)
        progress(height, heights[-1])
    _audit_head(store, head)
    _audit_contents(store, heights[-1], report)
    report.head = cid_text(head.cid)
    return report


def _audit_genesis(
    store: SqliteStore, build: ApplicationFactory
) -> tuple[Genesis, Protocol, Application]:
    try:
        genesis = Genesis.decode(store.block(0))
        protocol = protocol_of(genesis)
        protocol.check_genesis(genesis)
        return genesis, protocol, build(genesis, store.get(genesis.model))
    except (MalformedRecord, StoreError, ValueError) as error:
        raise AuditFailure(0, str(error)) from error


def _audit_height(
    store: SqliteStore,
    genesis: Genesis,
    protocol: Protocol,
    application: Application,
    head: Head,
    report: AuditReport,
) -> Head:
    """Verify the block after ``head``; return the head after it."""
    height = head.height + 1
    try:
        block = Block.decode(store.block(height))
        after = protocol.check_block(genesis, head, block)
    except (MalformedRecord, InvalidBlock, StoreError) as error:
        raise AuditFailure(height, str(error)) from error
    report.blocks += 1
    report.proofs += len(block.tickets)
    report.signatures += 1 + len(block.certificate.signatures)
    header = block.header
    aggregate = _content(store, height, "aggregate", header.aggregate_cid)
    try:
        records = store.updates(height)
    except StoreError as error:
        raise AuditFailure(height, f"its updates cannot be read: {error}") from error
    if records:
        _audit_updates(store, genesis, application, head, header, records, aggregate)
        report.signatures += len(records)
        report.aggregates += 1
    try:
        snapshot = application.snapshot(height, head.beacon, aggregate)
        application.commit(height, head.beacon, aggregate)
    except ValueError as error:
        raise AuditFailure(height, f"the aggregate does not fit: {error}") from error
    if (snapshot is None) != (header.snapshot is None):
        raise AuditFailure(height, "it has a snapshot where none belongs, or lacks one")
    if header.snapshot is not None and snapshot != _content(
        store, height, "snapshot", header.snapshot
    ):
        raise AuditFailure(height, "the snapshot is not the state that the aggregates lead to")
    return after


def _content(store: SqliteStore, height: int, what: str, link: bytes) -> bytes:
    try:
        return store.get(link)
    except NotFound as error:
        raise AuditFailure(height, f"the {what} is missing: {error}") from error
    except StoreError as error:
        raise AuditFailure(height, f"the {what} is not what its address says: {error}") from error


def _audit_updates(
    store: SqliteStore,
    genesis: Genesis,
    application: Application,
    head: Head,
    header: Header,
    encoded: list[bytes],
    aggregate: bytes,
) -> None:
    """Verify the retained updates of a block, and that its aggregate is theirs."""
    height = header.height
    updates = []
    for position, data in enumerate(encoded):
        try:
            record = UpdateRecord.decode(data)
        except MalformedRecord as error:
            raise AuditFailure(height, f"update {position}: {error}") from error
        update = SignedUpdate(record, _content(store, height, "payload", record.payload))
        reason = check_update(genesis, head, update, application.check_payload)
        if reason is not None:
            raise AuditFailure(height, f"update {position} is not fit: {reason}")
        updates.append(update)
    if len({update.record.client for update in updates}) != len(updates):
        raise AuditFailure(height, "a client's updates count twice")
    if updates_root([update.record.digest for update in updates]) != header.updates:
        raise AuditFailure(height, "the updates are not those whose root the header holds")
    samples = [update.record.samples for update in updates]
    if (len(updates), sum(samples)) != (header.count, header.samples):
        raise AuditFailure(height, "the header miscounts its updates or their samples")
    payloads = [update.payload for update in updates]
    if application.aggregate(payloads, samples, head.beacon) != aggregate:
        raise AuditFailure(height, f"the aggregate is not that of its {len(updates)} updates")


def _audit_head(store: SqliteStore, head: Head) -> None:
    """Verify that the last block is the head that the store names: a cut chain is noticed."""
    try:
        named = store.meta("head")
    except StoreError as error:
        raise AuditFailure(head.height, f"the store does not name its head: {error}") from error
    if named != head.cid:
        raise AuditFailure(head.height, "the last block is not the head that the store names")


def _audit_contents(store: SqliteStore, last: int, report: AuditReport) -> None:
    for height in store.update_heights():
        if not 1 <= height <= last:
            raise AuditFailure(height, "updates are kept for a block that does not exist")
    try:
        for cid in store.cids():
            store.block_bytes(cid)
            report.contents += 1
    except StoreError as error:
        raise AuditFailure(None, str(error)) from error
