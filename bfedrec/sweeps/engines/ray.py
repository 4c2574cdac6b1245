"""The engine of a cluster: runs and calls as tasks of Ray, on all its nodes.

A unit is a task. One whose worker or node dies is tried again, elsewhere if need be; Ray itself
tries nothing again, so that tries are counted in one place. A run works in its own folder where its
node sees that, and is fetched in parts otherwise (`bfedrec.sweeps.nodes`).
"""

from __future__ import annotations

import itertools
import os
import signal
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bfedrec.config.load import dump, load
from bfedrec.config.schema import Config
from bfedrec.runs.folder import RunError
from bfedrec.sweeps import cluster, nodes
from bfedrec.sweeps.arrivals import arrive
from bfedrec.sweeps.cluster import ClusterGone, Tasks, WorkerLost
from bfedrec.sweeps.engine import Engine, engine
from bfedrec.sweeps.job import Ended, Job, ended_of
from bfedrec.sweeps.nodes import Made, Order
from bfedrec.threads import thread_count
from consensus.workers import Lost, Unit, Workers


@engine("ray", place=1)
class Ray(Engine):
    """A cluster of Ray, joined when the first unit is to be made."""

    meaning = (
        "ray://HOST:PORT: the cluster of that head node, as its Ray Client server; ray: a Ray of "
        "this machine alone, started and stopped by the command (docs/clusters.md)"
    )
    addressed = True

    def __init__(self, jobs: int | None = None, usual: int = 1, address: str = "") -> None:
        """Arguments as of `Engine`; `address` is HOST:PORT. Raises `ConfigError` for another
        address, and where Ray is not installed."""
        super().__init__(jobs, usual, address)
        cluster.check(address)
        self._joined: cluster.Cluster | None = None

    @property
    def at_once(self) -> int:
        """Number of units at a time: the processors of the cluster, unless `jobs` is given."""
        return self.jobs or self._cluster.processors

    @property
    def threads(self) -> int | None:
        """One: a unit has a processor."""
        return 1

    @property
    def _cluster(self) -> cluster.Cluster:
        if self._joined is None:
            self._joined = cluster.join(self.address, self.jobs or thread_count())
        return self._joined

    def close(self) -> None:
        """Leave the cluster; one that was started for this is stopped."""
        if self._joined is not None:
            self._joined.close()
            self._joined = None

    @contextmanager
    def workers(self, threads: int | None = None) -> Iterator[Workers]:
        """Tasks on the nodes of the cluster, each with as many processors as it has threads."""
        joined = self._cluster
        if self.address:
            joined.check_nodes([])
        with Tasks(joined, self.jobs, threads or 1) as tasks:
            yield _Calls(tasks)

    def runs(self, jobs: Sequence[Job], tell: Callable[[Job, Ended], None]) -> int:
        """Make runs as tasks, and bring their folders here."""
        if not jobs:
            return 0
        configs = {job.path: _config(job) for job in jobs}
        joined = self._cluster
        if self.address:
            alike = {repr(config.data): dump(config) for config in configs.values()}
            joined.check_nodes(list(alike.values()))
        by_label = {str(job.path.absolute()): job for job in jobs}
        waiting, running, status = iter(jobs), 0, 0
        with _marked(jobs) as mark, Tasks(joined, self.jobs) as tasks:
            while True:
                for job in itertools.islice(waiting, max(0, tasks.ahead - running)):
                    config, running = configs.pop(job.path), running + 1
                    order = _order(job, dump(config), mark)
                    unit = Unit(str(order.path), nodes.make_run, (order,))
                    tasks.submit(unit, on_node=True, gpus=int(config.device.startswith("cuda")))
                if not running:
                    return status
                for result in tasks.ended():
                    if isinstance(result, Lost):
                        job, ended = by_label[result.label], Ended(f"failed: {result.why}", 0.0, 1)
                    else:
                        job = by_label[str(result.path)]
                        try:
                            ended = _brought(joined, job, result)
                        except WorkerLost as error:
                            tasks.again(str(result.path), str(error))
                            continue
                        except ClusterGone:
                            raise
                        except (RunError, OSError) as error:
                            ended = Ended(f"failed: {error}", result.seconds, 2)
                    running -= 1
                    status = status or ended.status
                    tell(job, ended)


class _Calls:
    """Tasks as workers that call functions."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._here = Path.cwd()

    @property
    def at_once(self) -> int:
        """Number of tasks at a time."""
        return self._tasks.at_once

    def submit(self, unit: Unit) -> None:
        """Have a unit made on a node."""
        wanted = (unit, nodes.source_digest(), self._here, os.environ.get(nodes.DATA, ""))
        self._tasks.submit(Unit(unit.label, nodes.call, wanted))

    def ended(self) -> Sequence[Any]:
        """The results of units that have ended, as `consensus.workers.Workers.ended`."""
        return self._tasks.ended()


def _config(job: Job) -> Config:
    return load(job.config, [*job.overrides, f"seed={job.seed}"])


def _order(job: Job, config: str, mark: str) -> Order:
    return Order(
        config,
        tuple(job.words),
        job.path.absolute(),
        mark,
        Path.cwd(),
        os.environ.get(nodes.DATA, ""),
        os.uname().nodename,
        nodes.source_digest(),
    )


@contextmanager
def _marked(jobs: Sequence[Job]) -> Iterator[str]:
    """A context in which a file of the yielded name lies beside the folders of all these runs: a
    node that finds it sees the same folders."""
    mark = f".seen-{uuid.uuid4().hex}"
    places = {job.path.absolute().parent for job in jobs}
    try:
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
            (place / mark).touch()
        yield mark
    finally:
        for place in places:
            (place / mark).unlink(missing_ok=True)


def _brought(joined: cluster.Cluster, job: Job, made: Made) -> Ended:
    """The end of a run, when its folder is here.

    Raises `WorkerLost` where its node dies first, or stopped the run; `RunError` and OSError where
    the folder cannot be put here.
    """
    if made.status == 128 + signal.SIGINT:  # what it has made stays there, to be resumed
        raise WorkerLost("its node stopped it")
    if made.folder is None:
        # Over NFS, what another machine made appears when its folder is opened anew.
        os.listdir(job.path.parent)
    else:
        node, folder = made.node, made.folder
        arrive(
            job.path,
            made.files,
            lambda name, offset: joined.on(node, nodes.read_part, folder / name, offset),
        )
        joined.on(node, nodes.drop, folder)
    return ended_of(job, made.status, made.seconds, made.errors)
