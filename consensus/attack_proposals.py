"""Attacks on proposals: wrong ones, and two at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from consensus.application import Contents
from consensus.attack_votes import halves
from consensus.behaviour import Behaviour, Outgoing, behaviour
from consensus.blocks import Candidate

if TYPE_CHECKING:
    from consensus.edge_server import EdgeServer


def resigned(server: EdgeServer, candidate: Candidate, **changes: object) -> Candidate:
    """A server's own new candidate with other values in its header."""
    header = replace(candidate.header, **changes)  # type: ignore[arg-type]
    return replace(candidate, header=header, signature=server.signer.sign(header.signed))


@behaviour("gaussian")
class Gaussian(Behaviour):
    """Proposes random values as the global model (paper, IV.D): float32 standard normals."""

    def contents(self, honest: Contents, generator: np.random.Generator) -> Contents:
        values = generator.standard_normal(len(honest.model) // 4, dtype=np.float32)
        return replace(honest, model=values.astype("<f4").tobytes())


@behaviour("equivocate_candidates")
class EquivocateCandidates(Behaviour):
    """Proposes two blocks in its turn, both right, one to either half of the others. (A locked
    block it must propose as it is: another would be turned away.)"""

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        candidate = message.body
        if (
            message.kind != "candidate"
            or candidate.proposer != server.index
            or candidate.turn is not None
        ):
            return (message,)
        twin = resigned(server, candidate, timestamp=candidate.header.timestamp + 1)
        first, second = halves(self, server, candidate.view[0], message.to)
        allies = [
            ally
            for ally in sorted(self.colluders - {server.index})
            if message.to is None or ally in message.to
        ]
        return (
            replace(message, to=[*first, *allies]),
            replace(message, body=twin, to=[*second, *allies]),
        )
