"""Tasks that are tried again, folders that arrive, and a cluster that is not there."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bfedrec.cli.main import main
from bfedrec.config.load import dump, load
from bfedrec.runs.folder import RunError, RunFolder, finished
from bfedrec.sweeps import cluster, nodes
from bfedrec.sweeps.arrivals import arrive
from bfedrec.sweeps.cluster import Cluster, Tasks, WorkerLost
from bfedrec.sweeps.engines.ray import _brought
from bfedrec.sweeps.job import Job
from bfedrec.sweeps.nodes import Made, Order, drop, make_run, read_part, source_digest
from consensus.workers import TRIES, Lost, Unit
from tests.helpers.commands import completed
from tests.helpers.tiny import TINY

# -- tasks -----------------------------------------------------------------------------------------


class Mortal:
    """A cluster whose workers die of some units, a number of times each, and that ends the task
    that was begun last first. It is its own library."""

    processors = 5

    def __init__(self, **deaths: int) -> None:
        self.deaths = Counter(deaths)
        self.begun: list[str] = []
        self.cancelled: list[tuple[str, bool]] = []
        self.stubborn = False

    @property
    def ray(self) -> Mortal:
        return self

    @contextmanager
    def answering(self) -> Iterator[None]:
        yield

    def task(self, unit: Unit, on_node: bool, cpus: int, gpus: int) -> tuple[int, Unit]:
        self.begun.append(unit.label)
        return len(self.begun), unit

    def wait(self, references: list[Any], num_returns: int = 1, timeout: float = 0) -> Any:
        if num_returns > 1 or self.cancelled:  # at a stop
            return (references[:0], references) if self.stubborn else (references, [])
        return references[-1:], references[:-1]

    def result(self, reference: tuple[int, Unit]) -> Any:
        label = reference[1].label
        if self.deaths[label] > 0:
            self.deaths[label] -= 1
            raise WorkerLost("its node died")
        return reference[1].call()

    def cancel(self, reference: tuple[int, Unit], force: bool) -> None:
        self.cancelled.append((reference[1].label, force))


def tasks_of(cluster: Mortal, jobs: int | None = None, cpus: int = 1) -> Tasks:
    """Tasks on such a cluster."""
    return Tasks(cluster, jobs, cpus)  # type: ignore[arg-type]


def test_a_task_whose_worker_dies_is_tried_again_and_at_last_given_up() -> None:
    mortal = Mortal(once=1, twice=2, ever=99)
    tasks = tasks_of(mortal)
    for label in ("sound", "once", "twice", "ever"):
        tasks.submit(Unit(label, str.upper, (label,)))
    found: list[Any] = []
    while results := tasks.ended():
        found += results
    told = f"ever: given up after {TRIES} tries: its node died"
    assert [str(each) for each in found if isinstance(each, Lost)] == [told]
    assert sorted(each for each in found if isinstance(each, str)) == ["ONCE", "SOUND", "TWICE"]
    assert Counter(mortal.begun) == {"sound": 1, "once": 2, "twice": 3, "ever": TRIES}


def test_a_result_that_cannot_be_fetched_costs_a_try() -> None:
    tasks = tasks_of(Mortal(run=TRIES - 1))
    tasks.submit(Unit("run", str, ("made",)))
    assert tasks.ended() == ["made"]
    tasks.again("run", "its node died")
    (lost,) = tasks.ended()
    assert isinstance(lost, Lost)
    assert tasks.ended() == []


def test_as_many_tasks_as_processors_or_as_asked_for() -> None:
    assert (tasks_of(Mortal()).at_once, tasks_of(Mortal()).ahead) == (5, 10)
    assert (tasks_of(Mortal(), 3).at_once, tasks_of(Mortal(), 3).ahead) == (3, 3)
    assert tasks_of(Mortal(), None, 2).at_once == 2
    assert tasks_of(Mortal(), None, 64).at_once == 1


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_stop_is_asked_for_before_it_is_forced(stubborn: bool) -> None:
    mortal = Mortal()
    mortal.stubborn = stubborn
    with tasks_of(mortal) as tasks:
        for label in ("one", "two"):
            tasks.submit(Unit(label, str))
    asked = [("one", False), ("two", False)]
    forced = [("one", True), ("two", True)] if stubborn else []
    assert mortal.cancelled == asked + forced


# -- a run on a node -------------------------------------------------------------------------------


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Order:
    """A run of two rounds that is ordered in a folder that the node does not see."""
    monkeypatch.setattr(nodes.tempfile, "tempdir", str(tmp_path / "node"))
    (tmp_path / "node").mkdir()
    (tmp_path / "tiny.yaml").write_text(f"rounds: 2\n{TINY}", encoding="utf-8")
    config = dump(load(tmp_path / "tiny.yaml"))
    words = ("run", "tiny.yaml", "seed=0", "--out", "runs/one", "--resume")
    path = tmp_path / "runs" / "one"
    return Order(config, words, path, "mark", tmp_path, "", "here", source_digest())


def fetched(made: Made) -> Callable[[str, int], bytes]:
    """The parts of the files of a run, from a node that is this machine."""
    assert made.folder is not None
    folder = made.folder
    return lambda name, offset: read_part(folder / name, offset)


def test_a_run_is_made_apart_fetched_in_parts_and_dropped(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "PART_BYTES", 1000)
    monkeypatch.setenv("KMP_DUPLICATE_LIB_OK", "True")  # threadpoolctl sets it when it is loaded
    before = (sys.argv, Path.cwd(), signal.getsignal(signal.SIGTERM), dict(os.environ))
    made = make_run(order, "node")
    assert (sys.argv, Path.cwd(), signal.getsignal(signal.SIGTERM), dict(os.environ)) == before
    assert (made.status, made.errors) == (0, "")
    assert not order.path.parent.exists()
    order.path.parent.mkdir()
    arrive(order.path, made.files, fetched(made))
    assert made.folder is not None
    drop(made.folder)
    assert not list(made.folder.parent.iterdir())
    assert [path.name for path in order.path.parent.iterdir()] == ["one"]
    assert main(["audit", str(order.path)]) == 0
    assert '"tiny.yaml"' in (order.path / "manifest.json").read_text()


def test_a_node_that_finds_the_mark_works_in_the_folder_itself(order: Order) -> None:
    order.path.parent.mkdir()
    (order.path.parent / order.mark).touch()
    made = make_run(order, "node")
    assert (made.status, made.folder, made.files) == (0, None, ())
    assert finished(order.path)


def test_a_run_that_its_node_stopped_is_tried_again(order: Order) -> None:
    job = Job(Path("tiny.yaml"), (), 0, order.path)
    made = Made(order.path, 130, 1.0, "interrupted", "node", order.here, (("config.yaml", 9),))
    with pytest.raises(WorkerLost, match="its node stopped it"):
        _brought(None, job, made)  # type: ignore[arg-type]
    assert not order.path.exists()


def test_other_source_makes_no_run(order: Order) -> None:
    made = make_run(Order(**{**vars(order), "source": "0" * 64}), "node")
    assert made.status == 2
    assert "its bfedrec is another than here" in made.errors
    assert made.errors.count("\n") == 1
    assert made.files == ()


def test_a_folder_arrives_whole_or_not_at_all(order: Order) -> None:
    order.path.mkdir(parents=True)
    (order.path / "config.yaml").write_text("mine")
    sizes, content = (("summary.json", 5), ("log.txt", 3)), {"summary.json": b"12345"}

    def part(name: str, offset: int) -> bytes:
        return content.get(name, b"")[offset : offset + 2]

    with pytest.raises(RunError, match=r"log.txt came with 0 of 3 bytes"):
        arrive(order.path, sizes, part)
    assert [path.name for path in order.path.iterdir()] == ["config.yaml"]
    content["log.txt"] = b"abc"
    arrive(order.path, sizes[1:], part)  # it has not ended
    assert [path.name for path in order.path.iterdir()] == ["config.yaml"]
    arrive(order.path, sizes, part)
    found = {path.name: path.read_bytes() for path in order.path.iterdir()}
    assert found == content
    assert [path.name for path in order.path.parent.iterdir()] == ["one"]
    with pytest.raises(RunError, match="a file outside of it"):
        arrive(order.path, (("../two", 1),), lambda name, offset: b"x")


def test_a_folder_that_is_written_here_is_not_replaced(order: Order) -> None:
    with (
        RunFolder.open(load(None), order.path, False),
        pytest.raises(RunError, match="another process is writing this run"),
    ):
        arrive(order.path, (("summary.json", 1),), lambda name, offset: b"x")
    assert not finished(order.path)
    arrive(order.path, (("summary.json", 1),), lambda name, offset: b"x")
    assert finished(order.path)


def test_data_that_are_not_at_hand_are_named(order: Order) -> None:
    csv = dump(load(order.here / "tiny.yaml", ["data={dataset: csv, csv: {path: none.csv}}"]))
    assert nodes.lacking([order.config], order.here, "") == []
    (told,) = nodes.lacking([order.config, csv], order.here, "")
    assert told.startswith("csv: none.csv: no such file")
    (order.here / "none.csv").write_text("user,item,time\n")
    assert nodes.lacking([csv], order.here, "") == []


# -- no cluster ------------------------------------------------------------------------------------

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: bfedrec[ray]"
)


class Library:
    """The library with nodes of which some die, or are known to the scheduler only later."""

    def __init__(self, **answers: list[list[str] | str]) -> None:
        """What each node answers in turn, or the name of the error of the task; `left` is that
        of a task whose node leaves the cluster."""
        import ray

        self.exceptions = ray.exceptions
        self.answers = answers
        self.living = set(answers)

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "NodeID": node.encode().hex().ljust(56, "0"),
                "NodeManagerHostname": node,
                "Alive": node in self.living,
                "Resources": {"CPU": 1.0},
            }
            for node in self.answers
        ]

    def remote(self, function: Callable[..., Any]) -> Library:
        return self

    def options(self, scheduling_strategy: Any, **options: Any) -> Any:
        node = bytes.fromhex(scheduling_strategy.node_id).decode().strip("\0")
        return SimpleNamespace(remote=lambda *arguments: node)

    def get(self, node: str, timeout: float) -> list[str]:
        answer = self.answers[node].pop(0)
        if isinstance(answer, list):
            return answer
        if answer == "left":
            self.living.remove(node)
            raise self.exceptions.NodeDiedError("died")
        raise getattr(self.exceptions, answer)("a long text")

    def check(self) -> None:
        Cluster(self, "head:10001").check_nodes([])


@needs_ray
def test_a_node_that_leaves_or_comes_while_nodes_are_asked_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "WAIT_SECONDS", 0.0)
    late = ["TaskUnschedulableError", "WorkerCrashedError", []]
    library = Library(head=[[]], leaving=["WorkerCrashedError", "left"], coming=late)
    library.check()
    assert set(library.living) == {"head", "coming"}
    assert not any(library.answers.values())
    with pytest.raises(RunError, match=r"^ray://head:10001: no node with a processor is left$"):
        Library(head=["left"]).check()


@needs_ray
def test_what_a_node_lacks_or_that_it_does_not_answer_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "WAIT_SECONDS", 0.0)
    with pytest.raises(RunError, match=r"^ray://head:10001: node old: no bfedrec$"):
        Library(head=[[]], old=["WorkerCrashedError", ["no bfedrec", "no data"]]).check()
    monkeypatch.setattr(cluster, "CHECK_SECONDS", -1.0)
    for error, told in (
        ("GetTimeoutError", "it does not answer"),
        ("TaskUnschedulableError", "its node is gone"),
    ):
        with pytest.raises(RunError, match=rf"^ray://head:10001: node deaf: {told}$"):
            Library(head=[[]], deaf=[error]).check()


@needs_ray
@pytest.mark.parametrize("address", ["", "head", "head:", ":10001", "head:0", "head:x", "h:65536"])
def test_a_wrong_address_is_told_in_one_line(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["torture", "--seeds", "0-9", "--engine", f"ray://{address}"]) == 2
    told = capsys.readouterr().err
    assert f"--engine ray://{address}: expected ray" in told
    assert told.count("\n") == 1


@needs_ray
@pytest.mark.parametrize("listens", [False, True])
def test_an_address_without_a_cluster_is_told_in_one_line(listens: bool) -> None:
    """Nothing accepts a connection, or something does that says nothing."""
    patience = {"RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S": "1"}
    patience["RAY_CLIENT_MAX_CONNECTION_TIMEOUT_S"] = "1"
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listens:
            server.listen()
        address = f"ray://127.0.0.1:{server.getsockname()[1]}"
        words = ("torture", "--seeds", "0-9", "--engine", address)
        done = completed(*words, env={**os.environ, **patience})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"bfedrec: {address}: no cluster answers: ")
    assert done.stderr.count("\n") == 1


def test_without_ray_the_way_to_install_it_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ray" else real(name)
    )
    assert main(["torture", "--seeds", "0-9", "--engine", "ray"]) == 2
    told = capsys.readouterr().err
    assert told == "bfedrec: command line: --engine ray needs Ray: pip install 'bfedrec[ray]'\n"
