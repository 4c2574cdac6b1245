"""Messages of which a server need not hear under `bft`: draws while nothing waits for one
more, and votes below the quorum of the view in progress (`consensus.server.unheard`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from consensus.ledger.validity import Head
from consensus.protocols.bft import vote as bft
from consensus.protocols.bft.state import NOBODY, HeightContext, State, Tally
from consensus.records.block import Block
from consensus.records.ticket import Ticket
from consensus.records.view import View
from consensus.records.votes import Vote
from consensus.server.checks import SharedChecks
from consensus.server.unheard import ANY_NUMBER, IGNORED, UPDATES, Credit, Fit

TICKETS: Final = UPDATES + 1
SOFT: Final = UPDATES + 2
CERT: Final = UPDATES + 3
LANE_OF: Final = {"soft": SOFT, "cert": CERT}


def name_of(vote: Vote) -> tuple[str, View, int]:
    """The name of which a server counts one vote."""
    return vote.phase, (vote.attempt, vote.step), vote.server


def fit_of_ticket(height: int, checks: SharedChecks, head: Head, ticket: Ticket) -> Fit | None:
    """Say how servers at the ``height`` after ``head`` may take in a draw unheard."""
    if ticket.height - 1 != height or not checks.knows_draw(head.beacon, ticket):
        return None
    return Fit(TICKETS, head.cid, ("ticket", ticket.server), 1, "vrf_verify")


def fit(context: HeightContext, checks: SharedChecks, head: Head, body: Any) -> Fit | None:
    """Say how servers at the height after ``head`` may take in a message unheard
    (`Participant.fit`). A vote's signature is checked here, and not again by those who count it."""
    if type(body) is Ticket:
        return fit_of_ticket(context.height, checks, head, body)
    if type(body) is not Vote or body.height != context.height:
        return None
    view = (body.attempt, body.step)
    if (
        body.phase not in LANE_OF
        or body.server >= len(context.stakes)
        or body.attempt > bft.ATTEMPTS_AHEAD
        or body.chain_id != checks.genesis.chain_id
        or context.leader(view) is None
    ):
        return None
    weight = context.weight(body.attempt, body.server)
    if not weight or not checks.vote(head, body):
        return None
    ground = (head.cid, view, body.block)
    return Fit(LANE_OF[body.phase], ground, name_of(body), weight, "verify")


def votes_uncounted(
    context: HeightContext, state: State, head: Head, block: bytes
) -> Iterator[Credit]:
    """Yield the weights that votes for ``block``, in the view in progress, may reach without any
    effect but being counted."""
    view = state.view
    if state.decided is not None or not bft.is_at_rest(context, state):
        return
    locks = state.promises.locks
    if locks and any(lock.view == view and lock.block != block for lock in locks):
        return
    ground, total = (head.cid, view, block), context.sortition(view[0]).committee.total
    for phase, lane in LANE_OF.items():
        if phase == "soft" and view <= state.promises.cert:
            yield Credit(lane, ground, ANY_NUMBER)  # they are no longer counted
            continue
        counted = state.votes.get((phase, view, block), NOBODY).weight
        most = 2 * total // 3  # `Committee.approves` more
        if phase == "soft" and counted > most and state.settling == view:
            most = 5 * total // 6  # `Committee.overwhelms` more: until then the lock settles
        yield Credit(lane, ground, max(0, most - counted))


def too_late(decided: Block) -> Iterator[Credit]:
    """Yield what a server that has a block is no longer told: votes for it, in its view."""
    ground = (decided.header.parent, decided.certificate.view, decided.cid)
    for lane in LANE_OF.values():
        yield Credit(lane, ground, IGNORED)


def count(context: HeightContext, state: State, votes: Iterable[Vote]) -> State:
    """Count votes of the view in progress that have no other effect (`votes_uncounted`)."""
    view = state.view
    uncounted, weights = view <= state.promises.cert, context.sortition(view[0]).committee.weights
    by_key: dict[tuple[str, View, bytes], list[Vote]] = {}
    for vote in votes:
        if not (uncounted and vote.phase == "soft"):
            by_key.setdefault((vote.phase, view, vote.block), []).append(vote)
    tallies = dict(state.votes)
    for key, same in by_key.items():
        tally = tallies.get(key, NOBODY)
        servers, weight, said = tally.servers, tally.weight, tally.said
        for vote in same:
            server = vote.server
            if not servers >> server & 1:  # else it is this server's own, come back
                servers, weight = servers | 1 << server, weight + weights.get(server, 0)
                said = vote, said
        tallies[key] = Tally(servers, weight, said)
    return bft.with_votes(state, tallies)
