"""Screenshots of the portal for docs/portal.md: python -m tests.shots [FOLDER]"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tests.helpers.browser import browsing
from tests.helpers.portal import OWN, Served, portals

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

IMAGES = Path(__file__).parents[1] / "docs" / "images"
EPOCHS = 60
COLOURS = 96
PATIENCE = 300_000.0  # milliseconds
SIZE = {"width": 1080, "height": 720}


def smaller(path: Path) -> None:
    """Write an image anew with fewer colours: a third of its bytes, and no other look."""
    with Image.open(path) as image:
        image.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def _page(browser: Browser, served: Served, scheme: str) -> Page:
    context = browser.new_context(
        base_url=served.url,
        viewport=SIZE,  # type: ignore[arg-type]
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    context.set_default_timeout(PATIENCE)
    return context.new_page()


def _log_in(page: Page, name: str) -> None:
    page.get_by_label("Merchant").fill(name)
    page.get_by_label("Password").fill(OWN[name])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/home")


def _job(page: Page, button: str, done: str) -> None:
    page.goto("/contribute")
    page.get_by_role("button", name=button).click()
    page.get_by_text(f"{done} is done").wait_for()


def _broken(events: bytes) -> bytes:
    """Events of which some rows cannot be used."""
    lines = events.splitlines(keepends=True)
    wrong = [lines[7].replace(b"UTC", b"CET"), b"rubbish\n", lines[9].replace(b"view", b"look")]
    return b"".join([*lines[:6], *wrong, *lines[10:]])


def shoot(folder: Path, market: Path) -> None:
    """Take all screenshots into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with portals(market, epochs=EPOCHS) as served, browsing() as browser:
        page, other = _page(browser, served, "light"), _page(browser, served, "dark")

        def shot(name: str, of: Page = page) -> None:
            path = folder / f"portal-{name}.png"
            of.screenshot(path=path, full_page=True)
            smaller(path)

        for each, name in ((page, "shop-0"), (other, "shop-1")):
            each.goto("/login")
            if each is page:
                shot("login")
            _log_in(each, name)
        shot("home")
        page.goto("/contribute")
        events = (served.shops.folder / "shop-0" / "events" / "events.csv").read_bytes()
        file = {"name": "october.csv", "mimeType": "text/csv", "buffer": _broken(events)}
        page.get_by_label("A file of events").set_input_files([file])  # type: ignore[list-item]
        page.get_by_role("button", name="Upload and check").click()
        shot("upload")
        page.get_by_role("button", name="Keep these events").click()
        for _ in range(2):
            for each in (page, other):
                _job(each, "Train and publish", "Training")
            other.locator("#chart .scatterlayer .trace").nth(3).wait_for(state="attached")
            shot("contribute", other)
            for each in (page, other):
                _job(each, "Aggregate and attest", "Aggregation")
        page.goto("/record")
        page.get_by_role("button", name="Recompute now").click()
        page.get_by_text("all verified").wait_for()
        shot("record")
        page.goto("/recommendations")
        page.get_by_role("heading", name="Learned together").wait_for()
        shot("recommendations")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as market:
        shoot(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES, Path(market))
