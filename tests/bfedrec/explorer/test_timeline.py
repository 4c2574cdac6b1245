"""RUN/timeline.jsonl, read while it grows, is cut, or is something else."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bfedrec.explorer import timeline as module
from bfedrec.explorer.timeline import Timeline
from bfedrec.runs.folder import RunError
from bfedrec.runs.timelines import MOST_LINE, append_timeline, cut_timelines
from tests.helpers.timelines import TIMELINE, timelines


def written(folder: Path, heights: int) -> Path:
    for each in timelines(heights):
        append_timeline(folder, each)
    return folder / "timeline.jsonl"


def test_every_height_is_found(tmp_path: Path) -> None:
    written(tmp_path, 5)
    found = Timeline(tmp_path)
    assert list(found.heights) == [1, 2, 3, 4, 5]
    assert [found.height(height) for height in (4, 1, 5)] == [
        replace(TIMELINE, height=height) for height in (4, 1, 5)
    ]
    with pytest.raises(RunError, match="no timeline of height 6"):
        found.height(6)


def test_a_run_without_timelines_has_no_heights(tmp_path: Path) -> None:
    found = Timeline(tmp_path)
    assert not found.heights
    assert not found.refresh()
    written(tmp_path, 1)
    assert found.refresh()
    assert found.height(1).height == 1


def test_only_what_was_appended_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = written(tmp_path, 300)
    found = Timeline(tmp_path)
    read: list[int] = []
    open_file = module.open_file

    def counted(path: Path):  # type: ignore[no-untyped-def]
        file = open_file(path)

        class Counted:
            def __enter__(self):  # type: ignore[no-untyped-def]
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

            def seek(self, *words: int) -> int:
                return file.seek(*words)

            def read(self, size: int) -> bytes:
                data = file.read(size)
                read.append(len(data))
                return data

        return Counted()

    monkeypatch.setattr(module, "open_file", counted)
    append_timeline(tmp_path, replace(TIMELINE, height=301))
    line = len(TIMELINE.line())
    assert found.refresh()
    assert sum(read) < 4 * line < place.stat().st_size / 50
    read.clear()
    assert found.height(150).height == 150
    assert sum(read) < 2 * line
    read.clear()
    assert not found.refresh(), "nothing is new"


def test_a_torn_tail_is_left_until_it_is_whole(tmp_path: Path) -> None:
    place = written(tmp_path, 2)
    line = replace(TIMELINE, height=3).line().encode()
    for size in (1, 11, len(line)):
        with place.open("ab") as file:
            file.write(line[:size])
        found = Timeline(tmp_path)
        assert list(found.heights) == [1, 2]
        os.truncate(place, place.stat().st_size - size)
    with place.open("ab") as file:
        file.write(line)
    found = Timeline(tmp_path)
    with place.open("ab") as file:
        file.write(b"\n")
    assert found.refresh()
    assert found.height(3).height == 3


def test_a_file_that_is_cut_and_goes_on_is_read_anew(tmp_path: Path) -> None:
    written(tmp_path, 5)
    found = Timeline(tmp_path)
    cut_timelines(tmp_path, 2)
    assert found.refresh()
    assert list(found.heights) == [1, 2]
    stalled = replace(TIMELINE, height=3, outcome="stalled", block="")
    append_timeline(tmp_path, stalled)
    assert found.refresh()
    assert found.height(3) == stalled
    cut_timelines(tmp_path, 1)
    for each in timelines(9)[1:]:
        append_timeline(tmp_path, replace(each, block="another"))
    assert found.refresh()
    assert list(found.heights) == list(range(1, 10))
    assert found.height(9).block == "another"


def test_a_file_cut_between_two_reads_is_told(tmp_path: Path) -> None:
    written(tmp_path, 5)
    found = Timeline(tmp_path)
    cut_timelines(tmp_path, 0)
    with pytest.raises(RunError):
        found.height(5)
    append_timeline(tmp_path, replace(TIMELINE, height=2))
    with pytest.raises(RunError, match="the file has changed: read it again"):
        found.height(1)


@pytest.mark.parametrize("heights", [0, 1, 3, 9])
def test_a_cut_keeps_the_lines_up_to_a_height(tmp_path: Path, heights: int) -> None:
    place = written(tmp_path, 3)
    whole = place.read_bytes()
    with place.open("ab") as file:
        file.write(b'{"height":4,"outc')
    cut_timelines(tmp_path, heights)
    lines = whole.splitlines(keepends=True)
    assert place.read_bytes() == b"".join(lines[:heights])


def test_heights_may_be_missing_but_not_out_of_order(tmp_path: Path) -> None:
    for height in (4, 9):
        append_timeline(tmp_path, replace(TIMELINE, height=height))
    assert list(Timeline(tmp_path).heights) == [4, 9]
    append_timeline(tmp_path, replace(TIMELINE, height=9))
    with pytest.raises(RunError, match="line 3: height 9 comes after height 9"):
        Timeline(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"\n",
        b"{}\n",
        b'{"height":-1,"x":2}\n',
        b'{"height":0,"x":2}\n',
        b'{"height":1.5,"x":2}\n',
        b'{"height":99999999999,"x":2}\n',
        b"\x00\xff\xfe\n",
        b"x" * (MOST_LINE + 1),
        b'{"height":1,' + b" " * MOST_LINE + b"}\n",
    ],
)
def test_a_foreign_file_is_told_in_a_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "timeline.jsonl").write_bytes(content)
    with pytest.raises(RunError) as error:
        Timeline(tmp_path)
    assert "line 1: " in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "line",
    [
        b'{"height":1,}',
        b'{"height":1,"began":NaN}',
        b'{"height":1,"a":' + b"[" * 100_000,
        b'{"height":1,"a":"\xff"}',
        replace(TIMELINE, height=1).line().encode().replace(b'"decided"', b'"lost"'),
    ],
)
def test_a_foreign_line_is_told_when_its_height_is_asked_for(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "timeline.jsonl").write_bytes(line + b"\n")
    append_timeline(tmp_path, replace(TIMELINE, height=2))
    found = Timeline(tmp_path)
    assert found.height(2).height == 2, "other heights can be read"
    with pytest.raises(RunError, match="height 1: ") as error:
        found.height(1)
    assert "\n" not in str(error.value)


def test_a_folder_a_fifo_and_an_endless_file_are_told(tmp_path: Path) -> None:
    place = tmp_path / "timeline.jsonl"
    place.mkdir()
    with pytest.raises(RunError, match=r"timeline\.jsonl: not a regular file"):
        Timeline(tmp_path)
    place.rmdir()
    os.mkfifo(place)
    with pytest.raises(RunError, match=r"timeline\.jsonl: not a regular file"):
        Timeline(tmp_path)
    place.unlink()
    with place.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(RunError, match="longer than 1,073,741,824 bytes"):
        Timeline(tmp_path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(TIMELINE.line() + "\n")
    (tmp_path / "timeline.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=r"timeline\.jsonl: cannot be read: a link"):
        Timeline(tmp_path)
