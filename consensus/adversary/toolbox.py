"""Tools that behaviours share: signing votes, splitting servers, making a twin of a proposal."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from consensus.adversary.behaviour import Behaviour
from consensus.records.block import Candidate, Header
from consensus.records.view import View
from consensus.records.votes import Vote

if TYPE_CHECKING:
    from consensus.server.edge_server import EdgeServer


def sign_vote(
    server: EdgeServer, phase: str, view: View, block: bytes, name: int | None = None
) -> Vote:
    """A vote for ``block`` signed by ``server``, in its own name or another's."""
    chain, height = server.genesis.chain_id, server.height
    signature = server.signer.sign(Vote.signing_digest(chain, height, *view, phase, block))
    return Vote(
        chain, height, *view, phase, block, server.index if name is None else name, signature
    )


def others(server: EdgeServer) -> list[int]:
    """Every server but this one."""
    return [index for index in range(len(server.genesis.servers)) if index != server.index]


def members(server: EdgeServer, attempt: int) -> Collection[int]:
    """The servers with a seat in an attempt of the height in progress; none where the protocol
    does not foresee them."""
    head = server.chain.head
    return server.checks.sortition(server.genesis, head, attempt).committee.weights


def halves(
    attack: Behaviour, server: EdgeServer, attempt: int, among: Collection[int] | None = None
) -> tuple[list[int], list[int]]:
    """The servers outside the circle in two parts on which all of the circle agree; only those
    ``among`` some, if given.

    The attempt's members are cut about in half, between two regions if each part can still come
    to two thirds with the circle: then it hears its own votes before the other's.
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


def twin_of(candidate: Candidate) -> Header:
    """The other block that a two-faced leader proposes next to its own."""
    return replace(candidate.header, timestamp=candidate.header.timestamp + 1)


def half_of(header: Header) -> int:
    """Which half of the others is shown a two-faced leader's block, as all of its circle know."""
    return header.timestamp % 2
