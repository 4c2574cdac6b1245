"""The files of a data set: found in a folder or an archive, or downloaded, and checked."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from bfedrec.data.entry import CatalogueEntry, FileEntry
from bfedrec.data.interactions import DataError
from consensus.storage.regular import open_regular

MOST_BYTES: Final = 2**36
"""Unpacked bytes of the longest file."""
DAMAGED: Final = (
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    UnicodeDecodeError,  # a member's name that is not what its flag says
    EOFError,
    KeyError,
)
"""The exceptions by which Python's modules tell of a damaged archive."""


class Stream(Protocol):
    """Bytes that are read one part after another."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most ``size``; none at the end."""


@dataclass
class _Bounded:
    """A stream of at most `MOST_BYTES`, however small its archive is."""

    inner: Stream
    file: SourceFile
    left: int = field(default_factory=lambda: MOST_BYTES)

    def read(self, size: int) -> bytes:
        content = self.inner.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise DataError(f"{self.file}: holds more than {MOST_BYTES:,} bytes")
        return content


@dataclass(frozen=True)
class SourceFile:
    """One file that was found: on its own, or a member of an archive; perhaps gzipped."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    @contextmanager
    def open(self) -> Iterator[Stream]:
        """The content, out of the archive and unzipped, to be read in parts; never waits for a
        writer. Raises DataError when it is damaged, here or in a read."""
        try:
            with open_regular(self.path) as outer:
                if self.member is not None:
                    with zipfile.ZipFile(outer) as archive, archive.open(self.member) as member:
                        yield _Bounded(member, self)
                elif self.path.suffix == ".gz":
                    with gzip.open(outer) as inner:
                        yield _Bounded(inner, self)
                else:
                    yield _Bounded(outer, self)
        except DAMAGED as error:
            raise DataError(f"{self}: damaged ({error}); fetch it again") from error
        except (OSError, RuntimeError, NotImplementedError) as error:  # also: encrypted
            raise DataError(f"{self}: cannot be read ({error})") from error

    def read(self) -> bytes:
        """The content, out of the archive and unzipped; DataError when it is damaged."""
        parts = []
        with self.open() as stream:
            while part := stream.read(2**20):
                parts.append(part)
        return b"".join(parts)

    def digest(self) -> str:
        """The sha256 (hex) of the file as it lies, with the member's name."""
        outer = _file_digest(self.path, "sha256")
        return f"{outer}:{self.member}" if self.member else outer


@dataclass(frozen=True)
class Files:
    """The files of one layout."""

    layout: str
    by_role: dict[str, SourceFile]

    def digest(self) -> str:
        """One sha256 (hex) over every file's digest; OSError when a file is gone."""
        lines = [f"{role} {file.digest()}\n" for role, file in sorted(self.by_role.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def find(
    name: str,
    entry: CatalogueEntry,
    roots: Sequence[Path],
    others: Sequence[Path],
    roles: Sequence[str],
) -> tuple[Files | None, list[FileEntry]]:
    """The files of the first of `roots` that holds the data set, and what it lacks officially.

    The interactions must lie in a root itself; published test items and negatives may also lie
    beside it or in `others`. Within a root official files come before the shared layout. A file
    with the wrong digest raises DataError: it is better told than passed over.
    """
    lacking: list[FileEntry] = []
    official = entry.layouts["official"].files
    for root in roots:
        beside = [root.parent] if root.is_file() else []
        for layout_name, layout in entry.layouts.items():
            entries = {role: file for role, file in layout.files.items() if role in roles}
            files = {"interactions": find_file(name, entries["interactions"], [root])}
            if files["interactions"] is None:
                continue
            for role, file in entries.items():
                if role != "interactions":
                    files[role] = find_file(name, file, [root, *beside, *roots, *others])
            present = {role: file for role, file in files.items() if file is not None}
            for role, found in present.items():
                _check_digest(found, entries[role])
            if len(present) == len(entries):
                return Files(layout_name, present), []
            if layout_name == "official" and not lacking:
                lacking = [entries[role] for role in entries if role not in present]
    return None, lacking or [file for role, file in official.items() if role in roles]


def download(files: Sequence[FileEntry], folder: Path) -> None:
    """Fetch official files into `folder`, with a progress bar and a checked digest.

    Raises DataError, with what to do instead, when one cannot be had.
    """
    import pooch
    import requests

    for file in files:
        if file.url is None:
            raise DataError(f"{file.path}: has no official address; name a folder with --from")
        target = file.archive or PurePosixPath(file.path).name
        advice = f"put {target} into a folder and name it with --from PATH or BFEDREC_DATA"
        try:
            pooch.retrieve(
                file.url,
                known_hash=file.digest,
                fname=target,
                path=folder,
                progressbar=sys.stderr.isatty(),
            )
        except requests.exceptions.RequestException as error:
            reason = type(error).__name__
            raise DataError(f"{file.url}: cannot be downloaded ({reason}); {advice}") from error
        except ValueError as error:
            raise DataError(
                f"{file.url}: the download does not have the digest {file.digest}; {advice}"
            ) from error
        except OSError as error:
            raise DataError(f"{folder / target}: cannot be written ({error.strerror})") from error


def find_file(name: str, file: FileEntry, roots: Sequence[Path]) -> SourceFile | None:
    """The file of a data set called ``name`` in the first of ``roots`` that holds it, on its own or
    in an archive. Raises DataError for an archive that cannot be read."""
    base = PurePosixPath(file.path).name
    for root in roots:
        if root.is_file():
            if zipfile.is_zipfile(root):
                member = _member(root, file.path)
                if member is not None:
                    return SourceFile(root, member)
            elif root.name in (base, f"{base}.gz"):
                return SourceFile(root)
            continue
        if file.archive is not None:
            for archive in (root / file.archive, root / name / file.archive):
                if archive.is_file():
                    return SourceFile(archive, _member(archive, file.path) or file.path)
        for place in (file.path, base, f"{name}/{base}"):
            for path in (root / place, root / f"{place}.gz"):
                if path.is_file():
                    return SourceFile(path)
    return None


def _member(archive: Path, path: str) -> str | None:
    """The archive's member at `path`, whatever folder the archive wraps it in."""
    base = PurePosixPath(path).name
    matches = [member for member in members(archive) if PurePosixPath(member).name == base]
    return path if path in matches else min(matches, default=None)


def members(archive: Path) -> list[str]:
    """The names of a zip archive's members. Raises DataError for one that cannot be read."""
    try:
        with zipfile.ZipFile(archive) as content:
            return content.namelist()
    except (OSError, NotImplementedError, *DAMAGED) as error:
        raise DataError(f"{archive}: not a readable zip archive ({error})") from error


def _check_digest(file: SourceFile, entry: FileEntry) -> None:
    """DataError unless `file` has the digest of its record, where there is one.

    An archive's digest says nothing of its extracted members: those are checked by their counts.
    """
    if entry.digest is None or (entry.archive is not None and file.member is None):
        return
    algorithm, expected = entry.digest.split(":")
    if file.path.suffix == ".gz" and not entry.path.endswith(".gz"):
        actual = hashlib.new(algorithm, file.read()).hexdigest()
    else:
        actual = _file_digest(file.path, algorithm)
    if actual != expected:
        raise DataError(
            f"{file.path}: {algorithm} is {actual}, its record says {expected}: "
            "the file is damaged or another version; fetch it again"
        )


def _file_digest(path: Path, algorithm: str) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
