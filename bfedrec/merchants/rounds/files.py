"""Folders that appear whole or not at all, and files that are written likewise."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from bfedrec.runs.folder import write_bytes

__all__ = ["sync_folder", "write_bytes", "write_folder"]


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder with these files, whole or not at all: beside it, to the disk, then renamed.

    What an interrupted call left beside it is removed. A folder that is there is replaced.
    """
    beside = path.with_name(f".{path.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name, content in files.items():
        write_bytes(beside / name, content)
    sync_folder(beside)
    if path.exists():
        shutil.rmtree(path)
    beside.rename(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Have the names of files in a folder on the disk, as `os.fsync` has their bytes."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
