"""A prepared data set: per-client training interactions and held-out items, with its file form."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bfedrec.data.interactions import DataError
from bfedrec.data.split import ARRAYS, Arrays


@dataclass(frozen=True)
class DatasetStatistics:
    """The counts of a prepared data set: Table I's row and how the split came about."""

    users: int
    items: int
    interactions: int
    """Interactions as the source counts them, repeats included (Table I's column)."""
    pairs: int
    """Distinct user-item pairs."""
    disliked: int
    """Pairs that count as touched and as nothing else: rated below a threshold."""
    dropped_users: int
    """Users left out because they had too few interactions."""
    dropped_interactions: int
    crowded_users: int
    """Users left out because they touched every item."""
    layout: str
    """The kind of source: official, shared, generated, csv or file."""
    published_tests: int
    """Users whose test item is NCF's published one."""
    drawn_validations: int
    """Users whose validation item is a seeded draw because the order is unknown."""
    without_test: int
    without_validation: int
    short_negatives: int
    """Test lists with fewer than 99 negatives (padded with -1)."""
    test_in_training: int
    """Users whose test item is also among their training interactions."""
    ordered_users: int
    """Users with a training row whose time is known."""
    ordered_interactions: int
    """Training rows whose time is known: those with a place."""
    later_than_test: int
    """Users with a training row later, by known times, than their published test item."""
    held_out_from: float | None = None
    """Time from which no row is trained on (`bfedrec.data.temporal`); None under leave-one-out."""
    tested_from: float | None = None
    """Time from which rows may be test rows."""
    cold_users: int = 0
    """Dropped users without any training row."""
    cold_items: int = 0
    """Items without a training row."""
    cold_interactions: int = 0
    """Rows of cold items."""
    cold_tests: int = 0
    """Users whose test item is cold."""
    unused_interactions: int = 0
    """Rows from ``held_out_from`` on that are no user's test or validation row."""

    @property
    def sparsity(self) -> float:
        """Percentage of the users x items matrix without an interaction."""
        return 100.0 * (1.0 - self.interactions / (self.users * self.items))


@dataclass(frozen=True, kw_only=True, repr=False)
class Dataset(Arrays):
    """Users' interactions with items as implicit 1s, split by `data.split`."""

    name: str
    users: int
    """M."""
    items: int
    """N."""
    places: NDArray[np.int32]
    """[nnz], parallel to ``indices``: the place of each training row from the user's latest, 0; -1
    where its time is unknown (`bfedrec.data.split.Split`). The digest does not cover it, so that it
    moves no digest that was recorded without it."""
    statistics: DatasetStatistics
    digest: str = field(default="")
    """sha256 (hex) over the arrays of the split; computed when left empty."""

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", array_digest(self.arrays()))

    def __repr__(self) -> str:
        counts = f"{self.users} users, {self.items} items, {len(self.indices)} training rows"
        return f"<data set {self.name}: {counts}>"

    @cached_property
    def sample_counts(self) -> NDArray[np.int64]:
        """[M]: N_u, each client's number of training interactions (equation 6)."""
        return np.diff(self.indptr)

    @cached_property
    def places_digest(self) -> str:
        """sha256 (hex) of ``places``, on which scores by recency depend besides."""
        return array_digest({"places": self.places})

    def arrays(self) -> dict[str, NDArray]:
        """The arrays by name, in the order in which the digest covers them."""
        return {name: getattr(self, name) for name in ARRAYS}


def array_digest(arrays: dict[str, NDArray]) -> str:
    """The sha256 over names, types, shapes and bytes of `arrays`, in their order."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        # The bytes as they lie there: a copy of the largest array would be the peak of memory.
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def save(dataset: Dataset, path: Path, key: str) -> None:
    """Write the prepared arrays so that a reader sees the whole file or none."""
    meta = {
        "key": key,
        "name": dataset.name,
        "digest": dataset.digest,
        "places_digest": dataset.places_digest,
        "statistics": dataclasses.asdict(dataset.statistics),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            try:
                arrays = dataset.arrays() | {"places": dataset.places}
                np.savez(file, allow_pickle=False, meta=np.array(json.dumps(meta)), **arrays)
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise DataError(f"{path}: cannot write prepared data ({error.strerror})") from error


def load(path: Path, key: str) -> Dataset | None:
    """The prepared data at `path`; None when it is absent, damaged or made by other options."""
    try:
        with np.load(path) as content:
            meta = json.loads(str(content["meta"]))
            arrays = {name: content[name] for name in ARRAYS}
            places = content["places"]
        digests = array_digest(arrays), array_digest({"places": places})
        if meta["key"] != key or digests != (meta["digest"], meta["places_digest"]):
            return None
        statistics = DatasetStatistics(**meta["statistics"])
    except Exception:  # however the file is damaged, it is as good as absent
        return None
    return Dataset(
        name=meta["name"],
        users=statistics.users,
        items=statistics.items,
        statistics=statistics,
        digest=meta["digest"],
        places=places,
        **arrays,
    )
