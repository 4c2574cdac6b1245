"""Reading files: what is accepted, and that every refusal names file, line and column."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bfedrec.data.files import Files, SourceFile
from bfedrec.data.interactions import DataError, Interactions
from bfedrec.data.sets.csv_file import CsvFile
from bfedrec.data.sets.pinterest import Pinterest
from bfedrec.data.sets.synthetic import Synthetic
from bfedrec.data.settings import DataSettings
from bfedrec.data.textfile import ID, NUMBER, TEXT, Column, names_of, read_columns


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str | bytes, name: str = "rows.csv") -> SourceFile:
        path = tmp_path / name
        content = text.encode() if isinstance(text, str) else text
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return SourceFile(path)

    return write


def read(file: SourceFile, **settings: Any) -> Interactions:
    return CsvFile(**settings).read(Files("csv", {"interactions": file}), 0)


def test_columns_by_name_position_and_delimiter(write: Any) -> None:
    table = read_columns(write("b,a\n1,2.5\n3,4\n", "rows.csv.gz"), {"a": NUMBER, "b": ID})
    assert table["a"].tolist() == [2.5, 4.0]
    assert table["b"].tolist() == [1, 3]
    table = read_columns(write("1::x::2\n3::y::4\n"), {2: ID, 1: TEXT}, "::", header=False)
    assert table[2].tolist() == [2, 4]
    assert table[1].tolist() == ["x", "y"]
    assert table[2].dtype == np.int64


def test_windows_line_ends_marks_blank_lines_and_quotes_are_read(write: Any) -> None:
    text = b'\xef\xbb\xbf"user", item \r\n1,2\r\n\r\n3,"4"\r\n'
    table = read_columns(write(text), {"user": ID, "item": ID})
    assert table["user"].tolist() == [1, 3]
    assert table["item"].tolist() == [2, 4]


def test_text_ids_stay_text(write: Any) -> None:
    rows = read(write("user,item\n007,NA\n7,B\n"), ids="text")
    assert rows.users.tolist() == ["007", "7"]
    assert rows.items.tolist() == ["NA", "B"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("user,item\n", "holds no rows"),
        ("user,film\n1,2\n", r"line 1 names no column 'item'; it has user, film"),
        ("user;item\n1;2\n", r"names no column 'user'.*delimiter ','"),
        ("user,item\n1,2\nx,3\n", r"line 3, column 'user': 'x' is not a whole number >= 0"),
        ("user,item\n1,2\n\n4,-3\n", r"line 4, column 'item': '-3' is not"),
        ("user,item\n1,2.0\n", r"line 2, column 'item': '2.0' is not"),
        ("user,item\n1,\n", r"line 2, column 'item': '' is not"),
        ("user,item\n1,2\n3\n", r"line 3, column 'item': '' is not"),
        ("user,item\n1,99999999999999999999\n", r"line 2, column 'item': '9+' is not"),
        ("user,item\n1,2\n3,4,5\n", r"line 3"),
        ("user,item\n1,True\n", r"line 2, column 'item': 'True' is not"),
        (b"user,item\n1,\xff\n", r"is not UTF-8 text \(line 2: invalid start byte\)"),
        (b"user,\xe9,item\n1,2,3\n", r"is not UTF-8 text \(line 1: "),
        ("user,item,item\n1,2,3\n", r"line 1 names the column 'item' 2 times"),
        ("user,item,note, note \n1,2,3,4\n", r"line 1 names the column 'note' 2 times"),
    ],
)
def test_unreadable_rows_are_refused_by_line(write: Any, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read(write(text))
    assert "rows.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_unnamed_columns_may_repeat(write: Any) -> None:
    assert read(write("user,item,,\n1,2,,\n")).items.tolist() == [2]
    assert read(write("4,4\n1,2\n"), header=False, user=0, item=1).items.tolist() == [4, 2]


def test_a_wide_header_is_looked_at_once(write: Any) -> None:
    """Half a million columns would take hours if each name were looked for among all."""
    looks = 0

    class Name(str):
        def __eq__(self, other: object) -> bool:
            nonlocal looks
            looks += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

        def strip(self, chars: str | None = None) -> Name:
            return self

    names = [Name(f"c{k}") for k in range(2_000)]
    assert names_of(write("x"), list(names)) == names
    looks = 0
    names_of(write("x"), list(names))
    assert looks < 10 * len(names)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8"])
def test_a_file_may_have_another_encoding(write: Any, encoding: str) -> None:
    text = "käufer\x1fartikel\n1\x1fcafé\n2\x1fthé\n"
    for delimiter in (";", "::"):
        file = write(text.replace("\x1f", delimiter).encode(encoding))
        options = {"user": "käufer", "item": "artikel", "ids": "text", "delimiter": delimiter}
        assert read(file, **options, encoding=encoding).items.tolist() == ["café", "thé"]
        if encoding != "utf-8":
            with pytest.raises(DataError, match=r"rows\.csv: is not UTF-8 text \(line 1: .*\)$"):
                read(file, **options)


@pytest.mark.parametrize(
    ("content", "encoding", "reason"),
    [
        (b"user,item\n1,2\n3,\x81\n", "cp1252", r"CP1252 text \(line 3: "),
        ("user,item\n1,2\n".encode("utf-16")[:-1], "utf-16", r"UTF-16 text \(line 2: truncated"),
        (b"user,item\n1,+2AA-\n", "utf-7", r"UTF-7 text \("),
    ],
)
def test_bytes_that_do_not_decode_are_refused(
    write: Any, content: bytes, encoding: str, reason: str
) -> None:
    with pytest.raises(DataError, match=rf"rows\.csv: is not {reason}") as error:
        read(write(content), encoding=encoding)
    assert "\n" not in str(error.value)


def test_numbers_must_be_finite(write: Any) -> None:
    for cell in ("inf", "nan", "", "soon"):
        with pytest.raises(DataError, match="line 3, column 'when'"):
            read(write(f"user,item,when\n1,2,3\n1,3,{cell}\n"), time="when")
    empty = Column(np.float64, may_be_empty=True)
    table = read_columns(write("a\n1\n2\n"), {"a": empty})
    assert table["a"].tolist() == [1, 2]
    table = read_columns(write("a,b\n1,\n2,5\n"), {"b": empty})
    assert np.isnan(table["b"][0])
    with pytest.raises(DataError, match="line 2, column 'b': 'nan'"):
        read_columns(write("a,b\n1,nan\n"), {"b": empty})


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"user,item\n1,2\n")[:-6])
    with pytest.raises(DataError, match=r"rows\.csv\.gz: damaged"):
        read(SourceFile(path))
    path.write_bytes(b"user,item\n1,2\n")
    with pytest.raises(DataError, match=r"rows\.csv\.gz: "):
        read(SourceFile(path))


@given(st.lists(st.tuples(st.integers(0, 10**17), st.integers(0, 10**17)), min_size=1, unique=True))
def test_every_pair_of_whole_numbers_is_read(pairs: list[tuple[int, int]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.tsv"
        path.write_text("".join(f"{u}\t{i}\n" for u, i in pairs))
        rows = read(SourceFile(path), header=False, user=0, item=1, delimiter="\t")
    assert list(zip(rows.users.tolist(), rows.items.tolist(), strict=True)) == pairs


def test_a_threshold_keeps_what_was_liked(write: Any) -> None:
    file = write("user,item,rating\n1,2,5\n1,3,2\n1,4,4\n")
    assert read(file, rating="rating", threshold=4).items.tolist() == [2, 4]
    assert read(file, rating="rating").items.tolist() == [2, 3, 4]
    assert read(file, rating="rating").disliked is None
    for duplicates in ("refuse", "merge"):
        disliked = read(file, rating="rating", threshold=4, duplicates=duplicates).disliked
        assert disliked is not None
        assert (disliked.users.tolist(), disliked.items.tolist()) == ([1], [3])
    with pytest.raises(DataError, match=r"reaches the threshold 6 \(the largest is 5\)"):
        read(file, rating="rating", threshold=6)


def test_repeated_pairs_are_refused_or_merged(write: Any) -> None:
    file = write("user,item,time\n1,2,5\n1,3,6\n1,2,7\n")
    with pytest.raises(DataError, match=r"1 rows repeat .* \(user 1, item 2.*duplicates=merge"):
        read(file, time="time")
    merged = read(file, time="time", duplicates="merge")
    assert merged.items.tolist() == [3, 2]
    assert merged.times.tolist() == [6, 7]
    assert merged.counts.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"header": False}, "0-based column position"),
        ({"user": 0}, "must be a column name"),
        ({"user": "id", "item": "id"}, "different columns"),
        ({"threshold": 3.0}, "needs the rating column"),
        ({"delimiter": ""}, "at least 1"),
        ({"columns": 3}, "not permitted"),
        *(
            ({"encoding": name}, "an encoding of text that Python knows")
            for name in ("utf-88", "base64", "undefined", "idna", "", "utf-8\0")
        ),
    ],
)
def test_csv_settings_that_make_no_sense_are_refused(section: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CsvFile(**section)


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError, match="at most half"):
        Synthetic(items=50, interactions_per_user=30)
    with pytest.raises(ValidationError):
        DataSettings.model_validate({"dataset": "netflix"})


def test_ncfs_pinterest_files_are_read_with_their_repeats(write: Any) -> None:
    """NCF's training file lacks the test items, and may list a pair more than once."""
    listed = "\t".join(str(k) for k in range(100, 199))
    files = {
        "interactions": write("0\t5\t1\t0\n0\t6\t1\t0\n0\t5\t1\t0\n1\t5\t1\t0\n", "train"),
        "test": write("0\t7\t1\t0\n1\t8\t1\t0\n", "test"),
        "negatives": write(f"(0,7)\t{listed}\n(1,8)\t{listed}\n", "negative"),
    }
    rows = Pinterest().read(Files("official", files), 0)
    pairs = zip(rows.users.tolist(), rows.items.tolist(), rows.counts.tolist(), strict=True)
    assert sorted(pairs) == [(0, 5, 2), (0, 6, 1), (0, 7, 1), (1, 5, 1), (1, 8, 1)]
    assert rows.published is not None
    assert rows.published.items.tolist() == [7, 8]
    assert rows.published.negatives is not None
    assert rows.published.negatives.shape == (2, 99)
    files["negatives"] = write(f"(0,7)\t{listed}\n(1,9)\t{listed}\n", "negative")
    with pytest.raises(DataError, match=r"negative: its \(user,item\) pairs are not those of"):
        Pinterest().read(Files("official", files), 0)
    files["test"] = write("0\t7\t1\t0\n0\t8\t1\t0\n", "test")
    with pytest.raises(DataError, match="more than one test item"):
        Pinterest().read(Files("official", files), 0)
