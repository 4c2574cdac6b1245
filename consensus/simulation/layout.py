"""The layout of the servers of a world: their regions, places, stakes and links, which of them are
malicious, and the faults. Records for those who draw or tell it, and their form in JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import cos, inf, isfinite, pi, sin, sqrt
from typing import Final

import numpy as np

from consensus.adversary.when import SECONDS, When
from consensus.encoding.node import Node
from consensus.faults.faults import Faults
from consensus.faults.kinds import Fault
from consensus.network.topology import Topology
from consensus.simulation.checked_json import (
    MOST_TEXT,
    BadTimeline,
    count,
    items,
    maybe,
    members,
    text,
)
from consensus.simulation.timeline import NOBODY, Named, named

MOST_LINKED: Final = 1_000
"""Most servers whose links are told one by one."""
MOST_REGIONS: Final = 64
"""Most regions whose latencies between each other are told."""
MOST_LINKS: Final = 20_000
MOST_LISTED: Final = 100_000
"""Most servers of a layout."""
MOST_FAULTS: Final = 1_000
MOST_NAMES: Final = 100
"""Most behaviours of a server, and groups of a fault."""
RING: Final = 12
"""Up to so many servers of a region stand on a circle; more fill a disc."""


@dataclass(frozen=True)
class Malice:
    """A behaviour of a malicious server, and the heights of it."""

    name: str
    """Followed by its simulated seconds, if it has some: their heights are not known before."""
    first: int = 1
    last: int | None = None
    """The last height, included; None: for ever."""
    each: int = 1
    """Number of heights in a row, in its turn, from 0, ..."""
    turn: int = 0
    turns: int = 1
    """... of so many."""

    @classmethod
    def of(cls, name: str, when: When) -> Malice:
        """The behaviour of that name at its times."""
        if when.unit == SECONDS:
            until = "on" if when.until == inf else f"to {when.until:g}"
            told = f"{name} (seconds {when.from_:g} {until}"
            told += f", turn {when.turn + 1} of {when.turns}" if when.turns > 1 else ""
            return cls(f"{told})")
        last = None if when.until == inf else int(when.until)
        each = 1 if when.each == inf else int(when.each)
        return cls(name, int(when.from_), last, each, when.turn, when.turns)

    def to_node(self) -> list[object]:
        """The values, to be read by `_malice`; those of turns if there are some."""
        turns = [self.each, self.turn, self.turns] if self.turns > 1 else []
        return [self.name, self.first, self.last, *turns]

    def at(self, height: int) -> bool:
        """True at the heights at which the server behaves so."""
        if not (self.first <= height and (self.last is None or height <= self.last)):
            return False
        return (height - self.first) // self.each % self.turns == self.turn


@dataclass(frozen=True)
class Placed:
    """One server, and its place in a drawing."""

    index: int
    region: int
    stake: int
    x: float
    """From 0 (left) to 1; regions are clusters around the middle."""
    y: float
    """From 0 (top) to 1."""
    malicious: tuple[Malice, ...] = ()

    def malicious_at(self, height: int) -> tuple[str, ...]:
        """The names of its behaviours at a height; none of an honest server."""
        return tuple(malice.name for malice in self.malicious if malice.at(height))


@dataclass(frozen=True)
class Link:
    """A link between two servers, both ways."""

    one: int
    other: int
    """Greater than ``one``."""
    latency_us: int
    """Microseconds from one end to the other, before jitter."""


@dataclass(frozen=True)
class FaultFacts:
    """A fault, with the servers drawn for it."""

    name: str
    from_us: int
    """Simulated microseconds."""
    until_us: int | None
    """None: for ever."""
    servers: Named = NOBODY
    """The servers that it strikes; nobody for one that has groups."""
    groups: tuple[Named, ...] = ()
    """The groups of a partition; servers in none are one more."""
    options: str = ""
    """Its other options, as ``rate 0.1, seconds 2``."""

    def active(self, from_us: int, until_us: int) -> bool:
        """True if it may take effect at some time from ``from_us`` to ``until_us``."""
        return self.from_us <= until_us and (self.until_us is None or self.until_us > from_us)

    @classmethod
    def of(cls, fault: Fault) -> FaultFacts:
        """The facts of a fault that is placed."""
        values = {each.name: getattr(fault, each.name) for each in fields(fault)}
        from_, until = values.pop("from_"), values.pop("until")
        servers, groups = values.pop("servers", ()), values.pop("groups", ())
        told = (
            f"{name.rstrip('_')} {', '.join(map(str, v)) if isinstance(v, tuple) else v}"
            for name, v in values.items()
            if v not in ((), False, 0)
        )
        return cls(
            fault.NAME,
            round(from_ * 1e6),
            None if until == inf else min(round(until * 1e6), 2**62),
            Named.of(servers),
            tuple(Named.of(group) for group in groups[:MOST_NAMES]),
            ", ".join(told)[:MOST_TEXT],
        )


@dataclass(frozen=True)
class Layout:
    """The servers of a world as laid out."""

    servers: tuple[Placed, ...]
    links: tuple[Link, ...] | None = None
    """None of more than `MOST_LINKED` servers."""
    latencies_us: tuple[tuple[int | None, ...], ...] = ()
    """Mean latency between two servers of two regions, by the ranks of the regions, in
    microseconds; None where there is no pair. Empty of more than `MOST_REGIONS` regions, or of
    more than `MOST_LINKED` servers."""
    faults: tuple[FaultFacts, ...] = ()
    region_names: tuple[str, ...] = ()
    """The regions' names by number, where they have names; not among what is written."""

    def region_name(self, region: int) -> str:
        """The name of a region, or its number."""
        return self.region_names[region] if self.region_names else str(region)

    @classmethod
    def of(
        cls,
        regions: Sequence[int],
        stakes: Sequence[int],
        malicious: Mapping[int, tuple[Malice, ...]],
        topology: Topology | None,
        faults: Faults | None,
    ) -> Layout:
        """The layout of servers with these regions and stakes, by index; ``topology`` is None of
        too many servers."""
        servers = _placed(regions, stakes, malicious)
        links: tuple[Link, ...] | None = None
        latencies: tuple[tuple[int | None, ...], ...] = ()
        if topology is not None:
            latency = topology.latency
            links = tuple(
                Link(one, other, round(float(latency[one, other]) * 1e6))
                for one, neighbours in enumerate(topology.neighbours)
                for other in map(int, neighbours)
                if one < other
            )
            latencies = _between(regions, latency)
        told = () if faults is None else tuple(map(FaultFacts.of, faults.faults[:MOST_FAULTS]))
        return cls(servers, links, latencies, told)

    # -- as written -------------------------------------------------------------------------------

    def to_node(self) -> Node:
        """The layout as JSON-ready values, to be read by `from_node`; places are not in it."""
        return {
            "servers": [
                [
                    *(server.region, server.stake),
                    [each.to_node() for each in server.malicious],
                ]
                for server in self.servers
            ],
            "links": self.links
            and [[each.one, each.other, each.latency_us] for each in self.links],
            "latencies": [list(row) for row in self.latencies_us],
            "faults": [
                {
                    "name": each.name,
                    "from": each.from_us,
                    "until": each.until_us,
                    "servers": each.servers.to_node(),
                    "groups": [group.to_node() for group in each.groups],
                    "options": each.options,
                }
                for each in self.faults
            ],
        }

    @classmethod
    def from_node(cls, node: object) -> Layout:
        """The layout that `to_node` gave; raises `BadTimeline` for anything else."""
        found = members(node, "layout", ("servers", "links", "latencies", "faults"))
        regions, stakes, malicious = [], [], {}
        for index, each in enumerate(items(found["servers"], "layout.servers", MOST_LISTED)):
            region, stake, malices = _exactly(each, 3, "server")
            regions.append(count(region, "server.region"))
            stakes.append(count(stake, "server.stake"))
            malicious[index] = tuple(_malice(m) for m in items(malices, "malicious", MOST_NAMES))
        servers = _placed(regions, stakes, malicious)
        links = found["links"]
        rows = items(found["latencies"], "latencies", MOST_REGIONS)
        if len(rows) not in (0, len(set(regions))):
            raise BadTimeline("latencies: expected a row for each region")
        return cls(
            servers,
            None
            if links is None
            else tuple(_link(each, len(servers)) for each in items(links, "links", MOST_LINKS)),
            tuple(
                tuple(maybe(count, each, "latencies") for each in _exactly(row, len(rows), "row"))
                for row in rows
            ),
            tuple(_fault(each) for each in items(found["faults"], "faults", MOST_FAULTS)),
        )


