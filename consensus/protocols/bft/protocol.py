"""`bft` behind the interface of a protocol."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.ledger.committee import Committee, Draw, public_draws
from consensus.ledger.protocol import Protocol, protocol
from consensus.ledger.validity import Head, Sortition, SortitionOf
from consensus.protocols.bft import validity
from consensus.records.block import Block, Header
from consensus.records.genesis import Genesis, Parameters
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate


@protocol("bft")
class Bft(Protocol):
    """Two voting phases with locks; every block records the draws of the height after it, made on
    the beacon, so that everybody knows the committees and the turns of all its attempts."""

    meaning = "two phases, locks"
    phases = ("soft", "cert")
    deciding = "cert"
    committees_foreseen = True
    takes_turns = True
    has_locks = True
    recovers = True
    timers_grow = True
    premise_of_time = (
        "a committee of which a third or more is malicious decides no two blocks only while twice "
        "the delay is below committee.settle_seconds"
    )
    timely = ("vote", "timeout", "closure", "lock", "block")  # votes carry the leader's signature
    moves_stake = True

    def first_head(self, genesis: Genesis) -> Head:
        return Head.of_genesis(genesis, public_draws(genesis))

    def drawn_from(self, head: Head) -> tuple[int, bytes]:
        return head.height + 2, head.beacon

    def check_drawn(self, genesis: Genesis, draws: Sequence[Draw]) -> None:
        validity.check_drawn(genesis, draws)

    def voters(
        self, genesis: Genesis, head: Head, block: Block, sortition: SortitionOf | None = None
    ) -> Committee:
        return validity.voters(genesis, head, block, sortition or self.sortition)

    def head_after(
        self, genesis: Genesis, head: Head, header: Header, draws: tuple[Draw, ...]
    ) -> Head:
        return validity.head_after(genesis, head, header, draws)

    def beacon_after(self, genesis: Genesis, head: Head, aggregator: int) -> bytes:
        return validity.beacon_after(genesis, head, aggregator)

    def sortition(self, genesis: Genesis, head: Head, attempt: int) -> Sortition:
        return validity.sortition_of(genesis, head, attempt)

    def check_lock(
        self, genesis: Genesis, head: Head, lock: Certificate, sortition: SortitionOf | None = None
    ) -> None:
        validity.check_lock(genesis, head, lock, sortition or self.sortition)

    def check_timeout_certificate(
        self,
        genesis: Genesis,
        head: Head,
        certificate: TimeoutCertificate,
        sortition: SortitionOf | None = None,
    ) -> None:
        validity.check_timeout_certificate(genesis, head, certificate, sortition or self.sortition)

    def check_timeout(
        self, genesis: Genesis, head: Head, timeout: Timeout, sortition: SortitionOf | None = None
    ) -> None:
        if timeout.lock is not None:
            validity.check_no_later(timeout.lock, timeout)
            validity.check_lock(genesis, head, timeout.lock, sortition or self.sortition)

    def longest_delay(self, parameters: Parameters) -> float:
        return parameters.settle_us / 2e6

    def participant_class(self) -> type:
        from consensus.protocols.bft.server import BftParticipant

        return BftParticipant
