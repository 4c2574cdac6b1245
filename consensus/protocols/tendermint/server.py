"""The part of an edge server that follows `tendermint`: it feeds the vote of a height with what it
has checked, and does what the vote asks for.

A height, seen from here: make a ticket for the next height; when updates are sufficient and tickets
were collected, the proposer of round 0 proposes; judge a proposal by recomputing it; sign and send
the votes that are due; when a block is decided, pass it on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from consensus.ledger.validity import InvalidBlock
from consensus.protocols.bft.rotation import RotationParticipant
from consensus.protocols.bft.standing import name_of, view_of
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
    Promises,
    Schedule,
    ShowProof,
    StartRound,
    State,
    Step,
    Validate,
)
from consensus.records.block import Block
from consensus.records.sync import Status
from consensus.records.view import View
from consensus.records.votes import NIL, Certificate, Vote
from consensus.server.edge_server import EdgeServer
from consensus.server.message import Kind
from consensus.server.unheard import Credit, Fit

#: timeoutPrevote and timeoutPrecommit are this part of timeoutPropose, as in CometBFT's defaults: a
#: vote is short, and nothing has to be fetched or recomputed for it.
VOTE_PART = 3


class TendermintParticipant(RotationParticipant[Effect, Promises]):
    """One server's part in `tendermint`: its vote, with its `Proposals` and `Tickets`."""

    proposals: Proposals
    state: State

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

    def _begun(self, promises: Promises, catching_up: bool) -> Step:
        return tendermint.begin(self.context, promises, catching_up)

    # -- what it need not hear of -----------------------------------------------------------------

    def fit(self, kind: str, body: Any) -> Fit | None:
        return unheard.fit(self.context, self.server.checks, self.server.chain.head, body)

    def credits(self) -> Sequence[Credit]:
        head, proposals = self.server.chain.head, self.state.proposals.get(self.state.round)
        tickets = Credit(unheard.TICKETS, head.cid, self.proposals.unheard_tickets())
        if not proposals or not self.proposals.armed:
            return [tickets]
        block = proposals[0].header.cid
        return [tickets, *unheard.votes_uncounted(self.context, self.state, head, block)]

    def ignored(self, decided: Block) -> Sequence[Credit]:
        return unheard.too_late(decided)

    def _count(self, votes: list[Vote]) -> None:
        self.votes.update((name_of(vote), [vote]) for vote in votes)
        self.state = tendermint.counted(self.context, self.state, votes)

    def votes_heard(self, phase: str) -> Iterable[Vote]:
        return (vote for votes in self.votes.values() for vote in votes if vote.phase == phase)

    # -- the vote's effects -----------------------------------------------------------------------

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
        vote = self._sign(phase, round, block)
        if round == self.state.round:
            self.tell("vote", vote, tuple(self.others))
        else:
            self.server.say("vote", vote, tuple(self.others))  # one of before a crash
        self._voted([vote])

    def _voted(self, votes: list[Vote]) -> None:
        self.apply(tendermint.on_votes(self.context, self.state, votes))

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

    # -- deciding ---------------------------------------------------------------------------------

    def goes_on(self, kind: str, body: Any, decided: Block) -> bool:
        """True for what is said of a later round, or for another block: who decided says neither,
        and whoever is about to may lack the precommits that decided."""
        if kind == "candidate":
            return bool(body.view > decided.certificate.view)
        if kind != "vote":
            return False
        later = (body.attempt, body.step) > decided.certificate.view
        return later or body.block not in (decided.cid, NIL)

    # -- timers -----------------------------------------------------------------------------------

    def on_timer(self, what: str, view: View) -> None:
        if what == "tickets":
            self.proposals.on_tickets_timer()
        elif what == "asked":
            self.proposals.on_asked_timer(view)
        elif what == "want":
            self.proposals.on_want_timer(view[0])
        elif what in STEPS:
            self.apply(tendermint.on_timer(self.context, self.state, what, view[0]))

    # -- staying in step --------------------------------------------------------------------------

    def progress(self) -> object:
        """The round and step: in either a server may wait for votes that were lost."""
        return self.state.round, self.state.step

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
        yield from self._tickets_lacking(status)
        for name in sorted(self.votes, key=lambda name: -name[1]):
            if name[1] >= min(status.attempt, state.round):
                for vote in self.votes[name]:
                    yield "vote", vote

    def predicament(self) -> str:
        state, committee = self.state, self.context.committee
        voted = state.heard.get((STEPS[state.step], state.round), NOBODY).weight
        if state.step == PROPOSE or committee.approves(voted):
            return ""
        return (
            f"{voted} of {committee.total} seats have cast a {STEPS[state.step]} in round "
            f"{state.round}, and Tendermint draws no other committee for a height"
        )
