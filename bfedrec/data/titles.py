"""Titles of a data set's items, for people: no result depends on them.

The publishers of some data sets tell titles in a file beside the interactions, which is read where
it is at hand and passed over where it is not, is damaged, or is too long.
"""

from __future__ import annotations

import gzip
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from bfedrec.data.entry import TitleFile
from bfedrec.data.files import SourceFile, find_file
from bfedrec.data.interactions import DataError
from bfedrec.data.prepare import DOWNLOADS, default_cache
from bfedrec.data.settings import DataSettings
from bfedrec.data.source import Catalogued
from bfedrec.plaintext import plain
from consensus.storage.regular import open_regular

MOST_BYTES: Final = 2**24
"""Longest file of titles that is read, unpacked."""
LONGEST: Final = 200
"""Letters of a title."""
UNREADABLE: Final = (
    DataError,
    OSError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
)
"""The errors of a file, or of an archive, that cannot be found or read."""


def titles_of(
    settings: DataSettings, item_ids: np.ndarray, cache: Path | None = None
) -> Sequence[str]:
    """The title of each item, by its id in the source; empty for an item without one.

    Files are looked for where `bfedrec.data.prepare` looks for those of the data set, but never
    downloaded. A title is one line of at most `LONGEST` letters, without letters that mislead.
    """
    source = settings.source
    if not isinstance(source, Catalogued) or not source.entry.titles:
        return [""] * len(item_ids)
    roots = roots_of(cache)
    for wanted in source.entry.titles:
        try:
            found = find_file(source.name, wanted.file, roots)
            known = None if found is None else dict(_pairs(text_of(found, wanted.encoding), wanted))
        except UNREADABLE:
            continue  # titles are worth no error
        if known is not None:
            return [known.get(str(item), "") for item in item_ids]
    return [""] * len(item_ids)


def roots_of(cache: Path | None = None) -> list[Path]:
    """The folders in which the files of data sets are looked for. ``cache``: None for the usual."""
    roots = [Path(os.environ["BFEDREC_DATA"])] if os.environ.get("BFEDREC_DATA") else []
    return [*roots, (default_cache() if cache is None else cache) / DOWNLOADS]


def text_of(file: SourceFile, encoding: str) -> str:
    """The text of a file; bytes that its encoding does not have become replacement characters.
    Raises one of `UNREADABLE` for one that cannot be read."""
    with open_regular(file.path) as outer:
        if file.member is not None:
            with zipfile.ZipFile(outer) as archive, archive.open(file.member) as member:
                content = member.read(MOST_BYTES + 1)
        elif file.path.suffix == ".gz":
            with gzip.open(outer) as inner:
                content = inner.read(MOST_BYTES + 1)
        else:
            content = outer.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"{file}: longer than {MOST_BYTES:,} bytes")
    return content.decode(encoding, "replace").removeprefix("\ufeff")


def _pairs(text: str, wanted: TitleFile) -> Iterator[tuple[str, str]]:
    """Ids and titles; lines that are too short are passed over."""
    for line in text.split("\n")[int(wanted.header) :]:
        cells = line.rstrip("\r").split(wanted.delimiter)
        if len(cells) > max(wanted.item, wanted.title):
            item = cells[wanted.item].strip()
            # An id of digits stands in the data as a number, without zeros in front.
            yield (
                str(int(item)) if item.isascii() and item.isdigit() and len(item) < 19 else item,
                plain(cells[wanted.title].strip(), LONGEST),
            )
