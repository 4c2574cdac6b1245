"""Times a sweep of small runs on a cluster of two nodes and in two processes, in pairs.

    python -m tests.bench.engines --pairs 3
    python -m tests.bench.engines --pairs 3 --rounds 40 --runs 20

The nodes are on loopback, with a processor each, and are started before. A pair makes the same
sweep by either engine, in turns which goes first; the time is that of the whole command, with
joining the cluster. Told are the median of the ratios (cluster to processes) and all of them, and
whether both made the same blocks.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from bfedrec.sweeps.recorded import read
from tests.bench.paired import interval
from tests.helpers.ray_cluster import ADDRESS, RayCluster
from tests.helpers.tiny import TINY

ENGINES = {
    "ray": ("--engine", f"ray://{ADDRESS}"),
    "processes": ("--engine", "processes", "--jobs", "2"),
}


def play(cluster: RayCluster, engine: str, options: argparse.Namespace) -> tuple[float, object]:
    """The seconds that an engine takes for the sweep, and the heads of its runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tiny.yaml").write_text(f"rounds: {options.rounds}\n{TINY}", encoding="utf-8")
        words = ["sweep", folder / "tiny.yaml", "--seeds", f"0-{options.runs - 1}"]
        words += ["--out", folder / "runs", "--record", folder / "kept", "--compact"]
        began = time.perf_counter()
        command = cluster.command(*words, *ENGINES[engine])
        output, errors = command.communicate()
        seconds = time.perf_counter() - began
        if command.returncode:
            raise SystemExit(f"the sweep failed by {engine}:\n{output[-1000:]}{errors[-1000:]}")
        return seconds, {run.config.seed: run.summary["head"] for run in read(folder / "kept")}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3, help="default: 3")
    parser.add_argument("--runs", type=int, default=20, help="default: 20")
    parser.add_argument("--rounds", type=int, default=40, help="of each run (default: 40)")
    options = parser.parse_args()
    cluster = RayCluster(os.environ)
    try:
        ratios = []
        for pair in range(options.pairs):
            order = list(ENGINES)[:: 1 if pair % 2 == 0 else -1]
            found = {engine: play(cluster, engine, options) for engine in order}
            (ray, heads), (processes, expected) = found["ray"], found["processes"]
            ratios.append(ray / processes)
            same = "the same blocks" if heads == expected else "OTHER BLOCKS"
            print(f"pair {pair + 1}: {ray:.1f} s to {processes:.1f} s, {same}", flush=True)
    finally:
        cluster.stop()
    bounds = interval(ratios)
    told = f" [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else ""
    print(f"wall clock: median ratio {statistics.median(ratios):.3f}{told}")


if __name__ == "__main__":
    main()
