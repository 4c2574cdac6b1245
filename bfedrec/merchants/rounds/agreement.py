"""The agreement of all merchants of a registry: catalogue, settings, names, where it is."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from bfedrec.files import write_bytes
from bfedrec.merchants.averaging import PLAIN, rules
from bfedrec.merchants.interactions import Catalogue
from bfedrec.merchants.model import DIMENSION, Shared, encode, initial_shared, payload_size
from bfedrec.merchants.settings import StepSettings
from bfedrec.streams import Streams
from consensus.ethereum.bounded_json import parse
from consensus.ethereum.extra import needed
from consensus.storage.regular import read_regular

VERSION: Final = 1
MOST_BYTES: Final = 32 * 2**20
"""Longest agreement that is read; each of a million products takes 22 bytes at most."""
MOST_DIMENSION: Final = 1024
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
"""A merchant's name: it is a folder's and part of addresses of pages."""
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")


class AgreementError(ValueError):
    """Error: a file that is no agreement; the text is one line for people."""


@dataclass(frozen=True)
class Agreement:
    """The things that merchants have agreed on before the first round.

    All of it is public, and each merchant has a copy. Which node and which store a merchant reads
    is its own choice.
    """

    seed: int
    """Seed of the initial model and of training."""
    merchants: dict[str, str]
    """Ethereum address by name; their order is the merchants' numbers."""
    registry: str
    """Address of the registry."""
    since: int
    """Block of its deployment."""
    catalogue: Catalogue
    dimension: int = DIMENSION
    rule: str = PLAIN
    """Aggregation rule."""
    settings: StepSettings = field(default_factory=StepSettings)

    def __post_init__(self) -> None:
        for name, address in self.merchants.items():
            if not NAME.fullmatch(name) or not _ADDRESS.fullmatch(address):
                raise AgreementError(
                    f"{name!r:.40}: {address!r:.60}: not a merchant with an address"
                )
        if not self.merchants or len({*map(str.lower, self.merchants.values())}) < len(
            self.merchants
        ):
            raise AgreementError("merchants are one or more, each with an address of its own")
        if not _ADDRESS.fullmatch(self.registry):
            raise AgreementError(f"{self.registry!r:.60}: not the address of a registry")
        if not 0 <= self.seed < 2**63 or not 0 <= self.since < 2**63:
            raise AgreementError("seed and since are integers from 0 to 2**63 - 1")
        if not 1 <= self.dimension <= MOST_DIMENSION:
            raise AgreementError(f"dimension must be 1 to {MOST_DIMENSION}, not {self.dimension}")
        if self.rule not in rules():
            raise AgreementError(f"rule {self.rule!r:.40} is not one of {', '.join(rules())}")
        if not len(self.catalogue):
            raise AgreementError("a catalogue has at least one product")

    @cached_property
    def streams(self) -> Streams:
        """The streams of its seed."""
        return Streams(self.seed)

    @cached_property
    def names(self) -> dict[str, str]:
        """The names of merchants by address."""
        return {address: name for name, address in self.merchants.items()}

    @cached_property
    def payload_size(self) -> int:
        """Number of bytes of every model."""
        return payload_size(len(self.catalogue), self.dimension)

    def initial(self) -> Shared:
        """The model that round 1 starts from."""
        return initial_shared(len(self.catalogue), self.streams, self.dimension)

    def initial_payload(self) -> bytes:
        """Its bytes."""
        return encode(self.initial(), self.catalogue)

    def number(self, name: str) -> int:
        """The number of a merchant. Raises AgreementError for an unknown one."""
        if name not in self.merchants:
            raise AgreementError(f"{name!r:.40} is not one of {', '.join(self.merchants)}")
        return list(self.merchants).index(name)

    def save(self, path: Path) -> None:
        """Write the agreement to a file, whole or not at all."""
        content: dict[str, object] = {"version": VERSION}
        for part in dataclasses.fields(self):
            content[part.name] = getattr(self, part.name)
        content["settings"] = dataclasses.asdict(self.settings)
        content["catalogue"] = [int(one) for one in self.catalogue.ids]
        write_bytes(path, (json.dumps(content) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> Agreement:
        """The agreement in a file. Raises AgreementError, which names the file, and OSError."""
        try:
            return cls._parsed(read_regular(path, MOST_BYTES))
        except ValueError as error:
            raise AgreementError(f"{path}: {error}") from None

    @classmethod
    def _parsed(cls, content: bytes) -> Agreement:
        found: Any = parse(content)
        kinds = {part.name: part.type for part in dataclasses.fields(cls)}
        if not isinstance(found, dict) or found.pop("version", None) != VERSION:
            raise AgreementError(f"not an agreement of version {VERSION}")
        if found.keys() != kinds.keys():
            odd = sorted(found.keys() ^ kinds.keys())
            raise AgreementError(f"lacks entries or has unknown ones: {', '.join(odd)!r:.80}")
        for name, kind in (("seed", int), ("since", int), ("dimension", int), ("rule", str)):
            if type(found[name]) is not kind:
                raise AgreementError(f"{name} is not of type {kind.__name__}")
        merchants, ids, settings = found["merchants"], found["catalogue"], found["settings"]
        if not isinstance(merchants, dict) or not all(
            type(one) is str for one in merchants.values()
        ):
            raise AgreementError("merchants are names with addresses")
        if not isinstance(found["registry"], str):
            raise AgreementError("registry is an address")
        if not isinstance(ids, list) or not all(
            type(one) is int and -(2**63) <= one < 2**63 for one in ids
        ):
            raise AgreementError("catalogue is a list of products' ids")
        defaults = dataclasses.asdict(StepSettings())
        if not isinstance(settings, dict) or settings.keys() != defaults.keys():
            raise AgreementError(f"settings are {', '.join(defaults)}")
        for name, default in defaults.items():
            if type(settings[name]) is not type(default):
                raise AgreementError(f"settings: {name} is not of type {type(default).__name__}")
        return cls(
            **{
                **found,
                "merchants": {name: _checked(one) for name, one in merchants.items()},
                "registry": _checked(found["registry"]),
                "catalogue": Catalogue(np.array(ids, np.int64)),
                "settings": StepSettings(**settings),
            }
        )


def _checked(address: str) -> str:
    """An address as chains tell it, in letters of both cases that are a checksum (EIP-55).

    Whoever writes an agreement may have it in letters of one case. Raises AgreementError for a
    wrong checksum; what is no address is returned as it is.
    """
    if not _ADDRESS.fullmatch(address):
        return address
    with needed():
        from eth_utils.address import to_checksum_address
    checked, digits = str(to_checksum_address(address)), address[2:]
    if address != checked and digits not in (digits.lower(), digits.upper()):
        raise AgreementError(f"{address}: not an address, as its checksum is wrong")
    return checked