def _exactly(node: object, length: int, where: str) -> list[object]:
    values = items(node, where, length)
    if len(values) != length:
        raise BadTimeline(f"{where}: expected {length} values")
    return values


def _malice(node: object) -> Malice:
    values = items(node, "malicious", 6)
    if len(values) not in (3, 6):
        raise BadTimeline("malicious: expected 3 or 6 values")
    name, first, last, each, turn, turns = (*values, 1, 0, 1)[:6]
    return Malice(
        text(name, "malicious"),
        count(first, "malicious"),
        maybe(count, last, "malicious"),
        count(each, "malicious", 1),
        count(turn, "malicious"),
        count(turns, "malicious", 1),
    )


def _link(node: object, servers: int) -> Link:
    one, other, latency = (count(each, "link") for each in _exactly(node, 3, "link"))
    if not one < other < servers:
        raise BadTimeline("link: expected two servers, the smaller one first")
    return Link(one, other, latency)


def _fault(node: object) -> FaultFacts:
    names = ("name", "from", "until", "servers", "groups", "options")
    found = members(node, "fault", names)
    return FaultFacts(
        text(found["name"], "fault.name"),
        count(found["from"], "fault.from"),
        maybe(count, found["until"], "fault.until"),
        named(found["servers"], "fault.servers"),
        tuple(named(each, "group") for each in items(found["groups"], "groups", MOST_NAMES)),
        text(found["options"], "fault.options"),
    )


