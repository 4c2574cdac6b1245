"""axe-core from npm: checks that a page is accessible."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from tests.helpers.npm import ROOT, install

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

PACKAGE = ROOT / "tests" / "helpers" / "axe" / "package.json"
SERIOUS = ("serious", "critical")


@cache
def script() -> Path:
    """The script of axe-core; raises `tests.helpers.npm.Unavailable`."""
    return install("axe-core", PACKAGE, ROOT / ".cache" / "axe", "axe-core/axe.min.js")


def serious_violations(page: Page) -> list[str]:
    """The serious and critical findings of axe-core on a page: rule, elements, why."""
    page.evaluate(script().read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run(document)).violations")
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:200]}: {node['failureSummary'][:300]}"
        for each in found
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]
