"""The acts of an adversary that looks on, as a run's totals count them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bfedrec.runs.figures import Scalar, count, number
from consensus.encoding.node import Node

if TYPE_CHECKING:  # a run folder is read without the world
    from consensus.simulation.results import HeightResult


@dataclass(frozen=True)
class AdversaryTotals:
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

    def after(self, result: HeightResult) -> AdversaryTotals:
        """The totals after one more height, which has an account."""
        account = result.adversary
        assert account is not None
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

    def figures(self) -> dict[str, Scalar]:
        """Its numbers by name."""
        return dict(vars(self))

    def to_node(self) -> Node:
        """JSON-ready values, to be read by `from_node`."""
        return dict(vars(self))

    @classmethod
    def from_node(cls, node: Mapping[str, object]) -> AdversaryTotals | None:
        """The totals whose `to_node` is part of ``node``; None if there are none. Raises as
        `bfedrec.runs.figures.count`."""
        if "corruptions" not in node:
            return None
        return cls(
            count(node, "corruptions"),
            count(node, "releases"),
            count(node, "corrupted_at_once"),
            count(node, "corrupted_server_heights"),
            number(node, "corrupted_stake_share"),
            count(node, "attempts_lost"),
            count(node, "held_messages"),
            number(node, "held_seconds"),
            number(node, "greatest_delay"),
        )
