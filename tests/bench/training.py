"""Speed of training on the CPU and on torch's devices, and its share of what a core can compute.

    python -m tests.bench.training --write               # what there is, also to docs/scaling.md
    python -m tests.bench.training --devices cpu torch --cohorts 60 600

Prints, as a table in Markdown: clients a second of cohorts at ML-1M's size by the compiled path on
all processors, by the same arithmetic in PyTorch on them, and on a GPU where there is one; one
after the other in one process, the fastest of some repetitions. Below it: the floating-point
operations a second of the compiled path on one core (its operations counted, in processor time, so
that other work on the machine does not show), and of a product of matrices there (the highest rate
that is reached in practice).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib.util import find_spec

import numpy as np

from bfedrec.learning.basis import basis
from bfedrec.learning.cohort import train_cohort
from bfedrec.learning.factorization import initial_factors
from bfedrec.learning.settings import TrainingSettings
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import LocalUpdates
from bfedrec.threads import thread_count
from tests.bench.document import put

COHORTS = (60, 600, 6000)
DEVICES = ("cpu", "torch", "cuda")
"""The compiled path, and PyTorch on the CPU and on a GPU."""
USERS, N, D, R = 6000, 3706, 64, 4
SETTINGS = TrainingSettings(local_epochs=2, user_epochs=0, negatives=4, batch_size=256)
SIDE = 1024
"""Rows of the matrices whose product shows the rate that a core can reach."""


@cache
def world() -> tuple[np.ndarray, TrainingTask]:
    """P of all users, and a round with ML-1M's spread: a mean of 164 interactions, a long tail."""
    rng = np.random.default_rng(0)
    sizes = np.clip(rng.lognormal(4.5, 1.05, USERS), 18, 2300).astype(np.int64)
    lists = [np.sort(rng.choice(N, size, replace=False)) for size in sizes]
    P, Q = initial_factors(USERS, D, 1.0, rng), initial_factors(N, D, 1.0, rng)
    indptr, indices = np.cumsum([0, *sizes]), np.concatenate(lists).astype(np.int32)
    return P, TrainingTask(Q, basis("seeded", D, R, b"bench"), indptr, indices, SETTINGS, 1)


def is_there(device: str) -> bool:
    """True if cohorts can train on a device here."""
    if device == "cpu":
        return True
    if find_spec("torch") is None:
        return False
    from bfedrec.learning.cohort_torch import device_of, is_usable

    return is_usable(device_of(device))


def training(device: str, M: int) -> Callable[[], LocalUpdates]:
    """The training of ``M`` clients on a device, once more with every call."""
    from bfedrec.learning.cohort_torch import device_of, train_cohort_on

    P, task = world()
    clients = np.arange(M)
    if device == "cpu":
        return lambda: train_cohort(task, clients, P[:M])
    return lambda: train_cohort_on(device_of(device), task, clients, P[:M])


def least(
    call: Callable[[], object], repetitions: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """The seconds of the fastest call, after one that is not counted."""
    call()
    seconds = []
    for _ in range(repetitions):
        began = clock()
        call()
        seconds.append(clock() - began)
    return min(seconds)


def operations(M: int) -> float:
    """Floating-point additions and multiplications in the training of ``M`` clients."""
    _, task = world()
    samples = task.samples(np.arange(M)) * (1 + SETTINGS.negatives) * SETTINGS.local_epochs
    steps = -(-samples // SETTINGS.batch_size)
    # A sample: its score (q p, a b), the gradients in p and B'p, the L2 term and the step of a_i.
    sample = 2 * D + 2 * R + 2 * D + 2 * R + 2 * R * R + 4 * R
    step = 2 * D * R + 2 * D * R + 4 * D  # B'p, B applied to the gradient, the step of p
    return float(samples.sum() * sample + steps.sum() * step)


def reached() -> tuple[float, float, float]:
    """Of one core, in processor time: clients a second, and operations a second of the compiled
    path and of a product of matrices."""
    import torch

    P, task = world()
    M = 120
    seconds = least(partial(train_cohort, task, np.arange(M), P[:M], 1), 10, time.thread_time)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        square = torch.ones(SIDE, SIDE)
        product = least(lambda: square @ square, 10, time.thread_time)
    finally:
        torch.set_num_threads(before)
    return M / seconds, operations(M) / seconds, 2 * SIDE**3 / product


def measured(devices: Sequence[str], cohorts: Sequence[int], repetitions: int) -> str:
    """The table, and the sentence below it, in Markdown."""
    lines = [
        f"Clients a second ({processors()}; "
        f"{', '.join(each for each in devices if not is_there(each)) or 'nothing'} lacking here):",
        "",
        "| clients a round | " + " | ".join(f"`{each}`" for each in devices) + " |",
        "| ---: |" + " ---: |" * len(devices),
    ]
    for M in cohorts:
        cells = [
            f"{M / least(training(device, M), repetitions):,.0f}" if is_there(device) else "-"
            for device in devices
        ]
        lines.append(f"| {M:,} | " + " | ".join(cells) + " |")
    clients, ours, peak = reached()
    lines += [
        "",
        f"One core trains {clients:,.0f} clients in a second of its time: {ours / 1e9:.1f} of the "
        f"{peak / 1e9:.0f} GFLOP/s that it reaches, {ours / peak:.1%}.",
    ]
    return "\n".join(lines)


def processors() -> str:
    """The number of processors, and how many other processes they run, in words."""
    return f"{thread_count()} processors, load {os.getloadavg()[0]:.1f} before"


def main() -> None:
    """Measure, and print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--devices", nargs="*", choices=DEVICES, default=DEVICES)
    options.add_argument("--cohorts", nargs="*", type=int, default=COHORTS)
    options.add_argument("--repetitions", type=int, default=5)
    options.add_argument("--write", action="store_true", help="also write it to docs/scaling.md")
    told = options.parse_args()
    text = measured(told.devices, told.cohorts, told.repetitions)
    print(text)
    if told.write:
        put("training", text)


if __name__ == "__main__":
    main()
