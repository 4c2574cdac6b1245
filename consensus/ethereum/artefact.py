"""The compiled contract as it ships with the package: ABI, bytecode, compiler and settings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from consensus.encoding.node import Node

__all__ = ["NAME", "Artefact", "artefact", "source"]

NAME: Final = "ModelRegistry"


@dataclass(frozen=True)
class Artefact:
    """A compiled contract: `bytecode` creates it, `runtime` is the code that a chain then holds."""

    compiler: str
    settings: Node
    abi: list[Node]
    bytecode: bytes
    runtime: bytes


@cache
def artefact() -> Artefact:
    """The compiled registry, read from `ModelRegistry.json`."""
    found = json.loads(_file("json"))
    return Artefact(
        found["compiler"],
        found["settings"],
        found["abi"],
        bytes.fromhex(found["bytecode"]),
        bytes.fromhex(found["runtime"]),
    )


def source() -> str:
    """The contract's source in Solidity."""
    return _file("sol")


def _file(ending: str) -> str:
    return (resources.files(__package__) / f"{NAME}.{ending}").read_text(encoding="utf-8")
