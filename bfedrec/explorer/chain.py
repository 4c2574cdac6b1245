"""A run's chain, read beside its writer: what it is, its blocks from the head back, and the heads
that its blocks lead to.

The file may be anybody's. A block's identity is the hash of its header's bytes, its parent has to
be the block below, and the last block the head that the file names; where one is not, that is said.
The heads, which a block's committee follows from, are computed once and go on from there. What the
blocks below the one that is shown say of their draws is taken from them: a verification
(`bfedrec.explorer.verification`) checks their proofs too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock, RLock
from typing import Final, NamedTuple, TypeVar

from bfedrec.runs.folder import RunError
from consensus.encoding.cid import cid_text, digest
from consensus.encoding.fields import MalformedRecord
from consensus.ledger.committee import Draw, InvalidTicket, claimed_draw
from consensus.ledger.protocol import Protocol
from consensus.ledger.validity import Head
from consensus.protocols.registry import protocol_of
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.records.ticket import Ticket
from consensus.storage.content import Busy, NotFound, StoreError
from consensus.storage.live import LiveChain, read_live

CHAIN: Final = "chain.sqlite"
MOST_HEIGHTS: Final = 20_000
"""Blocks that are followed from the genesis up."""
MOST_BYTES: Final = 2**31
"""Bytes of blocks that are followed; a sound chain of `MOST_HEIGHTS` has a tenth."""
CHAINS_KEPT: Final = 8

T = TypeVar("T")


@dataclass(frozen=True)
class ChainSummary:
    """A chain as its genesis describes it, and how far it has come."""

    height: int
    head: str
    """The CID of the last block's header; at height 0 the genesis'."""
    head_named: bool
    """True if it is the head that the file names."""
    timestamp_us: int
    """Simulated microseconds of the last block."""
    genesis: str
    chain_id: str
    protocol: str
    modelled: bool
    """True if signatures and proofs are keyed hashes, which show nothing."""
    servers: int
    clients: int
    committee: str
    committee_size: int
    policy: str
    """The updates that the run keeps, in words."""
    kept: tuple[int, int] | None
    """The first and the last height whose updates are there; None if none are."""
    file_bytes: int


@dataclass(frozen=True)
class BlockLine:
    """A block as a line of the list of blocks."""

    height: int
    cid: str
    parent: str
    linked: bool
    """True if its parent is the block below."""
    aggregator: int
    attempt: int
    step: int
    decided_attempt: int
    decided_step: int
    timestamp_us: int
    updates: int
    samples: int
    votes: int
    model: str
    snapshot: str


class Followed(NamedTuple):
    """A block as far as it is kept in memory: what the head after it and searches need."""

    cid: bytes
    timestamp: int
    beacon: bytes
    recorded: bool
    """True if the head's draws are those that the block carries, which are read again if needed."""
    draws: tuple[Draw, ...]
    """The head's draws, if they are others."""
    aggregator: int
    voters: int
    """Bit s is set if server s voted."""
    model: bytes
    snapshot: bytes | None


