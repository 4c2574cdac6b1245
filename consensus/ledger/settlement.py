"""The checks of what a block says of stake, and the head after it, in a chain with incentives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from consensus.encoding.fields import MalformedRecord
from consensus.ledger.committee import Committee
from consensus.ledger.evidence import holds
from consensus.ledger.stakes import Stakes, moved
from consensus.ledger.use import most_use
from consensus.ledger.validity import (
    Head,
    InvalidBlock,
    SortitionOf,
    check_certificate,
    check_late_certificate,
)
from consensus.records.block import Header
from consensus.records.evidence import LEFT, PROPOSED, Evidence
from consensus.records.genesis import Genesis
from consensus.records.settlement import MOST_EVIDENCE, Settlement, Uses

KINDS = ("fixed",)
"""The kinds of committee with which stake may move. The quorum of a ``weighted`` one is of the
expected weight, which is out of reach once much stake is in the treasury."""


def check_kind(genesis: Genesis, able: bool) -> None:
    """Check that a protocol, which is ``able`` to or not, moves stake where the genesis asks for
    it. Raises `MalformedRecord`."""
    if genesis.incentives is None:
        return
    if not able:
        raise MalformedRecord(
            f"genesis.incentives: the protocol {genesis.parameters.protocol} moves no stake"
        )
    if genesis.parameters.committee not in KINDS:
        told = ", ".join(map(repr, KINDS))
        raise MalformedRecord(f"parameters.committee: with incentives only {told}")


def stakes_after(
    genesis: Genesis,
    head: Head,
    aggregator: int,
    settlement: Settlement | None,
    sortition: SortitionOf,
) -> Stakes | None:
    """The stake once a block by ``aggregator``, with ``settlement``, is appended to ``head``; None
    without incentives. Nothing is checked but that there is a settlement (`InvalidBlock`)."""
    rule, before = genesis.incentives, head.stakes
    if rule is None or before is None:
        if settlement is not None:
            raise InvalidBlock("it has a settlement, where stake never moves")
        return None
    if settlement is None:
        raise InvalidBlock("it has no settlement")
    certificate, committee = (
        settlement.certificate,
        _committee(genesis, head, settlement, sortition),
    )
    signers = () if certificate is None else [server for server, _ in certificate.signatures]
    evidence, uses = settlement.evidence, settlement.uses
    return moved(before, rule, head.height + 1, aggregator, evidence, committee, signers, uses)


def check_settlement(
    genesis: Genesis,
    head: Head,
    header: Header,
    settlement: Settlement | None,
    sortition: SortitionOf,
    phases: Sequence[str],
) -> Stakes | None:
    """The stake after a block, once all is checked that its ``settlement`` and its header say of
    it. ``phases``: the protocol's, the deciding one last. Raises `InvalidBlock`."""
    if settlement is not None and head.stakes is not None:
        certificate = settlement.certificate
        committee = _committee(genesis, head, settlement, sortition)
        if committee is not None and certificate is not None:
            if certificate.block != head.cid:
                raise InvalidBlock("its settlement has a certificate of another block")
            if certificate.step >= genesis.parameters.max_step:
                raise InvalidBlock("its settlement has a certificate of a step beyond MaxStep")
            check_certificate(genesis, head.height, committee, certificate, phases[-1])
        check_evidence(genesis, head, settlement.evidence, phases)
        _check_uses(genesis, header.count, settlement.uses)
    found = stakes_after(genesis, head, header.aggregator, settlement, sortition)
    if found is not None and header.stakes != found.digest:
        raise InvalidBlock("the stakes that it states are not those that its settlement leads to")
    return found


def check_evidence(
    genesis: Genesis, head: Head, evidence: Sequence[Evidence], phases: Sequence[str]
) -> None:
    """Check that a block after ``head`` may bring ``evidence``. Raises `InvalidBlock`."""
    rule, before = genesis.incentives, head.stakes
    assert rule is not None
    assert before is not None
    if len(evidence) > MOST_EVIDENCE:
        raise InvalidBlock(f"{len(evidence)} pieces of evidence are too many")
    if any((a.height, a.server) >= (b.height, b.server) for a, b in pairwise(evidence)):
        raise InvalidBlock("its evidence is not in ascending order, one piece a server and height")
    known = (*phases, PROPOSED, *LEFT)
    for each in evidence:
        if not before.is_punishable(each, head.height + 1, rule.window):
            raise InvalidBlock(f"its evidence against server {each.server} does not count (again)")
        if each.phase not in known or not holds(genesis, each):
            raise InvalidBlock(f"its evidence against server {each.server} does not hold")


def _check_uses(genesis: Genesis, count: int, uses: Uses) -> None:
    """Check what a block of ``count`` updates says of their use, as far as it shows without them.
    Raises `InvalidBlock`."""
    rule = genesis.incentives
    if uses and (rule is None or not rule.use):
        raise InvalidBlock("it pays for the use of updates, where nothing is paid so")
    servers = [server for server, _ in uses]
    if any(a >= b for a, b in pairwise(servers)) or servers[-1:] >= [len(genesis.servers)]:
        raise InvalidBlock("its uses are not of registered servers in ascending order")
    if sum(share for _, share in uses) > most_use(genesis, count):
        raise InvalidBlock(f"its uses are more than {count} updates may have")


def head_with(head: Head, before: Head, stakes: Stakes | None) -> Head:
    """``head``, which follows ``before``, with the stake after its block."""
    if stakes is None:
        return head
    return replace(head, stakes=stakes, before=replace(before, before=None))


def _committee(
    genesis: Genesis, head: Head, settlement: Settlement, sortition: SortitionOf
) -> Committee | None:
    """The committee that decided the block of ``head``, by a settlement's certificate; None in
    block 1. Raises `InvalidBlock` if a certificate is there, or not there, where it must not."""
    certificate = settlement.certificate
    if (certificate is None) != (head.before is None):
        raise InvalidBlock("its settlement lacks a certificate, or has one in block 1")
    if certificate is None or head.before is None:
        return None
    check_late_certificate(genesis, head.before, certificate)
    return sortition(genesis, head.before, certificate.attempt).committee
