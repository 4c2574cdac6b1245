"""The merchants' registry on a chain: its operations, its rounds, and the record of its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from consensus.ethereum.artefact import artefact
from consensus.ethereum.errors import EthereumError
from consensus.ethereum.node import Node
from consensus.ethereum.records import (
    Attestation,
    Entry,
    Model,
    Operation,
    Publication,
    Round,
    Sent,
    Value,
)
from consensus.ethereum.transactions import decode

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

__all__ = ["Registry"]

BLOCKS_PER_REQUEST: Final = 1000
"""Blocks whose events are asked for at once; public nodes limit it."""


class Registry:
    """A deployed registry, reached through a node.

    Every method raises EthereumError in one line where the node fails, and RegistryError where the
    contract refuses. All are safe to be called again after a crash: an operation that a block holds
    is refused the second time, and `publication_of` and `attestation_of` tell what is there.
    """

    def __init__(self, node: Node, address: str, since: int = 0) -> None:
        """The registry at `address`, whose code has to be that of the shipped contract.

        ``since``: the block of its deployment or an earlier one, where its record begins.
        """
        self.node = node
        self.address: str = node.address(address)
        self.since = since
        self._contract = node.contract(address)
        code = bytes(node.ask(lambda: node.web3.eth.get_code(node.address(address))))
        if code != artefact().runtime:
            there = "another contract" if code else "no contract"
            raise EthereumError(
                f"{node.url}: {there} at {self.address}, where a registry should be"
            )

    @classmethod
    def deploy(
        cls, node: Node, operator: LocalAccount, initial: Model, founders: Sequence[str]
    ) -> Registry:
        """Deploy a registry whose round 1 is of `founders` and has `initial` as its parent."""
        kind = node.web3.eth.contract(abi=artefact().abi, bytecode=artefact().bytecode)
        merchants = [node.address(each) for each in founders]
        call = node.ask(lambda: kind.constructor(initial.cid, initial.digest, merchants))
        receipt = node.transact(operator, call)
        address = receipt["contractAddress"]
        if address is None:
            raise EthereumError(f"{node.url}: a deployment without an address")
        return cls(node, address, receipt["blockNumber"])

    # --- operations -------------------------------------------------------------------------------

    def admit(self, operator: LocalAccount, merchant: str) -> Sent:
        """Admit a merchant from the next round on."""
        return self._transact(operator, "admit", self.node.address(merchant))

    def retire(self, operator: LocalAccount, merchant: str) -> Sent:
        """Retire a merchant from the next round on."""
        return self._transact(operator, "retire", self.node.address(merchant))

    def publish(
        self, merchant: LocalAccount, number: int, parent: bytes, model: Model, samples: int
    ) -> Sent:
        """Publish the merchant's model of the open round `number`, trained from `parent` (the
        digest of the round's parent) on `samples` samples."""
        return self._transact(merchant, "publish", number, parent, model.cid, model.digest, samples)

    def attest(self, merchant: LocalAccount, number: int, covered: int, aggregate: Model) -> Sent:
        """Attest the aggregate of all `covered` publications of the open round `number`."""
        return self._transact(merchant, "attest", number, covered, aggregate.cid, aggregate.digest)

    # --- operations through somebody else ---------------------------------------------------------

    def signed_publish(
        self, merchant: LocalAccount, number: int, parent: bytes, model: Model, samples: int
    ) -> bytes:
        """`publish` as a signed transaction that anybody can `deliver`."""
        call = self._operation("publish", number, parent, model.cid, model.digest, samples)
        return self.node.signed(merchant, call)

    def signed_attest(
        self, merchant: LocalAccount, number: int, covered: int, aggregate: Model
    ) -> bytes:
        """`attest` as a signed transaction that anybody can `deliver`."""
        call = self._operation("attest", number, covered, aggregate.cid, aggregate.digest)
        return self.node.signed(merchant, call)

    def deliver(self, raw: bytes) -> Sent:
        """Send a signed operation; sent again, it is found where it is (`Node.deliver`)."""
        return self.node.sent(self.node.deliver(raw))

    def operation_of(self, raw: bytes) -> Operation:
        """The operation in a signed transaction.

        Raises EthereumError, in one line, for bytes that are no transaction to this registry on
        this chain, call no function of it, or pay it.
        """
        found = decode(raw)
        if found.chain_id != self.node.chain_id:
            raise EthereumError(f"the transaction is for chain {found.chain_id}")
        if found.to != self.address:
            raise EthereumError("the transaction is not to the registry")
        if found.value:
            raise EthereumError("the transaction pays the registry, which takes nothing")
        try:
            function, arguments = self._contract.decode_function_input(cast(Any, found.data))
        except Exception as error:  # of several libraries
            raise EthereumError(
                f"the transaction calls no function of the registry ({type(error).__name__})"
            ) from None
        named = {
            name: bytes(one) if isinstance(one, bytes) else one for name, one in arguments.items()
        }
        return Operation(found.sender, function.fn_name, named)

    # --- reading ----------------------------------------------------------------------------------

    def current_round(self) -> int:
        """The number of the open round."""
        return int(self._call("currentRound"))

    def operator(self) -> str:
        """The address of the operator."""
        return str(self._call("operator"))

    def next_merchants(self) -> tuple[str, ...]:
        """The merchants of the next round, as things stand."""
        return tuple(map(str, self._call("nextMerchants")))

    def read_round(self, number: int) -> Round:
        """A whole round. Raises EthereumError for what no contract tells, as one without a
        parent."""
        found = self._call("readRound", number)
        return self.node.ask(lambda: _round(found, number))

    def publication_of(self, merchant: str, number: int) -> Publication | None:
        """A merchant's publication in round `number`, or None."""
        found = self._call("publicationOf", number, self.node.address(merchant))
        return self.node.ask(lambda: _publication(found) if any(found[2]) else None)

    def attestation_of(self, merchant: str, number: int) -> Attestation | None:
        """A merchant's latest attestation in round `number`, or None."""
        found = self._call("attestationOf", number, self.node.address(merchant))
        return self.node.ask(lambda: _attestation(found) if any(found[2]) else None)

    def record(self, since: int | None = None, until: int | None = None) -> list[Entry]:
        """All events in order, from block `since` (the deployment's) to `until` (the latest)."""
        first = self.since if since is None else since
        eth = self.node.web3.eth
        last = self.node.ask(lambda: int(eth.block_number)) if until is None else until
        entries: list[Entry] = []
        for start in range(first, last + 1, BLOCKS_PER_REQUEST):
            end = min(start + BLOCKS_PER_REQUEST - 1, last)
            entries += self.node.ask(partial(self._events, start, end))
        return entries

    # --- parts ------------------------------------------------------------------------------------

    def _transact(self, account: LocalAccount, name: str, *arguments: object) -> Sent:
        return self.node.sent(self.node.transact(account, self._operation(name, *arguments)))

    def _operation(self, name: str, *arguments: object) -> Any:
        return self.node.ask(lambda: self._contract.functions[name](*arguments))

    def _call(self, name: str, *arguments: object) -> Any:
        return self.node.ask(lambda: self._contract.functions[name](*arguments).call())

    def _events(self, first: int, last: int) -> list[Entry]:
        eth = self.node.web3.eth
        logs = eth.get_logs(
            {"address": self.node.address(self.address), "fromBlock": first, "toBlock": last}
        )
        events: Any = self._contract.events
        known = {event.topic: event for event in events}
        receipts = {log["transactionHash"]: log["blockNumber"] for log in logs}
        paid = {each: eth.get_transaction_receipt(each) for each in receipts}
        times = {each: eth.get_block(each)["timestamp"] for each in set(receipts.values())}
        return [
            Entry(
                event=(told := known[log["topics"][0].to_0x_hex()]().process_log(log))["event"],
                sender=str(paid[log["transactionHash"]]["from"]),
                block=log["blockNumber"],
                position=log["logIndex"],
                time=times[log["blockNumber"]],
                transaction=log["transactionHash"].to_0x_hex(),
                gas=paid[log["transactionHash"]]["gasUsed"],
                fields=_fields(told["args"]),
            )
            for log in logs
        ]


def _fields(arguments: Mapping[str, Any]) -> dict[str, Value]:
    return {
        name: bytes(value) if isinstance(value, bytes) else value
        for name, value in arguments.items()
    }


def _model(digest: bytes, cid: bytes) -> Model | None:
    return Model(bytes(cid), bytes(digest)) if any(digest) else None


def _publication(found: Sequence[Any]) -> Publication:
    merchant, samples, digest, cid = found
    return Publication(str(merchant), Model(bytes(cid), bytes(digest)), samples)


def _attestation(found: Sequence[Any]) -> Attestation:
    merchant, covered, digest, cid = found
    return Attestation(str(merchant), Model(bytes(cid), bytes(digest)), covered)


def _round(found: Sequence[Any], asked: int) -> Round:
    number, closed, parent, merchants, publications, attestations, aggregate = found
    round = Round(
        number,
        closed,
        _model(*parent),
        tuple(map(str, merchants)),
        tuple(map(_publication, publications)),
        tuple(map(_attestation, attestations)),
        _model(*aggregate),
    )
    if (
        round.number != asked
        or (round.parent is None) != (asked == 0)
        or (round.aggregate is None) == round.closed
    ):
        raise ValueError(f"what it tells as round {asked} is none")
    return round
