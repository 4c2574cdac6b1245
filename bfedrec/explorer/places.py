"""The folders and files that are shown: those below one folder, and nothing else."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from bfedrec.runs.folder import RunError

LONGEST: Final = 1000
"""Characters of the longest relative path."""


class Places:
    """The folder whose runs are shown. If it is a run itself, that run alone is shown."""

    def __init__(self, root: Path, single: bool = False) -> None:
        """``single``: the folder is a run or a sweep itself, and its name the only path."""
        self.root = root.absolute()
        self.single = single

    def find(self, path: str) -> Path:
        """The folder or regular file at a relative path such as ``sweep/ml-1m-s0``.

        Raises `RunError` for a path that leads out of the folder, through a link, or to nothing.
        """
        parts = path.split("/")
        refused = RunError(f"{path[:80]!a}: there is no such run here")
        if len(path) > LONGEST or "\0" in path or any(part in ("", ".", "..") for part in parts):
            raise refused
        place = self.root
        if self.single and parts.pop(0) != place.name:
            raise refused
        for index, part in enumerate(parts):
            place = place / part
            try:
                mode = place.lstat().st_mode
            except (OSError, ValueError):
                raise refused from None
            last = index == len(parts) - 1
            if not stat.S_ISDIR(mode) and not (last and stat.S_ISREG(mode)):
                raise refused
        return place

    def name(self, place: Path) -> str:
        """The path under which `find` finds a folder or file below the root."""
        base = self.root.parent if self.single else self.root
        return place.relative_to(base).as_posix()
