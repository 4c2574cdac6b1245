"""A run that is killed several times and resumed, beside the same run that is not.

    python -m tests.killed_runs experiments/ml-1m-no-barrier.yaml servers.malicious=1/3 --kills 5

The run is played twice below a folder (a temporary one, or ``--out``): once to its end, and once in
processes that kill themselves (SIGKILL) at heights spread over the run, somewhere in the height
after, each going on where the one before was killed. Both must have the same chain head, summary
(but for what a clock or a path tells), curves and timeline, and the chain must pass the audit; else
the command fails by what differs. Printed are what the audit says and a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bfedrec.config.load import load
from tests.bfedrec.runs.test_simulation import assert_alike, resume_killed
from tests.helpers.commands import completed

CALLS = 5_000
"""Calls of functions by which each kill comes later in its height than the one before."""


def main(words: list[str]) -> None:
    """Play both runs and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        told = compared(asked.config, asked.overrides, asked.kills, asked.out or Path(folder))
    print(json.dumps(told))


def compared(config: Path, overrides: list[str], kills: int, folder: Path) -> dict[str, Any]:
    """What the run comes to; AssertionError where it is another once killed so often."""
    rounds, whole, killed = load(config, overrides).rounds, folder / "whole", folder / "killed"
    heights = [(number + 1) * rounds // (kills + 1) for number in range(kills)]
    command = ["run", config, *overrides]
    completed(*command, "--out", whole).check_returncode()
    calls = {height: 1 + number * CALLS for number, height in enumerate(heights)}
    resume_killed(command, killed, calls)
    assert_alike(killed, whole)
    summary = json.loads((whole / "summary.json").read_text())
    told = {key: summary[key] for key in ("head", "hr@10", "simulated_seconds")}
    return {"config": str(config), "overrides": overrides, "killed_after": heights, **told}


if __name__ == "__main__":
    main(sys.argv[1:])
