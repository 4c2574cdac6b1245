"""Exit status 0 where this environment holds all that pyproject.toml asks for, else 1.

Usage: installed.py [EXTRA ...]. Lets `make` use an environment as it is, without a network.
"""

import json
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def missing(extras: list[str]) -> str | None:
    """The first requirement that is not met, or None."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return "packaging"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    wanted = list(project["dependencies"]) + [each for extra in extras for each in optional[extra]]
    for text in wanted:
        requirement = Requirement(text)
        if requirement.name == project["name"]:  # an extra that includes others
            wanted += [each for extra in requirement.extras for each in optional[extra]]
            continue
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            return text
        if not requirement.specifier.contains(version, prereleases=True):
            return text
    return None if _is_editable_here(project) else str(project["name"])


def _is_editable_here(project: dict) -> bool:
    """Whether the project itself is installed from this folder, with its present commands."""
    try:
        distribution = metadata.distribution(project["name"])
    except metadata.PackageNotFoundError:
        return False
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    scripts = {entry.name: entry.value for entry in distribution.entry_points}
    return origin.get("url") == ROOT.as_uri() and project["scripts"].items() <= scripts.items()


if __name__ == "__main__":
    lacking = missing(sys.argv[1:])
    if lacking is not None:
        print(f"to be installed: {lacking} and what else is missing")
        sys.exit(1)
