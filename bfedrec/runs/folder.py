"""The run folder: all files of a run, written so that the process may be killed at any moment.

Whole files appear by rename, rows and lines are appended, and one process at a time holds the
folder. A resume finds a prefix of the run: it cuts what reaches beyond the last common height.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from bfedrec.config.load import (
    SURROUNDINGS,
    config_digest,
    config_hash,
    departures,
    differences,
    dump,
    parse,
)
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import MOST_BYTES, ConfigError
from bfedrec.files import write_bytes, write_text
from bfedrec.loggers.following import Following
from bfedrec.loggers.logger import Subject
from bfedrec.runs.figures import LEDGER, NO_LEDGER, Figures, Stop, count, figures_from
from bfedrec.runs.holding import LOCK, hold
from bfedrec.runs.manifest import manifest, now
from bfedrec.runs.state import RunState
from consensus.encoding.node import Node
from consensus.storage.closing import Closing
from consensus.storage.regular import read_regular

RUNS = Path("results/runs")
LEARNT = Path("results/learnt")
"""Default place of the folders of `bfedrec learn`; those in RUNS hold runs on a ledger."""
MODEL = "model.safetensors"
CHAIN = "chain.sqlite"
CHECKPOINT = "checkpoint.safetensors"
"""Name of the file from which unfinished learning without a ledger is resumed
(`bfedrec.runs.learning`)."""
MOST_JSON = 2**20
"""Longest summary or manifest that is read, in bytes; ours have a few thousand."""
HEAD_BYTES = 2**16
"""Most bytes of a file of tensors beside its arrays."""
MOST_LINES = 2**26
"""Longest file of lines of JSON that is read, in bytes; a line of ours has about a thousand."""


BEFORE_START = {"config.yaml", ".config.yaml.part", "log.txt"}
"""The files of a folder whose run has not begun; none of them is worth keeping."""


class RunError(RuntimeError):
    """Error: a run folder that cannot be used as asked; its text is one line for people."""


def default_path(config: Config, runs: Path = RUNS) -> Path:
    """A run's default folder: RUNS/NAME-HASH-sSEED, the same but for the seed for every seed."""
    return runs / f"{config.name}-{config_hash(config)[:8]}-s{config.seed}"


