"""`paper` behind the interface of a protocol."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.ledger.committee import Committee, Draw, may_sit
from consensus.ledger.protocol import Failure, Invitation, Protocol, protocol
from consensus.ledger.validity import Head, SortitionOf
from consensus.protocols.paper import validity, weaknesses
from consensus.records.block import Block, Header
from consensus.records.genesis import Genesis


@protocol("paper")
class Paper(Protocol):
    """Algorithm 2 as it is written: servers draw on the latest block and race to propose, and each
    candidate names as its committee the first that announced themselves to its aggregator."""

    meaning = "Algorithm 2 as it is written"
    title = "Algorithm 2 as written (paper)"
    committees = ("fixed",)
    phases = ("approve", "reject")
    deciding = "approve"
    draws_on_links = True
    invitations = (
        Invitation(("gaussian", "invert_votes", "rush"), (10, 13, 16), 4),
        Invitation(("gaussian", "grind", "invert_votes", "rush"), (10, 13, 16), 4),
        Invitation(("spam",)),
        Invitation(("invert_votes",)),
    )

    def drawn_from(self, head: Head) -> tuple[int, bytes]:
        return head.height + 1, head.cid

    def check_drawn(self, genesis: Genesis, draws: Sequence[Draw]) -> None:
        validity.check_drawn(genesis, draws)

    def voters(
        self, genesis: Genesis, head: Head, block: Block, sortition: SortitionOf | None = None
    ) -> Committee:
        return validity.voters(genesis, block)

    def head_after(
        self, genesis: Genesis, head: Head, header: Header, draws: tuple[Draw, ...]
    ) -> Head:
        return validity.head_after(header)

    def may_sit(self, genesis: Genesis, draw: Draw) -> bool:
        return may_sit(genesis, draw, validity.CANDIDATES_PER_SEAT)

    def weakness(self, failure: Failure) -> str:
        return weaknesses.name_of(failure)

    def participant_class(self) -> type:
        from consensus.protocols.paper.server import PaperParticipant

        return PaperParticipant
