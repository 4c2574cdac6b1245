"""The audit: nothing in a stored chain can be changed without being found."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consensus.audit import AuditFailure, Claims, audit
from consensus.crypto.keys import SigningKey
from consensus.encoding.unixfs import file_cid
from consensus.records.block import Block
from consensus.records.genesis import Run
from consensus.storage.content import StoreError
from consensus.storage.sqlite import SqliteStore
from tests.helpers.audited import (
    BLOCKS,
    HEIGHTS,
    RESULTS,
    TOY,
    Keeper,
    assert_fails,
    build,
    failure,
    verify,
)
from tests.helpers.toy import Toy


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chain of five honest heights with all updates retained; not to be written to."""
    path = tmp_path_factory.mktemp("audit") / "chain.sqlite"
    return Keeper(path, TOY.genesis).write_all(RESULTS)


@pytest.fixture
def copy(chain: Path, tmp_path: Path) -> Path:
    """The same chain, to be tampered with."""
    return Path(shutil.copy(chain, tmp_path / "chain.sqlite"))


def tamper(path: Path, *statements: tuple[str, tuple[Any, ...]]) -> None:
    """Change the file past everything that guards it; each statement must touch a row."""
    with closing(sqlite3.connect(path)) as connection:
        for statement, values in statements:
            assert connection.execute(statement, values).rowcount > 0
        connection.commit()


def put_block(path: Path, height: int, data: bytes) -> None:
    tamper(path, ("UPDATE blocks SET data = ? WHERE height = ?", (data, height)))


# -- single bytes ----------------------------------------------------------------------------------

COLUMNS = {
    "blocks": ("SELECT rowid, data FROM blocks", "UPDATE blocks SET data = ? WHERE rowid = ?"),
    "content": ("SELECT rowid, data FROM content", "UPDATE content SET data = ? WHERE rowid = ?"),
    "addresses": ("SELECT rowid, cid FROM content", "UPDATE content SET cid = ? WHERE rowid = ?"),
    "updates": ("SELECT rowid, data FROM updates", "UPDATE updates SET data = ? WHERE rowid = ?"),
    "meta": ("SELECT rowid, value FROM meta", "UPDATE meta SET value = ? WHERE rowid = ?"),
}


