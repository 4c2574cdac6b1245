"""Print the installed version of everything that the extras `test`, `web` and `merchants` bring,
as a constraints file for pip: all that the Makefile installs but the mutation operators.

A version's local part ("+cpu") is left out: a constraint without it also admits such builds.
"""

import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("test", "web", "merchants")


def versions() -> dict[str, str]:
    """The installed versions of what this tree requires, and of what these require, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    left = [("", text) for text in project["dependencies"]]
    left += [("", text) for extra in EXTRAS for text in optional[extra]]
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    while left:
        extra, text = left.pop()
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        if name == project["name"]:
            left += [("", each) for extra in requirement.extras for each in optional[extra]]
            continue
        new = {(name, extra) for extra in ("", *requirement.extras)} - seen
        seen |= new
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise SystemExit(f"{name} is not installed, but {text!r} is required") from None
        found[name] = Version(distribution.version).public
        left += [(extra, each) for _, extra in new for each in distribution.requires or ()]
    return found


if __name__ == "__main__":
    lines = [f"{package}=={version}" for package, version in sorted(versions().items())]
    print("# The versions that the tests were last run with, for `make`: see `make constraints`.")
    print("\n".join(lines))
