"""The part of the build that pyproject.toml cannot say: the experiments go into the package."""

from pathlib import Path
from shutil import copytree, ignore_patterns

from setuptools import setup
from setuptools.command.build_py import build_py


class WithExperiments(build_py):
    """The packages, and `experiments/` as `bfedrec/shipped`, where `bfedrec.config.shipped` finds
    it; a checkout that is installed in place has its own."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "bfedrec" / "shipped"
            copytree("experiments", target, dirs_exist_ok=True, ignore=ignore_patterns("*.md"))


setup(cmdclass={"build_py": WithExperiments})
