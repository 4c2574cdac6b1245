"""The site in a real browser: light and dark, on a telephone and on a wide screen."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("myst_nb", reason="needs bfedrec[docs]")

from docs.generator.build import HTML, build
from tests.helpers import axe
from tests.helpers.browser import browsing, visitor
from tests.helpers.npm import Unavailable

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow  # some hundred pages, each four times

KINDS = (
    "index",
    "results",
    "design",
    "extending",
    "explorer",
    "tables/table2",
    "reference/python",
    "reference/config",
    "reference/parts/rules",
    "reference/commands/torture",
)
"""A page of each kind."""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files that prints nothing."""

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, its notebooks as they are."""
    out = tmp_path_factory.mktemp("docs")
    assert build(out, notebooks="off", strict=True) == 0
    return out / HTML


@pytest.fixture(scope="module")
def port(site: Path) -> Iterator[int]:
    handler = partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
def test_every_page_fits_and_has_no_error(
    browser: Browser, site: Path, port: int, width: int, scheme: str
) -> None:
    wide = []
    viewport = {"width": width, "height": 900}
    with visitor(browser, port, viewport=viewport, color_scheme=scheme) as page:
        for path in sorted(site.rglob("*.html")):
            page.goto(f"/{path.relative_to(site).as_posix()}")
            if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
                wide.append(path.name)
    assert wide == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_kind_of_page_is_accessible(browser: Browser, port: int, scheme: str) -> None:
    with visitor(browser, port, color_scheme=scheme) as page:
        for name in KINDS:
            page.goto(f"/{name}.html")
            try:
                assert axe.serious_violations(page) == []
            except Unavailable as reason:
                pytest.skip(str(reason))


def test_the_search_finds_an_option_and_a_page(browser: Browser, port: int) -> None:
    with visitor(browser, port) as page:
        for asked, found in (("aggregation.rule", "config.html"), ("torture", "attacks.html")):
            page.goto(f"/search.html?q={asked}")
            page.wait_for_selector("ul.search li")
            assert found in page.content()
            # A result's summary is fetched after it is shown; to leave before that fails the fetch.
            page.wait_for_load_state("networkidle")
            page.wait_for_selector("ul.search li p.context")


def test_a_picture_follows_the_switch_of_the_page(browser: Browser, port: int) -> None:
    ground = "getComputedStyle(document.querySelector('.picture .ground')).fill"
    with visitor(browser, port, color_scheme="light") as page:
        page.goto("/design.html")
        light = page.evaluate(ground)
        page.evaluate("document.body.dataset.theme = 'dark'")
        assert page.evaluate(ground) != light
        page.emulate_media(color_scheme="dark")
        page.evaluate("document.body.dataset.theme = 'light'")
        assert page.evaluate(ground) == light