def flips(path: Path, table: str, count: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """``count`` random single-byte changes of a table's bytes, every byte as likely: the row and
    its changed bytes."""
    generator = np.random.default_rng(seed)
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(COLUMNS[table][0]).fetchall()
    sizes = np.array([len(data) for _, data in rows])
    for _ in range(count):
        row, data = rows[generator.choice(len(rows), p=sizes / sizes.sum())]
        changed = bytearray(data)
        changed[generator.integers(len(changed))] ^= int(generator.integers(1, 256))
        yield row, bytes(changed)


@pytest.mark.parametrize(
    ("table", "count"),
    [("blocks", 100), ("content", 40), ("addresses", 20), ("updates", 40), ("meta", 20)],
)
def test_no_byte_can_be_changed(copy: Path, table: str, count: int) -> None:
    """220 random single-byte changes, one at a time; each is found and its place told."""
    select, update = COLUMNS[table]
    with closing(sqlite3.connect(copy)) as connection:
        original = dict(connection.execute(select).fetchall())
    for row, changed in flips(copy, table, count, seed=7):
        tamper(copy, (update, (changed, row)))
        found = failure(copy)
        if table == "blocks":
            assert found.height in (row, row + 1), found
        assert found.reason
        tamper(copy, (update, (original[row], row)))
    assert verify(copy).blocks == HEIGHTS


def test_no_part_of_a_block_is_slack(copy: Path) -> None:
    """A bit of every seventeenth byte of one block, from its first to its last."""
    data = BLOCKS[2].encoded
    for position in range(0, len(data), 17):
        changed = bytearray(data)
        changed[position] ^= 1 << (position % 8)
        put_block(copy, 3, bytes(changed))
        assert failure(copy).height == 3
    put_block(copy, 3, data)
    assert verify(copy).blocks == HEIGHTS


def logical(path: Path) -> list[Any]:
    """All that the file says about the chain, as an audit reads it."""
    with SqliteStore(path, read_only=True) as store:
        return [
            [(height, store.block(height)) for height in store.heights()],
            [(cid, store.block_bytes(cid)) for cid in store.cids()],
            [(height, store.updates(height)) for height in store.update_heights()],
            store.meta("head"),
        ]


def test_a_changed_byte_of_the_file_is_found_or_says_nothing(copy: Path) -> None:
    """Anywhere in the file: the audit fails, or what the file says is the same as before (the
    byte lay in unused space)."""
    data, before = copy.read_bytes(), logical(copy)
    generator = np.random.default_rng(3)
    found = 0
    for position in generator.integers(0, len(data), 150).tolist():
        changed = bytearray(data)
        changed[position] ^= int(generator.integers(1, 256))
        copy.write_bytes(changed)
        try:
            verify(copy)
        except (AuditFailure, StoreError):
            found += 1
        else:
            assert logical(copy) == before, position
    assert found > 30


# -- blocks dropped, swapped, re-signed ------------------------------------------------------------


@pytest.mark.parametrize("height", range(HEIGHTS))
def test_a_dropped_block_is_missed(copy: Path, height: int) -> None:
    tamper(copy, ("DELETE FROM blocks WHERE height = ?", (height,)))
    assert_fails(copy, height, "the block is missing")


@pytest.mark.parametrize("low", range(1, HEIGHTS))
def test_swapped_blocks_do_not_link(copy: Path, low: int) -> None:
    put_block(copy, low, BLOCKS[low].encoded)
    put_block(copy, low + 1, BLOCKS[low - 1].encoded)
    assert_fails(copy, low, f"height {low + 1} does not follow {low - 1}")


def test_blocks_moved_up_are_missed(copy: Path) -> None:
    tamper(
        copy,
        ("DELETE FROM blocks WHERE height = 2", ()),
        ("UPDATE blocks SET height = height - 1 WHERE height > 2", ()),
    )
    assert_fails(copy, 2, "height 3 does not follow 1")


def test_a_chain_cut_short_is_missed(copy: Path) -> None:
    tamper(
        copy,
        ("DELETE FROM blocks WHERE height = ?", (HEIGHTS,)),
        ("DELETE FROM updates WHERE height = ?", (HEIGHTS,)),
    )
    assert_fails(copy, HEIGHTS - 1, "the last block is not the head")


def test_a_chain_without_its_head_is_missed(copy: Path) -> None:
    tamper(copy, ("DELETE FROM meta", ()))
    assert_fails(copy, HEIGHTS, "does not name its head")


def test_a_block_too_many_is_missed(copy: Path) -> None:
    tamper(
        copy,
        ("INSERT INTO blocks VALUES (?, ?)", (HEIGHTS + 1, BLOCKS[-1].encoded)),
    )
    assert_fails(copy, HEIGHTS + 1, "does not follow")


def test_a_store_without_a_chain_is_told(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "c.sqlite").close()
    assert_fails(tmp_path / "c.sqlite", 0, "there is no genesis")


LIE = file_cid(b"another aggregate")
STRANGER = SigningKey.from_seed(b"stranger" * 4)


def with_lie(block: Block) -> Block:
    """The block with another aggregate, and a certificate that names it: the old votes."""
    header = replace(block.header, aggregate_cid=LIE)
    certificate = replace(block.certificate, block=header.cid)
    return replace(block, header=header, certificate=certificate)


def resigned(block: Block, key: SigningKey) -> Block:
    lie = with_lie(block)
    return replace(lie, signature=key.sign(lie.header.signed))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda block: replace(block, header=replace(block.header, aggregate_cid=LIE)),
            "its certificate is for another block",
        ),
        (with_lie, "the aggregator's signature is not valid"),
        (lambda block: resigned(block, STRANGER), "the aggregator's signature is not valid"),
        (
            lambda block: resigned(block, TOY.keys[block.header.aggregator][0]),
            "vote signature is not valid",
        ),
        (
            lambda block: replace(
                block,
                certificate=replace(block.certificate, signatures=block.certificate.signatures[:3]),
            ),
            "3 of 5 is not more than two thirds",
        ),
        (
            lambda block: replace(block, tickets=block.tickets[:4]),
            "its tickets are not those that its header names",
        ),
        (
            lambda block: replace(block, tickets=BLOCKS[0].tickets),
            "its tickets are not those that its header names",
        ),
        (
            lambda block: replace(block, certificate=BLOCKS[0].certificate),
            "its certificate is for another block",
        ),
        (
            lambda block: replace(block, certificate=replace(block.certificate, phase="soft")),
            "of the soft phase, not cert",
        ),
        (
            lambda block: replace(block, header=replace(block.header, timestamp=0)),
            "timestamp does not rise",
        ),
        (lambda block: replace(block, signature=BLOCKS[0].signature), "aggregator's signature"),
    ],
)
@pytest.mark.parametrize("height", [2, HEIGHTS])
def test_a_block_signed_anew_is_found(
    copy: Path, change: Callable[[Block], Block], reason: str, height: int
) -> None:
    put_block(copy, height, change(BLOCKS[height - 1]).encoded)
    assert_fails(copy, height, reason)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "block"),
        (b"\xa0", "missing or unknown fields"),
        (BLOCKS[1].encoded + b"\x00", "block"),
        (BLOCKS[1].encoded[:-1], "block"),
        (BLOCKS[1].header.encoded, "missing or unknown fields"),
    ],
)
def test_what_is_no_block_is_told(copy: Path, data: bytes, reason: str) -> None:
    put_block(copy, 2, data)
    assert_fails(copy, 2, reason)


