"""The explorer in a real browser: every page, live update, search, comparison, replay, and the
report opened from disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bfedrec.cli.main import main
from bfedrec.web.explorer.app import application
from bfedrec.web.explorer.serving import explorer_of
from tests.bfedrec.web.explorer.test_trace import LOCK
from tests.helpers import axe
from tests.helpers.browser import PATIENCE, browsing, visitor
from tests.helpers.npm import Unavailable
from tests.helpers.shown import TEXT, served
from tests.helpers.web import Client, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ATTACK = "clients.malicious=[{attack: push, share: 0.25, items: [3]}]"
HOSTILE = "<img src=x onerror=alert(1)>"
TURNED = "turned\u202elive"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one setting, an attacked one, a broken one, and one with a hostile name."""
    folder = tmp_path_factory.mktemp("browser") / "runs"
    config = folder.parent / "tiny.yaml"
    config.write_text(f"{TEXT}ledger: {{retain_updates: all}}\n", encoding="utf-8")
    traced = ("one", "seed=1", "--trace")
    for name, *more in (traced, ("two", "seed=2"), ("attacked", "seed=1", ATTACK)):
        assert main(["run", str(config), *more, "--out", str(folder / name)]) == 0
    for name in (HOSTILE, TURNED):
        (folder / name).mkdir()
        (folder / name / "config.yaml").write_text("rounds: 3\n")
    (folder / "broken").mkdir()
    (folder / "broken" / "summary.json").write_text("{")
    return folder


@pytest.fixture(scope="module")
def port(runs: Path) -> Iterator[int]:
    with serving(application(explorer_of(runs))) as found:
        # A page of users that are being scored loads itself anew, and would cut off the next visit.
        while "Refresh" in Client(found).get("/users/one?with=attacked").headers:
            continue
        yield found


def check_accessible(page: Page) -> None:
    """No serious violation, and nothing that makes the page wider than its window."""
    try:
        assert axe.serious_violations(page) == []
    except Unavailable as reason:
        pytest.skip(str(reason))
    page.wait_for_function("document.documentElement.scrollWidth <= window.innerWidth")


PAGES = (
    "/",
    "/?sort=hr&order=down&state=done",
    "/run/one",
    "/run/broken",
    "/chain/one",
    "/block/0/one",
    "/block/6/attacked",
    "/search/one?q=server 1",
    "/verify/one",
    "/network/one",
    "/network/one?height=3",
    "/timeline/3/one",
    "/messages/3/one",
    "/users/one",
    "/users/one?user=3&with=attacked",
    "/compare?run=one&run=two&run=attacked",
)


@pytest.mark.parametrize(("scheme", "widths"), [("light", (400, 1600)), ("dark", (1600, 400))])
def test_every_page_is_sound_accessible_and_fits(
    browser: Browser, port: int, scheme: str, widths: tuple[int, int]
) -> None:
    """As it is loaded, and after its window was made wider or narrower."""
    first, second = ({"width": width, "height": 900} for width in widths)
    with visitor(browser, port, color_scheme=scheme, viewport=first) as page:
        for path in PAGES:
            page.set_viewport_size(first)
            answer = page.goto(path)
            assert answer is not None
            assert answer.status == (422 if "broken" in path else 200), path
            for chart in page.locator(".chart").all():
                page.wait_for_function(
                    "id => document.getElementById(id).dataset.drawn",
                    arg=chart.get_attribute("id"),
                )
            check_accessible(page)
            page.set_viewport_size(second)
            check_accessible(page)


def test_hostile_names_are_text(browser: Browser, port: int) -> None:
    with visitor(browser, port) as page:
        page.goto("/")
        turned = page.get_by_role("row").filter(has_text="turned")
        assert turned.count() == 1
        assert "\u202e" not in turned.inner_text()
        page.get_by_role("link", name="onerror").click()
        page.wait_for_url("**/run/*")
        assert page.locator("img[src=x]").count() == 0
        assert HOSTILE in page.locator("h1").inner_text()


def test_from_the_list_to_a_comparison(browser: Browser, port: int) -> None:
    with visitor(browser, port) as page:
        page.goto("/")
        page.get_by_label("State").select_option("done")
        page.get_by_role("button", name="Filter").click()
        for name in ("one", "two", "attacked"):
            page.get_by_label(f"Compare {name}", exact=True).check()
        page.get_by_role("button", name="Compare the chosen runs").click()
        page.wait_for_selector("#chart-compare[data-drawn]")
        # Two settings: the two seeds of one are a line with its band, of three traces.
        assert page.locator("#chart-compare").get_attribute("data-drawn") == "4"
        before = page.locator("#chart-compare .xtitle").text_content()
        page.get_by_label("Over").select_option(index=1)
        page.wait_for_function(
            "before => document.querySelector('#chart-compare .xtitle').textContent !== before",
            arg=before,
        )
        changes = page.get_by_role("region", name="Options that differ")
        assert "clients.malicious" in changes.inner_text()


def test_from_a_run_to_a_block_and_back(browser: Browser, port: int) -> None:
    with visitor(browser, port) as page:
        page.goto("/run/one")
        page.get_by_role("link", name="Chain", exact=True).click()
        page.get_by_role("link", name="6", exact=True).click()
        page.wait_for_url("**/block/6/one")
        page.get_by_role("link", name="Block 5", exact=True).click()
        page.wait_for_url("**/block/5/one")
        page.get_by_role("link", name="Timeline").click()
        page.wait_for_url("**/timeline/5/one")


