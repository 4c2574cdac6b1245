"""The gossip that came to servers which had it, summed over a run's rounds: the price of a mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bfedrec.runs.optional_totals import OptionalTotals
from consensus.faults.faults import Faults

if TYPE_CHECKING:  # it loads the kernels, and a run folder is read without
    from bfedrec.federation.round import Round


@dataclass(frozen=True)
class Redundancy(OptionalTotals):
    """Copies of gossiped messages that came again."""

    gossip_duplicates: int = 0
    """Number of these copies."""
    gossip_duplicate_bytes: int = 0
    """Their bytes, which are part of those between servers."""

    def after(self, played: Round, faults: Faults | None) -> Redundancy | None:
        """The sums after one more round; None where nothing came twice: gossip along trees, or a
        mesh without a message."""
        found = played.result.duplicates
        if not found:
            return None
        return Redundancy(
            self.gossip_duplicates + found["messages"],
            self.gossip_duplicate_bytes + found["bytes"],
        )
