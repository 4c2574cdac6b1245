"""Processes of this machine that call functions: each makes units until it is stopped."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from bfedrec.plugins import load_plugins
from consensus.storage.closing import Closing
from consensus.workers import TRIES, Lost, Unit


@dataclass
class _Tried:
    """A unit, and the number of processes that died of it."""

    unit: Unit
    deaths: int = 0


@dataclass
class _Caller:
    """A process, and this end of the pipe to it."""

    process: BaseProcess
    pipe: Connection

    @classmethod
    def start(cls) -> _Caller:
        # Started anew and not forked: compiled kernels' threads do not outlive a fork.
        context = multiprocessing.get_context("spawn")
        pipe, end = context.Pipe()
        process = context.Process(target=_serve, args=(end,), daemon=True)
        process.start()
        end.close()
        return cls(process, pipe)

    def stop(self) -> int | None:
        """End the process if it has not ended; return its exit status."""
        self.process.terminate()
        self.process.join()
        self.pipe.close()
        return self.process.exitcode


class Callers(Closing):
    """Workers that are processes of this machine; one that dies is replaced."""

    def __init__(self, at_once: int) -> None:
        """Processes are started when there are units for them, at most `at_once`."""
        self.at_once = at_once
        self._waiting: deque[_Tried] = deque()
        self._busy: list[tuple[_Caller, _Tried]] = []
        self._idle: list[_Caller] = []
        self._raised: deque[Exception] = deque()
        """Exceptions of units, for calls of `ended` that have no results to give."""

    def submit(self, unit: Unit) -> None:
        """Have a unit made as soon as a process is free."""
        self._waiting.append(_Tried(unit))
        self._fill()

    def ended(self) -> Sequence[Any]:
        """The results of units that have ended, as `consensus.workers.Workers.ended`."""
        results: list[Any] = []
        while not (results or self._raised):
            self._fill()
            if not self._busy:
                break
            ready = wait([caller.pipe for caller, _ in self._busy])
            for caller, tried in [each for each in self._busy if each[0].pipe in ready]:
                self._busy.remove((caller, tried))
                results += self._result(caller, tried)
        if self._raised and not results:
            raise self._raised.popleft()
        self._fill()
        return results

    def close(self) -> None:
        """End all processes, whatever they are at."""
        callers = [*self._idle, *(caller for caller, _ in self._busy)]
        for caller in callers:
            caller.process.terminate()
        for caller in callers:
            caller.stop()
        self._idle, self._busy = [], []
        self._waiting.clear()

    def _fill(self) -> None:
        while self._waiting and len(self._busy) < self.at_once:
            caller = self._idle.pop() if self._idle else _Caller.start()
            tried = self._waiting.popleft()
            try:
                caller.pipe.send(tried.unit)
            except BrokenPipeError:  # it died while it was idle
                caller.stop()
                self._waiting.appendleft(tried)
            else:
                self._busy.append((caller, tried))

    def _result(self, caller: _Caller, tried: _Tried) -> list[Any]:
        """The result of a unit in a list; an empty one where it raised, or is tried again."""
        try:
            sound, result = caller.pipe.recv()
        except (EOFError, ConnectionResetError):
            caller.process.join()
            status = caller.stop()
            tried.deaths += 1
            if tried.deaths < TRIES:
                self._waiting.appendleft(tried)
                return []
            told = f"its process died {TRIES} times, the last time with status {status}"
            return [Lost(tried.unit.label, told)]
        self._idle.append(caller)
        if not sound:
            self._raised.append(result)
            return []
        return [result]


def _serve(pipe: Connection) -> None:
    """Make units as they come; a terminal's Ctrl-C is for the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load_plugins()
    while True:
        try:
            unit: Unit = pipe.recv()
        except EOFError:
            return
        try:
            answer = True, unit.call()
        except Exception as error:
            error.add_note(f"in a worker, {unit.label}:\n{traceback.format_exc()}")
            answer = False, error
        pipe.send(answer)
