"""`bfedrec audit RUN`: re-verify a run's chain and report the result."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from bfedrec.cli.bar import counted
from bfedrec.cli.status import CHECK_FAILED
from bfedrec.config.servers import MODELLED_CRYPTO
from bfedrec.runs.auditing import audited
from bfedrec.runs.claims import told
from consensus.encoding.cid import parse_cid


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
    """Audit and print the outcome; return 0 if all holds, else `CHECK_FAILED`, with a line on
    standard error. Raises as `audited`."""
    began = time.perf_counter()
    with counted("audit") as tell:
        found = audited(run, head, tell)
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
