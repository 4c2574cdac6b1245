"""The portal in a real browser: every page and flow, as three merchants at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.browser import browsing
from tests.helpers.browser import visitor as visiting
from tests.helpers.portal import ONE_TIME, OWN, Served, portals
from tests.helpers.shops import NAMES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with portals(tmp_path_factory.mktemp("browser"), changed=False, epochs=20) as found:
        yield found


def visitor(browser: Browser, served: Served, **options: object) -> AbstractContextManager[Page]:
    """A page of a visitor of its own (`tests.helpers.browser.visitor`)."""
    return visiting(browser, served.port, **options)


def log_in(page: Page, name: str, password: str) -> None:
    page.goto("/login")
    page.get_by_label("Merchant").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def enter(page: Page, name: str) -> None:
    """Log in with the one-time password, and change it."""
    log_in(page, name, ONE_TIME[name])
    page.wait_for_url("**/password")
    page.get_by_label("One-time password").fill(ONE_TIME[name])
    page.get_by_label("New password", exact=True).fill(OWN[name])
    page.get_by_label("New password again").fill(OWN[name])
    page.get_by_role("button", name="Change the password").click()
    page.wait_for_url("**/home")


def go(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()


def job(page: Page, button: str, done: str) -> None:
    """Press a button on the page of contributions, and wait until its job is done."""
    page.get_by_role("button", name=button).click()
    page.get_by_text(f"{done} is done").wait_for()


def test_three_merchants_go_through_every_page_at_once(browser: Browser, served: Served) -> None:
    broken = b"rubbish\n"
    with (
        visitor(browser, served) as first,
        visitor(browser, served, color_scheme="dark") as second,
        visitor(browser, served, viewport={"width": 360, "height": 740}) as third,
    ):
        pages = dict(zip(NAMES, (first, second, third), strict=True))
        for name, page in pages.items():
            enter(page, name)
            page.get_by_role("heading", name="Today's featured items").wait_for()
            assert page.get_by_role("article").count() == 3
        # A broken file: previewed, told row by row, kept.
        go(first, "Contribute")
        events = served.shops.folder / "shop-0" / "events" / "events.csv"
        lines = events.read_bytes().splitlines(keepends=True)
        content = b"".join([*lines[:5], broken, *lines[5:9]])
        file = {"name": "<b>x</b>.csv", "mimeType": "text/csv", "buffer": content}
        first.get_by_label("A file of events").set_input_files([file])  # type: ignore[list-item]
        first.get_by_role("button", name="Upload and check").click()
        first.get_by_role("heading", name="<b>x</b>.csv").wait_for()
        first.get_by_text("has 1 cells instead of 9").wait_for()
        with first.expect_download() as download:
            first.get_by_role("link", name="All of them as CSV").click()
        assert Path(download.value.path()).read_bytes().startswith(b"line,problem\r\n6,")
        first.get_by_role("button", name="Keep these events").click()
        first.get_by_text("upload-0001-b-x-b-.csv").wait_for()
        # Two train at once, watched live; the third is missing; the round is closed without it.
        for page in (first, second):
            go(page, "Contribute")
            page.get_by_role("button", name="Train and publish").click()
        for page in (first, second):
            page.get_by_text("Training is done").wait_for()
            page.locator("#chart .scatterlayer .trace").nth(3).wait_for(state="attached")
        job(first, "Aggregate and attest", "Aggregation")
        job(second, "Aggregate and attest", "Aggregation")
        go(third, "Contribute")
        third.get_by_text("Open round").wait_for()
        assert served.shops.registry.current_round() == 2
        for page in (first, second, third):
            go(page, "Record")
            page.get_by_role("heading", name="Lineage").wait_for()
            assert page.locator("svg.lineage g").count() == 4
            page.get_by_role("button", name="Recompute now").click()
            page.get_by_text("✓ all verified").wait_for()
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0
        for page in (first, second):
            go(page, "Recommendations")
            page.get_by_role("heading", name="Learned together").wait_for()
            assert page.get_by_role("row").count() > 10
        go(third, "Recommendations")
        third.get_by_text("need a model of your own").wait_for()
        for page in pages.values():
            page.get_by_role("button", name="Log out").first.click()
            page.wait_for_url("**/login")
            page.goto("/home")
            page.wait_for_url("**/login")


def test_a_wrong_name_and_a_wrong_password_five_times(browser: Browser, served: Served) -> None:
    with visitor(browser, served) as page:
        log_in(page, "shop-9", "anything at all")
        page.get_by_text("There is no merchant “shop-9”").wait_for()
        for _ in range(5):
            log_in(page, "shop-2", "not these words")
            page.get_by_text("do not match").wait_for()
        log_in(page, "shop-2", "not these words")
        page.get_by_text("Too many attempts").wait_for()
    served.portal.by_pair.forget(("shop-2", "127.0.0.1"))


def test_pages_work_without_a_script(browser: Browser, served: Served) -> None:
    served.portal.accounts.all()
    with visitor(browser, served, java_script_enabled=False) as page:
        if served.portal.accounts.all()["shop-2"].one_time:
            enter(page, "shop-2")
        else:
            log_in(page, "shop-2", OWN["shop-2"])
        go(page, "Contribute")
        page.get_by_role("button", name="Train and publish").click()
        # The page loads itself anew until it is done.
        page.get_by_text("Training is done").wait_for()
        page.get_by_text("As a table").click()
        page.get_by_role("columnheader", name="Epoch").wait_for()