class RunFolder(Closing):
    """A run folder held by this process, from `open` until it is left as a context manager."""

    def __init__(self, path: Path, config: Config, lock: IO[str], ledger: bool = True) -> None:
        self.path = path
        self.config = config
        self._ledger = ledger
        self._lock = lock
        self._log: IO[str] = (path / "log.txt").open("a", encoding="utf-8")
        self._following = Following(config.loggers, self._subject, self.metrics)

    @classmethod
    def open(
        cls, config: Config, path: Path | None = None, resume: bool = False, ledger: bool = True
    ) -> RunFolder:
        """Create the folder of a run, or with `resume` continue in the existing one. `ledger`:
        False for learning without one, which the manifest tells.

        Raises `RunError` for a folder that another process holds or, without `resume`, one that is
        not empty, and for one of the other kind; `ConfigError`, naming the keys, if the saved
        config differs.
        """
        path = default_path(config, RUNS if ledger else LEARNT) if path is None else path
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = hold(path)
        except BlockingIOError:
            raise RunError(f"{path}: another process is writing this run") from None
        except OSError as error:
            place = error.filename or path
            raise RunError(f"{place}: cannot be used in a run folder: {error.strerror}") from None
        try:
            _admit(path, config, resume)
            if has_ledger(path) is (not ledger):
                kind = "a run on a ledger" if not ledger else "learning without a ledger"
                raise RunError(f"{path}: holds {kind}: use another --out")
            return cls(path, config, lock, ledger)
        except BaseException:
            lock.close()
            raise

    def close(self) -> None:
        """Bring the loggers to the metrics, and release the folder, so that another process may
        use it."""
        self._following.close(finished(self.path))
        for line in self.unlogged:
            self.log(line)
        self._log.close()
        self._lock.close()

    # --- places ---------------------------------------------------------------------------------

    @property
    def chain_path(self) -> Path:
        """Path of RUN/chain.sqlite: blocks and content, all that an audit needs."""
        return self.path / CHAIN

    def state(self) -> RunState:
        """The state in RUN/state.sqlite, which is private to the run."""
        keeps, every = self.config.compression.error_feedback, self.config.ledger.meets_every
        path, digest = self.path / "state.sqlite", config_digest(self.config)
        return RunState(path, keeps, checkpoint_every=every, digest=digest)

    # --- the manifest ---------------------------------------------------------------------------

    def start(self, data_digest: str, places_digest: str = "") -> None:
        """Write the manifest, or note in it that the run is resumed. ``places_digest`` is noted of
        a run that scores users by recency.

        Raises `RunError` if the run was begun on other data.
        """
        path, by_recency = self.path / "manifest.json", self.config.evaluation.recency
        entry = manifest(self.config.seed, config_hash(self.config), data_digest, _command())
        if path.exists():
            saved = read_json(path)
            check_made_on(path, saved, data_digest, places_digest)
            earlier = saved.get("resumes")
            resumed = {"resumed": now(), "git": entry["git"], "versions": entry["versions"]}
            resumes = [*(earlier if isinstance(earlier, list) else []), resumed]
            write_json(path, {**saved, "resumes": resumes})
        else:
            write_json(
                path,
                {
                    "id": secrets.token_hex(16),
                    **entry,
                    **({"places_digest": places_digest} if by_recency else {}),
                    **({} if self._ledger else {LEDGER: NO_LEDGER}),
                },
            )

    def write_warnings(self, warnings: Sequence[str]) -> None:
        """Put the run's warnings, a line each, into its manifest in place of earlier ones."""
        path = self.path / "manifest.json"
        saved = {name: value for name, value in read_json(path).items() if name != "warnings"}
        write_json(path, {**saved, **({"warnings": list(warnings)} if warnings else {})})

    # --- metrics --------------------------------------------------------------------------------

    def append_metrics(self, values: Figures) -> None:
        """Append a line to RUN/metrics.jsonl; `values` has a "height".

        Raises ValueError for a number that is not finite, which is an error of the model, not a
        score.
        """
        line = json.dumps({"height": count(values, "height"), **values}, allow_nan=False)
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
            file.flush()
            os.fsync(file.fileno())
        self._following.added(values)

    def metrics(self) -> list[Figures]:
        """The complete lines of RUN/metrics.jsonl."""
        return read_metrics(self.path)

    def cut_metrics(self, height: int) -> None:
        """Drop the lines above a height, and an incomplete last line, as a kill may leave it."""
        kept = [json.dumps(line) for line in self.metrics() if count(line, "height") <= height]
        write_text(self.path / "metrics.jsonl", "".join(f"{line}\n" for line in kept))

    # --- loggers --------------------------------------------------------------------------------

    @property
    def unlogged(self) -> list[str]:
        """A line about each logger that failed, and so has not all of the metrics."""
        return self._following.failures

    def _subject(self) -> Subject | None:
        """The run as its loggers know it; None before it has begun."""
        if not (self.path / "manifest.json").exists():
            return None
        begun = read_json(self.path / "manifest.json")
        known = begun.get("id") or [begun.get(key) for key in ("started", "config_hash", "seed")]
        identity = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]
        off = {key: json.dumps(value) for key, value, _ in departures(self.config)}
        options = {"seed": json.dumps(self.config.seed), **off}
        return Subject(self.path, self.path.resolve().name, identity, options)

    # --- what is left at the end ----------------------------------------------------------------

    def write_model(self, item_factors: NDArray[np.float32]) -> None:
        """Write RUN/model.safetensors: the global Q float32[N, d]. Private factors are not
        written."""
        self.write_tensors({"Q": np.asarray(item_factors, np.float32)})

    def write_tensors(self, tensors: Mapping[str, NDArray], name: str = MODEL) -> None:
        """Write RUN/model.safetensors, or the file called `name`, with these arrays by name."""
        from safetensors.numpy import save  # slow to load

        whole = {key: np.ascontiguousarray(array) for key, array in tensors.items()}
        write_bytes(self.path / name, save(whole))

    def write_ranks(self, encoded: bytes) -> None:
        """Write RUN/ranks.npz: the rank of each user's test item (`bfedrec.runs.ranks`)."""
        write_bytes(self.path / "ranks.npz", encoded)

    def write_summary(self, summary: Figures) -> None:
        """Write RUN/summary.json, which marks the run as finished."""
        write_json(self.path / "summary.json", dict(summary))
        (self.path / CHECKPOINT).unlink(missing_ok=True)

    def write_stop(self, summary: Figures) -> None:
        """Write RUN/stopped.json: the summary of a run whose servers could not go on, with the
        reason."""
        write_json(self.path / "stopped.json", dict(summary))

    def clear_stop(self) -> None:
        """Delete an earlier RUN/stopped.json: the run is tried again from there."""
        (self.path / "stopped.json").unlink(missing_ok=True)

    def log(self, text: str) -> None:
        """Append a line to RUN/log.txt, with the time."""
        self._log.write(f"{now()} {text}\n")
        self._log.flush()


