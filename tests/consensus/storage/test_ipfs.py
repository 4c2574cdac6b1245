"""The store on a real IPFS node: the same addresses, walked to from the head, nothing lost."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bfedrec.cli.audit import audit_command
from bfedrec.runs.publication import Publication
from consensus.encoding.cid import cid_text, node_cid, parse_cid
from consensus.encoding.dag_cbor import encode
from consensus.encoding.unixfs import file_blocks, file_cid
from consensus.records.block import Block
from consensus.records.update import UpdateRecord
from consensus.storage import ipfs, ipfs_rpc
from consensus.storage.content import NotFound, StoreError
from consensus.storage.ipfs import IpfsStore
from consensus.storage.sqlite import SqliteStore
from tests.bfedrec.runs.test_simulation import SMALL, lasting, play
from tests.helpers.commands import completed
from tests.helpers.ipfs_node import PATIENCE, IpfsNode

CHUNK = 262_144
MIB = 2**20
ROOT = Path(__file__).resolve().parents[3]
VECTORS = ROOT / "tests" / "vectors" / "cid.json"
INPUTS = {
    "empty": b"",
    "b'hello world\\n'": b"hello world\n",
    "1 MiB of zero bytes": bytes(MIB),
}


@pytest.fixture
def store(ipfs_node: IpfsNode) -> Iterator[IpfsStore]:
    """A store on the node, with content that is there searched for as long as it takes."""
    with patient(ipfs_node) as opened:
        yield opened


@contextmanager
def patient(node: IpfsNode) -> Iterator[IpfsStore]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ipfs, "MISSING_SECONDS", PATIENCE / 2)
        with IpfsStore(node.api, timeout=PATIENCE) as opened:
            yield opened


@pytest.fixture
def short_search(store: IpfsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches that the node gives up soon; for content that it does not have."""
    monkeypatch.setattr(ipfs, "MISSING_SECONDS", 0.5)


