"""Unit costs of the ledger's cryptography and store (make bench-all)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from consensus.crypto import keys, vrf
from consensus.encoding.cid import digest, raw_cid
from consensus.encoding.dag_cbor import decode, encode
from consensus.encoding.unixfs import file_cid
from consensus.ledger.sortition import race_key, weight
from consensus.storage.content import ContentStore, MemoryStore
from consensus.storage.sqlite import SqliteStore

Benchmark = Any
"""pytest-benchmark's fixture."""

KEY = keys.SigningKey.from_seed(digest(b"signing"))
VRF_KEY = vrf.VrfKey.from_seed(digest(b"vrf"))
UPDATE = {
    "chain": digest(b"chain"),
    "client": 1234,
    "height": 17,
    "kind": "update",
    "parent": digest(b"parent"),
    "payload": raw_cid(b"payload"),
    "samples": 99,
    "signature": bytes(64),
}
MODEL = bytes(59_296)  # A of MovieLens-1M at r = 4, in float32


def fresh(make: Callable[[bytes], tuple[Any, ...]]) -> Callable[[], tuple[tuple[Any, ...], dict]]:
    """Arguments that no earlier round had, so that no memo answers."""
    numbers = count()
    return lambda: (make(digest(b"%d" % next(numbers))), {})


def test_sign(benchmark: Benchmark) -> None:
    benchmark(KEY.sign, digest(b"message"))


def test_verify(benchmark: Benchmark) -> None:
    setup = fresh(lambda message: (KEY.public, message, KEY.sign(message)))
    assert benchmark.pedantic(keys.verify, setup=setup, rounds=500)


def test_verify_again(benchmark: Benchmark) -> None:
    message = digest(b"message")
    assert benchmark(keys.verify, KEY.public, message, KEY.sign(message))


def test_vrf_prove(benchmark: Benchmark) -> None:
    benchmark.pedantic(VRF_KEY.prove, setup=fresh(lambda alpha: (alpha,)), rounds=500)


def test_vrf_verify(benchmark: Benchmark) -> None:
    def forget(alpha: bytes) -> tuple[bytes, bytes, bytes]:
        proof = VRF_KEY.prove(alpha)[0]
        vrf._encode_to_curve.cache_clear()
        return VRF_KEY.public, alpha, proof

    benchmark.pedantic(vrf.verify, setup=fresh(forget), rounds=500)


@pytest.mark.parametrize(
    ("stake", "total", "size"), [(1, 30, 20), (100, 10_000, 200), (10_000, 1_000_000, 1_000)]
)
def test_weight(benchmark: Benchmark, stake: int, total: int, size: int) -> None:
    setup = fresh(lambda beta: (beta, stake, total, size))
    benchmark.pedantic(weight, setup=setup, rounds=2_000)


def test_race_key(benchmark: Benchmark) -> None:
    benchmark.pedantic(race_key, setup=fresh(lambda beta: (beta, 17)), rounds=2_000)


def test_encode(benchmark: Benchmark) -> None:
    benchmark(encode, UPDATE)


def test_decode(benchmark: Benchmark) -> None:
    assert benchmark(decode, encode(UPDATE)) == UPDATE


@pytest.mark.parametrize("size", [15_000, 1_000_000, 16_000_000])
def test_file_cid(benchmark: Benchmark, size: int) -> None:
    benchmark(file_cid, bytes(size))


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_put_and_get(benchmark: Benchmark, kind: str, tmp_path: Path) -> None:
    store: ContentStore = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "c.sqlite")

    def put_and_get(name: bytes) -> bytes:
        return store.get(store.put(name + MODEL))

    benchmark.pedantic(put_and_get, setup=fresh(lambda name: (name,)), rounds=200)


def test_a_round_in_one_transaction(benchmark: Benchmark, tmp_path: Path) -> None:
    """A block of 60 updates, all retained, and its model."""
    store = SqliteStore(tmp_path / "c.sqlite")
    heights = count()

    def commit() -> None:
        height = next(heights)
        with store.transaction():
            store.put(height.to_bytes(8, "big") + MODEL)
            store.put_updates(height, [MODEL] * 60)
            store.put_block(height, bytes(20_000))

    benchmark.pedantic(commit, rounds=20)
