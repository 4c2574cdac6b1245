"""The record by which a block moves stake: the signers of the block before, and evidence."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Self

from consensus.encoding.fields import MalformedRecord, Record, fields_of, items_of, names_of
from consensus.encoding.frozen import frozen
from consensus.encoding.node import Node
from consensus.records.evidence import Evidence
from consensus.records.votes import Certificate

MOST_EVIDENCE: Final = 16
"""Most pieces of evidence in a block, about 300 bytes each."""


@frozen
class Settlement(Record):
    """The facts by which a block moves stake, in a chain with incentives."""

    KIND: ClassVar[str] = "settlement"

    certificate: Certificate | None
    """A certificate that decides the block before: whoever signed it took part. None in block 1.
    It need not be the one that others hold of that block."""
    evidence: tuple[Evidence, ...] = ()
    """Evidence by ascending height, then server, one piece of each; `MOST_EVIDENCE` at most."""

    def to_node(self) -> Node:
        certificate = self.certificate
        return {
            "certificate": None if certificate is None else certificate.to_node(),
            "evidence": [each.to_node() for each in self.evidence],
        }

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "settlement", names_of(cls))
        evidence = items_of(found["evidence"], "settlement.evidence")
        if len(evidence) > MOST_EVIDENCE:
            raise MalformedRecord(f"settlement.evidence: {MOST_EVIDENCE} pieces at most")
        certificate = found["certificate"]
        return cls(
            None if certificate is None else Certificate.from_node(certificate),
            tuple(map(Evidence.from_node, evidence)),
        )

    @property
    def signature_count(self) -> int:
        """The number of signatures to be verified."""
        signers = () if self.certificate is None else self.certificate.signatures
        return len(signers) + 2 * len(self.evidence)
