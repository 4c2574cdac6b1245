"""Servers as processes: started, watched, started again where they die, and all of them ended.

A server is a command whose first line on standard output is its URL. Where this process is killed,
the kernel kills its servers (`PR_SET_PDEATHSIG`): none is left behind.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

READY_SECONDS: Final = 120.0
"""Seconds in which a server has to tell its URL."""
POLL_SECONDS: Final = 0.05
RESTARTS, WITHIN_SECONDS = 5, 60.0
"""A server that died this often within this time is not started again: all are ended."""
LEAVING_SECONDS: Final = 10.0
"""Seconds that servers have to end in before they are killed."""
SHOWN: Final = 300
"""Characters of a server's last words that are shown."""

_PR_SET_PDEATHSIG: Final = 1

T = TypeVar("T")


class ProcessError(Exception):
    """Error: a server that does not start, or dies again and again; one line."""


@dataclass
class _Server:
    name: str
    command: Callable[[int], Sequence[str]]
    """The command line for a port."""
    environment: Mapping[str, str]
    port: int
    process: subprocess.Popen[bytes] | None = None
    url: str = ""
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=RESTARTS))


class Processes:
    """Servers that run while a ``with`` block does.

    They are in sessions of their own, so that Ctrl-C reaches this process alone, which ends them.
    All are started by one thread that lives until the end: the kernel takes the end of the thread
    that started a process for that of its parent.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        """``folder``: of what servers print; ``tell``: gets a line about each that died."""
        self._folder, self._tell = folder, tell
        self._servers: dict[str, _Server] = {}
        self._turn = threading.Condition()
        self._wanted: deque[_Server] = deque()
        self._over = False
        self._failure = ""
        self._thread = threading.Thread(target=self._watch, name="processes", daemon=True)

    def __enter__(self) -> Processes:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._turn:
            self._over = True
        self._thread.join()

    def begin(
        self,
        name: str,
        command: Callable[[int], Sequence[str]],
        environment: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        """Start a server; ``command``: its command line for a port, 0 for a free one."""
        server = _Server(name, command, environment or {}, port)
        with self._turn:
            self._servers[name] = server
            self._wanted.append(server)

    def url(self, name: str) -> str:
        """The URL of a server, once it is ready. Raises ProcessError."""
        until = time.monotonic() + READY_SECONDS
        with self._turn:
            while not self._servers[name].url:
                self._check()
                if not self._turn.wait(min(1.0, until - time.monotonic())) and (
                    time.monotonic() > until
                ):
                    raise ProcessError(f"{name} is not ready after {READY_SECONDS:.0f} s")
            return self._servers[name].url

    def check(self) -> None:
        """Raise ProcessError if a server died too often."""
        with self._turn:
            self._check()

    def pids(self) -> dict[str, int]:
        """The number of each server's process."""
        with self._turn:
            return {
                name: server.process.pid
                for name, server in self._servers.items()
                if server.process is not None
            }

    # -- the thread --------------------------------------------------------------------------------

    def _watch(self) -> None:
        try:
            while not self._over:
                with self._turn:
                    wanted = list(self._wanted)
                    self._wanted.clear()
                for server in wanted:
                    self._start(server)
                for server in list(self._servers.values()):
                    self._look(server)
                time.sleep(POLL_SECONDS)
        except OSError as error:
            self._fail(str(error))
        finally:
            self._end()

    def _start(self, server: _Server) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        out = self._folder / f"{server.name}.out"
        with out.open("wb") as printed, (self._folder / f"{server.name}.err").open("ab") as errors:
            server.process = subprocess.Popen(
                list(server.command(server.port)),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=errors,
                env={**os.environ, **server.environment},
                start_new_session=True,
                preexec_fn=_dies_with(os.getpid()),
            )

    def _look(self, server: _Server) -> None:
        if server.process is None:
            return
        if not server.url:
            with (self._folder / f"{server.name}.out").open("rb") as file:
                line = file.readline(1000)
            if line.endswith(b"\n"):
                with self._turn:
                    server.url = line.decode("ascii", "replace").strip()
                    server.port = int(server.url.rpartition(":")[2])
                    self._turn.notify_all()
        code = server.process.poll()
        if code is None:
            return
        said = f"signal {-code}" if code < 0 else f"status {code}"
        if not server.url:
            self._fail(f"{server.name} does not start ({said}): {self._last(server)}")
            return
        now = time.monotonic()
        if len(server.deaths) == RESTARTS and now - server.deaths[0] < WITHIN_SECONDS:
            self._fail(f"{server.name} died {RESTARTS + 1} times: {self._last(server)}")
            return
        server.deaths.append(now)
        self._tell(f"{server.name} ended with {said}; it is started again at {server.url}")
        self._start(server)

    def _last(self, server: _Server) -> str:
        """The last line that a server told on standard error."""
        with (self._folder / f"{server.name}.err").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            lines = file.read().decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:SHOWN]

    def _fail(self, why: str) -> None:
        with self._turn:
            if not self._failure:
                self._failure = why
            self._over = True
            self._turn.notify_all()

    def _check(self) -> None:
        if self._failure:
            raise ProcessError(self._failure)

    def _end(self) -> None:
        running = [each.process for each in self._servers.values() if each.process is not None]
        for process in running:
            process.terminate()
        until = time.monotonic() + LEAVING_SECONDS
        for process in running:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _dies_with(parent: int) -> Callable[[], None]:
    """A function for a new process to call first: has it killed with its parent."""
    if not sys.platform.startswith("linux"):
        return lambda: None
    library = ctypes.CDLL(None)

    def ask() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before it was asked
            os._exit(1)

    return ask