def test_search_finds_a_block_by_its_address(browser: Browser, port: int) -> None:
    with visitor(browser, port) as page:
        page.goto("/block/4/one")
        cid = page.locator("text=/bafyrei[a-z2-7]{52}/").first.inner_text().split()[0]
        page.goto("/chain/one")
        page.get_by_role("searchbox").fill(cid)
        page.get_by_role("button", name="Search").click()
        page.get_by_role("link", name="4", exact=True).first.wait_for()
        page.get_by_role("searchbox").fill("client 99999")
        page.get_by_role("button", name="Search").click()
        page.get_by_text("client 99999").first.wait_for()


def test_a_chain_is_verified_on_the_page(browser: Browser, port: int) -> None:
    with visitor(browser, port) as page:
        page.goto("/chain/one")
        page.get_by_role("link", name="Verify the whole chain").click()
        page.get_by_text("6 blocks").wait_for(timeout=PATIENCE)
        assert page.get_by_text("VRF proofs").count()


def test_a_run_in_progress_shows_itself_and_so_does_its_resume(
    browser: Browser, tmp_path: Path
) -> None:
    """The page is opened while the run goes on; nothing is clicked until it says done."""
    run, config = tmp_path / "runs" / "live", tmp_path / "live.yaml"
    run.parent.mkdir()
    text = TEXT.replace("rounds: 6\n", "rounds: 100000\n").replace("every: 2", "every: 5")
    config.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "bfedrec", "run", str(config), "--out", str(run)]
    with served(run.parent) as client:
        playing = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            with visitor(browser, client.port) as page:
                rounds = _rounds(page, run)
                page.wait_for_selector("text=running", timeout=PATIENCE)
                _wait_for_more(page, rounds)
                page.wait_for_selector("#chart-scores[data-drawn]", timeout=PATIENCE)
                playing.terminate()
                playing.wait()
                page.wait_for_selector("text=interrupted", timeout=PATIENCE)
                rounds = _shown(page)
                playing = subprocess.Popen([*command, "--resume"], stdout=subprocess.DEVNULL)
                page.wait_for_selector("text=running", timeout=PATIENCE)
                _wait_for_more(page, rounds)
        finally:
            playing.terminate()
            playing.wait()


def _rounds(page: Page, run: Path) -> int:
    """Open the page of a run as soon as it has a round; return how many it has."""
    for _ in range(1200):
        if (run / "metrics.jsonl").exists():
            page.goto(f"/run/{run.name}")
            return _shown(page)
        page.wait_for_timeout(100)
    raise AssertionError("the run has not begun")


def _shown(page: Page) -> int:
    """Number of rounds that the page shows."""
    text = page.locator("#part-state").inner_text()
    return int(text.split(" of ")[0].split()[-1].replace(",", ""))


def _wait_for_more(page: Page, rounds: int) -> None:
    """Wait until the page shows more rounds; it is not loaded again."""
    for _ in range(1200):
        if _shown(page) > rounds:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"the page still shows {rounds} rounds")


def test_a_violation_is_replayed_step_by_step(browser: Browser, tmp_path: Path) -> None:
    place = tmp_path / "lock.json"
    assert main(["torture", "--break", "lock", "--replay", LOCK, "--trace", str(place)]) == 1
    with (
        served(place) as client,
        visitor(browser, client.port, viewport={"width": 400, "height": 900}) as page,
    ):
        page.goto("/")
        page.wait_for_url("**/trace")
        assert page.get_by_role("alert").get_by_text("Violated").count() == 1
        told = [page.get_by_role("status").inner_text()]
        for _ in range(3):
            page.get_by_role("link", name="Next", exact=True).click()
            page.wait_for_load_state()
            told.append(page.get_by_role("status").inner_text())
        assert len(set(told)) == 4
        check_accessible(page)
        page.get_by_role("link", name="To the violation").click()
        page.wait_for_selector("p.note.bad[role=status]")
        check_accessible(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_opens_from_disk(
    browser: Browser, runs: Path, tmp_path: Path, scheme: str
) -> None:
    out = tmp_path / "report.html"
    assert main(["report", str(runs / "one"), "--out", str(out)]) == 0
    context = browser.new_context(color_scheme=scheme, offline=True)  # type: ignore[arg-type]
    page = context.new_page()
    asked: list[str] = []
    told: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.goto(out.as_uri())
    assert page.locator("svg").count() > 0
    check_accessible(page)
    folded = page.locator("details pre").first
    assert not folded.is_visible()
    page.emulate_media(media="print", color_scheme=scheme)  # type: ignore[arg-type]
    assert folded.is_visible()  # paper cannot be clicked
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)")
    context.close()
    assert told == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}


def test_names_have_room_and_pages_use_it(browser: Browser, port: int) -> None:
    for width, broad in ((400, 340), (1280, 1200), (1600, 1500)):
        with visitor(browser, port, viewport={"width": width, "height": 900}) as page:
            page.goto("/")
            name = page.locator("th[scope=row]", has_text="attacked").bounding_box()
            listed = page.locator("form.broad").bounding_box()
            caption = page.locator("form.broad caption").bounding_box()
            assert name is not None
            assert listed is not None
            assert caption is not None
            assert name["width"] >= 200
            assert listed["width"] >= broad
            assert caption["width"] <= width
            page.goto("/chain/one")
            box = page.get_by_label("Height, CID, server or client").bounding_box()
            button = page.get_by_role("button", name="Search").bounding_box()
            assert box is not None
            assert button is not None
            assert abs(box["y"] - button["y"]) < 10  # on one line
