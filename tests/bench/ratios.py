"""Comparison of the core benchmarks with a recorded baseline (`make bench`, `make baseline`).

    python -m tests.bench.ratios [--write] [--passes N] [--baseline FILE]

What is compared are ratios to the calibration kernel (tests/bench/measuring.py), so a baseline of
one machine says something on another, too. A benchmark's ratio is the median of several passes,
each in a process of its own; how far these lie apart, then and now, gives the margin beyond which
it counts as slower or faster. What seems slower is measured again, and is told only if the new
passes alone confirm it. The exit status is 1 if anything is slower, 2 without a readable baseline.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, stdev
from typing import Final

from bfedrec.files import write_text
from bfedrec.runs.manifest import machine, versions
from tests.bench.command import ROOT
from tests.bench.kernel import digest

BASELINE: Final = Path(__file__).with_name("baseline.json")
PASSES: Final = 5
BASELINE_PASSES: Final = 15
LEAST_MARGIN: Final = 0.08
"""No smaller change is told, however quiet the machine was."""
DEVIATIONS: Final = 4.0
"""A change is told if it exceeds so many standard errors of the difference of the medians."""

Passes = Mapping[str, Sequence[float]]
"""The ratio of each pass, by benchmark."""
Measure = Callable[[Collection[str], int], dict[str, list[float]]]
"""Measures benchmarks of these names (none: all) in so many passes."""


class BadBaseline(ValueError):
    """Error: a baseline that cannot be read, or compared with."""


@dataclass(frozen=True)
class Baseline:
    """A recorded baseline."""

    passes: Passes
    measured_with: Mapping[str, str | None]
    """The processor, and the version of each package; None: not installed."""

    def told(self) -> list[str]:
        """A line for each that is another one here."""
        here = measured_with()
        return [
            f"{name}: {then or 'none'} in the baseline, {here.get(name) or 'none'} here"
            for name, then in self.measured_with.items()
            if then != here.get(name)
        ]


def measured_with() -> dict[str, str | None]:
    """The processor of this machine and the versions of packages, as a baseline tells them."""
    return {"processor": machine()["cpu"], **versions()}


@dataclass(frozen=True)
class Comparison:
    """A benchmark, then and now."""

    name: str
    then: float
    """Median ratio of the baseline's passes."""
    now: float
    margin: float
    """Relative change that noise explains."""

    @property
    def change(self) -> float:
        """Relative change of the time: 0.5 for half as long again."""
        return self.now / self.then - 1

    @property
    def verdict(self) -> str:
        """ "slower", "faster" or nothing."""
        if self.now > self.then * (1 + self.margin):
            return "slower"
        return "faster" if self.then > self.now * (1 + self.margin) else ""


def spread(passes: Sequence[float]) -> float:
    """Standard deviation of the logarithms of the passes' ratios; 0 for a single pass."""
    return stdev(map(math.log, passes)) if len(passes) > 1 else 0.0


def compared(name: str, then: Sequence[float], now: Sequence[float]) -> Comparison:
    """Compare a benchmark's passes. A median's variance is about pi/2 times that of a mean."""
    variance = sum(spread(passes) ** 2 / len(passes) for passes in (then, now))
    error = math.sqrt(variance * math.pi / 2)
    return Comparison(
        name, median(then), median(now), max(LEAST_MARGIN, math.expm1(DEVIATIONS * error))
    )


def compare(then: Passes, measure: Measure, passes: int) -> list[Comparison]:
    """Measure all benchmarks and compare those that the baseline has; what seems slower is
    measured again, and the later passes decide."""
    now = measure((), passes)
    found = {name: compared(name, then[name], now[name]) for name in then if name in now}
    suspects = [name for name, each in found.items() if each.verdict == "slower"]
    if suspects:
        again = measure(suspects, passes)
        found |= {name: compared(name, then[name], again[name]) for name in suspects}
    return [found.get(name) or compared(name, now[name], now[name]) for name in now]


# -- the file -------------------------------------------------------------------------------------


