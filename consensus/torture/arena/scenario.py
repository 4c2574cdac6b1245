"""A scenario: all inputs of one torture run, as a record with a one-line text to replay it.

The text is a JSON map of the fields that differ from their defaults. Everything that is not in it
(keys, link latencies, jitter, the draws within faults) follows from ``seed``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, Self

import numpy as np

from consensus.adversary.corruption import TARGETS
from consensus.adversary.delays import DELAYS
from consensus.faults.faults import Faults, fault_from_node
from consensus.faults.options import shown
from consensus.ledger.settlement import KINDS
from consensus.ledger.sortition import MOST_BITS, bits_of_weights
from consensus.protocols.registry import DEFAULT, PROTOCOLS, protocol_named
from consensus.registry import import_parts

import_parts("consensus.adversary.delaying")
import_parts("consensus.adversary.targets")

COMMITTEES = ("fixed", "weighted")
TOPOLOGIES = ("complete", "ring", "random")

GOSSIP = ("tree", "mesh")

PREMISES = ("third", "half")
"""PROTOCOL.md's premises of safety: less than a third of every committee malicious, whatever the
network does; or up to half of it, and every message of an honest server received within D by all
honest servers, with 2 D less than the settle time."""
MOST_CHARACTERS: Final = 2**16
"""Longest text of a scenario; drawn ones have some hundred characters."""
MOST: Final = {
    "seed": 2**63 - 1,
    "servers": 64,
    "stakes": 10**12,
    "size": 10_000,
    "max_step": 1_000,
    "clients": 100,
    "heights": 64,
    "onset": 2**31,
    "corrupts": 63,
    **dict.fromkeys(("vote", "ticket", "update", "settle", "recovery", "resend", "bound"), 10**9),
    "turning": 10**9,
}
"""Greatest value of each count and time (ms). A scenario is played in memory and at once: drawn
ones have up to 64 servers, 8 heights and some seconds."""
LEAST: Final = dict.fromkeys(
    ("servers", "clients", "heights", "max_step", "vote", "ticket", "update", "resend"), 1
)
"""Least value where that is not 0; without time nothing would come to an end."""
MOST_FAULTS: Final = 100
"""Greatest number of faults, and of the behaviours of a server."""
LATEST: Final = 1e5
"""Latest time, in simulated seconds, at which a fault ends; drawn ones end within minutes."""
WORST: Final = 1e3
"""Greatest delay of a message by a fault, in seconds, and the greatest factor by which anything
slows down; drawn ones are below 100."""


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
    """The first height at which they are malicious, and at which servers are corrupted."""
    corruption: str = ""
    """The strategy by which servers are corrupted in the course of the scenario
    (`consensus.adversary.targets`); empty: nobody is."""
    corrupts: int = 0
    """Most servers that are corrupted in all; each stays so."""
    turning: int = 0
    """Time from choosing a server to its turning."""
    turncoats: tuple[str, ...] = ()
    """The behaviours of servers that are corrupted."""
    faults: tuple[Mapping[str, Any], ...] = ()
    """Faults, each as a config's map (`consensus.faults.faults`)."""
    premise: str = "third"
    """The premise under which safety is judged, one of `PREMISES`."""
    bound: int = 0
    """D of the scheduling adversary, which chooses within it when messages of honest servers
    arrive; 0: there is none, and latencies are the links'."""
    delays: str = "sides"
    """The strategy by which it chooses (`consensus.adversary.delaying`)."""
    incentives: bool = False
    """True if stake moves, by a rule that the seed draws."""
    barrier: bool = False
    """True if no server begins a height before all honest servers that are up have the block before
    it."""
    gossip: str = "tree"
    """The ways of messages to all servers, one of `GOSSIP`."""

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
    def most_bad(self) -> int:
        """The greatest number of servers that may be malicious in the end."""
        return len(self.malicious) + self.corrupts

    @property
    def lives(self) -> bool:
        """True if less than a third of all stake is malicious, the premise of liveness, whoever is
        corrupted."""
        stake, bad = self.stake, self.bad
        others = sorted(held for server, held in enumerate(stake) if server not in bad)
        most = sum(stake[server] for server in bad)
        most += sum(others[len(others) - min(self.corrupts, len(others)) :])
        return 3 * most < sum(stake) or not self.most_bad

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
        if len(text) > MOST_CHARACTERS:
            raise BadScenario(f"a scenario has at most {MOST_CHARACTERS:,} characters")
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadScenario(f"a scenario is a JSON map: {error}") from error
        if not isinstance(found, dict):
            raise BadScenario("a scenario is a JSON map")
        kinds = {field.name: field for field in fields(cls)}
        odd = [key for key in found if key not in kinds]
        if odd:
            raise BadScenario(f"{shown(odd[0])}: a scenario has {', '.join(kinds)}")
        for name, field in kinds.items():
            if field.default is MISSING and name not in found:
                raise BadScenario(f"{name}: missing")
        try:
            for name in ("stakes", "faults", "turncoats"):
                found[name] = tuple(_list(found.get(name, []), name))
            found["malicious"] = tuple(
                _malicious(entry) for entry in _list(found.get("malicious", []), "malicious")
            )
            scenario = cls(**found)
            scenario.check()
        except ValueError as error:
            raise BadScenario(str(error)) from error
        return scenario

    def check(self) -> None:
        """Raise ValueError for values that no scenario can have."""
        for name, most in MOST.items():
            if name != "stakes":
                _count(getattr(self, name), name, LEAST.get(name, 0), most)
        _count(self.quota, "quota", 0, self.clients)
        _count(self.hostile, "hostile (one client at least is honest)", 0, self.clients - 1)
        _one_of(self.protocol, "protocol", tuple(PROTOCOLS))
        _one_of(self.topology, "topology", TOPOLOGIES)
        _one_of(self.committee, "committee", COMMITTEES)
        _one_of(self.premise, "premise", PREMISES)
        _one_of(self.delays, "delays", tuple(DELAYS))
        for name in ("barrier", "incentives"):
            if type(getattr(self, name)) is not bool:
                told = shown(getattr(self, name))
                raise ValueError(f"{name}: expected true or false, got {told}")
        if self.incentives and not protocol_named(self.protocol).moves_stake:
            raise ValueError(f"incentives: the protocol {self.protocol} moves no stake")
        if self.incentives and self.committee not in KINDS:
            raise ValueError(f"committee: with incentives one of {', '.join(KINDS)}")
        _one_of(self.gossip, "gossip", GOSSIP)
        if self.bound and self.gossip != GOSSIP[0]:
            raise ValueError(f"gossip: expected {GOSSIP[0]}, as with a bound no server relays")
        latency = self.latency
        if type(latency) not in (int, float) or not 1e-3 <= latency <= 1e9:
            raise ValueError(f"latency: expected ms from 0.001 to 1e9, got {shown(latency)}")
        if self.committee == "fixed" and self.size > self.servers:
            raise ValueError(f"size: a committee has at most the {self.servers} servers")
        for stake in self.stakes:
            _count(stake, "stakes", 1, MOST["stakes"])
        if self.stakes and len(self.stakes) != self.servers:
            raise ValueError(f"stakes: expected {self.servers}, one for every server")
        if self.committee == "weighted" and bits_of_weights(self.stake, self.size) > MOST_BITS:
            raise ValueError("stakes: too great to draw a weighted committee by")
        if len(self.bad) != len(self.malicious):
            raise ValueError("malicious: a server is named twice")
        for server in self.bad:
            _count(server, "malicious: no such server", 0, self.servers - 1)
        self._check_corruption()
        self._check_faults()

    def _check_corruption(self) -> None:
        """Raise ValueError for a corruption that there cannot be."""
        if not self.corruption:
            for name in ("corrupts", "turning", "turncoats"):
                if getattr(self, name):
                    told = ", ".join(TARGETS)
                    raise ValueError(f"{name}: only with a corruption, one of {told}")
            return
        _one_of(self.corruption, "corruption", tuple(TARGETS))
        _count(self.corrupts, "corrupts", 1, self.servers - len(self.malicious))
        _names(self.turncoats, "turncoats")

    def _check_faults(self) -> None:
        """Raise ValueError for a fault that is none, or that does not end in good time."""
        if len(self.faults) > MOST_FAULTS:
            raise ValueError(f"faults: {MOST_FAULTS} at most")
        faults = [fault_from_node(node) for node in self.faults]
        for fault in faults:
            if fault.until > LATEST:
                raise ValueError(f"{fault.NAME}: until: expected seconds up to {LATEST:g}")
            worst = max(getattr(fault, name, 0.0) for name in ("seconds", "after", "factor"))
            if worst > WORST or getattr(fault, "factor", 1.0) < 1 / WORST:
                raise ValueError(f"{fault.NAME}: expected {1 / WORST:g} to {WORST:g} in a scenario")
        Faults(faults, self.servers, np.random.default_rng(0))


def _count(value: object, name: str, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name}: expected an integer from {least} to {most}, got {shown(value)}")


def _one_of(value: object, name: str, known: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, got {shown(value)}")


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name}: expected a list, got {shown(value)}")
    return value


def _malicious(entry: object) -> tuple[int, tuple[str, ...]]:
    """An entry of ``malicious``: a server and the names of its behaviours."""
    pair = _list(entry, "malicious")
    if len(pair) != 2 or type(pair[0]) is not int:
        raise ValueError(f"malicious: expected [server, [behaviour, ...]], got {shown(entry)}")
    names = tuple(_list(pair[1], "malicious"))
    _names(names, "malicious")
    return pair[0], names


def _names(names: Sequence[object], what: str) -> None:
    """Raise ValueError for what are no names of behaviours, or too many."""
    if len(names) > MOST_FAULTS:
        raise ValueError(f"{what}: {MOST_FAULTS} behaviours at most")
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"{what}: expected names of behaviours, got {shown(name)}")
