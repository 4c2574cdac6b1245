"""The decided blocks of a world above its head, with the updates that their candidates listed."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.ledger.updates import SignedUpdate
from consensus.records.block import Block, Candidate
from consensus.server.checks import SharedChecks
from consensus.server.edge_server import EdgeServer
from consensus.simulation.accounts import kept, updates_listed

#: Candidates of so many heights above the head are looked at; no server decides further ahead.
HEIGHTS_AHEAD = 4


class Decisions:
    """The blocks above the head that some server has decided, by height."""

    def __init__(self, checks: SharedChecks, servers: Sequence[EdgeServer]) -> None:
        self._checks = checks
        self._servers = servers
        self._blocks: dict[int, Block] = {}
        self._decided: dict[int, list[int]] = {}
        """By height: the servers that have decided it."""
        self._updates: dict[int, tuple[SignedUpdate, ...]] = {}
        """By height: the updates that were looked for at once."""
        self._listed: dict[bytes, tuple[int, tuple[bytes, ...]]] = {}
        """By CID of a candidate's header: its height, and the digests of the updates it lists."""

    def forget(self, head: int) -> None:
        """Forget all up to the height ``head``."""
        self._blocks = {at: block for at, block in self._blocks.items() if at > head}
        self._updates = {at: found for at, found in self._updates.items() if at > head}
        self._decided = {at: found for at, found in self._decided.items() if at > head}
        self._listed = {
            cid: each
            for cid, each in self._listed.items()
            if head < each[0] <= head + HEIGHTS_AHEAD
        }

    def listed(self, candidate: Candidate) -> None:
        """Note the updates of a candidate that a server sends. A malicious one may send it with
        another list than its header names."""
        header = candidate.header
        if header.updates == self._checks.updates_root(candidate):
            self._listed[header.cid] = header.height, candidate.updates
        self._listed.setdefault(header.cid, (header.height, candidate.updates))

    def get(self, height: int) -> Block | None:
        """The decided block of a height above the head; None before there is one."""
        return self._blocks.get(height)

    def block(self, height: int) -> Block:
        """The decided block of a height above the head. Raises KeyError before there is one."""
        return self._blocks[height]

    def first(self, server: int, block: Block, at_once: bool) -> bool:
        """Note that a server has decided ``block``; returns True for the first one. Raises
        `Forked` if another server has decided another one. ``at_once``: look for its updates now,
        as servers drop them when they go on."""
        height = block.height
        found, decided = self._blocks.get(height), self._decided.setdefault(height, [])
        self._blocks[height] = kept(found, block, self._servers, decided, server)
        decided.append(server)
        if found is None and at_once:
            self._updates[height] = self.updates(block)
        return found is None

    def digests(self, block: Block) -> tuple[bytes, ...]:
        """The digests of the updates that a decided block's candidate lists."""
        return self._listed[block.cid][1]

    def updates(self, block: Block) -> tuple[SignedUpdate, ...]:
        """These updates. Raises AssertionError if no server has all of them."""
        found = self._updates.get(block.height)
        return found or updates_listed(self._servers, block, self.digests(block))
