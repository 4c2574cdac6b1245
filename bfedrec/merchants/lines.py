"""The grammar of a line of events: nine cells, and what each of them may hold.

`problem_of` is the grammar written out for readers, one line at a time, and gives the words of an
error. `checked` applies the same grammar to a block of lines at once, by arrays over its bytes;
tests hold the two equal. Only then does pandas' C reader convert the cells: it meets nothing that
it could refuse or take for something else, and every row keeps the number of its line.
"""

from __future__ import annotations

import csv
import re
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np

COLUMNS: Final = (
    "event_time",
    "event_type",
    "product_id",
    "category_id",
    "category_code",
    "brand",
    "price",
    "user_id",
    "user_session",
)
"""The header of REES46's "eCommerce behavior data from multi-category store"."""
EVENT_TYPES: Final = ("view", "cart", "purchase")
"""The types of events; an event's `kind` is its place here."""
WHOLE: Final = ("product_id", "category_id", "user_id")
TEXTS: Final = {"category_code": 100, "brand": 100, "user_session": 64}
"""The columns of text, which may be empty, and their greatest lengths in characters."""
LONGEST_LINE: Final = 4_096
"""Bytes of the longest line; REES46's have about 130."""
LONGEST_PRICE: Final = 12
KINDS: Final = ("line", "fields", "event_time", *WHOLE, "price", "event_type", *TEXTS)
"""The kinds of problems, in the order in which they are looked for; a row has the first."""

SEPARATOR: Final = b"\x1f"
"""The separator of cells inside this module; as a control character it occurs in no cell."""
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", re.ASCII)
_TEMPLATE: Final = np.frombuffer(b"0000-00-00 00:00:00 UTC", np.uint8)
_DIGITS: Final = np.flatnonzero(np.equal(_TEMPLATE, ord("0")))
_FIXED: Final = np.flatnonzero(np.not_equal(_TEMPLATE, ord("0")))
_WHOLE: Final = re.compile(r"\d{1,18}|[0-8]\d{18}", re.ASCII)
_PRICE: Final = re.compile(r"(?=.*\d)\d*\.?\d*", re.ASCII)


class Problem(NamedTuple):
    """The first thing that is wrong with a line."""

    kind: str
    """One of `KINDS`."""
    text: str


def shown(content: bytes | str, most: int = 60) -> str:
    """A cell or line as it may be printed anywhere: quoted, ASCII alone, and at most so long."""
    text = content if isinstance(content, str) else content.decode("utf-8", "backslashreplace")
    quoted = ascii(text[:most])
    return f"{quoted}..." if len(text) > most else quoted


def problem_of(line: bytes) -> Problem | None:
    """The first problem of a line (without its end), or None."""
    if len(line) > LONGEST_LINE:
        return Problem("line", f"has {len(line):,} bytes, more than {LONGEST_LINE:,}")
    if not line:
        return Problem("line", "is empty")
    if any(byte < 0x20 or byte == 0x7F for byte in line):
        return Problem("line", "holds a control character")
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return Problem("line", f"is not UTF-8 text ({error.reason})")
    cells = split(line)
    if cells is None:
        return Problem("fields", "has a quoted cell that does not end")
    if len(cells) != len(COLUMNS):
        return Problem("fields", f"has {len(cells)} cells instead of {len(COLUMNS)}")
    return _problem_of_cells(dict(zip(COLUMNS, cells, strict=True)))


def _problem_of_cells(row: dict[str, str]) -> Problem | None:
    time = row["event_time"]
    try:
        datetime.fromisoformat(time[:19] if _TIME.fullmatch(time) else "")
    except ValueError:
        return _wrong(row, "event_time", "a time as '2019-10-01 00:00:00 UTC'")
    for name in WHOLE:
        if not _WHOLE.fullmatch(row[name]):
            return _wrong(row, name, "a whole number from 0, below 9 * 10^18")
    if len(row["price"]) > LONGEST_PRICE or not _PRICE.fullmatch(row["price"]):
        return _wrong(row, "price", f"a price from 0 in at most {LONGEST_PRICE} characters")
    if row["event_type"] not in EVENT_TYPES:
        return _wrong(row, "event_type", f"one of {', '.join(EVENT_TYPES)}")
    for name, most in TEXTS.items():
        if not fits(row[name], most):
            return _wrong(row, name, f"a printable text of at most {most} characters")
    return None


def _wrong(row: dict[str, str], name: str, wanted: str) -> Problem:
    return Problem(name, f"{name} {shown(row[name])} is not {wanted}")


def fits(text: str, most: int) -> bool:
    """True for a text that may stand in a cell: at most so long, printable throughout."""
    return len(text) <= most and text.isprintable()


def split(line: bytes) -> list[str] | None:
    """The cells of a line, which is UTF-8; None where a quoted cell does not end in it."""
    try:
        (cells,) = csv.reader([line.decode()], strict=True)
    except (csv.Error, ValueError):
        return None
    return cells


# -- a block at once ------------------------------------------------------------------------------


class Checked(NamedTuple):
    """A block's lines, as far as bytes tell: types of events and texts are not looked at."""

    cells: np.ndarray
    """uint8: the block with `SEPARATOR` between cells, quotes undone."""
    starts: np.ndarray
    """int64[n]: the first byte of each line in ``cells``."""
    ends: np.ndarray
    """int64[n]: the place of each line's end."""
    problems: np.ndarray
    """int8[n]: the place of the first problem in `KINDS`; -1 for none."""
    times: np.ndarray
    """int64[n]: seconds since 1970, UTC; 0 where there is a problem."""


