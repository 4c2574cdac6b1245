"""`bfedrec audit RUN`: re-verify a run's chain and report the result."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from bfedrec.cli.bar import counted
from bfedrec.cli.status import CHECK_FAILED
from bfedrec.config.load import load
from bfedrec.config.servers import MODELLED_CRYPTO
from bfedrec.runs.claims import RunFiles, build, told
from bfedrec.runs.folder import RunError, has_ledger
from consensus.audit import AuditFailure, audit
from consensus.encoding.cid import parse_cid
from consensus.storage.sqlite import SqliteStore

__all__ = ["add_arguments", "audit_command", "build"]


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


def audit_command(run: Path, head: bytes | None = None) -> int:
    """Audit a run folder or a chain file, whose head must be ``head`` if that is given; return 0 if
    all holds, else `CHECK_FAILED`, with a line on standard error.

    Raises `consensus.storage.content.StoreError` for a file that cannot be read at all, and
    `bfedrec.runs.folder.RunError` for a run of a method that makes no chain.
    """
    path = run / "chain.sqlite" if run.is_dir() else run
    if not path.exists():
        _check_makes_chain(run)
    files = RunFiles(path.parent, head)
    began = time.perf_counter()
    try:
        with SqliteStore(path, read_only=True) as store, counted("audit") as progress:
            report = audit(store, build, progress, files.claims)
    except AuditFailure as failure:
        print(f"{path}: audit failed at {failure}", file=sys.stderr)
        return CHECK_FAILED
    print(f"{path}: audit passed in {time.perf_counter() - began:.1f} s: {told(report)}")
    if files.unchecked:
        print(f"{path}: not checked: {files.unchecked}")
    if report.modelled:
        print(f"{path}: {MODELLED_CRYPTO}")
    return 0


def _check_makes_chain(run: Path) -> None:
    config = run / "config.yaml"
    if run.is_dir() and has_ledger(run) is False:
        raise RunError(f"{run}: was learnt without a ledger, and has no chain to audit")
    if config.is_file() and (method := load(config).method) != "federated":
        raise RunError(f"{run}: a run of method {method}, which has no chain to audit")
