"""Three ways to have the same calls made: the rules in Python, the contract on a fast machine
(revm), and the contract on a chain through its binding."""

from __future__ import annotations

import re
from typing import Any, Protocol

from eth_abi import decode
from eth_account.signers.local import LocalAccount
from eth_utils.abi import function_abi_to_4byte_selector, get_abi_input_types, get_abi_output_types
from pyrevm import EVM
from web3 import Web3

from consensus.ethereum.artefact import artefact
from consensus.ethereum.errors import RegistryError
from consensus.ethereum.records import Model, Round
from consensus.ethereum.registry import Registry, _round
from tests.consensus.ethereum.reference import Reference, Refused

READER = "0x" + "ee" * 20
ABI: list[Any] = list(artefact().abi)
ERRORS = {function_abi_to_4byte_selector(e): e for e in ABI if e["type"] == "error"}
READING = {e["name"]: e for e in ABI if e["type"] == "function"}


class Target(Protocol):
    """A registry in any form; a refused call raises Refused."""

    def call(self, name: str, sender: str, *arguments: Any) -> None: ...
    def read(self, number: int) -> Round: ...
    def next(self) -> tuple[str, ...]: ...


class OfRules:
    """The reference as a target."""

    def __init__(self, operator: str, initial: Model, founders: list[str]) -> None:
        self.rules = Reference(operator, initial, founders)

    def call(self, name: str, sender: str, *arguments: Any) -> None:
        getattr(self.rules, name)(sender, *arguments)

    def read(self, number: int) -> Round:
        return self.rules.read(number)

    def next(self) -> tuple[str, ...]:
        return tuple(self.rules.next)


def flat(arguments: tuple[Any, ...]) -> list[Any]:
    """The arguments as the contract takes them, a model as its CID and digest."""
    return [
        part
        for each in arguments
        for part in ((each.cid, each.digest) if isinstance(each, Model) else (each,))
    ]


class OfMachine:
    """The contract on revm; every event that it has told."""

    def __init__(self, operator: str, initial: Model, founders: list[str]) -> None:
        kind = Web3().eth.contract(abi=ABI, bytecode=artefact().bytecode)
        deployment = kind.constructor(initial.cid, initial.digest, founders)
        self._machine = EVM()
        code = bytes.fromhex(deployment.data_in_transaction[2:])
        address = self._machine.deploy(operator, code)
        self._address = address
        self._contract = Web3().eth.contract(address=Web3.to_checksum_address(address), abi=ABI)
        topics = {each.topic: str(each.event_name) for each in self._contract.events}  # type: ignore[attr-defined]
        self._topics = topics
        self.events: list[str] = []
        self._note()

    def call(self, name: str, sender: str, *arguments: Any) -> None:
        self._run(sender, name, flat(arguments))
        self._note()

    def read(self, number: int) -> Round:
        found = self._run(READER, "readRound", [number])
        told = decode(get_abi_output_types(READING["readRound"]), found)[0]
        return _round(checked(told), number)

    def next(self) -> tuple[str, ...]:
        found = self._run(READER, "nextMerchants", [])
        return tuple(map(Web3.to_checksum_address, decode(["address[]"], found)[0]))

    def _note(self) -> None:
        self.events += [self._topics[log.topics[0]] for log in self._machine.result.logs]

    def _run(self, sender: str, name: str, arguments: list[Any]) -> bytes:
        data = bytes.fromhex(self._contract.encode_abi(name, arguments)[2:])
        before = self._machine.snapshot()
        try:
            return bytes(self._machine.message_call(sender, self._address, calldata=data))
        except RuntimeError as error:
            self._machine.revert(before)
            said = re.search(r"Revert .*output: 0x([0-9a-f]*)", str(error))
            if said is None:
                raise
            raise refused(bytes.fromhex(said[1])) from None


def checked(value: Any) -> Any:
    """What was decoded, its addresses with their checksums."""
    if isinstance(value, tuple):
        return tuple(map(checked, value))
    return Web3.to_checksum_address(value) if isinstance(value, str) else value


def refused(data: bytes) -> Refused:
    """The refusal that a contract's revert data tells."""
    known = ERRORS[data[:4]]
    kinds = get_abi_input_types(known)
    values = decode(kinds, data[4:])
    return Refused(
        known["name"],
        *(
            Web3.to_checksum_address(value) if kind == "address" else value
            for kind, value in zip(kinds, values, strict=True)
        ),
    )


class OfBinding:
    """A deployed contract through the binding."""

    def __init__(self, registry: Registry, accounts: list[LocalAccount]) -> None:
        self.registry = registry
        self._accounts = {each.address: each for each in accounts}

    def call(self, name: str, sender: str, *arguments: Any) -> None:
        try:
            getattr(self.registry, name)(self._accounts[sender], *arguments)
        except RegistryError as error:
            raise Refused(error.name, *error.arguments.values()) from None

    def read(self, number: int) -> Round:
        try:
            return self.registry.read_round(number)
        except RegistryError as error:
            raise Refused(error.name, *error.arguments.values()) from None

    def next(self) -> tuple[str, ...]:
        return self.registry.next_merchants()
