"""CAR files: the format's bytes, a chain out and in again, and every damage told."""

from __future__ import annotations

import io
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import libipld
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.cli.audit import audit_command
from bfedrec.cli.chain import export_command, import_command
from bfedrec.cli.main import main
from consensus.encoding.cid import cid_text, node_cid, parse_cid, raw_cid
from consensus.encoding.dag_cbor import decode, encode
from consensus.encoding.unixfs import file_blocks, varint
from consensus.records.block import Block
from consensus.storage import archive
from consensus.storage.car import CarError, CarFile, write_car
from consensus.storage.content import NotFound, StoreError
from consensus.storage.ipfs import IpfsStore
from consensus.storage.sqlite import SqliteStore
from tests.bfedrec.runs.test_simulation import play
from tests.helpers.ipfs_node import IpfsNode


def quiet(done: int, total: int) -> None:
    pass


# --- the format -----------------------------------------------------------------------------------


def test_a_file_of_one_block_byte_by_byte(tmp_path: Path) -> None:
    """Header and section as the specification's example lays them out."""
    path = tmp_path / "one.car"
    root = raw_cid(b"hello")
    assert write_car(path, root, [(root, b"hello")]) == 1
    header = b"\xa2eroots\x81\xd8\x2a\x58\x25\x00" + root + b"gversion\x01"
    assert path.read_bytes() == bytes([len(header)]) + header + bytes([36 + 5]) + root + b"hello"
    with CarFile(path) as car:
        assert car.roots == [root]
        assert len(car) == 1
        assert car.block(root) == b"hello"
        with pytest.raises(NotFound, match="is not in the file"):
            car.block(raw_cid(b"other"))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=400), min_size=1, max_size=8))
def test_whatever_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("car") / "x.car"
    blocks = [(raw_cid(data), data) for data in contents]
    assert write_car(path, blocks[0][0], blocks) == len(dict(blocks))
    with CarFile(path) as car:
        assert {cid: car.block(cid) for cid, _ in blocks} == dict(blocks)


def test_another_reader_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x.car"
    records = [encode({"number": number}) for number in range(200)]
    blocks = [(node_cid(data), data) for data in records]
    write_car(path, blocks[-1][0], iter(blocks))
    header, found = libipld.decode_car(path.read_bytes())
    assert header["roots"] == [blocks[-1][0]]
    assert found == {cid: decode(data) for cid, data in blocks}


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path: Path) -> None:
    def blocks() -> Iterator[tuple[bytes, bytes]]:
        yield raw_cid(b"a"), b"a"
        raise StoreError("no more")

    with pytest.raises(StoreError):
        write_car(tmp_path / "x.car", raw_cid(b"a"), blocks())
    assert list(tmp_path.iterdir()) == []


def small_file() -> bytes:
    root = node_cid(encode({"a": raw_cid(b"model")}))
    header = encode({"roots": [root], "version": 1})
    out = io.BytesIO()
    out.write(varint(len(header)) + header)
    for cid, data in ((root, encode({"a": raw_cid(b"model")})), (raw_cid(b"model"), b"model")):
        out.write(varint(36 + len(data)) + cid + data)
    return out.getvalue()


