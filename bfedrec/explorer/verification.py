"""Verification of a chain, or of one block, beside a run that may go on; in a process of its own.

The whole chain is verified as `bfedrec audit` does it, by the same steps
(`consensus.audit.ChainAudit`) and the same claims of the files beside it, up to the head of the
moment at which it begins. One block is verified as such a step, from the state that the blocks
below lead to: their aggregates are applied from the latest snapshot on, and the draws that seated
its committee are checked; the blocks below are else taken as they are.

    python -m bfedrec.explorer.verification CHAIN [HEIGHT]

prints lines of JSON: `Progress`, and at last an `Outcome`. A process that nobody waits for any more
ends.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypeVar

from bfedrec.explorer.chain import RunChain, block_at
from bfedrec.explorer.moves import model_at, snapshot_below, steps
from bfedrec.plugins import load_plugins
from bfedrec.runs.claims import RunFiles, build, told
from bfedrec.runs.folder import RunError
from consensus.audit import AuditFailure, AuditReport, ChainAudit
from consensus.encoding.cid import cid_text
from consensus.ledger.validity import InvalidBlock
from consensus.protocols.registry import protocol_of
from consensus.storage.content import Busy, StoreError
from consensus.storage.live import LiveChain, read_live

T = TypeVar("T")

TELL_SECONDS: Final = 0.2
"""Seconds between two lines of progress."""
TRIES: Final = 12
BATCH: Final = 200
"""Blocks of content that are checked in one moment of the file."""
AGGREGATES: Final = 20
"""Aggregates that are read in one moment of the file."""


@dataclass(frozen=True)
class Progress:
    """How far a verification has come."""

    done: int
    total: int
    what: str = "heights"
    """``heights``, ``aggregates`` or ``blocks of content``."""


@dataclass(frozen=True)
class Outcome:
    """The end of a verification."""

    passed: bool
    told: str
    """What was checked, or the first thing that is wrong; one line."""
    unchecked: str = ""
    """What was not checked, and why; empty if all was."""
    modelled: bool = False
    """True if signatures and proofs show nothing."""
    seconds: float = 0.0


Tell = Callable[[Progress], None]


def verify(path: Path, height: int | None, tell: Tell = lambda progress: None) -> Outcome:
    """Verify a chain's file, or one block of it, and say what was checked or is wrong."""
    began = time.perf_counter()
    try:
        found = _whole(path, tell) if height is None else _block(path, height, tell)
    except AuditFailure as failure:
        found = Outcome(False, str(failure))
    except (RunError, StoreError, ValueError) as error:
        found = Outcome(False, f"cannot be verified: {error}")
    line = " ".join(found.told.split())[:500]
    seconds = time.perf_counter() - began
    return Outcome(found.passed, line, found.unchecked, found.modelled, seconds)


def patient(path: Path, step: Callable[[LiveChain], T]) -> T:
    """What a step finds in one moment of the chain; it is taken again where the writer is in the
    way, and raises `Busy` only after many tries."""

    def once(chain: LiveChain) -> T:
        try:
            return step(chain)
        except AuditFailure as failure:
            if isinstance(failure.__cause__, Busy):
                raise failure.__cause__ from None
            raise

    return read_live(path, once, TRIES)


def _whole(path: Path, tell: Tell) -> Outcome:
    files = RunFiles(path.parent, None)

    def begin(chain: LiveChain) -> ChainAudit:
        return ChainAudit.begin(chain, build, files.claims)

    try:
        audit = patient(path, begin)
    except AuditFailure:
        # The run may have ended, or its folder have changed, between the chain's moment and that of
        # the files beside it.
        audit = patient(path, begin)
    for height in range(1, audit.last + 1):
        patient(path, audit.next)
        tell(Progress(height, audit.last))
    audit.end()
    cids = patient(path, lambda chain: chain.cids())
    for place in range(0, len(cids), BATCH):
        batch = cids[place : place + BATCH]
        # Payloads that left the window since are no longer there.
        patient(
            path,
            lambda chain, batch=batch: audit.contents(  # type: ignore[misc]
                chain, [cid for cid in batch if chain.has(cid)]
            ),
        )
        tell(Progress(min(place + BATCH, len(cids)), len(cids), "blocks of content"))
    report = audit.report
    if report.run is None:
        raise AuditFailure(0, "it names no run: neither a config nor what is kept of the updates")
    return Outcome(True, told(report), files.unchecked, report.modelled)


def _block(path: Path, height: int, tell: Tell) -> Outcome:
    run = RunChain(path)

    def seated(chain: LiveChain) -> int:
        """Check the draws that seated the committee, where the block before carries them."""
        genesis = run.genesis(chain)
        protocol = protocol_of(genesis)
        drawn_for, _ = protocol.drawn_from(run.bare_head(chain, height - 1))
        if height == 1 or drawn_for == height:
            return 0  # public hashes, or checked with the block
        below, block = run.head(chain, height - 2), block_at(chain, height - 1)
        try:
            return len(protocol.check_draws(genesis, below, block.header, block.tickets))
        except InvalidBlock as error:
            raise AuditFailure(height - 1, str(error)) from error

    def begin(chain: LiveChain) -> tuple[int, ChainAudit]:
        genesis, last = run.genesis(chain), chain.last_height()
        if not 1 <= height <= last:
            raise AuditFailure(height, f"there is no such block: the chain has 1 to {last}")
        head, start = run.head(chain, height - 1), snapshot_below(run, chain, height - 1)
        model = model_at(chain, genesis, start)
        report = AuditReport(run=genesis.run, modelled=genesis.parameters.crypto == "modelled")
        protocol = protocol_of(genesis)
        return start, ChainAudit(genesis, protocol, model, head, height, report, [], b"")

    start, audit = patient(path, begin)
    for first in range(start, height - 1, AGGREGATES):
        last = min(first + AGGREGATES, height - 1)
        found = patient(
            path,
            lambda chain, first=first, last=last: list(  # type: ignore[misc]
                steps(run, chain, first, last)
            ),
        )
        for step in found:
            audit.application.commit(*step)
        tell(Progress(last - start, height - 1 - start, "aggregates"))
    draws = patient(path, seated)
    patient(path, audit.next)
    report = audit.report
    kept = "its aggregate recomputed" if report.aggregates else "its updates are not kept"
    said = (
        f"height {height}: header, parent and timestamp, {report.proofs + draws} VRF proofs, "
        f"{report.signatures} signatures, the threshold, the aggregate by its address ({kept}); "
        f"header {cid_text(audit.head.cid)}"
    )
    below = "the blocks below were taken as they are; verify the whole chain for them"
    return Outcome(True, said, below, report.modelled)


def main(arguments: list[str]) -> int:
    """Verify as the command line asks, and print lines of JSON."""
    parent, latest = os.getppid(), 0.0

    def tell(progress: Progress) -> None:
        nonlocal latest
        if os.getppid() != parent:
            raise SystemExit(1)
        now = time.monotonic()
        if now - latest >= TELL_SECONDS or progress.done == progress.total:
            latest = now
            print(json.dumps(asdict(progress)), flush=True)

    load_plugins()
    height = int(arguments[1]) if len(arguments) > 1 else None
    print(json.dumps({"outcome": asdict(verify(Path(arguments[0]), height, tell))}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
