"""A cluster of Ray: joining and leaving it, its nodes, and tasks that are tried again.

Only this module touches the library, and loads it when a cluster is joined.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import socket
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
from bfedrec.runs.folder import RunError
from bfedrec.sweeps import nodes
from consensus.storage.closing import Closing
from consensus.workers import TRIES, Lost, Unit

ANSWER_SECONDS = 5.0
"""Seconds within which a head node has to accept a connection."""
STOP_SECONDS = 20.0
"""Seconds that tasks have to end by themselves, runs so that they can be resumed, at a stop."""
CHECK_SECONDS = 60.0
"""Seconds within which every node has to say what it has."""
WAIT_SECONDS = 0.5
"""Seconds between two looks whether a task has ended; a Ctrl-C is noticed as late."""
SERVER_FAILED = "Starting Ray client server failed"
"""The head node's answer where it could not start the server of a client."""
STORE_BYTES = 256 * 2**20
"""Object store of a cluster of this machine alone: no result is larger than a part of a file."""


class WorkerLost(RuntimeError):
    """Error: the worker or the node of a task died; its text is one line."""


class ClusterGone(RunError):
    """Error: the cluster as a whole does not answer any more; its text is one line."""


def check(address: str) -> None:
    """Raise `ConfigError` if Ray is not installed, or an address is not HOST:PORT."""
    if importlib.util.find_spec("ray") is None:
        told = "--engine ray needs Ray: pip install 'bfedrec[ray]'"
        raise ConfigError(f"{COMMAND_LINE}: {told}")
    if address:
        _host_and_port(address)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        told = f"--engine ray://{address}: expected ray://HOST:PORT, as ray://head:10001"
        raise ConfigError(f"{COMMAND_LINE}: {told}")
    return host.strip("[]"), int(port)


def join(address: str, processors: int) -> Cluster:
    """Join the cluster of a head node, or without an address start one of this machine's own with
    that many processors. Raises `RunError` where a cluster does not answer."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a warning about GPUs
    if address:
        try:
            socket.create_connection(_host_and_port(address), ANSWER_SECONDS).close()
        except OSError as error:
            why = error.strerror or str(error)
            raise RunError(f"ray://{address}: no cluster answers: {why}") from None
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    with _own_signals(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the error says as much
        for tries in range(1, TRIES + 1):
            try:
                _init(ray, address, processors)
                break
            except Exception as error:
                why = " ".join(str(error).split())[:300]
                # A loaded head node may fail to start the process that serves this client.
                if tries == TRIES or SERVER_FAILED not in why:
                    raise RunError(f"{_name(address)}: no cluster answers: {why}") from None
    return Cluster(ray, address)


def _init(ray: Any, address: str, processors: int) -> None:
    """Have the library join a cluster, or start one; arguments as of `join`."""
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address:
        ray.init(f"ray://{address}", **quiet)
        return
    ray.init(
        "local",
        num_cpus=processors,
        include_dashboard=False,
        object_store_memory=STORE_BYTES,
        _node_ip_address="127.0.0.1",
        **quiet,
    )


@contextmanager
def _own_signals() -> Iterator[None]:
    """A context after which SIGTERM is handled as before: the library takes it over."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _name(address: str) -> str:
    return f"ray://{address}" if address else "ray"


class Cluster(Closing):
    """A cluster that this process has joined."""

    def __init__(self, ray: Any, address: str) -> None:
        self.ray = ray
        self.address = address
        self._make_run = ray.remote(_make_run)
        self._call = ray.remote(_call)

    def close(self) -> None:
        """Leave the cluster; its tasks of this process end."""
        with suppress(Exception):  # there may be no cluster any more
            self.ray.shutdown()

    @property
    def processors(self) -> int:
        """Number of processors of all nodes that live, at least one."""
        with self.answering():
            return max(1, int(self.ray.cluster_resources().get("CPU", 0)))

    @contextmanager
    def answering(self) -> Iterator[None]:
        """A context that raises `ClusterGone` if the cluster as a whole is gone."""
        try:
            yield
        except (ConnectionError, self.ray.exceptions.RaySystemError) as error:
            why = " ".join(str(error).split())[:200]
            told = f"{_name(self.address)}: the cluster is gone: {why}"
            raise ClusterGone(f"{told}; the same command continues") from None

    def task(self, unit: Unit, on_node: bool, cpus: int, gpus: int) -> Any:
        """Begin a task; returns the reference to its result. `on_node`: as for `Tasks.submit`."""
        function = self._make_run if on_node else self._call
        options = function.options(num_cpus=cpus, num_gpus=gpus, max_retries=0, name=unit.label)
        with self.answering():
            return options.remote(unit.function, unit.arguments)

    def on(self, node: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a small function on a node. Raises `WorkerLost` where the node dies."""
        return self.result(self._begun_on(node, self._call, function, arguments))

    def _begun_on(self, node: str, remote: Any, *arguments: Any) -> Any:
        """Begin a task on a node, whatever else it does; returns the reference to its result."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(node, soft=False)
        options = remote.options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        with self.answering():
            return options.remote(*arguments)

    def result(self, reference: Any, seconds: float | None = None) -> Any:
        """The result of a task. Raises `WorkerLost` where it died, or what its function raised."""
        errors = self.ray.exceptions
        try:
            return self.ray.get(reference, timeout=seconds)
        except errors.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, Exception) else error) from None
        except errors.RayError as error:
            raise WorkerLost(_death(error)) from None
        except ConnectionError as error:
            with self.answering():
                raise error

    def check_nodes(self, configs: Sequence[str]) -> None:
        """Raise `RunError`, in one line, unless every node has this version of the program and the
        data of these configs, given as text. A node that is leaving or coming is no error."""
        expected, here, data = nodes.source_digest(), os.getcwd(), os.environ.get(nodes.DATA, "")

        def facts(configs: list[str]) -> list[str]:
            # Sent by value: a node may have no program of ours, or another version.
            try:
                from pathlib import Path

                from bfedrec.sweeps import nodes as there
            except ImportError as error:
                return [f"bfedrec of this version is not installed: {error}"]
            try:
                there.check_source(expected)
                return list(there.lacking(configs, Path(here), data))
            except (RuntimeError, ValueError) as error:
                return [" ".join(str(error).split())]

        remote, ends = self.ray.remote(facts), time.monotonic() + CHECK_SECONDS
        hosts = self._hosts()
        asked = set(hosts)
        while asked:
            begun = [(node, self._begun_on(node, remote, list(configs))) for node in asked]
            asked = set()
            for node, reference in begun:
                try:
                    told = self.result(reference, max(1.0, ends - time.monotonic()))
                except WorkerLost as error:
                    # The node may have left without the cluster knowing it yet, or have come
                    # without its scheduler knowing it yet.
                    if node not in self._hosts():
                        continue
                    told = [str(error)] if time.monotonic() >= ends else []
                    asked.add(node)
                if told:
                    raise RunError(f"{_name(self.address)}: node {hosts[node]}: {told[0]}")
            if asked:
                time.sleep(WAIT_SECONDS)
        if not self._hosts():
            raise RunError(f"{_name(self.address)}: no node with a processor is left")

    def _hosts(self) -> dict[str, str]:
        """The machine of each node that lives and has a processor, by the node's identifier."""
        with self.answering():
            return {
                node["NodeID"]: node["NodeManagerHostname"]
                for node in self.ray.nodes()
                if node["Alive"] and node["Resources"].get("CPU")
            }


