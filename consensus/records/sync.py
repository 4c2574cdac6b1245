"""The records by which servers catch up: a status, requests for what is missing, and content."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from consensus.encoding.fields import (
    DIGEST_BYTES,
    MalformedRecord,
    Record,
    fields_of,
    fixed_bytes,
    integer,
    items_of,
    link,
    names_of,
)
from consensus.encoding.frozen import frozen
from consensus.encoding.node import Node


@frozen
class Status(Record):
    """A server's progress, sent when it makes none: servers that are further answer with what it
    lacks.

    Unsigned: a server that lies about its progress only loses the answer.
    """

    KIND: ClassVar[str] = "status"

    height: int
    """Height of the last block of its chain."""
    attempt: int
    step: int
    updates: tuple[bytes, ...] = ()
    """Digests of the updates that it holds for the height in progress."""
    tickets: tuple[int, ...] = ()
    """Servers whose tickets it holds."""

    def to_node(self) -> Node:
        node = {name: getattr(self, name) for name in names_of(type(self))}
        return node | {"updates": list(self.updates), "tickets": list(self.tickets)}

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "status", names_of(cls))
        return cls(
            integer(found["height"], "status.height"),
            integer(found["attempt"], "status.attempt"),
            integer(found["step"], "status.step"),
            tuple(
                fixed_bytes(entry, "status.updates", DIGEST_BYTES)
                for entry in items_of(found["updates"], "status.updates")
            ),
            tuple(
                integer(entry, "status.tickets") for entry in items_of(found["tickets"], "status")
            ),
        )


@frozen
class Want(Record):
    """A request for updates of the height in progress, by digest."""

    KIND: ClassVar[str] = "want"

    height: int
    updates: tuple[bytes, ...]

    def to_node(self) -> Node:
        return {"height": self.height, "updates": list(self.updates)}

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "want", names_of(cls))
        return cls(
            integer(found["height"], "want.height", 1),
            tuple(
                fixed_bytes(entry, "want.updates", DIGEST_BYTES)
                for entry in items_of(found["updates"], "want.updates")
            ),
        )


@frozen
class Fetch(Record):
    """A request for the aggregate of a decided block."""

    KIND: ClassVar[str] = "fetch"

    height: int
    """Height of the block."""
    link: bytes
    """The aggregate's CID, as the block's header names it."""

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "fetch", names_of(cls))
        return cls(integer(found["height"], "fetch.height", 1), link(found["link"], "fetch.link"))


@frozen
class Delivery(Record):
    """The answer to a `Fetch`: the bytes of an aggregate, unsigned, as their hash is known."""

    KIND: ClassVar[str] = "model"

    link: bytes
    data: bytes
    """Empty where the server has nothing."""

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "model", names_of(cls))
        data = found["data"]
        if type(data) is not bytes:
            raise MalformedRecord("model.data: expected bytes")
        return cls(link(found["link"], "model.link"), data)
