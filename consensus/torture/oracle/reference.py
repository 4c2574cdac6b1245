"""The reference chain that all honest servers must have; the monitor checks block by block against
it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from consensus.encoding.dag_cbor import encode
from consensus.ledger.protocol import Protocol
from consensus.ledger.updates import SignedUpdate
from consensus.records.block import Block, Candidate
from consensus.records.genesis import Genesis
from consensus.torture.oracle import verify
from consensus.torture.oracle.stake import Purses
from consensus.torture.oracle.verify import Betas, Seats
from consensus.torture.oracle.violation import Violation

#: Number of attempts whose committees must not all be the same.
REBUILT = 16


@dataclass(frozen=True)
class Decided:
    """The block that honest servers appended at a height, and the beacon and draws that it sets for
    the next one."""

    block: Block
    updates: tuple[SignedUpdate, ...]
    beacon: bytes
    """Beacon of the next height."""
    betas: Betas
    """VRF outputs of the next height's draws, as the block records them."""


class Ledger:
    """The decided blocks, and the committees of the heights after them. Raises `Violation`."""

    def __init__(
        self, genesis: Genesis, bad: Collection[int], phase: str, half: bool = False
    ) -> None:
        """``bad``: the malicious servers, a collection that grows as others are corrupted;
        ``phase``: the phase of the votes that decide; ``half``: true if up to half of every
        committee may be malicious, false if less than a third."""
        self.genesis = genesis
        self.bad = bad
        self.phase = phase
        self.purses = Purses(genesis, bad, phase)
        """The stake after each decided block."""
        self.last: Block | None = None
        """The block whose appending was checked last."""
        self.decided: list[Decided] = []
        self._half = half
        self.spares = False
        """True if a server had a seat by a public draw."""
        self._seats: dict[tuple[int, int], Seats] = {}
        self._lists: dict[bytes, set[tuple[bytes, ...]]] = {}
        """The lists of updates in candidates, by block."""
        self._updates: dict[bytes, SignedUpdate] = {}

    # -- voters -----------------------------------------------------------------------------------

    def knows(self, height: int) -> bool:
        """True if the block before this height is decided."""
        return height <= len(self.decided) + 1

    def form(self, height: int, attempt: int) -> Seats:
        """The voters and the proposers of an attempt at a height for which `knows` is true."""
        known = self._seats.get((height, attempt))
        if known is None:
            known = self._seats[height, attempt] = self._peek(height, attempt)
            betas = self._draws(height)[1]
            if any(server not in betas for server in known.weights):
                self.spares = True
        return known

    @property
    def outside(self) -> bool:
        """True if a committee formed that is outside of the premise, whether its members were
        malicious then or were corrupted later, as they have their keys still: what depends on it is
        not guaranteed any more."""
        return any(map(self.is_outside, {height for height, _ in self._seats}))

    def is_outside(self, height: int) -> bool:
        """True if a committee that formed at a height is outside of the premise."""
        bad, half = set(self.bad), self._half
        for seats in self._formed(height):
            held = seats.of(bad)
            if 2 * held > seats.total if half else held and 3 * held >= seats.total:
                return True
            if self.genesis.incentives and self.purses.most_are_malicious(height):
                return True
        return False

    def is_captured(self, height: int) -> bool:
        """True if malicious members alone are a quorum of a committee that formed at a height: of
        any other quorum somebody is honest, and has looked at what it decides."""
        bad = set(self.bad)
        return any(3 * seats.of(bad) > 2 * seats.total for seats in self._formed(height))

    def _formed(self, height: int) -> list[Seats]:
        return [seats for (at, _), seats in self._seats.items() if at == height]

    def voters(self, block: Block) -> Seats:
        """The servers whose votes may decide a block."""
        return self.form(block.height, block.certificate.attempt)

    def _draws(self, height: int) -> tuple[bytes, Betas]:
        """The beacon of a height, and the draws that the block before recorded for it."""
        if height > 1:
            return self.decided[height - 2].beacon, self.decided[height - 2].betas
        return verify.first_beacon(self.genesis), verify.first_betas(self.genesis)

    # -- blocks -----------------------------------------------------------------------------------

    def note_update(self, update: SignedUpdate) -> None:
        """Note an update that a server sends; it may have been altered."""
        if update.payload_cid == update.record.payload:
            self._updates.setdefault(update.record.digest, update)

    def note_list(self, candidate: Candidate) -> None:
        """Note the list of updates in a candidate."""
        self._lists.setdefault(candidate.header.cid, set()).add(candidate.updates)

    def append(self, block: Block) -> None:
        """Check a block that an honest server has appended."""
        height = block.header.height
        self.last = block
        if self.knows(height):
            self.voters(block)  # they count, whatever is wrong with the block
        if height <= len(self.decided):
            if self.decided[height - 1].block.cid != block.cid:
                what = f"two blocks at height {height} (a fork)"
                raise Violation("one block per height", what, height)
        elif height == len(self.decided) + 1:
            self._first(block)
        else:
            raise Violation("height + 1", f"height {height} after {len(self.decided)}")

    def _first(self, block: Block) -> None:
        """Check a block that no server had before."""
        header, genesis, height = block.header, self.genesis, block.header.height
        parent, time = genesis.cid, genesis.timestamp
        if self.decided:
            before = self.decided[-1].block.header
            parent, time = before.cid, before.timestamp
        if header.chain_id != genesis.chain_id or header.parent != parent:
            raise Violation("hash links", f"height {height} does not build on the block before")
        if header.timestamp <= time:
            what = f"height {height}: {header.timestamp} after {time}"
            raise Violation("rising timestamps", what)
        key = genesis.servers[header.aggregator].signing_key
        digest = verify.signed(
            "proposal", genesis.chain_id, height, header.attempt, header.step, header.cid
        )
        if not genesis.suite.verify(key, digest, block.signature):
            raise Violation("proposals", f"height {height}: its aggregator did not sign it")
        beacon, betas = self.check_draws(block)
        updates = self._aggregated(block)
        self.purses.append(block, self._voted(block), parent, updates)
        self.decided.append(Decided(block, updates, beacon, betas))

    def _voted(self, block: Block) -> Seats | None:
        """The members whose votes a block's settlement brings; None if it brings none."""
        settlement = block.settlement
        if settlement is None or settlement.certificate is None or block.height == 1:
            return None
        return self.form(block.height - 1, settlement.certificate.attempt)

    def check_draws(self, block: Block) -> tuple[bytes, Betas]:
        """Check the aggregator's turn and the block's draws; return beacon and draws of the next
        height."""
        header, genesis, height = block.header, self.genesis, block.header.height
        turns = self.form(height, header.attempt).order
        if header.step >= len(turns) or turns[header.step] != header.aggregator:
            raise Violation("turns", f"height {height}: not the turn of server {header.aggregator}")
        beacon, drawn = self._draws(height)
        betas = verify.betas_of(genesis, beacon, height + 1, block)
        if isinstance(betas, str):
            raise Violation("tickets", f"height {height}: {betas}")
        who = header.aggregator
        beta = drawn[who] if who in drawn else verify.spare_beta(genesis, beacon, who)
        return verify.next_beacon(beacon, beta), betas

    def _aggregated(self, block: Block) -> tuple[SignedUpdate, ...]:
        """Check that a block's model is exactly the aggregate of its updates; return these."""
        header = block.header
        lists = sorted(self._lists.get(header.cid, ()))
        listed = next((one for one in lists if verify.merkle(one) == header.updates), None)
        if listed is None:
            what = f"height {header.height}: nobody listed the block's updates"
            raise Violation("updates", what, header.height)
        updates = []
        for digest in listed:
            update = self._updates.get(digest)
            if update is None:
                what = f"height {header.height}: one that nobody sent"
                raise Violation("updates", what, header.height)
            fault = verify.update_fault(self.genesis, header, update)
            if fault is not None:
                raise Violation("updates", f"height {header.height}: one {fault}", header.height)
            updates.append(update)
        fault = verify.aggregate_fault(header, updates)
        if fault is not None:
            raise Violation("exact aggregate", f"height {header.height}: {fault}", header.height)
        return tuple(updates)

    # -- at the end -------------------------------------------------------------------------------

    def check_rebuilding(self) -> None:
        """Check that a committee formed after a failed one differs from it, or has other turns."""
        for height in sorted({height for height, attempt in self._seats if attempt > 0}):
            whole = min(self.genesis.parameters.committee_size, len(self.genesis.servers))
            if whole == 1:
                continue
            first = self.form(height, 0)
            if all(self._same(self._peek(height, attempt), first) for attempt in range(1, REBUILT)):
                raise Violation("a rebuilt committee differs", f"height {height}: it never did")

    def _peek(self, height: int, attempt: int) -> Seats:
        stakes = self.purses.seated(height)
        seats = verify.seats(self.genesis, *self._draws(height), attempt, stakes)
        return seats.stepped(self.genesis.parameters.max_step)

    @staticmethod
    def _same(one: Seats, other: Seats) -> bool:
        return set(one.weights) == set(other.weights) and one.order == other.order

    def check_stake(self) -> None:
        """Check that the genesis, with the stake that all others come from, has not changed."""
        if verify.sha256(encode(self.genesis.to_node())).digest() != self.genesis.chain_id:
            raise Violation("stake is conserved", "the genesis has changed")


