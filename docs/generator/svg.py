"""Pieces of the pictures: SVG whose colours are classes, for light and dark pages.

As a file a picture follows the reader's system (`prefers-color-scheme`). Within a page of the site
the same classes follow the page's own switch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.sax.saxutils import escape

LIGHT = {"ground": "#ffffff", "ink": "#1f2328", "faint": "#59636e", "line": "#818b98"}
DARK = {"ground": "#0d1117", "ink": "#f0f6fc", "faint": "#9198a1", "line": "#8b949e"}
HUES = {
    "a": ("#ddf4ff", "#0969da", "#0c2d4d", "#4493f8"),
    "b": ("#fff1d6", "#9a6700", "#3b2a09", "#d29922"),
    "c": ("#dafbe1", "#1a7f37", "#0f2e18", "#3fb950"),
    "d": ("#fbefff", "#8250df", "#2b1a45", "#ab7df8"),
}
"""Fill and border of the kinds of boxes, in light and in dark pages."""


def style() -> str:
    """The rules of a picture that stands by itself."""
    dark = "".join(_rules(DARK, 2))
    return f"<style>{''.join(_rules(LIGHT, 0))}@media (prefers-color-scheme:dark){{{dark}}}</style>"


def page_rules() -> str:
    """The same rules for pages of the site, which have a switch of their own."""
    light, dark = (list(_rules(colours, first)) for colours, first in ((LIGHT, 0), (DARK, 2)))
    lines = [f".picture {rule}" for rule in light]
    lines += [f'body[data-theme="dark"] .picture {rule}' for rule in dark]
    auto = [f'body:not([data-theme="light"]) .picture {rule}' for rule in dark]
    lines += ["@media (prefers-color-scheme: dark) {", *auto, "}"]
    return "\n".join(lines) + "\n"


def picture(name: str, width: int, height: int, title: str, told: str, parts: Iterable[str]) -> str:
    """A whole SVG; ``name`` makes its ids unique in a page, ``told`` describes it to those who do
    not see it."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-labelledby="{name}-title {name}-told" '
        'font-family="system-ui,-apple-system,Segoe UI,Roboto,sans-serif" font-size="14">\n'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-told">{escape(told)}</desc>\n{style()}\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>\n'
        f'<rect class="ground" width="{width}" height="{height}" rx="8"/>\n{body}\n</svg>\n'
    )


def box(x: float, y: float, width: float, height: float, hue: str, told: str = "") -> str:
    """A rounded box; ``told`` is shown where a pointer rests."""
    title = f"<title>{escape(told)}</title>" if told else ""
    return (
        f'<rect class="box {hue}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
        f'rx="6">{title}</rect>'
    )


def words(x: float, y: float, text: str, kind: str = "ink", anchor: str = "middle") -> str:
    """A line of text; ``kind``: ink, faint or head."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def arrow(path: str, kind: str = "line") -> str:
    """An arrow along a path; ``kind``: line, or thin."""
    return f'<path class="{kind}" d="{path}" marker-end="url(#tip)"/>'


def inline(svg: str) -> str:
    """A picture to stand within a page: in the page's colours, in a frame that scrolls."""
    own = f"<style>\n{page_rules()}</style>\n"
    themed = re.sub(r"<style>.*?</style>\n", lambda _: own, svg, flags=re.DOTALL)
    return f'<div class="picture" tabindex="0">\n{themed.strip()}\n</div>'


def _rules(colours: dict[str, str], first: int) -> Iterable[str]:
    yield f".ground{{fill:{colours['ground']}}}"
    yield f".ink{{fill:{colours['ink']}}}"
    yield f".head{{fill:{colours['ink']};font-weight:600}}"
    yield f".faint{{fill:{colours['faint']};font-size:12px}}"
    yield f".line{{fill:none;stroke:{colours['line']};stroke-width:1.6}}"
    yield f".thin{{fill:none;stroke:{colours['line']};stroke-width:1.1;opacity:.85}}"
    yield f".tip{{fill:{colours['line']}}}"
    for hue, values in HUES.items():
        yield f".{hue}{{fill:{values[first]};stroke:{values[first + 1]}}}"
