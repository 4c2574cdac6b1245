"""RO-Crate metadata of a run: what its files are, and which program made them of what.

The document is RO-Crate 1.2 (https://w3id.org/ro/crate/1.2) with the Process Run Crate profile: the
run is a CreateAction whose instrument is this program, whose object is the config and the data, and
whose results are the files. The same folder gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bfedrec.runs.folder import RunError, finished, read_json, read_summary, stopped
from consensus.encoding.node import Node

METADATA = "ro-crate-metadata.json"
CONFIG = "config.yaml"
CRATE = "https://w3id.org/ro/crate/1.2"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"

FILES: Mapping[str, tuple[str, str]] = {
    CONFIG: ("application/yaml", "every option of the run"),
    "manifest.json": ("application/json", "versions, commit, machine, digest of the data, seed"),
    "metrics.jsonl": ("application/jsonl", "validation scores, bytes and time over the rounds"),
    "timeline.jsonl": ("application/jsonl", "by height, what the servers did and when"),
    "messages.parquet": (
        "application/vnd.apache.parquet",
        "every message between servers: where it went, and when",
    ),
    "summary.json": ("application/json", "the final figures"),
    "stopped.json": ("application/json", "the figures until the servers could not go on"),
    "chain.sqlite": ("application/vnd.sqlite3", "the blocks of the ledger and their content"),
    "model.safetensors": ("application/octet-stream", "the item factors Q, or the method's arrays"),
    "ranks.npz": ("application/octet-stream", "by user, the rank of the test item"),
    "curves.png": ("image/png", "the learning curves"),
}
"""Media type and meaning of the files that a run leaves; state.sqlite is not among them, as the
clients' own factors are private."""


@dataclass(frozen=True)
class _Facts:
    """A run that has ended, as its metadata tell of it."""

    finished: bool
    hash_: str
    seed: str
    started: str
    """UTC, ISO 8601."""
    data: str
    """The SHA-256 of the prepared data, hex."""
    commit: str
    """Of the program; "" where it is not known."""
    versions: Mapping[str, object]
    measured: Mapping[str, object]
    """Figures of the summary: the metrics and the chain's head."""


def crate_of(folder: Path, licence: str = "") -> Node:
    """The metadata of a run that has ended; ``licence``: a URL, "" for none.

    Raises `RunError` for a run that has not ended, or whose files are damaged.
    """
    facts = _read(folder)
    files = [_file(folder, name) for name in FILES if _is_there(folder / name)]
    values: list[Node] = [
        {"@id": f"#{name}", "@type": "PropertyValue", "name": name, "value": value}
        for name, value in facts.measured.items()
    ]
    root = _root(facts, files, values)
    works = {PROFILE: "Process Run Crate"}
    if licence:
        root["license"] = {"@id": licence}
        works[licence] = licence
    descriptor: Node = {
        "@id": METADATA,
        "@type": "CreativeWork",
        "conformsTo": {"@id": CRATE},
        "about": {"@id": "./"},
    }
    named: list[Node] = [
        {"@id": url, "@type": "CreativeWork", "name": name} for url, name in works.items()
    ]
    made = _making(facts, files)
    return {
        "@context": f"{CRATE}/context",
        "@graph": [descriptor, root, *files, *made, *values, *named],
    }


def _read(folder: Path) -> _Facts:
    if not (finished(folder) or stopped(folder)):
        raise RunError(f"{folder}: no run that has ended: bfedrec run --resume continues one")
    manifest, summary = read_json(folder / "manifest.json"), read_summary(folder)
    git, versions = manifest.get("git"), manifest.get("versions")
    keys = ("config_hash", "seed", "started", "data_digest")
    if not set(keys) <= set(manifest) or not isinstance(versions, dict):
        raise RunError(f"{folder / 'manifest.json'}: not the manifest of a run")
    hash_, seed, started, data = (str(manifest[key]) for key in keys)
    return _Facts(
        finished(folder),
        hash_,
        seed,
        started,
        data,
        str(git.get("commit", "")) if isinstance(git, dict) else "",
        versions,
        {name: value for name, value in summary.items() if "@" in name or name == "head"},
    )


def _root(facts: _Facts, files: Iterable[Node], values: Iterable[Node]) -> Node:
    """The run's folder."""
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": f"bfedrec run {facts.hash_[:8]}, seed {facts.seed}",
        "description": "A simulated run of blockchain-assisted federated recommendation.",
        "datePublished": facts.started,
        "conformsTo": {"@id": PROFILE},
        "hasPart": _references(files),
        "mentions": {"@id": "#run"},
        "variableMeasured": _references(values),
    }


def _making(facts: _Facts, files: Iterable[Node]) -> list[Node]:
    """The run as an action, the program, and the data."""
    ended = "CompletedActionStatus" if facts.finished else "FailedActionStatus"
    version = str(facts.versions.get("bfedrec") or "unknown")
    return [
        {
            "@id": "#run",
            "@type": "CreateAction",
            "name": "The run",
            "description": f"config hash {facts.hash_}, seed {facts.seed}",
            "startTime": facts.started,
            "actionStatus": f"http://schema.org/{ended}",
            "instrument": {"@id": "#bfedrec"},
            "object": [{"@id": CONFIG}, {"@id": "#data"}],
            "result": _references(file for file in files if file["@id"] != CONFIG),
        },
        {
            "@id": "#bfedrec",
            "@type": "SoftwareApplication",
            "name": "bfedrec",
            "softwareVersion": f"{version}, commit {facts.commit}" if facts.commit else version,
            "softwareRequirements": [f"{name} {at}" for name, at in facts.versions.items() if at],
        },
        {
            "@id": "#data",
            "@type": "Dataset",
            "name": "The prepared interactions, which are not part of this crate",
            "identifier": f"sha256:{facts.data}",
        },
    ]


def text_of(crate: Node) -> str:
    """The metadata as the text of its file."""
    return json.dumps(crate, indent=2, ensure_ascii=False) + "\n"


def _references(entities: Iterable[Node]) -> list[Node]:
    return [{"@id": entity["@id"]} for entity in entities]


def _is_there(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _file(folder: Path, name: str) -> Node:
    media, meaning = FILES[name]
    path = folder / name
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "@id": name,
        "@type": "File",
        "name": name,
        "description": meaning,
        "encodingFormat": media,
        "contentSize": str(path.stat().st_size),
        "sha256": digest,
    }
