"""Screenshots of the explorer for docs/explorer.md: python -m tests.explorer_shots [FOLDER]"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bfedrec.cli.main import main
from bfedrec.web.explorer.app import application
from bfedrec.web.explorer.serving import explorer_of
from tests.helpers.browser import browsing, visitor
from tests.helpers.web import serving
from tests.shots import IMAGES, smaller

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CONFIG = "experiments/quickstart.yaml"
ATTACKS = (
    "servers.malicious=[{behaviour: [gaussian, invert_votes], share: 1/3}]",
    "clients.malicious=[{attack: push, share: 0.1, items: [300]}]",
    "faults=[{partition: [[0, 1, 2]], from: 40, until: 60}]",
)
RUNS = (
    ("honest-s0", ("seed=0",)),
    ("honest-s1", ("seed=1",)),
    ("attacked-s0", ("seed=0", *ATTACKS)),
    ("attacked-s1", ("seed=1", *ATTACKS)),
)
HEIGHT = 40
"""A height of the shown timeline: during the partition."""
LOCK = "7"
"""A seed that finds out that the rule ``lock`` is off."""
SIZE = {"width": 1080, "height": 720}


def shoot(folder: Path, work: Path) -> None:
    """Make the runs in the folder ``work``, and take all screenshots into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, overrides in RUNS:
        assert main(["run", CONFIG, *overrides, "--out", str(work / "runs" / name)]) == 0
    trace = work / "lock.json"
    assert main(["torture", "--break", "lock", "--replay", LOCK, "--trace", str(trace)]) == 1
    with browsing() as browser:
        with serving(application(explorer_of(work / "runs"))) as port:
            chosen = "&".join(f"run={name}" for name, _ in RUNS)
            _take(browser, port, "light", folder, {"runs": "/", "run": "/run/attacked-s0"})
            _take(browser, port, "dark", folder, {"compare": f"/compare?{chosen}"})
            pages = {
                "block": f"/block/{HEIGHT}/attacked-s0",
                "timeline": f"/timeline/{HEIGHT}/attacked-s0",
            }
            _take(browser, port, "light", folder, pages)
        with serving(application(explorer_of(trace))) as port:
            _take(browser, port, "dark", folder, {"trace": "/trace?step=20"})


def _take(browser: Browser, port: int, scheme: str, folder: Path, pages: dict[str, str]) -> None:
    """Take the first screen and a half of some pages, by the names of their images."""
    with visitor(browser, port, viewport=SIZE, color_scheme=scheme) as page:
        for name, path in pages.items():
            page.goto(path)
            _wait_for_charts(page)
            height = page.evaluate("Math.min(document.documentElement.scrollHeight, 1100)")
            place = folder / f"explorer-{name}.png"
            clip = {"x": 0, "y": 0, "width": SIZE["width"], "height": height}
            page.screenshot(path=place, full_page=True, clip=clip)  # type: ignore[arg-type]
            smaller(place)


def _wait_for_charts(page: Page) -> None:
    """Wait until every chart of a page is drawn."""
    for chart in page.locator(".chart").all():
        id = chart.get_attribute("id")
        page.wait_for_selector(f"#{id}[data-drawn] .scatterlayer .trace", state="attached")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as work:
        shoot(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES, Path(work))
