"""An edge server that follows `bft`: it feeds the vote of a height (`consensus.bft`) with what it
has checked, and does what the vote asks for.

A height, seen from here: make a ticket for the next height and send it to those who will record
it; when updates are sufficient and tickets were collected, the leader proposes; judge a proposal
by recomputing it; sign and send the votes that are due; when a block is decided, pass it on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import replace
from functools import cache

from consensus import bft
from consensus.bft import Promises, Seat, State
from consensus.blocks import (
    Block,
    Candidate,
    Certificate,
    Status,
    Timeout,
    TimeoutCertificate,
    Turn,
    Want,
)
from consensus.chain import InvalidBlock
from consensus.committee import Draw, InvalidTicket, enough_draws, is_worth_announcing
from consensus.edge_server import EdgeServer, Kind, Timer
from consensus.evidence import Evidence
from consensus.records import Ticket, View, Vote, proposal_digest, tickets_digest

#: Later than any view: whoever has left it votes nowhere in this height.
_NEVER: View = (2**63, 0)


class BftServer(EdgeServer):
    """One server under `bft`."""

    state: State
    seat: Seat

    def __init__(self, *arguments: object, **keywords: object) -> None:
        """As `EdgeServer`."""
        super().__init__(*arguments, **keywords)  # type: ignore[arg-type]
        self.promises = Promises()
        """What survives a crash: the promises of the last height it voted in."""
        self._handlers |= {
            "timeout": lambda body, _: self.on_timeout(body),
            "closure": lambda body, _: self.on_closure(body),
            "lock": lambda body, _: self.on_lock(body),
        }
        self._stakes = self.genesis.stakes

    # -- a height begins --------------------------------------------------------------------------

    def begin(self) -> None:
        head = self.chain.head
        self.seat = Seat(
            self.index,
            self.height,
            self._stakes,
            cache(lambda attempt: self.checks.sortition(self.genesis, head, attempt)),
            self.parameters.settle_us > 0,
        )
        self._tickets: dict[int, tuple[Ticket, Draw, int]] = {}
        """By server: its ticket for the next height, the draw, and since when it is here."""
        self._collected = False
        """Whether tickets have been collected for long enough to propose."""
        self._announced: set[int] = set()
        self._bodies: dict[bytes, Candidate] = {}
        """By block: a candidate that brought it, whatever the view."""
        self._proposals: dict[View, tuple[bytes, bytes]] = {}
        """By view: the first proposed block that this server saw, and its leader's signature."""
        self._first_votes: dict[tuple[str, View, int], Vote] = {}
        self._judging: dict[bytes, Candidate] = {}
        """Candidates whose contents cannot be judged yet."""
        self._undecided: Certificate | None = None
        """A certificate that decides a block which is not here."""
        self._proposed: set[View] = set()
        self._closures_told: set[View] = set()
        self._leads = False
        """Whether the view in progress is this server's turn."""
        self._armed = False
        """Whether the timer of the first view runs; it starts when the updates are there."""
        self._seen_block: bytes | None = None
        self._said: list[tuple[Kind, object, Collection[int] | None]] = []
        """What it sent in this view, to be said again."""
        self._effects: deque[bft.Effect] = deque()
        self._draining = False
        promises = self.promises
        if self.passive or promises.height > self.height:
            # It has voted at a later height, or the others have decided this one: it only looks on.
            promises = Promises(self.height, left=_NEVER)
        state, effects = bft.begin(self.seat, promises)
        self.state = state
        self.set_timer("tickets", self.parameters.ticket_us)
        if not self.passive:
            self._draw()
        self._apply((state, effects))

    def stage(self) -> View:
        return self.state.view if self.active and hasattr(self, "state") else (0, 0)

    # -- the vote's effects -----------------------------------------------------------------------

    def _apply(self, step: bft.Step) -> bool:
        """Take over a state, its promises first, and do what follows from it; whether anything
        did or the state changed."""
        state, effects = step
        changed = state is not self.state or bool(effects)
        self.state = state
        if state.promises.left != _NEVER:
            self.promises = state.promises
        self._effects.extend(effects)
        if self._draining:
            return changed
        self._draining = True
        try:
            while self._effects and self.active:
                self._do(self._effects.popleft())
        finally:
            self._draining = False
        return changed

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
            case bft.Object(lock):
                self.say("lock", lock)
            case bft.Closed(certificate):
                self._tell_closure(certificate)
            case bft.Decide(certificate):
                self._decide_by(certificate)

    def _timer_of(self, what: str, microseconds: int, view: View) -> None:
        self.host.timer(microseconds, (what, self.height, *view))

    def _view_us(self, view: View) -> int:
        """MaxVoteDuration, half as long again with every attempt: once the network behaves, some
        attempt lasts long enough."""
        return self.parameters.vote_us * (2 + view[0]) // 2

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

    def members(self, attempt: int) -> list[int]:
        """The others on an attempt's committee."""
        weights = self.seat.sortition(attempt).committee.weights
        return [server for server in weights if server != self.index]

    # -- tickets ----------------------------------------------------------------------------------

    def _draw(self) -> None:
        """Make this server's ticket for the next height."""
        beacon, height = self.chain.head.beacon, self.height + 1
        proof, beta = self.prover.prove(Ticket.alpha(self.genesis.chain_id, beacon, height))
        self.host.charge("vrf_prove")
        draw = Draw(self.index, beta)
        if is_worth_announcing(self.genesis, draw):
            ticket = Ticket(height, self.index, proof)
            self.checks.vouch(beacon, ticket, draw)
            self._tickets[self.index] = (ticket, draw, self.host.now_us())
            self._announce()

    def _announce(self) -> None:
        """Send one's ticket to those who record it: the committee and the aggregators of this
        attempt and, so that it is there in time, of the next."""
        mine = self._tickets.get(self.index)
        if mine is None:
            return
        who: dict[int, None] = {}
        for attempt in (self.state.view[0], self.state.view[0] + 1):
            who |= dict.fromkeys((*self.members(attempt), *self.seat.sortition(attempt).order))
        to = [server for server in who if server not in self._announced and server != self.index]
        self._announced.update(to)
        self.say("ticket", mine[0], to)

    def height_of(self, kind: str, body: object) -> int:
        height = super().height_of(kind, body)
        return height - 1 if kind == "ticket" else height

    def on_ticket(self, ticket: Ticket) -> bool:
        if ticket.server in self._tickets:
            return False
        self.host.charge("vrf_verify")
        try:
            draw = self.checks.ticket(self.genesis, self.chain.head.beacon, ticket)
        except InvalidTicket:
            return self.refuse("ticket proof")
        self._tickets[ticket.server] = (ticket, draw, self.host.now_us())
        if self._collected:
            self._propose_if_due()  # it may have been one ticket short
        return True

    def _recorded(self) -> tuple[Ticket, ...]:
        return tuple(self._tickets[server][0] for server in sorted(self._tickets))

    # -- proposing --------------------------------------------------------------------------------

    def updates_changed(self) -> None:
        self._arm_if_ready()
        if self._judging:
            for candidate in list(self._judging.values()):
                self._judge(candidate)
        if self.active:
            self._propose_if_due()

    def _arm_if_ready(self) -> None:
        """Start the timer of the first view once the leader could have proposed."""
        if not self._armed and self._collected and self.sufficient(len(self.pool)):
            self._arm()

    def _arm(self) -> None:
        self._armed = True
        self._timer_of("view", self._view_us((0, 0)), (0, 0))

    def _propose_if_due(self) -> None:
        """The leader proposes, once: the locked block again, or a new one when there are updates
        and tickets enough (lines 4-6)."""
        state = self.state
        view, why = state.view, state.why
        if not self._leads or view in self._proposed or state.promises.left >= view:
            return
        if why is not None and why.lock is not None:
            candidate = self._again(why.lock, view)
        else:
            candidate = self._anew(view)
        if candidate is None:
            return
        self._proposed.add(view)
        if self.behaviour is not None:
            candidate = self.behaviour.proposes(self, candidate)
            if candidate is None:
                return
        self.host.charge("sign")
        self._tell("candidate", candidate)
        self._note_proposal(view, candidate.header.cid, candidate.proposal)
        self._bodies.setdefault(candidate.header.cid, candidate)
        self._apply(bft.on_candidate(self.seat, self.state, candidate))

    def _again(self, lock: Certificate, view: View) -> Candidate | None:
        body = self._bodies.get(lock.block)
        if body is None:
            self.say("status", self._status(), [server for server, _ in lock.signatures])
            return None
        signed = proposal_digest(self.genesis.chain_id, self.height, view, lock.block)
        turn = Turn(*view, self.index, self.signer.sign(signed))
        return replace(body, justification=self.state.why, turn=turn)

    def _anew(self, view: View) -> Candidate | None:
        if not (self._collected and self.sufficient(len(self.pool))):
            return None
        updates, tickets = self.pool.ordered(), self._recorded()
        if not enough_draws(self.genesis, tickets):
            return None
        header = self.propose_header(updates, *view, tickets_digest(tickets))
        return Candidate(
            header,
            self.signer.sign(header.signed),
            tickets,
            tuple(update.record.digest for update in updates),
            self.state.why,
        )

    def _tell(self, kind: Kind, body: object, to: Collection[int] | None = None) -> None:
        """Send something of this view, and remember to say it again if need be."""
        self._said.append((kind, body, to))
        self.say(kind, body, to)

    # -- candidates -------------------------------------------------------------------------------

    def on_candidate(self, candidate: Candidate, sender: int) -> bool:
        view, block = candidate.view, candidate.header.cid
        if view[0] > self.state.view[0] + bft.ATTEMPTS_AHEAD and candidate.justification is None:
            return self.refuse("candidate for another attempt")
        known = self.state.candidates.get(view)
        if known is not None and known.header.cid == block:
            return False
        reason = bft.follows(self.seat, candidate)
        if reason is not None:
            return self.refuse(f"candidate: {reason}")
        self.host.charge("verify", times=2)
        if candidate.justification is not None:
            self._charge_certificate(len(candidate.justification.entries))
        self.host.may_relay()
        self.host.charge(
            "vrf_verify",
            times=sum(ticket.server not in self._tickets for ticket in candidate.tickets),
        )
        try:
            self.checks.candidate(self.chain.head, candidate)
            if candidate.justification is not None:
                self.checks.closed(self.chain.head, candidate.justification)
        except InvalidBlock:
            return self.refuse("candidate header")
        self._bodies.setdefault(block, candidate)
        self._note_proposal(view, block, candidate.proposal)
        before = self.state
        if not self._armed:
            self._arm()
        self._apply(bft.on_candidate(self.seat, self.state, candidate))
        if self.active and self._undecided is not None:
            self._decide_by(self._undecided)
        if self.active:
            self._propose_if_due()  # it may have brought the body of a locked block
        return self.state is not before or not self.active

    def _note_proposal(self, view: View, block: bytes, signature: bytes) -> None:
        """Remember a proposal; a second one of the same view is evidence against its leader."""
        first = self._proposals.setdefault(view, (block, signature))
        leader = self.seat.leader(view)
        if first[0] == block or leader is None:
            return
        self._accuse("proposal", leader, view, (first[0], block), (first[1], signature))
        self._apply(bft.on_two_faced(self.seat, self.state, view))

    def _accuse(
        self,
        phase: str,
        server: int,
        view: View,
        blocks: tuple[bytes, bytes],
        signatures: tuple[bytes, bytes],
    ) -> None:
        found = Evidence(server, self.height, view, phase, blocks, signatures)
        self.evidence.setdefault(found.key, found)

    def _judge(self, candidate: Candidate) -> None:
        """Find out whether a candidate's contents are right, as soon as its updates are here."""
        block = candidate.header.cid
        updates = self.pool.pick(candidate.updates)
        if updates is None:
            if block not in self._judging:
                # The gossip may be about to bring them: ask when it had a moment.
                self._judging[block] = candidate
                self._timer_of("want", self.parameters.ticket_us // 4, candidate.view)
            return
        if not self.sufficient(len(updates)):
            self._judging[block] = candidate  # right, perhaps, but only after the deadline
            return
        self._judging.pop(block, None)
        fit = self.is_correct(candidate, updates) and self._records_all(candidate)
        if self.behaviour is not None:
            fit = self.behaviour.verdict(fit, self.host.generator(self.height, *candidate.view, 1))
        self._apply(bft.on_judged(self.seat, self.state, block, fit))

    def _records_all(self, candidate: Candidate) -> bool:
        """Whether a candidate records every ticket that has been here for so long that its
        aggregator, too, must have had it: none is left out of the next height's draws."""
        listed = {ticket.server for ticket in candidate.tickets}
        latest = self.host.now_us() - self.parameters.ticket_us
        return all(
            server in listed or since > latest for server, (_, _, since) in self._tickets.items()
        )

    def _want(self, candidate: Candidate) -> None:
        """Ask who proposed a candidate, and others, for its updates that are not here."""
        missing = [digest for digest in candidate.updates if self.pool.pick([digest]) is None]
        if missing:
            others = self.members(candidate.view[0])
            start = self.host.generator(self.height, self.host.now_us(), 8).integers(
                max(1, len(others))
            )
            some = (others[start:] + others[:start])[:2]
            to = dict.fromkeys((candidate.proposer, *some))
            to.pop(self.index, None)
            self.say("want", Want(self.height, tuple(missing)), list(to))

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
        lock = self.state.promises.lock
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
        """Somebody has what closes a view."""
        if self.seat.next_view(certificate) <= self.state.view:
            return False
        self._charge_certificate(len(certificate.entries))
        try:
            self.checks.closed(self.chain.head, certificate)
        except InvalidBlock:
            return self.refuse("timeout certificate")
        return self._apply(bft.on_closed(self.seat, self.state, certificate))

    def on_lock(self, lock: Certificate) -> bool:
        """Somebody shows a lock."""
        if any(known.name == lock.name for known in self.state.promises.locks):
            return False
        self._charge_certificate(len(lock.signatures))
        try:
            self.checks.lock(self.chain.head, lock)
        except InvalidBlock:
            return self.refuse("lock")
        return self._apply(bft.on_lock(self.seat, self.state, lock))

    def _charge_certificate(self, signatures: int) -> None:
        self.host.charge("verify", times=signatures)

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
        what, height, *at = timer
        view = (at[0], at[1])
        if what == "relay":
            if height == self.chain.height and self._seen_block != self.chain.head.cid:
                self.say("block", self.chain.blocks[-1])
            return
        if not self.active or height != self.height:
            return
        if what == "tickets":
            self._collected = True
            self._arm_if_ready()
            self._propose_if_due()
        elif what == "updates":
            self.late = True
            self.updates_changed()
        elif what == "resend":
            self.on_resend()
        elif what == "want":
            self._want_again(view)
        elif what == "view":
            self._apply(bft.on_view_timer(self.seat, self.state, view))
            if self.active and view == self.state.view and self.parameters.recovery_us:
                self._timer_of("recovery", self.parameters.recovery_us, view)
        elif what == "settle":
            self._apply(bft.on_settle_timer(self.seat, self.state, view))
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
        for candidate in dict.fromkeys(wanted):
            if candidate is not None:
                self.say("candidate", candidate, [sender])
        for tally in (*state.votes.values(), *state.timeouts.values()):
            for message in tally.messages():
                self.say("vote" if isinstance(message, Vote) else "timeout", message, [sender])
        held = set(status.tickets)
        for server, (ticket, _, _) in self._tickets.items():
            if server not in held:
                self.say("ticket", ticket, [sender])
