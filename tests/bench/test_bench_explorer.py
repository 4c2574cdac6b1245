"""Pages of `bfedrec serve` over a run of 1,000 heights of thirty servers (make bench-all).

A page is cold if it is the first one that a new server is asked for, and warm if it was asked for
before. Each bar is for the wall clock of an idle machine, and looked at in the server's processor
time, which other work on the machine changes less.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from tests.bench.long_run import copies, play
from tests.bench.served import Answered, Served, serving

pytestmark = pytest.mark.benchmark(group="explorer")

Benchmark = Any
"""pytest-benchmark's fixture."""

COLD_ROUNDS: Final = 3
MEGABYTES: Final = 300.0
"""The bar of the server's memory."""
PAGES: Final = {
    "runs": ("/", 0.5),
    "run": ("/run/long", 0.5),
    "chain": ("/chain/long", 0.5),
    "block": ("/block/1000/long", 0.2),
    "timeline": ("/timeline/500/long", 0.5),
    "network": ("/network/long", 0.5),
    "search": ("/search/long?q=server+3", 0.5),
    "curves of seeds": ("/curves?{seeds}", 1.0),
    "curves of settings": ("/curves?{settings}", 1.0),
}
"""The pages by name: address, and the bar of its seconds."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run, and twice twenty others."""
    found = tmp_path_factory.mktemp("runs")
    run = play(found / "long")
    for name, settings in (("seeds", False), ("settings", True)):
        copies(run, found / name, settings)
    return found


@pytest.fixture(scope="session")
def warm_server(folder: Path) -> Iterator[Served]:
    """A server that answers all pages that are asked for when they are warm."""
    with serving(folder) as server:
        yield server


def address(folder: Path, name: str) -> str:
    """The address of a page."""
    several = {
        kind: "&".join(f"run={kind}/{run.name}" for run in sorted((folder / kind).iterdir()))
        for kind in ("seeds", "settings")
    }
    return PAGES[name][0].format(**several)


def note(benchmark: Benchmark, answers: list[Answered], server: Served, bar: float) -> None:
    """Note the least processor time beside the clock's, and hold it to the bar."""
    assert all(answer.status == 200 for answer in answers), answers[0].body[:500]
    least = min(answer.processor for answer in answers)
    benchmark.extra_info["processor_seconds"] = round(least, 4)
    benchmark.extra_info["server_megabytes"] = round(server.megabytes)
    benchmark.extra_info["kilobytes"] = round(len(answers[0].body) / 1e3)
    assert least <= bar
    assert server.megabytes <= MEGABYTES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_a_new_server(benchmark: Benchmark, folder: Path, name: str) -> None:
    """Cold: of a server that has just begun, and has had the moment to get ready."""
    path = address(folder, name)
    answers: list[Answered] = []
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(folder)) for _ in range(COLD_ROUNDS)]
        for server in servers:
            server.settle()
        waiting = iter(servers)
        benchmark.pedantic(
            lambda: answers.append(next(waiting).get(path)), rounds=COLD_ROUNDS, iterations=1
        )
        note(benchmark, answers, max(servers, key=lambda one: one.megabytes), PAGES[name][1])


@pytest.mark.parametrize("name", PAGES)
def test_a_page_again(benchmark: Benchmark, folder: Path, warm_server: Served, name: str) -> None:
    """Warm: asked for before; the memory is that after all pages so far."""
    path = address(folder, name)
    warm_server.get(path)
    warm_server.settle()
    answers: list[Answered] = []
    benchmark.pedantic(lambda: answers.append(warm_server.get(path)), rounds=10, iterations=1)
    note(benchmark, answers, warm_server, PAGES[name][1])


def test_the_first_page_of_a_server_that_begins(benchmark: Benchmark, folder: Path) -> None:
    """From the moment at which the server tells its address, while it gets ready."""
    answers: list[Answered] = []
    with ExitStack() as stack:

        def begin() -> tuple[tuple[Served], dict[str, object]]:
            return (stack.enter_context(serving(folder)),), {}

        benchmark.pedantic(
            lambda server: answers.append(server.get("/")), setup=begin, rounds=COLD_ROUNDS
        )
        note(benchmark, answers, *begin()[0], PAGES["runs"][1])
