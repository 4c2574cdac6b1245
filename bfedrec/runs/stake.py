"""The totals of a run's moving stake, and of the seats that it leads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bfedrec.runs.figures import Scalar
from bfedrec.runs.optional_totals import OptionalTotals
from consensus.faults.faults import Faults

if TYPE_CHECKING:  # it loads the kernels, and a run folder is read without
    from bfedrec.federation.round import Round


@dataclass(frozen=True)
class StakeTotals(OptionalTotals):
    """Stake after the last block, and sums of seats so far."""

    stake_malicious: int = 0
    """Stake of the malicious servers."""
    stake_servers: int = 0
    """Stake of all servers."""
    stake_treasury: int = 0
    """Stake in the treasury."""
    stake_least: int = 0
    """Stake of the server that has least."""
    stake_most: int = 0
    """Stake of the server that has most."""
    stake_slashed: int = 0
    """Number of pieces of evidence that took stake."""
    seats_malicious: int = 0
    """Seats of malicious servers in the committees that decided."""
    seats: int = 0
    """All seats of those committees."""

    def after(self, played: Round, faults: Faults | None) -> StakeTotals | None:
        """The totals after one more round; None where stake does not move."""
        result = played.result
        stakes = result.stakes
        if stakes is None:
            return None
        settlement = result.block.settlement
        malicious, seats = result.malicious_weight[-1]
        return StakeTotals(
            result.malicious_stake,
            sum(stakes.held),
            stakes.treasury,
            min(stakes.held),
            max(stakes.held),
            self.stake_slashed + (0 if settlement is None else len(settlement.evidence)),
            self.seats_malicious + malicious,
            self.seats + seats,
        )

    def figures(self) -> dict[str, Scalar]:
        """The totals, and the malicious servers' share of all servers' stake."""
        share = self.stake_malicious / max(1, self.stake_servers)
        return super().figures() | {"stake_malicious_share": share}
