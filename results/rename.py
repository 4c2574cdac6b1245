"""Gives recorded runs the new names of their configs, where files of experiments/ were renamed.

    python results/rename.py OLD=NEW [OLD=NEW ...]

A sweep's folder is named after its config's file and a run's after the name in it; no config hash
covers either. A new name so moves folders, and the names in ``config.yaml`` and ``sweep.json``, and
leaves every result. All pairs are taken at once: two names may be swapped. A folder is a sweep of
OLD only if the hash at its end says so. Manifests stay: they tell by which command, at which
commit, a run was made.

When weights by sample count became the default, this was run as

    python results/rename.py ml-1m=ml-1m-per-item ml-1m-samples=ml-1m
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

RECORDED = Path(__file__).resolve().parent / "reference"
RUN = re.compile(r"(.+)(-[0-9a-f]{8}-s[0-9]+)")
"""The name of a run's folder: its config's name, then eight digits of its hash and the seed."""

Names = Mapping[str, str]
"""New names by old ones."""


def of_run(name: str, names: Names) -> str:
    """The new name of a run's folder; any other text stays as it is."""
    found = RUN.fullmatch(name)
    return f"{names.get(found[1], found[1])}{found[2]}" if found else name


def of_sweep(name: str, hashes: Sequence[str], names: Names) -> str:
    """The new name of a sweep's folder, the runs of which have these config hashes."""
    for old, new in names.items():
        if name.startswith(old) and name.endswith(f"-{_digits(old, hashes)}"):
            return f"{new}{name[len(old) : -8]}{_digits(new, hashes)}"
    return name


def _digits(stem: str, hashes: Sequence[str]) -> str:
    """The hash at the end of a sweep's name (`bfedrec.sweeps.sweep`)."""
    return hashlib.sha256(json.dumps([stem, *sorted(hashes)]).encode()).hexdigest()[:8]


def rename(folder: Path, names: Names) -> None:
    """Rename all that is recorded in a folder. Raises OSError where a new name is taken."""
    for path in sorted(folder.rglob("config.yaml")):
        _rewrite(path, r"(?m)(?<=^name: ).+$", lambda name: names.get(name, name))
        path.parent.rename(path.parent.with_name(of_run(path.parent.name, names)))
    for path in sorted(folder.glob("*/sweep.json")):
        hashes = [each["config_hash"] for each in json.loads(path.read_bytes())["settings"]]
        _rewrite(path, r'(?<=")[^"]+(?=")', lambda name: of_run(name, names))
        path.parent.rename(folder / of_sweep(path.parent.name, hashes, names))


def _rewrite(path: Path, pattern: str, new: Callable[[str], str]) -> None:
    """Replace what matches in a file of text."""
    text = path.read_bytes().decode()
    path.write_bytes(re.sub(pattern, lambda found: new(found[0]), text).encode())


def main(words: Sequence[str]) -> int:
    """The command; its exit status is 0, or 2 for bad usage."""
    pairs = [word.split("=") for word in words]
    if not pairs or any(len(pair) != 2 or not all(pair) for pair in pairs):
        print(__doc__, file=sys.stderr)
        return 2
    rename(RECORDED, dict(pairs))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
