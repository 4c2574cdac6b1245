"""`bfedrec audit RUN`: re-verify a run's chain and report the result."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bfedrec.cli.status import CHECK_FAILED
from bfedrec.config.load import load
from bfedrec.config.servers import MODELLED_CRYPTO
from bfedrec.federation.global_model import GlobalModel
from bfedrec.runs.folder import RunError, read_json
from consensus.audit import AuditFailure, AuditReport, audit
from consensus.ledger.committee import first_beacon
from consensus.records.genesis import Genesis
from consensus.storage.sqlite import SqliteStore


def build(genesis: Genesis, initial: bytes) -> GlobalModel:
    """The application of a BFedRec chain (`consensus.audit.ApplicationFactory`)."""
    return GlobalModel.from_genesis(genesis.application, initial, first_beacon(genesis))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec audit`."""
    parser.add_argument("run", metavar="RUN", type=Path, help="a run folder, or a chain.sqlite")
    parser.set_defaults(handler=lambda parsed: audit_command(parsed.run))


def audit_command(run: Path) -> int:
    """Audit a run folder or a chain file; return 0 if all holds, else `CHECK_FAILED`, with a line
    on standard error.

    Raises `consensus.storage.content.StoreError` for a file that cannot be read at all, and
    `bfedrec.runs.folder.RunError` for a run of a method that makes no chain.
    """
    path = run / "chain.sqlite" if run.is_dir() else run
    if not path.exists():
        _check_makes_chain(run)
    began = time.perf_counter()
    try:
        with SqliteStore(path, read_only=True) as store, _progress() as bar:
            task = bar.add_task("audit", total=None)
            report = audit(
                store, build, lambda done, total: bar.update(task, completed=done, total=total)
            )
        _compare_summary(path.parent, report)
    except AuditFailure as failure:
        print(f"{path}: audit failed at {failure}", file=sys.stderr)
        return CHECK_FAILED
    print(
        f"{path}: audit passed in {time.perf_counter() - began:.1f} s: {report.blocks} blocks, "
        f"{report.proofs} VRF proofs, {report.signatures} signatures, {report.aggregates} "
        f"aggregates recomputed, {report.contents} blocks of content; head {report.head}"
    )
    if report.modelled:
        print(f"{path}: {MODELLED_CRYPTO}")
    return 0


def _check_makes_chain(run: Path) -> None:
    config = run / "config.yaml"
    if config.is_file() and (method := load(config).method) != "federated":
        raise RunError(f"{run}: a run of method {method}, which has no chain to audit")


def _progress() -> Progress:
    """A progress bar on standard error, if that is a terminal."""
    columns = (TextColumn("audit"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _compare_summary(folder: Path, report: AuditReport) -> None:
    """Check that a finished run's summary names the audited head.

    So a chain that is cut short together with its own note of the head does not pass for the run's.
    """
    summary = folder / "summary.json"
    if summary.is_file() and read_json(summary).get("head") != report.head:
        raise AuditFailure(report.blocks, f"the head is not the one that {summary} names")