def test_a_block_that_is_no_bytes_is_told(copy: Path) -> None:
    tamper(copy, ("UPDATE blocks SET data = 'text' WHERE height = 2", ()))
    assert_fails(copy, 2, "holds str where bytes belong")


# -- genesis ---------------------------------------------------------------------------------------


def test_another_genesis_is_another_chain(copy: Path) -> None:
    put_block(copy, 0, replace(TOY.genesis, timestamp=1).encoded)
    assert_fails(copy, 1, "another chain")


def test_a_genesis_for_another_application_is_told(copy: Path) -> None:
    with SqliteStore(copy) as store:
        other = store.put(b"other")
    put_block(copy, 0, replace(TOY.genesis, model=other).encoded)
    assert_fails(copy, 0, "the initial model is not the toy's")


# -- content ---------------------------------------------------------------------------------------


def test_missing_content_is_told_where_it_is_needed(copy: Path) -> None:
    drop = "DELETE FROM content WHERE cid = ?"
    aggregate_cid, payload = BLOCKS[2].header.aggregate_cid, RESULTS[3].updates[1].record.payload
    shared = {u.record.payload for result in RESULTS[:3] for u in result.updates}
    assert payload not in shared
    tamper(copy, (drop, (payload,)))
    assert_fails(copy, 4, "the payload is missing")
    tamper(copy, (drop, (aggregate_cid,)))
    assert_fails(copy, 3, "the aggregate is missing")
    tamper(copy, (drop, (TOY.genesis.model,)))
    assert_fails(copy, 0, "is not in this store")


def test_wrong_content_is_told_where_it_is_needed(copy: Path) -> None:
    tamper(
        copy,
        (
            "UPDATE content SET data = ? WHERE cid = ?",
            (RESULTS[0].contents.aggregate, BLOCKS[2].header.aggregate_cid),
        ),
    )
    assert_fails(copy, 3, "the aggregate is not what its address says")


def test_content_that_nobody_needs_is_checked_too(copy: Path) -> None:
    with SqliteStore(copy) as store:
        surplus = store.put(b"surplus")
    assert verify(copy).blocks == HEIGHTS
    tamper(copy, ("UPDATE content SET data = ? WHERE cid = ?", (b"Surplus", surplus)))
    assert_fails(copy, None, "hash")


# -- updates ---------------------------------------------------------------------------------------


