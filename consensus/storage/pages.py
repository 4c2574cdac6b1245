"""The pages of a SQLite file in WAL mode as one moment left them, read beside its writer.

SQLite itself cannot be asked: the writer of a chain holds the file alone, and a reader of SQLite's
that ignores the locks may create or delete the `-wal` file as it opens and closes. So the two files
are read here as bytes, by `pread` on descriptors that are open for reading only: no lock is taken,
and no file is created, changed or deleted, whatever happens.

It is safe since a writer in WAL mode changes bytes in two ways only (https://sqlite.org/walformat.html).
It appends frames to the `-wal` file, each with a page, whose running checksum starts from the
header's two salts; and a checkpoint copies pages of *committed* frames to the main file. When all
are copied, the next transaction writes a new header, with other salts, and begins the `-wal` anew.

A snapshot is the committed frames there are when it is taken. A page that one of them holds is read
from it, and frames do not change while the header stays. Any other page is read from the main file,
which only a checkpoint of a *later* frame can have changed. `Pages.check` looks for both: for
another header, or none, and for later committed frames of the pages that were read. Either makes it
raise `Busy`; without them all that was read is what the snapshot held, byte for byte. Frames are
committed before a checkpoint copies them, and looked for after the pages were read, so that nothing
slips between. Without a `-wal` file (a finished run, an imported chain) nobody writes the main
file: it must be the same in size and time of change before and after, and unchanged for a moment.
"""

from __future__ import annotations

import os
import struct
import time
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from consensus.storage.closing import Closing
from consensus.storage.content import Busy, StoreError
from consensus.storage.regular import beside, open_regular

__all__ = ["Pages"]

_MAGIC: Final = {0x377F0682: "<u4", 0x377F0683: ">u4"}
_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_WORD: Final = 2**32
_PAGE_SIZES: Final = {2**power for power in range(9, 17)}
_AT_ONCE: Final = 2**20
"""Bytes of the `-wal` file that are read at once."""
_MOST_FRAMES: Final = 2**20
_FREE_PAGES: Final = 1000
_KEPT: Final = 256
"""Pages that a snapshot keeps in memory: the upper ones of its trees are asked for again and again.
"""
_QUIET_SECONDS: Final = 0.05
"""Age of the last change of a file without a `-wal`: more than the grain of the file system's
clock, so that a later change shows in the time of change."""

Identity = tuple[int, int]
"""Device and inode of a file."""


