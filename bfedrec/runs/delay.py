"""The greatest delay between honest servers of a run, and whether its protocol can bear it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bfedrec.runs.optional_totals import OptionalTotals
from consensus.faults.faults import Faults
from consensus.protocols.registry import protocol_of
from consensus.records.genesis import Genesis

if TYPE_CHECKING:  # it loads the kernels, and a run folder is read without
    from bfedrec.federation.round import Round


@dataclass(frozen=True)
class GreatestDelay(OptionalTotals):
    """The greatest delay of a run so far, D of the protocols' arguments
    (`consensus.simulation.results.HeightResult.greatest_delay`)."""

    greatest_delay_seconds: float = 0.0
    """Simulated seconds."""
    greatest_delay_height: int = 0
    """The first height with it; 0 before the first height."""

    def after(self, played: Round, faults: Faults | None) -> GreatestDelay:
        """The greatest delay after one more round."""
        return self.or_greater(played.result.greatest_delay, played.height)

    def or_greater(self, seconds: float, height: int) -> GreatestDelay:
        """The greater one of this delay and that of a further height."""
        if seconds > self.greatest_delay_seconds or not self.greatest_delay_height:
            return GreatestDelay(seconds, height)
        return self


def too_slow(found: GreatestDelay, genesis: Genesis) -> str:
    """A line of warning where the delay breaks the premise of the chain's protocol; else none."""
    protocol, seconds = protocol_of(genesis), found.greatest_delay_seconds
    allowed = protocol.longest_delay(genesis.parameters)
    if allowed is None or seconds < allowed:
        return ""
    return (
        f"a message between honest servers took {seconds:.3f} s (height "
        f"{found.greatest_delay_height}), not less than {allowed:g} s: {protocol.premise_of_time}"
    )