class RunChain:
    """The chain of one run. Any thread may ask; every method raises `RunError`, in one line, for a
    file that is no chain, and `consensus.storage.content.Busy` where its writer is in the way."""

    def __init__(self, path: Path) -> None:
        """``path``: the file of the chain."""
        self.path = path
        self._lock = RLock()
        self._mark = b""
        self._genesis: Genesis | None = None
        self._followed: list[Followed] = []
        self._numbers: dict[bytes, int] = {}

    # -- what is asked ----------------------------------------------------------------------------

    def summary(self) -> ChainSummary:
        """What the chain is, and how far it has come."""
        return self.ask(self._summary)

    def lines(self, top: int | None = None, most: int = 50) -> list[BlockLine]:
        """The blocks from the height ``top`` (None: the head) down to height 1, at most so many."""

        def found(chain: LiveChain) -> list[BlockLine]:
            last = chain.last_height()
            first = last if top is None else min(top, last)
            heights = range(first, max(0, first - most), -1)
            blocks = [block_at(chain, height) for height in heights]
            if not blocks:
                return []
            below = self.genesis(chain).cid
            if blocks[-1].height > 1:
                below = block_at(chain, blocks[-1].height - 1).cid
            parents = [*(block.cid for block in blocks[1:]), below]
            return [_line(*each) for each in zip(blocks, parents, strict=True)]

        return self.ask(found)

    def last_height(self) -> int:
        """The height of the last block."""
        return self.ask(lambda chain: chain.last_height())

    def ask(self, question: Callable[[LiveChain], T]) -> T:
        """The answer to a question about one moment of the chain."""
        try:
            return read_live(self.path, question)
        except Busy:
            raise
        except NotFound as error:
            raise RunError(_line_of(error)) from None
        except (MalformedRecord, StoreError, ValueError) as error:
            told = _line_of(error)
            raise RunError(told if str(self.path) in told else f"{self.path}: {told}") from None

    # -- what questions are answered with ---------------------------------------------------------

    def genesis(self, chain: LiveChain) -> Genesis:
        """The genesis."""
        encoded = chain.block(0)
        mark = digest(encoded)
        with self._lock:
            if self._genesis is None or mark != self._mark:
                genesis = Genesis.decode(encoded)
                protocol_of(genesis).check_genesis(genesis)
                self._genesis, self._mark, self._followed = genesis, mark, []
                self._numbers = {key: place for place, (key, _) in enumerate(genesis.clients)}
            return self._genesis

    def client_number(self, key: bytes) -> int | None:
        """The number of the client with this public key, its place in the genesis."""
        return self._numbers.get(key)

    def head(self, chain: LiveChain, height: int) -> Head:
        """The head at a height: what the next block builds on."""
        genesis = self.genesis(chain)
        if height == 0:
            return protocol_of(genesis).first_head(genesis)
        with self._lock:
            kept = self.follow(chain, height)[height - 1]
        draws = kept.draws
        if kept.recorded:
            drawn_on = protocol_of(genesis).drawn_from(self.bare_head(chain, height - 1))
            draws = lazy_draws(genesis, drawn_on[1], block_at(chain, height).tickets)
        return Head(height, kept.cid, kept.timestamp, kept.beacon, draws)

    def bare_head(self, chain: LiveChain, height: int) -> Head:
        """The head at a height without its draws."""
        genesis = self.genesis(chain)
        if height == 0:
            return replace(protocol_of(genesis).first_head(genesis), draws=())
        with self._lock:
            kept = self.follow(chain, height)[height - 1]
        return Head(height, kept.cid, kept.timestamp, kept.beacon)

    def follow(self, chain: LiveChain, height: int) -> Sequence[Followed]:
        """The blocks of heights 1 to at least ``height``, which are read if they are new.

        A run that is resumed may have cut its chain: blocks that are no longer there are forgotten.
        """
        if height > MOST_HEIGHTS:
            raise StoreError(f"blocks above height {MOST_HEIGHTS:,} are not followed")
        genesis = self.genesis(chain)
        protocol = protocol_of(genesis)
        with self._lock:
            known = min(len(self._followed), chain.last_height())
            while known and block_at(chain, known).cid != self._followed[known - 1].cid:
                known = known // 2  # rarely: most runs are never cut
            del self._followed[known:]
            if known >= height:
                return self._followed
            head, room = self._head_to_go_on(chain, genesis, protocol), MOST_BYTES
            for at in range(known + 1, height + 1):
                encoded = chain.block(at)
                room -= len(encoded)
                if room < 0:
                    raise StoreError("its blocks are too long to be followed")
                block = _decoded(at, encoded)
                head, kept = _after(genesis, protocol, head, block)
                self._followed.append(kept)
            return self._followed

    def _head_to_go_on(self, chain: LiveChain, genesis: Genesis, protocol: Protocol) -> Head:
        known = len(self._followed)
        if known == 0:
            return protocol.first_head(genesis)
        kept = self._followed[-1]
        draws = kept.draws
        if kept.recorded:
            below = self._followed[-2] if known > 1 else None
            under = (
                protocol.first_head(genesis)
                if below is None
                else Head(known - 1, below.cid, below.timestamp, below.beacon)
            )
            seed = protocol.drawn_from(under)[1]
            draws = lazy_draws(genesis, seed, block_at(chain, known).tickets)
        return Head(known, kept.cid, kept.timestamp, kept.beacon, draws)

    def _summary(self, chain: LiveChain) -> ChainSummary:
        genesis, last = self.genesis(chain), chain.last_height()
        cid, timestamp = genesis.cid, genesis.timestamp
        if last:
            header = block_at(chain, last).header
            cid, timestamp = header.cid, header.timestamp
        try:
            named = chain.meta("head") == cid
        except NotFound:
            named = False
        parameters = genesis.parameters
        return ChainSummary(
            height=last,
            head=cid_text(cid),
            head_named=named,
            timestamp_us=timestamp,
            genesis=cid_text(genesis.cid),
            chain_id=genesis.chain_id.hex(),
            protocol=parameters.protocol,
            modelled=parameters.crypto == "modelled",
            servers=len(genesis.servers),
            clients=len(genesis.clients),
            committee=parameters.committee,
            committee_size=parameters.committee_size,
            policy="" if genesis.run is None else genesis.run.policy,
            kept=chain.update_range(),
            file_bytes=chain.size,
        )


