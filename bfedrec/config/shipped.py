"""The experiments that are shipped with the package, found by name from any folder."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2] / "experiments"
"""The experiments of a checkout, which an installed package has in `bfedrec/shipped`."""


def shipped() -> Path:
    """The folder of the shipped experiments."""
    packed = Path(str(files("bfedrec"))) / "shipped"
    return packed if packed.is_dir() else _REPOSITORY


def experiments() -> list[str]:
    """The names of the shipped experiments, as "ml-1m.yaml" or "quantised/size-04.yaml"."""
    folder = shipped()
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml"))


def located(path: Path) -> Path:
    """The path itself if it is there, or else a shipped experiment of this name: "ml-1m.yaml",
    "ml-1m", "experiments/ml-1m.yaml". The path itself if there is neither."""
    if path.is_absolute() or ".." in path.parts or path.exists():
        return path
    parts = path.parts[1:] if path.parts[:1] == ("experiments",) else path.parts
    for name in (Path(*parts), Path(*parts).with_name(f"{path.name}.yaml")) if parts else ():
        if (found := shipped() / name).is_file():
            return found
    return path
