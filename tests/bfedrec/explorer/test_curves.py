"""Series of metrics: axes, increments, files that grow or are broken."""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Sequence
from math import isnan
from pathlib import Path

import pytest

from bfedrec.explorer import curves as module
from bfedrec.explorer.curves import MOST_POINTS, MOST_SERIES, Reader
from bfedrec.runs.folder import RunError
from tests.helpers import shown


def test_series_over_rounds_bytes_and_simulated_time(tmp_path: Path) -> None:
    found = Reader().of(shown.write_run(tmp_path / "run"))
    assert list(found.columns["hr@10"]) == [0.02, 0.04]
    assert found.metrics == ["hr@10", "ndcg@10"]
    assert found.axis("round") == [2, 4]
    assert found.axis("bytes") == [6000, 12000]
    assert found.axis("gossip") == [100_000, 200_000]
    assert found.axis("seconds") == [3.0, 6.0]
    assert found.per_round("attempts") == [1.5, 1.5]
    assert "split" not in found.columns
    assert found.per_round("gossip_bytes") == [50_000, 50_000]


@pytest.mark.parametrize(
    "odd",
    [
        '{"height": 3, "loss": 1.0}',  # lacks one
        '{"height": 3, "loss": 1.0, "split": "test", "hr@10": 1}',  # has another
        '{"split": "test", "height": 3, "loss": 1.0}',  # in another order
        '{"height": 3, "loss": 2, "split": "test"}',  # an integer
    ],
)
def test_lines_alike_are_taken_at_once_with_the_same_series(
    tmp_path: Path, odd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps({"height": h, "loss": h / 2, "split": "test"}) for h in (1, 2, 4, 5)]
    for name, text in (("alike", lines), ("odd", [*lines[:2], odd, *lines[2:]])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text("".join(f"{line}\n" for line in text))
    quick = {name: Reader().of(tmp_path / name) for name in ("alike", "odd")}
    monkeypatch.setattr(module.Curves, "extend", lambda self, lines: False)
    for name, found in quick.items():
        slow = Reader().of(tmp_path / name)
        assert slow.length == found.length
        assert repr(slow.columns) == repr(found.columns)


@pytest.mark.parametrize(
    "wrong",
    [
        '{"height": 2, "loss": 1.0}',
        '{"height": 3.5, "loss": 1.0}',
        '{"height": true, "loss": 1.0}',
        '{"height": 3, "loss": 1e999}',
        '{"height": 3, "loss": -9223372036854775808}',
        '{"height": 3, "loss": true}',
        '{"height": 3, "loss": [1.0]}',
        '{"height": 3, "loss": null}',
        '{"height": 3, "loss": NaN}',
        '{"height": 3}, {"height": 4}',
        "[]",
    ],
)
def test_a_wrong_line_among_others_alike_is_told(tmp_path: Path, wrong: str) -> None:
    before = ['{"height": 1, "loss": 0.5}', '{"height": 2, "loss": 0.25}']
    (tmp_path / "metrics.jsonl").write_text("\n".join([*before, wrong, ""]))
    with pytest.raises(RunError, match=r"^metrics\.jsonl, line 3: "):
        Reader().of(tmp_path)


def test_learning_without_a_ledger_has_the_bytes_of_payloads(tmp_path: Path) -> None:
    lines = [
        {"height": 2, "uplink_payload_bytes": 10, "broadcast_payload_bytes": 30},
        {"height": 4, "uplink_payload_bytes": 20, "broadcast_payload_bytes": 60},
    ]
    found = Reader().of(shown.write_run(tmp_path / "run", lines=lines))
    assert found.axis("bytes") == [40, 80]
    assert found.axis("seconds") is None
    assert found.per_round("uplink_bytes") == [5, 5]
    assert found.per_round("attempts") is None


def test_a_run_that_was_never_scored_has_no_curves(tmp_path: Path) -> None:
    found = Reader().of(tmp_path)
    assert found.length == 0
    assert found.axis("round") is None
    assert found.columns == {}


def test_what_some_lines_lack_is_no_number(tmp_path: Path) -> None:
    lines = [{"height": 1, "loss": 1.0}, {"height": 2, "hr@10": 0.5}]
    found = Reader().of(shown.write_run(tmp_path / "run", lines=lines))
    assert isnan(found.columns["hr@10"][0])
    assert found.columns["hr@10"][1] == 0.5
    assert isnan(found.columns["loss"][1])


def test_lines_are_read_as_they_come_and_torn_ones_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, reader = shown.write_run(tmp_path / "run"), Reader()
    assert reader.of(run).length == 2
    taken, before = [], module._Lines.take_all

    def noted(self: module._Lines, lines: Sequence[bytes]) -> None:
        taken.extend(json.loads(line)["height"] for line in lines)
        before(self, lines)

    monkeypatch.setattr(module._Lines, "take_all", noted)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(shown.line(6)) + '\n{"height": 8, "lo')
        file.flush()
        assert list(reader.of(run).axis("round") or ()) == [2, 4, 6]
        file.write('ss": 0.5}\n')
        file.flush()
        assert list(reader.of(run).axis("round") or ()) == [2, 4, 6, 8]
    assert taken == [6, 8]
    # A resume replaces the file by one that is shorter, or that goes on otherwise.
    (run / "part").write_text(shown.lines_of([shown.line(2), shown.line(4, loss=9.0)]))
    os.replace(run / "part", run / "metrics.jsonl")
    assert reader.of(run).columns["loss"][1] == 9.0
    assert taken == [6, 8, 2, 4]
    content = (run / "metrics.jsonl").read_text().replace("9.0", "8.0")
    (run / "metrics.jsonl").write_text(content)  # the same length in the same place
    assert reader.of(run).columns["loss"][1] == 8.0
    (run / "metrics.jsonl").unlink()
    assert reader.of(run).length == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("rubbish\n", "metrics.jsonl, line 1: not JSON"),
        ('{"height": 1}\n{"height": 1}\n', "metrics.jsonl, line 2: height 1 after 1"),
        ('{"height": 1}\n{"height": 2, "loss": NaN}\n', "metrics.jsonl, line 2: not JSON: NaN"),
        ('{"loss": 1}\n', "metrics.jsonl, line 1: height: missing"),
        ('{"height": 1.5}\n', "metrics.jsonl, line 1: height: expected an integer"),
        ('{"height": true}\n', "metrics.jsonl, line 1: 'height': expected a number"),
        ('{"height": 1, "x": ' + "9" * 5000 + "}\n", "metrics.jsonl, line 1"),
        ("[" * 100_000 + "\n", "metrics.jsonl, line 1: not JSON: nested too deeply"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(content)
    reader = Reader()
    for _ in range(2):  # nothing of a broken file is kept
        with pytest.raises(RunError) as error:
            reader.of(tmp_path)
        assert str(error.value).startswith(told)
        assert "\n" not in str(error.value)
    (tmp_path / "metrics.jsonl").write_text('{"height": 3}\n')
    assert reader.of(tmp_path).axis("round") == [3]


def test_a_file_that_is_too_long_a_link_or_a_fifo_is_not_read(tmp_path: Path) -> None:
    place = tmp_path / "metrics.jsonl"
    with place.open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(RunError, match="longer than 67,108,864 bytes"):
        Reader().of(tmp_path)
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="a link"):
        Reader().of(tmp_path)
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(RunError, match="not a regular file"):
        Reader().of(tmp_path)


