"""A cluster of Ray with two nodes of one processor each, on loopback in a network of its own.

As a program (`python -m tests.helpers.ray_cluster`, inside that network) it starts the nodes, tells
their processes in a line of JSON, and lasts until its standard input ends.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

ADDRESS = "127.0.0.1:10001"
ROOT = Path(__file__).resolve().parents[2]
AS_ROOT = [] if os.geteuid() == 0 else ["--map-root-user"]
MEMORY = 80 * 2**20
"""Bytes of each node's object store."""


class Unavailable(Exception):
    """The reason why there is no such cluster here."""


def check() -> None:
    """Raise `Unavailable` where Ray or a network of its own cannot be had."""
    if importlib.util.find_spec("ray") is None:
        raise Unavailable("Ray is not installed: pip install 'bfedrec[ray]'")
    for program in ("unshare", "nsenter", "ip"):
        if shutil.which(program) is None:
            raise Unavailable(f"no program {program}: a cluster has to have a network of its own")
    tried = subprocess.run(
        ["unshare", *AS_ROOT, "--net", "ip", "link", "set", "lo", "up"],
        capture_output=True,
        text=True,
    )
    if tried.returncode:
        raise Unavailable(f"a network of its own is not allowed: {tried.stderr.strip()}")


class RayCluster:
    """A running cluster, from this process's point of view."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start the cluster; `environment` is that of its nodes. Raises `Unavailable`."""
        check()
        self._own = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # its sockets need a short path
        program = f"ip link set lo up && exec {sys.executable} -m tests.helpers.ray_cluster"
        self._process = subprocess.Popen(
            ["unshare", *AS_ROOT, "--net", "sh", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**environment, "PYTHONPATH": str(ROOT), "RAY_TMPDIR": self._own},
            start_new_session=True,
        )
        assert self._process.stdout is not None
        told = self._process.stdout.readline()
        assert told, "the cluster did not start"
        self.nodes: list[int] = json.loads(told)
        """The process of each node, the head first."""

    def command(
        self, *words: object, apart: Path | None = None, tree: Path = ROOT
    ) -> subprocess.Popen[str]:
        """Start `bfedrec` of a source tree in the network of the cluster, and in a session of its
        own. `apart`: a folder that nodes see empty; the command finds in it what is in the folder
        ``NAME-before``, if there is one, and what is in it at the end is then in
        ``NAME-after``."""
        enter = ["nsenter", "--target", str(self._process.pid), "--net"]
        if AS_ROOT:
            enter += ["--user", "--preserve-credentials"]
        command = [sys.executable, "-m", "bfedrec", *map(str, words)]
        if apart is not None:
            given = f"! test -d {apart}-before || cp -a {apart}-before/. {apart}"
            program = f"mount -t tmpfs none {apart}; {given}; {shlex.join(command)}; status=$?"
            program += f"; cp -a {apart} {apart}-after; exit $status"
            command = ["unshare", "--mount", "sh", "-c", program]
        return subprocess.Popen(
            [*enter, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(tree), "RAY_TMPDIR": self._own},
        )

    def processes(self) -> set[int]:
        """All processes in the network of the cluster."""
        mine, found = os.readlink(f"/proc/{self._process.pid}/ns/net"), set()
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.readlink(place / "ns/net") == mine:
                    found.add(int(place.name))
        return found

    def add(self) -> int:
        """Add a node; returns its process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"add\n")
        self._process.stdin.flush()
        self.nodes.append(json.loads(self._process.stdout.readline()))
        return self.nodes[-1]

    def kill(self, node: int) -> None:
        """End a node with all that it has started, as if its machine were switched off."""
        workers = workers_of(node)
        for process in (node, *workers):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.nodes.remove(node)

    def stop(self) -> None:
        """Stop the nodes that are left."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        shutil.rmtree(self._own, ignore_errors=True)


def workers_of(node: int) -> dict[int, str]:
    """The processes that a node has started, with what each says that it does."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            status = (place / "stat").read_text(encoding="utf-8")
            if int(status.rpartition(")")[2].split()[1]) == node:
                found[int(place.name)] = (place / "cmdline").read_bytes().decode().strip("\0")
        except OSError:  # it has ended
            continue
    return found


def _serve(orders: IO[str]) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # else a client's server may die when it is forked
    from ray.cluster_utils import Cluster

    shared = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": MEMORY}
    head = {**shared, "include_dashboard": False, "ray_client_server_port": 10001}
    cluster = Cluster(initialize_head=True, head_node_args=head)

    def raylet(node: Any) -> int:
        return int(node.all_processes["raylet"][0].process.pid)

    nodes = [cluster.head_node, cluster.add_node(**shared)]
    print(json.dumps([raylet(node) for node in nodes]), flush=True)
    for _ in orders:
        print(json.dumps(raylet(cluster.add_node(**shared))), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    _serve(sys.stdin)
