"""Torture and tests against one mutant, in a process of its own.

Standard input holds the task as JSON: ``path`` and ``text`` of the changed file, ``first`` and
``rest`` (rounds of torture as [plan, first seed, end]) and ``tests`` (files). In the order first,
tests, rest, until one finds the change. The last line of standard output is the verdict as JSON:
``killed`` ("torture", "test", "import" or "") and ``by``. Nothing is written to the tree: the
changed file is loaded in place of the one on the disk.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import signal
import sys
import tempfile
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType
from typing import Any

ROOT = Path(__file__).parents[2]
#: Seconds of processor time that a scenario may take (3 at most without a change), and all may.
SCENARIO, ALL = 40.0, 600
#: Bytes of address space.
MEMORY = 6 * 2**30


class OutOfTime(BaseException):
    """A scenario that takes too long; no handler of the tested code catches it."""


class Changed(SourceFileLoader, MetaPathFinder):
    """Loads one module from a changed text."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(path.removesuffix(".py").replace("/", "."), str(ROOT / path))
        self.text = text

    def get_code(self, fullname: str) -> CodeType:
        """The changed code."""
        return compile(self.text, self.path, "exec", dont_inherit=True)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The changed module, and nothing else."""
        return spec_from_file_location(name, self.path, loader=self) if name == self.name else None


def _stop(*_: object) -> None:
    raise OutOfTime


def torture(rounds: list[tuple[str, int, int]]) -> str:
    """Play scenarios until one violates an invariant, and tell which; "" if none does."""
    # Not by a campaign's plan: with it come the breaks, which refuse to patch what is changed.
    from consensus.protocols.registry import DEFAULT
    from consensus.torture.arena.drawing import draw
    from consensus.torture.arena.edge import draw_half, harden
    from consensus.torture.run import run

    plans = {
        "third": lambda seed: draw(seed, DEFAULT),
        "half": draw_half,
        "hard": lambda seed: harden(draw(seed, DEFAULT)),
    }
    signal.signal(signal.SIGPROF, _stop)
    for plan, begin, end in rounds:
        for seed in range(begin, end):
            signal.setitimer(signal.ITIMER_PROF, SCENARIO)
            try:
                outcome = run(plans[plan](seed))
            except OutOfTime:
                return f"{plan} {seed}: endless"
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0.0)
            if outcome.violated:
                return f"{plan} {seed}: {outcome.invariant}"
    return ""


class First:
    """The first failing test, as a plugin of pytest."""

    def __init__(self) -> None:
        self.failed = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep a failed test's name."""
        if report.failed and not self.failed:
            self.failed = report.nodeid.partition("consensus/")[2]

    def pytest_collectreport(self, report: Any) -> None:
        """Keep the name of a file that cannot even be collected."""
        self.pytest_runtest_logreport(report)


def run_tests(files: list[str]) -> str:
    """Run tests up to the first that fails, and tell which; "" if all pass."""
    import pytest

    first = First()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = scratch
        words = ["-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=no", *files]
        status = pytest.main(words, plugins=[first])
    return first.failed or ("" if status == 0 else f"status {int(status)}")


def judge(task: dict[str, Any]) -> dict[str, str]:
    """The verdict of a task."""
    sys.meta_path.insert(0, Changed(task["path"], task["text"]))
    try:
        importlib.import_module(task["path"].removesuffix(".py").replace("/", "."))
        importlib.import_module("consensus.torture.run")
    except Exception as error:
        return {"killed": "import", "by": f"{type(error).__name__}: {error}"}
    if found := torture(task["first"]):
        return {"killed": "torture", "by": found}
    if task["tests"] and (failed := run_tests(task["tests"])):
        return {"killed": "test", "by": failed}
    if found := torture(task["rest"]):
        return {"killed": "torture", "by": found}
    return {"killed": "", "by": ""}


def main() -> None:
    """Judge what standard input holds."""
    task = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CPU, (ALL, ALL))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with contextlib.redirect_stdout(sys.stderr):
        verdict = judge(task)
    print(json.dumps(verdict))


if __name__ == "__main__":
    main()
