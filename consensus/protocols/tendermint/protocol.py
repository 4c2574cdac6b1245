"""`tendermint` behind the interface of a protocol."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.ledger.committee import Committee, Draw, public_draws
from consensus.ledger.protocol import Protocol, protocol
from consensus.ledger.validity import Head, Sortition, SortitionOf
from consensus.protocols.bft.validity import check_drawn, head_after
from consensus.protocols.tendermint import validity
from consensus.records.block import Block, Header
from consensus.records.genesis import Genesis
from consensus.records.votes import Certificate


@protocol("tendermint")
class Tendermint(Protocol):
    """Rounds of a proposal, prevotes and precommits before the one committee of the height, whose
    members propose in rotation. Draws are recorded a height ahead, as under `bft`."""

    meaning = "Tendermint: prevote, precommit, rotating proposer"
    title = "Tendermint (tendermint)"
    committees = ("fixed",)
    phases = ("prevote", "precommit")
    deciding = "precommit"
    committees_foreseen = True
    committee_stands = True
    takes_turns = True
    timers_grow = True
    moves_stake = True

    def first_head(self, genesis: Genesis) -> Head:
        return Head.of_genesis(genesis, public_draws(genesis))

    def drawn_from(self, head: Head) -> tuple[int, bytes]:
        return head.height + 2, head.beacon

    def check_drawn(self, genesis: Genesis, draws: Sequence[Draw]) -> None:
        check_drawn(genesis, draws)

    def voters(
        self, genesis: Genesis, head: Head, block: Block, sortition: SortitionOf | None = None
    ) -> Committee:
        return validity.voters(genesis, head, block, sortition or self.sortition)

    def head_after(
        self, genesis: Genesis, head: Head, header: Header, draws: tuple[Draw, ...]
    ) -> Head:
        return head_after(genesis, head, header, draws)

    def sortition(self, genesis: Genesis, head: Head, attempt: int) -> Sortition:
        return validity.sortition_of(genesis, head, attempt)

    def check_lock(
        self, genesis: Genesis, head: Head, lock: Certificate, sortition: SortitionOf | None = None
    ) -> None:
        validity.check_proof(genesis, head, lock, sortition or self.sortition)

    def participant_class(self) -> type:
        from consensus.protocols.tendermint.server import TendermintParticipant

        return TendermintParticipant
