"""Strategies of corruption that do not look at what servers do."""

from __future__ import annotations

from collections.abc import Iterable

from consensus.adversary.corruption import Target, target


@target("stake")
class Stake(Target):
    """The servers with the most stake, which have most seats and turns on average."""

    meaning = "the servers with the most stake"

    def at_first(self) -> Iterable[int]:
        held = self.known.stakes
        return sorted(range(len(held)), key=lambda server: -held[server])


@target("random")
class Anybody(Target):
    """Servers by lot, anew at every height: what a budget does that knows nothing."""

    meaning = "servers by lot, anew at every height"

    def at_first(self) -> Iterable[int]:
        order: list[int] = self.generator.permutation(len(self.known.genesis.servers)).tolist()
        return order
