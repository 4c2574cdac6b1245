"""`bfedrec rocrate`: metadata that the library `rocrate` reads, of the files that are there."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import bfedrec as bf
from bfedrec.cli.main import main
from bfedrec.report.rocrate import FILES, METADATA
from tests.helpers.tiny import TINY

#: What of a run's folder is no part of a crate.
LEFT_OUT = {"state.sqlite", "lock", "log.txt", METADATA}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run; not to be written to."""
    folder = tmp_path_factory.mktemp("made") / "run"
    bf.run({**yaml.safe_load(TINY), "rounds": 2}, out=folder, progress=False)
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def graph(folder: Path) -> dict[str, Any]:
    """The entities of a crate by their ids."""
    crate = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(entities) == len(crate["@graph"]), "an id twice"
    return entities


def references(node: Any) -> set[str]:
    """The ids that a value refers to."""
    if isinstance(node, list):
        return {name for each in node for name in references(each)}
    if not isinstance(node, dict):
        return set()
    inner = {name for key, each in node.items() if key != "@id" for name in references(each)}
    return inner | ({node["@id"]} if set(node) == {"@id"} else set())


def test_the_library_reads_the_crate(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rocrate = pytest.importorskip("rocrate.rocrate", reason="the library rocrate is not installed")
    assert main(["rocrate", str(run), "--licence", "https://example.org/licence"]) == 0
    assert capsys.readouterr().out == f"{run / METADATA}\n"
    crate = rocrate.ROCrate(str(run))
    held = {entity.id for entity in crate.data_entities}
    assert {path.name for path in run.iterdir()} - LEFT_OUT == held - {"#data"}
    action = crate.dereference("#run")
    assert action.type == "CreateAction"
    assert action["instrument"]["name"] == "bfedrec"
    assert {each.id for each in action["object"]} == {"config.yaml", "#data"}
    assert {each.id for each in action["result"]} == held - {"config.yaml", "#data"}
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    values = {each["name"]: each["value"] for each in crate.root_dataset["variableMeasured"]}
    assert values["head"] == summary["head"]
    assert values["hr@10"] == summary["hr@10"]
    assert crate.license.id == "https://example.org/licence"
    assert crate.root_dataset["datePublished"]


def test_the_crate_is_whole_and_true(run: Path) -> None:
    assert main(["rocrate", str(run)]) == 0
    entities = graph(run)
    assert references(list(entities.values())) - {"https://w3id.org/ro/crate/1.2"} <= set(entities)
    assert entities[METADATA]["about"] == {"@id": "./"}
    for name in FILES:
        if name in entities:
            content = (run / name).read_bytes()
            assert entities[name]["sha256"] == hashlib.sha256(content).hexdigest()
            assert entities[name]["contentSize"] == str(len(content))
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert entities["#data"]["identifier"] == f"sha256:{manifest['data_digest']}"
    assert "license" not in entities["./"]
    first = (run / METADATA).read_bytes()
    assert main(["rocrate", str(run)]) == 0
    assert (run / METADATA).read_bytes() == first


def test_a_stopped_run_is_said_to_have_failed(run: Path) -> None:
    (run / "summary.json").rename(run / "stopped.json")
    assert main(["rocrate", str(run)]) == 0
    assert graph(run)["#run"]["actionStatus"] == "http://schema.org/FailedActionStatus"


def test_what_is_no_ended_run_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rocrate", str(run), "--licence", "mine"]) == 2
    assert "--licence mine: expected a URL" in capsys.readouterr().err
    (run / "manifest.json").write_text("{}")
    assert main(["rocrate", str(run)]) == 2
    assert "not the manifest of a run" in capsys.readouterr().err
    (run / "summary.json").unlink()
    assert main(["rocrate", str(run)]) == 2
    assert "no run that has ended" in capsys.readouterr().err
    assert not (run / METADATA).exists()


def test_a_link_out_of_the_folder_is_not_followed(run: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (run / "curves.png").unlink()
    (run / "curves.png").symlink_to(tmp_path / "secret")
    assert main(["rocrate", str(run)]) == 0
    assert "curves.png" not in graph(run)