def _make_run(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """A function that is told on which node it is."""
    import ray

    return function(*arguments, ray.get_runtime_context().get_node_id())


def _call(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    return function(*arguments)


def _death(error: Exception) -> str:
    """A death of a worker or a node, in a few words."""
    kind = type(error).__name__
    known = {
        "GetTimeoutError": "it does not answer",
        "NodeDiedError": "its node died",
        "OutOfMemoryError": "its worker was killed for want of memory",
        "TaskUnschedulableError": "its node is gone",
        "WorkerCrashedError": "its worker died",
    }
    return known.get(kind, f"its result is lost ({kind})")


@dataclass
class _Task:
    """A unit that is being made, and how often it was begun."""

    unit: Unit
    on_node: bool
    gpus: int
    tries: int = 1


class Tasks(Closing):
    """Units as tasks; one whose worker or node dies is tried again, up to `TRIES` times in all."""

    def __init__(self, cluster: Cluster, jobs: int | None, cpus: int = 1) -> None:
        """`jobs`: greatest number of tasks; None: as many as there are processors for. `cpus`:
        number of processors of a task."""
        self._cluster = cluster
        self._jobs = jobs
        self._cpus = cpus
        self._running: dict[Any, _Task] = {}
        """The tasks by the references to their results."""
        self._known: dict[str, _Task] = {}
        self._lost: deque[Lost] = deque()

    @property
    def at_once(self) -> int:
        """Number of tasks at a time, on the nodes that live."""
        return self._jobs or max(1, self._cluster.processors // self._cpus)

    @property
    def ahead(self) -> int:
        """Number of tasks to submit: some that wait, so that no processor does."""
        return self._jobs or 2 * self.at_once

    def submit(self, unit: Unit, on_node: bool = False, gpus: int = 0) -> None:
        """Begin a unit, whose label no other has. `on_node`: its function takes the identifier of
        its node as a last argument."""
        self._known[unit.label] = task = _Task(unit, on_node, gpus)
        self._begin(task)

    def again(self, label: str, why: str) -> None:
        """Try a unit again that came to nothing; after the last try `ended` gives a `Lost`."""
        task = self._known[label]
        if task.tries == TRIES:
            self._lost.append(Lost(label, f"given up after {TRIES} tries: {why}"))
            return
        task.tries += 1
        self._begin(task)

    def ended(self) -> Sequence[Any]:
        """The results of units that have ended, as `consensus.workers.Workers.ended`."""
        while self._running and not self._lost:
            with self._cluster.answering():
                done, _ = self._cluster.ray.wait(list(self._running), timeout=WAIT_SECONDS)
            for reference in done:
                task = self._running.pop(reference)
                try:
                    return [self._cluster.result(reference)]
                except WorkerLost as error:
                    self.again(task.unit.label, str(error))
        return [self._lost.popleft()] if self._lost else []

    def close(self) -> None:
        """End all tasks: runs so that they can be resumed, and what does not end by force."""
        ray, running = self._cluster.ray, list(self._running)
        self._running = {}
        with suppress(Exception):  # there may be no cluster any more
            for force in (False, True):
                for reference in running:
                    ray.cancel(reference, force=force)
                if running:
                    _, running = ray.wait(running, num_returns=len(running), timeout=STOP_SECONDS)

    def _begin(self, task: _Task) -> None:
        reference = self._cluster.task(task.unit, task.on_node, self._cpus, task.gpus)
        self._running[reference] = task
