"""The greatest delay between honest servers of a run, and whether its protocol can bear it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bfedrec.runs.figures import Scalar, count, number
from consensus.protocols.registry import protocol_of
from consensus.records.genesis import Genesis


@dataclass(frozen=True)
class GreatestDelay:
    """The greatest delay of a run so far, D of the protocols' arguments
    (`consensus.simulation.results.HeightResult.greatest_delay`)."""

    greatest_delay_seconds: float
    """Simulated seconds."""
    greatest_delay_height: int
    """The first height with it."""

    def figures(self) -> dict[str, Scalar]:
        """Its numbers by name."""
        return dict(vars(self))

    @classmethod
    def from_node(cls, node: Mapping[str, object]) -> GreatestDelay | None:
        """The delay whose `figures` stand in ``node``; None where none was measured."""
        if "greatest_delay_seconds" not in node:
            return None
        return cls(number(node, "greatest_delay_seconds"), count(node, "greatest_delay_height"))


def greater(before: GreatestDelay | None, seconds: float, height: int) -> GreatestDelay:
    """The greater one of the delay so far and that of a further height."""
    if before is None or seconds > before.greatest_delay_seconds:
        return GreatestDelay(seconds, height)
    return before


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
