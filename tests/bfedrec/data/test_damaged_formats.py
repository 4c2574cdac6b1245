"""Any damage to a file of any format is rows that are sound, or one line of error."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.data.entry import FileEntry
from bfedrec.data.files import SourceFile, find_file
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


def archive(path: Path, packing: int = zipfile.ZIP_STORED, name: str = "rätings.csv") -> bytearray:
    """The bytes of an archive of one file, which is written, too."""
    with zipfile.ZipFile(path, "w", packing) as content:
        content.writestr(name, SAMPLES["movielens"].text)
    return bytearray(path.read_bytes())


def spoilt(content: bytearray, what: str) -> bytes:
    """An archive with one kind of damage."""
    if what == "name":
        return bytes(content).replace("ä".encode(), b"\xff\xfe")
    if what == "version":
        content[content.index(b"PK\x01\x02") + 6] = 255
    else:
        start = content.index(b".csv") + 4 + 9  # behind the properties of LZMA
        content[start : start + 20] = bytes(range(100, 120))
    return bytes(content)


def content_of(folder: Path, entry: FileEntry) -> bytes:
    """The content of a file of a record."""
    found = find_file("x", entry, [folder])
    assert found is not None
    return found.read()


@pytest.mark.parametrize("what", ["name", "version", "member"])
def test_a_damaged_archive_is_one_line(what: str, tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(spoilt(archive(path, zipfile.ZIP_LZMA), what))
    source = FormatFile(path=path, format="movielens")
    with pytest.raises(DataError, match=r"x\.zip(:rätings\.csv)?: (not a read|damaged)") as error:
        source.rows(source.files(None).by_role["interactions"])
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=r"x\.zip(:rätings\.csv)?: (not a read|damaged)"):
        content_of(tmp_path, FileEntry(path="rätings.csv", archive="x.zip"))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(
        [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    ),
    st.lists(st.tuples(st.integers(0), st.binary(min_size=1, max_size=3)), max_size=3),
)
def test_a_damaged_archive_is_told_or_read(packing: int, edits: list[tuple[int, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.zip"
        content = archive(path, packing)
        for place, piece in edits:
            place %= len(content)
            content[place : place + len(piece)] = piece
        path.write_bytes(bytes(content))
        source = FormatFile(path=path)
        told = f"{path}:"
        try:
            source.rows(source.files(None).by_role["interactions"])
        except DataError as error:
            told = str(error)
        assert told.startswith(f"{path}:")


def test_every_text_format_is_damaged() -> None:
    assert set(SAMPLES) == set(FORMATS) - {"parquet"}
