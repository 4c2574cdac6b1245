"""The demo as a command, whose lines are watched while it runs, and whose servers are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[4]
SMALL = ("--count", "300", "--epochs", "2")
SERVERS = ("chain", "store", "register", "collect", "aggregate", "portal")


def command_line(pid: int) -> list[str]:
    """The command line of a process, empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return []


class Playing:
    """One run of `bfedrec merchants demo`."""

    def __init__(self, *arguments: str) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bfedrec", "merchants", "demo", *SMALL, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )

    def servers(self) -> dict[str, int]:
        """The numbers of its servers' processes, by name."""
        found = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            for pid in map(int, (task / "children").read_text().split()):
                words = command_line(pid)
                if "consensus.ethereum.embedded" in words:
                    found["chain"] = pid
                elif "bfedrec.web.portal" in words:
                    found["portal"] = pid
                elif "--target" in words:
                    found[words[words.index("--target") + 1]] = pid
        return found

    def watch(self, acts: Mapping[str, Callable[[], None]]) -> None:
        """Read its lines on standard error to the end, and act after each that ends or begins so,
        once."""
        left = dict(acts)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            for part in [part for part in left if part in line]:
                left.pop(part)()
        assert not left, (left, self.lines)

    def kill(self, *names: str) -> None:
        """End some of its servers as `kill -9` does."""
        servers = self.servers()
        for name in names:
            os.kill(servers[name], signal.SIGKILL)

    def finished(self, acts: Mapping[str, Callable[[], None]] | None = None) -> dict[str, Any]:
        """Its summary, once it has ended."""
        printed: list[str] = []
        assert self.process.stdout is not None
        reading = threading.Thread(target=lambda: printed.append(self.process.stdout.read()))  # type: ignore[union-attr]
        reading.start()
        self.watch(acts or {})
        reading.join()
        assert self.process.wait(60) == 0, self.lines
        found: dict[str, Any] = json.loads(printed[0])
        return found


def addresses(summary: Mapping[str, Any]) -> list[str]:
    """The CIDs of all models and aggregates of a summary."""
    return [
        each["cid"]
        for one in summary["rounds"]
        for each in (*one["models"].values(), one["aggregate"])
    ]