# -- places ---------------------------------------------------------------------------------------


def _placed(
    regions: Sequence[int], stakes: Sequence[int], malicious: Mapping[int, tuple[Malice, ...]]
) -> tuple[Placed, ...]:
    return tuple(
        Placed(index, region, stake, *place, malicious.get(index, ()))
        for index, (region, stake, place) in enumerate(
            zip(regions, stakes, positions(regions), strict=True)
        )
    )


def positions(regions: Sequence[int]) -> list[tuple[float, float]]:
    """A place (x, y) in the unit square for each server, by the region of each.

    The regions, in ascending order, are clusters on a circle around the middle, from the top
    clockwise; the only one is in the middle. Within a cluster servers stand on a circle, or fill a
    disc if they are more than `RING`.
    """
    known = sorted(set(regions))
    place = {region: rank for rank, region in enumerate(known)}
    sizes, found = [0] * len(known), []
    for region in regions:
        sizes[place[region]] += 1
    alone = len(known) == 1
    far = 0.0 if alone else 0.32
    wide = 0.45 if alone else min(0.16, 0.9 * far * sin(pi / max(2, len(known))))
    seen = [0] * len(known)
    for region in regions:
        rank = place[region]
        number, size = seen[rank], sizes[rank]
        seen[rank] += 1
        away, angle = _within(number, size)
        turn = 2 * pi * rank / len(known)
        x = 0.5 + far * sin(turn) + wide * away * sin(angle)
        y = 0.5 - far * cos(turn) - wide * away * cos(angle)
        found.append((round(x, 4), round(y, 4)))
    return found


def _within(number: int, size: int) -> tuple[float, float]:
    """The distance from the middle of a cluster (at most 1) and the angle of one of its servers."""
    if size == 1:
        return 0.0, 0.0
    if size <= RING:
        return 1.0, 2 * pi * number / size
    return sqrt((number + 0.5) / size), number * pi * (3 - sqrt(5))


def _between(regions: Iterable[int], latency: np.ndarray) -> tuple[tuple[int | None, ...], ...]:
    """The mean latency of all pairs of two servers, by the ranks of their regions, in
    microseconds."""
    known, ranks = np.unique(np.asarray(list(regions)), return_inverse=True)
    if len(known) > MOST_REGIONS:
        return ()
    rows = []
    for one in range(len(known)):
        row: list[int | None] = []
        for other in range(len(known)):
            part = latency[np.ix_(ranks == one, ranks == other)]
            pairs = part.size - (len(part) if one == other else 0)
            mean = float(part.sum()) / pairs if pairs else inf
            row.append(round(mean * 1e6) if isfinite(mean) else None)
        rows.append(tuple(row))
    return tuple(rows)