class Pages(Closing):
    """The pages of a snapshot.

    Raises StoreError for a file that is missing or no SQLite file in WAL mode, `Busy` where the
    writer changes what is being read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._wal: _Wal | None = None
        try:
            self._main = open_regular(path)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from None
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        self._stat = os.fstat(self._main.fileno())
        self._wal = _opened(self.path)
        self._frames = {} if self._wal is None else dict(self._wal.pages)
        self._later: set[int] = set()
        self._read: set[int] = set()
        self._kept: dict[int, bytes] = {}
        self._left = 0
        head = os.pread(self._main.fileno(), 100, 0)
        if self._wal is not None:
            self.page_size = self._wal.page_size
        elif len(head) == 100:
            told = int.from_bytes(head[16:18], "big")
            self.page_size = 65536 if told == 1 else told
        else:
            raise self.refused("not the chain of a run (nothing is written yet)")
        if self.page_size not in _PAGE_SIZES:
            raise self.refused("not the chain of a run (no SQLite file)")
        self.begin_work()
        self.header = self.page(1)[:100]
        if not self.header.startswith(b"SQLite format 3\0"):
            raise self.refused("not the chain of a run (no SQLite file)")
        if self.header[18:20] != b"\2\2":
            raise self.refused("not the chain of a run (its journal is of another kind)")
        self.usable = self.page_size - self.header[20]
        if self.usable < 480:
            raise self.damaged("its pages have no room")
        committed = self._wal.total if self._wal is not None else 0
        self.total = committed or self._stat.st_size // self.page_size
        """The number of pages."""
        if not committed and self.total < int.from_bytes(self.header[28:32], "big"):
            raise self.refused("the file is damaged: it is shorter than it says")

    @property
    def size(self) -> int:
        """Bytes of all pages."""
        return self.total * self.page_size

    def begin_work(self) -> None:
        """Begin to answer a question, which may take as many pages as the file has, and a few."""
        self._left = self._stat.st_size // self.page_size + len(self._frames) + _FREE_PAGES

    def page(self, number: int) -> bytes:
        """The page with this number, from 1; what it holds is certain after `check`."""
        if number in self._kept:
            return self._kept[number]
        self._left -= 1
        if self._left < 0:
            raise self.damaged("its pages lead in circles")
        offset = self._frames.get(number)
        if offset is not None:
            assert self._wal is not None
            data = self._wal.page(offset)
        else:
            self._read.add(number)
            where = (number - 1) * self.page_size
            there = 0 < number < _WORD
            data = os.pread(self._main.fileno(), self.page_size, where) if there else b""
        if len(data) != self.page_size:
            raise self.damaged(f"it has no page {number}")
        if len(self._kept) >= _KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[number] = data
        return data

    def refused(self, why: str) -> StoreError:
        """The error to raise for what the pages hold: `Busy` if they may have changed while they
        were read."""
        try:
            self.check()
        except Busy as busy:
            return busy
        return StoreError(f"{self.path}: {why}")

    def damaged(self, why: str) -> StoreError:
        """The error to raise for pages that no sound file has; `Busy` as for `refused`."""
        return self.refused(f"the file is damaged: {why}")

    def check(self) -> None:
        """Check that all pages read so far are those of the snapshot. Raises `Busy`."""
        if self._wal is not None:
            self._later.update(self._wal.extend())
            if not self._wal.same() or not self._later.isdisjoint(self._read):
                raise self._busy()
            if _identity(self.path) != (self._stat.st_dev, self._stat.st_ino):
                raise self._busy()
            return
        now = _stat(self.path)
        if now is None or _mark(now) != _mark(self._stat) or _opened_at_all(self.path):
            raise self._busy()
        if 0 <= time.time() - now.st_mtime < _QUIET_SECONDS:
            raise self._busy()

    def _busy(self) -> Busy:
        return Busy(f"{self.path}: busy: it is being written; try again")

    def close(self) -> None:
        """Close both files."""
        self._main.close()
        if self._wal is not None:
            self._wal.close()


def _stat(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _identity(path: Path) -> Identity | None:
    found = _stat(path)
    return None if found is None else (found.st_dev, found.st_ino)


def _mark(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _opened(path: Path) -> _Wal | None:
    """The `-wal` file beside a database; None if there is none or it holds nothing that counts."""
    place = beside(path, "-wal")
    try:
        wal = _Wal(place)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{place}: {error.strerror}") from None
    if wal.sound:
        return wal
    wal.close()
    return None


def _opened_at_all(path: Path) -> bool:
    wal = _opened(path)
    if wal is not None:
        wal.close()
    return wal is not None


class _Wal(Closing):
    """The committed frames of a `-wal` file under one header."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open_regular(path)
        self.pages: dict[int, int] = {}
        """Offset of the latest committed frame of each page."""
        self.total = 0
        """Pages of the whole database, after the last committed frame; 0 without one."""
        self._header = os.pread(self._file.fileno(), _HEADER.size, 0)
        self._frames = 0
        self.page_size = 0
        self.sound = self._begin()
        if self.sound:
            self.extend()

    def _begin(self) -> bool:
        if len(self._header) != _HEADER.size:
            return False
        magic, version, self.page_size, _, *salts, one, two = _HEADER.unpack(self._header)
        if magic not in _MAGIC or version != 3007000 or self.page_size not in _PAGE_SIZES:
            return False
        self._words, self._salts = _MAGIC[magic], tuple(salts)
        self._sums = (one, two)
        weights, power = _weights(6)
        return self._sums == _after((0, 0), power, _words(self._header[:24], self._words) @ weights)

    def same(self) -> bool:
        """True if the file still is at its place, and has the header that it had."""
        found = os.fstat(self._file.fileno())
        header = os.pread(self._file.fileno(), _HEADER.size, 0)
        return header == self._header and _identity(self._path) == (found.st_dev, found.st_ino)

    def page(self, offset: int) -> bytes:
        """The page of the frame at an offset."""
        return os.pread(self._file.fileno(), self.page_size, offset + _FRAME.size)

    def extend(self) -> set[int]:
        """Look for frames that were committed since; returns the numbers of their pages.

        A frame counts if its salts are the header's and its checksum fits; where one does not, the
        file ends. Frames after the last one that ends a transaction are not committed.
        """
        size = _FRAME.size + self.page_size
        found: set[int] = set()
        waiting: dict[int, int] = {}
        frames, sums = self._frames, self._sums
        weights, power = _frame_weights(self.page_size)
        while frames < _MOST_FRAMES:
            start = _HEADER.size + frames * size
            piece = os.pread(self._file.fileno(), max(1, _AT_ONCE // size) * size, start)
            whole = len(piece) // size
            if not whole:
                break
            table = _words(piece[: whole * size], self._words).reshape(whole, -1)
            for index, added in enumerate((table @ weights).tolist()):
                number, total, *salts, one, two = _FRAME.unpack_from(piece, index * size)
                sums = _after(sums, power, added)
                if tuple(salts) != self._salts or sums != (one, two) or not number:
                    return found
                waiting[number] = start + index * size
                frames += 1
                if total:
                    self.pages.update(waiting)
                    found.update(waiting)
                    waiting.clear()
                    self._frames, self._sums, self.total = frames, sums, total
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()


# -- the running checksum --------------------------------------------------------------------------
#
# Of words x: s1 += x[i] + s2, then s2 += x[i + 1] + s1, modulo 2**32. One pair is a linear map
# M = (1 1; 1 2) of (s1, s2), so that the sums after a frame are M**pairs times those before, plus a
# product of the frame's words with fixed weights.

Square = tuple[tuple[int, int], tuple[int, int]]


def _times(a: Square, b: Square) -> Square:
    rows = [[sum(a[i][k] * b[k][j] for k in (0, 1)) % _WORD for j in (0, 1)] for i in (0, 1)]
    return (rows[0][0], rows[0][1]), (rows[1][0], rows[1][1])


@lru_cache(maxsize=8)
def _weights(words: int) -> tuple[np.ndarray, Square]:
    """The weights, uint32[words, 2], of an even number of words, and M**(words / 2)."""
    weights = np.zeros((words, 2), np.uint32)
    power: Square = ((1, 0), (0, 1))
    for pair in range(words // 2 - 1, -1, -1):
        for row in (0, 1):
            weights[2 * pair, row] = (power[row][0] + power[row][1]) % _WORD
            weights[2 * pair + 1, row] = power[row][1]
        power = _times(power, ((1, 1), (1, 2)))
    return weights, power


@lru_cache(maxsize=8)
def _frame_weights(page_size: int) -> tuple[np.ndarray, Square]:
    """The weights of a whole frame: of its first two words and its page, not of salts and sums."""
    weights, power = _weights(2 + page_size // 4)
    return np.concatenate([weights[:2], np.zeros((4, 2), np.uint32), weights[2:]]), power


def _words(data: bytes, order: str) -> np.ndarray:
    return np.frombuffer(data, order).astype(np.uint32)


def _after(sums: tuple[int, int], power: Square, added: np.ndarray | list[int]) -> tuple[int, int]:
    (a, b), (c, d) = power
    one, two = sums
    return (a * one + b * two + int(added[0])) % _WORD, (c * one + d * two + int(added[1])) % _WORD
