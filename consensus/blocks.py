"""What a view of the vote leaves behind: certificates, candidates, blocks; and how servers ask.

A *certificate* is what more than two thirds of a committee signed: in the soft phase it locks a
block, in the cert phase it decides it. A *timeout certificate* closes a view and carries the
highest lock that its signers knew into the next one, so that no later committee can decide
against a block that an earlier one may have decided.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Self

from consensus.fields import (
    DIGEST_BYTES,
    PROOF_BYTES,
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
from consensus.frozen import frozen
from consensus.records import (
    PHASES,
    Header,
    Ticket,
    View,
    Vote,
    proposal_digest,
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


def _tickets_to_node(tickets: tuple[Ticket, ...]) -> list[list[Any]]:
    return [[ticket.height, ticket.server, ticket.proof] for ticket in tickets]


def _tickets_from_node(node: Any) -> tuple[Ticket, ...]:
    tickets = []
    for entry in items_of(node, "tickets"):
        if not isinstance(entry, list) or len(entry) != 3:
            raise MalformedRecord("tickets: expected [height, server, proof]")
        tickets.append(
            Ticket(
                integer(entry[0], "tickets.height", 1),
                integer(entry[1], "tickets.server"),
                fixed_bytes(entry[2], "tickets.proof", PROOF_BYTES),
            )
        )
    return tuple(tickets)


@frozen
class Turn:
    """Who proposes a block again, in which view, with the signature on it."""

    attempt: int
    step: int
    server: int
    signature: bytes


@frozen
class Candidate(Record):
    """A proposed block: its header, signed by the aggregator, with the draws it carries and the
    digests of the updates it aggregates."""

    KIND: ClassVar[str] = "candidate"

    header: Header
    signature: bytes
    tickets: tuple[Ticket, ...]
    updates: tuple[bytes, ...]
    justification: TimeoutCertificate | None = None
    """What closed the view before; None in the first view of a height."""
    turn: Turn | None = None
    """Set where a locked block is proposed again, in a later view than its header's."""

    def to_node(self) -> dict[str, Any]:
        turn, why = self.turn, self.justification
        return {
            "header": self.header.to_node(),
            "signature": self.signature,
            "tickets": _tickets_to_node(self.tickets),
            "updates": list(self.updates),
            "justification": None if why is None else why.to_node(),
            "turn": (
                None if turn is None else [turn.attempt, turn.step, turn.server, turn.signature]
            ),
        }

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "candidate", names_of(cls))
        turn, why = found["turn"], found["justification"]
        if turn is not None:
            if not isinstance(turn, list) or len(turn) != 4:
                raise MalformedRecord("candidate.turn: expected [attempt, step, server, signature]")
            turn = Turn(
                integer(turn[0], "candidate.turn.attempt"),
                integer(turn[1], "candidate.turn.step"),
                integer(turn[2], "candidate.turn.server"),
                fixed_bytes(turn[3], "candidate.turn.signature", SIGNATURE_BYTES),
            )
        return cls(
            Header.from_node(found["header"]),
            fixed_bytes(found["signature"], "candidate.signature", SIGNATURE_BYTES),
            _tickets_from_node(found["tickets"]),
            tuple(
                fixed_bytes(entry, "candidate.updates", DIGEST_BYTES)
                for entry in items_of(found["updates"], "candidate.updates")
            ),
            None if why is None else TimeoutCertificate.from_node(why),
            turn,
        )

    @property
    def view(self) -> View:
        """The view it is proposed in."""
        return self.header.view if self.turn is None else (self.turn.attempt, self.turn.step)

    @property
    def proposer(self) -> int:
        """The server that proposes it in this view."""
        return self.header.aggregator if self.turn is None else self.turn.server

    @property
    def proposal(self) -> bytes:
        """The proposer's signature in this view."""
        return self.signature if self.turn is None else self.turn.signature

    @computed_once
    def seated(self) -> frozenset[int]:
        """``paper``: the committee, which is whom the aggregator names. All of them proved that
        they may sit; that they were the *first* to announce nobody can prove."""
        return frozenset(ticket.server for ticket in self.tickets)

    @computed_once
    def proposal_signed(self) -> bytes:
        """The digest that ``proposal`` signs."""
        header = self.header
        return proposal_digest(header.chain_id, header.height, self.view, header.cid)


@frozen
class Block(Record):
    """A validated block: the updates are gone, the address of the model and the signatures of
    more than two thirds of the committee stay (paper, III.D)."""

    KIND: ClassVar[str] = "block"

    header: Header
    signature: bytes
    tickets: tuple[Ticket, ...]
    certificate: Certificate

    def to_node(self) -> dict[str, Any]:
        return {
            "header": self.header.to_node(),
            "signature": self.signature,
            "tickets": _tickets_to_node(self.tickets),
            "certificate": self.certificate.to_node(),
        }

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "block", names_of(cls))
        return cls(
            Header.from_node(found["header"]),
            fixed_bytes(found["signature"], "block.signature", SIGNATURE_BYTES),
            _tickets_from_node(found["tickets"]),
            Certificate.from_node(found["certificate"]),
        )

    @property
    def height(self) -> int:
        return self.header.height

    @property
    def cid(self) -> bytes:
        """The link to the block's header: its identity, and the next block's parent."""
        return self.header.cid


@frozen
class Status(Record):
    """Where a server stands, said when it makes no progress: whoever is further answers with what
    it lacks. Unsigned; a lie costs the liar an answer."""

    KIND: ClassVar[str] = "status"

    height: int
    """Of its chain's head."""
    attempt: int
    step: int
    updates: tuple[bytes, ...] = ()
    """Digests of the updates that it holds for the height in progress."""
    tickets: tuple[int, ...] = ()
    """Servers whose tickets it holds."""

    def to_node(self) -> dict[str, Any]:
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

    def to_node(self) -> dict[str, Any]:
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
