"""From a source's files to a Dataset: find, read, drop inactive users, split, keep."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from bfedrec.data import dataset as prepared
from bfedrec.data import sources, split, synthetic
from bfedrec.data.catalogue import CATALOGUE, FileEntry, load_catalogue
from bfedrec.data.dataset import ARRAYS, Dataset, DatasetStatistics
from bfedrec.data.interactions import DataError, Interactions, first_of_pairs, keep_active
from bfedrec.data.settings import DataSettings
from bfedrec.section import flatten

FORMAT = 1
"""Version of what preparation does: raise it whenever the same files give other arrays."""
DOWNLOADS = "downloads"
"""Folder of the cache that holds official files as they came."""
ONLY_OF = {"synthetic": "synthetic", "csv": "csv", "variant": "lfm-2k"}
"""Options, or sections of them, that make a difference to one data set alone."""
BY_CONTENT = {"csv.path"}
"""Options that name a file: the name of a prepared file has the digest of what is in it."""


def default_cache() -> Path:
    """The folder of prepared data: datasets/cache of a clone, else the user's cache folder."""
    if CATALOGUE.parent.name == "datasets":
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
    found = _locate(settings, source, folder, key)
    if isinstance(found, list):
        _fetch(settings, found, folder, download)
        found = _locate(settings, source, folder, key)
        if isinstance(found, list):
            raise DataError(f"{folder / DOWNLOADS}: {found[0].path} is not in the download")
    if isinstance(found, Path):
        dataset = prepared.load(found, key)
        if dataset is None:
            raise DataError(f"{found}: damaged, and its source is not at hand; name it with --from")
        return dataset
    path = folder / f"{settings.dataset}-{key[:16]}-{found.digest()[:16]}.npz"
    dataset = prepared.load(path, key)
    if dataset is None:
        dataset = _split(settings, _read(settings, found))
        prepared.save(dataset, path, key)
    return dataset


def at_hand(settings: DataSettings, cache: Path | None = None) -> str:
    """Where `prepare` would take the data from without a download, in words; "" if from nowhere.

    Raises DataError for files that are at hand but damaged.
    """
    folder = default_cache() if cache is None else cache
    found = _locate(settings, None, folder, _options_key(settings))
    if isinstance(found, list):
        return ""
    if isinstance(found, Path):
        return f"prepared: {found}"
    return f"{found.layout} files: {found.files['interactions']}"


def _locate(
    settings: DataSettings, source: Path | None, cache: Path, key: str
) -> sources.Sources | Path | list[FileEntry]:
    """The files to read, or the prepared file that stands in for them, or the files that lack."""
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
    roles = ["interactions"]
    # NCF's training file of Pinterest holds all but the test items: they are always needed.
    if settings.test == "published" or name == "pinterest":
        roles += ["test", "negatives"]
    places = [Path(os.environ["BFEDREC_DATA"])] if os.environ.get("BFEDREC_DATA") else []
    places.append(cache / DOWNLOADS)
    if source is not None:
        if not source.exists():
            raise DataError(f"{source}: no such file or folder")
        found, lacking = sources.find(name, entry, [source], places, roles)
        if found is None and _main_file(name) in lacking:
            raise DataError(f"{source}: does not hold {name}; expected {_file_names(name)}")
        return found or lacking
    found, lacking = sources.find(name, entry, places, [], roles)
    ready = sorted(cache.glob(f"{name}-{key[:16]}-*.npz"))
    if found is None and len(ready) > 1:
        raise DataError(
            f"{name}: was prepared from {len(ready)} different sources; name one with --from"
        )
    return found or (ready[0] if ready else lacking)


def _fetch(settings: DataSettings, lacking: list[FileEntry], cache: Path, allowed: bool) -> None:
    """Download official files; DataError, with the ways out, where that cannot be done."""
    without = ""
    if _main_file(settings.dataset) not in lacking and settings.dataset != "pinterest":
        without = ", or set data.test=latest, which does without it"
    if not allowed:
        wanted = ", ".join(file.archive or file.path for file in lacking)
        raise DataError(
            f"{settings.dataset}: {wanted} not found; name a folder with --from or BFEDREC_DATA"
            f"{without}"
        )
    try:
        sources.download(lacking, cache / DOWNLOADS)
    except DataError as error:
        raise DataError(f"{error}{without}") from error


def _main_file(name: str) -> FileEntry:
    return load_catalogue()[name].layouts["official"].files["interactions"]


def _file_names(name: str) -> str:
    """The files by which a data set is recognised, for a message."""
    layouts = load_catalogue()[name].layouts
    files = [layout.files["interactions"] for layout in layouts.values()]
    return " or ".join(
        f"{file.archive} or {file.path}" if file.archive else file.path for file in files
    )


def _read(settings: DataSettings, found: sources.Sources) -> Interactions:
    if settings.dataset == "synthetic":
        return synthetic.generate(settings.synthetic, settings.seed)
    from bfedrec.data import readers  # pandas is slow to import, and needless for prepared data

    if settings.dataset == "csv":
        return readers.read_csv(found.files["interactions"], settings.csv)
    return readers.READERS[settings.dataset](found)


def _split(settings: DataSettings, every: Interactions) -> Dataset:
    """Drop inactive users, choose the variant, hold items out, count."""
    minimum = _minimum(settings)
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
        name=settings.dataset,
        users=statistics.users,
        items=statistics.items,
        statistics=statistics,
        **arrays,
    )


def _minimum(settings: DataSettings) -> int:
    """Number of interactions below which a user is dropped."""
    if settings.dataset == "csv":
        return settings.csv.min_interactions
    if settings.dataset == "synthetic":
        return 1
    return load_catalogue()[settings.dataset].min_interactions


def _options_key(settings: DataSettings) -> str:
    """A digest (hex) of everything but the files that decides what preparation gives.

    Every option counts unless `ONLY_OF` or `BY_CONTENT` says otherwise.
    """
    options = {
        key: value
        for key, value in flatten(settings).items()
        if key not in BY_CONTENT
        and ONLY_OF.get(key.partition(".")[0], settings.dataset) == settings.dataset
    }
    options |= {"min_interactions": _minimum(settings), "format": FORMAT}
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
