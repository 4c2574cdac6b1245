"""Times one command in this tree and in another of the same project, in pairs.

    git clone . ../before && git -C ../before checkout 951fab8
    python -m tests.bench.paired --against ../before --pairs 9 run experiments/quickstart.yaml
    python -m tests.bench.paired --against ../before --pairs 5 run experiments/ml-1m.yaml rounds=100
    python -m tests.bench.paired --against ../before --theirs "run experiments/ml-1m.yaml" \\
        run experiments/ml-1m-ials.yaml

The words after the options are a `bfedrec` command; `run` writes to a folder that is deleted. Each
pair plays the command once in either tree (in the other one that of ``--theirs``, if it is given),
one after the other, in turns which goes first; a first play of both, which is not counted, compiles
them. Told are, of wall-clock time and of processor
time (user and system), the median of the pairs' ratios (this tree to the other), the interval that
holds the true median with at least 95 % by the sign test where there are six pairs or more, and all
ratios. Other work on the machine shows in the wall clock more than in processor time.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import tempfile
from collections.abc import Callable
from math import comb
from pathlib import Path
from typing import TypeVar

from tests.bench.command import ROOT, Ended, played

T = TypeVar("T")


def play(tree: Path, words: list[str]) -> Ended:
    """Play a command of a tree. Ends the program with a message where the command fails."""
    with tempfile.TemporaryDirectory() as folder:
        more = ["--out", f"{folder}/run"] if words[0] == "run" else []
        ended = played([*words, *more], tree)
    if ended.status:
        raise SystemExit(f"{' '.join(words)} failed in {tree}:\n{ended.said[-2000:]}")
    return ended


def interval(ratios: list[float]) -> tuple[float, float] | None:
    """The narrowest pair of order statistics between which the median lies with 95 % or more."""
    ordered, n = sorted(ratios), len(ratios)
    found = None
    for low in range(n // 2):
        outside = 2 * sum(comb(n, k) for k in range(low + 1)) / 2**n
        if outside <= 0.05:
            found = ordered[low], ordered[n - 1 - low]
    return found


def compare(kinds: tuple[T, T], play: Callable[[T], Ended], pairs: int) -> None:
    """Play one kind and the other in turns, and print each pair's times, the medians of their
    ratios (first to second) and the intervals of these."""
    ratios: list[tuple[float, float]] = []
    for pair in range(pairs):
        order = kinds if pair % 2 == 0 else kinds[::-1]
        times = {kind: play(kind) for kind in order}
        ours, theirs = times[kinds[0]], times[kinds[1]]
        ratios.append((ours.wall / theirs.wall, ours.processor / theirs.processor))
        print(
            f"pair {pair + 1}: {ours.wall:.2f} s to {theirs.wall:.2f} s, "
            f"of processors {ours.processor:.2f} s to {theirs.processor:.2f} s",
            flush=True,
        )
    for name, column in zip(("wall clock", "processors"), zip(*ratios, strict=True), strict=True):
        bounds = interval(list(column))
        told = f" [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else ""
        print(f"{name}: median ratio {statistics.median(column):.3f}{told}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--against", type=Path, required=True, help="the other tree's folder")
    parser.add_argument("--pairs", type=int, default=7, help="default: 7")
    parser.add_argument("--theirs", help="the command of the other tree, if not the same")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="a command of bfedrec")
    options = parser.parse_args()
    words = options.words or ["run", "experiments/quickstart.yaml"]
    theirs = words if options.theirs is None else shlex.split(options.theirs)
    trees = (ROOT, options.against.resolve())
    commands = dict(zip(trees, (words, theirs), strict=True))
    for tree in trees:
        play(tree, commands[tree])
    compare(trees, lambda tree: play(tree, commands[tree]), options.pairs)


if __name__ == "__main__":
    main()
