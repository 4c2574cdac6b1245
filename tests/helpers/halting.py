"""Runs in processes of their own that come to a halt at a height, however fast the machine is.

A test that interrupts or kills a run when some time has passed finds it finished on one machine and
not yet begun on another. The processes that get `halting` as their environment stop themselves.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.helpers.commands import Command

#: Code that Python imports at the start of every process that has its folder on the path.
HOOK = """
import os
import signal
import sys
import time
from pathlib import Path

from bfedrec.runs.state import RunState

height, calls, mark = os.environ["HALT_AT"].split(",", 2)
append = RunState.append
left = int(calls)


def kill(*_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)


def halting(self, state, *more):
    if int(calls) and state.height > int(height):
        os.kill(os.getpid(), signal.SIGKILL)
    append(self, state, *more)
    if state.height >= int(height):
        if int(calls):
            sys.setprofile(kill)
        else:
            Path(mark).touch()
            while True:  # a signal just before signal.pause() would be waited for without end
                time.sleep(0.05)


RunState.append = halting
"""


def halting(folder: Path, height: int, calls: int = 0) -> dict[str, str]:
    """The environment of a command whose runs halt when the state of ``height`` is on the disk.

    They wait there for a signal (`await_halt`) or, with ``calls``, kill themselves that many calls
    of Python or C functions later, at the latest before the next height's state is written.
    ``folder`` gets the files that this takes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    (folder / "halted").unlink(missing_ok=True)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "HALT_AT": f"{height},{calls},{folder / 'halted'}"}


def await_halt(folder: Path, process: subprocess.Popen[Any] | Command) -> None:
    """Wait until a run that was started with ``folder`` has halted; its process must be alive."""
    while not (folder / "halted").exists():
        assert process.poll() is None, "the run ended before it came to a halt"
        time.sleep(0.01)
