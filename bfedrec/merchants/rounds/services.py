"""The services that others may do for a merchant: store, register, collect, aggregate.

`LocalServices` does them in the same process; `bfedrec.merchants.functions` does them over HTTP. A
merchant trusts neither: it verifies what it can, and recomputes the rest.
"""

from __future__ import annotations

from typing import Final, Protocol

from bfedrec.merchants.model import PayloadError, decode
from bfedrec.merchants.rounds.agreement import Agreement
from bfedrec.merchants.rounds.checks import (
    Aggregate,
    Collection,
    Refused,
    aggregated,
    collect,
    fetch,
    identity,
)
from consensus.ethereum.records import Model, Sent
from consensus.ethereum.registry import Registry
from consensus.storage.content import ContentStore

OPERATIONS: Final = ("publish", "attest")
"""The registry's functions that merchants call."""


class Services(Protocol):
    """The four services. Methods raise ServiceError, Refused, EthereumError or StoreError, each in
    one line."""

    def store(self, payload: bytes) -> Model:
        """Put a model into the store for good; its address and digest."""

    def register(self, raw: bytes) -> Sent:
        """Send a merchant's signed operation to the registry; where it is."""

    def collect(self, number: int) -> Collection:
        """A round's models, each fetched and checked."""

    def aggregate(self, number: int) -> Aggregate:
        """The aggregate of a round's models as they are now, put into the store."""


class ServiceError(Exception):
    """Error: a service that is absent, silent or refuses; one line for people."""


class LocalServices:
    """The services in this process."""

    def __init__(self, agreement: Agreement, registry: Registry, store: ContentStore) -> None:
        self.agreement, self.registry, self.content = agreement, registry, store

    def store(self, payload: bytes) -> Model:
        """Put a model into the store. Raises Refused for bytes that are no model."""
        try:
            decode(payload, self.agreement.catalogue, self.agreement.dimension)
        except PayloadError as error:
            raise Refused(str(error)) from None
        model = identity(payload)
        self.content.put(payload)
        return model

    def register(self, raw: bytes) -> Sent:
        """Send an operation. Raises Refused for one that is no merchant's, or names a model whose
        bytes are not stored: a registry full of addresses of nothing would help nobody."""
        operation = self.registry.operation_of(raw)
        if operation.name not in OPERATIONS:
            raise Refused(f"{operation.name} is no operation of a merchant")
        if operation.sender not in self.agreement.names:
            raise Refused(f"{operation.sender} is not one of the agreement's merchants")
        cid, digest = operation.arguments["cid"], operation.arguments["digest"]
        assert isinstance(cid, bytes)
        assert isinstance(digest, bytes)
        fetch(self.content, Model(cid, digest), self.agreement)
        return self.registry.deliver(raw)

    def collect(self, number: int) -> Collection:
        """A round's models. Raises Refused without the round's parent."""
        return collect(self.content, self.registry.read_round(number), self.agreement)

    def aggregate(self, number: int) -> Aggregate:
        """The aggregate, put into the store. Raises Refused without any model."""
        found = aggregated(self.collect(number), self.agreement)
        self.content.put(found.payload)
        return found
