"""The record of evidence: two signatures of one server that contradict each other."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Self

from consensus.encoding.fields import (
    SIGNATURE_BYTES,
    MalformedRecord,
    Record,
    fields_of,
    fixed_bytes,
    integer,
    link,
    one_of,
    pair,
)
from consensus.encoding.frozen import frozen
from consensus.encoding.node import Node
from consensus.records.view import View
from consensus.records.votes import PHASES, LockName, lock_from_node

#: The phase of a timeout that closes a view, and of one that closes an attempt.
LEFT: Final = ("timeout", "recovery")
PROPOSED: Final = "proposal"
"""The phase of two proposals."""


@frozen
class Evidence(Record):
    """Two contradicting signatures of one server."""

    KIND: ClassVar[str] = "evidence"

    server: int
    height: int
    view: View
    phase: str
    """A vote's phase; ``proposal``; or ``timeout`` or ``recovery`` (a timeout of all servers)."""
    said: tuple[bytes | LockName | None, bytes | LockName | None]
    """Links to the two headers; of timeouts the names of the two locks, None for no lock."""
    signatures: tuple[bytes, bytes]

    @property
    def key(self) -> tuple[str, int, int]:
        """The key under which one piece of evidence is kept: kind, height and server."""
        kind = "timeout" if self.phase in LEFT else self.phase
        return kind if kind in (PROPOSED, "timeout") else "vote", self.height, self.server

    def to_node(self) -> Node:
        return {
            "server": self.server,
            "height": self.height,
            "attempt": self.view[0],
            "step": self.view[1],
            "phase": self.phase,
            "said": [list(said) if isinstance(said, tuple) else said for said in self.said],
            "signatures": list(self.signatures),
        }

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "evidence", _KEYS)
        phase = one_of(found["phase"], "evidence.phase", (*PHASES, PROPOSED, *LEFT))
        said, signatures = (pair(found[name], f"evidence.{name}") for name in _PAIRS)
        read: list[bytes | LockName | None] = [_said_from_node(each, phase) for each in said]
        if read[0] == read[1]:
            raise MalformedRecord("evidence.said: expected two different things")
        first, second = (fixed_bytes(s, "evidence.signatures", SIGNATURE_BYTES) for s in signatures)
        return cls(
            integer(found["server"], "evidence.server"),
            integer(found["height"], "evidence.height", 1),
            (
                integer(found["attempt"], "evidence.attempt"),
                integer(found["step"], "evidence.step"),
            ),
            phase,
            (read[0], read[1]),
            (first, second),
        )


def _said_from_node(node: Any, phase: str) -> bytes | LockName | None:
    if phase not in LEFT:
        return link(node, "evidence.said")
    return None if node is None else lock_from_node(node)


_PAIRS = ("said", "signatures")
_KEYS = frozenset({"server", "height", "attempt", "step", "phase", *_PAIRS})
