"""Measured round-trip times between named regions, from a CSV file or a matrix that is shipped.

The file has a header ``region,NAME,...`` and a row ``NAME,MS,...`` per region, in the header's
order. A cell is the mean round-trip time in milliseconds from the row's region to the column's. A
cell of the diagonal, between two servers of one region, may be empty. Lines that begin with ``#``
are comments.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Self

import numpy as np

MOST_REGIONS = 512
"""Most regions of a matrix."""
MOST_BYTES = 16 * 2**20
"""Most bytes of a file that are read."""
LONGEST_MS = 1e9
"""Longest round trip, in milliseconds."""
LONGEST_NAME = 64
"""Most characters of a region's name."""

_SHIPPED = files("consensus.network") / "measured"


class RoundTripError(ValueError):
    """A matrix of round-trip times that cannot be used, told in one line."""


def shipped() -> list[str]:
    """The names of the matrices that are shipped with the package, ascending."""
    names = (Path(each.name) for each in _SHIPPED.iterdir())
    return sorted(name.stem for name in names if name.suffix == ".csv")


@dataclass(frozen=True)
class RoundTrips:
    """Mean round-trip times between regions. `RoundTripError` for a matrix that cannot be used."""

    regions: tuple[str, ...]
    """The regions' names, all different."""
    milliseconds: tuple[tuple[float | None, ...], ...]
    """milliseconds[one][other]: from region ``one`` to ``other`` and back, above zero; None where a
    region was not measured within itself."""

    def __post_init__(self) -> None:
        names, rows = self.regions, self.milliseconds
        if not 1 <= len(names) <= MOST_REGIONS:
            raise RoundTripError(f"expected 1 to {MOST_REGIONS} regions, got {len(names)}")
        for name in names:
            if (
                not name
                or len(name) > LONGEST_NAME
                or not name.isprintable()
                or name != name.strip()
            ):
                raise RoundTripError(f"not a region's name: {name[:LONGEST_NAME]!r}")
        if twice := next((a for a, b in pairwise(sorted(names)) if a == b), None):
            raise RoundTripError(f"region {twice!r} stands twice")
        if len(rows) != len(names):
            raise RoundTripError(f"expected {len(names)} rows, one per region, got {len(rows)}")
        for one, row in zip(names, rows, strict=True):
            if len(row) != len(names):
                raise RoundTripError(
                    f"region {one!r}: expected {len(names)} times, one per region, got {len(row)}"
                )
            for other, value in zip(names, row, strict=True):
                if value is None and one == other:
                    continue
                if value is None or not isfinite(value) or not 0.0 < value <= LONGEST_MS:
                    raise RoundTripError(
                        f"from {one!r} to {other!r}: expected milliseconds above 0 and at most "
                        f"{LONGEST_MS:g}, got {'nothing' if value is None else value}"
                    )

    @classmethod
    def read(cls, source: str) -> Self:
        """The matrix of a shipped name, or else of the CSV file at a path."""
        if source in shipped():
            return cls.parse((_SHIPPED / f"{source}.csv").read_text(encoding="utf-8"), source)
        try:
            with Path(source).open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or error
            raise RoundTripError(
                f"expected a CSV file, or one of {', '.join(shipped())}; {source!r}: {cause}"
            ) from None
        if len(data) > MOST_BYTES:
            raise RoundTripError(f"{source}: longer than {MOST_BYTES} bytes")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise RoundTripError(f"{source}: not UTF-8 at byte {error.start}") from None
        return cls.parse(text, source)

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """The matrix of a CSV file's text; errors name the file ``where``, its line and column."""
        lines = [
            (number, line)
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        if not lines:
            raise RoundTripError(f"{where}: expected a header region,NAME,...; the file is empty")
        (at, header), *rows = [(number, _cells(line, where, number)) for number, line in lines]
        names = tuple(header[1:])
        if header[0].casefold() != "region" or not names:
            raise RoundTripError(
                f"{where}, line {at}: expected a header region,NAME,..., got {header[0][:64]!r}"
            )
        if len(rows) != len(names):
            raise RoundTripError(
                f"{where}: expected {len(names)} rows, one per region, got {len(rows)}"
            )
        found = []
        for name, (number, cells) in zip(names, rows, strict=True):
            place = f"{where}, line {number}"
            if cells[0] != name:
                raise RoundTripError(
                    f"{place}: expected the row of {name!r}, in the header's order, got "
                    f"{cells[0][:64]!r}"
                )
            if len(cells) != len(header):
                raise RoundTripError(f"{place}: expected {len(header)} cells, got {len(cells)}")
            found.append(tuple(_time(cell, place, k) for k, cell in enumerate(cells[1:], 2)))
        try:
            return cls(names, tuple(found))
        except RoundTripError as error:
            raise RoundTripError(f"{where}: {error}") from None

    def seconds(self, regions: Sequence[int], within_ms: float) -> np.ndarray:
        """float64[n, n]: seconds one way between servers of these ``regions`` (by index).

        Half of the round trip; a link is alike both ways, so the mean of the two directions.
        ``within_ms`` is the latency in milliseconds, one way, within a region that was not measured
        within itself.
        """
        chosen = [
            [
                2 * within_ms if (ms := self.milliseconds[one][other]) is None else ms
                for other in regions
            ]
            for one in regions
        ]
        matrix = np.array(chosen, np.float64).reshape(len(regions), len(regions))
        return (matrix + matrix.T) / 4000.0


def _cells(line: str, where: str, number: int) -> list[str]:
    try:
        cells = next(csv.reader(io.StringIO(line), strict=True))
    except (csv.Error, StopIteration) as error:
        raise RoundTripError(f"{where}, line {number}: {error}") from None
    return [cell.strip() for cell in cells]


def _time(cell: str, place: str, column: int) -> float | None:
    if not cell:
        return None
    try:
        return float(cell.replace("_", "?"))  # Python reads 1_000 as a number, others do not
    except ValueError:
        raise RoundTripError(
            f"{place}, column {column}: expected milliseconds, got {cell[:64]!r}"
        ) from None
