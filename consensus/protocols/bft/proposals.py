"""What an edge server under `bft` does about proposals: it collects the draws that the next block
records, proposes in its turn, and judges what others propose; the vote itself is in
`consensus.protocols.bft.vote` and `consensus.protocols.bft.server`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from dataclasses import replace

from consensus.ledger.committee import Draw, InvalidTicket, enough_draws, is_worth_announcing
from consensus.ledger.evidence import Evidence
from consensus.ledger.validity import InvalidBlock
from consensus.protocols.bft import vote as bft
from consensus.protocols.bft.state import Seat, State
from consensus.records.block import Candidate, Turn
from consensus.records.sync import Want
from consensus.records.ticket import Ticket, tickets_digest
from consensus.records.view import View, proposal_digest
from consensus.records.votes import Certificate
from consensus.server.edge_server import EdgeServer
from consensus.server.message import Kind


class BftCandidates(EdgeServer):
    """The half of a server under `bft` that makes and judges candidates."""

    HEIGHT_OF = EdgeServer.HEIGHT_OF | {"ticket": lambda ticket: ticket.height - 1}

    state: State
    seat: Seat

    def begin_candidates(self) -> None:
        """Begin a height: nothing was drawn, proposed or judged yet."""
        self._members: dict[int, list[int]] = {}
        self._tickets: dict[int, tuple[Ticket, Draw, int]] = {}
        """By server: its ticket for the next height, the draw, and since when it is here."""
        self._collected = False
        """Whether tickets have been collected for long enough to propose."""
        self._announced: set[int] = set()
        self._shown: set[int] = set()
        """Servers whose tickets it has shown to all, as a candidate had left them out."""
        self._bodies: dict[bytes, Candidate] = {}
        """By block: a candidate that brought it, whatever the view."""
        self._proposals: dict[View, tuple[bytes, bytes]] = {}
        """By view: the first proposed block that this server saw, and its leader's signature."""
        self._judging: dict[bytes, Candidate] = {}
        """Candidates whose contents cannot be judged yet."""
        self._undecided: Certificate | None = None
        """A certificate that decides a block which is not here."""
        self._proposed: set[View] = set()
        self._leads = False
        """Whether the view in progress is this server's turn."""
        self._armed = False
        """Whether the timer of the first view runs; it starts when the updates are there."""
        self._said: list[tuple[Kind, object, Collection[int] | None]] = []
        """What it sent in this view, to be said again."""

    @abstractmethod
    def _apply(self, step: bft.Step) -> bool:
        """Take over a state of the vote and do what follows from it."""

    @abstractmethod
    def _decide_by(self, certificate: Certificate) -> None:
        """Append the block that ``certificate`` decides."""

    def members(self, attempt: int) -> list[int]:
        """The others on an attempt's committee."""
        others = self._members.get(attempt)
        if others is None:
            weights = self.seat.sortition(attempt).committee.weights
            others = self._members[attempt] = [s for s in weights if s != self.index]
        return others

    def _timer_of(self, what: str, microseconds: int, view: View) -> None:
        self.host.timer(microseconds, (what, self.height, *view))

    def _view_us(self, view: View) -> int:
        """MaxVoteDuration, half as long again with every attempt: once the network behaves, some
        attempt lasts long enough."""
        return self.parameters.vote_us * (2 + view[0]) // 2

    def _charge_certificate(self, signatures: int) -> None:
        self.host.charge("verify", times=signatures)

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
        if not self._leads or max(state.promises.proposed, state.promises.left) >= view:
            return
        if why is not None and why.lock is not None:
            candidate = self._again(why.lock, view)
        else:
            candidate = self._anew(view)
        if candidate is None:
            return
        self._apply((bft.on_proposing(self.state), ()))
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

    def on_candidate(self, candidate: Candidate) -> bool:
        view, block = candidate.view, candidate.header.cid
        if view[0] > self.state.view[0] + bft.ATTEMPTS_AHEAD and candidate.justification is None:
            return self.refuse("candidate for another attempt")
        known = self.state.candidates.get(view)
        if known is not None and known.header.cid == block:
            return False
        if view in self.state.two_faced and not self._needs(block):
            return self.refuse("third proposal")  # two are evidence; a leader may make thousands
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

    def _needs(self, block: bytes) -> bool:
        """Whether a block is locked or decided, so that its body must be had."""
        undecided = self._undecided
        return any(lock.block == block for lock in self.state.promises.locks) or (
            undecided is not None and undecided.block == block
        )

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
            known = self._judging.get(block)
            if known is None or known.view < candidate.view:
                # The gossip may be about to bring them: ask when it had a moment.
                self._judging[block] = candidate
                self._timer_of("want", self.parameters.ticket_us // 4, candidate.view)
            return
        # What somebody honest has approved in time, so that it is locked, may come at any time.
        locked = candidate.turn is not None
        if not locked and not self.sufficient(len(updates)):
            self._judging[block] = candidate  # right, perhaps, but only after the deadline
            return
        self._judging.pop(block, None)
        timely = locked or (self.is_timely(candidate.header) and self._records_all(candidate))
        fit = self.recomputes(candidate, updates)
        approves = fit and timely
        if self.behaviour is not None:
            label = (self.height, *candidate.view, 1)
            approves = self.behaviour.verdict(approves, self.host.generator(*label))
        if approves or not fit:
            self._apply(bft.on_judged(self.seat, self.state, block, approves))
        else:
            self._apply(bft.on_declined(self.seat, self.state, candidate.view))

    def _records_all(self, candidate: Candidate) -> bool:
        """Whether a candidate records every ticket that has been here for so long that its
        aggregator, too, must have had it: none is left out of the next height's draws. What is
        left out is shown to the others, or every candidate would lack what somebody has."""
        listed = {ticket.server for ticket in candidate.tickets}
        latest = self.host.now_us() - self.parameters.ticket_us
        lacking = [
            ticket
            for server, (ticket, _, since) in self._tickets.items()
            if server not in listed and since <= latest
        ]
        for ticket in lacking:
            if ticket.server not in self._shown:
                self._shown.add(ticket.server)
                self.say("ticket", ticket)
        return not lacking

    def _want(self, candidate: Candidate) -> None:
        """Ask who proposed a candidate, and others, for its updates that are not here."""
        missing = [digest for digest in candidate.updates if self.pool.pick([digest]) is None]
        if missing:
            self.pool.want(missing)
            others = self.members(candidate.view[0])
            start = self.host.generator(self.height, self.host.now_us(), 8).integers(
                max(1, len(others))
            )
            some = (others[start:] + others[:start])[:2]
            to = dict.fromkeys((candidate.proposer, *some))
            to.pop(self.index, None)
            self.say("want", Want(self.height, tuple(missing)), list(to))
