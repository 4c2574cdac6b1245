"""The audit of a run's folder, or of a chain's file alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bfedrec.config.load import load
from bfedrec.runs.claims import RunFiles, build
from bfedrec.runs.folder import CHAIN, RunError, has_ledger
from consensus.audit import AuditFailure, AuditReport, audit
from consensus.storage.sqlite import SqliteStore

Tell = Callable[[int, int], None]
"""Is called with the number of blocks done, and of all."""


@dataclass(frozen=True)
class Audited:
    """The outcome of an audit."""

    path: Path
    """The chain's file."""
    report: AuditReport | None
    """Counts of the things that were verified; None where the audit failed."""
    failure: str
    """The first thing that was found wrong; empty where all holds."""
    unchecked: str
    """The claims that these files are too few for, in words; empty if there are none."""

    @property
    def passed(self) -> bool:
        """True if all holds that could be checked."""
        return self.report is not None


def audited(run: Path, head: bytes | None = None, tell: Tell = lambda done, total: None) -> Audited:
    """Audit a run folder or a chain file, whose head must be ``head`` if that is given.

    Raises `consensus.storage.content.StoreError` for a file that cannot be read at all, and
    `bfedrec.runs.folder.RunError` for a run of a method that makes no chain.
    """
    path = run / CHAIN if run.is_dir() else run
    if not path.exists():
        _check_makes_chain(run)
    files = RunFiles(path.parent, head)
    try:
        with SqliteStore(path, read_only=True) as store:
            report = audit(store, build, tell, files.claims)
    except AuditFailure as failure:
        return Audited(path, None, str(failure), files.unchecked)
    return Audited(path, report, "", files.unchecked)


def _check_makes_chain(run: Path) -> None:
    config = run / "config.yaml"
    if run.is_dir() and has_ledger(run) is False:
        raise RunError(f"{run}: was learnt without a ledger, and has no chain to audit")
    if config.is_file() and (method := load(config).method) != "federated":
        raise RunError(f"{run}: a run of method {method}, which has no chain to audit")
