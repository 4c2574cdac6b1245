"""The part of a server's memory that survives a crash, under a protocol with locks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from consensus.ledger.updates import SignedUpdate, UpdatePool
from consensus.ledger.validity import Head
from consensus.records.block import Block, Candidate
from consensus.records.votes import Certificate


class Promised(Protocol):
    """Promises of one height, as far as they are kept here."""

    @property
    def height(self) -> int:
        """The height that they were made in."""
        ...

    @property
    def locks(self) -> tuple[Certificate, ...]:
        """The certificates whose blocks must be had after a crash."""
        ...


PromisesT = TypeVar("PromisesT", bound=Promised)


class Durable(Generic[PromisesT]):
    """Promises of the last height that a server took part in, and the blocks behind them."""

    def __init__(self, height: int, blank: Callable[[int], PromisesT]) -> None:
        """Begin as a server that stands at ``height`` and has promised nothing after it; ``blank``
        makes the promises of a height in which there are none."""
        self._blank = blank
        self.promises = blank(height)
        self.blocks: dict[bytes, tuple[Candidate, tuple[SignedUpdate, ...]]] = {}
        """By block: those that it cast a soft vote for, and those of its locks that it could prove
        right. Its vote may be part of a lock that it has not seen, and after a crash of the others
        it may be the only honest one left who can propose the block again."""
        self.decided: dict[int, bytes] = {}
        """By height: a block that it decided and that a crash took. Others, which have shown it the
        block, do so no more, and it votes for no other one."""
        self._unreadable = False
        self._abstains = 0
        """The last height in which it says nothing, as it cannot know what it has promised there,
        or at one before, to which another crash may take it back."""

    def lose(self) -> None:
        """Make the record unreadable. The blocks that it was written after are on the disk."""
        self._unreadable = True

    def lose_blocks(self, blocks: Iterable[Block]) -> None:
        """Come back without these blocks; that they were decided is written down beside the
        promises."""
        self.decided.update((block.height, block.cid) for block in blocks)

    def abstains(self, height: int) -> bool:
        """True if a server that comes back at ``height`` must not say anything in it.

        It may have promised something there, and at no later height: promises follow the block
        that they build on. A record that does not match its checksum may be the last one, half
        written, before anything that follows from it was sent, or an older one gone bad: it counts
        as lost in either case.
        """
        if self._unreadable:
            self._unreadable = False
            self._abstains = height
            self.promises = self._blank(self.promises.height)
            self.blocks.clear()
        return height <= self._abstains

    def resume(self, written: int) -> None:
        """Stand where it stood in an earlier process, with blocks up to ``written`` on the disk."""
        self.promises = self._blank(written + 1)

    def written_height(self) -> int:
        """The height up to which blocks are on the disk: a server promises nothing at a height
        before the block that it builds on is there."""
        return max(0, self.promises.height - 1)

    def recall(self, bodies: dict[bytes, Candidate], pool: UpdatePool, head: Head) -> None:
        """Put the candidates and their updates back where a crash took them from."""
        for block, (candidate, updates) in self.blocks.items():
            bodies[block] = candidate
            for update in updates:
                pool.add(update, head)

    def write(
        self,
        promises: PromisesT,
        voted: Candidate | None,
        bodies: Mapping[bytes, Candidate],
        pool: UpdatePool,
    ) -> None:
        """Write promises down, with the candidates that they lock and the one that they let it
        vote for (``voted``), before anything that follows from them is said."""
        if promises.height != self.promises.height:
            self.blocks.clear()  # the block that they led to is written now, too
            for height in [height for height in self.decided if height < promises.height]:
                del self.decided[height]
        self.promises = promises
        for lock in promises.locks:
            self._keep(lock.block, bodies.get(lock.block), pool)
        if voted is not None:
            self._keep(voted.header.cid, voted, pool)

    def _keep(self, block: bytes, body: Candidate | None, pool: UpdatePool) -> None:
        if body is not None and block not in self.blocks:
            updates = pool.pick(body.updates)
            if updates is not None:
                self.blocks[block] = (body, tuple(updates))
