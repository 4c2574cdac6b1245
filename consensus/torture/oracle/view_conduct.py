"""The rules that every signature of an honest server under `hotstuff` keeps, judged from outside.

PREPARE, PRE-COMMIT and COMMIT of Algorithm 2 are written here once more, from the certificates that
a server holds, which are verified anew: a vote that they forbid is a violation, whether or not it
does any harm.
"""

from __future__ import annotations

from consensus.protocols.hotstuff.server import HotStuffParticipant
from consensus.records.block import Candidate
from consensus.records.genesis import Genesis
from consensus.records.votes import Certificate, Vote
from consensus.server.edge_server import EdgeServer
from consensus.torture.oracle import verify
from consensus.torture.oracle.conduct import Entrances, untimely
from consensus.torture.oracle.reference import Ledger
from consensus.torture.oracle.round_conduct import Place, fail

#: Microseconds from judging when a block was proposed to the vote: what recomputing it takes a
#: server that a fault makes a hundred times slower.
RECOMPUTING = 200_000


class ViewConduct:
    """Observes the votes and proposals of honest servers. Raises `Violation`."""

    def __init__(
        self, genesis: Genesis, ledger: Ledger, skewed: bool, entrances: Entrances
    ) -> None:
        """``skewed``: true if clocks may be wrong, so that what is timely cannot be judged."""
        self._skewed = skewed
        self._entrances = entrances
        self._genesis = genesis
        self._ledger = ledger
        self._proposed: dict[tuple[int, int, bytes], Candidate] = {}
        """By height, view and block: what the leader of the view has proposed in it."""
        self._locked: dict[Place, tuple[int, bytes]] = {}
        """The view and block of the last precommitQC of a server that it has voted for or, as the
        leader, made, in a height."""

    def proposed(self, candidate: Candidate) -> None:
        """Note a proposal that a server sends; it may be forged."""
        height, round, block = candidate.header.height, candidate.view[0], candidate.header.cid
        leaders = self._ledger.form(height, round).order if self._ledger.knows(height) else ()
        if candidate.proposer in leaders:
            self._proposed.setdefault((height, round, block), candidate)

    def proposal(self, server: EdgeServer, candidate: Candidate) -> str | None:
        """The fault of a proposal that ``server`` makes: it does not carry the highest prepareQC of
        those that let its leader begin. None if there is none."""
        if not isinstance(server.participant, HotStuffParticipant):
            return None
        closed, proof = candidate.justification, candidate.proof
        named = None if closed is None else closed.lock
        if named is not None and (proof is None or proof.attempt < named.attempt):
            return "does not carry the highest prepareQC that it was told"
        return None

    def shown(self, server: EdgeServer, certificate: Certificate) -> None:
        """Note a certificate that ``server`` shows: a leader locks what it shows to be locked."""
        part = server.participant
        if not isinstance(part, HotStuffParticipant) or certificate.phase != "precommit":
            return
        if part.context.proposer(certificate.attempt) == server.index:
            self._lock((server.index, certificate.height), certificate.attempt, certificate)

    def vote(self, server: EdgeServer, vote: Vote) -> None:
        """Check a vote that ``server`` signs for the first time."""
        part, place = server.participant, (vote.server, vote.height)
        if not isinstance(part, HotStuffParticipant) or not self._ledger.knows(vote.height):
            return
        if vote.phase == "prepare":
            self._prepare(server, part, vote)
            return
        # The phase before a vote is that of the certificate which it answers.
        before = server.chain.protocol.phases.index(vote.phase) - 1
        for phase in server.chain.protocol.phases[: before + 1]:
            found = part.state.certificates.get(phase)
            if found is None or not self._is_right(found, phase, vote.attempt, vote.block):
                fail(vote, f"without n - f {phase} votes of its view")
        if vote.phase == "commit":
            self._lock(place, vote.attempt, vote)

    def _lock(self, place: Place, round: int, named: Vote | Certificate) -> None:
        if round >= self._locked.get(place, (-1, b""))[0]:
            self._locked[place] = round, named.block

    def _prepare(self, server: EdgeServer, part: HotStuffParticipant, vote: Vote) -> None:
        candidate = self._proposed.get((vote.height, vote.attempt, vote.block))
        if candidate is None:
            fail(vote, "which its leader did not propose in this view")
            return
        if server.lacking:
            fail(vote, "which builds on a model that it has not got")
        proof = candidate.proof
        if proof is not None and not self._is_right(proof, "prepare", proof.attempt, vote.block):
            fail(vote, "which the prepareQC that it comes with is not for")
        since, locked = self._locked.get((vote.server, vote.height), (-1, vote.block))
        if locked != vote.block and (proof is None or proof.attempt <= since):
            fail(vote, f"though it is locked on another since view {since}")
        here = part.state.proposals.get(vote.attempt)  # nothing, after a crash
        if proof is None and here and not self._skewed:
            wrong = untimely(server, part.tickets, candidate, RECOMPUTING, self._entrances)
            if wrong:
                fail(vote, wrong)

    def _is_right(self, found: Certificate, phase: str, round: int, block: bytes) -> bool:
        seats = self._ledger.form(found.height, found.attempt)
        fault = verify.certificate_fault(self._genesis, found, phase, seats)
        return fault is None and (found.attempt, found.block) == (round, block)
