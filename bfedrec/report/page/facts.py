"""The facts of one run's folder that a page tells, read without changing any file.

Only what the run itself has written is read, by names below its folder; where the folder lies, when
it is read and by whom leaves no trace in what is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bfedrec.config.load import SURROUNDINGS, config_digest, config_hash, departures, dump, parse
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import MOST_BYTES
from bfedrec.runs.figures import LEDGER, NO_LEDGER, Figures, Stop, count
from bfedrec.runs.folder import (
    RunError,
    finished,
    read_json,
    read_metrics,
    read_stop,
    read_summary,
    read_text,
    stopped,
)
from bfedrec.runs.state import RunState
from bfedrec.runs.totals import Totals
from consensus.encoding.node import Node

FINISHED, STOPPED, UNFINISHED = "finished", "stopped", "not finished"


@dataclass(frozen=True)
class RunFacts:
    """The content of a run's folder."""

    config: Config
    state: str
    """`FINISHED`, `STOPPED` or `UNFINISHED`."""
    summary: Figures
    """The summary of a run that has ended; else the last line of its metrics, or nothing."""
    metrics: list[Figures]
    manifest: Node
    """Empty where there is none."""
    stop: Stop | None
    totals: Totals | None
    """The sums over the rounds; None where the folder has no state, or the run has not ended."""
    attempts: Mapping[int, int] = field(default_factory=dict)
    """Number of heights by the attempts that they took; empty as `totals` is None."""

    @property
    def name(self) -> str:
        """The name of the folder that a run of this config and seed has by default."""
        return f"{self.config.name}-{config_hash(self.config)[:8]}-s{self.config.seed}"

    @property
    def rounds(self) -> int:
        """The number of rounds that are known to be done."""
        key = "rounds" if "rounds" in self.summary else "height"
        return count(self.summary, key) if key in self.summary else 0

    @property
    def chained(self) -> bool:
        """True for a run on a ledger."""
        return self.config.method == "federated" and self.manifest.get(LEDGER) != NO_LEDGER

    @property
    def learnt(self) -> bool:
        """True for what `bfedrec learn` made."""
        return self.config.method == "federated" and not self.chained

    @property
    def yaml(self) -> str:
        """The whole config, as the run's config.yaml."""
        return dump(self.config)

    def changed(self) -> list[tuple[str, object, object]]:
        """The options that differ from their defaults, but for where nodes are: key, value,
        default."""
        return [each for each in departures(self.config) if each[0] not in SURROUNDINGS]


def is_run(folder: Path) -> bool:
    """True if a folder holds a run, and not a compact record of many."""
    return (folder / "config.yaml").is_file() and not (folder / "runs.jsonl").exists()


def read_run(folder: Path) -> RunFacts:
    """The facts of a run's folder. Raises `RunError`, ConfigError and StateError, one line."""
    path = folder / "config.yaml"
    try:
        config = parse(read_text(path, MOST_BYTES), str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{folder}: not a run folder: it has no config.yaml") from None
    metrics = read_metrics(folder)
    manifest = folder / "manifest.json"
    done, halted = finished(folder), stopped(folder)
    ended = done or halted
    summary = read_summary(folder) if ended else (metrics[-1] if metrics else {})
    totals, attempts = _totals(folder / "state.sqlite", config) if ended else (None, {})
    return RunFacts(
        config,
        FINISHED if done else STOPPED if halted else UNFINISHED,
        summary,
        metrics,
        read_json(manifest) if manifest.exists() else {},
        read_stop(folder) if halted and not done else None,
        totals,
        attempts,
    )


def _totals(path: Path, config: Config) -> tuple[Totals | None, dict[int, int]]:
    """The totals of a state that nobody writes any more, and its heights by their attempts."""
    if not path.exists():
        return None, {}
    attempts: dict[int, int] = {}
    totals = Totals()
    with RunState(path, read_only=True, digest=config_digest(config)) as state:
        for height in range(1, state.last_height + 1):
            now = state.row(height).totals
            taken = now.attempts - totals.attempts
            attempts[taken] = attempts.get(taken, 0) + 1
            totals = now
    return totals, dict(sorted(attempts.items()))
