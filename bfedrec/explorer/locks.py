"""The locks that processes hold, seen from outside.

A run's process holds an exclusive `flock` of RUN/lock (`bfedrec.runs.folder`). Trying that lock,
even a shared one for an instant, would make a run that begins just then fail, and no other call
tells of an `flock` of another process. So the kernel's list is read: /proc/locks names, by device
and inode, every lock that is held; reading it touches no file of the run.

The device there is the file system's, which `stat` gives as another number on some (btrfs); it is
then taken from /proc/self/mountinfo. Processes of another machine, or of another container, are
not seen. Where there is no such list (macOS), a run whose files changed lately counts as running.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LIST: Final = Path("/proc/locks")
LATELY: Final = 60.0
"""Seconds since its last change in which a run counts as running where no list of locks is."""

Device = tuple[int, int]
"""Major and minor number."""


@dataclass(frozen=True)
class Locks:
    """The exclusive `flock`s that are held now."""

    held: frozenset[tuple[Device, int]] | None
    """By device and inode; None where the system has no list."""
    mounted: Device | None = None
    """The device of the file system on which the folder lies, as the list names it."""

    @classmethod
    def now(cls, folder: Path, source: Path = LIST) -> Locks:
        """The locks at this moment, of files on the file system of ``folder``."""
        try:
            lines = source.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return cls(None)
        return cls(frozenset(found for line in lines for found in _flock(line)), _device(folder))

    def holds(self, lock: os.stat_result, changed: float) -> bool:
        """True if the file of that status is locked; ``changed``: when the run's files last
        changed, in seconds since 1970."""
        if self.held is None:
            return time.time() - changed < LATELY
        own = os.major(lock.st_dev), os.minor(lock.st_dev)
        devices = {own} if self.mounted is None else {own, self.mounted}
        return any((device, lock.st_ino) in self.held for device in devices)


def _flock(line: str) -> list[tuple[Device, int]]:
    """The device and inode in a line such as ``3: FLOCK  ADVISORY  WRITE 118 fe:00:244 0 EOF``;
    none in one of another kind, or of a process that waits (``3: -> FLOCK ...``)."""
    words = line.split()
    if len(words) < 6 or words[1] != "FLOCK" or words[3] != "WRITE":
        return []
    try:
        major, minor, inode = words[5].split(":")
        return [((int(major, 16), int(minor, 16)), int(inode))]
    except ValueError:
        return []


def _device(folder: Path) -> Device | None:
    """The device of the file system that holds a folder, by the mount through which it is
    reached."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            told = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii")
        finally:
            os.close(descriptor)
        mount = next(line.split()[1] for line in told.splitlines() if line.startswith("mnt_id:"))
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        row = next(line for line in mounts.splitlines() if line.split(" ", 1)[0] == mount)
        major, minor = row.split()[2].split(":")
        return int(major), int(minor)
    except (OSError, StopIteration, IndexError, ValueError):
        return None
