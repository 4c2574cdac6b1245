"""From a source's files to a Dataset: find, read, drop inactive users, split, keep."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from bfedrec.data import dataset as prepared
from bfedrec.data import files, split
from bfedrec.data.catalogue import DATA_SETS
from bfedrec.data.dataset import ARRAYS, Dataset, DatasetStatistics
from bfedrec.data.entry import FileEntry
from bfedrec.data.interactions import (
    DataError,
    Interactions,
    first_of_pairs,
    keep_active,
    leave_out_crowded,
)
from bfedrec.data.settings import DataSettings
from bfedrec.data.source import Catalogued
from bfedrec.data.temporal import temporal
from bfedrec.section import flatten

FORMAT = 2
"""Version of what preparation does: raise it whenever the same files give other arrays."""
DOWNLOADS = "downloads"
"""Folder of the cache that holds official files as they came."""
_IN_CLONE = Path(__file__).resolve().parents[2] / "datasets"


def default_cache() -> Path:
    """The folder of prepared data: datasets/cache of a clone, else the user's cache folder."""
    if (_IN_CLONE / "README.md").is_file():
        return _IN_CLONE / "cache"
    import pooch

    return Path(pooch.os_cache("bfedrec"))


def prepare(
    settings: DataSettings | str,
    source: Path | None = None,
    cache: Path | None = None,
    download: bool = True,
) -> Dataset:
    """Prepare the data set that `settings` (or a bare name) asks for, or take it from the cache.

    Files are looked for in `source` (a folder, an archive or a file), else in the folder that
    BFEDREC_DATA names; then among earlier downloads. Failing that, a data set that was prepared
    before is used; failing that, the official files are downloaded (unless `download` is False).
    Raises DataError, in one line, for files that are missing, damaged or not what they should be.
    """
    if isinstance(settings, str):
        if settings not in DATA_SETS:
            raise DataError(
                f"data set {settings!r} is not one of {', '.join(DATA_SETS)}"
                f"{DATA_SETS.nearest(settings)}"
            )
        settings = DataSettings(dataset=settings)
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
        made = None
        if settings.split == "leave_one_out":
            made = settings.source.split(settings.seed, settings.validation)
        if made is None:
            dataset = _split(settings, settings.source.read(found, settings.seed))
        else:
            dataset = _whole(settings, made)
        prepared.save(dataset, path, key)
    return dataset


def at_hand(settings: DataSettings, cache: Path | None = None) -> str:
    """The place that `prepare` would take the data from without a download, in words; "" for none.

    Raises DataError for files that are at hand but damaged.
    """
    folder = default_cache() if cache is None else cache
    found = _locate(settings, None, folder, _options_key(settings))
    if isinstance(found, list):
        return ""
    if isinstance(found, Path):
        return f"prepared: {found}"
    main = found.by_role.get("interactions")  # none of generated data
    return f"{found.layout} files: {main}" if main else found.layout


def _locate(
    settings: DataSettings, source: Path | None, cache: Path, key: str
) -> files.Files | Path | list[FileEntry]:
    """The files to read, or the prepared file that stands in for them, or the files that lack."""
    wanted = settings.source
    if not isinstance(wanted, Catalogued):
        return wanted.files(source)
    name, entry = wanted.name, wanted.entry
    roles = ["interactions"]
    published = settings.test == "published" and settings.split == "leave_one_out"
    if published or wanted.needs_tests:
        roles += ["test", "negatives"]
    places = [Path(os.environ["BFEDREC_DATA"])] if os.environ.get("BFEDREC_DATA") else []
    places.append(cache / DOWNLOADS)
    if source is not None:
        if not source.exists():
            raise DataError(f"{source}: no such file or folder")
        found, lacking = files.find(name, entry, [source], places, roles)
        if found is None and _main_file(wanted) in lacking:
            raise DataError(f"{source}: does not hold {name}; expected {_file_names(wanted)}")
        return found or lacking
    found, lacking = files.find(name, entry, places, [], roles)
    ready = sorted(cache.glob(f"{name}-{key[:16]}-*.npz"))
    if found is None and len(ready) > 1:
        raise DataError(
            f"{name}: was prepared from {len(ready)} different sources; name one with --from"
        )
    return found or (ready[0] if ready else lacking)


def _fetch(settings: DataSettings, lacking: list[FileEntry], cache: Path, allowed: bool) -> None:
    """Download official files; DataError, with the ways out, where that cannot be done."""
    without, wanted = "", settings.source
    assert isinstance(wanted, Catalogued)
    if _main_file(wanted) not in lacking and not wanted.needs_tests:
        without = ", or set data.test=latest, which does without it"
    if not allowed:
        names = ", ".join(file.archive or file.path for file in lacking)
        raise DataError(
            f"{settings.dataset}: {names} not found; name a folder with --from or BFEDREC_DATA"
            f"{without}"
        )
    try:
        files.download(lacking, cache / DOWNLOADS)
    except DataError as error:
        raise DataError(f"{error}{without}") from error


def _main_file(wanted: Catalogued) -> FileEntry:
    return wanted.entry.layouts["official"].files["interactions"]


def _file_names(wanted: Catalogued) -> str:
    """The files by which a data set is recognised, for a message."""
    main = [layout.files["interactions"] for layout in wanted.entry.layouts.values()]
    return " or ".join(
        f"{file.archive} or {file.path}" if file.archive else file.path for file in main
    )


