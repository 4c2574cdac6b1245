"""A page as the text of one HTML file, which needs nothing beside it.

The file has no script and names no other file or address. Equal pages give equal bytes.
"""

from __future__ import annotations

import base64
import re
from importlib.resources import files

from markupsafe import Markup

from bfedrec.plaintext import plain
from bfedrec.report.page.parts import Page
from bfedrec.templating import environment

LONGEST = 20_000
"""Letters of a text that are shown; our own are shorter."""


def render(page: Page) -> str:
    """The page's file."""
    known = environment("bfedrec.report.page")
    known.filters.update(plain=_plain, lines=_lines, link=_link, drawn=Markup)
    style = (files("bfedrec.report.page") / "templates" / "report.css").read_text(encoding="utf-8")
    template = known.get_template("report.html")
    return template.render(page=page, style=Markup(style)) + "\n"


def _plain(text: str) -> str:
    return plain(str(text), LONGEST)


def _lines(text: str) -> str:
    """A text of several lines, each made fit to be shown."""
    return "\n".join(_plain(line) for line in re.split(r"\r\n|[\r\n]", text))


def _link(text: str) -> str:
    """The address under which a browser finds this text, in the address itself."""
    return f"data:text/plain;base64,{base64.b64encode(text.encode()).decode()}"
