"""One mutant's task: the tests that may find it, and the process that judges it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
#: Tests that take long: they come last.
LONG = ("model", "plots", "promises", "capture_odds")
#: Seconds that one mutant may take by the clock.
PATIENCE = 3600.0


def files_for(path: str) -> list[str]:
    """Files of tests for a source file: those named after it, and what takes long last."""
    folder = ROOT / "tests/consensus"
    room = "ledger" if path.startswith("consensus/ledger/") else "server"
    wanted = (f"{room}/test_*.py", "protocols/test_bft_*.py", "protocols/test_third_protocol.py")
    found = [file for pattern in wanted for file in sorted(folder.glob(pattern))]
    stem = Path(path).stem

    def rank(file: Path) -> tuple[bool, bool]:
        return stem not in file.stem, file.stem.endswith(LONG)

    return [str(file) for file in sorted(found, key=rank)]


def judged(task: dict[str, Any]) -> dict[str, Any]:
    """The verdict of a task; what the process dies of is a verdict, too."""
    before = os.times()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutation.judging"],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=PATIENCE,
        check=False,
    )
    after = os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    if done.returncode < 0:
        verdict = {"killed": "timeout", "by": f"signal {-done.returncode}"}
    elif done.returncode:
        verdict = {"killed": "crash", "by": (done.stderr.strip().splitlines() or ["?"])[-1][:200]}
    else:
        verdict = json.loads(done.stdout.splitlines()[-1])
    return {**verdict, "cpu": round(cpu, 1)}
