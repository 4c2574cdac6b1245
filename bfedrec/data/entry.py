"""The record of a data set that others published: source, licence, files, digests, counts."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Counts(_Record):
    """A row of Table I: users, items, interactions, and the sparsity in percent."""

    users: int
    items: int
    interactions: int
    sparsity: float


class FileEntry(_Record):
    """One file of a layout, or one member of an archive."""

    path: str
    """The file, or the member of ``archive``."""
    archive: str | None = None
    url: str | None = None
    digest: str | None = None
    """algorithm:hex, of the archive where there is one, else of the file; None where none is
    published, and the expected counts alone check the content."""


class Layout(_Record):
    """One form in which a data set can lie on a disk."""

    files: dict[str, FileEntry]
    """By role: interactions, test (published test items), negatives (published)."""
    note: str = ""
    expected: Counts | None = None
    """The counts of a form that holds another part of the data than the published counts."""


class Variant(_Record):
    """Another reading of the same files, with counts of its own."""

    note: str
    expected: Counts


class TitleFile(_Record):
    """A file that tells the titles of a data set's items."""

    file: FileEntry
    delimiter: str
    item: int
    """0-based column of the items' ids."""
    title: int
    """0-based column of their titles."""
    encoding: str = "utf-8"
    header: bool = False
    """True if the first line names the columns."""


class PeopleFile(_Record):
    """A file that tells attributes of a data set's users."""

    file: FileEntry
    delimiter: str
    user: int
    """0-based column of the users' ids."""
    attributes: dict[str, int]
    """0-based column of each attribute, by its name."""
    encoding: str = "utf-8"


class CatalogueEntry(_Record):
    """The facts about one data set."""

    title: str
    homepage: str
    licence: str
    citation: str
    min_interactions: int
    """Users with fewer rows are dropped."""
    published_in: str
    published: Counts
    layouts: dict[str, Layout]
    """By name; ``official`` has the publisher's own files, which are downloaded when they are
    nowhere at hand."""
    variants: dict[str, Variant] = Field(default_factory=dict)
    titles: tuple[TitleFile, ...] = ()
    """Files with the items' titles, of which the first that is at hand is read; no result depends
    on them."""
    people: PeopleFile | None = None
    """The file with the users' attributes, if the publisher has one; only attacks on privacy are
    compared with it."""

    def expected(self, layout: str, variant: str) -> tuple[Counts, str]:
        """The counts that this form and reading must have, and a note on how they differ."""
        if variant in self.variants:
            return self.variants[variant].expected, self.variants[variant].note
        entry = self.layouts[layout]
        return entry.expected or self.published, entry.note
