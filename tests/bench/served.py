"""`bfedrec serve` in a process of its own, and what its answers take: the helper of
`test_bench_explorer` and `watched`."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench.command import ROOT

PATIENCE: Final = 60.0
"""Seconds to wait for an answer."""


class Answered(NamedTuple):
    """An answer, and what it took."""

    wall: float
    """Seconds from the request to the last byte."""
    processor: float
    """Seconds of processor time of the server's process meanwhile, in all its threads."""
    status: int
    body: bytes


class Served:
    """A server of a folder of runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise SystemExit(f"the server ended with status {process.wait()}")
        self.port = int(url.rpartition(":")[2])

    def get(self, path: str) -> Answered:
        """The answer to a GET over a new connection."""
        before, began = self.processor, time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        wall = time.perf_counter() - began
        return Answered(wall, self.processor - before, response.status, body)

    @property
    def processor(self) -> float:
        """Seconds of processor time that the server has taken so far: Linux has a clock for every
        process, whose number follows from the process' own (clock_getcpuclockid)."""
        return time.clock_gettime((~self._process.pid << 3) | 2)

    @property
    def megabytes(self) -> float:
        """The peak of its resident memory so far."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6

    def settle(self, seconds: float = 1.0) -> None:
        """Wait until it has been idle for a moment, at most so many seconds of its own time."""
        deadline = time.monotonic() + 20 * seconds
        idle = 0
        while idle < 5 and time.monotonic() < deadline:
            before = self.processor
            time.sleep(0.05)
            idle = idle + 1 if self.processor - before < 0.002 else 0


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """A server of a folder, which ends with the context."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "bfedrec", "serve", str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield Served(process)
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
