"""Transactions to the registry that the contract refused in a block, which leave no event.

A transaction whose refusal the node foresees is never sent by this project's programs; others send
what they like, and pay for it. The record of events (`Registry.record`) knows nothing of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

from consensus.ethereum.errors import EthereumError
from consensus.ethereum.registry import Registry

__all__ = ["MOST_BLOCKS", "Failure", "failures"]

MOST_BLOCKS: Final = 10_000
"""Most blocks that one call looks through; each is a request to the node."""
SELECTOR: Final = 4
"""Bytes that name a function at the beginning of a call."""
MOST_REASON: Final = 200
UNKNOWN: Final = "for a reason that the node no longer tells"


@dataclass(frozen=True)
class Failure:
    """A transaction to the registry that a block holds and the contract refused."""

    sender: str
    function: str
    """The function's name; empty where the registry has none like it."""
    block: int
    time: int
    """The block's timestamp, seconds since 1970."""
    transaction: str
    gas: int
    """Gas that it used and its sender paid for."""
    reason: str
    """The answer to the same call after its block, in one line: the state within a block is not
    kept, so that another transaction of the block may have changed the reason."""


def failures(
    registry: Registry, since: int | None = None, until: int | None = None
) -> list[Failure]:
    """The refused transactions from block ``since`` (the registry's first) to ``until`` (the
    latest), in order.

    Raises EthereumError where the node fails, and for a range of more than MOST_BLOCKS: on a chain
    of strangers one asks in parts.
    """
    node = registry.node
    first = registry.since if since is None else since
    last = node.ask(lambda: int(node.web3.eth.block_number)) if until is None else until
    if last - first >= MOST_BLOCKS:
        raise EthereumError(f"blocks {first:,} to {last:,}: more than {MOST_BLOCKS:,} at once")
    found: list[Failure] = []
    for number in range(first, last + 1):
        found += node.ask(partial(_of_block, registry, number))
    return found


def _of_block(registry: Registry, number: int) -> list[Failure]:
    eth = registry.node.web3.eth
    block: Any = eth.get_block(number, full_transactions=True)
    found = []
    for each in block["transactions"]:
        if str(each["to"] or "").lower() != registry.address.lower():
            continue
        receipt = eth.get_transaction_receipt(each["hash"])
        if receipt["status"] == 1:
            continue
        found.append(
            Failure(
                sender=str(each["from"]),
                function=registry.function_of(bytes(each["input"])[:SELECTOR]),
                block=number,
                time=int(block["timestamp"]),
                transaction=each["hash"].to_0x_hex(),
                gas=int(receipt["gasUsed"]),
                reason=_reason(registry, each, number),
            )
        )
    return found


def _reason(registry: Registry, transaction: Any, number: int) -> str:
    """The contract's answer to the same call after the block."""
    again = {
        "from": transaction["from"],
        "to": transaction["to"],
        "data": transaction["input"],
        "gas": transaction["gas"],
        "value": transaction["value"],
    }
    eth = registry.node.web3.eth
    try:
        registry.node.ask(lambda: eth.call(cast(Any, again), number))
    except EthereumError as error:
        return str(error)[:MOST_REASON]
    return UNKNOWN
