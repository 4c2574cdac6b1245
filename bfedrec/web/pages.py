"""Pages from templates: everything that is put into one is escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache

from jinja2 import Environment

from bfedrec.plaintext import plain, size
from bfedrec.templating import environment
from bfedrec.web.assets import assets, style_ids


@cache
def templates() -> Environment:
    """The templates of this room."""
    known = environment("bfedrec.web")
    known.globals["asset"] = lambda name: assets()[name].url
    known.globals["plotly_ids"] = style_ids
    known.filters.update(
        count=count, decimals=decimals, moment=moment, plain=plain, short=short, size=size
    )
    return known


def render(template: str, values: Mapping[str, object]) -> str:
    """The text of a template."""
    return templates().get_template(template).render(values)


def count(number: int) -> str:
    """A whole number with its thousands apart."""
    return f"{number:,}"


def decimals(number: float, places: int = 4) -> str:
    """A number with so many decimals; a dash for none."""
    return f"{number:.{places}f}" if math.isfinite(number) else "–"


def moment(seconds: float) -> str:
    """A time, given in seconds since 1970, for people; UTC. A dash for one beyond the calendar, as
    a file's may be."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return "–"


def short(text: str, ends: int = 6) -> str:
    """A long name of hexadecimal or base32 digits, shortened in its middle."""
    return text if len(text) <= 3 * ends else f"{text[: ends + 2]}…{text[-ends:]}"
