"""Every transaction that reached the registry, refused ones included, read from the chain's blocks.

The registry's events tell of what succeeded. A transaction that was refused in its block has left
no event, and is found by looking through the blocks; that is done once for each block, and a
bounded number at a visit. A chain on which a block that was looked through is another one now
begins anew.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from consensus.encoding.cid import EncodingError, cid_text
from consensus.ethereum.errors import EthereumError, Reverted
from consensus.ethereum.records import Entry, Value
from consensus.ethereum.registry import Registry

BLOCKS_A_VISIT: Final = 400
"""Blocks that are looked through at one visit."""
SHOWN_BYTES: Final = 80
"""Longest CID that is shown as such; a contract's caller may have put anything there."""


@dataclass(frozen=True)
class Transaction:
    """One transaction to the registry."""

    hash: str
    block: int
    time: int
    """Seconds since 1970, by the block."""
    sender: str
    operation: str
    """The name of the function it called, or an empty text for bytes that call none."""
    arguments: tuple[tuple[str, str], ...]
    """Name and value, readable."""
    gas: int
    refused: str
    """The reason of a refusal, one line; empty for one that was accepted."""
    events: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    """Its events: name, and fields with their readable values."""


@dataclass(frozen=True)
class Ledger:
    """The record of a registry as far as it has been read."""

    transactions: tuple[Transaction, ...] = ()
    """In the chain's order."""
    height: int = 0
    """The number of the chain's latest block."""
    looked: int = 0
    """The latest block that was looked through."""


@dataclass
class LedgerReader:
    """A reader that remembers the blocks it has looked through; for several threads."""

    registry: Registry
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _looked: int = -1
    _mark: bytes = b""
    """Hash of the block `_looked`."""
    _found: list[Transaction] = field(default_factory=list)

    def read(self) -> Ledger:
        """The record up to now. Raises EthereumError, one line."""
        with self._lock:
            ask, eth = self.registry.node.ask, self.registry.node.web3.eth
            height = ask(lambda: int(eth.block_number))
            if self._looked < 0 or self._looked > height or self._hash(self._looked) != self._mark:
                self._looked, self._found = self.registry.since - 1, []
            before, end = self._looked, min(height, self._looked + BLOCKS_A_VISIT)
            mark = self._hash(end)
            events: dict[str, list[Entry]] = {}
            if end > self._looked:
                for entry in self.registry.record(self._looked + 1, end):
                    events.setdefault(entry.transaction, []).append(entry)
            found = []
            for number in range(self._looked + 1, end + 1):
                found += ask(lambda number=number: self._block(number, events))  # type: ignore[misc]
            same = self._hash(end) == mark and (not self._found or self._hash(before) == self._mark)
            if not same:  # events and blocks, or these and what is known, may be of two chains
                raise EthereumError("the chain changed while it was read; please try again")
            self._looked, self._mark = end, mark
            self._found += found
            return Ledger(tuple(self._found), height, end)

    def _hash(self, number: int) -> bytes:
        eth = self.registry.node.web3.eth
        return self.registry.node.ask(lambda: bytes(eth.get_block(number)["hash"]))

    def _block(self, number: int, events: Mapping[str, list[Entry]]) -> list[Transaction]:
        block: Any = self.registry.node.web3.eth.get_block(number, full_transactions=True)
        found = []
        for sent in block["transactions"]:
            name = sent["hash"].to_0x_hex()
            ours = sent.get("to") == self.registry.address
            if ours or name in events:
                found.append(self._transaction(sent, block["timestamp"], events.get(name, [])))
        return found

    def _transaction(self, sent: Any, time: int, events: list[Entry]) -> Transaction:
        receipt = self.registry.node.web3.eth.get_transaction_receipt(sent["hash"])
        operation, arguments = self._call(sent)
        return Transaction(
            hash=sent["hash"].to_0x_hex(),
            block=sent["blockNumber"],
            time=time,
            sender=sent["from"],
            operation=operation,
            arguments=arguments,
            gas=receipt["gasUsed"],
            refused="" if receipt["status"] == 1 else self._reason(sent),
            events=tuple((each.event, _readable(each.fields)) for each in events),
        )

    def _call(self, sent: Any) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The function that a transaction called, and its arguments."""
        if sent.get("to") is None:
            return "deployment", ()
        contract = self.registry.node.contract(self.registry.address)
        try:
            function, arguments = contract.decode_function_input(sent["input"])
        except Exception:  # of several libraries: these bytes may be anything
            return "", (("data", f"0x{bytes(sent['input'])[:SHOWN_BYTES].hex()}"),)
        return str(function.fn_name), _readable(arguments)

    def _reason(self, sent: Any) -> str:
        """The contract's reason, from the same call again on what stood before its block. That a
        node cannot tell, or does not answer now, is none: it would stay on the record, with what
        the node's URL holds."""
        call = {"from": sent["from"], "to": sent["to"], "data": sent["input"]}
        call["value"] = sent["value"]
        eth: Any = self.registry.node.web3.eth
        for number in (sent["blockNumber"] - 1, sent["blockNumber"]):
            try:
                self.registry.node.ask(lambda number=number: eth.call(call, number))  # type: ignore[misc]
            except Reverted as error:
                return str(error).removeprefix(f"{self.registry.node.url}: ")
            except EthereumError:
                continue
        return "refused in its block"


def shown(name: str, value: Value) -> str:
    """A field of an event or an argument, readable whatever it holds."""
    if not isinstance(value, bytes):
        return str(value)
    if name == "cid":
        try:
            return cid_text(value)
        except EncodingError:
            return f"no CID: 0x{value[:SHOWN_BYTES].hex()}{'…' * (len(value) > SHOWN_BYTES)}"
    return f"0x{value[:SHOWN_BYTES].hex()}"


def _readable(fields: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:
    return tuple((name, shown(name, value)) for name, value in fields.items())
