"""The acts of an adversary that looks on, as a run's totals count them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bfedrec.runs.optional_totals import OptionalTotals
from consensus.faults.faults import Faults

if TYPE_CHECKING:  # it loads the kernels, and a run folder is read without
    from bfedrec.federation.round import Round


@dataclass(frozen=True)
class AdversaryTotals(OptionalTotals):
    """Corruptions and held messages, summed over rounds; most of all times where it says so."""

    corruptions: int = 0
    releases: int = 0
    corrupted_at_once: int = 0
    """Most servers that were corrupted as a height ended."""
    corrupted_server_heights: int = 0
    """Servers corrupted as a height ended, summed over the heights."""
    corrupted_stake_share: float = 0.0
    """The greatest share of the stake that corrupted servers had as a height ended."""
    attempts_lost: int = 0
    """Attempts that decided nothing, of heights at which servers were corrupted or messages
    held."""
    held_messages: int = 0
    """Messages that came later than by the network alone, counted once for each receiver."""
    held_seconds: float = 0.0
    """The sum of the simulated seconds by which they came later."""
    greatest_delay: float = 0.0
    """Most simulated seconds from an honest server's message to its receipt by another, where an
    adversary chooses deliveries."""

    def after(self, played: Round, faults: Faults | None) -> AdversaryTotals | None:
        """The totals after one more round; None without an adversary that looks on."""
        result = played.result
        account = result.adversary
        if account is None:
            return None
        held = account.held
        acted = account.corrupted or account.turned or held.messages
        return AdversaryTotals(
            self.corruptions + account.turned,
            self.releases + account.released,
            max(self.corrupted_at_once, account.corrupted),
            self.corrupted_server_heights + account.corrupted,
            max(self.corrupted_stake_share, account.stake),
            self.attempts_lost + (result.block.certificate.attempt if acted else 0),
            self.held_messages + held.messages,
            self.held_seconds + held.seconds,
            max(self.greatest_delay, held.greatest),
        )
