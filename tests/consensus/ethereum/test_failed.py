"""Transactions that the contract refused in a block, told with their senders and reasons."""

from __future__ import annotations

from typing import Any

import pytest

from consensus.ethereum.errors import EthereumError
from consensus.ethereum.failed import MOST_BLOCKS, failures
from consensus.ethereum.node import Node
from consensus.ethereum.registry import Registry
from tests.consensus.ethereum.scene import ANNA, STRANGER, middle, model


def forced(registry: Registry, account: Any, data: str, value: int = 0) -> None:
    """Send a call that the contract will refuse, as somebody with a program of his own does."""
    web3 = registry.node.web3
    transaction = {
        "chainId": registry.node.chain_id,
        "nonce": web3.eth.get_transaction_count(account.address),
        "to": registry.address,
        "data": data,
        "value": value,
        "gas": 300_000,
        "maxFeePerGas": 10**11,
        "maxPriorityFeePerGas": 1,
    }
    raw = account.sign_transaction(transaction).raw_transaction
    sent = web3.eth.send_raw_transaction(raw)
    web3.eth.wait_for_transaction_receipt(sent, timeout=60)


def test_refused_transactions_are_told_with_sender_and_reason(node: Node) -> None:
    scene = middle(node)
    registry = scene.registry
    assert failures(registry) == []
    before = registry.record()
    new = model("again")
    functions = registry._contract.functions
    published = functions.publish(2, scene.parent.digest, new.cid, new.digest, 1)
    forced(registry, ANNA, published._encode_transaction_data())
    forced(registry, STRANGER, published._encode_transaction_data())
    forced(registry, STRANGER, "0x12345678")
    forced(registry, STRANGER, "0x", value=1)
    found = failures(registry)
    assert [(each.sender, each.function) for each in found] == [
        (ANNA.address, "publish"),
        (STRANGER.address, "publish"),
        (STRANGER.address, ""),
        (STRANGER.address, ""),
    ]
    assert "AlreadyPublished" in found[0].reason
    assert "NotActive" in found[1].reason
    assert all(0 < each.gas <= 300_000 and "\n" not in each.reason for each in found)
    assert [each.block for each in found] == sorted({each.block for each in found})
    assert registry.record() == before, "the events know nothing of them"
    assert failures(registry, found[1].block, found[1].block) == [found[1]]
    with pytest.raises(EthereumError, match="at once"):
        failures(registry, 0, MOST_BLOCKS)
