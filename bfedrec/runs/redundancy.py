"""The gossip that came to servers which had it, summed over a run's rounds: the price of a mesh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bfedrec.runs.figures import Scalar, count

if TYPE_CHECKING:  # it loads the kernels, and a run folder is read without
    from bfedrec.federation.federation import Round


@dataclass(frozen=True)
class Redundancy:
    """Copies of gossiped messages that came again."""

    gossip_duplicates: int = 0
    """Number of these copies."""
    gossip_duplicate_bytes: int = 0
    """Their bytes, which are part of those between servers."""

    def after(self, played: Round) -> Redundancy:
        """The sums after one more round."""
        found = played.result.duplicates
        return Redundancy(
            self.gossip_duplicates + found["messages"],
            self.gossip_duplicate_bytes + found["bytes"],
        )

    def figures(self) -> dict[str, Scalar]:
        """Its numbers by name, to be read by `from_node`."""
        return dict(vars(self))

    @classmethod
    def from_node(cls, node: Mapping[str, object]) -> Redundancy | None:
        """The sums whose `figures` stand in ``node``; None if there are none. Raises as
        `bfedrec.runs.figures.count`."""
        if "gossip_duplicates" not in node:
            return None
        return cls(count(node, "gossip_duplicates"), count(node, "gossip_duplicate_bytes"))
