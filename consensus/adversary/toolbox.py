"""Tools that behaviours share: signing votes and altered candidates, splitting servers in halves,
and making the second block of an equivocation."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consensus.adversary.behaviour import Behaviour
from consensus.records.block import Candidate, Header
from consensus.records.ticket import Ticket, tickets_digest
from consensus.records.view import View
from consensus.records.votes import Certificate, Timeout, Vote

if TYPE_CHECKING:
    from consensus.server.edge_server import EdgeServer


def sign_vote(
    server: EdgeServer, phase: str, view: View, block: bytes, name: int | None = None
) -> Vote:
    """A vote for ``block`` signed by ``server``, in its own name or in that of server ``name``."""
    chain, height = server.genesis.chain_id, server.height
    signature = server.signer.sign(Vote.signing_digest(chain, height, *view, phase, block))
    return Vote(
        chain, height, *view, phase, block, server.index if name is None else name, signature
    )


def sign_timeout(server: EdgeServer, view: View, lock: Certificate | None = None) -> Timeout:
    """A timeout of ``view`` signed by ``server``, which names ``lock``."""
    chain, height = server.genesis.chain_id, server.height
    named = None if lock is None else lock.name
    signature = server.signer.sign(Timeout.signing_digest(chain, height, view, False, named))
    return Timeout(chain, height, *view, False, server.index, signature, lock)


def others(server: EdgeServer) -> list[int]:
    """Indices of all servers but this one."""
    return [index for index in range(len(server.genesis.servers)) if index != server.index]


def members(server: EdgeServer, attempt: int) -> Collection[int]:
    """The servers with a seat in an attempt of the height in progress; empty under a protocol whose
    committees are not known beforehand."""
    head = server.chain.head
    return server.checks.sortition(server.genesis, head, attempt).committee.weights


def halves(
    attack: Behaviour, server: EdgeServer, attempt: int, among: Collection[int] | None = None
) -> tuple[list[int], list[int]]:
    """The servers outside of the circle in two halves, the same for all members of the circle; only
    those in ``among``, if given.

    The attempt's members are divided about evenly. The division follows regions if the circle and
    either half can still reach two thirds together: then each half hears its own votes before the
    other's.
    """
    seated, regions = members(server, attempt), attack.circle.regions
    honest = [index for index in others(server) if index not in attack.colluders]
    if regions:
        honest.sort(key=lambda index: (regions[index], index))
    voters = [index for index in honest if index in seated]
    rest = [index for index in honest if index not in seated]
    allied = sum(index in seated for index in attack.colluders)
    enough = 2 * len(seated) // 3 + 1 - allied
    cut = (len(voters) + 1) // 2
    for place in range(max(1, enough), len(voters) - max(1, enough) + 1):
        if regions and regions[voters[place - 1]] != regions[voters[place]]:
            cut = place
    first = voters[:cut] + rest[: len(rest) // 2]
    second = voters[cut:] + rest[len(rest) // 2 :]
    if among is not None:
        first = [index for index in first if index in among]
        second = [index for index in second if index in among]
    return first, second


def resigned(server: EdgeServer, candidate: Candidate, **changes: Any) -> Candidate:
    """A candidate with ``changes`` to its header, which ``server`` signs anew."""
    header = replace(candidate.header, **changes)
    return replace(candidate, header=header, signature=server.signer.sign(header.signed))


def with_tickets(
    server: EdgeServer, candidate: Candidate, tickets: Collection[Ticket]
) -> Candidate:
    """A candidate that records of its own tickets these alone, signed anew by ``server``; itself if
    they are all."""
    if len(tickets) == len(candidate.tickets):
        return candidate
    chosen = tuple(sorted(tickets, key=lambda ticket: ticket.server))
    return replace(resigned(server, candidate, tickets=tickets_digest(chosen)), tickets=chosen)


def twin_of(candidate: Candidate) -> Header:
    """Header of the second block that an equivocating leader proposes next to its own."""
    return replace(candidate.header, timestamp=candidate.header.timestamp + 1)


def half_of(header: Header) -> int:
    """Index (0 or 1) of the half of the others that gets an equivocating leader's block; the same
    for all of its circle."""
    return header.timestamp % 2
