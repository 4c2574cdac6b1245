"""The parts of the build that pyproject.toml cannot say: the version comes from the tags, and the
experiments go into the package."""

import re
import subprocess
from pathlib import Path
from shutil import copytree, ignore_patterns

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
ARCHIVED = HERE / ".ci" / "archived.txt"
"""`git archive` writes the description of its commit into this file (.ci/.gitattributes)."""
UNKNOWN = "0+unknown"


class WithExperiments(build_py):
    """The packages, and `experiments/` as `bfedrec/shipped`, where `bfedrec.config.shipped` finds
    it; a checkout that is installed in place has its own."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "bfedrec" / "shipped"
            copytree("experiments", target, dirs_exist_ok=True, ignore=ignore_patterns("*.md"))


def version() -> str:
    """The version of this tree, from what comes first: an sdist's own word, git, an archive's.

    A commit with the tag vX.Y.Z is X.Y.Z, and the Nth after it X.Y.(Z+1).devN+gHASH. Where there is
    no tag, the Nth of all is 0.0.devN+gHASH. A tree that differs from its commit ends in .dirty.
    """
    packed = HERE / "PKG-INFO"
    if packed.is_file():
        found = re.search(r"^Version: (\S+)$", packed.read_text(encoding="utf-8"), re.MULTILINE)
        return found[1] if found else UNKNOWN
    if (HERE / ".git").exists():
        described = _git("describe", "--tags", "--dirty", "--match", "v[0-9]*")
        if described:
            return numbered(described)
        count, commit = _git("rev-list", "--count", "HEAD"), _git("describe", "--always", "--dirty")
        return f"0.0.dev{count}+g{commit.replace('-', '.')}" if count and commit else UNKNOWN
    return numbered(ARCHIVED.read_text(encoding="utf-8")) if ARCHIVED.is_file() else UNKNOWN


def numbered(described: str) -> str:
    """The version of a commit that `git describe` calls so."""
    form = r"v(\d+\.\d+)\.(\d+)(?:-(\d+)-g([0-9a-f]+))?(-dirty)?"
    found = re.fullmatch(form, described.strip())
    if found is None:
        return UNKNOWN
    release, patch, after, commit, dirty = found.groups()
    if not after and not dirty:
        return f"{release}.{patch}"
    local = ".".join([f"g{commit}"] * bool(commit) + ["dirty"] * bool(dirty))
    return f"{release}.{int(patch) + 1}.dev{after or 0}+{local}"


def _git(*words: str) -> str:
    """What git says; "" if it cannot."""
    try:
        done = subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


setup(version=version(), cmdclass={"build_py": WithExperiments})
