"""Errors of the registry and of the nodes that it is reached through, each in one line."""

from __future__ import annotations

from collections.abc import Mapping

from consensus.ethereum.records import Value

__all__ = ["EthereumError", "NonceTaken", "RegistryError", "Reverted"]


class EthereumError(Exception):
    """Error: a node is absent, silent or refuses, or its answer makes no sense."""


class NonceTaken(EthereumError):
    """Error: another transaction of the account came first; sign it anew."""


class Reverted(EthereumError):
    """Error: a contract refuses what it was asked, unlike a node that does or is absent."""


class RegistryError(Reverted):
    """Error: the contract refuses; `name` and `arguments` are those of its custom error."""

    def __init__(self, name: str, arguments: Mapping[str, Value]) -> None:
        self.name = name
        self.arguments = dict(arguments)
        told = ", ".join(f"{key}={_told(value)}" for key, value in self.arguments.items())
        super().__init__(f"the registry refuses: {name}({told})")


def _told(value: Value) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
