"""Audit: re-verify a chain from its bytes alone, trusting nothing that the writer computed.

Height by height: the block's encoding, its link to the one before, the aggregator's proof and
signature, every committee ticket, every vote and the threshold
(`consensus.ledger.protocol.Protocol.check_block`); then what the block points to: that the
aggregate's bytes hash to its address and, where the updates' bytes were kept, that each update is
genuine and that the aggregate is exactly theirs. Last, that every block of content in the store,
needed or not, hashes to its CID.

Before all that comes what is quick to see: updates that the genesis promises to keep and that are
not there, and a last block that is not the one that somebody claims (`Claims`).

An audit can show little about time. Timestamps rise from block to block, and none is beyond the
microseconds that a simulated clock can tell apart. How long a height takes has no bound in a chain:
clients may train for days, and faults may last as long. Whoever knows how long the run was claims
it (`Claims.latest_us`), and as timestamps rise, the last one stands for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from consensus.application import Application
from consensus.encoding.cid import cid_text
from consensus.encoding.fields import MalformedRecord
from consensus.ledger.protocol import Protocol
from consensus.ledger.updates import SignedUpdate, check_update, slot_name, updates_root
from consensus.ledger.use import uses_of
from consensus.ledger.validity import Head, InvalidBlock
from consensus.protocols.registry import protocol_of
from consensus.records.block import Block
from consensus.records.genesis import Genesis, Run
from consensus.records.update import UpdateRecord
from consensus.storage.chain_reader import ChainReader
from consensus.storage.content import Busy, NotFound, StoreError

LATEST_US = 2**53
"""The last microsecond that a clock of float64 seconds can tell from the next: 285 years."""


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
    """Verified signatures: of aggregators, of votes, of settlements, and of updates whose bytes
    were kept."""
    aggregates: int = 0
    """Number of blocks whose aggregate was recomputed from its updates."""
    contents: int = 0
    """Number of content blocks whose hash is their CID."""
    head: str = ""
    """The CID of the last block, as text."""
    run: Run | None = None
    """The run that the genesis names."""
    modelled: bool = False
    """True if signatures and proofs are keyed hashes, which anybody can make
    (`consensus.crypto.suites`); their validity then shows nothing."""


@dataclass(frozen=True)
class Claims:
    """Claims about a chain's last block, from outside of the chain."""

    heads: Mapping[str, bytes] = field(default_factory=dict)
    """The link to it, by who names it."""
    latest_us: int | None = None
    """The latest timestamp, in microseconds, that it can have; None: not known."""


ClaimsOf = Callable[[Genesis, int], Claims]
"""Gives the claims about the chain of a genesis and its number of blocks; raises ValueError for a
genesis that is not the one expected."""
ApplicationFactory = Callable[[Genesis, bytes], Application]
"""Builds the application that a genesis describes, from the initial model's bytes; raises
ValueError where they do not fit."""


