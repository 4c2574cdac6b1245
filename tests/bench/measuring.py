"""One pass over the core benchmarks, in a process of its own, which prints its times as JSON.

    python -m tests.bench.measuring [NAME ...]

Times are processor time of the whole process: waiting for a processor, which other work on the
machine decides, is none. (What is lost or won by working at once on two processors is not seen;
`make paired` shows that.) Between any two calls of a benchmark the calibration kernel is timed
(tests/bench/kernel.py), and the result of a call is its time divided by the mean of the kernel's
before and after: what slows the machine down for a second slows both.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from statistics import mean, median

from tests.bench.kernel import kernel

SAMPLES = 5
LEAST_SECONDS = 0.03
"""A sample repeats a short work until it takes about this long."""

Clock = Callable[[], float]


def seconds(work: Callable[[], object], times: int = 1, clock: Clock = time.process_time) -> float:
    """Processor seconds of one call of ``work``, the mean over ``times`` calls."""
    began = clock()
    for _ in range(times):
        work()
    return (clock() - began) / times


def sampled(
    work: Callable[[], object],
    beside: Callable[[], object] = kernel,
    samples: int = SAMPLES,
    clock: Clock = time.process_time,
) -> tuple[float, float]:
    """The median ratio of ``work`` to the work ``beside`` it, and its median seconds."""
    seconds(work, clock=clock)  # compiles, and fills caches
    times = max(1, round(LEAST_SECONDS / max(seconds(work, clock=clock), 1e-9)))
    ratios, taken = [], []
    before = seconds(beside, 2, clock)
    for _ in range(samples):
        taken.append(seconds(work, times, clock))
        after = seconds(beside, 2, clock)
        ratios.append(taken[-1] / mean((before, after)))
        before = after
    return median(ratios), median(taken)


def main(names: Sequence[str]) -> None:
    """Measure the benchmarks of these names, or all, and print {name: ratio}, and the seconds on
    standard error."""
    from tests.bench.core import CORE

    kernel()
    found = {}
    for name in names or CORE:
        work = CORE[name]()
        gc.collect()
        gc.disable()
        found[name], taken = sampled(work)
        gc.enable()
        print(f"{name:<48}{found[name]:>9.3f}{1e3 * taken:>11.3f} ms", file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
