"""The page of a height's messages, over HTTP."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

import bfedrec as bf
from bfedrec.explorer import messages as facts
from bfedrec.explorer.messages import messages_of
from bfedrec.runs.folder import RunError
from bfedrec.runs.message_trace import MessageTrace
from bfedrec.runs.messages import COLUMNS, MESSAGES, MOST_TEXT, groups, schema
from bfedrec.web.explorer.messages import REASONS
from consensus.network.traced import AT_ONCE, LOST
from tests.bfedrec.runs.test_messages import ONE
from tests.helpers.shown import play, served
from tests.helpers.web import Client

FAULTS = "faults=[{loss: 0.2, from: 1, until: 60}, {crash: [3], from: 1, until: 5}]"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a trace and one without."""
    root = tmp_path_factory.mktemp("runs")
    play(root / "traced", FAULTS, "--trace")
    play(root / "plain")
    return root


@pytest.fixture(scope="module")
def client(runs: Path) -> Iterator[Client]:
    with served(runs) as found:
        yield found


def test_the_table_says_what_the_trace_does(runs: Path, client: Client) -> None:
    page = client.get("/messages/3/traced")
    assert page.status == 200
    rows = bf.load(runs / "traced").trace_of(3)
    found = messages_of(runs / "traced", 3)
    assert found is not None
    assert found.rows == len(rows)
    assert [each.kind for each in found.kinds] == sorted(set(rows.kind))
    for each in found.kinds:
        mine = rows[rows.kind == each.kind]
        seconds = (mine.received - mine.said).dropna()
        assert each.messages == mine.message.nunique()
        assert (each.deliveries, each.bytes) == (len(mine), mine.bytes.sum())
        assert each.lost == mine.lost.value_counts().to_dict()
        assert each.median == pytest.approx(seconds.median())
        assert each.longest == pytest.approx(seconds.max())
        assert f"{each.bytes:,}" in page.text.replace("\u202f", ",")
    assert "stopped by a fault" in page.text
    assert 'href="/messages/2/traced"' in page.text
    assert 'href="/messages/4/traced"' in page.text


def test_the_rows_come_as_csv(runs: Path, client: Client) -> None:
    answer = client.get("/messages/3/traced?as=csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="messages-3.csv"'
    table = list(csv.reader(io.StringIO(answer.text)))
    assert table[0] == [each.name for each in COLUMNS]
    assert len(table) - 1 == len(bf.load(runs / "traced").trace_of(3))


def test_a_timeline_leads_to_its_messages(client: Client) -> None:
    assert 'href="/messages/3/traced"' in client.get("/timeline/3/traced").text
    assert "/messages/" not in client.get("/timeline/3/plain").text
    assert "Greatest delay" in client.get("/timeline/3/plain").text


def test_what_is_not_there_is_told(client: Client) -> None:
    without = client.get("/messages/3/plain")
    assert without.status == 404
    assert "bfedrec run config.yaml --trace" in without.text
    assert client.get("/messages/99/traced").status == 404
    assert client.get("/messages/0/traced").status == 404


def test_every_reason_has_words() -> None:
    assert set(REASONS) == set(LOST)


def test_a_long_height_is_counted_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = MessageTrace(tmp_path)
    trace.begin_after(0)
    for _ in range(3):
        trace.add([ONE] * 10)
    trace.end_height()
    trace.finish()
    monkeypatch.setattr(facts, "MOST_ROWS", 15)
    monkeypatch.setattr(facts, "MOST_LISTED", 15)
    found = messages_of(tmp_path, 1)
    assert found is not None
    assert (found.rows, found.kinds[0].deliveries, found.kinds[0].messages) == (30, 20, 1)
    assert facts.as_csv(tmp_path, 1).count(b"\n") == 21


# -- files of others ------------------------------------------------------------------------------


def written(path: Path, rows: int, kind: str = "vote", heights: int = 1) -> None:
    """A file of a trace's columns that holds the same row over and over."""
    cells = {"height": [1] * rows, "kind": [kind] * rows}
    for place in range(min(rows, heights)):
        cells["height"][place] = place + 1
    arrays = []
    for field in schema():
        default: object = "x" if field.type == pyarrow.string() else 0
        values = cells.get(field.name, [bool(default)] * rows)
        if field.name not in cells and field.type != pyarrow.bool_():
            values = [default] * rows
        arrays.append(pyarrow.array(values, field.type))
    table = pyarrow.table(arrays, schema=schema())
    parquet.write_table(table, path, row_group_size=max(1, rows), compression="zstd")


@pytest.mark.parametrize(
    ("rows", "kind", "heights", "told"),
    [
        (3, "x" * (MOST_TEXT + 1), 1, "kind: a text of 257 bytes, 256 at most"),
        (AT_ONCE + 1, "vote", 1, "row group 0 is too large"),
        (3, "vote", 2, "row group 0 has no one height"),
    ],
)
def test_a_foreign_file_is_read_within_bounds(
    rows: int, kind: str, heights: int, told: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    written(run / MESSAGES, rows, kind, heights)
    with pytest.raises(RunError, match=told):
        messages_of(run, 1)
    with served(tmp_path) as client:
        answer = client.get("/messages/1/run")
    assert answer.status == 422
    assert told in answer.text


def test_a_whole_foreign_file_is_read(tmp_path: Path) -> None:
    written(tmp_path / MESSAGES, 5, "<b>bold</b>")
    found = messages_of(tmp_path, 1)
    assert found is not None
    assert found.kinds[0].deliveries == 5


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / MESSAGES)
    with pytest.raises(RunError, match="Not a regular file"):
        groups(tmp_path)
