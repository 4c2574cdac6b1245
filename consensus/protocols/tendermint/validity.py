"""The validity rules of `tendermint`: the one committee of a height, and whose turn a round is.

Every function is pure; `consensus.protocols.tendermint.protocol` puts them behind the interface
that the ledger knows (`consensus.ledger.protocol`).
"""

from __future__ import annotations

from consensus.ledger.committee import Committee, aggregator_order, form_committee, racing
from consensus.ledger.validity import (
    Head,
    InvalidBlock,
    Sortition,
    SortitionOf,
    check_certificate,
)
from consensus.protocols.bft.validity import check_turn
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.records.votes import NIL, Certificate


def sortition_of(genesis: Genesis, head: Head, attempt: int) -> Sortition:
    """The committee of height + 1, the same in every round, and proposer(height + 1, ``attempt``)
    as the only turn of that round."""
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
    """The committee that decides ``block``, whose proposer had its turn in the header's round or,
    if it was proposed again, before. Raises `InvalidBlock`."""
    header, certificate = block.header, block.certificate
    check_turn(sortition(genesis, head, header.attempt).order, header.step, header.aggregator)
    if certificate.view < header.view:
        raise InvalidBlock("it was decided before it was proposed")
    check_round(certificate)
    return sortition(genesis, head, certificate.attempt).committee


def check_round(certificate: Certificate) -> None:
    """Check that a certificate is of a round, which has no steps. Raises `InvalidBlock`."""
    if certificate.step:
        raise InvalidBlock(f"step {certificate.step} is beyond a round's only turn")


def check_proof(
    genesis: Genesis, head: Head, proof: Certificate, sortition: SortitionOf = sortition_of
) -> None:
    """Check a proof of lock: prevotes of more than two thirds of the committee of height + 1 for a
    block, in one round. Raises `InvalidBlock`."""
    check_round(proof)
    if proof.block == NIL:
        raise InvalidBlock("a proof of lock is for a block")
    committee = sortition(genesis, head, proof.attempt).committee
    check_certificate(genesis, head.height + 1, committee, proof, "prevote")
