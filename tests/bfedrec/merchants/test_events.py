"""Files of events: what is read, what is told of bad rows, and what a selection leaves."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.data.interactions import DataError
from bfedrec.merchants import events, lines
from bfedrec.merchants.events import EventReader, Selection
from bfedrec.merchants.lines import COLUMNS, KINDS, SEPARATOR, checked, problem_of
from bfedrec.merchants.shards import RULES, Shard
from tests.bfedrec.merchants.event_files import GOOD, HEADER, file_of, read, row


def test_a_good_file_is_read_as_it_says(tmp_path: Path) -> None:
    path = file_of(
        tmp_path,
        row(),
        row(event_type="purchase", category_code="", brand="", user_session="", price="0.5"),
        row(event_time="1999-12-31 23:59:59 UTC", brand='"smith, ""sons"""', user_id="0"),
    )
    (chunk,), reader = read(path)
    frame = chunk.frame
    assert list(frame.columns) == list(COLUMNS)
    first = frame.iloc[0]
    assert str(first["event_time"]) == "2019-10-01 00:00:07"
    assert first["category_id"] == 2053013555631882655
    assert (first["price"], first["user_id"], first["brand"]) == (130.76, 541312140, "samsung")
    assert frame["event_type"].tolist() == ["view", "purchase", "view"]
    assert frame["category_code"].tolist()[1] == ""
    assert frame["brand"].tolist()[2] == 'smith, "sons"'
    assert str(frame["event_time"].iloc[2]) == "1999-12-31 23:59:59"
    assert chunk.lines.tolist() == [2, 3, 4]
    assert (reader.reading.rows, reader.reading.events, reader.reading.bad_rows) == (3, 3, 0)


BAD = {
    row(event_time="2019-02-29 00:00:00 UTC"): "event_time '2019-02-29 00:00:00 UTC' is not a time",
    row(event_time="2019-10-01 24:00:00 UTC"): "event_time",
    row(event_time="2019-10-01T00:00:00 UTC"): "event_time",
    row(event_type="remove"): "event_type 'remove' is not one of view, cart, purchase",
    row(product_id="-1"): "product_id '-1' is not a whole number",
    row(product_id=""): "product_id '' is not",
    row(user_id="9000000000000000000"): "user_id",
    row(user_id="1.0"): "user_id '1.0'",
    row(price="-3"): "price '-3' is not a price from 0",
    row(price="nan"): "price 'nan'",
    row(price="1e5"): "price",
    row(price="."): "price",
    row(brand="x" * 101): "brand 'xxx",
    row(brand="a\u202eb"): "brand 'a\\u202eb' is not a printable text",
    row() + ",more": "has 10 cells instead of 9",
    "view": "has 1 cells instead of 9",
    "": "is empty",
    row(brand='"open'): "has a quoted cell that does not end",
    row(brand="a\x00b"): "holds a control character",
    row(brand="a\x1fb"): "holds a control character",
    row(brand="y" * 5000): "bytes, more than 4,096",
}


def test_every_bad_row_is_told_with_its_line(tmp_path: Path) -> None:
    rows = [line for bad in BAD for line in (row(), bad)]
    chunks, reader = read(file_of(tmp_path, *rows, row(brand="z").encode() + b"\xff"))
    told = reader.reading.first_bad
    assert [one.line for one in told] == [3 + 2 * k for k in range(len(BAD))] + [2 + 2 * len(BAD)]
    for one, expected in zip(told, [*BAD.values(), "is not UTF-8 text"], strict=True):
        assert expected in one.problem
    assert sum(len(chunk.frame) for chunk in chunks) == len(BAD)
    assert reader.reading.bad_rows == len(BAD) + 1
    assert reader.reading.rows == 2 * len(BAD) + 1
    assert all(len(str(one)) < 250 and str(one).isascii() for one in told)


def test_what_is_kept_of_bad_rows_is_bounded(tmp_path: Path) -> None:
    path = file_of(tmp_path, *["x" * 3000] * 500)
    _, reader = read(path)
    assert reader.reading.bad_rows == 500
    assert len(reader.reading.first_bad) == events.KEPT
    assert reader.reading.bad == {"fields": 500}
    told: list[events.BadRow] = []
    assert list(EventReader(path, tell=told.append)) == []
    assert [row.line for row in told] == list(range(2, 502))
    assert all(len(row.problem) < 250 for row in told)


