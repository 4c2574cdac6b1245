"""Frozen records of the registry: models, publications, attestations, rounds, and what happened.

Addresses are text in hexadecimal with a checksum, digests 32 bytes of SHA-256. A CID is the bytes
that the contract holds: anybody's word, and only perhaps a CID (`consensus.encoding.cid.is_cid`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Attestation", "Entry", "Model", "Operation", "Publication", "Round", "Sent", "Value"]

Value = int | str | bytes
"""A field of an event or an argument of a refusal: a number, an address, or bytes."""


@dataclass(frozen=True)
class Model:
    """The identity of a model's or an aggregate's bytes: their CID and SHA-256 digest."""

    cid: bytes
    digest: bytes


@dataclass(frozen=True)
class Publication:
    """One merchant's model of one round; `samples` is what the merchant says."""

    merchant: str
    model: Model
    samples: int


@dataclass(frozen=True)
class Attestation:
    """One merchant's latest word on the aggregate of one round.

    It covers the round's first `covered` publications, and counts only if these are all.
    """

    merchant: str
    model: Model
    covered: int


@dataclass(frozen=True)
class Round:
    """One round as the chain has it; round 0 is the initial model, of nobody.

    Publications are in the order in which they came, attestations in that of the merchants' first
    ones. `parent` is None in round 0, `aggregate` while the round is open.
    """

    number: int
    closed: bool
    parent: Model | None
    merchants: tuple[str, ...]
    publications: tuple[Publication, ...]
    attestations: tuple[Attestation, ...]
    aggregate: Model | None

    @property
    def needed(self) -> int:
        """Number of like attestations that close the round: more than half of its merchants."""
        return len(self.merchants) // 2 + 1

    def votes(self, model: Model) -> int:
        """Number of attestations of `model` that cover all publications."""
        covered = len(self.publications)
        return sum(each.model == model and each.covered == covered for each in self.attestations)

    def missing(self) -> tuple[str, ...]:
        """The merchants of the round that have not published."""
        published = {each.merchant for each in self.publications}
        return tuple(merchant for merchant in self.merchants if merchant not in published)


@dataclass(frozen=True)
class Operation:
    """An operation in a signed transaction: the function's name and arguments."""

    sender: str
    name: str
    arguments: Mapping[str, Value]


@dataclass(frozen=True)
class Sent:
    """A transaction that a block holds: its hash (hexadecimal), the block's number, gas used."""

    transaction: str
    block: int
    gas: int


@dataclass(frozen=True)
class Entry:
    """One event of the registry: what, by whose transaction, when, and what it cost.

    `time` is the block's timestamp in seconds since 1970, `gas` what the whole transaction used
    (closing a round is two events more in the attestation's transaction), `position` the event's
    number within its block.
    """

    event: str
    sender: str
    block: int
    position: int
    time: int
    transaction: str
    gas: int
    fields: Mapping[str, Value]