class StandingCommittees(Ledger):
    """The decisions of a protocol with one committee a height, whose members propose in
    rotation."""

    def _peek(self, height: int, attempt: int) -> Seats:
        stakes = self.purses.seated(height)
        return verify.seats(self.genesis, *self._draws(height), 0, stakes).rotated(attempt)

    def check_rebuilding(self) -> None:
        """No check: the committee is formed once a height."""


class NamedCommittees(Ledger):
    """The decisions of a protocol whose blocks name their committees.

    Nobody can say beforehand who votes, so that there is no premise about committees, and every
    violated invariant counts.
    """

    def form(self, height: int, attempt: int) -> Seats:
        """No seats: the voters are not known beforehand."""
        return Seats({}, 1, ())

    def voters(self, block: Block) -> Seats:
        """The servers that the block names."""
        seats = dict.fromkeys((ticket.server for ticket in block.tickets), 1)
        order = tuple(range(self.genesis.parameters.max_step))
        return Seats(seats, self.genesis.parameters.committee_size, order)

    def check_draws(self, block: Block) -> tuple[bytes, Betas]:
        """Check the tickets of the block; return no beacon, and the draws that the block
        records."""
        header = block.header
        betas = verify.betas_of(self.genesis, header.parent, header.height, block)
        if isinstance(betas, str):
            raise Violation("tickets", f"height {header.height}: {betas}")
        return b"", betas

    def check_rebuilding(self) -> None:
        """No check: a committee formed anew may be the same, which counts only where it leads to a
        violation."""


def ledger_kind(protocol: Protocol) -> type[Ledger]:
    """The kind of ledger that knows who votes under a protocol."""
    if not protocol.committees_foreseen:
        return NamedCommittees
    return StandingCommittees if protocol.committee_stands else Ledger
