"""The ledger's vocabulary: what servers and clients say to each other, as frozen records.

Every record has one canonical byte form (DAG-CBOR, `consensus.encoding.dag_cbor`): what is signed,
hashed, counted on the wire and stored is that form and nothing else. ``from_node`` refuses whatever
is not exactly a record: unknown or missing fields, wrong types, lengths or ranges raise
`MalformedRecord` and nothing is built.

Links (content identifiers, CIDs) are 36-byte binary CIDv1; times are integer microseconds of
simulated time; nothing here is a float.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Self

from consensus.encoding.fields import (
    DIGEST_BYTES,
    SIGNATURE_BYTES,
    MalformedRecord,
    Record,
    computed_once,
    fields_of,
    fixed_bytes,
    integer,
    items_of,
    link,
    names_of,
    one_of,
    pair,
    signing_digest_of,
)
from consensus.encoding.frozen import frozen
from consensus.records.view import View

PHASES = ("soft", "cert", "approve", "reject")
"""What a vote says: the two phases of ``bft``, and the verdicts of ``paper``."""


@frozen
class Vote(Record):
    """A committee member's signed vote on one proposed block, in one view (attempt, step)."""

    KIND: ClassVar[str] = "vote"

    chain_id: bytes
    height: int
    attempt: int
    step: int
    phase: str
    """One of `PHASES`."""
    block: bytes
    """Link to the block's header."""
    server: int
    signature: bytes
    proposal: bytes = b""
    """With a soft vote: the proposer's signature on what is voted for (`proposal_digest`), so that
    whoever holds another proposal of the same view sees that its leader made two."""

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "vote", names_of(cls))
        proposal = found["proposal"]
        if proposal != b"":
            fixed_bytes(proposal, "vote.proposal", SIGNATURE_BYTES)
        return cls(
            fixed_bytes(found["chain_id"], "vote.chain_id", DIGEST_BYTES),
            integer(found["height"], "vote.height", 1),
            integer(found["attempt"], "vote.attempt"),
            integer(found["step"], "vote.step"),
            one_of(found["phase"], "vote.phase", PHASES),
            link(found["block"], "vote.block"),
            integer(found["server"], "vote.server"),
            fixed_bytes(found["signature"], "vote.signature", SIGNATURE_BYTES),
            proposal,
        )

    @staticmethod
    @lru_cache(maxsize=1024)  # all members sign the same
    def signing_digest(
        chain_id: bytes, height: int, attempt: int, step: int, phase: str, block: bytes
    ) -> bytes:
        return signing_digest_of("vote", [chain_id, height, attempt, step, phase, block])

    @computed_once
    def signed(self) -> bytes:
        """The digest that ``signature`` signs."""
        return self.signing_digest(
            self.chain_id, self.height, self.attempt, self.step, self.phase, self.block
        )


LockName = tuple[int, int, bytes]
"""(attempt, step, block) of a soft certificate."""


Signatures = tuple[tuple[int, bytes], ...]
"""(server, signature) by ascending server index."""


def _signatures_from_node(node: Any, what: str) -> Signatures:
    found = []
    for entry in items_of(node, what):
        server, signature = pair(entry, what)
        found.append(
            (
                integer(server, f"{what}.server"),
                fixed_bytes(signature, f"{what}.signature", SIGNATURE_BYTES),
            )
        )
    return tuple(found)


@frozen
class Certificate(Record):
    """More than two thirds of a committee's weight, voting alike in one phase of one view."""

    KIND: ClassVar[str] = "certificate"

    height: int
    attempt: int
    step: int
    phase: str
    block: bytes
    """Link to the header that was voted for."""
    signatures: Signatures

    def to_node(self) -> dict[str, Any]:
        return {
            "height": self.height,
            "attempt": self.attempt,
            "step": self.step,
            "phase": self.phase,
            "block": self.block,
            "signatures": [[server, signature] for server, signature in self.signatures],
        }

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "certificate", names_of(cls))
        return cls(
            integer(found["height"], "certificate.height", 1),
            integer(found["attempt"], "certificate.attempt"),
            integer(found["step"], "certificate.step"),
            one_of(found["phase"], "certificate.phase", PHASES),
            link(found["block"], "certificate.block"),
            _signatures_from_node(found["signatures"], "certificate.signatures"),
        )

    @property
    def view(self) -> View:
        return self.attempt, self.step

    @property
    def name(self) -> LockName:
        """What a timeout signs of it."""
        return self.attempt, self.step, self.block

    def signed(self, chain_id: bytes) -> bytes:
        """The digest that every one of its signatures signs."""
        return Vote.signing_digest(
            chain_id, self.height, self.attempt, self.step, self.phase, self.block
        )


