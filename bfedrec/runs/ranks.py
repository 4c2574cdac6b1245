"""Ranks of all users' test items, kept in RUN/ranks.npz for statistical tests over users.

Means over users do not show if two methods differ by more than the choice of users explains. The
file holds what a paired test needs, in a byte and two bytes a user.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
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
"""Longest file that is read, in bytes, packed and unpacked; 5 bytes a user at most."""


@dataclass(frozen=True)
class Ranks:
    """The place of every user's test item: 0 is the best, -1 marks a user without one.

    rank: int64[M], among the sampled negatives, at most 99. full_rank: int64[M], among all items
    that the user never touched; None if not computed.
    """

    rank: NDArray[np.int64]
    full_rank: NDArray[np.int64] | None

    @classmethod
    def of(cls, evaluation: Evaluation, users: int) -> Ranks:
        """The ranks that `evaluation` found, for a data set of M = `users` users."""
        full = evaluation.full_rank
        return cls(
            _spread(evaluation.users, evaluation.rank, users),
            None if full is None else _spread(evaluation.users, full, users),
        )

    @property
    def scored(self) -> NDArray[np.bool_]:
        """bool[M]: true for users with a test item."""
        return np.asarray(self.rank >= 0)

    def encode(self) -> bytes:
        """The bytes of the file; equal ranks give equal bytes.

        NumPy's npz format: `rank` as int8, `full_rank` as int16 or, if that is too small, int32.
        """
        arrays = {"rank": self.rank.astype(np.int8)}
        if self.full_rank is not None:
            wide = np.int16 if self.full_rank.max() <= np.iinfo(np.int16).max else np.int32
            arrays["full_rank"] = self.full_rank.astype(wide)
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
            full = content.get("full_rank")
            for array in (content["rank"], *(() if full is None else (full,))):
                if array.ndim != 1 or array.dtype.kind != "i":
                    raise ValueError("expected a list of integers")
            return Ranks(
                content["rank"].astype(np.int64), None if full is None else full.astype(np.int64)
            )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # NumPy raises what it comes upon
        raise RunError(f"{path}: no ranks: {error}") from None


def _spread(users: NDArray[np.int64], ranks: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """int64[count]: the rank of each of `users`, -1 for all others."""
    spread = np.full(count, -1, np.int64)
    spread[users] = ranks
    return spread
