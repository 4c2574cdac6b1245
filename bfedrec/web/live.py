"""Server-sent events that `static/script.js` reads: fragments of pages, and figures of charts."""

from __future__ import annotations

import json
from typing import Any, NotRequired, TypedDict

from sse_starlette import ServerSentEvent


class Axis(TypedDict):
    """A quantity along an axis of a chart."""

    key: str
    name: str
    zero: NotRequired[bool]
    """True for an axis that begins at zero."""


class Series(TypedDict):
    """One line of a chart: lists of numbers, of one length, by the keys of its axes."""

    name: str
    values: dict[str, list[Any]]
    low: NotRequired[dict[str, list[Any]]]
    """Lower ends of intervals around the values."""
    high: NotRequired[dict[str, list[Any]]]
    colour: NotRequired[int]
    """Number of a colour of the style sheet, from 1; without, they follow each other."""
    dash: NotRequired[str]
    width: NotRequired[float]
    markers: NotRequired[bool]


class Figure(TypedDict):
    """A chart; where there are several axes, the visitor chooses."""

    x: list[Axis]
    y: list[Axis]
    series: list[Series]


def told_fragment(id: str, html: str) -> ServerSentEvent:
    """The event that puts HTML, with all that is foreign escaped, into the element ``id``."""
    return ServerSentEvent(json.dumps({"id": id, "html": html}), event="fragment")


def told_figure(id: str, figure: Figure) -> ServerSentEvent:
    """The event that draws the chart ``id`` anew."""
    return ServerSentEvent(
        json.dumps({"id": id, "figure": figure}, allow_nan=False), event="figure"
    )