def test_series_and_points_are_bounded(tmp_path: Path) -> None:
    many = {f"figure-{number}": number for number in range(2 * MOST_SERIES)}
    lines = [{"height": height, **many} for height in range(1, 12)]
    found = Reader().of(shown.write_run(tmp_path / "run", lines=lines))
    assert len(found.columns) == MOST_SERIES
    assert found.shown(4) == [1, 4, 7, 10]
    assert found.shown(1) == [10]
    assert found.shown(11) == found.shown(MOST_POINTS) == list(range(11))


def test_the_latest_runs_are_kept_and_threads_see_whole_series(tmp_path: Path) -> None:
    runs = [shown.write_run(tmp_path / name) for name in "abc"]
    reader = Reader(most=2)
    for run in (*runs, runs[1], runs[2]):
        reader.of(run)
    assert list(reader._known) == runs[1:]
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda run: found.append(reader.of(run).length), args=(run,))
        for run in runs * 8
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2] * 24
    assert len(reader._known) == 2


def test_a_run_that_decided_no_height_has_no_increase_per_round(tmp_path: Path) -> None:
    none = {**shown.line(1), "height": 0, "uplink_bytes": 0}
    found = Reader().of(shown.write_run(tmp_path / "run", lines=[none, shown.line(2)]))
    increase = found.per_round("uplink_bytes")
    assert increase is not None
    assert math.isnan(increase[0])
    assert list(increase[1:]) == [1000]


def test_a_line_without_an_end_is_not_read_to_it(tmp_path: Path) -> None:
    place = tmp_path / "metrics.jsonl"
    place.write_bytes(b'{"height": 1, "x": "' + b"a" * 2**23 + b'"}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl: a line longer than 1,048,576 bytes"):
        Reader().of(tmp_path)
