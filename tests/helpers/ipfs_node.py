"""A real IPFS node (js-ipfs) on loopback, offline: installed once, started and stopped by tests; or
by hand: `make ipfs` prints its address and serves until Ctrl-C, and nothing of it is kept."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.helpers import npm
from tests.helpers.npm import Unavailable

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tests" / "helpers" / "ipfs_node" / "package.json"
INSTALLED = ROOT / ".cache" / "ipfs-node"
READY_SECONDS = 900
PATIENCE = 300.0
"""Seconds in which a node answers, on however busy a machine."""


def program() -> Path:
    """The program of a node; raises Unavailable."""
    return npm.install("IPFS node", PACKAGE, INSTALLED, ".bin/jsipfs")


def empty() -> Path:
    """An empty repository, made once by the installed program: three processor seconds. Nodes that
    begin with copies of it have one name, and never meet. Raises Unavailable."""
    made_by = program()
    version = hashlib.sha256(PACKAGE.read_bytes()).hexdigest()[:16]
    folder, new = (INSTALLED / f"{kind}-{version}" for kind in ("empty", "new"))
    with (INSTALLED / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test run may be making it
        if not folder.exists():
            shutil.rmtree(new, ignore_errors=True)
            subprocess.run(
                ["node", str(made_by), "init", "--profile", "test", "--empty-repo"],
                env={**os.environ, "IPFS_PATH": str(new)},
                check=True,
                capture_output=True,
            )
            new.rename(folder)
    return folder


class IpfsNode:
    """One node with a repository of its own; `start`, `kill`, `stop` as often as one likes."""

    def __init__(self, folder: Path) -> None:
        """Create the repository in ``folder``; raises Unavailable."""
        self._program = program()
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.create()

    @property
    def api(self) -> str:
        """The multiaddr of its RPC API, the same after every start."""
        return f"/ip4/127.0.0.1/tcp/{self.port}"

    def create(self) -> None:
        """Make the repository anew, empty."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(empty(), self.folder)
        path = self.folder / "config"
        config = json.loads(path.read_text())
        config["Addresses"] = {"Swarm": [], "API": self.api, "Gateway": "", "Delegates": []}
        config |= {"Bootstrap": [], "Routing": {"Type": "none"}, "Pubsub": {"Enabled": False}}
        path.write_text(json.dumps(config))

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = self.folder.with_name(f"{self.folder.name}.log")
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["node", str(self._program), "daemon", "--enable-preload=false"],
                env=self._environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        until = time.monotonic() + READY_SECONDS
        while b"Daemon is ready" not in log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise Unavailable(f"the IPFS node does not start: {log.read_text()[-300:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Have it end by itself."""
        self._end(signal.SIGTERM)

    def hang(self) -> None:
        """Let it hang until it is told to `go_on`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End its hanging, if it does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(120)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        # A killed node leaves its lock, which the next would wait for to go stale.
        shutil.rmtree(self.folder / "repo.lock", ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "IPFS_PATH": str(self.folder)}


def main() -> int:
    """Serve a fresh node until SIGINT or SIGTERM; its first line is the multiaddr of its API."""
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *rest: over.set())
    with tempfile.TemporaryDirectory(prefix="ipfs-node-") as folder:
        try:
            node = IpfsNode(Path(folder) / "repository")
            node.start()
        except Unavailable as error:
            print(error, file=sys.stderr)
            return 2
        print(node.api, flush=True)
        while not over.wait(1.0):
            pass
        node.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
