"""`bfedrec audit RUN`: re-verify a run's chain and report the result."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bfedrec.cli.bar import counted
from bfedrec.cli.status import CHECK_FAILED
from bfedrec.config.load import load
from bfedrec.config.servers import MODELLED_CRYPTO
from bfedrec.runs.claims import RunFiles, build, told
from bfedrec.runs.folder import RunError, has_ledger
from consensus.audit import AuditFailure, AuditReport, audit
from consensus.encoding.cid import parse_cid
from consensus.storage.sqlite import SqliteStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec audit`."""
    parser.add_argument("run", metavar="RUN", type=Path, help="a run folder, or a chain.sqlite")
    parser.add_argument(
        "--head",
        metavar="CID",
        type=_cid,
        help="the head that the run printed at its end; a chain with any other head fails",
    )
    parser.set_defaults(handler=lambda parsed: audit_command(parsed.run, parsed.head))


def _cid(text: str) -> bytes:
    try:
        return parse_cid(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text[:80]!r} is not a CID as a run prints it (bafy...)"
        ) from None


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


def audited(run: Path, head: bytes | None = None) -> Audited:
    """Audit a run folder or a chain file, whose head must be ``head`` if that is given.

    Raises `consensus.storage.content.StoreError` for a file that cannot be read at all, and
    `bfedrec.runs.folder.RunError` for a run of a method that makes no chain.
    """
    path = run / "chain.sqlite" if run.is_dir() else run
    if not path.exists():
        _check_makes_chain(run)
    files = RunFiles(path.parent, head)
    try:
        with SqliteStore(path, read_only=True) as store, counted("audit") as progress:
            report = audit(store, build, progress, files.claims)
    except AuditFailure as failure:
        return Audited(path, None, str(failure), files.unchecked)
    return Audited(path, report, "", files.unchecked)


def audit_command(run: Path, head: bytes | None = None) -> int:
    """Audit and print the outcome; return 0 if all holds, else `CHECK_FAILED`, with a line on
    standard error. Raises as `audited`."""
    began = time.perf_counter()
    found = audited(run, head)
    path, report = found.path, found.report
    if report is None:
        print(f"{path}: audit failed at {found.failure}", file=sys.stderr)
        return CHECK_FAILED
    print(f"{path}: audit passed in {time.perf_counter() - began:.1f} s: {told(report)}")
    if found.unchecked:
        print(f"{path}: not checked: {found.unchecked}")
    if report.modelled:
        print(f"{path}: {MODELLED_CRYPTO}")
    return 0


def _check_makes_chain(run: Path) -> None:
    config = run / "config.yaml"
    if run.is_dir() and has_ledger(run) is False:
        raise RunError(f"{run}: was learnt without a ledger, and has no chain to audit")
    if config.is_file() and (method := load(config).method) != "federated":
        raise RunError(f"{run}: a run of method {method}, which has no chain to audit")
