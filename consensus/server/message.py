"""Messages between edge servers, and what a flipped bit makes of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple

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
    said: float = 0.0
    """Simulated second at which its sender was done with it, before any queue."""
    timed: bool = False
    """True if the time until servers take it in counts (`Network.took_in`): an honest server said
    it, the argument of its protocol relies on it, and it is no copy that a fault made."""

    number: int = 0
    """Its place among the messages of a height, where they are counted (`Delivery.message`)."""
    held_from: float = -1.0
    """The simulated second from which it may be held, on a network that holds messages back
    (`consensus.network.held`); negative for one that is not held, as what a server passes on in
    place of another. It is before ``said`` by the work that its sender had in hand: an adversary's
    bound counts that work, and the delay that an argument relies on does not."""

    def retold(self, kind: Kind, body: Any) -> Message:
        """The message with which a server passes its own copy on in place of this one."""
        message = sized(kind, body)
        message.gossiped, message.said, message.timed = True, self.said, self.timed
        message.number = self.number
        return message

    def untimed(self) -> Message:
        """This message, or one like it whose delay does not count."""
        return replace(self, timed=False) if self.timed else self


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
    return replace(message, body=_flipped(message.body, where), timed=False)


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


class Facts(NamedTuple):
    """The facts that a message's body tells of itself."""

    height: int | None
    """The height of its record; None for a body without one."""
    attempt: int | None
    """The attempt of its view, of a block that of its certificate; None for a body without one."""
    digest: str
    """SHA-256 of its encoding, hexadecimal, of an update of its record and payload; empty for what
    has none."""


def facts_of(body: Any) -> Facts:
    """The facts of a body, which may be anything: malicious servers send what they like."""
    if isinstance(body, SignedUpdate):
        return Facts(body.record.height, None, _digest(body.record.encoded + body.payload))
    if isinstance(body, Malformed):
        return Facts(None, None, _digest(body.data))
    if not isinstance(body, Record):
        return Facts(None, None, "")
    inner = getattr(body, "header", body)
    view = getattr(body, "certificate", inner)
    found = (getattr(inner, "height", None), getattr(view, "attempt", None))
    height, attempt = (each if type(each) is int else None for each in found)
    return Facts(height, attempt, _digest(body.encoded))


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()


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


SignedByMany = Candidate | Block | Timeout | TimeoutCertificate | Certificate
"""Records that carry signatures or draws of many servers."""
SIGNED_BY_MANY: Final = frozenset(
    kind for kind, body in BODIES.items() if issubclass(body, SignedByMany)
)
"""The kinds of their messages."""


def is_overlong(body: SignedByMany, servers: int) -> bool:
    """True if some part of a message has more signatures, or draws, than there are ``servers``. A
    right one has no more than one of each; to verify thousands takes seconds."""
    return _most_signers(body) > servers


def _most_signers(body: SignedByMany | None) -> int:
    match body:
        case None:
            return 0
        case Certificate():
            return len(body.signatures)
        case Timeout():
            return _most_signers(body.lock)
        case TimeoutCertificate():
            return max(len(body.entries), _most_signers(body.lock))
    settled = None if body.settlement is None else body.settlement.certificate
    most = max(len(body.tickets), _most_signers(settled))
    if isinstance(body, Block):
        return max(most, _most_signers(body.certificate))
    return max(most, _most_signers(body.justification), _most_signers(body.proof))


def sized(kind: Kind, body: Any) -> Message:
    """A message with its size in bytes: of an update with its payload, else of the record."""
    return Message(kind, body, body.wire_bytes if kind == "update" else len(body.encoded))
