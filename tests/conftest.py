"""Fixtures that several test files use."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers.ipfs_node import IpfsNode, Unavailable

# How long an example takes depends on what else the machine does.
settings.register_profile("load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("load")

LIMIT = sys.getrecursionlimit()
"""Python's limit of recursion, before any test module is imported."""
ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Restore SIGINT where it is ignored, as in the background: all commands that the tests start
    and interrupt would ignore it too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection() -> None:
    """Nothing of what tests are collected from is garbage: to look for some takes a fifth more."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Libraries that test modules import raise the limit; see `consensus.ethereum.extra`."""
    gc.enable()
    sys.setrecursionlimit(LIMIT)


@pytest.fixture(scope="module", autouse=True)
def _spare_what_lasts() -> None:
    """Exempt what exists between two modules from collections of garbage: half a million objects
    of libraries and collected tests. A run collects after each evaluation, and would look through
    them all each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets: BFEDREC_DATA, else ../shared/datasets beside the project."""
    folder = Path(os.environ.get("BFEDREC_DATA") or ROOT.parent / "shared" / "datasets")
    if not (folder / "ml-1m" / "interactions.csv.gz").is_file():
        pytest.skip(f"no real data sets in {folder}: set BFEDREC_DATA")
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of prepared data that all tests of a session share, those of other workers too: no
    test may change what it finds there."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "prepared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def ipfs_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IpfsNode]:
    """A running IPFS node; installed on the first use. Whoever stops it starts it again."""
    yield from _running(tmp_path_factory.mktemp("ipfs"))


@pytest.fixture
def empty_ipfs_node(tmp_path: Path) -> Iterator[IpfsNode]:
    """A running IPFS node of one test's own."""
    yield from _running(tmp_path)


def _running(folder: Path) -> Iterator[IpfsNode]:
    try:
        node = IpfsNode(folder / "repository")
        node.start()
    except Unavailable as reason:
        pytest.skip(str(reason))
    yield node
    node.stop()
