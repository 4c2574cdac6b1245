"""The distances between the servers of a run without a barrier, as its totals count them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bfedrec.runs.figures import Scalar, count, number
from consensus.encoding.node import Node

if TYPE_CHECKING:  # it loads the kernels, and a run folder is read without
    from consensus.simulation.results import HeightResult


@dataclass(frozen=True)
class ServersApart:
    """Distances between honest servers (`consensus.simulation.apart.Apart`), over a run's heights;
    the fields' names are those of its state."""

    apart_heights: int = 0
    """Heights that were played."""
    apart_simulated_seconds: float = 0.0
    """Simulated seconds that they took, each from the first server's block to its next one."""
    apart_appended: int = 0
    apart_seconds: float = 0.0
    apart_most_seconds: float = 0.0
    apart_blocks: int = 0
    """Blocks by which the last server was behind the first, summed over the heights."""
    apart_most_blocks: int = 0

    def after(self, result: HeightResult) -> ServersApart:
        """The distances after one more height."""
        apart = result.apart
        assert apart is not None
        return ServersApart(
            self.apart_heights + 1,
            self.apart_simulated_seconds + (result.ended - result.began),
            self.apart_appended + apart.appended,
            self.apart_seconds + apart.seconds,
            max(self.apart_most_seconds, apart.most_seconds),
            self.apart_blocks + apart.heights,
            max(self.apart_most_blocks, apart.heights),
        )

    def figures(self) -> dict[str, Scalar]:
        """Means and maxima, under their names in the metrics and the summary."""
        heights, appended = max(1, self.apart_heights), max(1, self.apart_appended)
        return {
            "simulated_seconds_per_height": self.apart_simulated_seconds / heights,
            "seconds_behind_first": self.apart_seconds / appended,
            "most_seconds_behind_first": self.apart_most_seconds,
            "blocks_behind_first": self.apart_blocks / heights,
            "most_blocks_behind_first": self.apart_most_blocks,
        }

    def to_node(self) -> Node:
        """JSON-ready values, to be read by `from_node`."""
        return dict(vars(self))

    @classmethod
    def from_node(cls, node: Mapping[str, object]) -> ServersApart | None:
        """The distances whose `to_node` is part of ``node``; None if there are none. Raises as
        `bfedrec.runs.figures.count` and `number`."""
        if "apart_heights" not in node:
            return None
        return cls(
            count(node, "apart_heights"),
            number(node, "apart_simulated_seconds"),
            count(node, "apart_appended"),
            number(node, "apart_seconds"),
            number(node, "apart_most_seconds"),
            count(node, "apart_blocks"),
            count(node, "apart_most_blocks"),
        )
