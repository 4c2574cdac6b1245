"""The interface of a consensus protocol to the ledger and to all around it, and the register.

A protocol is a package with a module ``protocol``, which holds one class:

    @protocol("mine")
    class Mine(Protocol):
        meaning = "what it does, in a few words"
        phases = ("approve", "reject")
        deciding = "approve"
        ...

`consensus.protocols.registry` finds the packages beside it; one of a user's own only has to be
imported before a genesis or a config names it. `consensus.protocols.bft.protocol` and
`consensus.protocols.paper.protocol` are whole ones.

A protocol has no state: its methods are given all that they ask about.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from consensus.encoding.fields import MalformedRecord
from consensus.ledger.committee import Committee, Draw, check_ticket
from consensus.ledger.settlement import check_kind, check_settlement, head_with
from consensus.ledger.sortition import MOST_BITS, bits_of_weights
from consensus.ledger.stakes import Stakes
from consensus.ledger.validity import (
    DrawsCheck,
    Head,
    InvalidBlock,
    Sortition,
    SortitionOf,
    TicketCheck,
    check_certificate,
    check_header,
    check_signature,
    check_tickets,
)
from consensus.records.block import Block, Header
from consensus.records.genesis import Genesis, Parameters
from consensus.records.settlement import Settlement
from consensus.records.ticket import Ticket
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate
from consensus.registry import Registry

SettlementCheck = Callable[[Genesis, Head, Header, "Settlement | None"], "Stakes | None"]
"""`Protocol.check_settlement`, or one that remembers its results."""


@dataclass(frozen=True)
class Invitation:
    """A setting that invites a known weakness; torture draws it more often than chance would."""

    behaviours: tuple[str, ...]
    """The behaviours of all malicious servers."""
    servers: tuple[int, ...] = ()
    """The numbers of servers to draw from; none: any."""
    committee_size: int = 0
    """0: any."""


@dataclass(frozen=True)
class Failure:
    """A violated invariant, with what a protocol needs to name the weakness that it shows."""

    invariant: str
    behaviours: Mapping[int, frozenset[str]]
    """The behaviours of the malicious servers, by server."""
    decided: Sequence[Block]
    """The first block that an honest server appended at each height."""
    last: Block | None
    """The block that was appended last, or was about to be."""
    behind: Any
    """The part (`participant_class`) of the honest server with the shortest chain."""


class Protocol(ABC):
    """A way to agree on blocks: its validity rules, its capabilities and its servers."""

    name: ClassVar[str]
    """The name that configs and the genesis use; `protocol` sets it."""
    meaning: ClassVar[str]
    """The protocol in a few words, for the help."""
    title: ClassVar[str] = ""
    """Its name in figures; empty: ``name``."""
    committees: ClassVar[tuple[str, ...]] = ("fixed", "weighted")
    """The kinds of committee that a genesis may ask for."""
    phases: ClassVar[tuple[str, ...]]
    """The phases that a member may vote in, in their order."""
    deciding: ClassVar[str]
    """The phase of the votes that decide."""
    committees_foreseen: ClassVar[bool] = False
    """True if the committee of an attempt is drawn anew from the head alone (`sortition`): its
    malicious members are then known beforehand, and `consensus.ledger.capture_odds` gives the
    frequency of committees that they block or capture."""
    committee_stands: ClassVar[bool] = False
    """True if the committee of a height is the same in all its attempts."""
    takes_turns: ClassVar[bool] = False
    """True if servers propose by turn; otherwise they race."""
    has_locks: ClassVar[bool] = False
    """True if servers close views by timeouts, which carry locks."""
    recovers: ClassVar[bool] = False
    """True if only all servers together, after the genesis's ``recovery_us``, give up a committee
    that cannot give up itself."""
    timers_grow: ClassVar[bool] = False
    """True if a step's timer is longer in every further attempt."""
    timer_base: ClassVar[float] = 1.0
    """The factor by which it is longer than in the attempt before; 1: by as much each time."""
    timely: ClassVar[tuple[str, ...]] = (
        "candidate",
        "vote",
        "timeout",
        "closure",
        "lock",
        "block",
    )
    """The kinds of messages on whose time its argument relies: a run measures it."""
    premise_of_time: ClassVar[str] = ""
    """The claim that needs a delay below `longest_delay`, and the options that set that, in one
    clause; empty without one."""
    message_exponent: ClassVar[float] = 2.0
    """The textbook's exponent of the messages that a block takes, over the seats of its committee;
    `tests/bench/test_bench_messages.py` measures it."""
    draws_on_links: ClassVar[bool] = False
    """True if a block's link seeds the draws after it, so that its proposer may try variants."""
    moves_stake: ClassVar[bool] = False
    """True if its blocks carry settlements where the genesis asks for incentives."""
    invitations: ClassVar[tuple[Invitation, ...]] = ()
    """The settings that invite its known weaknesses."""

    # -- validity ---------------------------------------------------------------------------------

    def check_genesis(self, genesis: Genesis) -> None:
        """Check that the protocol has what the genesis asks for. Raises `MalformedRecord`."""
        if genesis.parameters.committee not in self.committees:
            raise MalformedRecord(
                f"parameters.committee: the protocol {self.name} knows only "
                + ", ".join(map(repr, self.committees))
            )
        check_kind(genesis, self.moves_stake)
        _check_weights(genesis)

    def first_head(self, genesis: Genesis) -> Head:
        """The head at height 0."""
        return Head.of_genesis(genesis)

    @abstractmethod
    def drawn_from(self, head: Head) -> tuple[int, bytes]:
        """The height that the tickets in the block after ``head`` are for, and their seed."""

    def alpha(self, genesis: Genesis, head: Head) -> bytes:
        """The VRF input of these tickets' draws."""
        height, seed = self.drawn_from(head)
        return Ticket.alpha(genesis.chain_id, seed, height)

    @abstractmethod
    def check_drawn(self, genesis: Genesis, draws: Sequence[Draw]) -> None:
        """Check all draws of a block together: their number, their order, their right to seats.
        Each of them by itself is valid. Raises `InvalidBlock`."""

    @abstractmethod
    def voters(
        self, genesis: Genesis, head: Head, block: Block, sortition: SortitionOf | None = None
    ) -> Committee:
        """The committee whose votes decide ``block``. Raises `InvalidBlock` if the block could not
        be proposed or decided in the views that it names."""

    @abstractmethod
    def head_after(
        self, genesis: Genesis, head: Head, header: Header, draws: tuple[Draw, ...]
    ) -> Head:
        """The head once ``header``'s block, which carries ``draws``, is appended to ``head``."""

    def beacon_after(self, genesis: Genesis, head: Head, aggregator: int) -> bytes | None:
        """The beacon of the head once a block of ``aggregator`` is appended to ``head``; None where
        more than that decides it."""
        return None

    def check_draws(
        self,
        genesis: Genesis,
        head: Head,
        header: Header,
        tickets: tuple[Ticket, ...],
        ticket_check: TicketCheck = check_ticket,
    ) -> tuple[Draw, ...]:
        """Check the tickets that a block carries; returns their draws. Raises `InvalidBlock`."""
        draws = check_tickets(genesis, header, tickets, *self.drawn_from(head), ticket_check)
        self.check_drawn(head.electorate(genesis), draws)
        return draws

    def check_settlement(
        self,
        genesis: Genesis,
        head: Head,
        header: Header,
        settlement: Settlement | None,
        sortition: SortitionOf | None = None,
    ) -> Stakes | None:
        """Check what a block says of stake; returns the stake after it, None without incentives.
        Raises `InvalidBlock`."""
        others = (phase for phase in self.phases if phase != self.deciding)
        known = (*others, self.deciding)
        return check_settlement(
            genesis, head, header, settlement, sortition or self.sortition, known
        )

    def check_block(
        self,
        genesis: Genesis,
        head: Head,
        block: Block,
        draws_check: DrawsCheck | None = None,
        sortition: SortitionOf | None = None,
        settlement_check: SettlementCheck | None = None,
    ) -> Head:
        """Check every proof in ``block``; returns the head after it. Raises `InvalidBlock`."""
        header, certificate = block.header, block.certificate
        check_header(genesis, head, header)
        if certificate.block != header.cid:
            raise InvalidBlock("its certificate is for another block")
        committee = self.voters(genesis, head, block, sortition)
        check_signature(genesis, header, block.signature)
        draws = (draws_check or self.check_draws)(genesis, head, header, block.tickets)
        check = settlement_check or self.check_settlement
        stakes = check(genesis, head, header, block.settlement)
        check_certificate(genesis, header.height, committee, certificate, self.deciding)
        return head_with(self.head_after(genesis, head, header, draws), head, stakes)

    # -- for some protocols only ------------------------------------------------------------------

    def sortition(self, genesis: Genesis, head: Head, attempt: int) -> Sortition:
        """The sortition of an attempt at height + 1, as far as it follows from the head: empty,
        unless `committees_foreseen`."""
        return Sortition(Committee({}, genesis.parameters.committee_size), ())

    def check_lock(
        self, genesis: Genesis, head: Head, lock: Certificate, sortition: SortitionOf | None = None
    ) -> None:
        """Check a lock at height + 1. Raises `InvalidBlock`, always without `has_locks`."""
        raise InvalidBlock(f"the protocol {self.name} has no locks")

    def check_timeout_certificate(
        self,
        genesis: Genesis,
        head: Head,
        certificate: TimeoutCertificate,
        sortition: SortitionOf | None = None,
    ) -> None:
        """Check a timeout certificate at height + 1. Raises `InvalidBlock`, always without
        `has_locks`."""
        raise InvalidBlock(f"the protocol {self.name} closes no views")

    def check_timeout(
        self, genesis: Genesis, head: Head, timeout: Timeout, sortition: SortitionOf | None = None
    ) -> None:
        """Check a timeout at height + 1, but for its signature. Raises `InvalidBlock`, always
        without `has_locks`."""
        raise InvalidBlock(f"the protocol {self.name} has no timeouts")

    def may_sit(self, genesis: Genesis, draw: Draw) -> bool:
        """True if a draw by itself entitles its server to a seat."""
        return True

    def longest_delay(self, parameters: Parameters) -> float | None:
        """The simulated seconds below which the delay of every message between honest servers must
        stay for its argument to hold; None if it holds for any."""
        return None

    def weakness(self, failure: Failure) -> str:
        """The name of the known weakness that a violation shows; if none, the invariant's."""
        return failure.invariant

    # -- servers ----------------------------------------------------------------------------------

    @abstractmethod
    def participant_class(self) -> type[Any]:
        """The class of a server's part in it (`consensus.server.participant.Participant`), imported
        by this call."""


def _check_weights(genesis: Genesis) -> None:
    """Check that seats by weight can be computed: stakes may be great. Raises `MalformedRecord`."""
    parameters = genesis.parameters
    if parameters.committee == "weighted":
        bits = bits_of_weights(genesis.stakes, parameters.committee_size)
        if bits > MOST_BITS:
            raise MalformedRecord(
                f"genesis.servers: weights would be computed with numbers of {bits:,} bits, more "
                f"than {MOST_BITS:,}: stakes are too great for a weighted committee"
            )


PROTOCOLS: Registry[Protocol] = Registry("protocol")
"""Every registered protocol by its name; `consensus.protocols.registry` fills it."""

Kind = TypeVar("Kind", bound=type[Protocol])


def protocol(name: str) -> Callable[[Kind], Kind]:
    """Register a protocol under the name that configs and the genesis use. Raises ValueError for
    one that is taken or malformed."""

    def register(kind: Kind) -> Kind:
        PROTOCOLS.register(name)(kind())
        kind.name = name
        kind.title = kind.title or name
        return kind

    return register
