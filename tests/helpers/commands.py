"""`bfedrec` in a process of its own, without the seconds that its libraries take to be imported.

The process is a fork of a server that has imported the libraries and this project's modules for
runs and audits, but no plugin, and has parsed no command. All else is as in `python -m bfedrec`:
environment, folder, path, plugins, output, signals and exit status are its own. What only a new
interpreter shows (a hash seed, an ignored signal, what is imported and in which order) is for
`subprocess`.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest

from bfedrec.plugins import OWN
from bfedrec.sweeps.engines import processes

IMPORTED = ("bfedrec.runs.simulation", "bfedrec.report.curves", "bfedrec.cli.audit")
"""The slow modules of most commands, which import the libraries as well."""
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([*OWN, *IMPORTED, "pytest", __name__, "tests.helpers.loaded"])


class Command:
    """A command that was started; its interface is that of `subprocess.Popen` with pipes."""

    def __init__(
        self, *words: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        """Start `bfedrec` with these words. Folders that ``env`` adds to PYTHONPATH come first on
        the path, and a sitecustomize.py in them is run, as at the start of an interpreter."""
        self.args = [str(word) for word in words]
        self.returncode: int | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="command-")
        self._outputs = [Path(self._folder.name) / name for name in ("out", "err")]
        place = str(cwd or Path.cwd())
        given = dict(os.environ if env is None else env)
        self._process = FORKS.Process(target=_play, args=(self.args, place, given, self._outputs))
        self._process.start()
        atexit.register(self._process.kill)  # else the tests would wait for it at their end

    @property
    def pid(self) -> int:
        """The number of its process."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None as long as it runs."""
        self.returncode = self._process.exitcode
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def communicate(self) -> tuple[str, str]:
        """What it has written to standard output and error, when it has ended."""
        self._process.join()
        atexit.unregister(self._process.kill)
        self.returncode = self._process.exitcode
        output, errors = (path.read_text(encoding="utf-8") for path in self._outputs)
        self._folder.cleanup()
        return output, errors


def completed(
    *words: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """A command that has ended."""
    command = Command(*words, env=env, cwd=cwd)
    output, errors = command.communicate()
    assert command.returncode is not None
    return subprocess.CompletedProcess(command.args, command.returncode, output, errors)


def _play(words: list[str], place: str, environment: dict[str, str], outputs: list[Path]) -> None:
    gc.freeze()  # what was imported before the fork
    for number, path in enumerate(outputs, start=1):
        output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, number)
        os.close(output)
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(place)
    added = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [folder for folder in added if folder and folder not in known]
    importlib.invalidate_caches()
    for folder in added:
        custom = Path(folder) / "sitecustomize.py"
        if folder not in known and custom.is_file():
            exec(compile(custom.read_text(encoding="utf-8"), str(custom), "exec"), {})
    sys.argv[:] = ["bfedrec", *words]
    from bfedrec.cli.main import main

    sys.exit(main())


class _Child(Command):
    """A run that a sweep starts: `subprocess.Popen` as the engine `processes` calls it."""

    def __init__(
        self, command: list[str], *, env: dict[str, str], stderr: IO[bytes], **others: object
    ) -> None:
        assert command[:3] == [sys.executable, "-m", "bfedrec"]
        nothing = subprocess.DEVNULL
        assert others == {"stdin": nothing, "stdout": nothing, "start_new_session": True}
        super().__init__(*command[3:], env=env)
        self._stderr = stderr

    def poll(self) -> int | None:
        """Its exit status once what it wrote to standard error is where it was to go."""
        if self.returncode is None and super().poll() is not None:
            self._stderr.write(self.communicate()[1].encode())
            self._stderr.flush()
        return self.returncode

    def wait(self) -> int | None:
        """Its exit status when it has ended."""
        self._process.join()
        return self.poll()


def fork_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runs of a sweep be forks; they get the words and the environment that it gives."""
    stand_in = SimpleNamespace(Popen=_Child, DEVNULL=subprocess.DEVNULL)
    monkeypatch.setattr(processes, "subprocess", stand_in)