def encoded(height: int, position: int) -> bytes:
    return RESULTS[height - 1].updates[position].record.encoded


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        (
            [("DELETE FROM updates WHERE height = 2 AND position = 1", ())],
            "not those whose root the header holds",
        ),
        (
            [
                (
                    "UPDATE updates SET data = ? WHERE height = 2 AND position = 0",
                    (encoded(2, 1),),
                ),
                (
                    "UPDATE updates SET data = ? WHERE height = 2 AND position = 1",
                    (encoded(2, 0),),
                ),
            ],
            "not those whose root",
        ),
        (
            [("INSERT INTO updates VALUES (2, 9, ?)", (encoded(2, 0),))],
            "a client's updates count twice",
        ),
        (
            [("INSERT INTO updates VALUES (2, 9, ?)", (encoded(1, 0),))],
            "update 4 is not fit: stale",
        ),
        (
            [("UPDATE updates SET data = ? WHERE height = 2 AND position = 3", (b"\xa0",))],
            "update 3: update: missing or unknown fields",
        ),
        (
            [("UPDATE updates SET data = 7 WHERE height = 2 AND position = 3", ())],
            "its updates cannot be read",
        ),
    ],
)
def test_retained_updates_cannot_be_tampered_with(
    copy: Path, statements: list[tuple[str, tuple[Any, ...]]], reason: str
) -> None:
    tamper(copy, *statements)
    assert_fails(copy, 2, reason)


def test_an_update_signed_anew_is_not_the_one_that_was_aggregated(copy: Path) -> None:
    record = RESULTS[1].updates[0].record
    key = next(key for key in TOY.clients if key.public == record.client)
    changed = replace(record, samples=1)
    changed = replace(changed, signature=key.sign(changed.signed))
    where = "UPDATE updates SET data = ? WHERE height = 2 AND position = 0"
    tamper(copy, (where, (changed.encoded,)))
    assert_fails(copy, 2, "not those whose root")
    changed = replace(changed, signature=STRANGER.sign(changed.signed))
    tamper(copy, (where, (changed.encoded,)))
    assert_fails(copy, 2, "update 0 is not fit: signature")


def test_updates_for_no_block_are_told(copy: Path) -> None:
    tamper(copy, ("INSERT INTO updates VALUES (?, 0, ?)", (HEIGHTS + 1, encoded(1, 0))))
    assert_fails(copy, HEIGHTS + 1, "updates are kept for a block that does not exist")


# -- what the run keeps ----------------------------------------------------------------------------

WINDOW = Toy(servers=4, clients=2, committee_size=4, run=Run(bytes(32), "window", 2))
PLAYED = [WINDOW.play() for _ in range(4)]


def windowed(path: Path, dropped: Sequence[int]) -> Path:
    """The chain of a run that keeps the updates of two heights, without those of some heights."""
    Keeper(path, WINDOW.genesis).write_all(PLAYED)
    tamper(path, *(("DELETE FROM updates WHERE height = ?", (height,)) for height in dropped))
    return path


@pytest.mark.parametrize("dropped", [(), (1,), (2,), (1, 2)])
def test_more_may_be_kept_than_the_genesis_says(tmp_path: Path, dropped: Sequence[int]) -> None:
    report = verify(windowed(tmp_path / "c.sqlite", dropped))
    assert report.aggregates == 4 - len(dropped)
    assert report.run == WINDOW.genesis.run


@pytest.mark.parametrize(("dropped", "first"), [((3,), 3), ((4,), 4), ((3, 4), 3), ((1, 4), 4)])
def test_a_hole_in_the_window_is_seen_before_anything_is_verified(
    tmp_path: Path, dropped: Sequence[int], first: int
) -> None:
    path = windowed(tmp_path / "c.sqlite", dropped)
    put_block(path, 1, b"garbage")
    assert_fails(path, first, "by the genesis, the run keeps the updates of the last 2 heights")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        (Claims({"a note": BLOCKS[3].cid}), "as a note says"),
        (Claims({"one": BLOCKS[4].cid, "two": TOY.genesis.cid}), "as two says"),
        (Claims(latest_us=BLOCKS[4].header.timestamp - 1), "beyond what the run can have reached"),
    ],
)
def test_a_claim_that_does_not_hold_is_seen_before_anything_is_verified(
    copy: Path, claims: Claims, reason: str
) -> None:
    put_block(copy, 1, b"garbage")
    with SqliteStore(copy, read_only=True) as store, pytest.raises(AuditFailure) as caught:
        audit(store, build, claims_of=lambda genesis, blocks: claims)
    assert (caught.value.height, reason in caught.value.reason) == (HEIGHTS, True)


def test_claims_that_hold_pass(copy: Path) -> None:
    claims = Claims({"a note": BLOCKS[4].cid}, BLOCKS[4].header.timestamp)
    with SqliteStore(copy, read_only=True) as store:
        assert audit(store, build, claims_of=lambda genesis, blocks: claims).blocks == HEIGHTS