def checked(block: bytes) -> Checked:
    """The check of a block of whole lines, each ended by one newline and nothing else."""
    raw = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(raw == 10)
    starts = np.concatenate([[0], ends[:-1] + 1])
    problems = np.full(len(ends), -1, np.int8)
    lengths = ends - starts
    _mark(problems, (lengths > LONGEST_LINE) | (lengths == 0), "line")
    control = np.flatnonzero((raw < 0x20) & (raw != 10) | (raw == 0x7F))
    _mark(problems, np.searchsorted(ends, control), "line")
    _mark(problems, np.array(_not_text(block, raw, starts, ends), np.int64), "line")
    cells = np.frombuffer(_separated(block, starts, ends, problems), np.uint8)
    ends = np.flatnonzero(cells == 10)
    starts = np.concatenate([[0], ends[:-1] + 1])
    times = np.zeros(len(ends), np.int64)
    separators = np.flatnonzero(cells == SEPARATOR[0])
    first = np.searchsorted(separators, starts)
    counts = np.searchsorted(separators, ends) - first
    _mark(problems, counts != len(COLUMNS) - 1, "fields")
    sound = np.flatnonzero(problems < 0)
    if len(sound):
        inner = separators[first[sound, None] + np.arange(len(COLUMNS) - 1)]
        left = np.column_stack([starts[sound], inner + 1])
        right = np.column_stack([inner, ends[sound]])
        _check_cells(cells, left, right, sound, problems, times)
    return Checked(cells, starts, ends, problems, times)


def _mark(problems: np.ndarray, where: np.ndarray, kind: str) -> None:
    """Give a kind of problem to lines (a mask, or places) that have none yet."""
    problems[where] = np.where(problems[where] < 0, KINDS.index(kind), problems[where])


def _not_text(block: bytes, raw: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> list[int]:
    """The lines that are not UTF-8."""
    if block.isascii():
        return []
    try:
        block.decode()
    except UnicodeDecodeError:
        high = np.unique(np.searchsorted(ends, np.flatnonzero(raw >= 0x80)))
        return [line for line in high.tolist() if not _is_text(block[starts[line] : ends[line]])]
    return []


def _is_text(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _separated(block: bytes, starts: np.ndarray, ends: np.ndarray, problems: np.ndarray) -> bytes:
    """The block with `SEPARATOR` between cells. A line whose quotes do not match becomes empty, so
    that it has too few cells."""
    cells = block.replace(b",", SEPARATOR)
    if b'"' not in block:
        return cells
    lines = cells.split(b"\n")
    quotes = np.flatnonzero(np.frombuffer(block, np.uint8) == ord('"'))
    for line in np.unique(np.searchsorted(ends, quotes)).tolist():
        if problems[line] < 0:
            texts = split(block[starts[line] : ends[line]])
            lines[line] = b"" if texts is None else SEPARATOR.join(one.encode() for one in texts)
    return b"\n".join(lines)


def _check_cells(
    cells: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    lines: np.ndarray,
    problems: np.ndarray,
    times: np.ndarray,
) -> None:
    """Check times and numbers of these lines, whose cells lie between ``left`` and ``right``
    (int64[k, 9]); fill in problems and times."""
    found, good = _times(cells, left[:, 0], right[:, 0])
    times[lines] = found
    _mark(problems, lines[~good], "event_time")
    digits = np.zeros(len(cells) + 1, np.int32)
    np.cumsum((cells - np.uint8(48)) < 10, dtype=np.int32, out=digits[1:])
    for name in WHOLE:
        at = COLUMNS.index(name)
        start, length = left[:, at], right[:, at] - left[:, at]
        good = (digits[right[:, at]] - digits[start] == length) & (length > 0)
        good &= (length < 19) | (length == 19) & (cells[start] < ord("9"))
        _mark(problems, lines[~good], name)
    at = COLUMNS.index("price")
    start, end = left[:, at], right[:, at]
    count = digits[end] - digits[start]
    points = np.flatnonzero(cells == ord("."))
    points_in = np.searchsorted(points, end) - np.searchsorted(points, start)
    good = (count > 0) & (points_in <= 1) & (count + points_in == end - start)
    good &= end - start <= LONGEST_PRICE
    _mark(problems, lines[~good], "price")
    times[problems >= 0] = 0


def _times(cells: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Seconds since 1970 of the times at these places, and a mask of those that are times."""
    good = end - start == len(_TEMPLATE)
    places = np.where(good, start, 0)[:, None] + np.arange(len(_TEMPLATE))
    text = cells[np.minimum(places, len(cells) - 1)]
    digits = text[:, _DIGITS] - np.uint8(48)
    good &= (text[:, _FIXED] == _TEMPLATE[_FIXED]).all(axis=1) & (digits < 10).all(axis=1)
    d = digits.astype(np.int64).T
    year = d[0] * 1000 + d[1] * 100 + d[2] * 10 + d[3]
    month, day, hour, minute, second = (d[k] * 10 + d[k + 1] for k in range(4, 14, 2))
    good &= (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    good &= (hour < 24) & (minute < 60) & (second < 60)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + np.where(good, day - 1, 0)
    good &= days.astype("datetime64[M]") == months
    seconds = days.astype(np.int64) * 86_400 + hour * 3_600 + minute * 60 + second
    return np.where(good, seconds, 0), good
