"""Files and folders that are written whole or not at all, whenever the process is killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: beside it, to the disk, then renamed over it."""
    beside = path.with_name(f".{path.name}.part")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


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
