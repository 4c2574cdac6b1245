"""Print a constraints file for pip that chooses an end of the ranges in pyproject.toml.

Usage: bounds.py oldest|newest. ``oldest`` is the lower bound of everything that a user's install
asks for: of the requirements, and of all extras but those for developers (`TOOLS`), which take the
tested versions. ``newest`` leaves the choice to pip. What others require in their turn is the
newest that fits, in both.
"""

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("test", "mutation")
"""The extras of whoever changes this project."""
ONE_BUILD = ("torch",)
"""Always of the tested version: of others, registries have builds with gigabytes of CUDA alone."""


def oldest(requirement: Requirement) -> str:
    """The lower bound of a requirement's range, which is to be a version that exists."""
    (bound,) = (one.version for one in requirement.specifier if one.operator in (">=", "=="))
    return bound


def constraints(end: str) -> dict[str, str]:
    """The version of each constrained package, by its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    if end == "newest":
        return {name: tested[name] for name in ONE_BUILD}
    optional = project["optional-dependencies"]
    texts = [*project["dependencies"]]
    texts += [text for name, each in optional.items() if name not in TOOLS for text in each]
    bounded = [each for each in map(Requirement, texts) if each.name != project["name"]]
    tools = [Requirement(text).name for text in optional["test"]]
    found = {canonicalize_name(name): tested.get(canonicalize_name(name)) for name in tools}
    found |= {canonicalize_name(each.name): oldest(each) for each in bounded}
    found |= {name: tested[name] for name in ONE_BUILD}
    return {name: version for name, version in sorted(found.items()) if version}


if __name__ == "__main__":
    if sys.argv[1:] not in (["oldest"], ["newest"]):
        sys.exit(__doc__)
    print("\n".join(f"{name}=={version}" for name, version in constraints(sys.argv[1]).items()))
