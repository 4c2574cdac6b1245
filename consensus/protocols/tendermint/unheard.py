"""Messages of which a server need not hear under `tendermint`: draws while nothing waits for one
more, and votes of the round in progress that bring no rule about (`consensus.server.unheard`)."""

from __future__ import annotations

from typing import Any, Final

from consensus.ledger.validity import Head
from consensus.protocols.bft.standing import HeightContext, name_of
from consensus.protocols.bft.state import NOBODY
from consensus.protocols.bft.unheard import TICKETS, fit_of_ticket
from consensus.protocols.tendermint.state import STEPS, State
from consensus.records.block import Block
from consensus.records.ticket import Ticket
from consensus.records.votes import Vote
from consensus.server.checks import SharedChecks
from consensus.server.unheard import ANY_NUMBER, IGNORED, Credit, Fit

LANE_OF: Final = {phase: TICKETS + place for place, phase in enumerate(STEPS) if place}
"""The lane of each phase, after that of tickets."""


def fit(context: HeightContext, checks: SharedChecks, head: Head, body: Any) -> Fit | None:
    """Say how servers at the height after ``head`` may take in a message unheard
    (`Participant.fit`). A vote's signature is checked here, and not again by those who count it."""
    if type(body) is Ticket:
        return fit_of_ticket(context.height, checks, head, body)
    if type(body) is not Vote or body.height != context.height:
        return None
    weight = context.weight(body.server)
    odd = body.phase not in LANE_OF or body.step or body.proposal or not weight
    if odd or body.chain_id != checks.genesis.chain_id or not checks.vote(head, body):
        return None
    ground = (head.cid, body.attempt, body.block)
    return Fit(LANE_OF[body.phase], ground, name_of(body), weight, "verify")


def votes_uncounted(context: HeightContext, state: State, head: Head, block: bytes) -> list[Credit]:
    """The weights that votes for ``block``, in the round in progress, may reach without any effect
    but being counted: they complete neither 2f + 1 for the block (lines 36 and 49) nor 2f + 1 for
    anything (34 and 47)."""
    if state.decided is not None:
        return []
    found = []
    ground, most = (head.cid, state.round, block), 2 * context.committee.total // 3
    for phase, lane in LANE_OF.items():
        for_it = state.tally(phase, state.round, block).weight
        for_any = state.heard.get((phase, state.round), NOBODY).weight
        waited_for = [counted for counted in (for_it, for_any) if counted <= most]
        weight = most - max(waited_for) if waited_for else ANY_NUMBER
        found.append(Credit(lane, ground, weight))
    return found


def too_late(decided: Block) -> list[Credit]:
    """The messages that a server is not told of once it has a block: votes for it, in its round."""
    ground = (decided.header.parent, decided.certificate.attempt, decided.cid)
    return [Credit(lane, ground, IGNORED) for lane in LANE_OF.values()]
