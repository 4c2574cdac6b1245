"""Run folders that come from another machine, in parts, and appear here whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from bfedrec.files import sync_folder
from bfedrec.runs.folder import RunError, finished, stopped
from bfedrec.runs.holding import held


def arrive(path: Path, files: Sequence[tuple[str, int]], part: Callable[[str, int], bytes]) -> None:
    """Fetch the files of a run's folder, each with its bytes, and put them in the place of `path`.

    `part(name, offset)` gives the next bytes of a file. A folder that is here stays if what came
    has not ended: it may have come further. Raises `RunError` if a process is writing in it, or a
    file is shorter than it should be.
    """
    beside = path.with_name(f".{path.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    for name, size in files:
        place = beside / name
        if not place.resolve().is_relative_to(beside.resolve()):
            raise RunError(f"{path}: came with a file outside of it: {name}")
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb") as file:
            while file.tell() < size:
                content = part(name, file.tell())
                if not content:
                    raise RunError(f"{path}: {name} came with {file.tell()} of {size} bytes")
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
    if not files or (path.exists() and not (finished(beside) or stopped(beside))):
        shutil.rmtree(beside, ignore_errors=True)
        return
    if held(path):
        raise RunError(f"{path}: another process is writing this run")
    shutil.rmtree(path, ignore_errors=True)
    beside.rename(path)
    sync_folder(path.parent)
