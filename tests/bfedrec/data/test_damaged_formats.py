"""Any damage to a file of any format is rows that are sound, or one line of error."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.data.files import SourceFile
from bfedrec.data.interactions import DataError
from bfedrec.data.layout import FORMATS, Rows
from bfedrec.data.sanity import sanity
from bfedrec.data.sets.file import FormatFile
from tests.bfedrec.data.test_formats import SAMPLES, parquet

WORDS = [
    "\t",
    ",",
    "\n",
    "\r",
    '"',
    "'",
    "{",
    "[",
    "\\",
    "\0",
    "\x1c",
    "\u2028",
    "é",
    "-1",
    "1e999",
]
MORE = [
    "nan",
    "_",
    "9" * 30,
    ":token",
    "{'a':" * 3,
    "NaT",
    "\ufeff",
    "٣",
    "2019-01-01",
    "null",
    " ",
]
PIECES = st.sampled_from([*WORDS, *MORE]).map(str.encode) | st.binary(max_size=4)


def check(path: Path, format: str) -> None:
    """Read a file that may be damaged; what it gives is sound, an error one line."""
    rows: Rows | None = None
    told = f"{path}: "
    try:
        rows = FormatFile(path=path, format=format).rows(SourceFile(path))
    except DataError as error:
        told = str(error)
    assert told.startswith(f"{path}: ")
    assert "\n" not in told
    if rows is None:
        return
    assert len(rows.users) == len(rows.items) > 0
    for ids, codes in ((rows.user_ids, rows.users), (rows.item_ids, rows.items)):
        assert sorted(set(codes.tolist())) == list(range(len(ids)))
        assert len(np.unique(ids)) == len(ids)
        assert (np.sort(ids) == ids).all()
    if rows.times is not None:
        assert not np.isinf(rows.times).any()
    if rows.ratings is not None:
        assert np.isfinite(rows.ratings).all()
    assert all("\n" not in line for line in sanity(rows).warnings)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted(SAMPLES)),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12), PIECES), min_size=1, max_size=3),
)
def test_damaged_text_is_told_or_read(name: str, edits: list[tuple[int, int, bytes]]) -> None:
    content = SAMPLES[name].text.encode()
    for place, gone, piece in edits:
        place %= len(content) + 1
        content = content[:place] + piece + content[place + gone :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SAMPLES[name].name
        path.write_bytes(content)
        check(path, name)
        check(path, "auto")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0), st.binary(min_size=1, max_size=4)), max_size=3))
def test_damaged_parquet_is_told_or_read(edits: list[tuple[int, bytes]]) -> None:
    pytest.importorskip("pyarrow")
    with tempfile.TemporaryDirectory() as folder:
        path = parquet(
            Path(folder) / "x.parquet", user=[1, 2, 3], item=["a", "b", "c"], time=[1, 2, 3]
        )
        content = bytearray(path.read_bytes())
        for place, piece in edits:
            place %= len(content)
            content[place : place + len(piece)] = piece
        path.write_bytes(bytes(content))
        check(path, "parquet")


def test_every_text_format_is_damaged() -> None:
    assert set(SAMPLES) == set(FORMATS) - {"parquet"}
