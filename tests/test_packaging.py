"""The packages that are built of this tree: their files, their version, what they require."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from bfedrec.cli.main import _parse
from consensus.ethereum.accounts import mnemonic
from tests.helpers.tiny import TINY

ROOT = Path(__file__).resolve().parents[1]
#: Parts of the packages that are documentation, for readers of the repository.
DOCUMENTATION = {".md"}
BUILT_OF = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def build(source: Path, kind: str, out: Path) -> Path:
    """The wheel or the sdist of a tree, as a build by pip makes it, but without the environment
    that pip makes for it from a registry."""
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(out)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (found,) = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the packages are made of, without git."""
    folder = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("bfedrec", "consensus", "experiments", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in BUILT_OF:
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    return build(tree, "wheel", tmp_path_factory.mktemp("wheel"))


def test_the_wheel_has_all_files_of_the_packages(wheel: Path) -> None:
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
    assert {"bfedrec/py.typed", "consensus/py.typed"} <= held, "type checkers look for these"


def test_the_sdist_builds_the_same_wheel(tree: Path, wheel: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(build(tree, "sdist", tmp_path), tmp_path, filter="data")
    (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    again = build(source, "wheel", tmp_path)
    assert again.name == wheel.name
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert {name: one.read(name) for name in one.namelist()} == {
            name: other.read(name) for name in other.namelist()
        }


# -- versions -------------------------------------------------------------------------------------


class Tree:
    """A repository of git with what the version is made of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".ci").mkdir(parents=True)
        for name in ("setup.py", ".ci/archived.txt", ".ci/.gitattributes"):
            shutil.copy(ROOT / name, folder / name)
        self.git("init", "--quiet")
        self.commit()

    def git(self, *words: str) -> str:
        """The output of a command of git."""
        who = ("-c", "user.name=one", "-c", "user.email=one@example.org")
        done = subprocess.run(
            ["git", *who, *words], cwd=self.folder, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self) -> str:
        """Commit everything; return the short hash."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "one")
        return self.git("rev-parse", "--short", "HEAD")


def version_of(folder: Path) -> str:
    """The version of a tree."""
    done = subprocess.run(
        [sys.executable, "setup.py", "--version"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()[-1]


def archived(tree: Tree, folder: Path) -> Path:
    """What `git archive` makes of a tree's commit."""
    tree.git("archive", "--output", str(folder / "archive.tar"), "HEAD")
    shutil.unpack_archive(folder / "archive.tar", folder / "archive", filter="data")
    return folder / "archive"


def test_the_version_is_of_the_tags(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "tree")
    assert version_of(tree.folder) == f"0.0.dev1+g{tree.git('rev-parse', '--short', 'HEAD')}"
    tree.git("tag", "v1.2.3")
    assert version_of(tree.folder) == "1.2.3"
    with (tree.folder / "setup.py").open("a") as file:
        file.write("# changed\n")
    assert version_of(tree.folder) == "1.2.4.dev0+dirty"
    commit = tree.commit()
    assert version_of(tree.folder) == f"1.2.4.dev1+g{commit}"
    assert version_of(archived(tree, tmp_path)) == f"1.2.4.dev1+g{commit}"


def test_an_archive_without_a_tag_does_not_guess(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "tree")
    assert version_of(archived(tree, tmp_path)) == "0+unknown"
    shutil.rmtree(tree.folder / ".git")
    assert version_of(tree.folder) == "0+unknown"


def test_the_changelog_and_the_citation_tell_of_one_version() -> None:
    changelog = (ROOT / "docs" / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = next(line for line in changelog.splitlines() if line.startswith("## ")).split()[1]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {newest}\n" in citation


# -- requirements ---------------------------------------------------------------------------------


def required(extras: dict[str, list[str]]) -> list[Requirement]:
    """What the project requires, and its extras; not those that include others."""
    texts = [*PROJECT["dependencies"], *(each for texts in extras.values() for each in texts)]
    return [each for each in map(Requirement, texts) if each.name != PROJECT["name"]]


def test_requirements_are_ranges() -> None:
    """An exact version is for the chain of the merchants alone (pyproject.toml says why)."""
    every = required(PROJECT["optional-dependencies"])
    exact = {each.name for each in every if "==" in str(each.specifier)}
    assert exact == {"py-evm"}


def test_the_tested_versions_are_of_the_ranges() -> None:
    lines = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("==")[::2] for line in lines if not line.startswith("#")]
    tested = dict(pairs)
    assert len(tested) == len(pairs)
    extras = PROJECT["optional-dependencies"]
    untested = {name: extras[name] for name in ("mutation", "trackio")}
    for each in required({name: texts for name, texts in extras.items() if name not in untested}):
        version = tested[canonicalize_name(each.name)]
        assert each.specifier.contains(version, prereleases=True), each
    assert all(Version(version).local is None for version in tested.values())
    assert tested["torch"] == "2.13.0", "other builds bring gigabytes of CUDA packages"


def test_every_install_of_the_makefile_is_of_tested_versions() -> None:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    installs = [line for line in lines if "pip install" in line and not line.startswith("#")]
    ends = "\t$(VENV)-$@/bin/python -m pip install --quiet"
    assert installs == [
        "INSTALL := $(BIN)/python -m pip install --quiet --constraint $(TESTED) --editable",
        f"{ends} packaging",
        f"{ends} --constraint $(VENV)-$@/constraints.txt --editable '.[test]'",
    ]


def ends(end: str) -> dict[str, str]:
    """The constraints of an end of the ranges, as .ci/bounds.py prints them."""
    words = [sys.executable, str(ROOT / ".ci" / "bounds.py"), end]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return dict(line.split("==") for line in done.stdout.splitlines())


def test_the_oldest_versions_are_the_lower_bounds_of_what_users_install() -> None:
    extras = PROJECT["optional-dependencies"]
    found = ends("oldest")
    for each in required({name: extras[name] for name in extras.keys() - {"test", "mutation"}}):
        bound = min(one.version for one in each.specifier if one.operator in (">=", "=="))
        name = canonicalize_name(each.name)
        if name != "torch":
            assert found.pop(name, bound) == bound, each
    tools = {canonicalize_name(Requirement(text).name) for text in extras["test"]}
    assert found.keys() - {"torch"} <= tools
    assert ends("newest") == {"torch": found["torch"]} == {"torch": "2.13.0"}


def test_every_package_of_a_kind_of_install_has_a_lower_bound() -> None:
    """Without one an old and long broken release would be allowed."""
    extras = PROJECT["optional-dependencies"]
    for each in required({name: extras[name] for name in extras.keys() - {"test"}}):
        assert {one.operator for one in each.specifier} & {">=", "=="}, each


def test_torch_is_needed_by_its_devices_alone(tmp_path: Path) -> None:
    assert "torch" not in {Requirement(text).name for text in PROJECT["dependencies"]}
    config = tmp_path / "tiny.yaml"
    config.write_text(f"rounds: 2\n{TINY}", encoding="utf-8")
    code = """
import sys
sys.modules["torch"] = None  # as if it were not installed
from bfedrec.cli.main import main
run = ["run", sys.argv[1], "--out"]
statuses = [main([*run, "one"]), main(["audit", "one"]), main([*run, "two", "device=torch"])]
main(["doctor"])
print(statuses)
"""
    words = [sys.executable, "-c", code, str(config)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[0, 0, 2]", done.stderr
    told = "device: 'torch': this needs torch: pip install 'bfedrec[torch]'"
    assert done.stderr.splitlines()[-1].endswith(told)
    assert "unknown without torch (pip install 'bfedrec[torch]')" in done.stdout


# -- containers -----------------------------------------------------------------------------------

DOCKER = ROOT / "docs" / "docker"


def test_the_image_is_made_of_files_and_extras_that_there_are() -> None:
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    (extras,) = re.findall(r"\.whl\)\[([a-z,]+)\]", text)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    copied = re.findall(r"^COPY (?!--from)(\S+) ", text, re.MULTILINE)
    assert copied
    assert all((ROOT / name).exists() for name in copied)


INSTRUCTIONS = {"FROM", "COPY", "RUN", "USER", "WORKDIR", "ENV", "ENTRYPOINT", "CMD"}


def test_the_image_is_described_without_a_slip() -> None:
    """Every instruction is one that there is, lists are JSON, and stages exist before their use.
    No test builds the image."""
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    logical = "\n".join(lines).replace("\\\n", " ").splitlines()
    assert logical[0].startswith("FROM ")
    stages: list[str] = []
    for line in logical:
        name, _, rest = line.partition(" ")
        assert name in INSTRUCTIONS, line
        if name == "FROM":
            image, _, stage = rest.partition(" AS ")
            assert re.fullmatch(r"[a-z]+:[\w.-]+", image), line
            stages += [stage] if stage else []
        if name in ("ENTRYPOINT", "CMD"):
            words = json.loads(rest)
            assert words, line
            assert all(isinstance(word, str) for word in words), line
        if name == "COPY" and rest.startswith("--from="):
            assert rest.split()[0].removeprefix("--from=") in stages, line
        if name == "RUN":
            assert subprocess.run(["sh", "-n", "-c", rest]).returncode == 0, line


def test_the_services_are_those_that_the_commands_name() -> None:
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    services = compose["services"]
    used = {place for each in services.values() for place in each.get("volumes", ())}
    named = {place.partition(":")[0] for place in used if not place.startswith("$")}
    assert named | {"data"} == set(compose["volumes"])
    assert all(
        port.startswith("127.0.0.1:")
        for each in services.values()
        for port in each.get("ports", ())
    )
    for name in ("explorer", "project"):
        build = services[name]["build"]
        assert (DOCKER / build["context"] / build["dockerfile"]).is_file()
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert services["project"]["environment"][key] == services["s3"]["environment"][key]
    assert services["chain"]["command"] == [mnemonic(0)]
    guide = (DOCKER / "README.md").read_text(encoding="utf-8")
    hosts = set(re.findall(r"(?:/dns4/|http://)([a-z0-9]+)[:/]", guide))
    assert hosts <= set(services)
    lines = [line.split() for line in guide.splitlines() if "run --rm project" in line]
    assert len(lines) == 4
    for words in [*(line[5:] for line in lines), services["explorer"]["command"]]:
        assert _parse(words).command == words[0]
