"""The part of an edge server that follows `hotstuff`: it feeds the vote of a height with what it
has checked, and does what the vote asks for.

A height, seen from here: make a ticket for the next height; when updates are sufficient and tickets
were collected, the leader of view 0 proposes; judge a proposal by recomputing it; send each phase's
vote to the leader, who shows all members what the votes amount to; when a block is decided, its
leader passes it on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from consensus.ledger.validity import InvalidBlock
from consensus.protocols.bft.rotation import RotationParticipant
from consensus.protocols.bft.standing import view_of
from consensus.protocols.bft.unheard import TICKETS, fit_of_ticket
from consensus.protocols.hotstuff import vote as hotstuff
from consensus.protocols.hotstuff.proposals import Proposals
from consensus.protocols.hotstuff.state import (
    CastVote,
    Decide,
    Effect,
    EnterRound,
    Leave,
    Promises,
    Show,
    State,
    Step,
    Validate,
)
from consensus.records.block import Block
from consensus.records.evidence import LEFT, Evidence
from consensus.records.sync import Status
from consensus.records.ticket import Ticket
from consensus.records.view import View
from consensus.records.votes import (
    Certificate,
    LockName,
    Timeout,
    TimeoutCertificate,
    Vote,
)
from consensus.server.edge_server import EdgeServer
from consensus.server.message import Kind
from consensus.server.unheard import Credit, Fit

#: A view lasts at least so many MaxVoteDurations: one to propose and judge, and a third of one for
#: each of the three phases' votes, as `tendermint` allows.
DURATIONS = 2
#: Views from which on timers grow no further: by then they last years.
GROWS_UNTIL = 64


class HotStuffParticipant(RotationParticipant[Effect, Promises]):
    """One server's part in `hotstuff`: its vote, with its `Proposals` and `Tickets`."""

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
            "timeout": self.on_timeout,
            "closure": self.on_closure,
        }

    def begin(self) -> None:
        self._left: dict[tuple[int, int], tuple[LockName | None, bytes]] = {}
        """By view and server: the prepareQC that its first new-view message named, and the
        signature."""
        super().begin()

    def _begun(self, promises: Promises, catching_up: bool) -> Step:
        return hotstuff.begin(self.context, promises, catching_up)

    # -- what it need not hear of -----------------------------------------------------------------

    def fit(self, kind: str, body: Any) -> Fit | None:
        server = self.server
        if type(body) is not Ticket:
            return None  # votes go to one server alone
        return fit_of_ticket(server.height, server.checks, server.chain.head, body)

    def credits(self) -> Sequence[Credit]:
        head = self.server.chain.head
        return [Credit(TICKETS, head.cid, self.proposals.unheard_tickets())]

    def _count(self, votes: list[Vote]) -> None:
        raise NotImplementedError  # no vote is fit

    # -- the vote's effects -----------------------------------------------------------------------

    def _do(self, effect: Effect) -> None:
        match effect:
            case EnterRound(round):
                if round:
                    self.schedule(round)
                self._enter(round)
            case Validate(candidate, proven):
                self.proposals.judge(candidate, proven)
            case CastVote(phase, round, block):
                self._vote(phase, round, block)
            case Leave(round, prepared):
                self._leave(round, prepared)
            case Show(certificate):
                self.tell("lock", certificate, tuple(self.others))
            case Decide(certificate):
                self.decide_by(certificate)

    def schedule(self, round: int) -> None:
        """Start the timer of a view: half as long again as the one before, so that once the network
        behaves some view lasts long enough, whenever each server entered it."""
        grown = min(round, GROWS_UNTIL)
        whole = DURATIONS * self.server.parameters.vote_us * 3**grown // 2**grown
        self.server.set_timer("view", whole, view_of(round))

    # -- votes ------------------------------------------------------------------------------------

    def _vote(self, phase: str, round: int, block: bytes) -> None:
        """Sign a vote and send it to the leader of its view."""
        vote, leader = self._sign(phase, round, block), self.context.proposer(round)
        if leader == self.server.index:
            self._voted([vote])
        elif leader is not None:
            self.tell("vote", vote, (leader,))

    def _voted(self, votes: list[Vote]) -> None:
        self.apply(hotstuff.on_votes(self.context, self.state, votes))

    def _fault_of(self, vote: Vote) -> str | None:
        found = super()._fault_of(vote)
        if found is None and self.context.proposer(vote.attempt) != self.server.index:
            return "vote for another leader"
        return found

    def on_lock(self, certificate: Certificate) -> bool:
        """Check a certificate that a leader, or whoever helps, shows."""
        server, state = self.server, self.state
        past = certificate.attempt <= state.promises.prepared_round
        if certificate.attempt < state.round and past:
            return False
        known = state.certificates.get(certificate.phase)
        if known is not None and known.name == certificate.name:
            return False
        server.host.charge("verify", times=len(certificate.signatures))
        try:
            server.checks.lock(server.chain.head, certificate)
        except InvalidBlock:
            return server.refuse("lock")
        self.proposals.arm()
        return self.apply(hotstuff.on_certificate(self.context, self.state, certificate))

    # -- changing views ---------------------------------------------------------------------------

    def _leave(self, round: int, prepared: Certificate | None) -> None:
        """Sign a new-view message and send it to the leader of the next view."""
        server, chain_id = self.server, self.server.genesis.chain_id
        view, name = view_of(round), None if prepared is None else prepared.name
        server.host.charge("sign")
        signed = Timeout.signing_digest(chain_id, server.height, view, False, name)
        signature = server.signer.sign(signed)
        left = Timeout(chain_id, server.height, *view, False, server.index, signature, prepared)
        leader = self.context.proposer(round + 1)
        if leader == server.index:
            self._has_left(left)
        elif leader is not None:
            self.tell("timeout", left, (leader,))

    def on_timeout(self, left: Timeout) -> bool:
        """Check and count a new-view message."""
        server, context, round = self.server, self.context, left.attempt
        if left.chain_id != server.genesis.chain_id or left.server >= len(server.genesis.servers):
            return server.refuse("timeout by a stranger")
        if left.everyone or left.step:
            return server.refuse("timeout beyond MaxStep")
        if not context.weight(left.server):
            return server.refuse("timeout without a seat")
        if context.proposer(round + 1) != server.index:
            return server.refuse("timeout for another leader")
        if round > self.state.round + context.ahead:
            return server.refuse("timeout of another attempt")
        name = None if left.lock is None else left.lock.name
        first = self._left.get((round, left.server), (name, b""))
        if round < self.state.round - 1 or first == (name, left.signature):
            return False
        server.host.charge("verify", times=left.signature_count)
        if not server.checks.timeout(server.chain.head, left):
            return server.refuse("timeout signature")
        first = self._left.setdefault((round, left.server), (name, left.signature))
        if first[0] != name:
            said, signatures = (first[0], name), (first[1], left.signature)
            view, height = left.view, server.height
            server.accuse(Evidence(left.server, height, view, LEFT[0], said, signatures))
            return server.refuse("second timeout")
        self.proposals.arm()
        return self._has_left(left)

    def _has_left(self, left: Timeout) -> bool:
        news = self.apply(hotstuff.on_timeout(self.context, self.state, left))
        if self.server.active:
            self.proposals.propose_if_due()
        return news

    def on_closure(self, certificate: TimeoutCertificate) -> bool:
        """Check what lets a view begin, as somebody shows who is in it."""
        server = self.server
        if certificate.attempt < self.state.round:
            return False
        server.host.charge("verify", times=certificate.signature_count)
        try:
            server.checks.closed(server.chain.head, certificate)
        except InvalidBlock:
            return server.refuse("timeout certificate")
        self.proposals.arm()
        return self.apply(hotstuff.on_closed(self.context, self.state, certificate))

    def goes_on(self, kind: str, body: Any, decided: Block) -> bool:
        """True for what is said of a later view, or for another block: who decided says neither,
        and the leader of the view that decided may have told nobody else."""
        if kind == "timeout":
            return True
        view = body.view if kind in ("candidate", "lock", "closure") else None
        if kind == "vote":
            view = body.attempt, body.step
        other = kind in ("vote", "lock") and body.block != decided.cid
        return view is not None and (other or view > decided.certificate.view)

    # -- timers -----------------------------------------------------------------------------------

    def on_timer(self, what: str, view: View) -> None:
        if what == "tickets":
            self.proposals.on_tickets_timer()
        elif what == "asked":
            self.proposals.on_asked_timer(view)
        elif what == "want":
            self.proposals.on_want_timer(view[0])
        elif what == "view":
            self.apply(hotstuff.on_timer(self.context, self.state, view[0]))

    # -- staying in step --------------------------------------------------------------------------

    def progress(self) -> object:
        """The view, the votes cast and the certificates known in it: with any of these a server may
        wait for something that was lost."""
        state = self.state
        return state.round, len(state.promises.said), len(state.certificates), state.closed

    def help(self, status: Status) -> Iterator[tuple[Kind, Any]]:
        """The new-view messages that let an asker into this server's view, the certificates that it
        knows, and the proposals that they are about."""
        state = self.state
        if status.attempt < state.round and state.closed is not None:
            yield "closure", state.closed
        shown = (*state.certificates.values(), *state.promises.locks)
        for certificate in {(*each.name, each.phase): each for each in shown}.values():
            yield "lock", certificate
        wanted = list(state.proposals.get(state.round, ()))
        bodies = self.proposals.bodies
        wanted += [bodies[each.block] for each in shown if each.block in bodies]
        for candidate in {id(each): each for each in wanted}.values():
            yield "candidate", candidate
        yield from self._tickets_lacking(status)

    def predicament(self) -> str:
        members, round = len(self.context.committee.weights), self.state.round
        if round < members:
            return ""
        return (
            f"each of the {members} members has led a view in vain, and HotStuff draws no other "
            f"committee for a height"
        )
