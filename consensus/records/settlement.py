"""The record by which a block moves stake: the signers of the block before, and evidence."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Self

from consensus.encoding.fields import (
    MalformedRecord,
    Record,
    fields_of,
    integer,
    items_of,
    names_of,
    pair,
)
from consensus.encoding.frozen import frozen
from consensus.encoding.node import Node
from consensus.records.evidence import Evidence
from consensus.records.genesis import MILLION
from consensus.records.votes import Certificate

MOST_EVIDENCE: Final = 16
"""Most pieces of evidence in a block, about 300 bytes each."""
Uses = tuple[tuple[int, int], ...]
"""Servers, in ascending order, each with its share, in parts per million, of what a block pays by
the use of updates."""


@frozen
class Settlement(Record):
    """The facts by which a block moves stake, in a chain with incentives."""

    KIND: ClassVar[str] = "settlement"

    certificate: Certificate | None
    """A certificate that decides the block before: whoever signed it took part. None in block 1.
    It need not be the one that others hold of that block."""
    evidence: tuple[Evidence, ...] = ()
    """Evidence by ascending height, then server, one piece of each; `MOST_EVIDENCE` at most."""
    uses: Uses = ()
    """The shares of what is paid by the use of the block's own updates; they have no place in the
    encoding where there are none."""

    def to_node(self) -> Node:
        certificate = self.certificate
        node: Node = {
            "certificate": None if certificate is None else certificate.to_node(),
            "evidence": [each.to_node() for each in self.evidence],
        }
        return node | {"uses": list(map(list, self.uses))} if self.uses else node

    @classmethod
    def from_node(cls, node: Any) -> Self:
        absent = {"uses"} - node.keys() if isinstance(node, dict) else set()
        found = fields_of(node, "settlement", names_of(cls) - absent)
        evidence = items_of(found["evidence"], "settlement.evidence")
        if len(evidence) > MOST_EVIDENCE:
            raise MalformedRecord(f"settlement.evidence: {MOST_EVIDENCE} pieces at most")
        certificate = found["certificate"]
        return cls(
            None if certificate is None else Certificate.from_node(certificate),
            tuple(map(Evidence.from_node, evidence)),
            () if absent else _uses_from_node(found["uses"]),
        )

    @property
    def signature_count(self) -> int:
        """The number of signatures to be verified."""
        signers = () if self.certificate is None else self.certificate.signatures
        return len(signers) + 2 * len(self.evidence)


def _uses_from_node(node: Any) -> Uses:
    uses = []
    for entry in items_of(node, "settlement.uses"):
        server, share = pair(entry, "settlement.uses")
        uses.append(
            (
                integer(server, "settlement.uses.server"),
                integer(share, "settlement.uses.share", 1, MILLION),
            )
        )
    if not uses:
        raise MalformedRecord("settlement.uses: left out where nobody has a share")
    return tuple(uses)
