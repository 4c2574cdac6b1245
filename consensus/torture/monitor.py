"""The monitor: it sees every message and every block, and knows what must never happen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consensus.blocks import Block, Candidate
from consensus.edge_server import EdgeServer
from consensus.evidence import holds
from consensus.genesis import Genesis
from consensus.records import View
from consensus.torture import verify
from consensus.torture.verify import Betas, Seats
from consensus.updates import SignedUpdate

if TYPE_CHECKING:
    from consensus.torture.world import TortureWorld


class Violation(Exception):
    """An invariant that does not hold."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant
        self.what = what


@dataclass(frozen=True)
class Decided:
    """The first block that an honest server appended at a height, and what follows from it."""

    block: Block
    beacon: bytes
    """Of the height after it."""
    betas: Betas
    """The draws of the height after it."""


class Monitor:
    """The invariants of one scenario, checked as it runs. Raises `Violation`."""

    world: TortureWorld
    """Set once it is made."""

    def __init__(self, genesis: Genesis, bad: frozenset[int]) -> None:
        self.genesis = genesis
        self.bad = bad
        self.decided: list[Decided] = []
        self.outside = False
        """Whether a committee formed of whose weight a third was malicious: the premise is gone,
        and nothing is promised any more."""
        self.attempt = 0
        """The furthest attempt that an honest server spoke of."""
        self.kinds: dict[str, int] = {}
        self._slots: dict[tuple[Any, ...], bytes] = {}
        """By server, height and slot: the block that an honest server signed."""
        self._left: dict[tuple[int, int], tuple[View, int]] = {}
        """By honest server and height: the last view it signed a timeout of, and when."""
        self._lists: dict[bytes, set[tuple[bytes, ...]]] = {}
        """By block: the updates that candidates listed with it."""
        self._updates: dict[bytes, SignedUpdate] = {}
        self._seats: dict[tuple[int, int], Seats] = {}
        self._certificates: dict[tuple[int, int], Block] = {}
        self._written: dict[int, list[bytes]] = {}
        """By honest server: the blocks that it ever appended, by height."""

    # -- messages ---------------------------------------------------------------------------------

    def said(self, index: int, kind: str, body: Any) -> None:
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        honest = index not in self.bad
        if kind == "vote":
            if honest and body.server == index:
                self._signed_vote(index, body)
        elif kind == "candidate":
            self._lists.setdefault(body.header.cid, set()).add(body.updates)
            if honest and body.proposer == index:
                self._signed_proposal(index, body)
        elif kind == "update":
            if body.payload_cid == body.record.payload:  # it may have been tampered with
                self._updates.setdefault(body.record.digest, body)
        elif kind == "timeout" and honest and body.server == index:
            self._signed_timeout(index, body)

    def _signed_vote(self, index: int, vote: Any) -> None:
        view = (vote.attempt, vote.step)
        slot = (index, vote.height, vote.phase, view)
        first = self._slots.get(slot)
        if first is None:
            self._slots[slot] = vote.block
            left, when = self._left.get((index, vote.height), ((-1, 0), 0))
            if view <= left and self.world.signers[index].order[vote.signed] > when:
                raise Violation(
                    "no vote after a timeout",
                    f"server {index} left view {left} of height {vote.height}, then cast a "
                    f"{vote.phase} vote in {view}",
                )
            self._at(vote.height, vote.attempt)
        elif first != vote.block:
            raise Violation(
                "one signature per slot",
                f"honest server {index} cast two {vote.phase} votes in view {view} of height "
                f"{vote.height}",
            )

    def _signed_proposal(self, index: int, candidate: Candidate) -> None:
        slot = (index, candidate.header.height, "proposal", candidate.view)
        if self._slots.setdefault(slot, candidate.header.cid) != candidate.header.cid:
            raise Violation(
                "one signature per slot",
                f"honest server {index} proposed two blocks in view {candidate.view} of height "
                f"{candidate.header.height}",
            )
        self._at(candidate.header.height, candidate.view[0])

    def _signed_timeout(self, index: int, timeout: Any) -> None:
        key = (index, timeout.height)
        view = (timeout.attempt + 1, -1) if timeout.everyone else timeout.view
        if key not in self._left or self._left[key][0] < view:
            self._left[key] = (view, self.world.signers[index].order[timeout.signed])
            self._at(timeout.height, timeout.attempt)

    def _at(self, height: int, attempt: int) -> None:
        """An honest server is in this attempt: is its committee within the premise?"""
        if attempt > self.attempt:
            self.attempt = attempt
        if (height, attempt) not in self._seats and height <= len(self.decided) + 1:
            self.seats(height, attempt)

    # -- blocks -----------------------------------------------------------------------------------

    def seats(self, height: int, attempt: int) -> Seats:
        """Who votes and proposes in an attempt at a height whose parent is decided."""
        known = self._seats.get((height, attempt))
        if known is None:
            beacon, betas = self._draws(height)
            known = self._seats[height, attempt] = verify.seats(
                self.genesis, beacon, betas, attempt
            )
            bad = sum(known.weights.get(server, 0) for server in self.bad)
            if bad and 3 * bad >= known.total:
                self.outside = True
        return known

    def _draws(self, height: int) -> tuple[bytes, Betas]:
        """A height's beacon, and the draws that the block before it recorded."""
        if height > 1:
            return self.decided[height - 2].beacon, self.decided[height - 2].betas
        return verify.first_beacon(self.genesis), verify.first_betas(self.genesis)

    def appended(self, server: EdgeServer, block: Block) -> None:
        if server.index in self.bad:
            return
        height = block.header.height
        blocks = server.chain.blocks
        if len(blocks) != height or blocks[-1] is not block:
            raise Violation("chain", f"server {server.index} appended height {height} elsewhere")
        written = self._written.setdefault(server.index, [])
        if height <= len(written):
            if written[height - 1] != block.cid:
                raise Violation(
                    "committed prefix",
                    f"server {server.index} has another block at height {height} than before",
                )
        else:
            written.append(block.cid)
        if height <= len(self.decided):
            if self.decided[height - 1].block.cid != block.cid:
                raise Violation("one block per height", f"two blocks at height {height} (a fork)")
        else:
            self._first(block)
        self._check_certificate(block)
        self._check_evidence(server)

    def cut(self, server: EdgeServer) -> None:
        pass

    def _first(self, block: Block) -> None:
        """Check a block that nobody had before."""
        header, genesis = block.header, self.genesis
        height = header.height
        before = self.decided[-1] if self.decided else None
        if height != len(self.decided) + 1:
            raise Violation("height + 1", f"height {height} after {len(self.decided)}")
        parent, time = (genesis.cid, genesis.timestamp)
        beacon, drawn = self._draws(height)
        if before is not None:
            parent, time = before.block.header.cid, before.block.header.timestamp
        if header.chain_id != genesis.chain_id or header.parent != parent:
            raise Violation("hash links", f"height {height} does not build on the block before")
        if header.timestamp <= time:
            raise Violation(
                "rising timestamps", f"height {height}: {header.timestamp} after {time}"
            )
        turns = self.seats(height, header.attempt).order
        if header.step >= len(turns) or turns[header.step] != header.aggregator:
            raise Violation("turns", f"height {height}: not the turn of server {header.aggregator}")
        betas = verify.draws_of(genesis, beacon, block)
        if isinstance(betas, str):
            raise Violation("tickets", f"height {height}: {betas}")
        self._check_model(block)
        who = header.aggregator
        beta = drawn[who] if who in drawn else verify.spare_beta(genesis, beacon, who)
        self.decided.append(Decided(block, verify.next_beacon(beacon, beta), betas))

    def _check_model(self, block: Block) -> None:
        header = block.header
        lists = sorted(self._lists.get(header.cid, ()))
        listed = next((one for one in lists if verify.merkle(one) == header.updates), None)
        if listed is None:
            raise Violation("updates", f"height {header.height}: nobody listed the block's updates")
        updates = [self._updates.get(digest) for digest in listed]
        for update in updates:
            fault = "nobody sent" if update is None else None
            if update is not None:
                fault = verify.update_fault(self.genesis, header, update)
            if fault is not None:
                raise Violation("updates", f"height {header.height}: one {fault}")
        fault = verify.model_fault(header, [update for update in updates if update is not None])
        if fault is not None:
            raise Violation("exact aggregate", f"height {header.height}: {fault}")

    def _check_certificate(self, block: Block) -> None:
        certificate = block.certificate
        key = (id(block.header), id(certificate))
        if key in self._certificates:
            return
        self._certificates[key] = block  # and so no other object gets its identity
        seats = self.seats(certificate.height, certificate.attempt)
        fault = verify.certificate_fault(self.genesis, block.header, certificate, seats)
        if fault is not None:
            raise Violation("certificates", f"height {block.header.height}: {fault}")

    def _check_evidence(self, server: EdgeServer) -> None:
        for evidence in server.evidence.values():
            if evidence.server not in self.bad:
                raise Violation("evidence", f"it names honest server {evidence.server}")
            if not holds(self.genesis, evidence):
                raise Violation("evidence", f"that against server {evidence.server} does not hold")
