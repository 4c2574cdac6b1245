"""Messages of which a server need not hear under `bft`: draws while nothing waits for one more,
and votes and timeouts below the quorums of the view in progress (`consensus.server.unheard`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from consensus.ledger.validity import Head
from consensus.protocols.bft import vote as bft
from consensus.protocols.bft.state import NOBODY, HeightContext, State, Tally
from consensus.records.block import Block
from consensus.records.ticket import Ticket
from consensus.records.view import View
from consensus.records.votes import Timeout, Vote
from consensus.server.checks import SharedChecks
from consensus.server.unheard import ANY_NUMBER, IGNORED, UPDATES, Credit, Fit

TICKETS: Final = UPDATES + 1
SOFT: Final = UPDATES + 2
CERT: Final = UPDATES + 3
TIMEOUTS: Final = UPDATES + 4
"""Timeouts of a view; all lanes from here on are of timeouts."""
ALL_TIMEOUTS: Final = UPDATES + 5
"""Timeouts of an attempt."""
LANE_OF: Final = {"soft": SOFT, "cert": CERT}


def name_of(vote: Vote) -> tuple[str, View, int]:
    """The name of which a server counts one vote."""
    return vote.phase, (vote.attempt, vote.step), vote.server


def name_of_timeout(timeout: Timeout) -> tuple[str, View, bool, int]:
    """The name of which a server counts one timeout."""
    return "timeout", (timeout.attempt, timeout.step), timeout.everyone, timeout.server


def fit_of_ticket(height: int, checks: SharedChecks, head: Head, ticket: Ticket) -> Fit | None:
    """Say how servers at the ``height`` after ``head`` may take in a draw unheard."""
    if ticket.height - 1 != height or not checks.knows_draw(head.beacon, ticket):
        return None
    return Fit(TICKETS, head.cid, ("ticket", ticket.server), 1, "vrf_verify")


def fit(context: HeightContext, checks: SharedChecks, head: Head, body: Any) -> Fit | None:
    """Say how servers at the height after ``head`` may take in a message unheard
    (`Participant.fit`). A signature is checked here, and not again by those who count it."""
    if type(body) is Ticket:
        return fit_of_ticket(context.height, checks, head, body)
    if type(body) is Timeout:
        return fit_of_timeout(context, checks, head, body)
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


def fit_of_timeout(
    context: HeightContext, checks: SharedChecks, head: Head, timeout: Timeout
) -> Fit | None:
    """The same of a timeout. One with a lock is heard: the lock may be news."""
    view, everyone = (timeout.attempt, timeout.step), timeout.everyone
    if (
        timeout.lock is not None
        or timeout.height != context.height
        or timeout.server >= len(context.stakes)
        or timeout.attempt > bft.ATTEMPTS_AHEAD
        or timeout.chain_id != checks.genesis.chain_id
        or context.leader(view) is None
        or (everyone and timeout.step)
    ):
        return None
    weight = context.stakes[timeout.server]
    if not everyone:
        weight = context.weight(timeout.attempt, timeout.server)
    if not weight or not checks.timeout(head, timeout):
        return None
    lane = ALL_TIMEOUTS if everyone else TIMEOUTS
    return Fit(lane, (head.cid, view), name_of_timeout(timeout), weight, "verify")


def uncounted(
    context: HeightContext, state: State, head: Head, block: bytes | None, timeouts: bool
) -> list[Credit]:
    """The weights that timeouts of the view in progress, and votes in it for ``block`` (None for
    none), may reach without any effect but being counted. ``timeouts``: False where none is
    likely, which is then heard: most heights have none, and these weights take their time."""
    found: list[Credit] = []
    if state.decided is None and bft.is_at_rest(context, state):
        if timeouts:
            _add_timeouts(found, context, state, head)
        if block is not None:
            _add_votes(found, context, state, head, block)
    return found


def _add_timeouts(found: list[Credit], context: HeightContext, state: State, head: Head) -> None:
    view, timeouts = state.view, state.timeouts
    total = context.sortition(view[0]).committee.total
    has_left = state.timed_out >= view or not context.weight(view[0], context.index)
    most = 2 * total // 3 if has_left else total // 3  # `Committee.approves`, `holds_back` more
    counted = timeouts.get((view, False), NOBODY).weight
    found.append(Credit(TIMEOUTS, (head.cid, view), max(0, most - counted)))
    attempt = (view[0], 0)
    counted = timeouts.get((attempt, True), NOBODY).weight
    most = (2 * context.stake - 1) // 3  # two thirds close the attempt
    found.append(Credit(ALL_TIMEOUTS, (head.cid, attempt), max(0, most - counted)))


def _add_votes(
    found: list[Credit], context: HeightContext, state: State, head: Head, block: bytes
) -> None:
    view = state.view
    locks = state.promises.locks
    if locks and any(lock.view == view and lock.block != block for lock in locks):
        return
    ground, total = (head.cid, view, block), context.sortition(view[0]).committee.total
    for phase, lane in LANE_OF.items():
        if phase == "soft" and view <= state.promises.cert:
            found.append(Credit(lane, ground, ANY_NUMBER))  # they are no longer counted
            continue
        counted = state.votes.get((phase, view, block), NOBODY).weight
        most = 2 * total // 3  # `Committee.approves` more
        if phase == "soft" and counted > most and state.settling == view:
            most = 5 * total // 6  # `Committee.overwhelms` more: until then the lock settles
        found.append(Credit(lane, ground, max(0, most - counted)))


def too_late(decided: Block) -> list[Credit]:
    """The messages that a server is not told of once it has a block: votes for it, in its view."""
    ground = (decided.header.parent, decided.certificate.view, decided.cid)
    return [Credit(lane, ground, IGNORED) for lane in LANE_OF.values()]


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
        tallies[key] = _added(tallies.get(key, NOBODY), same, weights.get)
    return bft.with_tallies(state, votes=tallies)


def count_timeouts(context: HeightContext, state: State, timeouts: Iterable[Timeout]) -> State:
    """Count timeouts of the view in progress and of its attempt that have no other effect
    (`uncounted`)."""
    weights = context.sortition(state.view[0]).committee.weights
    by_key: dict[tuple[View, bool], list[Timeout]] = {}
    for timeout in timeouts:
        by_key.setdefault((timeout.view, timeout.everyone), []).append(timeout)
    tallies = dict(state.timeouts)
    for key, same in by_key.items():
        weight_of = context.stakes.__getitem__ if key[1] else weights.get
        tallies[key] = _added(tallies.get(key, NOBODY), same, weight_of)
    return bft.with_tallies(state, timeouts=tallies)


def _added(
    tally: Tally, messages: Sequence[Vote | Timeout], weight_of: Callable[[int], int | None]
) -> Tally:
    """``tally`` with messages of servers of these weights (None for none); those that it holds are
    this server's own, come back."""
    servers, weight, said = tally.servers, tally.weight, tally.said
    for message in messages:
        server = message.server
        if not servers >> server & 1:
            servers, weight = servers | 1 << server, weight + (weight_of(server) or 0)
            said = message, said
    return Tally(servers, weight, said)
