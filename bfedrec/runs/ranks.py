"""Ranks of all users' test items, kept in RUN/ranks.npz for statistical tests over users.

Means over users do not show if two methods differ by more than the choice of users explains. The
file holds what a paired test needs, in a byte and two bytes a user.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bfedrec.runs.folder import RunError
from consensus.storage.regular import read_regular

if TYPE_CHECKING:  # its kernels take long to load, and who reads ranks needs none
    from bfedrec.evaluation.metrics import Evaluation

FILE = "ranks.npz"
MOST_BYTES = 2**26
"""Longest file that is read, in bytes, packed and unpacked; 10 bytes a user at most."""
FULL_RANKING = ("full_rank", "ordered_full_rank")


@dataclass(frozen=True)
class Ranks:
    """The place of every user's test item: 0 is the best, -1 marks a user without one.

    rank: int64[M], among the sampled negatives, at most 99. full_rank: int64[M], among all items
    that the user never touched; None if not computed. ordered_rank, ordered_full_rank: the same
    where users are scored with recency; None where they are not.
    """

    rank: NDArray[np.int64]
    full_rank: NDArray[np.int64] | None
    ordered_rank: NDArray[np.int64] | None = None
    ordered_full_rank: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, evaluation: Evaluation, users: int, ordered: Evaluation | None = None) -> Ranks:
        """The ranks that `evaluation` found, and those with recency, for a data set of M = `users`
        users."""
        found: list[NDArray[np.int64] | None] = []
        for each in (evaluation, ordered):
            for ranks in (None, None) if each is None else (each.rank, each.full_rank):
                kept = None if each is None or ranks is None else _spread(each.users, ranks, users)
                found.append(kept)
        rank, *others = found
        assert rank is not None
        return cls(rank, *others)

    @property
    def scored(self) -> NDArray[np.bool_]:
        """bool[M]: true for users with a test item."""
        return np.asarray(self.rank >= 0)

    def encode(self) -> bytes:
        """The bytes of the file; equal ranks give equal bytes.

        NumPy's npz format: ranks among the sampled negatives as int8, those of full ranking as
        int16 or, if that is too small, int32.
        """
        arrays = {}
        for name, ranks in vars(self).items():
            if ranks is not None:
                full = np.int16 if ranks.max() <= np.iinfo(np.int16).max else np.int32
                arrays[name] = ranks.astype(full if name in FULL_RANKING else np.int8)
        file = io.BytesIO()
        np.savez_compressed(file, allow_pickle=False, **arrays)
        return file.getvalue()


def read(folder: Path) -> Ranks | None:
    """The ranks in a run's folder or record; None if it has none, as older ones.

    Raises `RunError` for a file of another kind.
    """
    path = folder / FILE
    try:
        packed = io.BytesIO(read_regular(path, MOST_BYTES))
        with zipfile.ZipFile(packed) as parts:
            if sum(part.file_size for part in parts.infolist()) > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES:,} bytes when unpacked")
        with np.load(packed, allow_pickle=False) as content:
            found = {
                each.name: content[each.name] for each in fields(Ranks) if each.name in content
            }
            for array in found.values():
                if array.ndim != 1 or array.dtype.kind != "i":
                    raise ValueError("expected a list of integers")
            rank = found["rank"]
            if any(array.shape != rank.shape for array in found.values()):
                raise ValueError("expected one rank of each kind for every user")
            ranks = {name: array.astype(np.int64) for name, array in found.items()}
            return Ranks(**({"full_rank": None} | ranks))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # NumPy raises what it comes upon
        raise RunError(f"{path}: no ranks: {error}") from None


def _spread(users: NDArray[np.int64], ranks: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """int64[count]: the rank of each of `users`, -1 for all others."""
    spread = np.full(count, -1, np.int64)
    spread[users] = ranks
    return spread
