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
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock, RLock, Thread
from typing import Final, TypeVar

from bfedrec.explorer.facts import BlockLine, ChainSummary
from bfedrec.runs.folder import CHAIN, RunError
from bfedrec.runs.following import Followed, after, recorded_draws, skim
from consensus.encoding.cid import cid_text, digest
from consensus.encoding.fields import MalformedRecord
from consensus.ledger.protocol import Protocol
from consensus.ledger.validity import Head
from consensus.protocols.registry import protocol_of
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.storage.content import Busy, NotFound, StoreError
from consensus.storage.live import LiveChain, read_live

MOST_HEIGHTS: Final = 20_000
"""Blocks that are followed from the genesis up."""
MOST_BYTES: Final = 2**31
"""Bytes of blocks that are followed; a sound chain of `MOST_HEIGHTS` has a tenth."""
CHAINS_KEPT: Final = 8

T = TypeVar("T")


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
        self._ahead: Thread | None = None

    # -- what is asked ----------------------------------------------------------------------------

    def summary(self) -> ChainSummary:
        """The chain as its genesis describes it, and its present head."""
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

    def stakes(self, height: int) -> tuple[int, ...] | None:
        """The stake of every server, by index, as a height begins: after the block before. None in
        a chain in which stake does not move."""

        def found(chain: LiveChain) -> tuple[int, ...] | None:
            genesis = self.genesis(chain)
            if genesis.incentives is None:
                return None
            return self.bare_head(chain, height - 1).held(genesis)

        return self.ask(found)

    def follow_ahead(self) -> None:
        """Follow all blocks in a thread of its own, so that a page of one need not wait for it.
        What goes wrong shows when that page is asked for."""

        def ahead() -> None:
            with suppress(RunError, StoreError):
                self.ask(lambda chain: self.follow(chain, chain.last_height()))

        if self._ahead is None or not self._ahead.is_alive():
            self._ahead = Thread(target=ahead, daemon=True)
            self._ahead.start()

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
            draws = recorded_draws(genesis, drawn_on[1], block_at(chain, height))
        return kept.head(height, draws)

    def bare_head(self, chain: LiveChain, height: int) -> Head:
        """The head at a height without its draws."""
        genesis = self.genesis(chain)
        if height == 0:
            return replace(protocol_of(genesis).first_head(genesis), draws=())
        with self._lock:
            kept = self.follow(chain, height)[height - 1]
        return kept.head(height)

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
            while len(self._followed) < height:
                for encoded in chain.blocks(len(self._followed) + 1, height):
                    room -= len(encoded)
                    if room < 0:
                        raise StoreError("its blocks are too long to be followed")
                    block = skim(len(self._followed) + 1, encoded)
                    head, kept = after(genesis, protocol, head, block)
                    self._followed.append(kept)
            return self._followed

    def _head_to_go_on(self, chain: LiveChain, genesis: Genesis, protocol: Protocol) -> Head:
        known = len(self._followed)
        if known == 0:
            return protocol.first_head(genesis)
        kept = self._followed[-1]
        draws = kept.draws
        if kept.recorded:
            under = protocol.first_head(genesis)
            if known > 1:
                under = self._followed[-2].head(known - 1)
            seed = protocol.drawn_from(under)[1]
            draws = recorded_draws(genesis, seed, block_at(chain, known))
        head = kept.head(known, draws)
        if kept.stakes is None:
            return head
        return replace(head, before=self.head(chain, known - 1))

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
            found = self._kept.pop(path, None) or RunChain(path)
            self._kept[path] = found
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return found


def block_at(chain: LiveChain, height: int) -> Block:
    """The block at a height. Raises StoreError or MalformedRecord, naming the height."""
    try:
        block = Block.decode(chain.block(height))
    except MalformedRecord as error:
        raise MalformedRecord(f"height {height}: {error}") from None
    if block.height != height:
        raise MalformedRecord(f"height {height}: holds a block of height {block.height}")
    return block


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
