"""Contents of blocks: aggregating updates into a proposal, and recomputing what others propose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from consensus.application import Contents
from consensus.ledger.chain import Chain
from consensus.ledger.updates import SignedUpdate, updates_root
from consensus.records.block import Candidate, Header
from consensus.records.genesis import Parameters
from consensus.records.settlement import Settlement
from consensus.server.checks import SharedChecks
from consensus.server.gathering import Gathering
from consensus.server.hooks import Hooks
from consensus.server.host import Host


class Proposer(Protocol):
    """The part of a server that making and judging contents uses."""

    index: int
    height: int
    chain: Chain
    parameters: Parameters
    checks: SharedChecks
    host: Host
    behaviour: Hooks[Any] | None
    gathering: Gathering


class BlockContents:
    """Contents of one server's candidates, its own and those that it judges (Algorithm 2, lines
    4-6 and 11)."""

    def __init__(self, server: Proposer) -> None:
        self._server = server
        self._checks = server.checks
        self._host = server.host
        self.begin()

    def begin(self) -> None:
        """Begin a height: no aggregate of it is here, and nothing is proposed."""
        self._aggregates: set[bytes] = set()
        self._listed: set[bytes] = set()

    def has(self, aggregate_cid: bytes) -> bool:
        """True if this server made or recomputed the aggregate with this CID in this height."""
        return aggregate_cid in self._aggregates

    def has_listed(self, digest: bytes) -> bool:
        """True if this server proposed a block of the update with this digest in this height."""
        return digest in self._listed

    def aggregate(
        self, updates: Sequence[SignedUpdate], digests: tuple[bytes, ...] | None = None
    ) -> Contents:
        """The contents that these updates come to (line 5); ``digests``: of the updates, where they
        are at hand."""
        if digests is None:
            digests = tuple(update.record.digest for update in updates)
        contents, size = self._checks.aggregate(self._server.chain.head, updates, digests)
        rule = self._server.chain.genesis.incentives
        passes = 1 if rule is None or not rule.use else 3  # use goes through the updates twice more
        self._host.charge("aggregate", size, passes)
        return contents

    def propose_header(
        self, updates: Sequence[SignedUpdate], attempt: int, step: int, tickets: bytes
    ) -> Header:
        """Aggregate, publish, and describe the block (lines 4-6)."""
        contents, server = self.aggregate(updates), self._server
        if server.behaviour is not None:
            contents = server.behaviour.contents(
                contents, self._host.generator(server.height, attempt, step, 0)
            )
        return self.header_for(updates, contents, attempt, step, tickets)

    def header_for(
        self,
        updates: Sequence[SignedUpdate],
        contents: Contents,
        attempt: int,
        step: int,
        tickets: bytes,
    ) -> Header:
        """The header of a block of these updates with these contents, which are published."""
        head = self._server.chain.head
        snapshot, stakes = contents.snapshot, self._server.gathering.stakes(contents.uses)
        self._listed.update(update.record.digest for update in updates)
        aggregate_cid = self._publish(contents)
        return Header(
            chain_id=self._server.chain.genesis.chain_id,
            height=self._server.height,
            attempt=attempt,
            step=step,
            timestamp=max(self._host.now_us(), head.timestamp + 1),
            parent=head.cid,
            aggregator=self._server.index,
            tickets=tickets,
            updates=updates_root([update.record.digest for update in updates]),
            count=len(updates),
            samples=sum(update.record.samples for update in updates),
            aggregate_cid=aggregate_cid,
            snapshot=None if snapshot is None else self._checks.address(snapshot),
            stakes=None if stakes is None else stakes.digest,
        )

    def settlement(self, updates: Sequence[SignedUpdate]) -> Settlement | None:
        """The settlement of a block of these updates, which were aggregated before; None without
        incentives."""
        digests = tuple(update.record.digest for update in updates)
        contents, _ = self._checks.aggregate(self._server.chain.head, updates, digests)
        return self._server.gathering.settlement(contents.uses)

    def _publish(self, contents: Contents) -> bytes:
        self._host.publish(contents)
        self._host.charge("store_put", len(contents.aggregate))
        aggregate_cid = self._checks.address(contents.aggregate)
        self._aggregates.add(aggregate_cid)
        return aggregate_cid

    def is_timely(self, header: Header) -> bool:
        """True if a block's time is not far ahead of this server's clock: another server, or a
        later one, may come to another opinion. (The least time that there may be after the block
        before is right in any case: many clocks may have been ahead when that was made.)"""
        latest = self._host.now_us() + self._server.parameters.vote_us
        return header.timestamp <= max(latest, self._server.chain.head.timestamp + 1)

    def recomputes(self, candidate: Candidate, updates: Sequence[SignedUpdate]) -> bool:
        """True if a candidate's contents are right, at whatever time and whoever asks: its updates
        in their order, and, recomputed from them, the very bytes that the addresses name. Those
        bytes this server then has, and provides: what it approves can be fetched."""
        header = candidate.header
        if not self._checks.lists(candidate, updates):
            return False
        contents = self.aggregate(updates, candidate.updates)
        self._host.charge("hash", len(contents.aggregate))
        aggregate_cid = self._checks.address(contents.aggregate)
        self._aggregates.add(aggregate_cid)
        self._host.publish(contents)
        snapshot = None if contents.snapshot is None else self._checks.address(contents.snapshot)
        told = () if candidate.settlement is None else candidate.settlement.uses
        return (header.aggregate_cid, header.snapshot, told) == (
            aggregate_cid,
            snapshot,
            contents.uses,
        )