class RunChains:
    """The chains that were asked for last, so that what is known of them is not found again."""

    def __init__(self, most: int = CHAINS_KEPT) -> None:
        self._most = most
        self._lock = Lock()
        self._kept: OrderedDict[Path, RunChain] = OrderedDict()

    def of(self, run: Path) -> RunChain:
        """The chain of a run folder, or of a chain's file alone."""
        path = run / CHAIN if run.is_dir() else run
        with self._lock:
            found = self._kept.setdefault(path, RunChain(path))
            self._kept.move_to_end(path)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return found


class _LazyDraw(Draw):
    """The draw that a ticket claims, whose output is computed when it is asked for: of the draws
    that a block carries the beacon needs one. It raises MalformedRecord then, for a proof that
    cannot be read."""

    def __init__(self, genesis: Genesis, seed: bytes, ticket: Ticket) -> None:
        object.__setattr__(self, "server", ticket.server)
        object.__setattr__(self, "_ticket", (genesis, seed, ticket))

    def __getattr__(self, name: str) -> bytes:
        if name != "beta":
            raise AttributeError(name)
        try:
            beta = claimed_draw(*self.__dict__["_ticket"]).beta
        except InvalidTicket as error:
            raise MalformedRecord(f"a draw: {error}") from None
        object.__setattr__(self, "beta", beta)
        return beta


def lazy_draws(genesis: Genesis, seed: bytes, tickets: Sequence[Ticket]) -> tuple[Draw, ...]:
    """The draws that tickets claim from ``seed``, each computed when it is needed. Their proofs are
    not checked: `bfedrec.explorer.block` checks those that a page shows."""
    for ticket in tickets:
        if ticket.server >= len(genesis.servers):
            raise MalformedRecord(f"a draw of server {ticket.server}, which is not registered")
    return tuple(_LazyDraw(genesis, seed, ticket) for ticket in tickets)


def block_at(chain: LiveChain, height: int) -> Block:
    """The block at a height. Raises StoreError or MalformedRecord, naming the height."""
    return _decoded(height, chain.block(height))


def _decoded(height: int, encoded: bytes) -> Block:
    try:
        block = Block.decode(encoded)
    except MalformedRecord as error:
        raise MalformedRecord(f"height {height}: {error}") from None
    if block.height != height:
        raise MalformedRecord(f"height {height}: holds a block of height {block.height}")
    return block


def _after(genesis: Genesis, protocol: Protocol, head: Head, block: Block) -> tuple[Head, Followed]:
    """The head after a block, and what is kept of it."""
    header = block.header
    if header.parent != head.cid:
        raise MalformedRecord(f"height {header.height}: its parent is not the block below")
    if header.aggregator >= len(genesis.servers):
        raise MalformedRecord(f"height {header.height}: server {header.aggregator} is not known")
    draws = lazy_draws(genesis, protocol.drawn_from(head)[1], block.tickets)
    after = protocol.head_after(genesis, head, header, draws)
    voters = 0
    for server, _ in block.certificate.signatures:
        if server < len(genesis.servers):
            voters |= 1 << server
    recorded = after.draws is draws
    return after, Followed(
        after.cid,
        after.timestamp,
        after.beacon,
        recorded,
        () if recorded else after.draws,
        header.aggregator,
        voters,
        header.aggregate_cid,
        header.snapshot,
    )


def _line(block: Block, below: bytes) -> BlockLine:
    header, certificate = block.header, block.certificate
    return BlockLine(
        height=header.height,
        cid=cid_text(header.cid),
        parent=cid_text(header.parent),
        linked=header.parent == below,
        aggregator=header.aggregator,
        attempt=header.attempt,
        step=header.step,
        decided_attempt=certificate.attempt,
        decided_step=certificate.step,
        timestamp_us=header.timestamp,
        updates=header.count,
        samples=header.samples,
        votes=len(certificate.signatures),
        model=cid_text(header.aggregate_cid),
        snapshot="" if header.snapshot is None else cid_text(header.snapshot),
    )


def _line_of(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
