"""One committee a height, whose members lead its views in rotation: what `tendermint` and
`hotstuff` know of it, and the validity rules that follow.

Every function is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from consensus.ledger.committee import (
    Committee,
    Draw,
    aggregator_order,
    form_committee,
    public_draws,
    racing,
)
from consensus.ledger.protocol import Protocol
from consensus.ledger.validity import Head, InvalidBlock, Sortition, SortitionOf
from consensus.protocols.bft.state import Tally
from consensus.protocols.bft.validity import beacon_after, check_drawn, check_turn, head_after
from consensus.records.block import Block, Header
from consensus.records.genesis import Genesis
from consensus.records.view import View
from consensus.records.votes import Certificate, Vote

#: Proposals of one round that are kept: two show that its proposer has equivocated, and which of
#: them the others vote for is not up to this server.
MOST_PROPOSALS = 2


def sortition_of(genesis: Genesis, head: Head, attempt: int) -> Sortition:
    """The committee of height + 1, the same in every attempt, and the leader of ``attempt`` as its
    only turn."""
    committee, rotation = _standing(genesis, head)
    return Sortition(committee, (rotation[attempt % len(rotation)],))


def _standing(genesis: Genesis, head: Head) -> tuple[Committee, tuple[int, ...]]:
    """The committee of height + 1, and its members in the order of their turns, one a seat: they
    race by stake with their VRF outputs, as the aggregators of an attempt under `bft` do."""
    genesis = head.electorate(genesis)
    draws, spares = racing(genesis, head.beacon, head.draws, 0)
    committee = form_committee(genesis, draws, 0, spares)
    order = aggregator_order(genesis, draws, 0, spares)
    return committee, tuple(server for server in order if server in committee.weights)


def voters(
    genesis: Genesis, head: Head, block: Block, sortition: SortitionOf = sortition_of
) -> Committee:
    """The committee that decides ``block``, whose proposer had its turn in the header's attempt or,
    if it was proposed again, before. Raises `InvalidBlock`."""
    header, certificate = block.header, block.certificate
    committee = sortition(genesis, head, 0).committee
    turn = header.attempt % max(1, len(committee.weights))  # anybody may name any attempt
    check_turn(sortition(genesis, head, turn).order, header.step, header.aggregator)
    if certificate.view < header.view:
        raise InvalidBlock("it was decided before it was proposed")
    check_round(certificate.step)
    return committee


def check_round(step: int) -> None:
    """Check that a view is an attempt's only turn. Raises `InvalidBlock`."""
    if step:
        raise InvalidBlock(f"step {step} is beyond a round's only turn")


class StandingProtocol(Protocol):
    """A protocol before the one committee of the height. Draws are recorded a height ahead, as
    under `bft`."""

    committees = ("fixed",)
    committees_foreseen = True
    committee_stands = True
    takes_turns = True
    timers_grow = True

    def first_head(self, genesis: Genesis) -> Head:
        return Head.of_genesis(genesis, public_draws(genesis))

    def drawn_from(self, head: Head) -> tuple[int, bytes]:
        return head.height + 2, head.beacon

    def check_drawn(self, genesis: Genesis, draws: Sequence[Draw]) -> None:
        check_drawn(genesis, draws)

    def voters(
        self, genesis: Genesis, head: Head, block: Block, sortition: SortitionOf | None = None
    ) -> Committee:
        return voters(genesis, head, block, sortition or self.sortition)

    def head_after(
        self, genesis: Genesis, head: Head, header: Header, draws: tuple[Draw, ...]
    ) -> Head:
        return head_after(genesis, head, header, draws)

    def beacon_after(self, genesis: Genesis, head: Head, aggregator: int) -> bytes:
        return beacon_after(genesis, head, aggregator)

    def sortition(self, genesis: Genesis, head: Head, attempt: int) -> Sortition:
        return sortition_of(genesis, head, attempt)


@dataclass(frozen=True)
class HeightContext:
    """Knowledge that one server has of a height before it begins."""

    index: int
    """The server itself (p)."""
    height: int
    """The height in progress (h_p)."""
    committee: Committee
    """The processes of the height and their seats; 2f + 1 is more than two thirds of these."""
    sortition: Callable[[int], Sortition]
    """Committee and leader of an attempt."""

    def proposer(self, round: int) -> int | None:
        """The member that leads an attempt, proposer(h_p, ``round``); None where nobody sits."""
        members = len(self.committee.weights)
        order = self.sortition(round % members).order if members else ()
        return order[0] if order else None

    def leader(self, view: View) -> int | None:
        """The server whose turn a view is: the proposer of its attempt, which has one step."""
        return None if view[1] else self.proposer(view[0])

    def weight(self, server: int) -> int:
        """A server's seats; 0 for others than members."""
        return self.committee.weights.get(server, 0)

    @property
    def ahead(self) -> int:
        """The number of attempts ahead of one's own whose messages are kept: one rotation, in which
        every member has its turn."""
        return self.committee.total


R = TypeVar("R")


def changed(record: R, **changes: Any) -> R:
    """``dataclasses.replace`` of a frozen record without the call of ``__init__``: a height makes
    thousands."""
    new: R = object.__new__(type(record))
    object.__setattr__(new, "__dict__", record.__dict__ | changes)
    return new


def certificate_of(height: int, phase: str, round: int, block: bytes, tally: Tally) -> Certificate:
    """The votes of a tally as one certificate."""
    signatures = tuple((vote.server, vote.signature) for vote in tally.messages())
    return Certificate(height, round, 0, phase, block, signatures)


def view_of(round: int) -> View:
    """The view, (attempt, step), that a round is on the ledger: its attempt, with a single step."""
    return round, 0


def name_of(vote: Vote) -> tuple[str, int, int]:
    """The name of which a server counts one vote: phase, round and server."""
    return vote.phase, vote.attempt, vote.server
