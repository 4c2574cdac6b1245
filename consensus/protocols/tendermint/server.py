"""The part of an edge server that follows `tendermint`: it feeds the vote of a height with what it
has checked, and does what the vote asks for.

A height, seen from here: make a ticket for the next height; when updates are sufficient and tickets
were collected, the proposer of round 0 proposes; judge a proposal by recomputing it; sign and send
the votes that are due; when a block is decided, pass it on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from consensus.ledger.validity import InvalidBlock
from consensus.protocols.bft.beacon import BeaconParticipant
from consensus.protocols.bft.state import NOBODY
from consensus.protocols.tendermint import unheard
from consensus.protocols.tendermint import vote as tendermint
from consensus.protocols.tendermint.proposals import Proposals
from consensus.protocols.tendermint.state import (
    PROPOSE,
    STEPS,
    CastVote,
    Decide,
    Effect,
    HeightContext,
    Promises,
    Schedule,
    ShowProof,
    StartRound,
    State,
    Step,
    Validate,
    view_of,
)
from consensus.records.block import Block
from consensus.records.evidence import Evidence
from consensus.records.sync import Status
from consensus.records.view import View
from consensus.records.votes import NIL, Certificate, Vote
from consensus.server.edge_server import EdgeServer
from consensus.server.message import Kind
from consensus.server.unheard import Credit, Fit

#: timeoutPrevote and timeoutPrecommit are this part of timeoutPropose, as in CometBFT's defaults: a
#: vote is short, and nothing has to be fetched or recomputed for it.
VOTE_PART = 3


class TendermintParticipant(BeaconParticipant[Effect, Promises]):
    """One server's part in `tendermint`: its vote, with its `Proposals` and `Tickets`."""

    proposals: Proposals

    def __init__(self, server: EdgeServer) -> None:
        super().__init__(server, Promises)
        self.state = State(Promises())
        self.proposals = Proposals(server, self, self.tickets)

    def handlers(self) -> dict[str, Callable[[Any], bool]]:
        return {
            "ticket": self.proposals.on_ticket,
            "candidate": self.proposals.on_candidate,
            "vote": self.on_vote,
            "lock": self.on_lock,
        }

    # -- a height begins --------------------------------------------------------------------------

    def begin(self) -> None:
        server, head = self.server, self.server.chain.head
        sortition = server.checks.sortitions(head)
        self.context = HeightContext(server.index, server.height, sortition(0).committee, sortition)
        self.begin_vote()
        self.tickets.begin()
        self.proposals.begin()
        self.votes: dict[tuple[str, int, int], list[Vote]] = {}
        """By phase, round and server: its checked votes, of which two are kept: they differ."""
        self.undecided: Certificate | None = None
        """A certificate that decides a block which is not here."""
        self.others = [each for each in self.context.committee.weights if each != server.index]
        self._seen_block: bytes | None = None
        promises = self.durable.promises
        back = not server.catching_up and promises.height == server.height
        if back:
            self.durable.recall(self.proposals.bodies, server.pool, head)
        state, effects = tendermint.begin(self.context, promises, server.catching_up)
        self.state = state
        self._none_yet = None if back else state.promises
        """The promises of a height in which it has made none."""
        server.set_timer("tickets", server.parameters.ticket_us)
        if not server.catching_up and self.tickets.draw():
            self.tickets.announce(self.others)  # every member may propose, and so record it
        self.apply((state, effects))
        if back and promises != Promises(server.height):
            self.proposals.arm()  # it has said something already

    def stage(self) -> View:
        return view_of(self.state.round) if self.server.active else (0, 0)

    def updates_changed(self) -> None:
        self.proposals.updates_changed()

    def unheard_updates(self) -> int:
        return self.proposals.unheard_updates()

    # -- what it need not hear of -----------------------------------------------------------------

    def fit(self, kind: str, body: Any) -> Fit | None:
        return unheard.fit(self.context, self.server.checks, self.server.chain.head, body)

    def credits(self) -> Iterator[Credit]:
        head, proposals = self.server.chain.head, self.state.proposals.get(self.state.round)
        yield Credit(unheard.TICKETS, head.cid, self.proposals.unheard_tickets())
        if proposals and self.proposals.armed:
            block = proposals[0].header.cid
            yield from unheard.votes_uncounted(self.context, self.state, head, block)

    def ignored(self, decided: Block) -> Iterator[Credit]:
        yield from unheard.too_late(decided)

    def _count(self, votes: list[Vote]) -> None:
        self.votes.update((unheard.name_of(vote), [vote]) for vote in votes)
        self.state = tendermint.counted(self.context, self.state, votes)

    def votes_heard(self, phase: str) -> Iterable[Vote]:
        return (vote for votes in self.votes.values() for vote in votes if vote.phase == phase)

    # -- the vote's effects -----------------------------------------------------------------------

    def apply(self, step: Step) -> bool:
        """Take over a state, its promises first, and do what follows from it. Returns True if
        anything did or the state changed."""
        state, effects = step
        changed = state is not self.state
        if changed:
            self.state, promises, server = state, state.promises, self.server
            new = promises is not self.durable.promises and promises is not self._none_yet
            if new and not server.catching_up:
                voted = self.proposals.bodies.get(promises.prevote[1])
                self.durable.write(promises, voted, self.proposals.bodies, server.pool)
                if self.strike is not None:
                    self.strike()
        if not effects:
            return changed
        self.do_all(effects)
        return True

    def _do(self, effect: Effect) -> None:
        match effect:
            case StartRound(round):
                self._enter(round)
            case Schedule(what, round):
                if what != STEPS[PROPOSE] or round or self.proposals.armed:
                    self.schedule(what, round)
            case Validate(candidate, proven):
                self.proposals.judge(candidate, proven)
            case CastVote(phase, round, block):
                self._vote(phase, round, block)
            case ShowProof(proof, to):
                self.server.say("lock", proof, to)
            case Decide(certificate):
                self.decide_by(certificate)

    def _enter(self, round: int) -> None:
        """Begin a round, in which this server may propose."""
        if round == self.state.round:
            self.said.clear()
            if round:
                self.proposals.arm()
            if self.server.behaviour is not None:
                self.server.behaviour.entered(self.server)
        self.proposals.propose_if_due()

    def schedule(self, what: str, round: int) -> None:
        """Start the timer of a step of a round: MaxVoteDuration to propose, a third of it for the
        votes, and half as long again with every round: once the network behaves, some round lasts
        long enough."""
        whole = self.server.parameters.vote_us * (2 + round) // 2
        part = 1 if what == STEPS[PROPOSE] else VOTE_PART
        self.server.set_timer(what, whole // part, view_of(round))

    # -- votes ------------------------------------------------------------------------------------

    def _vote(self, phase: str, round: int, block: bytes) -> None:
        """Sign a vote and send it to the committee."""
        server, chain_id = self.server, self.server.genesis.chain_id
        server.host.charge("sign")
        signed = Vote.signing_digest(chain_id, server.height, round, 0, phase, block)
        signature = server.signer.sign(signed)
        vote = Vote(chain_id, server.height, round, 0, phase, block, server.index, signature)
        if round == self.state.round:
            self.tell("vote", vote, tuple(self.others))
        else:
            server.say("vote", vote, tuple(self.others))  # one of before a crash
        self.votes[unheard.name_of(vote)] = [vote]
        self.apply(tendermint.on_votes(self.context, self.state, [vote]))

    def on_vote(self, vote: Vote) -> bool:
        """Check and count a member's vote."""
        server = self.server
        if vote.chain_id != server.genesis.chain_id or vote.server >= len(server.genesis.servers):
            return server.refuse("vote by a stranger")
        if vote.phase not in STEPS[1:] or vote.proposal:
            return server.refuse("vote of another protocol")
        if vote.step:
            return server.refuse("vote beyond MaxStep")
        if not self.context.weight(vote.server):
            return server.refuse("vote without a seat")
        known = self.votes.get(unheard.name_of(vote), ())
        if any(each.block == vote.block for each in known):
            return False
        if len(known) > 1:
            return server.refuse("third vote")
        server.host.charge("verify")
        if not server.checks.vote(server.chain.head, vote):
            return server.refuse("vote signature")
        return self._take_in([vote])

    def on_lock(self, proof: Certificate) -> bool:
        """Check a proof of lock that somebody shows, and take in its prevotes."""
        server, context = self.server, self.context
        if tendermint.has_quorum(context, self.state, proof.phase, proof.attempt, proof.block):
            return False
        server.host.charge("verify", times=len(proof.signatures))
        try:
            server.checks.lock(server.chain.head, proof)
        except InvalidBlock:
            return server.refuse("lock")
        return self.take_in_votes(proof)

    def take_in_votes(self, proof: Certificate) -> bool:
        """Take in the prevotes of a checked proof of lock."""
        said = (proof.height, proof.attempt, 0, proof.phase, proof.block)
        chain_id = self.server.genesis.chain_id
        return self._take_in(Vote(chain_id, *said, *signed) for signed in proof.signatures)

    def _take_in(self, votes: Iterable[Vote]) -> bool:
        """Count checked votes of members. Two of one member in one phase and round are evidence,
        and both count, as in the paper's message log: so does what they make a quorum of."""
        server, new = self.server, []
        for vote in votes:
            kept = vote.attempt <= self.state.round + self.context.ahead
            name = unheard.name_of(vote)
            known = self.votes.get(name, [])
            if any(each.block == vote.block for each in known):
                continue
            new.append(vote)
            if kept and len(known) < 2:
                self.votes[name] = [*known, vote]
                server.inbox.note(name)
            if known:
                first, view = known[0], view_of(vote.attempt)
                blocks, signatures = (first.block, vote.block), (first.signature, vote.signature)
                found = Evidence(vote.server, server.height, view, vote.phase, blocks, signatures)
                server.accuse(found)
        self.proposals.arm()
        if not new:
            return False
        if server.active:
            self.apply(tendermint.on_votes(self.context, self.state, new))
        return True

    # -- deciding ---------------------------------------------------------------------------------

    def decide_by(self, certificate: Certificate) -> None:
        """Append the block that has 2f + 1 precommits, and pass it on. Its proposer does at once,
        other members if they do not see it go round."""
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
        if self.context.proposer(certificate.attempt) == server.index:
            server.say("block", block)
        else:
            # One after the other: whoever sees it go round keeps quiet.
            order = [*self.context.committee.weights, server.index]
            rank = min(order.index(server.index) + 1, len(order) - 1)
            server.set_timer("relay", rank * server.parameters.ticket_us, certificate.view)
        server.decide(block)

    def goes_on(self, kind: str, body: Any, decided: Block) -> bool:
        """True for what is said of a later round, or for another block: who decided says neither,
        and whoever is about to may lack the precommits that decided."""
        if kind == "candidate":
            return bool(body.view > decided.certificate.view)
        if kind != "vote":
            return False
        later = (body.attempt, body.step) > decided.certificate.view
        return later or body.block not in (decided.cid, NIL)

    def known(self, kind: str, body: Any, decided: Block | None) -> tuple[Kind, Any] | None:
        if kind == "ticket":
            held = None if decided is not None else self.tickets.held.get(body.server)
            return None if held is None else ("ticket", held[0])
        if kind != "candidate":
            return None
        if decided is not None:
            return "block", decided
        for same in self.state.proposals.get(body.view[0], ()):
            if same.header.cid == body.header.cid:
                return "candidate", same
        return None

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
        if what == "tickets":
            self.proposals.on_tickets_timer()
        elif what == "want":
            self.proposals.on_want_timer(view[0])
        elif what in STEPS:
            self.apply(tendermint.on_timer(self.context, self.state, what, view[0]))

    # -- staying in step --------------------------------------------------------------------------

    def progress(self) -> object:
        """The round and step: in either a server may wait for votes that were lost."""
        return self.state.round, self.state.step

    def say_again(self) -> None:
        super().say_again()
        self.tickets.announce_again()

    def tickets_held(self) -> tuple[int, ...]:
        return self.tickets.holders()

    def help(self, status: Status) -> Iterator[tuple[Kind, Any]]:
        """The messages that the paper's gossip brings to everybody: a proof of lock, proposals of
        its value and of the round in progress, and the votes from the asker's round on."""
        state, valid = self.state, self.state.promises.valid
        if valid is not None:
            yield "lock", valid
        wanted = list(state.proposals.get(state.round, ()))
        if valid is not None and valid.block in self.proposals.bodies:
            wanted.append(self.proposals.bodies[valid.block])
        for candidate in {id(each): each for each in wanted}.values():
            yield "candidate", candidate
        for name in sorted(self.votes, key=lambda name: -name[1]):
            if name[1] >= min(status.attempt, state.round):
                for vote in self.votes[name]:
                    yield "vote", vote
        for ticket in self.tickets.all_but(status.tickets):
            yield "ticket", ticket

    def predicament(self) -> str:
        state, committee = self.state, self.context.committee
        voted = state.heard.get((STEPS[state.step], state.round), NOBODY).weight
        if state.step == PROPOSE or committee.approves(voted):
            return ""
        return (
            f"{voted} of {committee.total} seats have cast a {STEPS[state.step]} in round "
            f"{state.round}, and Tendermint draws no other committee for a height"
        )
