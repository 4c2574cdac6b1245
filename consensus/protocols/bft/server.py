"""The part of an edge server that follows `bft`: it feeds the vote of a height
(`consensus.protocols.bft.vote`) with what it has checked, and does what the vote asks for.

A height, seen from here: make a ticket for the next height and send it to those who will record
it; when updates are sufficient and tickets were collected, the leader proposes; judge a proposal
by recomputing it; sign and send the votes that are due; when a block is decided, pass it on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from consensus.protocols.bft import unheard
from consensus.protocols.bft import vote as bft
from consensus.protocols.bft.beacon import BeaconParticipant
from consensus.protocols.bft.proposals import Proposals
from consensus.protocols.bft.state import HeightContext, Promises
from consensus.protocols.bft.view_changes import ViewChanges
from consensus.records.block import Block
from consensus.records.evidence import Evidence
from consensus.records.sync import Status
from consensus.records.view import View
from consensus.records.votes import Certificate, Timeout, Vote
from consensus.server.edge_server import EdgeServer
from consensus.server.message import Kind
from consensus.server.unheard import Credit, Fit


class BftParticipant(BeaconParticipant[bft.Effect, Promises]):
    """One server's part in `bft`: its vote, with its `Proposals` and `Tickets`."""

    proposals: Proposals

    def __init__(self, server: EdgeServer) -> None:
        super().__init__(server, Promises)
        self.state = bft.BLANK
        self.proposals = Proposals(server, self, self.tickets)
        self.views = ViewChanges(server, self)

    def handlers(self) -> dict[str, Callable[[Any], bool]]:
        return {
            "ticket": self.proposals.on_ticket,
            "candidate": self.proposals.on_candidate,
            "vote": self.on_vote,
            **self.views.handlers(),
        }

    # -- a height begins --------------------------------------------------------------------------

    def begin(self) -> None:
        server, head = self.server, self.server.chain.head
        electorate = head.electorate(server.genesis)
        self.context = HeightContext(
            server.index,
            server.height,
            electorate.stakes,
            electorate.total_stake,
            server.checks.sortitions(head),
            server.parameters.settle_us > 0,
        )
        self.begin_vote()
        self.tickets.begin()
        self.proposals.begin()
        self.views.begin()
        self.decided_before = self.durable.decided.get(server.height)
        """The block of this height that it had before a crash took it; None without one."""
        self._members: dict[int, list[int]] = {}
        self.first_votes: dict[tuple[str, View, int], Vote] = {}
        """By phase, view and server: the first vote."""
        self.undecided: Certificate | None = None
        """A certificate that decides a block which is not here."""
        self._seen_block: bytes | None = None
        promises = self.durable.promises
        back = not server.catching_up and promises.height == server.height
        if back:
            self.durable.recall(self.proposals.bodies, server.pool, head)
        state, effects = bft.begin(self.context, promises, catching_up=server.catching_up)
        self.state = state
        self._none_yet = None if back else state.promises
        """The promises of a height in which it has made none."""
        self.await_tickets()
        if not server.catching_up and self.tickets.draw():
            self._announce()
        self.apply((state, effects))
        if back and self.durable.promises != Promises(server.height):
            self.proposals.arm()  # it has said something already

    def stage(self) -> View:
        return self.state.view if self.server.active else (0, 0)

    def updates_changed(self) -> None:
        self.proposals.updates_changed()

    # -- what it need not hear of -----------------------------------------------------------------

    def unheard_updates(self) -> int:
        return self.proposals.unheard_updates()

    def fit(self, kind: str, body: Any) -> Fit | None:
        server = self.server
        return unheard.fit(self.context, server.checks, server.chain.head, body)

    def credits(self) -> Sequence[Credit]:
        head = self.server.chain.head
        tickets = Credit(unheard.TICKETS, head.cid, self.proposals.unheard_tickets())
        first = self.proposals.first.get(self.state.view)
        block = None if first is None else first[0]
        likely = self.views.last_height + 1 >= self.server.height
        return [tickets, *unheard.uncounted(self.context, self.state, head, block, likely)]

    def ignored(self, decided: Block) -> Sequence[Credit]:
        return unheard.too_late(decided)

    def _count(self, votes: list[Vote]) -> None:
        self.first_votes.update((unheard.name_of(vote), vote) for vote in votes)
        self.state = unheard.count(self.context, self.state, votes)

    def _count_timeouts(self, timeouts: list[Timeout]) -> None:
        self.views.note_all(timeouts)
        self.state = unheard.count_timeouts(self.context, self.state, timeouts)

    def votes_heard(self, phase: str) -> Iterable[Vote]:
        return (vote for vote in self.first_votes.values() if vote.phase == phase)

    def members(self, attempt: int) -> list[int]:
        """The others on an attempt's committee."""
        others = self._members.get(attempt)
        if others is None:
            weights = self.context.sortition(attempt).committee.weights
            others = self._members[attempt] = [s for s in weights if s != self.server.index]
        return others

    def _announce(self) -> None:
        """Send one's ticket to those who record it: the committee and the aggregators of this
        attempt and, so that it is there in time, of the next."""
        who: dict[int, None] = {}
        for attempt in (self.state.view[0], self.state.view[0] + 1):
            who |= dict.fromkeys((*self.members(attempt), *self.context.sortition(attempt).order))
        self.tickets.announce(who)

    def lose_blocks(self, blocks: Sequence[Block]) -> None:
        self.durable.lose_blocks(blocks)

    # -- the vote's effects -----------------------------------------------------------------------

    def apply(self, step: bft.Step) -> bool:
        """Take over a state, its promises first, and do what follows from it. Returns True if
        anything did or the state changed."""
        state, effects = step
        changed = state is not self.state
        if changed:
            self.state = state
            promises, server = state.promises, self.server
            new = promises is not self.durable.promises and promises is not self._none_yet
            if new and not server.catching_up:
                voted = state.candidates.get(promises.soft)
                self.durable.write(promises, voted, self.proposals.bodies, server.pool)
                if self.strike is not None:
                    self.strike()
        if not effects:
            return changed
        self.do_all(effects)
        return True

    def _do(self, effect: bft.Effect) -> None:
        server = self.server
        match effect:
            case bft.CastVote(phase, view, block):
                self._vote(phase, view, block)
            case bft.Validate(candidate):
                self.proposals.judge(candidate)
            case bft.Enter(view):
                self._enter(view)
            case bft.SendTimeout(view, everyone):
                self.views.leave(view, everyone)
            case bft.Settle(view):
                server.set_timer("settle", server.parameters.settle_us, view)
            case bft.AwaitLocks(view):
                server.set_timer("listen", server.parameters.settle_us, view)
            case bft.ShowLock(lock, to):
                server.say("lock", lock, None if to is None else [to])
            case bft.ShowTimeoutCertificate(certificate):
                self.views.tell(certificate)
            case bft.Decide(certificate):
                self.decide_by(certificate)

    def _enter(self, view: View) -> None:
        server = self.server
        if view == self.state.view:
            self.said.clear()
            self.proposals.enter_view(view)
            if view != (0, 0):
                server.set_timer("view", self.proposals.view_us(view), view)
            justification = self.state.justification
            if justification is not None:
                if view[1] == 0:
                    self._announce()
                if self.context.weight(view[0], server.index):
                    # Whoever led here may have told only some: nobody stays behind for long.
                    self.views.tell(justification)
            if server.behaviour is not None:
                server.behaviour.entered(self.server)
        self.proposals.propose_if_due()

    # -- votes ------------------------------------------------------------------------------------

    def _vote(self, phase: str, view: View, block: bytes) -> None:
        """Sign a vote and send it to the committee and to whoever passes the block on."""
        server, chain_id = self.server, self.server.genesis.chain_id
        proposal = self.proposals.first.get(view, (b"", b""))
        server.host.charge("sign")
        vote = Vote(
            chain_id,
            server.height,
            *view,
            phase,
            block,
            server.index,
            server.signer.sign(Vote.signing_digest(chain_id, server.height, *view, phase, block)),
            proposal[1] if phase == "soft" and proposal[0] == block else b"",
        )
        to = dict.fromkeys(self.members(view[0]))
        leader = self.context.leader(view)
        if leader is not None and leader != server.index:
            to[leader] = None
        self.tell("vote", vote, tuple(to))
        self.apply(bft.on_vote(self.context, self.state, vote))

    def on_vote(self, vote: Vote) -> bool:
        """Check and count a member's vote."""
        server, view = self.server, (vote.attempt, vote.step)
        if vote.server >= len(self.context.stakes) or vote.chain_id != server.genesis.chain_id:
            return server.refuse("vote by a stranger")
        if vote.phase not in ("soft", "cert"):
            return server.refuse("vote of another protocol")
        if vote.attempt > self.state.view[0] + bft.ATTEMPTS_AHEAD:
            return server.refuse("vote for another attempt")
        if self.context.leader(view) is None:
            return server.refuse("vote beyond MaxStep")
        if not self.context.weight(vote.attempt, vote.server):
            return server.refuse("vote without a seat")
        key = unheard.name_of(vote)
        first = self.first_votes.get(key)
        if first is not None and first.block == vote.block:
            return False
        server.host.charge("verify")
        if not server.checks.vote(server.chain.head, vote):
            return server.refuse("vote signature")
        if first is not None:
            blocks, signatures = (first.block, vote.block), (first.signature, vote.signature)
            voter = vote.server
            server.accuse(Evidence(voter, server.height, view, vote.phase, blocks, signatures))
            return server.refuse("second vote")
        self.first_votes[key] = vote
        server.inbox.note(key)
        if vote.phase == "soft" and vote.proposal:
            self.proposals.hear(view, vote)
        if server.active:
            self.apply(bft.on_vote(self.context, self.state, vote))
        return True

    # -- deciding ---------------------------------------------------------------------------------

    def decide_by(self, certificate: Certificate) -> None:
        """Append the block that has more than two thirds of the cert votes, and pass it on. Its
        aggregator does at once, other members if they do not see it go round."""
        server = self.server
        body = self.proposals.bodies.get(certificate.block)
        if body is None:
            if self.undecided is None:
                self.undecided = certificate
                server.catch_up.ask([voter for voter, _ in certificate.signatures])
            return
        if certificate.view < body.header.view:
            server.refuse("decision")  # a captured committee's, of a block not yet proposed
            return
        block = Block(body.header, body.signature, body.tickets, certificate, body.settlement)
        if self.context.leader(certificate.view) == server.index:
            server.say("block", block)
        else:
            # One after the other: whoever sees it go round keeps quiet.
            weights = self.context.sortition(certificate.attempt).committee.weights
            rank = len(weights)
            if server.index in weights:
                rank = 1 + list(weights).index(server.index)
            server.set_timer("relay", rank * server.parameters.ticket_us, certificate.view)
        server.decide(block)

    def goes_on(self, kind: str, body: Any, decided: Block) -> bool:
        if kind == "candidate":
            kind, body = "closure", body.justification
        if kind in ("closure", "timeout"):
            # Who enters a view with a lower lock, be it on this block, may vote there for a block
            # that another certificate's lock justifies.
            return body is not None and (
                body.lock is None
                or body.lock.view < decided.certificate.view
                or body.lock.block != decided.cid
            )
        return kind == "vote" and bool(body.block != decided.cid)

    def known(self, kind: str, body: Any, decided: Block | None) -> tuple[Kind, Any] | None:
        if kind == "ticket":
            held = None if decided is not None else self.tickets.held.get(body.server)
            return None if held is None else ("ticket", held[0])
        if kind not in ("candidate", "timeout", "closure", "lock"):
            return None
        return self.views.known(kind, body) if decided is None else ("block", decided)

    def block_seen(self, block: bytes) -> None:
        self._seen_block = block

    def draws_to_check(self, block: Block) -> int:
        """The number of draws to check: none of a block whose candidate was here."""
        return 0 if block.cid in self.proposals.bodies else len(block.tickets)

    # -- timers -----------------------------------------------------------------------------------

    def on_late_timer(self, what: str, height: int) -> None:
        chain = self.server.chain
        if what == "relay" and height == chain.height and self._seen_block != chain.head.cid:
            self.server.say("block", chain.blocks[-1])

    def on_timer(self, what: str, view: View) -> None:
        server = self.server
        if what == "tickets":
            self.proposals.on_tickets_timer()
        elif what == "asked":
            self.proposals.on_asked_timer(view)
        elif what == "view":
            self.apply(bft.on_view_timer(self.context, self.state, view))
            recovery_us = server.parameters.recovery_us
            if server.active and view == self.state.view and recovery_us:
                server.set_timer("recovery", recovery_us, view)
        elif what == "settle":
            self.apply(bft.on_settle_timer(self.context, self.state, view))
        elif what == "listen":
            self.apply(bft.on_listen_timer(self.context, self.state, view))
        elif what == "want":
            self.proposals.on_want_timer(view)
        elif what == "recovery":
            self.apply(bft.on_recovery_timer(self.context, self.state, view))

    # -- staying in step --------------------------------------------------------------------------

    def progress(self) -> object:
        return self.stage()

    def say_again(self) -> None:
        super().say_again()
        self.tickets.announce_again()

    def tickets_held(self) -> tuple[int, ...]:
        return self.tickets.holders()

    def help(self, status: Status) -> Iterator[tuple[Kind, Any]]:
        state, promises = self.state, self.state.promises
        if state.justification is not None and (status.attempt, status.step) < state.view:
            yield "closure", state.justification
        wanted = [state.candidates.get(state.view)]
        wanted += [self.proposals.bodies.get(lock.block) for lock in promises.locks]
        wanted += [self.proposals.bodies.get(state.decided.block) if state.decided else None]
        candidates = {id(candidate): candidate for candidate in wanted if candidate is not None}
        for candidate in candidates.values():
            yield "candidate", candidate
        for ticket in self.tickets.all_but(status.tickets):
            yield "ticket", ticket
        for tally in (*state.votes.values(), *state.timeouts.values()):
            for message in tally.messages():
                yield "vote" if isinstance(message, Vote) else "timeout", message
