"""Interactions split by leave-one-out into per-client training sets and held-out items."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bfedrec import sources, split, synthetic
from bfedrec.catalogue import CATALOGUE, load_catalogue
from bfedrec.data_settings import DataSettings
from bfedrec.interactions import DataError, Ids, Interactions, first_of_pairs, keep_active
from bfedrec.split import NEGATIVES

__all__ = [
    "NEGATIVES",
    "DataError",
    "DataSettings",
    "Dataset",
    "DatasetStatistics",
    "default_cache",
    "prepare",
]

FORMAT = 1
"""Version of what preparation does: raise it whenever the same files give other arrays."""


@dataclass(frozen=True)
class DatasetStatistics:
    """The counts of a prepared data set: Table I's row and how the split came about."""

    users: int
    items: int
    interactions: int
    """Interactions as the source counts them, repeats included (Table I's column)."""
    pairs: int
    """Distinct user-item pairs."""
    dropped_users: int
    """Users left out because they had too few interactions."""
    dropped_interactions: int
    layout: str
    """The kind of source: official, shared, generated or csv."""
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

    @property
    def sparsity(self) -> float:
        """Percentage of the users x items matrix without an interaction."""
        return 100.0 * (1.0 - self.interactions / (self.users * self.items))


@dataclass(frozen=True)
class Dataset:
    """Users' interactions with items as implicit 1s, split by leave-one-out.

    Users and items are numbered from 0; `user_ids` and `item_ids` hold the source's own ids.
    """

    name: str
    users: int
    """M."""
    items: int
    """N."""
    indptr: NDArray[np.int64]
    """[M + 1]: client u trains on indices[indptr[u]:indptr[u + 1]]."""
    indices: NDArray[np.int32]
    """[nnz]: training items, ascending within a client; repeats only in lfm-2k `rows`."""
    validation: NDArray[np.int32]
    """[M]: held-out item that chooses hyper-parameters, -1 where there is none."""
    test: NDArray[np.int32]
    """[M]: held-out item that is scored once, -1 where there is none."""
    validation_negatives: NDArray[np.int32]
    """[M, 99]: items the user never touched; -1 pads a short list (at its end)."""
    test_negatives: NDArray[np.int32]
    """[M, 99]: likewise for the test item, which is never among them."""
    touched_indptr: NDArray[np.int64]
    """[M + 1]: user u ever touched touched_indices[touched_indptr[u]:touched_indptr[u + 1]]."""
    touched_indices: NDArray[np.int32]
    """Items ascending and unique within a user, held-out items included."""
    user_ids: Ids
    item_ids: Ids
    statistics: DatasetStatistics
    digest: str = field(default="")
    """sha256 (hex) over every array above; computed when left empty."""

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", array_digest(self.arrays()))

    @property
    def sample_counts(self) -> NDArray[np.int64]:
        """[M]: N_u, each client's number of training interactions (equation 6)."""
        return np.diff(self.indptr)

    def arrays(self) -> dict[str, NDArray]:
        """The arrays by name, in the order in which the digest covers them."""
        return {name: getattr(self, name) for name in ARRAYS}


ARRAYS = (
    "indptr",
    "indices",
    "validation",
    "test",
    "validation_negatives",
    "test_negatives",
    "touched_indptr",
    "touched_indices",
    "user_ids",
    "item_ids",
)


def array_digest(arrays: dict[str, NDArray]) -> str:
    """The sha256 over names, types, shapes and bytes of `arrays`, in their order."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def default_cache() -> Path:
    """The folder of prepared data: datasets/cache of a clone, else the user's cache folder."""
    if CATALOGUE.is_file():
        return CATALOGUE.parent / "cache"
    import pooch

    return Path(pooch.os_cache("bfedrec"))


def prepare(
    settings: DataSettings | str,
    source: Path | None = None,
    cache: Path | None = None,
    download: bool = True,
) -> Dataset:
    """The data set that `settings` (or a bare name) asks for, from the cache where possible.

    Files are looked for in `source` (a folder, an archive or a file), else in the folder that
    BFEDREC_DATA names; then among earlier downloads. Failing that, a data set that was prepared
    before is used; failing that, the official files are downloaded (unless `download` is False).
    Raises DataError, in one line, for files that are missing, damaged or not what they should be.
    """
    if isinstance(settings, str):
        settings = DataSettings.model_validate({"dataset": settings})
    folder = default_cache() if cache is None else cache
    key = _options_key(settings)
    found = _find_sources(settings, source, folder, key, download)
    if isinstance(found, Path):
        dataset = _load(found, key)
        if dataset is None:
            raise DataError(f"{found}: damaged, and its source is not at hand; name it with --from")
        return dataset
    path = folder / f"{settings.dataset}-{key[:16]}-{found.digest()[:16]}.npz"
    dataset = _load(path, key)
    if dataset is None:
        dataset = _split(settings, _read(settings, found))
        _save(dataset, path, key)
    return dataset


