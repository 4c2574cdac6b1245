"""The part of a server that protocols on a beacon chain share: draws that the block of the height
before records, proposals that wait for updates and draws, and promises that survive a crash.

`bft`, `tendermint` and `hotstuff` differ in how they vote on what is proposed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from typing import Any, Generic, Literal, Protocol, TypeVar

from consensus.crypto.suites import Signer
from consensus.ledger.chain import Chain
from consensus.ledger.committee import enough_draws
from consensus.ledger.updates import UpdatePool
from consensus.protocols.bft.durable import Durable
from consensus.protocols.bft.tickets import Tickets
from consensus.protocols.bft.unheard import TICKETS, TIMEOUTS
from consensus.records.block import Candidate
from consensus.records.evidence import Evidence
from consensus.records.genesis import Genesis, Parameters
from consensus.records.sync import Want
from consensus.records.ticket import Ticket, tickets_digest
from consensus.records.view import View
from consensus.records.votes import Timeout, Vote
from consensus.server.block_contents import BlockContents
from consensus.server.catching_up import CatchUp, most_wanted
from consensus.server.checks import SharedChecks
from consensus.server.edge_server import EdgeServer
from consensus.server.gathering import Gathering
from consensus.server.hooks import Hooks
from consensus.server.host import Host
from consensus.server.message import Kind
from consensus.server.unheard import ANY_NUMBER, Taken
from consensus.server.voting import VotingParticipant

EffectT = TypeVar("EffectT")
PromisesT = TypeVar("PromisesT", bound=Any)
VotingT = TypeVar("VotingT")


class Proposer(Protocol):
    """The part of a server that proposing and judging uses."""

    index: int
    height: int
    active: bool
    chain: Chain
    genesis: Genesis
    parameters: Parameters
    checks: SharedChecks
    host: Host
    signer: Signer
    pool: UpdatePool
    contents: BlockContents
    catch_up: CatchUp
    behaviour: Hooks[Any] | None
    gathering: Gathering

    def sufficient(self, count: int) -> bool:
        """True if so many updates are enough for a block."""
        ...

    def updates_missing(self) -> int:
        """The number of updates that are missing for a block."""
        ...

    def builds_on_less(self) -> bool:
        """True if it lacks an aggregate of a block below."""
        ...

    def say(self, kind: Kind, body: object, to: Collection[int] | None = None) -> None:
        """Send to some, or to all."""
        ...

    def refuse(self, reason: str) -> Literal[False]:
        """Count a message that is turned away."""
        ...

    def accuse(self, found: Evidence) -> None:
        """Keep evidence against a server."""
        ...

    def set_timer(self, what: str, microseconds: int, view: View | None = None) -> None:
        """Set a timer of the height in progress."""
        ...


class BeaconProposals(ABC, Generic[VotingT]):
    """The proposals of one height at one server: when they can be made, and of what."""

    def __init__(self, server: Proposer, vote: VotingT, tickets: Tickets) -> None:
        self._server = server
        self._vote = vote
        self._tickets = tickets
        self.begin()

    def begin(self) -> None:
        """Begin a height: nothing is proposed or judged yet."""
        self._collected = False
        """True if tickets have been collected for long enough to propose, and to judge whether a
        proposal leaves any out."""
        self.bodies: dict[bytes, Candidate] = {}
        """By block: a candidate that brought it, whatever the view."""
        self.armed = False
        """True if the timer of the first view runs; it starts when the updates are there."""
        self._asked: View | None = None
        """The last view before whose block it asked for draws that it lacks, and ..."""
        self._answered = False
        """... true once the time for answers is over."""

    @abstractmethod
    def is_to_propose(self) -> bool:
        """True if it is this server's turn, and it has not proposed yet."""

    @abstractmethod
    def propose_if_due(self) -> None:
        """Propose once, in its turn."""

    @abstractmethod
    def updates_changed(self) -> None:
        """Go on with what waits: others' proposals that are to be judged, and its own."""

    @abstractmethod
    def arm(self) -> None:
        """Start the timer of the first view."""

    @abstractmethod
    def _members(self, view: View) -> list[int]:
        """The others on a view's committee."""

    def on_ticket(self, ticket: Ticket) -> bool:
        """Check another server's draw and keep it."""
        if not self._tickets.add(ticket):
            return False
        if self._collected:
            self.propose_if_due()  # it may have been one ticket short
        return True

    def on_tickets_timer(self) -> None:
        """Go on, as tickets were collected for long enough."""
        self._collected = True
        self.updates_changed()

    def _has_draws(self, view: View) -> bool:
        """True if it has what draws it can have for a block of a view. Whoever shows its draw to
        some alone would have these refuse the blocks of everybody else: a leader that lacks some
        asks the members for them before it proposes, and waits for answers."""
        server = self._server
        if server.behaviour is not None or not self._tickets.may_lack_some():
            return True
        if self._asked != view:
            self._asked, self._answered = view, False
            server.catch_up.ask(self._members(view))
            ticket_us, vote_us = server.parameters.ticket_us, server.parameters.vote_us
            # In a short view more of its time is needed for the votes: one server that is down
            # would else cost every view.
            server.set_timer("asked", min(ticket_us // 4, vote_us // 3), view)
        return self._answered

    def on_asked_timer(self, view: View) -> None:
        """Go on, as those who were asked for draws have had time to answer."""
        if view == self._asked:
            self._answered = True
            self.propose_if_due()

    def unheard_tickets(self) -> int:
        """The number of further tickets that are kept and change nothing else."""
        return 0 if self._collected and self.is_to_propose() else ANY_NUMBER

    def _arm_if_ready(self) -> None:
        """Start the timer of the first view once its leader could have proposed."""
        if not self.armed and self._collected and self._server.sufficient(len(self._server.pool)):
            self.arm()

    def anew(self, view: View) -> Candidate | None:
        """A new block for a view; None if updates or tickets are too few, others are being asked
        for some, or a block below lacks its aggregate here."""
        server = self._server
        if server.builds_on_less() or not (self._collected and server.sufficient(len(server.pool))):
            return None
        if not self._has_draws(view):
            return None
        updates, tickets = server.pool.ordered(), self._tickets.recorded()
        if not enough_draws(server.chain.head.electorate(server.genesis), tickets):
            return None
        header = server.contents.propose_header(updates, *view, tickets_digest(tickets))
        return Candidate(
            header,
            server.signer.sign(header.signed),
            tickets,
            tuple(update.record.digest for update in updates),
            settlement=server.contents.settlement(updates),
        )

    def _want(self, candidate: Candidate, others: list[int]) -> None:
        """Ask who proposed a block, and some of the ``others`` on its committee, for its updates
        that are not here."""
        server = self._server
        missing = [digest for digest in candidate.updates if server.pool.pick([digest]) is None]
        if missing:
            server.pool.want(missing, candidate.header.cid)
            start = server.host.generator(server.height, server.host.now_us(), 8).integers(
                max(1, len(others))
            )
            some = (others[start:] + others[:start])[:2]
            to = dict.fromkeys((candidate.proposer, *some))
            to.pop(server.index, None)
            to_whom = server.catch_up.and_a_helper(to)
            # A block may list updates by the thousand that nobody has; none sends more at once.
            asked = tuple(missing[: most_wanted(server.parameters)])
            server.say("want", Want(server.height, asked), to_whom)


class BeaconParticipant(VotingParticipant[EdgeServer, EffectT], Generic[EffectT, PromisesT]):
    """One server's part in a protocol on a beacon chain; its vote is left to the protocol."""

    HEIGHT_OF = {"ticket": lambda ticket: ticket.height - 1}  # noqa: RUF012
    proposals: BeaconProposals[Any]

    def __init__(self, server: EdgeServer, blank: Callable[[int], PromisesT]) -> None:
        """``blank`` makes the promises of a height in which there are none."""
        self.server = server
        self.durable = Durable(server.chain.height, blank)
        self.tickets = Tickets(server)

    def await_tickets(self) -> None:
        """Set the timer for the draws of others: until then nothing is proposed or judged."""
        server, microseconds = self.server, self.server.parameters.ticket_us
        if server.behaviour is not None:
            seconds = server.behaviour.waits(server, "tickets", microseconds / 1e6)
            microseconds = round(seconds * 1e6)
        server.set_timer("tickets", microseconds)

    def resume(self, written: int) -> None:
        self.durable.resume(written)

    def written_height(self) -> int:
        return self.durable.written_height()

    def lose_promises(self) -> None:
        self.durable.lose()

    def abstains(self, height: int) -> bool:
        return self.durable.abstains(height)

    def take_in(self, taken: Iterable[Taken]) -> None:
        votes, tickets, timeouts = [], [], []
        for lane, body, origin, at in taken:
            if lane == TICKETS:
                tickets.append((body, round(at * 1e6)))
            elif lane < TIMEOUTS:
                votes.append(body)
            else:
                timeouts.append((body, origin))
        relaying = self.server.relaying
        if tickets:
            self.tickets.take_in(tickets)
            relaying.take_in("ticket", [(ticket, None) for ticket, _ in tickets])
        if votes:
            self._count(votes)
        if timeouts:
            relaying.take_in("timeout", timeouts)
            self._count_timeouts([timeout for timeout, _ in timeouts])

    @abstractmethod
    def _count(self, votes: list[Vote]) -> None:
        """Count votes that were taken in unheard, and have no other effect."""

    def _count_timeouts(self, timeouts: list[Timeout]) -> None:
        """Count timeouts that were taken in unheard, and have no other effect; of protocols that
        name some fit."""
        raise NotImplementedError
