"""Chromium for tests: the machine's own, driven by Playwright."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE = 120_000.0
"""Milliseconds that a page may take: machines may be busy."""

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: No sandbox: tests may run as root, and open nothing but our own pages. The rest keeps it from
#: speaking to anyone.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]


def found() -> str | None:
    """The path of a Chromium, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser; the test is skipped, with the reason, where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = found()
    if program is None:
        pytest.skip("no Chromium to test with: none of " + ", ".join(NAMES))
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visitor(browser: Browser, port: int, **options: object) -> Iterator[Page]:
    """A page of a visitor of its own, on a server on loopback. At its end: no request has left the
    server, no error stands in the console, and no request that was not refused on purpose has
    failed."""
    url = f"http://127.0.0.1:{port}"
    context = browser.new_context(base_url=url, **options)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        # A page that is refused on purpose (403, 404, 422, 429) is told there, without harm.
        lambda told: (
            errors.append(told.text)
            if told.type in ("error", "warning")
            and not re.search(r"status of (403|404|422|429)", told.text)
            else None
        ),
    )
    try:
        yield page
    finally:
        context.close()
    assert errors == [], errors
    asked_of = {urlsplit(url).netloc for url in asked}
    assert asked_of == {f"127.0.0.1:{port}"}, asked_of
