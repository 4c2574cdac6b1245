"""An edge server that follows `bft`: it feeds the vote of a height (`consensus.protocols.bft.vote`)
with what it has checked, and does what the vote asks for.

A height, seen from here: make a ticket for the next height and send it to those who will record
it; when updates are sufficient and tickets were collected, the leader proposes; judge a proposal
by recomputing it; sign and send the votes that are due; when a block is decided, pass it on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from consensus.ledger.updates import SignedUpdate
from consensus.ledger.validity import InvalidBlock
from consensus.protocols.bft import vote as bft
from consensus.protocols.bft.proposals import BftCandidates
from consensus.protocols.bft.state import Promises, Seat
from consensus.records.block import Block, Candidate
from consensus.records.sync import Status
from consensus.records.view import View, proposal_digest
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate, Vote
from consensus.server.host import Timer


class BftServer(BftCandidates):
    """One server under `bft`."""

    def __init__(self, *arguments: object, **keywords: object) -> None:
        """As `EdgeServer`."""
        super().__init__(*arguments, **keywords)  # type: ignore[arg-type]
        self.promises = Promises(self.chain.height)
        """What survives a crash: the promises of the last height it took part in, ..."""
        self.locked: dict[bytes, tuple[Candidate, tuple[SignedUpdate, ...]]] = {}
        """... and by block those of its locks that it could prove right: it may be the only one
        left who can propose them again."""
        self._handlers |= {
            "timeout": self.on_timeout,
            "closure": self.on_closure,
            "lock": self.on_lock,
        }
        self._stakes = self.genesis.stakes
        self.state = bft.BLANK

    def resume(self, height: int, written: int, lacking: Collection[bytes]) -> None:
        super().resume(height, written, lacking)
        self.promises = Promises(written + 1)

    def written_height(self) -> int:
        """A server promises nothing at a height before the block that it builds on is on the
        disk."""
        return max(0, self.promises.height - 1)

    # -- a height begins --------------------------------------------------------------------------

    def begin(self) -> None:
        head = self.chain.head
        self.seat = Seat(
            self.index,
            self.height,
            self._stakes,
            self.checks.sortitions(head),
            self.parameters.settle_us > 0,
        )
        self.begin_candidates()
        self._first_votes: dict[tuple[str, View, int], Vote] = {}
        self._closures_told: set[View] = set()
        self._seen_block: bytes | None = None
        self._effects: deque[bft.Effect] = deque()
        self._draining = False
        back = not self.passive and self.promises.height == self.height
        for block, (candidate, updates) in self.locked.items() if back else ():
            self._bodies[block] = candidate
            for update in updates:
                self.pool.add(update, head)
        state, effects = bft.begin(self.seat, self.promises, looks_on=self.passive)
        self.state = state
        self._none_yet = None if back else state.promises
        """The promises of a height in which it has made none."""
        self.set_timer("tickets", self.parameters.ticket_us)
        if not self.passive:
            self._draw()
        self._apply((state, effects))
        if back and self.promises != Promises(self.height):
            self._arm()  # it has said something already

    def stage(self) -> View:
        return self.state.view if self.active else (0, 0)

    # -- the vote's effects -----------------------------------------------------------------------

    def _apply(self, step: bft.Step) -> bool:
        """Take over a state, its promises first, and do what follows from it; whether anything
        did or the state changed."""
        state, effects = step
        changed = state is not self.state
        if changed:
            self.state = state
            promises = state.promises
            if promises is not self.promises and promises is not self._none_yet:
                self._promise(promises)
        if not effects:
            return changed
        self._effects.extend(effects)
        if self._draining:
            return True
        self._draining = True
        try:
            while self._effects and self.active:
                self._do(self._effects.popleft())
        finally:
            self._draining = False
        return True

    def _promise(self, promises: Promises) -> None:
        """Write promises down before anything that follows from them is said."""
        if self.passive:
            return
        if promises.height != self.promises.height:
            self.locked.clear()  # the block that they led to is written now, too
        self.promises = promises
        for lock in promises.locks:
            body = self._bodies.get(lock.block)
            if body is not None and lock.block not in self.locked:
                updates = self.pool.pick(body.updates)
                if updates is not None:
                    self.locked[lock.block] = (body, tuple(updates))

    def _do(self, effect: bft.Effect) -> None:
        match effect:
            case bft.Say(phase, view, block):
                self._vote(phase, view, block)
            case bft.Judge(candidate):
                self._judge(candidate)
            case bft.Enter(view):
                self._enter(view)
            case bft.Leave(view, everyone):
                self._leave(view, everyone)
            case bft.Settle(view):
                self._timer_of("settle", self.parameters.settle_us, view)
            case bft.Listen(view):
                self._timer_of("listen", self.parameters.settle_us, view)
            case bft.Object(lock):
                self.say("lock", lock)
            case bft.Closed(certificate):
                self._tell_closure(certificate)
            case bft.Decide(certificate):
                self._decide_by(certificate)

    def _enter(self, view: View) -> None:
        if view == self.state.view:
            self._said.clear()
            self._leads = self.seat.leader(view) == self.index
            if view != (0, 0):
                self._timer_of("view", self._view_us(view), view)
            why = self.state.why
            if why is not None:
                if view[1] == 0:
                    self._announce()
                if self.seat.weight(view[0], self.index):
                    # Whoever led here may have told only some: nobody stays behind for long.
                    self._tell_closure(why)
            if self.behaviour is not None:
                self.behaviour.entered(self)
        self._propose_if_due()

    def _tell_closure(self, certificate: TimeoutCertificate) -> None:
        view = self.seat.next_view(certificate)
        if view not in self._closures_told:
            self._closures_told.add(view)
            self.say("closure", certificate)

    # -- votes ------------------------------------------------------------------------------------

    def sign_vote(self, phase: str, view: View, block: bytes) -> Vote:
        """This server's vote, signed."""
        proposal = self._proposals.get(view, (b"", b""))
        return Vote(
            self.genesis.chain_id,
            self.height,
            *view,
            phase,
            block,
            self.index,
            self.signer.sign(
                Vote.signing_digest(self.genesis.chain_id, self.height, *view, phase, block)
            ),
            proposal[1] if phase == "soft" and proposal[0] == block else b"",
        )

    def _vote(self, phase: str, view: View, block: bytes) -> None:
        self.host.charge("sign")
        vote = self.sign_vote(phase, view, block)
        to = dict.fromkeys(self.members(view[0]))
        leader = self.seat.leader(view)
        if leader is not None and leader != self.index:
            to[leader] = None  # it passes the block on
        self._tell("vote", vote, tuple(to))
        self._apply(bft.on_vote(self.seat, self.state, vote))

    def on_vote(self, vote: Vote) -> bool:
        view = (vote.attempt, vote.step)
        if vote.server >= len(self._stakes) or vote.chain_id != self.genesis.chain_id:
            return self.refuse("vote by a stranger")
        if vote.phase not in ("soft", "cert"):
            return self.refuse("vote of another protocol")
        if vote.attempt > self.state.view[0] + bft.ATTEMPTS_AHEAD:
            return self.refuse("vote for another attempt")
        if self.seat.leader(view) is None:
            return self.refuse("vote beyond MaxStep")
        if not self.seat.weight(vote.attempt, vote.server):
            return self.refuse("vote without a seat")
        key = (vote.phase, view, vote.server)
        first = self._first_votes.get(key)
        if first is not None and first.block == vote.block:
            return False
        self.host.charge("verify")
        if not self.checks.vote(self.chain.head, vote):
            return self.refuse("vote signature")
        if first is not None:
            self._accuse(
                vote.phase,
                vote.server,
                view,
                (first.block, vote.block),
                (first.signature, vote.signature),
            )
            return self.refuse("second vote")
        self._first_votes[key] = vote
        if vote.phase == "soft" and vote.proposal:
            self._hear_proposal(view, vote)
        if self.active:
            self._apply(bft.on_vote(self.seat, self.state, vote))
        return True

    def _hear_proposal(self, view: View, vote: Vote) -> None:
        """A soft vote tells what its voter was proposed."""
        known, leader = self._proposals.get(view), self.seat.leader(view)
        if leader is None or (known is not None and known[0] == vote.block):
            return
        signed = proposal_digest(self.genesis.chain_id, self.height, view, vote.block)
        self.host.charge("verify")
        if self.genesis.suite.verify(
            self.genesis.servers[leader].signing_key, signed, vote.proposal
        ):
            self._note_proposal(view, vote.block, vote.proposal)

    # -- leaving a view ---------------------------------------------------------------------------

    def _leave(self, view: View, everyone: bool) -> None:
        lock = self.state.promises.told(view, everyone)
        signed = Timeout.signing_digest(
            self.genesis.chain_id,
            self.height,
            view,
            everyone,
            None if lock is None else lock.name,
        )
        self.host.charge("sign")
        timeout = Timeout(
            self.genesis.chain_id,
            self.height,
            *view,
            everyone,
            self.index,
            self.signer.sign(signed),
            lock,
        )
        self._tell("timeout", timeout)
        self._apply(bft.on_timeout(self.seat, self.state, timeout))

    def on_timeout(self, timeout: Timeout) -> bool:
        if timeout.server >= len(self._stakes) or timeout.chain_id != self.genesis.chain_id:
            return self.refuse("timeout by a stranger")
        if timeout.attempt > self.state.view[0] + bft.ATTEMPTS_AHEAD:
            return self.refuse("timeout of another attempt")
        if self.seat.leader(timeout.view) is None or (timeout.everyone and timeout.step):
            return self.refuse("timeout beyond MaxStep")
        if not timeout.everyone and not self.seat.weight(timeout.attempt, timeout.server):
            return self.refuse("timeout without a seat")
        self.host.charge("verify")
        if timeout.lock is not None:
            self._charge_certificate(len(timeout.lock.signatures))
        if not self.checks.timeout(self.chain.head, timeout):
            return self.refuse("timeout signature")
        return self._apply(bft.on_timeout(self.seat, self.state, timeout))

    def on_closure(self, certificate: TimeoutCertificate) -> bool:
        """Somebody has what closes a view. That may be over; a lock that it carries is news."""
        news = certificate.lock is not None and not self._knows(certificate.lock)
        if self.seat.next_view(certificate) <= self.state.view and not news:
            return False
        self._charge_certificate(len(certificate.entries))
        try:
            self.checks.closed(self.chain.head, certificate)
        except InvalidBlock:
            return self.refuse("timeout certificate")
        return self._apply(bft.on_closed(self.seat, self.state, certificate))

    def _knows(self, lock: Certificate) -> bool:
        return any(known.name == lock.name for known in self.state.promises.locks)

    def on_lock(self, lock: Certificate) -> bool:
        """Somebody shows a lock."""
        if self._knows(lock):
            return False
        self._charge_certificate(len(lock.signatures))
        try:
            self.checks.lock(self.chain.head, lock)
        except InvalidBlock:
            return self.refuse("lock")
        return self._apply(bft.on_lock(self.seat, self.state, lock))

    # -- deciding ---------------------------------------------------------------------------------

    def _decide_by(self, certificate: Certificate) -> None:
        """A block has more than two thirds of the cert votes: append it, and pass it on. Its
        aggregator does at once, other members if they do not see it go round."""
        body = self._bodies.get(certificate.block)
        if body is None:
            if self._undecided is None:
                self._undecided = certificate
                self.say("status", self._status(), [server for server, _ in certificate.signatures])
            return
        if certificate.view < body.header.view:
            self.refuse("decision")  # a captured committee's, of a block not yet proposed
            return
        block = Block(body.header, body.signature, body.tickets, certificate)
        leads = self.seat.leader(certificate.view) == self.index
        if leads:
            self.say("block", block)
        else:
            # One after the other: whoever sees it go round keeps quiet.
            weights = self.seat.sortition(certificate.attempt).committee.weights
            rank = 1 + list(weights).index(self.index) if self.index in weights else len(weights)
            self._timer_of("relay", rank * self.parameters.ticket_us, certificate.view)
        self.decide(block)

    def block_seen(self) -> bool:
        self._seen_block = self.chain.head.cid
        return True

    def draws_to_check(self, block: Block) -> int:
        """Of a block whose candidate was here the draws are checked already."""
        return 0 if block.cid in self._bodies else len(block.tickets)

    def on_block(self, block: Block) -> bool:
        if super().on_block(block):
            self._seen_block = block.cid
            return True
        return False

    # -- timers -----------------------------------------------------------------------------------

    def on_timer(self, timer: Timer) -> None:
        what, height, attempt, step = timer
        if what == "relay":
            if height == self.chain.height and self._seen_block != self.chain.head.cid:
                self.say("block", self.chain.blocks[-1])
            return
        if not self.active or height != self.height:
            return
        view = (attempt, step)
        if what == "resend":
            self.on_resend()
        elif what == "tickets":
            self._collected = True
            self._arm_if_ready()
            self._propose_if_due()
        elif what == "updates":
            self.late = True
            self.updates_changed()
        elif what == "view":
            self._apply(bft.on_view_timer(self.seat, self.state, view))
            if self.active and view == self.state.view and self.parameters.recovery_us:
                self._timer_of("recovery", self.parameters.recovery_us, view)
        elif what == "settle":
            self._apply(bft.on_settle_timer(self.seat, self.state, view))
        elif what == "listen":
            self._apply(bft.on_listen_timer(self.seat, self.state, view))
        elif what == "want":
            self._want_again(view)
        elif what == "recovery":
            self._apply(bft.on_recovery_timer(self.seat, self.state, view))

    def _want_again(self, view: View) -> None:
        for candidate in self._judging.values():
            if candidate.view == view == self.state.view:
                self._want(candidate)
                self._timer_of("want", self.parameters.ticket_us, view)
                return

    # -- staying in step --------------------------------------------------------------------------

    def say_again(self) -> None:
        for kind, body, to in self._said:
            self.say(kind, body, to)
        mine = self._tickets.get(self.index)
        if mine is not None:
            self.say("ticket", mine[0], list(self._announced))

    def tickets_held(self) -> tuple[int, ...]:
        return tuple(sorted(self._tickets))

    def help(self, status: Status, sender: int) -> None:
        state, promises = self.state, self.state.promises
        if state.why is not None and (status.attempt, status.step) < state.view:
            self.say("closure", state.why, [sender])
        wanted = [state.candidates.get(state.view)]
        wanted += [self._bodies.get(lock.block) for lock in promises.locks]
        wanted += [self._bodies.get(state.decided.block) if state.decided else None]
        told: list[Candidate] = []
        for candidate in wanted:
            if candidate is not None and not any(candidate is one for one in told):
                told.append(candidate)
                self.say("candidate", candidate, [sender])
        for tally in (*state.votes.values(), *state.timeouts.values()):
            for message in tally.messages():
                self.say("vote" if isinstance(message, Vote) else "timeout", message, [sender])
        held = set(status.tickets)
        for server, (ticket, _, _) in self._tickets.items():
            if server not in held:
                self.say("ticket", ticket, [sender])
