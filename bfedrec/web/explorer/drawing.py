"""Positions in drawings of networks: where each server, region and link stands.

Pure functions of a layout (`consensus.simulation.layout`): the templates write what they return as
SVG. Units are those of the drawing's viewBox.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import hypot, pi, sin, sqrt
from typing import Final, NamedTuple

from consensus.simulation.layout import RING, Layout, Link, Placed

MOST_DRAWN: Final = 2_000
"""Most servers that are drawn; the first ones."""
MOST_LABELLED: Final = 64
"""Most servers that are drawn with their numbers; more are cells."""
MOST_LINKS: Final = 6_000
"""Most links that are drawn; of more, none."""
MOST_LINES: Final = 400
"""Most links that are lines of their own, with titles; more are one path of each kind."""
MOST_NAMED: Final = 16
"""Most regions that are drawn with their names."""
SMALL_SIDE, SIDE, WIDE_SIDE = 360.0, 620.0, 900.0
"""Side of the square that a layout is drawn in: one ring, with labels, and as cells."""
LARGEST, SMALLEST, READABLE = 13.0, 2.0, 9.0
"""Radius of a server: at most, at least, and from where on its number can be read within."""
CLOSER: Final = 0.82
"""Factor by which servers are nearer to the middle of their region than a layout places them."""
MARGIN: Final = 20.0

Place = tuple[float, float]


class Region(NamedTuple):
    """A cluster of servers."""

    name: int
    x: float
    y: float
    """Its middle."""
    radius: float
    servers: int
    label: str
    """Its name as written beside it."""


class Node(NamedTuple):
    """A server as drawn, at its middle."""

    x: float
    y: float
    server: Placed


class Line(NamedTuple):
    """A link as drawn."""

    x1: float
    y1: float
    x2: float
    y2: float
    kind: str
    """``within`` a region, ``between`` two, or ``severed``."""
    link: Link


@dataclass(frozen=True)
class Map:
    """A network as drawn."""

    width: float
    height: float
    radius: float
    """Of a server."""
    labelled: bool
    """True if there is room for the numbers of servers."""
    nodes: tuple[Node, ...]
    regions: tuple[Region, ...]
    named: bool
    """True if there is room for the names of regions."""
    lines: tuple[Line, ...]
    """Every link, if there are at most `MOST_LINES`."""
    paths: Mapping[str, str]
    """If there are more: the SVG path of all links of each kind of `Line`."""


def network_map(layout: Layout, severed: Collection[Link] = ()) -> Map:
    """The drawing of a network; ``severed``: links over which nothing goes."""
    servers = layout.servers[:MOST_DRAWN]
    side = SIDE if len(servers) <= MOST_LABELLED else WIDE_SIDE
    if len(servers) <= RING and len({each.region for each in servers}) == 1:
        side = SMALL_SIDE
    spread = _apart(servers, [(side * each.x, side * each.y) for each in servers])
    clusters = _clusters(servers, spread)
    radius = min((_room(places) for places in clusters.values()), default=LARGEST)
    radius = round(max(SMALLEST, min(LARGEST, radius)), 1)

    def label(region: int) -> str:
        return layout.region_name(region) if layout.region_names else f"region {region}"

    regions = [
        _region(name, label(name), places, radius) for name, places in sorted(clusters.items())
    ]
    left = min((each.x - each.radius for each in regions), default=0.0) - MARGIN
    top = min((each.y - each.radius for each in regions), default=0.0) - MARGIN
    right = max((each.x + each.radius for each in regions), default=0.0) + MARGIN
    bottom = max((each.y + each.radius for each in regions), default=0.0) + MARGIN
    nodes = tuple(
        Node(round(x - left, 1), round(y - top, 1), each)
        for each, (x, y) in zip(servers, spread, strict=True)
    )
    lines = [_line(link, nodes, link in severed) for link in _drawn(layout, len(nodes))]
    few = len(lines) <= MOST_LINES
    return Map(
        round(right - left, 1),
        round(bottom - top, 1),
        radius,
        len(servers) <= MOST_LABELLED and radius >= READABLE,
        nodes,
        tuple(
            each._replace(x=round(each.x - left, 1), y=round(each.y - top, 1)) for each in regions
        ),
        len(regions) <= MOST_NAMED,
        tuple(lines) if few else (),
        {} if few else _paths(lines),
    )


def severed_links(
    layout: Layout, down: Collection[int], parts: Sequence[Mapping[int, int]]
) -> frozenset[Link]:
    """The links over which nothing goes, one way or both.

    ``down``: servers that are down or hear nobody. ``parts``: for every cut, the part of the
    network by server; servers that it does not name are one part more.
    """
    return frozenset(
        link
        for link in _drawn(layout, MOST_DRAWN)
        if link.one in down
        or link.other in down
        or any(part.get(link.one) != part.get(link.other) for part in parts)
    )


def _drawn(layout: Layout, servers: int) -> list[Link]:
    """The links among the servers that are drawn, unless there are too many."""
    links = layout.links or ()
    return [link for link in links if link.other < servers] if len(links) <= MOST_LINKS else []


def _clusters(servers: Sequence[Placed], places: Sequence[Place]) -> dict[int, list[Place]]:
    """The places of the servers of each region."""
    found: dict[int, list[Place]] = {}
    for each, place in zip(servers, places, strict=True):
        found.setdefault(each.region, []).append(place)
    return found


def _apart(servers: Sequence[Placed], places: Sequence[Place]) -> list[Place]:
    """The places with each of several regions drawn closer together, so that all stand apart."""
    clusters = _clusters(servers, places)
    if len(clusters) < 2:
        return list(places)
    middles = {region: _around(found) for region, found in clusters.items()}
    found = []
    for each, (x, y) in zip(servers, places, strict=True):
        to_x, to_y, _ = middles[each.region]
        found.append((to_x + CLOSER * (x - to_x), to_y + CLOSER * (y - to_y)))
    return found


def _room(places: Sequence[Place]) -> float:
    """The radius that servers at these places, on a ring or in a disc, may have."""
    if len(places) < 2:
        return LARGEST
    _, _, far = _around(places)
    if len(places) <= RING:
        return far * sin(pi / len(places)) * 0.85
    return far * sqrt(pi / len(places)) * 0.42


def _around(places: Sequence[Place]) -> tuple[float, float, float]:
    """The middle of some places, and the distance of the farthest one from it."""
    x = sum(place[0] for place in places) / len(places)
    y = sum(place[1] for place in places) / len(places)
    return x, y, max(hypot(place[0] - x, place[1] - y) for place in places)


def _region(name: int, label: str, places: Sequence[Place], radius: float) -> Region:
    x, y, far = _around(places)
    return Region(name, x, y, round(far + 1.2 * radius + 4, 1), len(places), label)


def _line(link: Link, nodes: Sequence[Node], severed: bool) -> Line:
    one, other = nodes[link.one], nodes[link.other]
    kind = "within" if one.server.region == other.server.region else "between"
    return Line(one.x, one.y, other.x, other.y, "severed" if severed else kind, link)


def _paths(lines: Sequence[Line]) -> dict[str, str]:
    pieces: dict[str, list[str]] = {}
    for line in lines:
        piece = f"M{line.x1:g} {line.y1:g}L{line.x2:g} {line.y2:g}"
        pieces.setdefault(line.kind, []).append(piece)
    return {kind: "".join(found) for kind, found in sorted(pieces.items())}
