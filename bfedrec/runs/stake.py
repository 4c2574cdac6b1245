"""The totals of a run's moving stake, and of the seats that it leads to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bfedrec.runs.figures import Scalar, count

if TYPE_CHECKING:  # it loads the kernels, and a run folder is read without
    from consensus.simulation.results import HeightResult


@dataclass(frozen=True)
class StakeTotals:
    """Stake after the last block, and sums of seats so far."""

    stake_malicious: int = 0
    """Stake of the malicious servers."""
    stake_servers: int = 0
    """Stake of all servers."""
    stake_treasury: int = 0
    """Stake in the treasury."""
    stake_slashed: int = 0
    """Number of pieces of evidence that took stake."""
    seats_malicious: int = 0
    """Seats of malicious servers in the committees that decided."""
    seats: int = 0
    """All seats of those committees."""

    def after(self, result: HeightResult) -> StakeTotals:
        """The totals after one more height, of a chain with incentives."""
        stakes, settlement = result.stakes, result.block.settlement
        assert stakes is not None
        malicious, seats = result.malicious_weight[-1]
        return StakeTotals(
            result.malicious_stake,
            sum(stakes.held),
            stakes.treasury,
            self.stake_slashed + (0 if settlement is None else len(settlement.evidence)),
            self.seats_malicious + malicious,
            self.seats + seats,
        )

    def figures(self) -> dict[str, Scalar]:
        """The totals by name."""
        return dict(vars(self))

    @classmethod
    def from_node(cls, node: Mapping[str, object]) -> StakeTotals | None:
        """The totals whose `figures` stand in ``node``; None if there are none."""
        if "stake_treasury" not in node:
            return None
        return cls(**{name: count(node, name) for name in vars(cls())})
