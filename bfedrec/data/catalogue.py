"""The catalogue of known data sets: official source, licence, digests, expected counts."""

from __future__ import annotations

import functools
import sys
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from bfedrec.data.interactions import DataError

_IN_CLONE = Path(__file__).resolve().parents[2] / "datasets" / "catalogue.toml"
_INSTALLED = Path(sys.prefix) / "share" / "bfedrec" / "catalogue.toml"
CATALOGUE = _IN_CLONE if _IN_CLONE.is_file() else _INSTALLED
"""The repository's datasets/catalogue.toml, or the copy that an installation brings along."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Counts(_Entry):
    """A row of Table I: users, items, interactions, and the sparsity in percent."""

    users: int
    items: int
    interactions: int
    sparsity: float


class FileEntry(_Entry):
    """One file of a layout, or one member of an archive."""

    path: str
    archive: str | None = None
    url: str | None = None
    digest: str | None = None
    """algorithm:hex, of the archive where there is one, else of the file."""


class Layout(_Entry):
    """One form in which a data set can lie on a disk."""

    files: dict[str, FileEntry]
    """By role: interactions, test (published test items), negatives (published)."""
    note: str = ""
    expected: Counts | None = None


class Variant(_Entry):
    """Another reading of the same files, with counts of its own."""

    note: str
    expected: Counts


class CatalogueEntry(_Entry):
    """What is known of one data set."""

    title: str
    homepage: str
    licence: str
    citation: str
    min_interactions: int
    published_in: str
    published: Counts
    layouts: dict[str, Layout]
    variants: dict[str, Variant] = Field(default_factory=dict)

    def expected(self, layout: str, variant: str) -> tuple[Counts, str]:
        """The counts that this form and reading must have, and a note on how they differ."""
        if variant in self.variants:
            return self.variants[variant].expected, self.variants[variant].note
        entry = self.layouts[layout]
        return entry.expected or self.published, entry.note


@functools.cache
def load_catalogue(path: Path = CATALOGUE) -> dict[str, CatalogueEntry]:
    """The entries by name, read once per process; raises DataError when the file is missing."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot read the data catalogue ({error.strerror})") from error
    return {name: CatalogueEntry.model_validate(entry) for name, entry in content.items()}
