"""docs/reproducing.md: a row for every table and figure, as the registries and the records say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bench.document import put
from tests.helpers.artefacts import PAGE, ROOT, SECTION, rows, text, total


def test_the_page_has_every_artefact_with_its_runs_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    shown = re.findall(
        r"^\| `(\w+)`: (.*) \| `(.*)` \| `(.*)` \| (\d+) \| (.*) \|$",
        PAGE.read_text(),
        re.MULTILINE,
    )
    expected = list(rows())
    assert [row[:4] for row in shown] == [
        (row.name, row.shows, row.command, row.scratch) for row in expected
    ]
    assert [int(row[4]) for row in shown] == [row.runs for row in expected]
    for told, row in zip(shown, expected, strict=True):
        if told[5] not in ("", "?"):
            assert row.hours is not None
            assert row.hours / 2 < float(told[5]) < row.hours * 2, (
                f"{row.name}: write the page again: python -m tests.helpers.artefacts --write"
            )
        elif told[5] == "":
            assert row.runs == 0
    runs, hours = total()
    (last,) = re.findall(
        r"^\| all together .* \| (\d+) \| (.*) \|$", PAGE.read_text(), re.MULTILINE
    )
    assert max(row.runs for row in expected) < runs < sum(row.runs for row in expected)
    assert int(last[0]) == runs
    assert hours is not None
    assert hours / 2 < float(last[1]) < hours * 2
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text())
    put(SECTION, text(expected), page)
    assert page.read_text().count("| `table2`: ") == 1