@frozen
class Timeout(Record):
    """A server's signed farewell to a view: it casts no more votes there, and this is the highest
    lock that it knows.

    From a committee member it closes one view. ``everyone``: from any server, it closes all views
    of the attempt, whose committee cannot (a third of it is silent).
    """

    KIND: ClassVar[str] = "timeout"

    chain_id: bytes
    height: int
    attempt: int
    step: int
    everyone: bool
    server: int
    signature: bytes
    lock: Certificate | None
    """The certificate behind the signed lock."""

    def to_node(self) -> dict[str, Any]:
        node = {name: getattr(self, name) for name in names_of(type(self))}
        return node | {"lock": None if self.lock is None else self.lock.to_node()}

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "timeout", names_of(cls))
        if type(found["everyone"]) is not bool:
            raise MalformedRecord("timeout.everyone: expected a boolean")
        return cls(
            fixed_bytes(found["chain_id"], "timeout.chain_id", DIGEST_BYTES),
            integer(found["height"], "timeout.height", 1),
            integer(found["attempt"], "timeout.attempt"),
            integer(found["step"], "timeout.step"),
            found["everyone"],
            integer(found["server"], "timeout.server"),
            fixed_bytes(found["signature"], "timeout.signature", SIGNATURE_BYTES),
            None if found["lock"] is None else Certificate.from_node(found["lock"]),
        )

    @property
    def view(self) -> View:
        return self.attempt, self.step

    @staticmethod
    @lru_cache(maxsize=1024)  # many members sign the same
    def signing_digest(
        chain_id: bytes, height: int, view: View, everyone: bool, lock: LockName | None
    ) -> bytes:
        return signing_digest_of(
            "timeout",
            [chain_id, height, *view, everyone, None if lock is None else list(lock)],
        )

    @computed_once
    def signed(self) -> bytes:
        """The digest that ``signature`` signs; of the lock only its name: which signatures prove
        it is all the same."""
        lock = None if self.lock is None else self.lock.name
        return self.signing_digest(self.chain_id, self.height, self.view, self.everyone, lock)


@frozen
class TimeoutCertificate(Record):
    """Enough timeouts to close a view, and the highest lock among them."""

    KIND: ClassVar[str] = "timeout_certificate"

    height: int
    attempt: int
    step: int
    everyone: bool
    entries: tuple[tuple[int, LockName | None, bytes], ...]
    """(server, its lock, signature) by ascending server index."""
    lock: Certificate | None
    """The certificate behind the highest of the entries' locks."""

    def to_node(self) -> dict[str, Any]:
        return {
            "height": self.height,
            "attempt": self.attempt,
            "step": self.step,
            "everyone": self.everyone,
            "entries": [
                [server, None if lock is None else list(lock), signature]
                for server, lock, signature in self.entries
            ],
            "lock": None if self.lock is None else self.lock.to_node(),
        }

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "timeout_certificate", names_of(cls))
        if type(found["everyone"]) is not bool:
            raise MalformedRecord("timeout_certificate.everyone: expected a boolean")
        entries = []
        for entry in items_of(found["entries"], "timeout_certificate.entries"):
            if not isinstance(entry, list) or len(entry) != 3:
                raise MalformedRecord("timeout_certificate: expected [server, lock, signature]")
            entries.append(
                (
                    integer(entry[0], "timeout_certificate.server"),
                    None if entry[1] is None else _lock_from_node(entry[1]),
                    fixed_bytes(entry[2], "timeout_certificate.signature", SIGNATURE_BYTES),
                )
            )
        return cls(
            integer(found["height"], "timeout_certificate.height", 1),
            integer(found["attempt"], "timeout_certificate.attempt"),
            integer(found["step"], "timeout_certificate.step"),
            found["everyone"],
            tuple(entries),
            None if found["lock"] is None else Certificate.from_node(found["lock"]),
        )

    @property
    def view(self) -> View:
        return self.attempt, self.step


def _lock_from_node(node: Any) -> LockName:
    if not isinstance(node, list) or len(node) != 3:
        raise MalformedRecord("lock: expected [attempt, step, block]")
    return (
        integer(node[0], "lock.attempt"),
        integer(node[1], "lock.step"),
        link(node[2], "lock.block"),
    )
