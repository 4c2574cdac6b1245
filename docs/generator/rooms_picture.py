"""The picture of the rooms: the packages of `bfedrec` and `consensus` and the arrows between them,
as the table of `tests/test_architecture.py` has them.

Rooms stand in layers: each imports only rooms below it. An arrow that follows from others is left
out, and so are single modules (`bfedrec.section`, `consensus.registry`, ...), which many share.
"""

from __future__ import annotations

from importlib import import_module
from itertools import pairwise

from docs.generator.sources import ROOT
from docs.generator.svg import arrow, box, picture, words

Rooms = dict[str, set[str]]
WIDTH, LAYER, TALL, MARGIN = 960, 62, 30, 24
SWEEPS = 40
"""Passes over the layers in which each is ordered by its neighbours."""


def rooms_of(table: dict[str, str]) -> Rooms:
    """The rooms that are folders, and the rooms that each imports."""
    arrows = {name: set(targets.split()) for name, targets in table.items()}
    names = set(arrows).union(*arrows.values())
    kept = {name for name in names if (ROOT / name.replace(".", "/")).is_dir()}
    return {name: arrows.get(name, set()) & kept for name in sorted(kept)}


def reach(rooms: Rooms, name: str) -> set[str]:
    """All rooms that one imports, through others as well."""
    found: set[str] = set()
    left = set(rooms[name])
    while left:
        found |= left
        left = set().union(*(rooms[each] for each in left)) - found
    return found


def reduced(rooms: Rooms) -> Rooms:
    """The arrows that do not follow from others."""
    below = {name: reach(rooms, name) for name in rooms}
    return {
        name: {one for one in targets if not any(one in below[other] for other in targets)}
        for name, targets in rooms.items()
    }


def layers_of(rooms: Rooms) -> dict[str, int]:
    """The layer of each room: 0 for one that imports none, else one above the highest it
    imports."""
    found: dict[str, int] = {}
    while len(found) < len(rooms):
        for name, targets in rooms.items():
            if name not in found and targets <= found.keys():
                found[name] = max((found[each] + 1 for each in targets), default=0)
    return found


class Drawing:
    """The rooms in their places."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self.arrows = reduced(rooms)
        self.layer = layers_of(rooms)
        self.top = max(self.layer.values())
        self.chains = self._chains()
        self.place = self._placed(self._ordered())

    def _chains(self) -> list[list[tuple[str, int]]]:
        """For each arrow the points that it goes through, one a layer: (a name, the layer)."""
        found = []
        for name, targets in sorted(self.arrows.items()):
            for target in sorted(targets):
                upper, lower = self.layer[name], self.layer[target]
                between = [(f"{name}>{target}", at) for at in range(upper - 1, lower, -1)]
                found.append([(name, upper), *between, (target, lower)])
        return found

    def _ordered(self) -> list[list[tuple[str, int]]]:
        """Each layer's points from left to right, by the mean place of their neighbours."""
        near: dict[tuple[str, int], list[tuple[str, int]]] = {}
        for chain in self.chains:
            for one, other in pairwise(chain):
                near.setdefault(one, []).append(other)
                near.setdefault(other, []).append(one)
        points = set(near) | set(self.layer.items())
        rows = [sorted(point for point in points if point[1] == at) for at in range(self.top + 1)]
        for sweep in range(SWEEPS):
            at = {
                point: (place + 0.5) / len(row) for row in rows for place, point in enumerate(row)
            }
            for row in rows if sweep % 2 else rows[::-1]:
                mean = {
                    point: sum(at[each] for each in near.get(point, [point]))
                    / len(near.get(point, [point]))
                    for point in row
                }
                row.sort(key=lambda point: (mean[point], point))
                at |= {point: (place + 0.5) / len(row) for place, point in enumerate(row)}
        return rows

    def _placed(self, rows: list[list[tuple[str, int]]]) -> dict[tuple[str, int], float]:
        """The middle of every point: boxes take their width, passing arrows little."""
        found = {}
        for row in rows:
            widths = [self.width(name) if name in self.rooms else 6.0 for name, _ in row]
            gap = (WIDTH - 2 * MARGIN - sum(widths)) / (len(row) + 1)
            x = MARGIN + gap
            for point, width in zip(row, widths, strict=True):
                found[point] = x + width / 2
                x += width + gap
        return found

    def width(self, name: str) -> float:
        """The width of a room's box."""
        return 8.0 * len(self.label(name)) + 14

    def label(self, name: str) -> str:
        """A room's name without its package, which the colour shows."""
        return name.partition(".")[2]

    def y(self, layer: int) -> float:
        """The upper edge of a layer's boxes."""
        return 64 + LAYER * (self.top - layer)


def rooms_picture(table: dict[str, str]) -> str:
    """The picture as SVG, of the table of arrows."""
    drawing = Drawing(rooms_of(table))
    parts = [
        words(24, 34, "The rooms: each imports only what stands below it", "head", "start"),
        box(WIDTH - 280, 20, 110, 22, "a"),
        words(WIDTH - 225, 36, "bfedrec"),
        box(WIDTH - 150, 20, 126, 22, "b"),
        words(WIDTH - 87, 36, "consensus"),
    ]
    for chain in drawing.chains:
        points = [(drawing.place[point], drawing.y(point[1])) for point in chain]
        parts.append(arrow(_curve(points), "thin"))
    for name, layer in drawing.layer.items():
        middle, y = drawing.place[name, layer], drawing.y(layer)
        width = drawing.width(name)
        told = (import_module(name).__doc__ or "").split("\n\n")[0]
        hue = "a" if name.startswith("bfedrec") else "b"
        parts.append(
            box(middle - width / 2, y, width, TALL, hue, f"{name}: {' '.join(told.split())}")
        )
        parts.append(words(middle, y + 20, drawing.label(name)))
    height = int(drawing.y(0) + TALL + 24)
    told = "; ".join(
        f"{name} imports {', '.join(sorted(targets))}"
        for name, targets in drawing.arrows.items()
        if targets
    )
    return picture("rooms", WIDTH, height, "The rooms and what each imports", told, parts)


def _curve(points: list[tuple[float, float]]) -> str:
    """A smooth way from under the first point to above the last, down through those between."""
    (x, y), *rest = points
    y += TALL
    path = f"M{x:.0f} {y:.0f}"
    for place, (to_x, to_y) in enumerate(rest):
        end = to_y - 2 if place == len(rest) - 1 else to_y + TALL / 2
        bend = (end - y) / 2
        path += f"C{x:.0f} {y + bend:.0f} {to_x:.0f} {end - bend:.0f} {to_x:.0f} {end:.0f}"
        x, y = to_x, end
    return path
