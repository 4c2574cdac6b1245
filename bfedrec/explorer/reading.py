"""Reading of foreign files: in bounded pieces, never through a link, with errors of one line.

Links are not followed, so that whoever can write into a run's folder cannot show a file outside of
it, and only regular files are opened: a FIFO or a device would never end. Files that grow are
followed: what was appended is read, and all of it anew where the file is another one.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from bfedrec.runs.figures import figures_from
from bfedrec.runs.folder import MOST_JSON, MOST_LINES, RunError

AT_ONCE: Final = 2**22
"""Bytes that are read from a file that is followed before its lines are parsed."""


def showable(name: str) -> bool:
    """True for a name of printable characters that is UTF-8: any other could turn or hide the text
    beside it, or has no address that a browser could ask for."""
    return name.isprintable()  # bytes that are not UTF-8 are surrogates, which are not printable


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_number)


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading; never waits.

    Raises FileNotFoundError if there is none, `RunError` naming the file for a link or anything
    else that is no regular file.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        why = "a link" if error.errno == errno.ELOOP else error.strerror
        raise RunError(f"{path.name}: cannot be read: {why}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RunError(f"{path.name}: not a regular file")
    return os.fdopen(descriptor, "rb")


def read_file(path: Path, most: int) -> bytes:
    """The content of a file of at most ``most`` bytes; raises as `open_file`, and `RunError` for a
    longer one."""
    try:
        with open_file(path) as file:
            content = file.read(most + 1)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise RunError(f"{path.name}: cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise RunError(f"{path.name}: longer than {most:,} bytes")
    return content


def last_line(path: Path, most: int) -> bytes | None:
    """The last complete line of a file, without its end; None if there is none in the last ``most``
    bytes. Raises as `open_file`."""
    with open_file(path) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - most))
        whole, newline, _ = file.read(most).rpartition(b"\n")
    if not newline:
        return None
    _before, newline, line = whole.rpartition(b"\n")
    return line if newline or end <= most else None


def json_object(content: bytes, told: str) -> dict[str, object]:
    """The JSON object in some bytes. Raises `RunError`, which begins with ``told``, for anything
    else; NaN and infinity are no JSON."""
    try:
        value = _DECODER.decode(content.decode())
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else error
        raise RunError(f"{told}: not JSON: {' '.join(str(why).split())[:120]}") from None
    if not isinstance(value, dict):
        raise RunError(f"{told}: expected a JSON object")
    return value


def figures_in(content: bytes, told: str) -> Mapping[str, str | int | float]:
    """The figures in some bytes; raises `RunError`, which begins with ``told``."""
    try:
        return figures_from(json_object(content, told))
    except ValueError as error:
        raise RunError(f"{told}: {error}") from None


def read_object(folder: Path, name: str) -> dict[str, object]:
    """The JSON object in a folder's file; raises `RunError`, and FileNotFoundError if there is
    none."""
    return json_object(read_file(folder / name, MOST_JSON), name)


class Follower(ABC):
    """The lines of a file that grows, as far as they were read. It holds no file open."""

    most_bytes: int = MOST_LINES
    """Longest file that is read."""
    most_line: int = 2**20
    """Longest line that is read; ours have a few thousand bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        """The byte after the last complete line."""
        self._last = b""
        """The last complete line, with its end."""

    @abstractmethod
    def forget(self) -> None:
        """Begin anew: the file is another one than before, or is not there."""

    @abstractmethod
    def take(self, line: bytes) -> None:
        """Note the next line, without its end. Raises `RunError` for one that is none."""

    def take_all(self, lines: Sequence[bytes]) -> None:
        """Note the next lines, as `take` does; for those who can take many at once."""
        for line in lines:
            self.take(line)

    def look(self) -> bool:
        """Read the lines that were appended since the last look, all of them if the file was cut or
        replaced; an incomplete last line is left for the next look. Returns True if there was
        anything new. Raises `RunError` for a file that cannot be read."""
        before = self._offset, self._last
        try:
            with open_file(self.path) as file:
                descriptor = file.fileno()
                size = os.fstat(descriptor).st_size
                if size > self.most_bytes:
                    raise RunError(f"{self.path.name}: longer than {self.most_bytes:,} bytes")
                start = self._offset - len(self._last)
                if os.pread(descriptor, len(self._last), start) != self._last:
                    self._anew()
                self._follow(descriptor)
        except FileNotFoundError:
            self._anew()
        except OSError as error:
            self._anew()
            raise RunError(f"{self.path.name}: cannot be read: {error.strerror}") from None
        except RunError:
            self._anew()
            raise
        return before != (self._offset, self._last)

    def _anew(self) -> None:
        self._offset, self._last = 0, b""
        self.forget()

    def _follow(self, descriptor: int) -> None:
        rest = b""
        while self._offset + len(rest) <= self.most_bytes:
            piece = os.pread(descriptor, AT_ONCE, self._offset + len(rest))
            if not piece:
                return
            *lines, rest = (rest + piece).split(b"\n")
            self.take_all(lines)
            if lines:
                self._offset += sum(map(len, lines)) + len(lines)
                self._last = lines[-1] + b"\n"
            if len(rest) > self.most_line:
                raise RunError(f"{self.path.name}: a line longer than {self.most_line:,} bytes")
