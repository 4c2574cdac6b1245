"""Records of the vote: votes, timeouts, and the certificates made of them.

A *certificate* holds the like votes of more than two thirds of a committee: in the soft phase it
locks a block, in the cert phase it decides it. A *timeout certificate* closes a view and carries
the highest lock that its signers knew into the next one, so that no later committee can decide
against a block that an earlier one may have decided.

Every record has one canonical byte form (DAG-CBOR, `consensus.encoding.dag_cbor`), which is signed,
hashed, counted on the wire and stored. ``from_node`` refuses whatever is not exactly a record:
unknown or missing fields, wrong types, lengths or ranges raise `MalformedRecord`.

Links (content identifiers, CIDs) are 36-byte binary CIDv1; times are integer microseconds of
simulated time; no field is a float.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Final, Self

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
from consensus.encoding.node import Node
from consensus.encoding.unixfs import file_cid
from consensus.records.view import View

PHASES = ("soft", "cert", "approve", "reject", "prevote", "precommit")
"""The kinds of votes: the two phases of ``bft``, the verdicts of ``paper``, and the two phases of
``tendermint``."""

NIL: Final = file_cid(b"")
"""The link that a vote for no block names (``tendermint``): the address of nothing."""


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
    """In a soft vote, the proposer's signature on the proposal that is voted for
    (`proposal_digest`). It shows a server that holds another proposal of the same view that the
    leader has equivocated."""

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
    @lru_cache(maxsize=1024)  # all members of a committee sign the same digest
    def signing_digest(
        chain_id: bytes, height: int, attempt: int, step: int, phase: str, block: bytes
    ) -> bytes:
        """The digest (32 bytes) that a member signs to cast this vote."""
        return signing_digest_of("vote", [chain_id, height, attempt, step, phase, block])

    @computed_once
    def signed(self) -> bytes:
        """The digest (32 bytes) that ``signature`` signs."""
        return self.signing_digest(
            self.chain_id, self.height, self.attempt, self.step, self.phase, self.block
        )


LockName = tuple[int, int, bytes]
"""(attempt, step, block): the name of a lock, which is a soft certificate for ``block`` in a view.
"""


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
    """Like votes of more than two thirds of a committee's weight, in one phase of one view."""

    KIND: ClassVar[str] = "certificate"

    height: int
    attempt: int
    step: int
    phase: str
    block: bytes
    """Link to the header that was voted for."""
    signatures: Signatures

    def to_node(self) -> Node:
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
        """The view that was voted in."""
        return self.attempt, self.step

    @property
    def name(self) -> LockName:
        """The name of the certificate as a lock, which timeouts sign."""
        return self.attempt, self.step, self.block

    def signed(self, chain_id: bytes) -> bytes:
        """The digest (32 bytes) that every one of its signatures signs."""
        return Vote.signing_digest(
            chain_id, self.height, self.attempt, self.step, self.phase, self.block
        )


@frozen
class Timeout(Record):
    """A server's signed statement that it casts no more votes in a view, with the highest lock it
    knows.

    Timeouts of committee members close one view. Timeouts with ``everyone`` set may come from any
    server; they close all views of the attempt, for the case that a third of its committee is
    silent and cannot close any.
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
    """The soft certificate of the highest lock that the server knows; None if it knows none."""

    def to_node(self) -> Node:
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
        """The view that the timeout leaves."""
        return self.attempt, self.step

    @property
    def signature_count(self) -> int:
        """The number of signatures to be verified: its own, and those of its lock."""
        return 1 + (0 if self.lock is None else len(self.lock.signatures))

    @staticmethod
    @lru_cache(maxsize=1024)  # many members of a committee sign the same digest
    def signing_digest(
        chain_id: bytes, height: int, view: View, everyone: bool, lock: LockName | None
    ) -> bytes:
        """The digest (32 bytes) that a server signs to time out of ``view``."""
        return signing_digest_of(
            "timeout",
            [chain_id, height, *view, everyone, None if lock is None else list(lock)],
        )

    @computed_once
    def signed(self) -> bytes:
        """The digest (32 bytes) that ``signature`` signs.

        It covers the lock's name alone: which signatures are in the lock's certificate does not
        matter.
        """
        lock = None if self.lock is None else self.lock.name
        return self.signing_digest(self.chain_id, self.height, self.view, self.everyone, lock)


@frozen
class TimeoutCertificate(Record):
    """Timeouts of enough servers to close a view, with the highest lock among them."""

    KIND: ClassVar[str] = "timeout_certificate"

    height: int
    attempt: int
    step: int
    everyone: bool
    entries: tuple[tuple[int, LockName | None, bytes], ...]
    """(server, name of its lock or None, signature) by ascending server index."""
    lock: Certificate | None
    """The certificate of the highest lock among the entries; None if none has a lock."""

    @property
    def signature_count(self) -> int:
        """The number of signatures to be verified: its entries', and those of its lock."""
        return len(self.entries) + (0 if self.lock is None else len(self.lock.signatures))

    def to_node(self) -> Node:
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
                    None if entry[1] is None else lock_from_node(entry[1]),
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
        """The view that is closed."""
        return self.attempt, self.step


def lock_from_node(node: Any) -> LockName:
    """The name of a lock that ``node`` describes; raises `MalformedRecord` if it describes none."""
    if not isinstance(node, list) or len(node) != 3:
        raise MalformedRecord("lock: expected [attempt, step, block]")
    return (
        integer(node[0], "lock.attempt"),
        integer(node[1], "lock.step"),
        link(node[2], "lock.block"),
    )
