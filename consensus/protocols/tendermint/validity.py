"""The validity rules of `tendermint` alone: what a proof of lock is. Those of its committees are in
`consensus.protocols.bft.standing`.
"""

from __future__ import annotations

from consensus.ledger.validity import Head, InvalidBlock, SortitionOf, check_certificate
from consensus.protocols.bft.standing import check_round, sortition_of
from consensus.records.genesis import Genesis
from consensus.records.votes import NIL, Certificate


def check_proof(
    genesis: Genesis, head: Head, proof: Certificate, sortition: SortitionOf = sortition_of
) -> None:
    """Check a proof of lock: prevotes of more than two thirds of the committee of height + 1 for a
    block, in one round. Raises `InvalidBlock`."""
    check_round(proof.step)
    if proof.block == NIL:
        raise InvalidBlock("a proof of lock is for a block")
    committee = sortition(genesis, head, 0).committee  # that of all attempts
    check_certificate(genesis, head.height + 1, committee, proof, "prevote")
