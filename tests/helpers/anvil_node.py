"""A real Ethereum node (Anvil) on loopback: installed once, started and stopped by tests."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from tests.helpers import npm

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tests" / "helpers" / "anvil" / "package.json"
INSTALLED = ROOT / ".cache" / "anvil"
# The binary itself: the script beside it leaves it running when it is killed.
PROGRAM = "@foundry-rs/anvil-linux-amd64/bin/anvil"
READY_SECONDS = 120
GENESIS = 1_767_225_600


def program() -> Path:
    """The program of a node; raises Unavailable."""
    return npm.install("Anvil", PACKAGE, INSTALLED, PROGRAM)


class AnvilNode:
    """One node whose accounts are those of a mnemonic phrase, and whose time is its blocks'."""

    def __init__(self, phrase: str, count: int) -> None:
        """Install the node's program if need be, and start it; raises Unavailable."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [str(program()), "--silent", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--mnemonic", phrase, "--accounts", str(count), "--timestamp", str(GENESIS)]
        try:
            self._process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise npm.Unavailable(f"Anvil does not start: {error}") from None
        until = time.monotonic() + READY_SECONDS
        while not self._listens(port):
            if self._process.poll() is not None or time.monotonic() > until:
                self._process.kill()
                _, said = self._process.communicate()
                raise npm.Unavailable(f"Anvil does not start: {said.decode()[-300:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _listens(self, port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0
