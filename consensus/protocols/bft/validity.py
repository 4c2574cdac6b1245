"""The validity rules of `bft`: whose turn it is, who votes, and what closes a view.

Every function is pure; `consensus.protocols.bft.protocol` puts them behind the interface that the
ledger knows (`consensus.ledger.protocol`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from consensus.ledger.committee import (
    Committee,
    Draw,
    aggregator_order,
    enough_draws,
    form_committee,
    next_beacon,
    racing,
    spare_draws,
)
from consensus.ledger.validity import (
    Head,
    InvalidBlock,
    Sortition,
    SortitionOf,
    check_certificate,
    check_late_attempt,
    check_late_certificate,
    check_signers,
)
from consensus.records.block import Block, Header
from consensus.records.genesis import Genesis
from consensus.records.votes import Certificate, LockName, Timeout, TimeoutCertificate


def sortition_of(genesis: Genesis, head: Head, attempt: int) -> Sortition:
    """The committee and the aggregators' order of an attempt at height + 1."""
    genesis = head.electorate(genesis)
    draws, spares = racing(genesis, head.beacon, head.draws, attempt)
    return Sortition(
        form_committee(genesis, draws, attempt, spares),
        aggregator_order(genesis, draws, attempt, spares)[: genesis.parameters.max_step],
    )


def check_turn(order: Sequence[int], step: int, server: int) -> None:
    """Check that the step is the server's turn. Raises `InvalidBlock`."""
    if step >= len(order) or order[step] != server:
        raise InvalidBlock(f"step {step} is not the turn of server {server}")


def check_drawn(genesis: Genesis, draws: Sequence[Draw]) -> None:
    """Check the draws that a block records for the height after it: by ascending server, and
    enough of them to fill its committee. Raises `InvalidBlock`."""
    if any(a.server >= b.server for a, b in pairwise(draws)):
        raise InvalidBlock("its tickets are not in ascending order of their servers")
    if not enough_draws(genesis, draws):
        raise InvalidBlock(f"{len(draws)} draws cannot fill the next committee")


def voters(
    genesis: Genesis, head: Head, block: Block, sortition: SortitionOf = sortition_of
) -> Committee:
    """The committee of the attempt in which ``block`` was certified, its proposer having had its
    turn before. Raises `InvalidBlock`."""
    header, certificate = block.header, block.certificate
    if certificate.view < header.view:
        raise InvalidBlock("it was decided before it was proposed")
    check_late_certificate(genesis, head, certificate)
    check_turn(sortition(genesis, head, header.attempt).order, header.step, header.aggregator)
    if certificate.step >= genesis.parameters.max_step:
        raise InvalidBlock(f"step {certificate.step} is beyond MaxStep")
    return sortition(genesis, head, certificate.attempt).committee


def head_after(genesis: Genesis, head: Head, header: Header, draws: tuple[Draw, ...]) -> Head:
    """The head once ``header``'s block, which carries ``draws``, is appended to ``head``."""
    beacon = beacon_after(genesis, head, header.aggregator)
    return Head(header.height, header.cid, header.timestamp, beacon, draws)


def beacon_after(genesis: Genesis, head: Head, aggregator: int) -> bytes:
    """The beacon once a block of ``aggregator`` is appended to ``head``: it comes from that
    server's draw."""
    known = head.draws
    if all(draw.server != aggregator for draw in known):
        known = spare_draws(genesis, head.beacon, known)
    beta = next(draw.beta for draw in known if draw.server == aggregator)
    return next_beacon(head.beacon, beta)


def check_timeout_certificate(
    genesis: Genesis,
    head: Head,
    certificate: TimeoutCertificate,
    sortition: SortitionOf = sortition_of,
) -> None:
    """Check that enough servers closed a view at height + 1, and that the lock it carries is the
    highest of theirs, and is one. Raises `InvalidBlock`."""
    check_timeout_entries(genesis, head, certificate, sortition)
    if certificate.lock is not None:
        check_lock(genesis, head, certificate.lock, sortition)


def check_timeout_entries(
    genesis: Genesis, head: Head, certificate: TimeoutCertificate, sortition: SortitionOf
) -> None:
    """Check that enough servers closed a view at height + 1, and that the lock it carries, which is
    not looked into, is the highest that they name. Raises `InvalidBlock`.

    More than two thirds of the committee close a view; at least two thirds of *all* stake close
    an attempt (`everyone`), which a third of the servers, and no more, can do without.
    """
    height = head.height + 1
    if certificate.height != height:
        raise InvalidBlock(f"it closes a view of height {certificate.height}, not {height}")
    if certificate.step >= genesis.parameters.max_step:
        raise InvalidBlock(f"step {certificate.step} is beyond MaxStep")
    if certificate.everyone and certificate.step:
        raise InvalidBlock("an attempt is closed at its first step")
    signers = [server for server, _, _ in certificate.entries]
    check_signers(signers)

    def signed_by(name: LockName | None) -> bytes:
        closed, everyone = certificate.view, certificate.everyone
        return Timeout.signing_digest(genesis.chain_id, height, closed, everyone, name)

    check_late_attempt(
        genesis,
        head,
        certificate.attempt,
        lambda: [(server, signed_by(name), sig) for server, name, sig in certificate.entries],
        certificate.everyone,
    )
    committee = sortition(genesis, head, certificate.attempt).committee
    for server, name, signature in certificate.entries:
        if server >= len(genesis.servers):
            raise InvalidBlock(f"server {server} is not registered")
        if not certificate.everyone and server not in committee.weights:
            raise InvalidBlock(f"server {server} closed a view without a seat")
        signed = signed_by(name)
        if not genesis.suite.verify(genesis.servers[server].signing_key, signed, signature):
            raise InvalidBlock(f"server {server}'s timeout signature is not valid")
    if not closes(head.electorate(genesis), committee, certificate.everyone, signers):
        raise InvalidBlock(f"{len(signers)} servers are not enough to close a view")
    locks = [name for _, name, _ in certificate.entries if name is not None]
    lock = certificate.lock
    if lock is None:
        if locks:
            raise InvalidBlock("it leaves out the lock of its signers")
        return
    highest = max((name[:2] for name in locks), default=None)
    if lock.name not in locks or lock.view != highest:
        raise InvalidBlock("its lock is not the highest of its signers'")
    check_no_later(lock, certificate)


def check_no_later(lock: Certificate, left: Timeout | TimeoutCertificate) -> None:
    """Check that a lock is not of a later view than what it is told with. Raises `InvalidBlock`."""
    if lock.attempt > left.attempt or (not left.everyone and lock.view > left.view):
        raise InvalidBlock("its lock is of a later view")


def check_lock(
    genesis: Genesis, head: Head, lock: Certificate, sortition: SortitionOf = sortition_of
) -> None:
    """Check a soft certificate at height + 1. Raises `InvalidBlock`."""
    if lock.step >= genesis.parameters.max_step:
        raise InvalidBlock(f"step {lock.step} is beyond MaxStep")
    check_late_certificate(genesis, head, lock)
    committee = sortition(genesis, head, lock.attempt).committee
    check_certificate(genesis, head.height + 1, committee, lock, "soft")


def closes(genesis: Genesis, committee: Committee, everyone: bool, servers: Sequence[int]) -> bool:
    """True if distinct ``servers`` are enough to close a view of ``committee`` (or its attempt)."""
    if everyone:
        stake = sum(genesis.servers[server].stake for server in servers)
        return 3 * stake >= 2 * genesis.total_stake
    return committee.approves(committee.weight_of(servers))
