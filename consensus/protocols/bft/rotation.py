"""The part of a server that protocols share whose one committee a height leads in rotation: votes
that are counted by round, and blocks that whoever leads passes on.

`tendermint` and `hotstuff` differ in whom votes go to, and in what follows from them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from consensus.protocols.bft.beacon import BeaconParticipant, EffectT, PromisesT
from consensus.protocols.bft.rotation_proposals import RotationProposals
from consensus.protocols.bft.standing import HeightContext, name_of, view_of
from consensus.records.block import Block
from consensus.records.evidence import Evidence
from consensus.records.sync import Status
from consensus.records.view import View
from consensus.records.votes import Certificate, Vote
from consensus.server.edge_server import EdgeServer
from consensus.server.message import Kind


class RotationParticipant(BeaconParticipant[EffectT, PromisesT]):
    """One server's part in a protocol whose one committee a height leads in rotation."""

    proposals: RotationProposals[Any]
    context: HeightContext
    state: Any
    """The frozen state of its vote, with ``promises``, ``round`` and ``proposals`` by round."""

    def __init__(self, server: EdgeServer, blank: Callable[[int], PromisesT]) -> None:
        super().__init__(server, blank)
        self._blank = blank

    @abstractmethod
    def _begun(self, promises: PromisesT, catching_up: bool) -> Any:
        """The state in which a height begins, or is entered again with the promises made in it, and
        what is to be done."""

    @abstractmethod
    def _voted(self, votes: list[Vote]) -> None:
        """Tell the vote of checked votes that are new."""

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
        state, effects = self._begun(promises, server.catching_up)
        self.state = state
        self._none_yet = None if back else state.promises
        """The promises of a height in which it has made none."""
        self.await_tickets()
        if not server.catching_up and self.tickets.draw():
            self.tickets.announce(self.others)  # every member may propose, and so record it
        self.apply((state, effects))
        if back and promises != self._blank(server.height):
            self.proposals.arm()  # it has said something already

    def stage(self) -> View:
        return view_of(self.state.round) if self.server.active else (0, 0)

    def updates_changed(self) -> None:
        self.proposals.updates_changed()

    def unheard_updates(self) -> int:
        return self.proposals.unheard_updates()

    # -- the vote's effects -----------------------------------------------------------------------

    def apply(self, step: Any) -> bool:
        """Take over a state, its promises first, and do what follows from it. Returns True if
        anything did or the state changed."""
        state, effects = step
        changed = state is not self.state
        if changed:
            self.state, promises, server = state, state.promises, self.server
            new = promises is not self.durable.promises and promises is not self._none_yet
            if new and not server.catching_up:
                voted = self.proposals.bodies.get(promises.voted)
                self.durable.write(promises, voted, self.proposals.bodies, server.pool)
                if self.strike is not None:
                    self.strike()
        if not effects:
            return changed
        self.do_all(effects)
        return True

    def _enter(self, round: int) -> None:
        """Begin a round, in which this server may propose."""
        if round == self.state.round:
            self.said.clear()
            if round:
                self.proposals.arm()
            if self.server.behaviour is not None:
                self.server.behaviour.entered(self.server)
        self.proposals.propose_if_due()

    # -- votes ------------------------------------------------------------------------------------

    def _sign(self, phase: str, round: int, block: bytes) -> Vote:
        """A vote of its own, noted as such."""
        server, chain_id = self.server, self.server.genesis.chain_id
        server.host.charge("sign")
        signed = Vote.signing_digest(chain_id, server.height, round, 0, phase, block)
        signature = server.signer.sign(signed)
        vote = Vote(chain_id, server.height, round, 0, phase, block, server.index, signature)
        self.votes[name_of(vote)] = [vote]
        server.inbox.note(name_of(vote))  # it may come back
        return vote

    def _fault_of(self, vote: Vote) -> str | None:
        """The reason why a vote is not looked at; None if there is none."""
        server = self.server
        if vote.chain_id != server.genesis.chain_id or vote.server >= len(server.genesis.servers):
            return "vote by a stranger"
        if vote.phase not in server.chain.protocol.phases or vote.proposal:
            return "vote of another protocol"
        if vote.step:
            return "vote beyond MaxStep"
        return None if self.context.weight(vote.server) else "vote without a seat"

    def on_vote(self, vote: Vote) -> bool:
        """Check and count a member's vote."""
        server, reason = self.server, self._fault_of(vote)
        if reason is not None:
            return server.refuse(reason)
        known = self.votes.get(name_of(vote), ())
        if any(each.block == vote.block for each in known):
            return False
        if len(known) > 1:
            return server.refuse("third vote")
        server.host.charge("verify")
        if not server.checks.vote(server.chain.head, vote):
            return server.refuse("vote signature")
        return self._take_in([vote])

    def _take_in(self, votes: Iterable[Vote]) -> bool:
        """Count checked votes of members. Two of one member in one phase and round are evidence,
        and both count, as in a message log: so does what they make a quorum of."""
        server, new = self.server, []
        for vote in votes:
            kept = vote.attempt <= self.state.round + self.context.ahead
            name = name_of(vote)
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
            self._voted(new)
        return True

    # -- deciding ---------------------------------------------------------------------------------

    def decide_by(self, certificate: Certificate) -> None:
        """Append the block that has 2f + 1 deciding votes, and pass it on. The leader of their
        round does at once, other members if they do not see it go round."""
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

    def on_late_timer(self, what: str, height: int) -> None:
        chain = self.server.chain
        if what == "relay" and height == chain.height and self._seen_block != chain.head.cid:
            self.server.say("block", chain.blocks[-1])

    # -- staying in step --------------------------------------------------------------------------

    def say_again(self) -> None:
        super().say_again()
        self.tickets.announce_again()

    def tickets_held(self) -> tuple[int, ...]:
        return self.tickets.holders()

    def _tickets_lacking(self, status: Status) -> Iterator[tuple[Kind, Any]]:
        """Yield the tickets that an asker lacks."""
        for ticket in self.tickets.all_but(status.tickets):
            yield "ticket", ticket
