"""The manifest of a run: versions, state of the repository, machine, data.

A manifest is for people and for reports; no result depends on it.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TypedDict

from bfedrec.plugins import load_plugins

PACKAGES = (
    "bfedrec",
    "libipld",
    "matplotlib",
    "numba",
    "numpy",
    "pandas",
    "pydantic",
    "pynacl",
    "safetensors",
    "simpy",
    "torch",
    # Whose code computes aggregates or models, where a config asks for it.
    "scipy",
    "byzfl",
    "implicit",
)
ROOT = Path(__file__).resolve().parents[2]


class GitState(TypedDict):
    """The commit of a repository's checkout."""

    commit: str
    """Its hash, hex."""
    dirty: bool
    """True if tracked files differ from it."""


class Machine(TypedDict):
    """The machine of a run."""

    cpu: str
    cores: int | None
    usable_cores: int | None
    """Cores that this process may use."""
    memory_gib: float | None
    system: str
    byte_order: str
    """"little" or "big"."""


class Manifest(TypedDict):
    """The manifest of a run at its start, JSON-ready; a resume adds the list `resumes`, and the end
    of a run that broke a premise of its protocol the list `warnings`."""

    started: str
    """UTC, ISO 8601."""
    command: list[str]
    seed: int
    config_hash: str
    data_digest: str
    """The sha256 (hex) of the prepared data."""
    git: GitState | None
    """None outside a repository."""
    versions: dict[str, str | None]
    """By package; None: not installed."""
    machine: Machine


def manifest(seed: int, config_hash: str, data_digest: str, command: list[str]) -> Manifest:
    """The manifest of a run that starts now."""
    return {
        "started": now(),
        "command": command,
        "seed": seed,
        "config_hash": config_hash,
        "data_digest": data_digest,
        "git": git_state(ROOT),
        "versions": versions(),
        "machine": machine(),
    }


def now() -> str:
    """The present time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that a result may depend on, plugins included; None:
    not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    found |= {package: _version(package) for package in PACKAGES}
    return found | load_plugins().versions


@cache
def _version(package: str) -> str | None:
    """The version of a package when first asked for: to find all takes as long as a round."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def git_state(root: Path) -> GitState | None:
    """The commit of the repository at `root`, and whether tracked files differ from it.

    None if `root` is not the top of a repository (an installed package) or git is missing.
    """
    told = _git(root, "rev-parse", "--show-toplevel", "HEAD")
    top, _, commit = (told or "").rpartition("\n")
    if not top or Path(top).resolve() != root.resolve():
        return None
    return {"commit": commit, "dirty": bool(_git(root, "status", "--porcelain", "-uno"))}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def machine() -> Machine:
    """The machine: processor, cores, cores that this process may use, memory, system."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": usable,
        "memory_gib": _memory_gib(),
        "system": platform.platform(),
        "byte_order": sys.byteorder,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 2)
    except (AttributeError, OSError, ValueError):
        return None
