"""A writer of a chain's file that commits as fast as it can, and what its readers must find.

    python -m tests.helpers.busy_writer PATH HEIGHTS...

Every height is one transaction, as a run's: content that stays, a block, the head, updates and
their payloads; those of the height `WINDOW` below go, so that pages are freed and used again.
"""

from __future__ import annotations

import sys
from hashlib import sha256
from pathlib import Path

from consensus.encoding.unixfs import file_cid
from consensus.storage.chain_reader import ChainReader
from consensus.storage.sqlite import SqliteStore

WINDOW = 3
UPDATES = 4


def content(*names: object) -> bytes:
    """Bytes that follow from their name, of a length that does too: a few or many pages."""
    seed = sha256(repr(names).encode()).digest()
    length = 200 + int.from_bytes(seed[:3], "big") % (60_000 if seed[3] % 4 == 0 else 9_000)
    return (seed * (length // len(seed) + 1))[:length]


def write(path: Path, *heights: int) -> None:
    """Write a chain up to each of these numbers of heights, say so, and wait for a line of standard
    input before going on; at last close the file."""
    with SqliteStore(path) as store:
        done = 0
        for each in heights:
            write_heights(store, range(done, each))
            done = each
            if len(heights) > 1:
                print(each, flush=True)
                sys.stdin.readline()


def write_heights(store: SqliteStore, heights: range) -> None:
    """Write these heights to an open store."""
    for height in heights:
        with store.transaction():
            store.put(content("aggregate", height))
            store.put_block(height, content("block", height))
            store.set_meta("head", height.to_bytes(4, "big"))
            for number in range(UPDATES):
                store.put(content("payload", height, number))
            records = [content("update", height, number) for number in range(UPDATES)]
            store.put_updates(height, records)
            if height >= WINDOW:
                store.drop_updates(height - WINDOW)
                for number in range(UPDATES):
                    store.remove(file_cid(content("payload", height - WINDOW, number)))


def check(store: ChainReader, pick: int) -> int:
    """Check that all answers of a reader are those of one height, which is returned. ``pick``
    chooses the old height whose content is read."""
    height = int.from_bytes(store.meta("head"), "big")
    assert store.heights() == list(range(height + 1))
    kept = list(range(max(0, height - WINDOW + 1), height + 1))
    assert store.update_heights() == kept
    for each in kept:
        assert store.updates(each) == [content("update", each, n) for n in range(UPDATES)]
        payloads = [content("payload", each, number) for number in range(UPDATES)]
        assert [store.get(file_cid(payload)) for payload in payloads] == payloads
    for each in (height, pick % (height + 1)):
        assert store.block(each) == content("block", each)
        aggregate = content("aggregate", each)
        assert store.get(file_cid(aggregate)) == aggregate
    if height >= WINDOW:
        assert not store.has(file_cid(content("payload", height - WINDOW, 0)))
    assert len(store.cids()) == height + 1 + len(kept) * UPDATES
    return height


if __name__ == "__main__":
    write(Path(sys.argv[1]), *map(int, sys.argv[2:]))
