"""A run that is killed several times and resumed, beside the same run that is not.

    python -m tests.killed_runs experiments/ml-1m-no-barrier.yaml servers.malicious=1/3 --kills 5

The run is played twice below a folder (a temporary one, or ``--out``): once to its end, and once in
processes that kill themselves (SIGKILL) at heights spread over the run, somewhere in the height
after, each going on where the one before was killed. Both must have the same chain head, summary
(but for what a clock or a path tells), curves and timeline, and the chain must pass the audit.
Printed is one line of JSON; the status is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from bfedrec.config.load import load
from bfedrec.runs.timelines import TIMELINE
from tests.bfedrec.runs.test_simulation import lasting, metrics
from tests.helpers.commands import completed
from tests.helpers.halting import halting

CALLS = 5_000
"""Calls of functions by which each kill comes later in its height than the one before."""


def main(words: list[str]) -> int:
    """Play both runs and print how they compare; the status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        told = compared(asked.config, asked.overrides, asked.kills, asked.out or Path(folder))
    print(json.dumps(told))
    return 0 if all(told["alike"].values()) and told["audited"] else 1


def compared(config: Path, overrides: list[str], kills: int, folder: Path) -> dict[str, Any]:
    """The figures of the run, and whether it is the same once killed so often."""
    rounds = load(config, overrides).rounds
    heights = [(number + 1) * rounds // (kills + 1) for number in range(kills)]
    whole, killed = folder / "whole", folder / "killed"
    completed("run", config, *overrides, "--out", whole).check_returncode()
    command = ["run", config, *overrides, "--out", killed, "--resume"]
    for number, height in enumerate(heights):
        halt = halting(folder / "halt", height, calls=1 + number * CALLS)
        ended = completed(*command, env=halt)
        if ended.returncode != -signal.SIGKILL:
            raise SystemExit(f"not killed at height {height}: {ended.stderr}")
    completed(*command).check_returncode()
    summary, again = (json.loads((run / "summary.json").read_text()) for run in (whole, killed))
    return {
        "config": str(config),
        "overrides": overrides,
        "killed_after": heights,
        "head": summary["head"],
        "simulated_seconds": summary["simulated_seconds"],
        "alike": {
            "summary": lasting(summary) == lasting(again),
            "metrics": metrics(whole) == metrics(killed),
            "timeline": (whole / TIMELINE).read_bytes() == (killed / TIMELINE).read_bytes(),
        },
        "audited": completed("audit", killed).returncode == 0,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