@dataclass
class ChainAudit:
    """An audit of a chain in steps, each of which may be given another reader of the same chain.

    So a chain can be verified, up to the head that it had when the audit began, while its run goes
    on. `audit` takes all steps on one store.
    """

    genesis: Genesis
    protocol: Protocol
    application: Application
    """The state after the last verified height."""
    head: Head
    """The head after the last verified height."""
    last: int
    """The height of the block that is verified last."""
    report: AuditReport
    kept: list[int]
    """The heights whose updates were there when the audit began."""
    named: bytes | StoreError
    """The head that the store named then, or why it named none."""

    @classmethod
    def begin(
        cls, store: ChainReader, build: ApplicationFactory, claims_of: ClaimsOf
    ) -> ChainAudit:
        """Check what is quick to see. Raises `AuditFailure` and `StoreError`."""
        heights = store.heights()
        if not heights:
            raise AuditFailure(0, "there is no genesis: the store holds no chain")
        for expected, height in enumerate(heights):
            if height != expected:
                raise AuditFailure(expected, "the block is missing")
        last, kept = heights[-1], store.update_heights()
        genesis, protocol, claims = _audit_genesis(store, claims_of, last)
        _audit_retention(kept, genesis.run, last)
        _audit_claims(store, last, genesis, claims)
        try:
            named: bytes | StoreError = store.meta("head")
        except Busy:
            raise
        except StoreError as error:
            named = error
        report = AuditReport(run=genesis.run, modelled=genesis.parameters.crypto == "modelled")
        head, application = protocol.first_head(genesis), _application(store, genesis, build)
        return cls(genesis, protocol, application, head, last, report, kept, named)

    def next(self, store: ChainReader) -> None:
        """Verify the next height. Raises `AuditFailure`, and then nothing has changed."""
        found = AuditReport()
        self.head = _audit_height(
            store, self.genesis, self.protocol, self.application, self.head, found
        )
        self.report.blocks += found.blocks
        self.report.proofs += found.proofs
        self.report.signatures += found.signatures
        self.report.aggregates += found.aggregates

    def end(self) -> None:
        """Check that the last block is the head that the store named, and that no updates were kept
        for a block that does not exist. Raises `AuditFailure`."""
        if isinstance(self.named, StoreError):
            told = f"the store does not name its head: {self.named}"
            raise AuditFailure(self.head.height, told) from self.named
        if self.named != self.head.cid:
            told = "the last block is not the head that the store names"
            raise AuditFailure(self.head.height, told)
        for height in self.kept:
            if not 1 <= height <= self.last:
                raise AuditFailure(height, "updates are kept for a block that does not exist")
        self.report.head = cid_text(self.head.cid)

    def contents(self, store: ChainReader, cids: Iterable[bytes]) -> None:
        """Check that these blocks of content hash to their CIDs. Raises `AuditFailure`."""
        checked = 0
        try:
            for cid in cids:
                store.block_bytes(cid)
                checked += 1
        except StoreError as error:
            raise AuditFailure(None, str(error)) from error
        self.report.contents += checked


def audit(
    store: ChainReader,
    build: ApplicationFactory,
    progress: Callable[[int, int], None] = lambda done, total: None,
    claims_of: ClaimsOf = lambda genesis, blocks: Claims(),
) -> AuditReport:
    """Verify everything in ``store`` and what is claimed of it; return counts of what was verified.

    ``progress(done, total)`` is called after every height. Raises `AuditFailure` for the first
    thing that is wrong, and `StoreError` for a file that cannot be read at all.
    """
    steps = ChainAudit.begin(store, build, claims_of)
    for height in range(1, steps.last + 1):
        steps.next(store)
        progress(height, steps.last)
    steps.end()
    try:
        cids = store.cids()
    except StoreError as error:
        raise AuditFailure(None, str(error)) from error
    steps.contents(store, cids)
    return steps.report


def _audit_genesis(
    store: ChainReader, claims_of: ClaimsOf, last: int
) -> tuple[Genesis, Protocol, Claims]:
    try:
        genesis = Genesis.decode(store.block(0))
        protocol = protocol_of(genesis)
        protocol.check_genesis(genesis)
        return genesis, protocol, claims_of(genesis, last)
    except (MalformedRecord, StoreError, ValueError) as error:
        raise AuditFailure(0, str(error)) from error


def _application(store: ChainReader, genesis: Genesis, build: ApplicationFactory) -> Application:
    try:
        return build(genesis, store.get(genesis.model))
    except (StoreError, ValueError) as error:
        raise AuditFailure(0, str(error)) from error


def _audit_retention(heights: Iterable[int], run: Run | None, last: int) -> None:
    """Check that updates are there of every height of which the run keeps them; whether they are
    all of a height's is seen when its aggregate is recomputed."""
    kept = set(heights)
    for height in range(1, last + 1):
        if run is not None and run.keeps(height, last) and height not in kept:
            raise AuditFailure(
                height, f"its updates are missing: by the genesis, the run keeps {run.policy}"
            )


