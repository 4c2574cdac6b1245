"""A scenario: all inputs of one torture run, as a record with a one-line text to replay it.

The text is a JSON map of the fields that differ from their defaults. Everything that is not in it
(keys, link latencies, jitter, the draws within faults) follows from ``seed``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Self

from consensus.protocols.registry import DEFAULT, protocol_named

TOPOLOGIES = ("complete", "ring", "random")

PREMISES = ("third", "half")
"""PROTOCOL.md's premises of safety: less than a third of every committee malicious, whatever the
network does; or up to half of it, and every message of an honest server received within D by all
honest servers, with 2 D less than the settle time."""


class BadScenario(ValueError):
    """A text that describes no scenario; the message says what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The inputs of one torture run. Times are milliseconds of simulated time."""

    seed: int
    servers: int
    protocol: str = DEFAULT
    topology: str = "complete"
    latency: float = 20.0
    """Latency of a link, before each pair's factor in [0.5, 1.5)."""
    stakes: tuple[int, ...] = ()
    """Stake by server; empty: equal."""
    committee: str = "fixed"
    size: int = 0
    """Committee size; 0: all servers."""
    max_step: int = 3
    clients: int = 3
    hostile: int = 0
    """Number of hostile clients, the last of all."""
    quota: int = 0
    """Number of updates that a block needs; 0: those of all clients."""
    heights: int = 3
    """Number of heights; the last one is decided after all faults have healed."""
    vote: int = 2000
    ticket: int = 300
    update: int = 4000
    settle: int = 200
    recovery: int = 0
    resend: int = 1000
    malicious: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """The malicious servers, each with its behaviours."""
    onset: int = 1
    """The first height at which they are malicious."""
    faults: tuple[Mapping[str, Any], ...] = ()
    """Faults, each as a config's map (`consensus.faults.faults`)."""
    premise: str = "third"
    """The premise under which safety is judged, one of `PREMISES`."""
    bound: int = 0
    """D of the scheduling adversary, which chooses within it when messages of honest servers
    arrive; 0: there is none, and latencies are the links'."""
    barrier: bool = False
    """True if no server begins a height before all honest servers that are up have the block before
    it."""

    @property
    def bad(self) -> frozenset[int]:
        """The malicious servers."""
        return frozenset(server for server, _ in self.malicious)

    @property
    def committee_size(self) -> int:
        """Number of seats, or of expected seats, of a committee."""
        return self.size or self.servers

    @property
    def stake(self) -> tuple[int, ...]:
        """The stake of each server, by index."""
        return self.stakes or (1,) * self.servers

    @property
    def lives(self) -> bool:
        """True if less than a third of all stake is malicious, the premise of liveness."""
        stake = self.stake
        return 3 * sum(stake[server] for server in self.bad) < sum(stake) or not self.bad

    def text(self) -> str:
        """The text of one line from which `from_text` makes an equal scenario."""
        shown = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.default is MISSING or value != field.default:
                shown[field.name] = value
        return json.dumps(shown, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The scenario that ``text`` describes; raises `BadScenario` with one line."""
        try:
            found = json.loads(text)
        except ValueError as error:
            raise BadScenario(f"a scenario is a JSON map: {error}") from error
        if not isinstance(found, dict):
            raise BadScenario("a scenario is a JSON map")
        kinds = {field.name: field.type for field in fields(cls)}
        odd = [key for key in found if key not in kinds]
        if odd:
            raise BadScenario(f"{odd[0]!r}: a scenario has {', '.join(kinds)}")
        try:
            for name in ("stakes", "faults"):
                if name in found:
                    found[name] = tuple(found[name])
            if "malicious" in found:
                found["malicious"] = tuple(
                    (server, tuple(names)) for server, names in found["malicious"]
                )
            scenario = cls(**found)
            scenario.check()
        except (TypeError, ValueError) as error:
            raise BadScenario(str(error)) from error
        return scenario

    def check(self) -> None:
        """Raise ValueError for values that no scenario can have."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and (type(value) is not int or value < 0):
                raise ValueError(f"{field.name}: expected an integer from 0, got {value!r}")
        protocol_named(self.protocol)
        if self.premise not in PREMISES:
            raise ValueError(f"premise: expected one of {', '.join(PREMISES)}")
        if type(self.barrier) is not bool:
            raise ValueError(f"barrier: expected true or false, got {self.barrier!r}")
        if self.topology not in TOPOLOGIES:
            raise ValueError(f"topology: expected one of {', '.join(TOPOLOGIES)}")
        if self.servers < 1 or self.clients < 1 or self.heights < 1 or self.max_step < 1:
            raise ValueError("servers, clients, heights and max_step are at least 1")
        if self.hostile >= self.clients:
            raise ValueError("hostile: one client at least is honest")
        if self.stakes and (len(self.stakes) != self.servers or min(self.stakes) < 1):
            raise ValueError("stakes: one for every server, each at least 1")
        if any(not 0 <= server < self.servers for server in self.bad):
            raise ValueError("malicious: there is no such server")
