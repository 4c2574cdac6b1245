"""Traces of torture in files, which anybody may have written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bfedrec.explorer.trace import read_trace
from bfedrec.runs.folder import RunError
from consensus.torture.arena.scenario import Scenario
from consensus.torture.tracing import trace_of


def test_a_trace_is_read_back(tmp_path: Path) -> None:
    trace = trace_of(Scenario(seed=1, servers=4, heights=2), "bfedrec torture --replay ...")[1]
    place = tmp_path / "trace.json"
    place.write_text(trace.encode(), encoding="utf-8")
    assert read_trace(place) == trace
    for size in range(0, len(trace.encode()) - 2, 97):
        place.write_text(trace.encode()[:size], encoding="utf-8")
        with pytest.raises(RunError) as error:
            read_trace(place)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not JSON: "),
        (b"\xff\xfe", "not a text file in UTF-8"),
        (b"{}", "not a trace: expected the format bfedrec-trace-1"),
        (b'{"format":"bfedrec-trace-1"}', "trace: expected a map of "),
        (b"[" * 10**6, "more than 32 lists and maps within each other"),
        (b'{"format":' + b"1" * 10_000 + b"}", "not JSON: "),
    ],
)
def test_a_foreign_file_is_told_in_a_line(tmp_path: Path, content: bytes, told: str) -> None:
    place = tmp_path / "trace.json"
    place.write_bytes(content)
    with pytest.raises(RunError) as error:
        read_trace(place)
    assert str(error.value).startswith(f"{place}: {told}")
    assert "\n" not in str(error.value)


def test_a_missing_a_huge_and_an_endless_file_are_told(tmp_path: Path) -> None:
    place = tmp_path / "trace.json"
    with pytest.raises(RunError, match="no such file"):
        read_trace(place)
    os.mkfifo(place)
    with pytest.raises(RunError, match="cannot be read: "):
        read_trace(place)
    place.unlink()
    with place.open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(RunError, match="Longer than 16,777,216 bytes"):
        read_trace(place)
