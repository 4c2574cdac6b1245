"""The part of an edge server that follows `paper`, Algorithm 2 as it is written.

A height, seen from here: draw on the latest block and, if the draw wins, announce it some time
later; once updates are sufficient and a committee has announced itself, compete to propose; vote
on the first candidate of a slot if it names this server a member; whoever holds more than two
thirds of the approvals has the block, and its aggregator shares it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from consensus.ledger.committee import Draw, InvalidTicket, may_sit
from consensus.ledger.updates import SignedUpdate
from consensus.ledger.validity import InvalidBlock
from consensus.protocols.paper import vote as paper
from consensus.protocols.paper.validity import CANDIDATES_PER_SEAT
from consensus.protocols.paper.vote import HeightContext, State
from consensus.records.block import Block, Candidate
from consensus.records.sync import Status
from consensus.records.ticket import Ticket, tickets_digest
from consensus.records.view import View
from consensus.records.votes import Certificate, Vote
from consensus.server.edge_server import EdgeServer
from consensus.server.message import Kind
from consensus.server.unheard import ANY_NUMBER
from consensus.server.voting import VotingParticipant

#: The first of all servers to propose is expected after this share of MaxVoteDuration: the race
#: has to take long compared with a message, or everybody votes for a candidate of their own.
RACE: Final = 0.1
#: Candidates and votes of attempts so far ahead of one's own are turned away: a malicious one
#: cannot make a server count, or remember, without end.
ATTEMPTS_AHEAD: Final = 1024


class PaperParticipant(VotingParticipant[EdgeServer, paper.Effect]):
    """One server's part in `paper`."""

    context: HeightContext

    def __init__(self, server: EdgeServer) -> None:
        self.server = server
        self.state = State()

    def handlers(self) -> dict[str, Callable[[Any], bool]]:
        return {"ticket": self.on_ticket, "candidate": self.on_candidate, "vote": self.on_vote}

    # -- a height begins --------------------------------------------------------------------------

    def begin(self) -> None:
        server = self.server
        parameters = server.parameters
        size, max_step = parameters.committee_size, parameters.max_step
        self.context = HeightContext(server.index, server.height, size, max_step)
        self._mine: Ticket | None = None
        """This server's ticket, if it wins."""
        self._collected = False
        """True if the time to announce is over: fewer than all seats must then do."""
        self._entered: View | None = None
        self._racing: View | None = None
        """The slot that this server competes to propose in."""
        self._judging: Candidate | None = None
        """A candidate some of whose updates are not here."""
        self.begin_vote()
        state, effects = paper.begin()
        self.state = state
        server.set_timer("tickets", parameters.ticket_us)
        if not server.catching_up:
            self._draw()
            self._apply((state, effects))

    def stage(self) -> View:
        return self.state.slot if self.server.active else (0, 0)

    # -- the vote's effects -----------------------------------------------------------------------

    def _apply(self, step: paper.Step) -> None:
        """Take over a state and do what follows from it."""
        self.state, effects = step
        self.do_all(effects)

    def _do(self, effect: paper.Effect) -> None:
        server = self.server
        match effect:
            case paper.Wait(slot):
                self._enter(slot)
                self._race_if_ready()
            case paper.Try(candidate):
                self._enter(candidate.view)
                server.set_timer("vote", server.parameters.vote_us)
                if server.index in candidate.seated:
                    self._judge(candidate)
            case paper.Say(phase, candidate):
                self._vote(phase, candidate)
            case paper.Decide(candidate, certificate):
                self._decide_by(candidate, certificate)

    def _enter(self, slot: View) -> None:
        if slot != self._entered:
            self._entered = slot
            self.said.clear()
            if self.server.behaviour is not None:
                self.server.behaviour.entered(self.server)

    def _later(self, what: str, seconds: float) -> None:
        """Set a timer for what speed decides; a malicious server waits as long as it likes."""
        server = self.server
        if server.behaviour is not None:
            seconds = server.behaviour.waits(self.server, what, seconds)
        server.set_timer(what, max(0, round(seconds * 1e6)))

    # -- the committee ----------------------------------------------------------------------------

    def _draw(self) -> None:
        """Draw on the latest block, and announce a draw that wins (III.D).

        Servers here begin a height at the same instant. Elsewhere they come to it one by one, and
        who is first depends on that, not on the distance alone: so each takes its time, up to half
        of that in which announcements are awaited.
        """
        server = self.server
        head = server.chain.head
        proof, beta = server.prover.prove(server.chain.protocol.alpha(server.genesis, head))
        server.host.charge("vrf_prove")
        draw = Draw(server.index, beta)
        if may_sit(server.genesis, draw, CANDIDATES_PER_SEAT):
            self._mine = Ticket(server.height, server.index, proof)
            server.checks.vouch(head.cid, self._mine, draw)
            share = float(server.host.generator(server.height, 0, 0, 3).random())
            self._later("announce", share * server.parameters.ticket_us / 2e6)

    def on_ticket(self, ticket: Ticket) -> bool:
        """Check another server's announcement and keep it."""
        server = self.server
        known = {announced.server for announced in self.state.announced}
        if server.catching_up or ticket.server in known:
            return False
        server.host.charge("vrf_verify")
        try:
            draw = server.checks.ticket(server.genesis, server.chain.head.cid, ticket)
        except InvalidTicket:
            return server.refuse("ticket proof")
        if not may_sit(server.genesis, draw, CANDIDATES_PER_SEAT):
            return server.refuse("ticket wins no seat")
        self._apply(paper.on_ticket(self.state, ticket))
        self._race_if_ready()
        return True

    def seats_taken(self) -> bool:
        """True if there is a committee: every seat is taken or, once the time to announce is over,
        enough of them to approve anything."""
        taken = len(self.state.committee(self.context))
        return taken == self.context.size or (self._collected and self.context.agree(taken))

    # -- proposing --------------------------------------------------------------------------------

    def updates_changed(self) -> None:
        if self._judging is not None and self._judging is self.state.trying:
            self._judge(self._judging)
        if self.server.active:
            self._race_if_ready()

    def unheard_updates(self) -> int:
        state = self.state
        if self._judging is not None and self._judging is state.trying:
            return 0
        if state.trying is None and self._racing != state.slot and self.seats_taken():
            return max(0, self.server.updates_missing() - 1)
        return ANY_NUMBER

    def _race_if_ready(self) -> None:
        """Compete to propose once updates are sufficient, after a while (line 4, and III.D);
        whoever hears a candidate before that comes too late."""
        server = self.server
        slot = self.state.slot
        if (
            self.state.trying is None
            and self._racing != slot
            and self.seats_taken()
            and server.sufficient(len(server.pool))
            and not server.builds_on_less()
        ):
            self._racing = slot
            # The first of n servers comes after an n-th of each one's mean.
            mean = RACE * server.parameters.vote_us / 1e6 * len(server.genesis.servers)
            draws = server.host.generator(server.height, *slot, 2)
            self._later("propose", mean * float(draws.standard_exponential()))

    def _propose(self) -> None:
        """Aggregate, publish and send (lines 5-6)."""
        server = self.server
        if not server.sufficient(len(server.pool)):
            self._racing = None  # a client's second update took its first away
            return
        candidate: Candidate | None = self.candidate_of(server.pool.ordered())
        if server.behaviour is not None and candidate is not None:
            candidate = server.behaviour.proposes(self.server, candidate)
        if candidate is None:
            return
        server.host.charge("sign")
        self.tell("candidate", candidate)
        self._apply(paper.on_candidate(self.context, self.state, candidate))

    def candidate_of(self, updates: Sequence[SignedUpdate]) -> Candidate:
        """The candidate that this server would propose in the slot in progress from these updates
        (at least one): it names the committee as it has heard it announce itself."""
        tickets = self.state.committee(self.context)
        header = self.server.contents.propose_header(
            updates, *self.state.slot, tickets_digest(tickets)
        )
        return Candidate(
            header,
            self.server.signer.sign(header.signed),
            tickets,
            tuple(update.record.digest for update in updates),
        )

    # -- candidates -------------------------------------------------------------------------------

    def on_candidate(self, candidate: Candidate) -> bool:
        """Check a proposed block; the first of its slot goes before its committee."""
        server = self.server
        if server.catching_up:
            return False
        if (candidate.turn, candidate.justification, candidate.proof) != (None, None, None):
            return server.refuse("candidate of another protocol")
        slot = candidate.view
        if slot[0] > self.state.slot[0] + ATTEMPTS_AHEAD:
            return server.refuse("candidate for another attempt")
        known = self.state.candidates.get(slot)
        if known is not None:
            same = known.header.cid == candidate.header.cid
            return False if same else server.refuse("another candidate was first")
        server.host.charge("verify")
        server.host.may_relay()
        server.host.charge("vrf_verify", times=self._unknown(candidate.tickets))
        try:
            server.checks.candidate(server.chain.head, candidate)
        except InvalidBlock:
            return server.refuse("candidate header")
        self._apply(paper.on_candidate(self.context, self.state, candidate))
        return True

    def _unknown(self, tickets: Sequence[Ticket]) -> int:
        """The number of these tickets that this server has not checked."""
        known = {ticket.server for ticket in self.state.announced}
        return sum(ticket.server not in known for ticket in tickets)

    def _judge(self, candidate: Candidate) -> None:
        """Recompute the candidate (line 11). Pools may differ, and nobody asks for what is missing:
        a member votes when the gossip has brought it, or not at all. What is sufficient, each
        decides by what it has heard and when it began."""
        server = self.server
        updates = server.pool.pick(candidate.updates)
        if updates is None or server.builds_on_less():
            self._judging = candidate
            return
        self._judging = None
        valid = server.sufficient(len(updates)) and self._is_correct(candidate, updates)
        if server.behaviour is not None:
            draws = partial(server.host.generator, server.height, *candidate.view, 1)
            valid = server.behaviour.verdict(valid, draws)
        self._apply(paper.on_judged(self.context, self.state, candidate, valid))

    def _is_correct(self, candidate: Candidate, updates: Sequence[SignedUpdate]) -> bool:
        """True if an honest member approves of a candidate that it sees for the first time."""
        contents = self.server.contents
        return contents.is_timely(candidate.header) and contents.recomputes(candidate, updates)

    # -- votes ------------------------------------------------------------------------------------

    def _vote(self, phase: str, candidate: Candidate) -> None:
        """Send a vote to the committee and the aggregator, who shares the block. (Others need no
        votes: they move on when MaxVoteDuration is over, and hear of the block.)"""
        server = self.server
        header = candidate.header
        slot, block, chain_id = candidate.view, header.cid, server.genesis.chain_id
        signed = Vote.signing_digest(chain_id, server.height, *slot, phase, block)
        server.host.charge("sign")
        vote = Vote(
            chain_id, server.height, *slot, phase, block, server.index, server.signer.sign(signed)
        )
        to = candidate.seated | {header.aggregator}
        self.tell("vote", vote, sorted(to - {server.index}))
        self._apply(paper.on_vote(self.context, self.state, vote))

    def on_vote(self, vote: Vote) -> bool:
        """Check and count a member's vote."""
        server = self.server
        if server.catching_up:
            return False
        slot = (vote.attempt, vote.step)
        if vote.server >= len(server.genesis.servers) or vote.chain_id != server.genesis.chain_id:
            return server.refuse("vote by a stranger")
        if vote.phase not in ("approve", "reject"):
            return server.refuse("vote of another protocol")
        if vote.attempt > self.state.slot[0] + ATTEMPTS_AHEAD:
            return server.refuse("vote for another attempt")
        if vote.step >= self.context.max_step:
            return server.refuse("vote beyond MaxStep")
        candidate = self.state.candidates.get(slot)
        if (
            candidate is not None
            and candidate.header.cid == vote.block
            and vote.server not in candidate.seated
        ):
            return server.refuse("vote without a seat")
        first = self.state.votes.get(slot, {}).get(vote.server)
        if first is not None:
            same = (first.phase, first.block) == (vote.phase, vote.block)
            return False if same else server.refuse("second vote")
        server.host.charge("verify")
        if not server.checks.vote(server.chain.head, vote):
            return server.refuse("vote signature")
        self._apply(paper.on_vote(self.context, self.state, vote))
        return True

    # -- deciding ---------------------------------------------------------------------------------

    def _decide_by(self, candidate: Candidate, certificate: Certificate) -> None:
        server = self.server
        block = Block(candidate.header, candidate.signature, candidate.tickets, certificate)
        if candidate.header.aggregator == server.index:
            server.say("block", block)
        server.decide(block)

    def draws_to_check(self, block: Block) -> int:
        return self._unknown(block.tickets)

    def block_seen(self, block: bytes) -> None:
        """Do nothing: nobody but the aggregator passes a block on."""

    def resume(self, written: int) -> None:
        """Do nothing: nothing is promised, and nothing remembered."""

    # -- timers -----------------------------------------------------------------------------------

    def on_timer(self, what: str, view: View) -> None:
        if what == "announce":
            if self._mine is not None:
                self.server.say("ticket", self._mine)
                self._apply(paper.on_ticket(self.state, self._mine))
                self._race_if_ready()
        elif what == "tickets":
            self._collected = True
            self._race_if_ready()
        elif what == "propose":
            if view == self.state.slot and self.state.trying is None:
                self._propose()
        elif what == "vote":
            self._apply(paper.on_vote_timer(self.context, self.state, view))

    def on_late_timer(self, what: str, height: int) -> None:
        """Do nothing: nothing is left to do once a height is over."""

    # -- staying in step --------------------------------------------------------------------------

    def progress(self) -> object:
        """The number of announcements: slots pass whether or not anything is heard."""
        return len(self.state.announced)

    def say_again(self) -> None:
        if self._mine is not None and self._mine in self.state.announced:
            self.server.say("ticket", self._mine)
        super().say_again()

    def tickets_held(self) -> tuple[int, ...]:
        return tuple(sorted(ticket.server for ticket in self.state.announced))

    def help(self, status: Status) -> Iterator[tuple[Kind, Any]]:
        state, held = self.state, set(status.tickets)
        for ticket in state.announced:  # in the order heard: who asks may get its committee here
            if ticket.server not in held:
                yield "ticket", ticket
        if state.trying is not None and (status.attempt, status.step) <= state.slot:
            yield "candidate", state.trying

    def predicament(self) -> str:
        taken, size = len(self.state.committee(self.context)), self.context.size
        if not self.context.agree(taken):
            return (
                f"only {taken} servers announced themselves for {size} seats, and draws on the "
                "same block give no others, a deadlock of Algorithm 2"
            )
        if self.state.slot[0]:
            return (
                f"the committee was formed anew {self.state.slot[0]} times from the same draws; "
                "where it is blocked it stays so, a deadlock of Algorithm 2"
            )
        return ""
