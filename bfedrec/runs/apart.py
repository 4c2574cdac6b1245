"""The distances between the servers of a run without a barrier, as its totals count them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bfedrec.runs.figures import Scalar
from bfedrec.runs.optional_totals import OptionalTotals
from consensus.faults.faults import Faults

if TYPE_CHECKING:  # it loads the kernels, and a run folder is read without
    from bfedrec.federation.round import Round


@dataclass(frozen=True)
class ServersApart(OptionalTotals):
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

    def after(self, played: Round, faults: Faults | None) -> ServersApart | None:
        """The distances after one more height; None where servers meet after every height."""
        result = played.result
        apart = result.apart
        if apart is None:
            return None
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
