"""Opening of files that others may have made or put in place.

A FIFO is never written, a device never ends and a socket answers nobody: only regular files are
opened, and the null device, which is an empty file.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["BESIDE", "at_rest", "beside", "check_database", "open_regular", "read_regular"]

#: Endings of the names of the files that SQLite opens together.
BESIDE: Final = ("", "-wal", "-journal", "-shm")


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file or the null device, or a link to one, for reading; never waits.

    Raises OSError for anything else.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        mode, null = found.st_mode, os.stat(os.devnull)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode) and found.st_rdev != null.st_rdev:
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most: int) -> bytes:
    """The content of a regular file of at most ``most`` bytes; raises OSError.

    No more than that is ever read, whatever size the file says it has.
    """
    with open_regular(path) as file:
        content = file.read(most + 1) or b""
    if len(content) > most:
        raise OSError(errno.EFBIG, f"Longer than {most:,} bytes", str(path))
    return content


def beside(path: Path, ending: str) -> Path:
    """The file that SQLite has beside a database: beside the one that a link leads to."""
    place = path.resolve() if path.is_symlink() else path
    return place.with_name(f"{place.name}{ending}")


def check_database(path: Path) -> None:
    """Raise OSError, with the file's name, where one of the files of an SQLite database is a FIFO,
    a device or a folder: SQLite would wait for it for ever."""
    for ending in BESIDE:
        place = beside(path, ending)
        try:
            open_regular(place).close()
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENXIO, errno.EISDIR):
                raise OSError(errno.EINVAL, "not a regular file", str(place)) from None


def at_rest(path: Path) -> str:
    """The URI by which SQLite reads a database that nobody writes, and leaves no trace: no file is
    created or changed, and the folder may be one in which none can be.

    Whoever opens it asks for `PRAGMA locking_mode = EXCLUSIVE` before anything else.
    """
    left = any(beside(path, ending).exists() for ending in ("-wal", "-journal"))
    # Of a file alone SQLite would make an empty -wal file, unless it is told that nothing changes.
    # A left-over one is read: without locks, its index is built in memory and not in a file.
    options = "vfs=unix-none" if left else "immutable=1"
    return f"{path.absolute().as_uri()}?mode=ro&{options}"