def _audit_claims(store: ChainReader, last: int, genesis: Genesis, claims: Claims) -> None:
    """Check what is claimed of the last block, before anything of it is verified."""
    link, timestamp = genesis.cid, genesis.timestamp
    if last:
        try:
            header = Block.decode(store.block(last)).header
        except Busy:
            raise
        except (MalformedRecord, StoreError):
            return  # it is refused when its turn comes
        link, timestamp = header.cid, header.timestamp
    for name, claimed in claims.heads.items():
        if link != claimed:
            told = f"the head is {cid_text(link)} and not {cid_text(claimed)}, as {name} says"
            raise AuditFailure(last, told)
    latest = LATEST_US if claims.latest_us is None else min(LATEST_US, claims.latest_us)
    if timestamp > latest:
        raise AuditFailure(
            last,
            f"its timestamp, {timestamp} us, is beyond what the run can have reached, {latest}",
        )


def _audit_height(
    store: ChainReader,
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
    settled = 0 if block.settlement is None else block.settlement.signature_count
    report.signatures += 1 + len(block.certificate.signatures) + settled
    header = block.header
    aggregate = _content(store, height, "aggregate", header.aggregate_cid)
    try:
        records = store.updates(height)
    except StoreError as error:
        raise AuditFailure(height, f"its updates cannot be read: {error}") from error
    if records:
        _audit_updates(store, genesis, application, head, block, records, aggregate)
        report.signatures += len(records)
        report.aggregates += 1
    try:
        snapshot = application.snapshot(height, head.beacon, aggregate)
    except ValueError as error:
        raise AuditFailure(height, f"the aggregate does not fit: {error}") from error
    if (snapshot is None) != (header.snapshot is None):
        raise AuditFailure(height, "it has a snapshot where none belongs, or lacks one")
    if header.snapshot is not None and snapshot != _content(
        store, height, "snapshot", header.snapshot
    ):
        raise AuditFailure(height, "the snapshot is not the state that the aggregates lead to")
    try:
        application.commit(
            height, head.beacon, aggregate
        )  # last: a step that fails changes nothing
    except ValueError as error:
        raise AuditFailure(height, f"the aggregate does not fit: {error}") from error
    return after


def _content(store: ChainReader, height: int, what: str, link: bytes) -> bytes:
    try:
        return store.get(link)
    except NotFound as error:
        raise AuditFailure(height, f"the {what} is missing: {error}") from error
    except StoreError as error:
        raise AuditFailure(height, f"the {what} is not what its address says: {error}") from error


def _audit_updates(
    store: ChainReader,
    genesis: Genesis,
    application: Application,
    head: Head,
    block: Block,
    encoded: list[bytes],
    aggregate: bytes,
) -> None:
    """Verify the retained updates of a block, and that its aggregate is theirs, and the use that it
    states of them."""
    height, header, updates = block.height, block.header, []
    for position, data in enumerate(encoded):
        try:
            record = UpdateRecord.decode(data)
        except MalformedRecord as error:
            raise AuditFailure(height, f"update {position}: {error}") from error
        update = SignedUpdate(record, _content(store, height, "payload", record.payload))
        reason = check_update(genesis, head, update, application.check_payload, application.slot)
        if reason is not None:
            raise AuditFailure(height, f"update {position} is not fit: {reason}")
        updates.append(update)
    if len({slot_name(genesis, each, application.slot) for each in updates}) != len(updates):
        raise AuditFailure(height, "a client's updates count twice")
    if updates_root([update.record.digest for update in updates]) != header.updates:
        raise AuditFailure(height, "the updates are not those whose root the header holds")
    samples = [update.record.samples for update in updates]
    if (len(updates), sum(samples)) != (header.count, header.samples):
        raise AuditFailure(height, "the header miscounts its updates or their samples")
    payloads = [update.payload for update in updates]
    if application.aggregate(payloads, samples, head.beacon) != aggregate:
        raise AuditFailure(height, f"the aggregate is not that of its {len(updates)} updates")
    told = () if block.settlement is None else block.settlement.uses
    try:
        uses = uses_of(genesis, application, updates, head.beacon)
    except ValueError as error:
        raise AuditFailure(height, f"the use of its updates: {error}") from error
    if told != uses:
        raise AuditFailure(height, f"the uses are not those of its {len(updates)} updates")
