"""Servers as processes: started again on the same port, given up, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bfedrec.merchants.demo.processes import RESTARTS, ProcessError, Processes

SERVER = """
import socket, sys, time
port = socket.socket()
port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
port.bind(("127.0.0.1", int(sys.argv[1])))
port.listen()
print(f"http://127.0.0.1:{port.getsockname()[1]}", flush=True)
time.sleep(600)
"""
SUPERVISOR = """
import sys, time
from pathlib import Path
from bfedrec.merchants.demo.processes import Processes
from tests.bfedrec.merchants.demo.test_processes import command
with Processes(Path(sys.argv[1]), print) as processes:
    processes.begin("one", command)
    processes.begin("two", command)
    processes.url("one"), processes.url("two")
    print(*processes.pids().values(), flush=True)
    time.sleep(600)
"""
ROOT = Path(__file__).resolve().parents[4]


def command(port: int) -> list[str]:
    """A server that does nothing."""
    return [sys.executable, "-c", SERVER, str(port)]


def until(true: Callable[[], bool]) -> None:
    """Wait for something, for a minute at most."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """True if no process has this number, or only one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_server_that_dies_is_back_on_its_port(tmp_path: Path) -> None:
    told: list[str] = []
    with Processes(tmp_path, told.append) as processes:
        processes.begin("one", command)
        url, first = processes.url("one"), processes.pids()["one"]
        os.kill(first, signal.SIGKILL)
        until(lambda: processes.pids()["one"] != first)
        assert processes.url("one") == url
        second = processes.pids()["one"]
        assert told == [f"one ended with signal 9; it is started again at {url}"]
        line = f"{url}\n".encode()
        until(lambda: (tmp_path / "one.out").read_bytes() == line)
    assert gone(first)
    assert gone(second)


def test_a_server_that_dies_again_and_again_is_given_up(tmp_path: Path) -> None:
    told: list[str] = []
    dying = SERVER.replace("time.sleep(600)", 'time.sleep(0.2); sys.exit("it is broken")')
    with Processes(tmp_path, told.append) as processes:
        processes.begin("two", command)
        processes.url("two")
        other = processes.pids()["two"]
        processes.begin("one", lambda port: [sys.executable, "-c", dying, str(port)])
        processes.url("one")

        with pytest.raises(ProcessError, match=f"^one died {RESTARTS + 1} times: it is broken$"):
            until(lambda: bool(processes.check()))
        until(lambda: gone(other))
    assert len(told) == RESTARTS


def test_a_server_that_does_not_start_is_told_in_one_line(tmp_path: Path) -> None:
    with Processes(tmp_path, print) as processes:
        processes.begin("one", lambda port: [sys.executable, "-c", "raise SystemExit('no port')"])
        with pytest.raises(ProcessError, match=r"one does not start \(status 1\): no port"):
            processes.url("one")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_server_outlives_whoever_started_it(tmp_path: Path, how: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    pids = [int(each) for each in process.stdout.readline().split()]
    assert len(pids) == 2
    process.send_signal(how)
    process.wait(60)
    for pid in pids:
        until(lambda pid=pid: gone(pid))  # type: ignore[misc]