def read_baseline(path: Path) -> Baseline:
    """Read a baseline. Raises BadBaseline."""
    try:
        node = json.loads(path.read_text(encoding="utf-8"))
        kernel = node["kernel"]
        told = {"processor": node["machine"]["cpu"], **node["versions"]}
        found = {name: list(each["passes"]) for name, each in node["benchmarks"].items()}
    except OSError as error:
        raise BadBaseline(f"{path}: {error.strerror}: make baseline writes one") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadBaseline(f"{path}: not a baseline: make baseline writes one") from None
    for name, passes in found.items():
        if not passes or not all(type(one) is float and 0 < one < 1e9 for one in passes):
            raise BadBaseline(f"{path}: {name[:80]}: expected the ratios of passes")
    if kernel != digest():
        raise BadBaseline(f"{path}: measured beside another kernel: make baseline writes a new one")
    return Baseline(found, {str(name): value and str(value) for name, value in told.items()})


def write_baseline(path: Path, passes: Passes) -> None:
    """Write a baseline: the machine, versions, and each benchmark's median ratio, its spread
    (`spread`) and its passes."""
    node = {
        "kernel": digest(),
        "machine": machine(),
        "versions": versions(),
        "benchmarks": {
            name: {
                "ratio": float(f"{median(each):.5g}"),
                "spread": round(spread(each), 4),
                "passes": [float(f"{one:.5g}") for one in each],
            }
            for name, each in passes.items()
        },
    }
    write_text(path, json.dumps(node, indent=1) + "\n")


# -- the command ----------------------------------------------------------------------------------


def measured(names: Collection[str], passes: int) -> dict[str, list[float]]:
    """The ratios of benchmarks (none named: of all) in so many passes, one process after the
    other. Raises SystemExit if one fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
    found: dict[str, list[float]] = {}
    for number in range(1, passes + 1):
        print(f"pass {number} of {passes} ...", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.measuring", *names],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no word"])[-1]
            raise SystemExit(f"bench: a benchmark failed: {last}")
        for name, ratio in json.loads(done.stdout).items():
            found.setdefault(name, []).append(ratio)
    return found


def told(then: Passes, found: Sequence[Comparison]) -> str:
    """The comparison as a table, what got slower first, and what is in one of the two alone."""
    order = ("slower", "faster", "")
    rows = sorted(
        (each for each in found if each.name in then),
        key=lambda each: (order.index(each.verdict), -abs(each.change)),
    )
    lines = [f"{'benchmark':<48}{'then':>11}{'now':>11}{'change':>9}{'margin':>9}"]
    lines += [
        f"{each.name:<48}{each.then:>11.4g}{each.now:>11.4g}{each.change:>+9.1%}"
        f"{each.margin:>9.1%}  {each.verdict}".rstrip()
        for each in rows
    ]
    here = {each.name for each in found}
    lines += [f"{name}: in the baseline, and measured no more" for name in then if name not in here]
    lines += [
        f"{each.name}: new, {each.now:.4g}; make baseline adds it"
        for each in found
        if each.name not in then
    ]
    count = {kind: sum(each.verdict == kind for each in rows) for kind in order}
    lines.append(f"{count['slower']} slower, {count['faster']} faster, {count['']} as before")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None, measure: Measure = measured) -> int:
    """Compare, or write a baseline; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write a baseline instead")
    parser.add_argument("--passes", type=int, help=f"default: {PASSES}, to write {BASELINE_PASSES}")
    parser.add_argument("--baseline", type=Path, default=BASELINE, help="default: %(default)s")
    options = parser.parse_args(words)
    if options.passes is not None and options.passes < 2:
        parser.error(f"--passes {options.passes}: expected at least 2, or there is no spread")
    if options.write:
        write_baseline(options.baseline, measure((), options.passes or BASELINE_PASSES))
        print(options.baseline)
        return 0
    try:
        baseline = read_baseline(options.baseline)
    except BadBaseline as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    found = compare(baseline.passes, measure, options.passes or PASSES)
    print("\n".join([*baseline.told(), told(baseline.passes, found)]))
    return int(any(each.verdict == "slower" for each in found))


if __name__ == "__main__":
    sys.exit(main())