@pytest.fixture
def between_tries(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """Calls that a store makes, one each, in place of its pauses before another try."""
    calls: list[Callable[[], object]] = []
    clock = SimpleNamespace(sleep=lambda seconds: calls.pop(0)())
    monkeypatch.setattr(ipfs_rpc, "time", clock)
    return calls


def resolve(store: IpfsStore, path: str) -> str:
    """What a path leads to, for the node."""
    answer = store._client._client.request(
        "/dag/resolve", (path,), opts={"cid-base": "base32"}, decoder="json"
    )
    text: str = answer[0]["Cid"]["/"]
    return text


# --- addresses ------------------------------------------------------------------------------------


def test_the_vectors_are_what_the_node_gives(store: IpfsStore) -> None:
    vectors = json.loads(VECTORS.read_text())["vectors"]
    assert {vector["input"] for vector in vectors} == set(INPUTS)
    for vector in vectors:
        data = INPUTS[vector["input"]]
        assert cid_text(store.put(data)) == vector["v1_raw_leaves"]
        assert store.get(parse_cid(vector["v1_raw_leaves"])) == data


def test_200_payloads_have_the_addresses_that_sqlite_gives(
    store: IpfsStore, tmp_path: Path
) -> None:
    """From nothing to 5 MiB: the borders of chunks, and sizes spread evenly over the magnitudes."""
    draw = random.Random(5)
    borders = [n * CHUNK + off for n in (1, 2, 3, 4, 19) for off in (-1, 0, 1)]
    sizes = [0, 1, *borders, 5 * MIB - 1, 5 * MIB]
    sizes += [int((5 * MIB) ** draw.random()) for _ in range(200 - len(sizes))]
    payloads = [draw.randbytes(size) for size in sizes]
    # A node that gave another address would raise.
    addresses = store.put_files(payloads)
    with SqliteStore(tmp_path / "chain.sqlite") as ours, ours.transaction():
        assert [ours.put(data) for data in payloads] == addresses
    pinned = store.pins()
    assert all(cid_text(cid) in pinned for cid in addresses)
    for cid, data in [*zip(addresses, payloads, strict=True)][:40]:
        assert store.get(cid) == data
    store.remove_all(addresses)
    assert store.pins().isdisjoint(map(cid_text, addresses))


# --- a content store ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 5, CHUNK, CHUNK + 3])
def test_what_was_put_is_found_until_it_is_removed(store: IpfsStore, size: int) -> None:
    data = random.Random(size + 1).randbytes(size)
    cid = store.put(data)
    assert store.put(data) == cid == file_cid(data)
    assert store.has(cid)
    assert store.get(cid) == data
    for block, content in file_blocks(data)[1]:
        assert store.block_bytes(block) == content
    store.remove(cid)
    with pytest.raises(NotFound, match="not pinned"):
        store.remove(cid)


def test_records_are_nodes_whose_links_can_be_followed(store: IpfsStore) -> None:
    model = store.put(bytes(2 * CHUNK) + b"a model")
    first = store.put_node(encode({"model": model}))
    second = store.put_node(encode({"parent": first, "seen": b"\x00" * 32}))
    assert store.put_node(encode({"model": model})) == first
    assert store.get(second) == encode({"parent": first, "seen": b"\x00" * 32})
    assert resolve(store, f"{cid_text(second)}/parent/model") == cid_text(model)
    for cid in (first, second, model):
        store.remove(cid)


def test_a_chunk_is_not_a_file_that_was_put(store: IpfsStore) -> None:
    whole = store.put(b"x" * CHUNK + b"y" * CHUNK)
    with pytest.raises(NotFound):
        store.remove(file_cid(b"y" * CHUNK))
    store.remove(whole)


def test_what_is_missing_is_told_after_a_bounded_wait(store: IpfsStore, short_search: None) -> None:
    """By the node, which gives up its search: the store would have waited longer."""
    cid = file_cid(b"nobody has these bytes")
    assert not store.has(cid)
    for ask in (store.get, store.block_bytes):
        with pytest.raises(NotFound, match=f"{cid_text(cid)} is not on this node"):
            ask(cid)
    with pytest.raises(NotFound):
        store.get(node_cid(b"\xf6"))
    assert store.interruptions == 0
    for wrong in (b"", bytes(36)):
        for refuse in (store.get, store.has, store.remove):
            with pytest.raises(StoreError, match="not a CID"):
                refuse(wrong)


def test_the_node_collects_what_was_removed_and_nothing_else(
    empty_ipfs_node: IpfsNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a node of its own: js-ipfs takes minutes to collect what other tests leave on theirs."""
    draw = random.Random(8)
    kept, gone = draw.randbytes(2 * CHUNK), draw.randbytes(2 * CHUNK)
    with patient(empty_ipfs_node) as store:
        for data in (kept, gone):
            store.put(data)
        store.remove(file_cid(gone))
        assert store.collect() >= 3
        assert store.get(file_cid(kept)) == kept
        monkeypatch.setattr(ipfs, "MISSING_SECONDS", 0.5)
        assert not store.has(file_cid(gone))
        store.remove(file_cid(kept))


def test_measured_files_leave_nothing_behind(store: IpfsStore, short_search: None) -> None:
    data = random.Random(9).randbytes(3 * CHUNK)
    store.put(data)
    store.erase(data)
    for cid, _ in file_blocks(data)[1]:
        assert not store.has(cid)


# --- a run ----------------------------------------------------------------------------------------


def tables(path: Path) -> dict[str, list[Any]]:
    """Everything in a chain file."""
    with closing(sqlite3.connect(path / "chain.sqlite")) as database:
        return {
            name: database.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()
            for name in ("blocks", "content", "updates", "meta")
        }


def on(node: IpfsNode, *more: str) -> tuple[str, ...]:
    return ("store.kind=ipfs", f"store.api={node.api}", "ledger.window=3", *more)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The same experiment on the embedded store."""
    path = tmp_path_factory.mktemp("embedded")
    return path, play(path, "ledger.window=3")


def test_a_run_has_the_same_chain_and_can_be_walked_on_the_node(
    ipfs_node: IpfsNode,
    store: IpfsStore,
    reference: tuple[Path, dict[str, Any]],
    tmp_path: Path,
) -> None:
    store.remove_all([parse_cid(text) for text in store.pins()])
    summary = play(tmp_path, *on(ipfs_node, "store.collect=true"))
    assert lasting(summary) == lasting(reference[1])
    assert tables(tmp_path) == tables(reference[0])
    assert audit_command(tmp_path) == 0
    with SqliteStore(tmp_path / "chain.sqlite", read_only=True) as chain:
        head = str(summary["head"])
        pinned = store.pins()
        for height in range(12, 0, -1):
            encoded = chain.block(height)
            header = Block.decode(encoded).header
            path = head + "/parent" * (12 - height)
            assert resolve(store, path) == cid_text(header.cid)
            assert resolve(store, f"{path}/model") == cid_text(header.aggregate_cid)
            assert store.get(header.aggregate_cid) == chain.get(header.aggregate_cid)
            assert store.get(node_cid(encoded)) == encoded
            assert {cid_text(header.cid), cid_text(header.aggregate_cid)} <= pinned
        assert store.get(parse_cid(resolve(store, head + "/parent" * 12))) == chain.block(0)
        links = [
            UpdateRecord.decode(data).payload
            for height in chain.update_heights()
            for data in chain.updates(height)
        ]
        assert len(links) == 30
        assert all(cid_text(link) in pinned for link in links)
        held = {cid_text(cid) for cid in chain.cids()}
    nodes = 1 + 2 * 12  # the genesis, and each height's header and block
    assert len(pinned) == len(held) + nodes, "what left the window is pinned no longer"


def holes(store: IpfsStore, path: Path) -> int:
    """How many files and nodes of a run's chain the node did not hold."""
    with SqliteStore(path / "chain.sqlite") as chain:
        return Publication(chain, store).complete()


class Killer(threading.Thread):
    """Kills a node each time a run reaches one of some heights, and starts it again."""

    def __init__(self, node: IpfsNode, run: Path, heights: tuple[int, ...], away: float) -> None:
        super().__init__(daemon=True)
        self.node, self.database, self.heights, self.away = (
            node,
            run / "state.sqlite",
            heights,
            away,
        )
        self.kills = 0

    def height(self) -> int:
        if not self.database.exists():
            return -1
        with closing(sqlite3.connect(self.database, timeout=PATIENCE)) as database:
            try:
                return int(database.execute("SELECT max(height) FROM rounds").fetchone()[0] or -1)
            except sqlite3.Error:
                return -1

    def run(self) -> None:
        for height in self.heights:
            while self.height() < height:
                time.sleep(0.002)
            self.node.kill()
            self.kills += 1
            time.sleep(self.away)
            self.node.start()


def test_a_node_killed_three_times_loses_nothing(
    ipfs_node: IpfsNode,
    store: IpfsStore,
    reference: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    between_tries: list[Callable[[], object]],
) -> None:
    """In the middle of a height's requests, at another place each time."""
    put_nodes = IpfsStore.put_nodes

    def failing(self: IpfsStore, records: list[bytes]) -> list[bytes]:
        calls.append(1)
        if len(calls) in (3, 7, 11):
            ipfs_node.kill()
            between_tries[:] = [lambda: None, ipfs_node.start]
        return put_nodes(self, records)

    calls: list[int] = []
    monkeypatch.setattr(IpfsStore, "put_nodes", failing)
    summary = play(tmp_path, *on(ipfs_node))
    assert len(calls) > 11
    assert not between_tries
    assert lasting(summary) == lasting(reference[1])
    assert tables(tmp_path) == tables(reference[0])
    assert holes(store, tmp_path) == 0
    assert resolve(store, summary["head"] + "/parent" * 11 + "/model")


def test_a_run_whose_node_is_gone_goes_on_when_it_is_back(
    ipfs_node: IpfsNode,
    reference: tuple[Path, dict[str, Any]],
    tmp_path: Path,
) -> None:
    """Even where the node comes back at another address, with nothing of what it had."""
    gone = f"{ipfs_node.api}: the IPFS node is not running there .connection refused., 2 times"
    options = on(ipfs_node, "store.retries=1")
    put_files = IpfsStore.put_files
    with pytest.MonkeyPatch.context() as patch:
        calls: list[int] = []

        def failing(self: IpfsStore, files: list[bytes]) -> list[bytes]:
            calls.append(1)
            if len(calls) == 6:
                ipfs_node.kill()
            return put_files(self, files)

        patch.setattr(IpfsStore, "put_files", failing)
        with pytest.raises(StoreError, match=gone):
            play(tmp_path, *options)
    with pytest.raises(StoreError, match="connection refused"):
        play(tmp_path, *options, resume=True)
    ipfs_node.create()
    ipfs_node.start()
    summary = play(tmp_path, *on(ipfs_node, "store.retries=4"), resume=True)
    assert lasting(summary) == lasting(reference[1])
    assert tables(tmp_path) == tables(reference[0])
    with IpfsStore(ipfs_node.api) as store:
        assert holes(store, tmp_path) == 0
        assert resolve(store, summary["head"] + "/parent" * 11 + "/model")


def test_a_node_that_hangs_for_a_while_is_waited_for(
    ipfs_node: IpfsNode,
    reference: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It goes on between two tries."""
    clock = SimpleNamespace(sleep=lambda seconds: ipfs_node.go_on())
    monkeypatch.setattr(ipfs_rpc, "time", clock)
    put_nodes = IpfsStore.put_nodes
    with pytest.MonkeyPatch.context() as patch:
        calls: list[int] = []

        def failing(self: IpfsStore, records: list[bytes]) -> list[bytes]:
            calls.append(1)
            if len(calls) == 4:
                ipfs_node.hang()
                paused.append(self)
            return put_nodes(self, records)

        patch.setattr(IpfsStore, "put_nodes", failing)
        paused: list[IpfsStore] = []
        summary = play(tmp_path, *on(ipfs_node, "store.timeout=5"))
    assert paused[0].interruptions >= 1
    line = f"{ipfs_node.api}: the IPFS node did not answer within 5 s; next try in 0.5 s"
    assert line in (tmp_path / "log.txt").read_text()
    assert lasting(summary) == lasting(reference[1])
    with IpfsStore(ipfs_node.api) as store:
        assert holes(store, tmp_path) == 0


def test_what_a_node_lacks_it_is_given(
    ipfs_node: IpfsNode, store: IpfsStore, reference: tuple[Path, dict[str, Any]]
) -> None:
    with SqliteStore(reference[0] / "chain.sqlite") as chain:
        publication = Publication(chain, store)
        publication.complete()
        assert publication.complete() == 0
        header = Block.decode(chain.block(5)).header
        store.remove(header.aggregate_cid)
        store.remove(header.cid)
        assert publication.complete() == 2
        # A user who pinned the chain from its head, in one, keeps it so.
        head = cid_text(chain.meta("head"))
        store._client.pin.rm(head)
        store._client.pin.add(head)
        publication.publish(12)
        assert publication.complete() == 0
        kept = store._client.pin.ls(head, opts={"cid-base": "base32"})["Keys"]
        assert kept[head]["Type"] == "recursive"


def test_the_command_tells_an_absent_node_in_one_line(tmp_path: Path) -> None:
    words = ["run", tmp_path / "small.yaml", *SMALL, "--out", tmp_path / "run"]
    (tmp_path / "small.yaml").write_text("name: small\n")
    done = completed(*words, "store.kind=ipfs", "store.api=/ip4/127.0.0.1/tcp/1")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "bfedrec: /ip4/127.0.0.1/tcp/1: the IPFS node is not running there (connection refused)"
    ]


# --- the whole experiment -------------------------------------------------------------------------


def movielens(path: Path, *overrides: str) -> dict[str, Any]:
    """Run the experiment for this store in ``path``; its summary."""
    command = [sys.executable, "-m", "bfedrec", "run", "experiments/ml-1m-ipfs.yaml", *overrides]
    subprocess.run([*command, "--out", str(path)], cwd=ROOT, check=True, capture_output=True)
    summary: dict[str, Any] = json.loads((path / "summary.json").read_text())
    return summary


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("retained", ["none", "window"])
def test_movielens_has_the_same_head_on_both_stores_whatever_befalls_the_node(
    ipfs_node: IpfsNode,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    retained: str,
) -> None:
    """100 rounds of MovieLens-1M: embedded, on a node, and on a node that is killed three times.
    Run it with `-s` for the seconds per round."""
    monkeypatch.setenv("BFEDREC_DATA", str(data_folder))
    here = [f"store.api={ipfs_node.api}", f"ledger.retain_updates={retained}"]
    summaries = {"sqlite": movielens(tmp_path / "sqlite", *here, "store.kind=sqlite")}
    summaries["ipfs"] = movielens(tmp_path / "ipfs", *here)
    killer = Killer(ipfs_node, tmp_path / "killed", (20, 50, 80), away=1.0)
    killer.start()
    summaries["killed"] = movielens(tmp_path / "killed", *here, "store.retries=12")
    killer.join()
    assert killer.kills == 3
    with IpfsStore(ipfs_node.api) as store:
        assert holes(store, tmp_path / "killed") == 0
    for name, summary in summaries.items():
        print(f"updates retained: {retained}; {name}: {summary['wall_seconds'] / 100:.3f} s/round")
        assert lasting(summary) == lasting(summaries["sqlite"])
        assert tables(tmp_path / name) == tables(tmp_path / "sqlite")