def _split(settings: DataSettings, every: Interactions) -> Dataset:
    """Merge, drop inactive users, choose the variant, hold items out, count."""
    every = settings.source.merged(every, earliest=settings.split == "temporal")
    if settings.split == "temporal":
        return _temporal(settings, every)
    minimum = settings.source.minimum()
    active = keep_active(every, minimum)
    if len(active.users) == 0:
        most = int(np.unique(every.users, return_counts=True)[1].max(initial=0))
        name, hint = settings.dataset, ""
        if "min_interactions" in type(settings.source).model_fields:
            hint = f"; lower data.{name}.min_interactions"
        raise DataError(
            f"{name}: no user has the {minimum} interactions that are asked for, the most active "
            f"has {most}{hint}"
        )
    if settings.variant in settings.source.variants():
        active = active.select(first_of_pairs(active))
    ranked = leave_out_crowded(active)
    if len(ranked.users) == 0:
        raise DataError(
            f"{settings.dataset}: every user touched every item: nothing is left to rank a "
            "held-out item against"
        )
    parts = split.leave_one_out(ranked, settings.seed, settings.test, settings.validation)
    users = len(np.unique(active.users))
    return _dataset(
        settings,
        _own_ids(parts, every),
        every.layout,
        int(ranked.counts.sum()),
        int(first_of_pairs(ranked).sum()),
        dropped_users=len(np.unique(every.users)) - users,
        dropped_interactions=len(every.users) - int(np.isin(every.users, active.users).sum()),
        crowded_users=users - len(parts.user_ids),
    )


def _temporal(settings: DataSettings, every: Interactions) -> Dataset:
    """Cut all rows at the same times, and count."""
    if settings.variant in settings.source.variants():
        every = every.select(first_of_pairs(every, earliest=True))
    source = settings.source
    try:
        parts, kept, cut = temporal(
            every, settings.temporal, settings.seed, settings.validation, source.minimum()
        )
    except DataError as error:
        raise DataError(f"{settings.dataset}: {error}") from None
    return _dataset(
        settings,
        _own_ids(parts, every),
        every.layout,
        int(kept.counts.sum()),
        int(first_of_pairs(kept).sum()),
        **dataclasses.asdict(cut),
    )


def _own_ids(parts: split.Split, rows: Interactions) -> split.Split:
    """The split with the source's own ids, of rows that have places in lists of them."""
    if rows.user_names is not None:
        parts = dataclasses.replace(parts, user_ids=rows.user_names[parts.user_ids])
    if rows.item_names is not None:
        parts = dataclasses.replace(parts, item_ids=rows.item_names[parts.item_ids])
    return parts


def _whole(settings: DataSettings, parts: split.Split) -> Dataset:
    """The data set of a split that its source has made, of users and pairs of which none is left
    out."""
    rows = len(parts.touched_indices)
    return _dataset(settings, parts, "generated", rows, rows)


def _dataset(
    settings: DataSettings,
    parts: split.Split,
    layout: str,
    interactions: int,
    pairs: int,
    **left_out: Any,
) -> Dataset:
    """The data set of a split with its counts; ``left_out``: those of users and interactions that
    were left out before, which are 0 where they are not given, and those of a temporal split."""
    tested = np.flatnonzero(parts.test >= 0)
    none = dict.fromkeys(("dropped_users", "dropped_interactions", "crowded_users"), 0)
    statistics = DatasetStatistics(
        users=len(parts.user_ids),
        items=len(parts.item_ids),
        interactions=interactions,
        pairs=pairs,
        disliked=len(parts.touched_indices) - pairs,
        layout=layout,
        published_tests=parts.published_tests,
        drawn_validations=parts.drawn_validations,
        without_test=int((parts.test < 0).sum()),
        without_validation=int((parts.validation < 0).sum()),
        short_negatives=int((parts.test_negatives[tested, -1] < 0).sum()),
        test_in_training=parts.test_in_training,
        ordered_users=int((parts.places == 0).sum()),
        ordered_interactions=int((parts.places >= 0).sum()),
        later_than_test=parts.later_than_test,
        **{**none, **left_out},
    )
    arrays = {name: getattr(parts, name) for name in ARRAYS}
    return Dataset(
        name=settings.dataset,
        users=statistics.users,
        items=statistics.items,
        places=parts.places,
        statistics=statistics,
        **arrays,
    )


def _options_key(settings: DataSettings) -> str:
    """A digest (hex) of everything but the files that decides what preparation gives.

    Every option counts, unless it belongs to another data set or names a file that counts by its
    content.
    """
    source = settings.source
    by_content = {f"{source.name}.{key}" for key in source.by_content}
    options = {
        key: value
        for key, value in flatten(settings).items()
        if key not in by_content and _concerns(settings, key.partition(".")[0])
    }
    options |= {"min_interactions": source.minimum(), "format": FORMAT}
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()


def _concerns(settings: DataSettings, option: str) -> bool:
    """True if the chosen data set reads an option or section of this name."""
    if option == "variant":
        return bool(settings.source.variants())
    if option in ("split", "temporal"):  # added later: leave_one_out keeps its keys
        return settings.split != "leave_one_out"
    return option not in DATA_SETS or option == settings.dataset