def test_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    names = [
        "=cmd|' /C calc'!A0",
        "<script>alert(1)</script>",
        "{{7*7}}",
        "NA",
        "nan",
        "1e5",
        "ünï",
    ]
    (chunk,), reader = read(file_of(tmp_path, *(row(brand=name) for name in names)))
    assert chunk.frame["brand"].tolist() == names
    assert reader.reading.bad_rows == 0


# -- the grammar, block by block and line by line --------------------------------------------------

CELLS = st.one_of(
    st.sampled_from(list(GOOD.values())),
    st.text(st.sampled_from('0123456789.,"-: UTCview\r\x00\x1fé\u202e'), max_size=25),
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=20),
    st.from_regex(
        r"[0-9]{4}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-6][0-9]:[0-6][0-9] UTC", fullmatch=True
    ),
    st.from_regex(r"[0-9]{17,20}", fullmatch=True),
)


@st.composite
def a_line(draw: st.DrawFn) -> bytes:
    """A good row with up to two cells changed, cells too few or too many, or any bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=60)).replace(b"\n", b"")
    cells = list(GOOD.values())
    for place in draw(st.lists(st.integers(0, len(cells) - 1), max_size=2)):
        cells[place] = draw(CELLS)
    cells += draw(st.lists(CELLS, max_size=1)) if draw(st.integers(0, 9)) == 0 else []
    return ",".join(cells).encode()


def by_block(found: list[bytes], tmp_path: Path) -> list[str | None]:
    """The kind of problem of each line, as the reader sees them all at once."""
    block = b"".join(line + b"\n" for line in found)
    done = checked(block)
    chosen = np.flatnonzero(done.problems < 0)
    events._check_texts(events._frame(done, chosen), done.problems, chosen)
    return [KINDS[kind] if kind >= 0 else None for kind in done.problems.tolist()]


@settings(max_examples=300)
@given(st.lists(a_line(), min_size=1, max_size=6))
def test_a_block_is_checked_as_its_lines_are(found: list[bytes]) -> None:
    found = [line.removesuffix(b"\r") for line in found]
    problems = [problem_of(line) for line in found]
    expected = [problem.kind if problem else None for problem in problems]
    assert by_block(found, Path()) == expected


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=40), max_size=6), st.booleans())
def test_any_bytes_end_in_events_bad_rows_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], header: bool
) -> None:
    path = tmp_path_factory.mktemp("any") / "events.csv"
    path.write_bytes((HEADER.encode() + b"\n" if header else b"") + b"\n".join(parts))
    reader = EventReader(path)
    told, count = "", 0
    try:
        count = sum(len(chunk.frame) for chunk in reader)
    except DataError as error:
        told = str(error)
    assert "\n" not in told
    assert told or count + reader.reading.bad_rows == reader.reading.rows


def test_blocks_may_be_cut_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(user_id=str(k), brand="é" * (k % 7)) for k in range(40)] + ["bad"]
    path = file_of(tmp_path, *rows)
    path.write_bytes(path.read_bytes().removesuffix(b"\n").replace(b"\n", b"\r\n"))
    for size in (200, 331, 1000):
        monkeypatch.setattr("bfedrec.merchants.sources.BLOCK", size)
        chunks, reader = read(path)
        assert len(chunks) > 3
        assert [user for chunk in chunks for user in chunk.frame["user_id"]] == list(range(40))
        assert [line for chunk in chunks for line in chunk.lines] == list(range(2, 42))
        assert reader.reading.first_bad[0].line == 42
        text = b"".join(chunk.text for chunk in chunks).decode()
        assert text.splitlines() == rows[:-1]


# -- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"user,item\n1,2\n", "line 1 is 'user,item'; a file of events begins with event_time,"),
        (HEADER.upper().encode() + b"\n", "line 1 is"),
        (HEADER.encode("utf-16"), "line 1 is"),
        (b"\x00" * 10_000, "line 1 is"),
        (b'"' + HEADER.encode() + b"\n", "line 1 is"),
    ],
)
def test_a_wrong_header_is_one_error(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert told in text
    assert len(text) < 400 + len(str(path))
    assert text.isprintable()


def test_marks_and_quotes_in_the_header_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    quoted = ",".join(f'"{name}"' for name in COLUMNS)
    path.write_bytes(b"\xef\xbb\xbf" + quoted.encode() + b"\r\n" + row().encode())
    (chunk,), _ = read(path)
    assert len(chunk.frame) == 1
    path.write_bytes(HEADER.encode() + b"\n")
    chunks, reader = read(path)
    assert (chunks, reader.reading.rows) == ([], 0)


# -- selections -----------------------------------------------------------------------------------


def test_a_selection_takes_dates_categories_and_counts(tmp_path: Path) -> None:
    codes = ["electronics", "electronics.audio", "electronicsx", "", "kids.toys"]
    rows = [
        row(event_time=f"2019-10-{day:02} 12:00:00 UTC", category_code=code)
        for day in range(1, 11)
        for code in codes
    ]
    path = file_of(tmp_path, "bad", *rows, "bad")
    since, until = datetime(2019, 10, 3, 12), datetime(2019, 10, 5, 12, tzinfo=UTC)
    chosen, reader = read(path, Selection(since, until, "electronics"))
    assert chosen[0].frame["category_code"].tolist() == codes[:2] * 2
    assert set(chosen[0].frame["event_time"].dt.day) == {3, 4}
    assert (reader.reading.rows, reader.reading.bad_rows) == (52, 2)
    (chunk,), reader = read(path, Selection(category="kids", count=2))
    assert chunk.text.decode().splitlines() == [rows[4], rows[9]]
    assert (reader.reading.rows, reader.reading.events, reader.reading.bad_rows) == (11, 2, 1)
    assert read(path, Selection(category="kid"))[0] == []
    with pytest.raises(ValueError, match="count must be at least 1"):
        Selection(count=0)


@pytest.mark.parametrize("rule", RULES)
def test_shards_partition_the_events(tmp_path: Path, rule: str) -> None:
    codes = ["electronics.audio", "electronics.clocks", "kids", "auto.x", "a", "b", "c", ""]
    rows = [
        row(user_id=str(k % 60), category_code=codes[k % 8], category_id=str(k % 48))
        for k in range(480)
    ]
    path = file_of(tmp_path, *rows)
    parts = [read(path, Selection(shard=Shard.parse(f"{rule}:{k}/4", b"key")))[0] for k in range(4)]
    found = [chunk for part in parts for chunk in part]
    numbers = [line for chunk in found for line in chunk.lines]
    assert sorted(numbers) == list(range(2, 482))
    assert sum(1 for part in parts if part) > 1
    by: dict[object, int] = {}
    for merchant, part in enumerate(parts):
        for chunk in part:
            for user, code, number in zip(
                *(chunk.frame[name] for name in ("user_id", "category_code", "category_id")),
                strict=True,
            ):
                same = user if rule == "user" else code.split(".")[0] or number
                assert by.setdefault(same, merchant) == merchant


def test_a_shard_is_the_same_everywhere_and_another_under_another_key() -> None:
    assert [Shard("user", 0, 1000)._hash(user) for user in (0, 541312140)] == [642, 974]
    assert Shard("category", 0, 1000)._hash("electronics") == 560
    assert Shard("user", 0, 1000, b"key")._hash(541312140) != 974
    for wrong in ("user", "user:3/3", "brand:0/2", "user:-1/2", "user:0/", "user:²/3"):
        with pytest.raises(ValueError, match=r"shard|merchant"):
            Shard.parse(wrong)
    with pytest.raises(ValueError, match="65 bytes"):
        Shard("user", 0, 2, b"x" * 65)


def test_the_separator_is_a_control_character() -> None:
    assert SEPARATOR[0] < 0x20  # so that no sound cell holds it
    assert lines.problem_of(SEPARATOR) is not None
