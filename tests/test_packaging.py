"""The wheel holds every file that the program reads."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Parts of the packages that are documentation, for readers of the repository.
DOCUMENTATION = {".md"}


def test_the_wheel_has_all_files_of_the_packages(tmp_path: Path) -> None:
    source, ignored = tmp_path / "source", shutil.ignore_patterns("__pycache__", "*.pyc")
    source.mkdir()
    for name in ("bfedrec", "consensus", "experiments"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    # What a build by pip calls, without the environment that pip makes for it from a registry.
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {
        path.relative_to(ROOT).as_posix()
        for name in ("bfedrec", "consensus")
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in DOCUMENTATION
    }
    experiments = {
        f"bfedrec/shipped/{path.relative_to(ROOT / 'experiments').as_posix()}"
        for path in (ROOT / "experiments").rglob("*.yaml")
    }
    assert len(experiments) > 50
    assert held == wanted | experiments
