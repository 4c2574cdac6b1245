"""The record of a storage benchmark: what `bfedrec figure storage` draws.

It is written by `bfedrec merchants storage` and read without loading any store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Final

from bfedrec.data.interactions import DataError

MB: Final = 1_000_000
MOST_BYTES: Final = 8 * 2**20
ACTS: Final = ("put", "get")


@dataclass(frozen=True)
class StoreTimes:
    """One store's times."""

    about: str
    """The store with its version, in a few words."""
    put: Mapping[int, Sequence[float]]
    """Seconds by number of bytes, in the order of repetitions."""
    get: Mapping[int, Sequence[float]]

    def of(self, act: str) -> Mapping[int, Sequence[float]]:
        """The times of "put" or of "get"."""
        return self.put if act == "put" else self.get


@dataclass(frozen=True)
class Benchmark:
    """All stores, measured side by side."""

    seed: int
    repetitions: int
    machine: str
    stores: Mapping[str, StoreTimes]
    absent: Mapping[str, str]
    """Reasons for leaving stores out, by name."""


def to_json(found: Benchmark) -> str:
    """The record's text."""
    return json.dumps(asdict(found), indent=1, allow_nan=False) + "\n"


def from_json(text: str, where: str) -> Benchmark:
    """The record in a text. Raises DataError, with ``where`` it stands, for any other text."""
    try:
        tree = json.loads(text)
        count = tree["repetitions"]
        if type(count) is not int or count < 1 or type(tree["seed"]) is not int:
            raise ValueError("seed and repetitions are not whole numbers")
        stores = {
            str(name): StoreTimes(str(one["about"]), *(_times(one[act], count) for act in ACTS))
            for name, one in tree["stores"].items()
        }
        sizes = {tuple(times.of(act)) for times in stores.values() for act in ACTS}
        if len(sizes) != 1:
            raise ValueError("its stores were not measured with the same sizes")
        absent = {str(name): str(why) for name, why in tree["absent"].items()}
        return Benchmark(tree["seed"], count, str(tree["machine"]), stores, absent)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{where}: no record of `bfedrec merchants storage` ({error})") from None


def _times(tree: Mapping[str, Sequence[float]], count: int) -> dict[int, tuple[float, ...]]:
    found = {int(size): tuple(map(float, times)) for size, times in tree.items()}
    for size, times in found.items():
        if size < 1 or len(times) != count:
            raise ValueError(f"{size} bytes have not one time a repetition")
        if not all(isfinite(one) and one > 0 for one in times):
            raise ValueError(f"a time of {size} bytes is not a number of seconds")
    return found
