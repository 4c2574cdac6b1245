"""Programs that tests get from npm: installed once, below .cache, and used by all test runs."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTALL_SECONDS = 900


class Unavailable(Exception):
    """A program cannot be had on this machine; the message says why."""


def install(what: str, package: Path, folder: Path, program: str) -> Path:
    """The file `program` of node_modules below ``folder``, installed by npm as ``package`` (a
    package.json) says on the first call; raises Unavailable."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Unavailable(f"no {what} to test with: node and npm are not installed")
    found = folder / "node_modules" / program
    wanted = hashlib.sha256(package.read_bytes()).hexdigest()
    ready = folder / ".ready"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test run may be installing it
        if ready.is_file() and ready.read_text() == wanted and found.exists():
            return found
        shutil.copy(package, folder)
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]
        command += ["--fetch-retries=1", "--fetch-timeout=30000"]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"no {what}: npm took over {INSTALL_SECONDS} s") from None
        if done.returncode or not found.exists():
            errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
            raise Unavailable(f"no {what}: npm install failed: {' '.join(errors)[:200]}")
        ready.write_text(wanted)
    return found
