"""Gas and time of the registry's operations on the embedded chain:
`pytest tests/bench/test_bench_ethereum.py -s`.

Gas follows from the contract and these calls alone; time is the machine's. The gas that one chain
tells is the gas of all of them: tests/consensus/ethereum holds both kinds against the same rules.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consensus.ethereum.chain import Chain
from consensus.ethereum.node import SPARE_GAS, Node
from consensus.ethereum.registry import Registry
from tests.consensus.ethereum.scene import INITIAL, OPERATOR, deploy, model
from tests.helpers.ethereum import ACCOUNTS, serving

Told = Callable[[str, int, float], None]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with serving() as server:
        yield Node(server.url)


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    rows: list[str] = []
    yield lambda what, gas, seconds: rows.append(
        f"{what:<42} {gas:>9,} gas {seconds * 1e3:>7.0f} ms"
    )
    print("\n" + "\n".join(rows))


@pytest.mark.parametrize("count", [3, 64])
def test_a_round_costs_what_it_costs(node: Node, told: Told, count: int) -> None:
    founders = list(ACCOUNTS[1 : 1 + count])

    def timed(what: str, act: Callable[[], int]) -> int:
        begun = time.perf_counter()
        gas = act()
        told(f"{what} ({count} merchants)", gas, time.perf_counter() - begun)
        return gas

    def deployment() -> int:
        deployed.append(deploy(node, founders))
        return deployed[0].record()[0].gas

    deployed: list[Registry] = []
    timed("deploy", deployment)
    registry = deployed[0]
    assert registry.read_round(1).needed == count // 2 + 1
    timed(
        "publish, the first",
        lambda: registry.publish(founders[0], 1, INITIAL.digest, model("0"), 9).gas,
    )
    timed(
        "publish, another",
        lambda: registry.publish(founders[1], 1, INITIAL.digest, model("1"), 9).gas,
    )
    timed(
        "retire, the first of a round", lambda: registry.retire(OPERATOR, founders[-1].address).gas
    )
    timed("admit, afterwards", lambda: registry.admit(OPERATOR, ACCOUNTS[70].address).gas)
    ours = model("ours")
    needed = count // 2 + 1
    timed("attest, a new aggregate", lambda: registry.attest(founders[0], 1, 2, ours).gas)
    for each in founders[1 : needed - 1]:
        last = registry.attest(each, 1, 2, ours).gas
    closing = timed(
        "attest, closing", lambda: registry.attest(founders[needed - 1], 1, 2, ours).gas
    )
    if count > 3:
        told(f"attest, the same aggregate ({count} merchants)", last, 0.0)
        assert closing - last < SPARE_GAS
    begun = time.perf_counter()
    registry.read_round(1)
    told(f"read a round ({count} merchants)", 0, time.perf_counter() - begun)


def test_a_kept_chain_is_computed_again(told: Told, tmp_path: Path) -> None:
    path = tmp_path / "chain.journal"
    funded = [each.address for each in ACCOUNTS]
    chain = Chain(funded, path)
    with serving(chain) as server:
        registry = deploy(Node(server.url), list(ACCOUNTS[1:33]))
        for place in range(1, 33):
            registry.publish(ACCOUNTS[place], 1, INITIAL.digest, model(str(place)), 9)
    chain.close()
    begun = time.perf_counter()
    again = Chain(funded, path)
    told(f"start with {again.height} kept transactions", 0, time.perf_counter() - begun)
    assert again.block(again.height).header.hash == chain.block(chain.height).header.hash
    again.close()
    told(f"bytes of its state file: {path.stat().st_size:,}", 0, 0.0)