def check_made_on(path: Path, saved: Node, data_digest: str, places_digest: str) -> None:
    """Raise `RunError` if the manifest (``saved``) of a run is of other data than those with these
    digests, or of rows in another order in time (``places_digest``, which may be empty), of which
    earlier versions did not tell. ``path``: what the error names."""
    told, remedy = f"{path}: the run was made on data", "give it the same, or use another --out"
    known = str(saved.get("data_digest"))
    if known != data_digest:
        raise RunError(
            f"{told} {known[:12]}..., and those at hand are {data_digest[:12]}...: {remedy}"
        )
    known = str(saved.get("places_digest") or "")
    if known and places_digest and known != places_digest:
        raise RunError(
            f"{told} whose rows have other times, and so another order by recency: {remedy}"
        )


def has_ledger(path: Path) -> bool | None:
    """False if a folder's manifest tells of learning without a ledger, None if there is no manifest
    yet; raises `RunError`."""
    manifest = path / "manifest.json"
    return read_json(manifest).get(LEDGER) != NO_LEDGER if manifest.exists() else None


def finished(path: Path) -> bool:
    """True if a folder holds a finished run."""
    return (path / "summary.json").exists()


def stopped(path: Path) -> bool:
    """True if a folder holds a run whose servers could not go on; a new try ends the same way."""
    return (path / "stopped.json").exists()


def read_metrics(path: Path) -> list[Figures]:
    """The lines of a run folder's metrics.jsonl, without an incomplete last one; raises
    `RunError`."""
    try:
        text = read_text(path / "metrics.jsonl", MOST_LINES)
    except FileNotFoundError:
        return []
    lines = text.split("\n")[:-1]  # what follows the last newline is torn, or nothing
    try:
        found: list[Figures] = [figures_from(json.loads(line)) for line in lines]
        for line in found:
            count(line, "height")
        return found
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path / 'metrics.jsonl'}: not JSON lines: {error}") from None


def read_summary(path: Path) -> Figures:
    """The summary of a run folder, or of a run that stopped its stopped.json; raises `RunError`."""
    return read_figures(path / ("summary.json" if finished(path) else "stopped.json"))


def read_stop(path: Path) -> Stop:
    """The stop that a run folder's stopped.json tells of; raises `RunError`."""
    place = path / "stopped.json"
    try:
        return Stop.of(read_figures(place))
    except (KeyError, ValueError) as error:
        raise RunError(f"{place}: not a stopped run: {error}") from None


def read_figures(path: Path) -> Figures:
    """The figures in a JSON file; raises `RunError` naming the file."""
    try:
        return figures_from(read_json(path))
    except ValueError as error:
        raise RunError(f"{path}: {error}") from None


def read_json(path: Path) -> Node:
    """A JSON object from a file; raises `RunError` naming the file."""
    try:
        value = json.loads(read_text(path, MOST_JSON))
    except FileNotFoundError:
        raise RunError(f"{path}: no such file") from None
    except (OSError, RecursionError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise RunError(f"{path}: expected a JSON object")
    return value


def read_text(path: Path, most: int) -> str:
    """The text in a regular file of at most ``most`` bytes.

    Raises `RunError` naming the file, FileNotFoundError if there is none.
    """
    try:
        return read_regular(path, most).decode()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RunError(f"{path}: not a text file in UTF-8") from None


def read_tensors(path: Path, most: int) -> dict[str, NDArray]:
    """The arrays by name in a safetensors file of at most ``most`` bytes; raises `RunError` naming
    the file."""
    from safetensors.numpy import load

    try:
        return load(read_regular(path, most))
    except FileNotFoundError:
        raise RunError(f"{path}: no such file") from None
    except Exception as error:  # the library raises what it comes upon
        why = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise RunError(f"{path}: no tensors: {why}") from None


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write a JSON object whole or not at all."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def _admit(path: Path, config: Config, resume: bool) -> None:
    """Check that the folder may be used, and save the config in a new one."""
    saved_path = path / "config.yaml"
    others = sorted(entry.name for entry in path.iterdir() if entry.name != LOCK)
    if not saved_path.exists():
        # A kill may come before the config is there; nothing else of a run comes earlier.
        if [name for name in others if name != ".config.yaml.part"]:
            raise RunError(f"{path}: not empty, and not a run: use another --out")
        write_text(saved_path, dump(config))
        return
    if not resume:
        if set(others) <= BEFORE_START:  # it ended before it began, over its data say
            write_text(saved_path, dump(config))
            return
        raise RunError(f"{path}: holds a run: continue it with --resume, or use another --out")
    saved = parse(read_text(saved_path, MOST_BYTES), str(saved_path))
    changed = [key for key in differences(config, saved) if key not in SURROUNDINGS]
    if changed:
        raise ConfigError(
            f"{saved_path}: the run was begun with another {', '.join(changed)}: "
            "resume it with the same config, or use another --out"
        )


def _command() -> list[str]:
    """The command line, without the folder of the program."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
