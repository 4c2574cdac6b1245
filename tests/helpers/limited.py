"""A command or a function in a process of its own that may not use much more memory or time."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bfedrec.cli.main import main

MORE = 200 * 2**20
"""Bytes that the process may take beyond those that it has at its start."""
PATIENCE = 120.0
"""Seconds after which it is stopped: hundreds of times what any of them needs."""


class Ended(NamedTuple):
    """The end of a process."""

    status: int
    out: str
    """All that it wrote, on standard output and standard error."""

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def limited(work: Callable[[], int]) -> Ended:
    """Call ``work`` in a copy of this process, and return its result as the status.

    An exception that leaves it is written with its traceback, with the status 99.
    """
    with tempfile.TemporaryFile() as output, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking: the copy has no threads
        process = os.fork()
        if process == 0:
            _work(work, output.fileno())
        ends = time.monotonic() + PATIENCE
        while True:
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                break
            if time.monotonic() > ends:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                raise AssertionError(f"not done after {PATIENCE} seconds")
            time.sleep(0.005)
        output.seek(0)
        return Ended(os.waitstatus_to_exitcode(status), output.read().decode(errors="replace"))


def command(*words: object) -> Ended:
    """A `bfedrec` command, as `limited`."""
    return limited(lambda: main([str(word) for word in words]))


def _work(work: Callable[[], int], output: int) -> None:
    status = 99
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + MORE
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def explored(test: Callable[[], None]) -> Ended:
    """A property's examples, all in one process, as `limited`; the status is 0 if it holds."""

    def work() -> int:
        test()
        return 0

    return limited(work)
