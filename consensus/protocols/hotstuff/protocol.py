"""`hotstuff` behind the interface of a protocol."""

from __future__ import annotations

from consensus.ledger.protocol import protocol
from consensus.ledger.validity import Head, SortitionOf
from consensus.protocols.bft.standing import StandingProtocol
from consensus.protocols.hotstuff import validity
from consensus.protocols.hotstuff.state import COMMIT, PHASES
from consensus.records.genesis import Genesis
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate


@protocol("hotstuff")
class HotStuff(StandingProtocol):
    """Views of three phases before the one committee of the height. Members lead in rotation; each
    sends its votes to the leader alone, who shows them all the certificate that they make."""

    meaning = "HotStuff: three phases led by one member a view"
    title = "HotStuff (hotstuff)"
    phases = PHASES
    deciding = COMMIT
    has_locks = True
    timer_base = 1.5
    message_exponent = 1.0

    def check_lock(
        self, genesis: Genesis, head: Head, lock: Certificate, sortition: SortitionOf | None = None
    ) -> None:
        validity.check_shown(genesis, head, lock, sortition or self.sortition)

    def check_timeout_certificate(
        self,
        genesis: Genesis,
        head: Head,
        certificate: TimeoutCertificate,
        sortition: SortitionOf | None = None,
    ) -> None:
        validity.check_new_views(genesis, head, certificate, sortition or self.sortition)

    def check_timeout(
        self, genesis: Genesis, head: Head, timeout: Timeout, sortition: SortitionOf | None = None
    ) -> None:
        validity.check_new_view(genesis, head, timeout, sortition or self.sortition)

    def participant_class(self) -> type:
        from consensus.protocols.hotstuff.server import HotStuffParticipant

        return HotStuffParticipant
