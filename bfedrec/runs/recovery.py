"""The recovery of a run from faults which all end, as its totals count it."""

from __future__ import annotations

from dataclasses import dataclass
from math import isinf
from typing import TYPE_CHECKING

from bfedrec.runs.optional_totals import OptionalTotals
from consensus.faults.faults import Faults

if TYPE_CHECKING:  # it loads the kernels, and a run folder is read without
    from bfedrec.federation.round import Round


@dataclass(frozen=True)
class Recovery(OptionalTotals):
    """The blocks and the time that a run loses to faults which all end."""

    blocks_while_faulty: int = 0
    """Blocks decided from the first fault's beginning to the last one's end."""
    seconds_to_next_block: float | None = None
    """Simulated seconds from that end until a server has a new block; None before it has."""
    seconds_until_level: float | None = None
    """Simulated seconds from that end until the last of all servers has the newest block; None
    before it has."""

    def after(self, played: Round, faults: Faults | None) -> Recovery | None:
        """The recovery after one more round; None without faults, or with one that never ends."""
        if faults is None or not faults.faults or isinf(faults.healed_at):
            return None
        begins, healed = min(fault.from_ for fault in faults.faults), faults.healed_at
        appended = played.result.appended.values()
        decided, everywhere = min(appended), max(appended)
        next_block, level = self.seconds_to_next_block, self.seconds_until_level
        if next_block is None and decided >= healed:
            next_block = decided - healed
        if level is None and not played.behind and everywhere >= healed:
            level = everywhere - healed
        blocks = self.blocks_while_faulty + int(begins <= decided < healed)
        return Recovery(blocks, next_block, level)
