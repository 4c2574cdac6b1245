"""`tendermint` behind the interface of a protocol."""

from __future__ import annotations

from consensus.ledger.protocol import protocol
from consensus.ledger.validity import Head, SortitionOf
from consensus.protocols.bft.standing import StandingProtocol
from consensus.protocols.tendermint import validity
from consensus.records.genesis import Genesis
from consensus.records.votes import Certificate


@protocol("tendermint")
class Tendermint(StandingProtocol):
    """Rounds of a proposal, prevotes and precommits before the one committee of the height, whose
    members propose in rotation."""

    meaning = "Tendermint: prevote, precommit, rotating proposer"
    title = "Tendermint (tendermint)"
    phases = ("prevote", "precommit")
    deciding = "precommit"
    moves_stake = True

    def check_lock(
        self, genesis: Genesis, head: Head, lock: Certificate, sortition: SortitionOf | None = None
    ) -> None:
        validity.check_proof(genesis, head, lock, sortition or self.sortition)

    def participant_class(self) -> type:
        from consensus.protocols.tendermint.server import TendermintParticipant

        return TendermintParticipant
