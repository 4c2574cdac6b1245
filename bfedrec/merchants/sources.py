"""Text files as blocks of whole lines: plain, gzip or zip, in bounded memory and time.

The kind of a file follows from its first bytes, not from its name. Whoever sent it may mean harm:
a line that does not end, an archive that unpacks to far more than it is, and an archive with a huge
list of members each end in one `DataError`, after a bounded amount of work.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Protocol

from bfedrec.data.interactions import DataError

BLOCK: Final = 2**20
"""Bytes that are read at once: of nothing but line ends, their lines take 80 MB."""
ENDLESS: Final = 2**22
"""Bytes after which a line that has not ended ends the reading."""
RATIO: Final = 100
"""Greatest ratio of unpacked to packed bytes; REES46's files have 3, events of one user 30."""
SMALL: Final = 2**20
"""Packed bytes that any file is granted: a short file may well be repetitive."""
DIRECTORY: Final = 2**20
"""Longest list of members of a zip archive, in bytes, and longest piece read of one at once."""

DAMAGED = (zlib.error, EOFError, zipfile.BadZipFile, gzip.BadGzipFile, NotImplementedError)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Measured(io.RawIOBase):
    """A file for `zipfile`, which would otherwise read a member list of any length at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, place: int, whence: int = 0, /) -> int:
        """Move to a place, as `io.IOBase.seek`."""
        return self._file.seek(place, whence)

    def tell(self) -> int:
        """The place in the file."""
        return self._file.tell()

    def read(self, size: int = -1, /) -> bytes:
        """At most `DIRECTORY` bytes. Raises DataError where more are asked for or there."""
        content = self._file.read(DIRECTORY + 1 if size < 0 else min(size, DIRECTORY + 1))
        if len(content) > DIRECTORY:
            raise DataError("its list of members is too long for an archive of events")
        return content


def blocks(path: Path, most: int | None = None) -> Iterator[bytes]:
    """Blocks of whole lines, each line with its end; the file's last line gets one if it has none.

    A block has at most `BLOCK` + `ENDLESS` bytes. ``most``: the greatest number of unpacked bytes;
    None: any. Raises DataError, with the file's name, for a file that cannot be read, is damaged,
    unpacks to more than `RATIO` times its size or more than ``most`` bytes, or has a line that does
    not end within `ENDLESS` bytes.
    """
    rest = b""
    lines = 0
    with _opened(path) as (source, packed):
        total = 0
        while chunk := _read(path, source):
            total += len(chunk)
            if total > RATIO * max(packed(), SMALL):
                raise DataError(
                    f"{path}: unpacks to more than {RATIO} times its size; "
                    "refused as a decompression bomb"
                )
            if most is not None and total > most:
                raise DataError(f"{path}: holds more than the {most:,} bytes that are allowed")
            chunk = rest + chunk
            cut = chunk.rfind(b"\n") + 1
            if cut:
                lines += chunk.count(b"\n")
                yield chunk[:cut]
            rest = chunk[cut:]
            if len(rest) > ENDLESS:
                raise DataError(
                    f"{path}: line {lines + 1:,} does not end within {ENDLESS:,} bytes; "
                    "this is no file of events"
                )
    if rest:
        yield rest + b"\n"


def _read(path: Path, source: _Readable) -> bytes:
    try:
        return source.read(BLOCK)
    except DAMAGED as error:
        raise DataError(f"{path}: damaged ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[_Readable, Callable[[], int]]]:
    """The unpacked content, and a function that tells how many packed bytes it came from."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    with file:
        start = file.read(4)
        file.seek(0)
        if start[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield unpacked, file.tell
        elif start == b"PK\x03\x04":
            with _member(path, file) as (unzipped, size):
                yield unzipped, lambda: size
        else:
            size = path.stat().st_size
            yield file, lambda: max(size, file.tell())


@contextmanager
def _member(path: Path, file: IO[bytes]) -> Iterator[tuple[_Readable, int]]:
    """The one CSV file of a zip archive, and its packed size."""
    try:
        with zipfile.ZipFile(_Measured(file)) as archive:
            found = [one for one in archive.infolist() if one.filename.lower().endswith(".csv")]
            if len(found) != 1:
                raise DataError(f"holds {len(found)} files .csv instead of one")
            if found[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DataError("is packed in another way than stored or deflated")
            if found[0].flag_bits & 1:
                raise DataError("is encrypted")
            size = min(found[0].compress_size, path.stat().st_size)
            with archive.open(found[0]) as unpacked:
                yield unpacked, size
    except DataError as error:
        told = str(error)
        raise error if told.startswith(str(path)) else DataError(f"{path}: {told}") from error
    except (*DAMAGED, RuntimeError, ValueError, OSError) as error:
        raise DataError(f"{path}: damaged ({error})") from error
