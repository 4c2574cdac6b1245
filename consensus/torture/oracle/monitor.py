"""The monitor: an observer of every message and every block that checks the invariants.

The world calls it (`Witness`). It raises `Violation` at once, and also counts the branches of the
protocol that a scenario reached.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING, Any, Final

from consensus.ledger.evidence import holds
from consensus.ledger.updates import SignedUpdate
from consensus.protocols.registry import protocol_of
from consensus.records.block import Block, Candidate
from consensus.records.genesis import Genesis
from consensus.records.view import View
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate, Vote
from consensus.server.edge_server import EdgeServer
from consensus.server.host import Timer
from consensus.torture.oracle import verify
from consensus.torture.oracle.conduct import Conduct
from consensus.torture.oracle.reference import Ledger, ledger_kind
from consensus.torture.oracle.round_conduct import RoundConduct
from consensus.torture.oracle.view_conduct import ViewConduct
from consensus.torture.oracle.violation import Violation

if TYPE_CHECKING:
    from consensus.torture.arena.world import TortureWorld


#: Kinds of messages that commit their sender to nothing.
UNJUDGED: Final = frozenset({"update", "ticket", "status"})


class Monitor:
    """The invariants of one scenario, checked while it runs. Raises `Violation`."""

    world: TortureWorld
    """The observed world; set once it is made."""

    def __init__(
        self,
        genesis: Genesis,
        bad: Collection[int],
        traced: bool = False,
        half: bool = False,
        skewed: bool = False,
    ) -> None:
        """``bad``: the malicious servers, a collection that grows as others are corrupted;
        ``traced``: true to make a digest of all messages and blocks; ``half``: true if up to half
        of every committee may be malicious; ``skewed``: true if clocks may be wrong."""
        self.genesis = genesis
        self.bad = bad
        protocol = protocol_of(genesis)
        self._locking = [each for each in protocol.phases if each != protocol.deciding]
        """The phases whose certificates servers show each other; those of the first are locks."""
        self.ledger: Ledger = ledger_kind(protocol)(genesis, bad, protocol.deciding, half)
        self._entrances: dict[tuple[int, int], int] = {}
        """By server and height: the microsecond of its clock at which it entered the height."""
        self.conduct = Conduct(genesis, skewed, self._entrances)
        self.rounds = RoundConduct(genesis, self.ledger, skewed, self._entrances)
        self.views = ViewConduct(genesis, self.ledger, skewed, self._entrances)
        self.branches: Counter[str] = Counter()
        self.attempt = 0
        """The highest attempt that an honest server spoke of."""
        self.acting: int | None = None
        """The server that spoke, or appended a block, last; None at the end of a scenario."""
        self.limit: float = inf
        """The largest number of attempts that a height may take."""
        self.proposed: dict[bytes, float] = {}
        """Time in seconds at which an honest aggregator proposed a block, by block."""
        self._accused: dict[int, int] = {}
        """Number of pieces of evidence that were checked, by server."""
        self._slots: dict[tuple[Any, ...], bytes] = {}
        """The block that an honest server signed, by (server, height, slot)."""
        self._left: dict[tuple[int, int], tuple[View, int]] = {}
        """The last view that an honest server signed a timeout of, with that signature's place in
        the server's order of signing, by (server, height)."""
        self._certified: dict[tuple[int, int], tuple[View, int]] = {}
        """The last view in which an honest server certified a block, with that signature's place in
        the server's order of signing, by (server, height)."""
        self._written: dict[int, list[bytes]] = {}
        """The blocks that an honest server ever appended, in order of height, by server."""
        self._checked: dict[int, object] = {}
        """Certificates that were checked, by identity."""
        self._trace = sha256() if traced else None

    @property
    def trace(self) -> str:
        """The digest of all messages and blocks; empty if not ``traced``."""
        return "" if self._trace is None else self._trace.hexdigest()

    @property
    def _now_us(self) -> int:
        return round(self.world.env.now * 1e6)

    # -- messages ---------------------------------------------------------------------------------

    def timed(self, index: int, timer: Timer) -> None:
        """Note a timer that a server sets."""
        what, height, attempt, step = timer
        if what == "tickets":  # the first timer of the protocol in a height
            self._entrances[index, height] = self.world.servers[index].host.now_us()
        self.conduct.timed(index, what, (height, (attempt, step)), self._now_us)

    def handed_in(self, update: SignedUpdate) -> None:
        """Note an update that a client hands in at a server."""
        self.ledger.note_update(update)

    def said(self, index: int, kind: str, body: Any, to: Collection[int] | None) -> None:
        """Check a message that a server sends: to all (``to`` is None) or to some."""
        self.acting = index
        if self._trace is not None:
            line = f"{self.world.env.now!r} {index} {kind} {to and sorted(to)} "
            self._trace.update(line.encode() + (body.record if kind == "update" else body).encoded)
        if kind == "update":
            self.ledger.note_update(body)
        elif kind == "candidate":
            self.ledger.note_list(body)
            self.rounds.proposed(body)
            self.views.proposed(body)
        elif kind == "vote":
            self.rounds.said(body)
        if index in self.bad:
            return
        server = self.world.servers[index]
        if len(server.evidence) != self._accused.get(index, 0):
            self.check_evidence(server)
        if kind in UNJUDGED:
            return
        match kind:
            case "vote":
                if body.server == index:
                    self._vote(index, body)
            case "candidate":
                if body.proposer == index:
                    self._proposal(index, body)
                if body.justification is not None:
                    self._closed(index, body.justification)
            case "timeout":
                if body.server == index:
                    self._timeout(index, body)
            case "closure":
                self._closed(index, body)
            case "lock":
                self.branches["a higher lock shown"] += 1
                self._lock(index, body, shown=True)
                self.views.shown(server, body)
            case "want":
                self.branches["updates asked for"] += 1
            case "block":
                if to is not None:
                    self.branches["a block sent to one behind"] += 1

    def _vote(self, index: int, vote: Vote) -> None:
        view = (vote.attempt, vote.step)
        phase, said = vote.phase, vote.block
        if phase in ("approve", "reject"):  # one or the other, once
            phase, said = "judged", phase.encode() + said
        slot = (index, vote.height, phase, view)
        first = self._slots.get(slot)
        if first is None:
            self._slots[slot] = said
            if self.world.signers[index].times[vote.signed] == self.world.env.now:
                self.conduct.vote(self.world.servers[index], vote, self._now_us)
                self.rounds.vote(self.world.servers[index], vote)
                self.views.vote(self.world.servers[index], vote)
            left, when = self._left.get((index, vote.height), ((-1, 0), 0))
            if view <= left and self.world.signers[index].order[vote.signed] > when:
                raise Violation(
                    "no vote after a timeout",
                    f"server {index} left view {left} of height {vote.height}, then cast a "
                    f"{vote.phase} vote in {view}",
                )
            if phase == self.ledger.phase:
                order = self.world.signers[index].order[vote.signed]
                self._certified[index, vote.height] = (view, order)
            self._at(vote.height, view)
        elif first != said:
            raise Violation(
                "one signature per slot",
                f"honest server {index} cast two {vote.phase} votes in view {view} of height "
                f"{vote.height}",
            )

    def _proposal(self, index: int, candidate: Candidate) -> None:
        height, view = candidate.header.height, candidate.view
        block = candidate.header.cid
        if self._slots.setdefault((index, height, "proposal", view), block) != block:
            raise Violation(
                "one signature per slot",
                f"honest server {index} proposed two blocks in view {view} of height {height}",
            )
        fault = self.views.proposal(self.world.servers[index], candidate)
        if fault is not None:
            raise Violation("proposals", f"server {index}'s in {view} of height {height} {fault}")
        self.proposed.setdefault(block, self.world.env.now)
        if candidate.turn is not None:
            self.branches["a locked block proposed again"] += 1
        self._at(height, view)

    def _timeout(self, index: int, timeout: Timeout) -> None:
        self.conduct.timeout(self.world.servers[index], timeout)
        key = (index, timeout.height)
        view = (timeout.attempt + 1, -1) if timeout.everyone else timeout.view
        order = self.world.signers[index].order[timeout.signed]
        if key not in self._left or self._left[key][0] < view:
            self._left[key] = (view, order)
            self._at(timeout.height, timeout.view)
        lock = (-1, 0) if timeout.lock is None else timeout.lock.view
        certified, when = self._certified.get(key, ((-1, 0), 0))
        if lock < certified <= view and when < order:
            raise Violation(
                "a certified block stays locked",
                f"server {index} certified a block in view {certified} of height "
                f"{timeout.height}, then left {timeout.view} with the lock of {lock}",
            )
        if timeout.lock is not None:
            self._lock(index, timeout.lock)

    def _at(self, height: int, view: View) -> None:
        """Check that the committee of a view that an honest server is in is within the premise."""
        if view[0] > self.attempt:
            self.attempt = view[0]
            if self.attempt > self.limit:
                what = f"height {height} is in attempt {self.attempt}, long after healing"
                raise Violation("a block within the bound", what)
        if view != (0, 0):
            self.branches["attempt > 0" if view[0] else "step > 0"] += 1
        self.ledger.form(height, view[0])

    def corrupted(self, server: EdgeServer) -> None:
        """Note that a server is malicious from now on; what it signed before was honest."""
        if self._trace is not None:
            self._trace.update(f"{self.world.env.now!r} {server.index} is corrupted".encode())
        voted = any(slot[:2] == (server.index, server.height) for slot in self._slots)
        self.branches["a server corrupted" + (" after a vote" if voted else "")] += 1

    # -- certificates that honest servers hold ----------------------------------------------------

    def _first_time(self, certificate: object) -> bool:
        if id(certificate) in self._checked:
            return False
        self._checked[id(certificate)] = certificate  # kept, so that no other gets its identity
        return True

    def _closed(self, index: int, closed: TimeoutCertificate) -> None:
        if not self._first_time(closed) or not self.ledger.knows(closed.height):
            return
        seats = self.ledger.form(closed.height, closed.attempt)
        fault = verify.closing_fault(
            self.genesis, closed, seats, self.ledger.purses.seated(closed.height)
        )
        if fault is not None:
            raise Violation(
                "timeout certificates",
                f"server {index} believes that view {closed.view} of height {closed.height} is "
                f"closed: {fault}",
            )
        if closed.everyone:
            self.branches["an attempt closed by everyone"] += 1
        if closed.lock is not None:
            self.branches["a view closed with a lock"] += 1
            self._lock(index, closed.lock)

    def _lock(self, index: int, lock: Certificate, shown: bool = False) -> None:
        """Check a lock that a server names or, if ``shown``, any certificate that it shows."""
        if not self._first_time(lock) or not self.ledger.knows(lock.height):
            return
        seats = self.ledger.form(lock.height, lock.attempt)
        phase = self._locking[0]
        if shown and lock.phase in self._locking:
            phase = lock.phase
        fault = verify.certificate_fault(self.genesis, lock, phase, seats)
        if fault is not None:
            raise Violation("certificates", f"server {index} believes a lock: {fault}")
        self._signed(lock)

    def _signed(self, certificate: Certificate) -> None:
        """Check that the honest signers of a checked certificate signed no other block in its phase
        and view, though they may have sent the vote to nobody."""
        for server, _ in certificate.signatures:
            slot = server, certificate.height, certificate.phase, certificate.view
            said = self._slots.setdefault(slot, certificate.block)
            if server not in self.bad and said != certificate.block:
                raise Violation(
                    "one signature per slot",
                    f"honest server {server} cast two {certificate.phase} votes in view "
                    f"{certificate.view} of height {certificate.height}",
                )

    # -- chains -----------------------------------------------------------------------------------

    def appended(self, server: EdgeServer, block: Block) -> None:
        """Check a block that a server has appended."""
        self.acting = server.index
        if self._trace is not None:
            self._trace.update(f"{self.world.env.now!r} {server.index} has ".encode() + block.cid)
        if server.index in self.bad:
            return
        height, blocks = block.header.height, server.chain.blocks
        written = self._written.setdefault(server.index, [])
        if height <= len(written):
            self.branches["a lost block back"] += 1
            if written[height - 1] != block.cid:
                raise Violation(
                    "committed prefix",
                    f"server {server.index} has another block at height {height} than before",
                    height,
                )
        else:
            written.append(block.cid)
        self._prefix(server)
        if blocks[-1] is not block or len(blocks) != height:
            raise Violation("height + 1", f"server {server.index}'s chain of {len(blocks)}")
        self.ledger.append(block)
        certificate = block.certificate
        if self._first_time(certificate):
            seats = self.ledger.voters(block)
            phase = self.ledger.phase
            fault = verify.certificate_fault(self.genesis, certificate, phase, seats)
            if certificate.block != block.cid or certificate.height != height:
                fault = "it names another block"
            if fault is not None:
                raise Violation("certificates", f"height {height}: {fault}")
            self._signed(certificate)
            self._tell_decision(block)

    def cut(self, server: EdgeServer) -> None:
        """Note that a server has lost the last blocks of its chain."""
        if self._trace is not None:
            self._trace.update(f"{self.world.env.now!r} {server.index} is back".encode())
        self.branches["a server back from a crash"] += 1
        self.conduct.restarted(server)
        if server.index not in self.bad:
            if server.chain.height < len(self._written.get(server.index, ())):
                self.branches["blocks lost in a crash"] += 1
            self._prefix(server)

    def _prefix(self, server: EdgeServer) -> None:
        """Check that a server's chain consists of the blocks that it wrote, from the first one
        on."""
        found = [block.cid for block in server.chain.blocks]
        if found != self._written.get(server.index, [])[: len(found)]:
            raise Violation("committed prefix", f"server {server.index}'s chain has changed")

    def _tell_decision(self, block: Block) -> None:
        certificate = block.certificate
        if certificate.attempt:
            self.branches["decided in a later attempt"] += 1
        if certificate.view != block.header.view:
            self.branches["decided in a later view than proposed"] += 1

    def check_evidence(self, server: EdgeServer) -> None:
        """Check that evidence is valid and never names an honest server."""
        self._accused[server.index] = len(server.evidence)
        for evidence in server.evidence.values():
            if evidence.server in self.bad:
                self.branches["evidence found"] += 1
            else:
                raise Violation("evidence", f"it names honest server {evidence.server}")
            if not holds(self.genesis, evidence):
                raise Violation("evidence", f"that against server {evidence.server} does not hold")
