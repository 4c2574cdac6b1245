"""The state file of the embedded chain: its first transactions, in order, each before it is told.

One line of JSON for each, the first for the chain itself. A line is in the file, and on the disk,
before anybody hears of its transaction; a process may be killed at any time. The line that it was
writing then has no end, nobody was told of it, and the next start cuts it off.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Final

from consensus.encoding.node import Node
from consensus.ethereum.bounded_json import parse
from consensus.ethereum.errors import EthereumError

__all__ = ["Journal", "Line"]

LONGEST: Final = 2**19
"""The most bytes of a line; a transaction of the longest length in hexadecimal has half of it."""


@dataclass(frozen=True)
class Line:
    """One transaction: its block's time (seconds since 1970), its bytes and its block's hash, the
    latter two in hexadecimal."""

    time: int
    raw: str
    block: str


class Journal:
    """A state file, open for one process alone."""

    def __init__(self, path: Path, chain: Node) -> None:
        """Open or create the state file of `chain`, which its first line has to name.

        Raises EthereumError in one line for a file that is another chain's, another process's, no
        regular file or damaged.
        """
        self._path = path
        try:
            # Open until `close`.
            self._file: BinaryIO = open(  # noqa: SIM115
                path, "r+b" if path.exists() else "w+b", buffering=0
            )
        except OSError as error:
            raise EthereumError(f"state file {path}: {error.strerror}") from None
        try:
            if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                raise EthereumError(f"state file {path}: not a regular file")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise EthereumError(f"state file {path}: in use by another process") from None
            self._lines = self._read(chain)
        except BaseException:
            self._file.close()
            raise

    def __iter__(self) -> Iterator[Line]:
        """The lines that were there when the file was opened."""
        return iter(self._lines)

    def append(self, line: Line) -> None:
        """Write a line and have the disk hold it. Raises OSError; the file is then as before."""
        self._write(asdict(line))

    def close(self) -> None:
        """Close the file, so that another process may open it."""
        self._file.close()

    def _read(self, chain: Node) -> list[Line]:
        """All whole lines; what a killed process left behind them is cut off."""
        found: list[Node] = []
        end = 0
        with open(self._file.fileno(), "rb", closefd=False) as reader:
            while text := reader.readline(LONGEST + 1):
                if not text.endswith(b"\n"):
                    if len(text) > LONGEST:
                        raise self._damaged(len(found) + 1)
                    break
                end += len(text)
                found.append(self._parsed(text, len(found) + 1))
        self._file.truncate(end)
        self._file.seek(end)
        if not found:
            self._write(chain)
            return []
        if found[0] != chain:
            differing = [key for key in chain if found[0].get(key) != chain[key]]
            raise EthereumError(
                f"state file {self._path}: of another chain ({', '.join(differing) or 'more keys'})"
            )
        return [self._line(each, place) for place, each in enumerate(found[1:], 2)]

    def _parsed(self, text: bytes, place: int) -> Node:
        try:
            found = parse(text)
        except ValueError:
            raise self._damaged(place) from None
        if not isinstance(found, dict):
            raise self._damaged(place)
        return found

    def _line(self, found: Node, place: int) -> Line:
        time, raw, block = (found.get(key) for key in ("time", "raw", "block"))
        if type(time) is not int or not isinstance(raw, str) or not isinstance(block, str):
            raise self._damaged(place)
        return Line(time, raw, block)

    def _damaged(self, place: int) -> EthereumError:
        return EthereumError(f"state file {self._path}: line {place} is damaged")

    def _write(self, content: Node) -> None:
        end = self._file.tell()
        data = json.dumps(content).encode() + b"\n"
        try:
            if self._file.write(data) != len(data):
                raise OSError("the disk is full")
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(end)
            self._file.seek(end)
            raise