HEADER = 1 + small_file()[0]
OTHER_HEADERS = [
    encode({"roots": [raw_cid(b"")], "version": 2}),
    encode({"version": 1}),
    encode({"roots": "x", "version": 1}),
    encode({"roots": [b"\x01" * 36], "version": 1}),
    encode([1]),
    b"\xff",
    b"",
]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a CAR file"),
        (b"\x00", "not a CAR file"),
        (b"SQLite format 3\x00" * 50, "ends within|not a CAR file"),
        *((varint(len(header)) + header, "not a CAR file") for header in OTHER_HEADERS),
        (small_file()[:-1], "ends within the block"),
        (small_file()[: HEADER + 20], "ends within the block"),
        (small_file() + b"\x80", "no length of a block"),
        (small_file() + b"\xa4\x00" + bytes(36), "no length of a block"),
        (small_file() + b"\x24" + bytes(36), "no CID that we know"),
        (small_file() + b"\x05hello", "no block is 5 bytes long"),
        (small_file() + b"\xff" * 9 + b"\x7f", "no length of a block|bytes long"),
        (small_file() + b"\xff" * 7 + b"\x7f", "bytes long"),
    ],
    ids=range(18),
)
def test_what_is_not_a_car_file_is_told(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "x.car"
    path.write_bytes(data)
    with pytest.raises(CarError, match=reason):
        CarFile(path)


# --- a chain out and in ---------------------------------------------------------------------------

RUN = ("rounds=6", "ledger.window=2", "model.dimension=1500")
"""Its initial model takes two chunks and a node above them."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run's folder, and its chain as a CAR file."""
    folder = tmp_path_factory.mktemp("exported")
    play(folder / "run", *RUN)
    assert export_command(folder / "run", folder / "chain.car") == 0
    return folder / "run", folder / "chain.car"


def tables(path: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(path / "chain.sqlite")) as database:
        return {
            name: database.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()
            for name in ("blocks", "content", "updates", "meta")
        }


def test_what_is_imported_is_what_was_exported(
    exported: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, car = exported
    assert main(["chain", "import", str(car), "--out", str(tmp_path / "new" / "run")]) == 0
    assert tables(tmp_path / "new" / "run") == tables(run)
    assert [file.name for file in (tmp_path / "new" / "run").iterdir()] == ["chain.sqlite"]
    capsys.readouterr()
    assert audit_command(tmp_path / "new" / "run") == 0
    assert "2 of 6 aggregates recomputed" in " ".join(capsys.readouterr().out.split())
    assert main(["chain", "export", str(tmp_path / "new" / "run"), str(tmp_path / "x.car")]) == 0
    assert (tmp_path / "x.car").read_bytes() == car.read_bytes()


def test_the_initial_model_is_a_tree_of_blocks(exported: tuple[Path, Path]) -> None:
    with SqliteStore(exported[0] / "chain.sqlite", read_only=True) as store:
        genesis = decode(store.block(0))
        assert len(file_blocks(store.get(genesis["model"]))[1]) == 3


def test_every_link_leads_to_a_block_of_the_file(exported: tuple[Path, Path]) -> None:
    """From the root everything can be walked to, and nothing else is there."""
    with CarFile(exported[1]) as car:
        reached: set[bytes] = set()
        pending = list(car.roots)
        while pending:
            cid = pending.pop()
            if cid in reached:
                continue
            reached.add(cid)
            data = car.block(cid)
            if cid[1] == 0x71:
                pending += links(decode(data))
            elif cid[1] == 0x70:
                starts = (at for at in range(len(data)) if data[at : at + 4] == raw_cid(b"")[:4])
                pending += [data[at : at + 36] for at in starts]
        assert len(reached) == len(car)


def links(node: Any) -> list[bytes]:
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list):
        return [link for inner in node for link in links(inner)]
    return [node] if isinstance(node, bytes) and len(node) == 36 else []


def test_a_changed_byte_anywhere_is_found(
    exported: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bit at 150 places: the file's first and last bytes, and others at random."""
    data = exported[1].read_bytes()
    draw = random.Random(3)
    places = [*range(12), len(data) - 1, *(draw.randrange(len(data)) for _ in range(137))]
    path, out = tmp_path / "bad.car", tmp_path / "out"
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        assert import_command(path, out) == 1, f"byte {place} was changed"
        captured = capsys.readouterr()
        told = captured.err.strip()
        assert told.startswith(str(path))
        assert "\n" not in told
        assert any(sign in told for sign in ("bafy", "bafk", "byte ", "not a CAR file"))
        assert not out.exists()


def test_a_block_left_out_is_told_with_its_height(
    exported: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with CarFile(exported[1]) as car:
        blocks = {cid: car.block(cid) for cid in car._places}
        root = car.roots[0]
    entry = decode(blocks[root])
    aggregate_cid = Block.decode(blocks[entry["block"]]).header.aggregate_cid
    for missing, told in (
        (aggregate_cid, "height 6: "),
        (entry["block"], "height 6: "),
        (root, ""),
    ):
        left = [(cid, data) for cid, data in blocks.items() if cid != missing]
        write_car(tmp_path / "x.car", root, left)
        assert import_command(tmp_path / "x.car", tmp_path / "out") == 1
        error = " ".join(capsys.readouterr().err.split())
        assert f"{told}" in error
        assert f"{cid_text(missing)} is not in the file" in error
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "node",
    [
        {
            "height": 0,
            "previous": None,
            "head": raw_cid(b"x"),
            "block": raw_cid(b"x"),
            "updates": [],
        },
        {
            "height": 1,
            "previous": None,
            "head": raw_cid(b"x"),
            "block": raw_cid(b"x"),
            "updates": [],
        },
        {"height": 0, "previous": None, "head": raw_cid(b"x"), "block": 5, "updates": []},
        {
            "height": 0,
            "previous": None,
            "head": raw_cid(b"x"),
            "block": raw_cid(b"x"),
            "updates": [1],
        },
        {
            "height": -1,
            "previous": None,
            "head": raw_cid(b"x"),
            "block": raw_cid(b"x"),
            "updates": [],
        },
        {"height": 0, "previous": None, "block": raw_cid(b"x"), "updates": []},
        [],
    ],
    ids=range(7),
)
def test_other_archives_are_refused(
    tmp_path: Path, node: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    data = encode(node)
    blocks = [(node_cid(data), data), (raw_cid(b"x"), b"x")]
    write_car(tmp_path / "x.car", blocks[0][0], blocks)
    assert import_command(tmp_path / "x.car", tmp_path / "out") == 1
    assert str(tmp_path / "x.car") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_entry_that_names_another_head_is_refused(
    exported: tuple[Path, Path], tmp_path: Path
) -> None:
    with CarFile(exported[1]) as car:
        blocks = {cid: car.block(cid) for cid in car._places}
        root = encode({**decode(blocks[car.roots[0]]), "head": raw_cid(b"x")})
    write_car(tmp_path / "x.car", node_cid(root), [(node_cid(root), root), *blocks.items()])
    with (
        SqliteStore(tmp_path / "c.sqlite") as store,
        pytest.raises(CarError, match="height 6: the entry names another head"),
    ):
        archive.import_chain(tmp_path / "x.car", store, quiet)
    with SqliteStore(tmp_path / "c.sqlite", read_only=True) as store:
        assert store.heights() == list(range(6))


def test_heights_that_do_not_follow_are_refused(tmp_path: Path) -> None:
    first = encode(
        {
            "height": 0,
            "previous": None,
            "head": raw_cid(b"x"),
            "block": raw_cid(b"x"),
            "updates": [],
        }
    )
    third = encode(
        {
            "height": 2,
            "previous": node_cid(first),
            "head": raw_cid(b"x"),
            "block": raw_cid(b"x"),
            "updates": [],
        }
    )
    blocks = [(node_cid(data), data) for data in (third, first)]
    write_car(tmp_path / "x.car", blocks[0][0], blocks)
    with SqliteStore(tmp_path / "c.sqlite") as store, pytest.raises(CarError, match="2 follows 0"):
        archive.import_chain(tmp_path / "x.car", store, quiet)


@pytest.mark.parametrize("ending", ["-wal", "-journal", "-shm"])
def test_nothing_is_imported_beside_what_another_chain_left(
    exported: tuple[Path, Path], ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SQLite would apply it to the new file, which then holds another chain than was told."""
    left = tmp_path / f"chain.sqlite{ending}"
    left.write_bytes(b"left")
    assert main(["chain", "import", str(exported[1]), "--out", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{left}: left over from another chain" in line
    assert list(tmp_path.iterdir()) == [left]
    left.unlink()
    (tmp_path / f".chain.sqlite.part{ending}").write_bytes(b"left")
    assert main(["chain", "import", str(exported[1]), "--out", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["chain.sqlite"]


def test_nothing_is_overwritten_and_nothing_missing_is_exported(
    exported: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, car = exported
    assert main(["chain", "export", str(run), str(car)]) == 2
    assert main(["chain", "import", str(car), "--out", str(run)]) == 2
    assert main(["chain", "import", str(tmp_path / "no.car"), "--out", str(tmp_path / "o")]) == 2
    assert not (tmp_path / "o").exists()
    assert main(["chain", "export", str(tmp_path), str(tmp_path / "x.car")]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 4
    with SqliteStore(tmp_path / "chain.sqlite") as store:
        store.put_block(0, encode({"no": "genesis"}))
    with pytest.raises(StoreError, match=r"chain\.sqlite: height 0: genesis: "):
        export_command(tmp_path, tmp_path / "x.car")
    assert not (tmp_path / "x.car").exists()


def test_a_real_node_takes_the_archive_and_gives_the_same_back(
    exported: tuple[Path, Path], ipfs_node: IpfsNode, tmp_path: Path
) -> None:
    """`dag import` and `dag export`, the ecosystem's own tools."""
    with IpfsStore(ipfs_node.api) as node, CarFile(exported[1]) as car:
        root = cid_text(car.roots[0])
        with exported[1].open("rb") as file:
            node._client.dag.imprt(file)
        assert node.has(parse_cid(root))
        (tmp_path / "node.car").write_bytes(node._client.dag.export(root))
    assert import_command(tmp_path / "node.car", tmp_path / "out") == 0
    assert tables(tmp_path / "out") == tables(exported[0])
