"""The holding of a run folder: by one process at a time, and only where it has files of its own."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import IO

LOCK = "lock"


def hold(path: Path) -> IO[str]:
    """The lock of a folder, which is held until it is closed. Raises BlockingIOError if another
    process holds it, and another OSError for a folder that cannot be used."""
    _check_entries(path)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    lock = os.fdopen(os.open(path / LOCK, flags, 0o666), "r+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        lock.close()
        raise
    return lock


def held(path: Path) -> bool:
    """True if a process is writing in a run's folder."""
    try:
        with (path / LOCK).open(encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _check_entries(path: Path) -> None:
    """Raise OSError, with its name, for an entry of a folder that is a FIFO or a device, which
    would never end, or a symbolic link, through which a run would write to another place."""
    for entry in path.iterdir():
        if entry.is_symlink():
            raise OSError(errno.ELOOP, "is a symbolic link, not a file of the run", str(entry))
        if entry.exists() and not (entry.is_file() or entry.is_dir()):
            raise OSError(errno.EINVAL, "not a regular file", str(entry))
