"""Messages that name attempts far ahead: a server forms no committee of them for anybody's word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from consensus.ledger.committee import DISTINCT_ATTEMPTS
from consensus.protocols.bft.validity import check_timeout_certificate
from consensus.records.block import Block
from consensus.records.votes import Certificate, TimeoutCertificate
from consensus.server.edge_server import EdgeServer
from tests.helpers.forge import Forge
from tests.helpers.toy import Toy

SERVERS, SEATS, BAD = 9, 6, 2
FAR = (DISTINCT_ATTEMPTS, 10**6, 2**62)
PHASES = {"bft": ("soft", "cert"), "tendermint": ("prevote", "precommit")}
PHASES["hotstuff"] = ("prepare", "commit")


def server_of(protocol: str, committee: str) -> tuple[EdgeServer, Forge]:
    ledger = {"committee_size": SEATS, "crypto": "modelled", "committee": committee}
    toy = Toy(SERVERS, 3, protocol=protocol, **ledger)  # type: ignore[arg-type]
    toy.world.network.begin(np.random.default_rng(0))
    server = toy.world.servers[SERVERS - 1]
    server.enter_height()
    return server, Forge(toy)


def said(forge: Forge, phases: tuple[str, ...], attempt: int) -> Iterator[tuple[str, Any]]:
    """What two malicious servers can sign of an attempt, with junk for the signatures of others."""
    first, last = phases
    candidate = forge.candidate(aggregator=0, attempt=attempt)
    junk = tuple((server, bytes(64)) for server in range(BAD, SERVERS))
    for others in ((), junk):
        signed = tuple((s, forge.vote(candidate, s, first).signature) for s in range(BAD))
        lock = Certificate(1, attempt, 0, first, candidate.header.cid, signed + others)
        yield "lock", lock
        timeouts = [forge.timeout(server, (attempt, 0)) for server in range(BAD)]
        entries = tuple((each.server, None, each.signature) for each in timeouts)
        entries += tuple((server, None, signature) for server, signature in others)
        for everyone in (False, True):
            closed = TimeoutCertificate(1, attempt, 0, everyone, entries, None)
            yield "closure", closed
            yield "candidate", replace(candidate, justification=closed)
            later = forge.candidate(aggregator=0, attempt=attempt + 1)
            yield "candidate", replace(later, justification=closed)
            yield "candidate", replace(forge.candidate(), justification=closed)
        decided = replace(lock, phase=last)
        yield "block", Block(candidate.header, candidate.signature, candidate.tickets, decided)
    for phase in phases:
        yield "vote", forge.vote(candidate, 0, phase)
    yield "timeout", forge.timeout(0, (attempt, 0))


@pytest.mark.parametrize(
    ("protocol", "committee"), [*((each, "fixed") for each in PHASES), ("bft", "weighted")]
)
def test_no_committee_of_a_far_attempt_is_formed_for_what_no_quorum_signed(
    protocol: str, committee: str
) -> None:
    server, forge = server_of(protocol, committee)
    formed = server.checks.sortitions(server.chain.head).cache_info  # type: ignore[attr-defined]
    for attempt in range(SEATS):  # where one committee stands, its members lead in rotation
        server.checks.sortition(server.genesis, server.chain.head, attempt)
    before = formed().currsize
    for attempt in FAR:
        for kind, body in said(forge, PHASES[protocol], attempt):
            server.receive(kind, body, 0, True)
    assert formed().currsize == before
    assert server.active
    assert server.stage() == (0, 0)


@pytest.mark.parametrize("everyone", [False, True])
@pytest.mark.parametrize("stakes", [[1] * SERVERS, [1, 1, 1, 1, 1, 1, 9, 9, 9]])
def test_what_closes_a_far_attempt_is_believed(everyone: bool, stakes: list[int]) -> None:
    """Also of three servers, fewer than a quorum of the seats, that have two thirds of all
    stake."""
    toy = Toy(SERVERS, 3, stakes=stakes, committee_size=SEATS, crypto="modelled")
    forge = Forge(toy)
    few = stakes[-1] == 9 and everyone
    closed = forge.closing((10**6, 0), [6, 7, 8] if few else None, everyone)
    check_timeout_certificate(toy.genesis, forge.head, closed)
    toy.world.network.begin(np.random.default_rng(0))
    server = toy.world.servers[0]
    server.enter_height()
    assert server.receive("closure", closed, 1, True)
    assert server.stage() == ((10**6 + 1, 0) if everyone else (10**6, 1))
