"""The lineage of models: each round's parent, what merchants made of it, and their aggregate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bfedrec.web.portal.ledger import shown
from consensus.ethereum.records import Model, Round

BOX_WIDTH, BOX_HEIGHT = 136, 50
GAP_X, GAP_Y, EDGE = 56, 16, 4
MOST_ROUNDS: Final = 12
"""Rounds in the drawing, the latest."""


@dataclass(frozen=True)
class Mark:
    """The verdict on a model that was recomputed."""

    sound: bool
    reason: str = ""


@dataclass(frozen=True)
class Line:
    """One model of the record."""

    round: int
    cid: str
    who: str
    """A merchant, or "all" for an aggregate."""
    parent: str
    samples: int
    mark: Mark | None


@dataclass(frozen=True)
class Box:
    """One model in the drawing, at its upper left corner."""

    x: int
    y: int
    kind: str
    """`merchant` or `aggregate`."""
    title: str
    cid: str
    verdict: str
    """`verified`, `refused` or an empty text."""


@dataclass(frozen=True)
class Drawing:
    """Boxes and the curves between them, in the units of an SVG."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    edges: tuple[str, ...]
    box_width: int = BOX_WIDTH
    box_height: int = BOX_HEIGHT


Marks = Mapping[tuple[int, str, Model], Mark]
"""Marks by round, merchant's address and model; an aggregate's has an empty address. The model, as
the chain may hold another one in its place now."""


def lines(rounds: Sequence[Round], names: Mapping[str, str], marks: Marks) -> list[Line]:
    """All models of some rounds, the latest first; ``names``: the merchants by address."""
    found = []
    for each in rounds:
        parent = _cid(each.parent)
        for one in each.publications:
            mark = marks.get((each.number, one.merchant, one.model))
            who = names.get(one.merchant, one.merchant)
            found.append(Line(each.number, _cid(one.model), who, parent, one.samples, mark))
        if each.aggregate is not None:
            mark = marks.get((each.number, "", each.aggregate))
            samples = _averaged(each, marks)
            who = "all" if each.number else "nobody"
            found.append(Line(each.number, _cid(each.aggregate), who, parent, samples, mark))
    return found[::-1]


def drawing(rounds: Sequence[Round], names: Mapping[str, str], marks: Marks) -> Drawing | None:
    """The drawing of the latest rounds, from left to right; None without rounds."""
    drawn = [each for each in rounds if each.number][-MOST_ROUNDS:]
    if not drawn:
        return None
    most = max([1, *(len(each.publications) for each in drawn)])
    height = most * (BOX_HEIGHT + GAP_Y) - GAP_Y + 2 * EDGE
    middle = (height - BOX_HEIGHT) // 2
    step, x = BOX_WIDTH + GAP_X, EDGE
    first = drawn[0].number - 1
    assert drawn[0].parent is not None, "only round 0 has no parent"
    verdict = _verdict(marks.get((first, "", drawn[0].parent)))
    parent = Box(x, middle, "aggregate", _title(first), _cid(drawn[0].parent), verdict)
    boxes, edges = [parent], []
    for each in drawn:
        x += step
        column = []
        count = len(each.publications)
        top = (height - count * (BOX_HEIGHT + GAP_Y) + GAP_Y) // 2
        for place, one in enumerate(each.publications):
            y = top + place * (BOX_HEIGHT + GAP_Y)
            title = names.get(one.merchant, one.merchant)
            verdict = _verdict(marks.get((each.number, one.merchant, one.model)))
            column.append(Box(x, y, "merchant", title, _cid(one.model), verdict))
            edges.append(_curve(parent, column[-1]))
        boxes += column
        if each.aggregate is None:
            break
        x += step
        verdict = _verdict(marks.get((each.number, "", each.aggregate)))
        parent = Box(x, middle, "aggregate", _title(each.number), _cid(each.aggregate), verdict)
        edges += [_curve(one, parent) for one in column]
        boxes.append(parent)
    return Drawing(x + BOX_WIDTH + EDGE, height, tuple(boxes), tuple(edges))


def _averaged(round: Round, marks: Marks) -> int:
    """The samples behind a round's aggregate, without those of models known to be refused."""
    return sum(
        one.samples
        for one in round.publications
        if (mark := marks.get((round.number, one.merchant, one.model))) is None or mark.sound
    )


def _title(number: int) -> str:
    return f"round {number}" if number else "beginning"


def _verdict(mark: Mark | None) -> str:
    return "" if mark is None else "verified" if mark.sound else "refused"


def _cid(model: Model | None) -> str:
    return "" if model is None else shown("cid", model.cid)


def _curve(left: Box, right: Box) -> str:
    """The path of an SVG from one box to another."""
    x, y = left.x + BOX_WIDTH, left.y + BOX_HEIGHT // 2
    to_x, to_y = right.x, right.y + BOX_HEIGHT // 2
    middle = (x + to_x) // 2
    return f"M{x} {y}C{middle} {y} {middle} {to_y} {to_x} {to_y}"
