"""The figures of every height, from timelines that grow or are broken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bfedrec.explorer.heights import EVENTS, HeightReader, Heights
from bfedrec.runs.folder import RunError
from tests.helpers.timelines import TIMELINE


def write(folder: Path, *heights: int, captured: bool = False) -> None:
    assert TIMELINE.figures is not None
    figures = replace(TIMELINE.figures, captured=captured)
    lines = [replace(TIMELINE, height=height, figures=figures).line() for height in heights]
    with (folder / "timeline.jsonl").open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def test_figures_and_sums(tmp_path: Path) -> None:
    reader = HeightReader()
    assert reader.of(tmp_path) == Heights()
    write(tmp_path, 1, 2)
    figures = TIMELINE.figures
    assert figures is not None
    found = reader.of(tmp_path)
    row = found.rows[0]
    assert (row.height, row.outcome, row.attempts, row.seconds) == (1, "decided", 4, 8.5)
    assert row.why == ("closed by all",)
    assert (row.down, row.cut_off) == (1, 2)
    assert row.bytes == sum(figures.bytes.values())
    assert row.refused == sum(figures.refused.values())
    assert dict(found.bytes_by_kind) == {kind: 2 * size for kind, size in figures.bytes.items()}
    assert dict(found.refused) == {why: 2 * number for why, number in figures.refused.items()}
    write(tmp_path, 3, captured=True)
    found = reader.of(tmp_path)
    assert [row.height for row in found.rows] == [1, 2, 3]
    assert 3 in found.captured
    assert found.with_evidence == ([1, 2, 3] if figures.evidence else [])


def test_heights_without_figures_count_nothing(tmp_path: Path) -> None:
    line = replace(TIMELINE, figures=None).line()
    (tmp_path / "timeline.jsonl").write_text(f"{line}\n")
    (row,) = HeightReader().of(tmp_path).rows
    assert (row.bytes, row.refused, row.evidence, row.updates, row.captured) == (0, 0, 0, 0, False)


def test_events_are_not_looked_at_wherever_they_stand(tmp_path: Path) -> None:
    node = TIMELINE.to_node()
    moved = json.dumps({"events": node.pop("events"), **node}, separators=(",", ":"))
    named = json.dumps({**node, "block": ',"events":[', "events": []}, separators=(",", ":"))
    odd = f'{TIMELINE.line().partition(EVENTS.decode())[0]},"events":[rubbish'
    rows = []
    for line in (TIMELINE.line(), moved, named, odd):
        (tmp_path / "timeline.jsonl").write_text(f"{line}\n")
        rows.extend(HeightReader().of(tmp_path).rows)
    assert len(rows) == 4
    assert len(set(rows)) == 1


def test_a_resume_cuts_the_heights(tmp_path: Path) -> None:
    reader = HeightReader()
    write(tmp_path, 1, 2, 3)
    assert len(reader.of(tmp_path).rows) == 3
    text = (tmp_path / "timeline.jsonl").read_text()
    (tmp_path / "timeline.jsonl").write_text("".join(text.splitlines(keepends=True)[:1]))
    assert [row.height for row in reader.of(tmp_path).rows] == [1]
    write(tmp_path, 2)
    found = reader.of(tmp_path)
    assert [row.height for row in found.rows] == [1, 2]
    assert TIMELINE.figures is not None
    kind, size = next(iter(TIMELINE.figures.bytes.items()))
    assert dict(found.bytes_by_kind)[kind] == 2 * size


@pytest.mark.parametrize(
    "content", ["rubbish\n", '{"height": 1}\n', "[" * 100_000 + "\n", "\xff\n"]
)
def test_a_broken_file_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "timeline.jsonl").write_bytes(content.encode("latin-1"))
    with pytest.raises(RunError, match=r"^timeline\.jsonl, line 1: ") as error:
        HeightReader().of(tmp_path)
    assert "\n" not in str(error.value)


def test_heights_only_rise(tmp_path: Path) -> None:
    write(tmp_path, 2, 2)
    with pytest.raises(RunError, match=r"line 2: height 2 after 2"):
        HeightReader().of(tmp_path)


def test_the_latest_runs_are_kept(tmp_path: Path) -> None:
    reader = HeightReader(most=1)
    for name in "ab":
        (tmp_path / name).mkdir()
        write(tmp_path / name, 1)
        reader.of(tmp_path / name)
    assert list(reader._known) == [tmp_path / "b"]
