"""Costs of the ledger: whole heights, checks, gossip, audit (make bench-all)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from consensus.adversary.composed import Composed
from consensus.audit import audit
from consensus.crypto import keys, vrf
from consensus.protocols.bft.validity import sortition_of
from consensus.records.block import Block
from consensus.storage.sqlite import SqliteStore
from tests.helpers.audited import Keeper, build
from tests.helpers.forge import Forge
from tests.helpers.rules import chain_from
from tests.helpers.toy import Toy

Benchmark = Any
"""pytest-benchmark's fixture."""


def forget() -> None:
    """Empty the memos of signatures and proofs, so that everything is computed again."""
    keys.forget()
    vrf._verify.cache_clear()
    vrf._encode_to_curve.cache_clear()


@pytest.mark.parametrize("crypto", ["real", "modelled"])
@pytest.mark.parametrize("servers", [30, 100, 256])
def test_an_honest_height(benchmark: Benchmark, servers: int, crypto: str) -> None:
    toy = Toy(servers=servers, clients=60, committee_size=20, crypto=crypto)
    benchmark.pedantic(toy.play, rounds=5, warmup_rounds=1)
    assert benchmark.stats["min"] <= 5.0


def test_a_height_with_a_third_malicious(benchmark: Benchmark) -> None:
    colluding = {server: Composed(("gaussian", "invert_votes")) for server in range(10)}
    toy = Toy(servers=30, clients=60, committee_size=20, malicious=colluding)
    benchmark.pedantic(lambda: toy.play(1000.0), rounds=10, warmup_rounds=1)


def test_check_block(benchmark: Benchmark) -> None:
    """A block of twenty members from scratch: the draws of thirty servers and 21 signatures."""
    toy = Toy(servers=30, clients=2, committee_size=20)
    block = Forge(toy).block()
    chain = chain_from(toy.genesis)
    check = chain.protocol.check_block
    benchmark.pedantic(check, (toy.genesis, chain.head, block), setup=forget, rounds=30)


def test_decode_block(benchmark: Benchmark) -> None:
    data = Forge(Toy(servers=30, clients=2, committee_size=20)).block().encoded
    benchmark(Block.decode, data)


def test_sortition(benchmark: Benchmark) -> None:
    """An attempt's committee and aggregators, from the draws that the block before recorded."""
    toy = Toy(servers=100, clients=1, committee_size=20)
    toy.play()
    benchmark(sortition_of, toy.genesis, toy.world.head, 3)


def test_audit(benchmark: Benchmark, tmp_path: Path) -> None:
    """Ten heights of sixty updates and twenty seats."""
    toy = Toy(servers=30, clients=60, committee_size=20)
    results = [toy.play() for _ in range(10)]
    path = Keeper(tmp_path / "chain.sqlite", toy.genesis).write_all(results)

    def verify() -> None:
        with SqliteStore(path, read_only=True) as store:
            assert audit(store, build).blocks == 10

    benchmark.pedantic(verify, setup=forget, rounds=3)