def _find_sources(
    settings: DataSettings, source: Path | None, cache: Path, key: str, download: bool
) -> sources.Sources | Path:
    """The files to read, or the prepared file that stands in for them."""
    name = settings.dataset
    if name == "synthetic":
        return sources.Sources("generated", {})
    if name == "csv":
        path = source or settings.csv.path
        if path is None or not path.is_file():
            what = "no file named" if path is None else f"{path}: no such file"
            raise DataError(f"csv: {what}; set data.csv.path or --from to your file")
        return sources.Sources("csv", {"interactions": sources.SourceFile(path)})
    entry = load_catalogue()[name]
    variable = os.environ.get("BFEDREC_DATA")
    roots = [Path(variable)] if variable else []
    if source is not None:
        if not source.exists():
            raise DataError(f"{source}: no such file or folder")
        roots.insert(0, source)
    downloads = cache / "downloads"
    roots.append(downloads)
    roles = ["interactions"]
    # NCF's training file of Pinterest holds all but the test items: they are always needed.
    if settings.test == "published" or name == "pinterest":
        roles += ["test", "negatives"]
    found, lacking = sources.find(name, entry, roots, roles)
    if found is not None:
        return found
    if source is None:
        prepared = sorted(cache.glob(f"{name}-{key[:16]}-*.npz"))
        if len(prepared) == 1:
            return prepared[0]
    wanted = ", ".join(file.archive or file.path for file in lacking)
    if source is not None and not any(root.exists() for root in roots[1:]) and not download:
        raise DataError(f"{source}: does not hold {wanted}")
    if not download:
        places = ", ".join(map(str, roots[:-1])) or "nowhere: name a folder with --from"
        raise DataError(f"{name}: {wanted} not found (looked in {places})")
    sources.download(lacking, downloads)
    found, lacking = sources.find(name, entry, roots, roles)
    assert found is not None, lacking
    return found


def _read(settings: DataSettings, found: sources.Sources) -> Interactions:
    if settings.dataset == "synthetic":
        return synthetic.generate(settings.synthetic, settings.seed)
    from bfedrec import readers  # pandas is slow to import, and needless for prepared data

    if settings.dataset == "csv":
        return readers.read_csv(found.files["interactions"], settings.csv)
    return readers.READERS[settings.dataset](found)


def _split(settings: DataSettings, every: Interactions) -> Dataset:
    """Drop inactive users, choose the variant, hold items out, count."""
    if settings.dataset == "csv":
        minimum = settings.csv.min_interactions
    elif settings.dataset == "synthetic":
        minimum = 1
    else:
        minimum = load_catalogue()[settings.dataset].min_interactions
    active = keep_active(every, minimum)
    if len(active.users) == 0:
        raise DataError(
            f"{settings.dataset}: no user has the {minimum} interactions that are asked for"
        )
    if settings.dataset == "lfm-2k" and settings.variant == "distinct":
        active = active.select(first_of_pairs(active))
    parts = split.leave_one_out(active, settings.seed, settings.test, settings.validation)
    tested = np.flatnonzero(parts.test >= 0)
    statistics = DatasetStatistics(
        users=len(parts.user_ids),
        items=len(parts.item_ids),
        interactions=int(active.counts.sum()),
        pairs=len(parts.touched_indices),
        dropped_users=len(np.unique(every.users)) - len(parts.user_ids),
        dropped_interactions=len(every.users) - int((np.isin(every.users, parts.user_ids)).sum()),
        layout=every.layout,
        published_tests=parts.published_tests,
        drawn_validations=parts.drawn_validations,
        without_test=int((parts.test < 0).sum()),
        without_validation=int((parts.validation < 0).sum()),
        short_negatives=int((parts.test_negatives[tested, -1] < 0).sum()),
        test_in_training=parts.test_in_training,
    )
    arrays = {name: getattr(parts, name) for name in ARRAYS}
    return Dataset(
        settings.dataset, statistics.users, statistics.items, statistics=statistics, **arrays
    )


def _options_key(settings: DataSettings) -> str:
    """A digest (hex) of everything but the files that decides what preparation gives."""
    options = settings.model_dump(mode="json", exclude={"synthetic", "csv", "variant"})
    if settings.dataset == "synthetic":
        options["synthetic"] = settings.synthetic.model_dump(mode="json")
    if settings.dataset == "csv":
        options["csv"] = settings.csv.model_dump(mode="json", exclude={"path"})
    if settings.dataset == "lfm-2k":
        options["variant"] = settings.variant
    if settings.dataset in ("ml-1m", "pinterest", "lfm-2k", "ml-100k"):
        options["min_interactions"] = load_catalogue()[settings.dataset].min_interactions
    options["format"] = FORMAT
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()


def _save(dataset: Dataset, path: Path, key: str) -> None:
    """Write the prepared arrays so that a reader sees the whole file or none."""
    meta = {
        "key": key,
        "name": dataset.name,
        "digest": dataset.digest,
        "statistics": dataclasses.asdict(dataset.statistics),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            np.savez(file, meta=np.array(json.dumps(meta)), **dataset.arrays())
        os.replace(file.name, path)
    except OSError as error:
        raise DataError(f"{path}: cannot write prepared data ({error.strerror})") from error


def _load(path: Path, key: str) -> Dataset | None:
    """The prepared data at `path`; None when it is absent, damaged or made by other options."""
    try:
        with np.load(path) as content:
            meta = json.loads(str(content["meta"]))
            arrays = {name: content[name] for name in ARRAYS}
        if meta["key"] != key or array_digest(arrays) != meta["digest"]:
            return None
        statistics = DatasetStatistics(**meta["statistics"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    return Dataset(
        meta["name"],
        statistics.users,
        statistics.items,
        statistics=statistics,
        digest=meta["digest"],
        **arrays,
    )
