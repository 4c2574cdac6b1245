"""Messages between edge servers, and what a flipped bit makes of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from consensus.encoding.fields import MalformedRecord, Record
from consensus.ledger.updates import SignedUpdate
from consensus.records.block import Block, Candidate
from consensus.records.sync import Delivery, Fetch, Status, Want
from consensus.records.ticket import Ticket
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate, Vote


@dataclass(slots=True)  # not frozen, though nobody alters one: that would cost four times as much
class Message:
    """A record on its way, its kind, and the number of bytes of its encoding."""

    kind: str
    body: Any
    size: int
    gossiped: bool = False
    """True if it goes to all servers, each of which is to pass it on."""
    said: float = -1.0
    """The simulated second at which it was said, on a network that holds messages back
    (`consensus.network.held`); negative for one that is not held."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """The body of a message whose bytes are no record of its kind: a receiver turns it away."""

    data: bytes
    """The bytes that came."""
    reason: str
    """The reason why they are no record."""


def with_flipped_bit(message: Message, where: float) -> Message:
    """``message`` as it arrives when one bit of its encoding, the one at the fraction ``where``
    (in [0, 1)) of its length, was flipped on the way.

    The receiver decodes other bytes: another record, or none (`Malformed`). A `SignedUpdate` is
    its record followed by its payload; a body that is neither has no bytes to flip and arrives
    as `Malformed` without any.
    """
    return replace(message, body=_flipped(message.body, where))


def _flipped(body: Any, where: float) -> Any:
    if isinstance(body, Record):
        data = _flip(body.encoded, where)
        try:
            return type(body).decode(data)
        except MalformedRecord as error:
            return Malformed(data, str(error))
    if isinstance(body, SignedUpdate):
        size = body.wire_bytes
        record = len(body.record.encoded)
        place = where * size
        if place >= record:
            return replace(body, payload=_flip(body.payload, (place - record) / (size - record)))
        altered = _flipped(body.record, place / record)
        return altered if isinstance(altered, Malformed) else replace(body, record=altered)
    return Malformed(b"", f"{type(body).__name__}: no bytes to read")


def _flip(data: bytes, where: float) -> bytes:
    """``data`` with the bit at the fraction ``where`` of its length flipped."""
    byte, bit = divmod(min(int(where * 8 * len(data)), 8 * len(data) - 1), 8)
    return data[:byte] + bytes([data[byte] ^ (1 << bit)]) + data[byte + 1 :]


Kind = Literal[
    "update",
    "ticket",
    "candidate",
    "vote",
    "timeout",
    "closure",
    "lock",
    "block",
    "status",
    "want",
    "fetch",
    "model",
]


BODIES: Final[Mapping[str, type[Any]]] = {
    "update": SignedUpdate,
    "ticket": Ticket,
    "candidate": Candidate,
    "vote": Vote,
    "timeout": Timeout,
    "closure": TimeoutCertificate,
    "lock": Certificate,
    "block": Block,
    "status": Status,
    "want": Want,
    "fetch": Fetch,
    "model": Delivery,
}
"""By kind: the type of body that a message carries; whatever else it brings is malformed."""


def sized(kind: Kind, body: Any) -> Message:
    """A message with its size in bytes: of an update with its payload, else of the record."""
    return Message(kind, body, body.wire_bytes if kind == "update" else len(body.encoded))
