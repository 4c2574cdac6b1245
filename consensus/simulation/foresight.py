"""Foresight: telling those who work beside the servers what the next height begins with, before the
servers get there.

Nothing that happens in the simulation depends on it: proofs, signatures and trainings that begin
earlier come out as they would later.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from consensus.ledger.settlement import head_with
from consensus.ledger.validity import Head, InvalidBlock
from consensus.records.block import Block, Candidate, Header
from consensus.server.checks import SharedChecks
from consensus.server.edge_server import EdgeServer
from consensus.simulation.content_providers import Providers
from consensus.simulation.spec import WorldSpec

MISSED = 4
"""Cost of a wrong guess, in right ones: somebody began in vain, and whoever needs the right one
waits for that."""
ATTEMPTS_FORESEEN = 16
"""Attempts that are looked at for the one that is likely to decide."""
MOST_TRUST = 8
"""Greatest trust in guesses, and greatest distrust."""


class Trust:
    """Trust in guesses of one kind: it holds as long as hardly any is wrong."""

    def __init__(self) -> None:
        self._trust = MOST_TRUST

    @property
    def holds(self) -> bool:
        """True if guesses are worth acting on."""
        return self._trust > 0

    def told(self, right: int, wrong: int) -> None:
        """Note so many guesses that were right, and wrong, acted on or not."""
        trust = self._trust + right - MISSED * wrong
        self._trust = max(-MOST_TRUST, min(MOST_TRUST, trust))


class Foresight:
    """The next head and its aggregate, as soon as a block is proposed, and again once it is
    decided.

    Candidates are told of as long as hardly any is in vain: where a third of the servers is
    malicious and every other committee blocked, only decided blocks are.
    """

    def __init__(self, spec: WorldSpec, checks: SharedChecks, providers: Providers) -> None:
        self._ahead, self._foresee = spec.ahead, spec.foresee
        self._heard = spec.ahead is not None or spec.foresee is not None
        self._checks, self._providers = checks, providers
        self._trust = Trust()
        self._proposed: set[bytes] = set()
        """CIDs of the headers of the height's candidates."""

    def begin(self) -> None:
        """Begin a height: candidates of those before do not come again."""
        self._proposed.clear()

    def beacon_expected(self, head: Head, malicious: Collection[int]) -> bytes | None:
        """The beacon of the height after the next one, if the block after ``head`` is proposed by
        the first server in turn that is none of the ``malicious``, in the first attempt whose
        committee they cannot keep from deciding; None where there is none, or where servers race.
        """
        checks = self._checks
        for attempt in range(ATTEMPTS_FORESEEN):
            drawn = checks.sortition(checks.genesis, head, attempt)
            if drawn.committee.cannot_approve(drawn.committee.weight_of(malicious)):
                continue
            for server in drawn.order:
                if server not in malicious:
                    return checks.protocol.beacon_after(checks.genesis, head, server)
        return None

    def entered(self, head: Head, malicious: Collection[int]) -> None:
        """Go on, as the servers have entered the height after ``head`` and made its draws. Where
        candidates are not trusted, those of the next height begin now: it will take a while."""
        if self._ahead is not None and not self._trust.holds:
            beacon = self.beacon_expected(head, malicious)
            if beacon is not None:
                self.prove(replace(head, height=head.height + 1, beacon=beacon))

    def prove(self, head: Head) -> None:
        """Have the draws made that servers make when they enter the height after ``head``."""
        if self._ahead is not None:
            self._ahead.prove(self._checks.protocol.alpha(self._checks.genesis, head))

    def proposed(self, servers: Sequence[EdgeServer], candidate: Candidate) -> None:
        """Tell of a candidate of one of ``servers`` as soon as it is sent: unless another one is
        decided, it is the next block. Each is told of once, and those of malicious servers never.
        """
        header = candidate.header
        if not self._heard or header.aggregator >= len(servers):
            return
        server = servers[header.aggregator]
        if server.behaviour is not None or header.cid in self._proposed:
            return
        try:
            head = self._head_after(server.chain.head, candidate)
        except InvalidBlock:
            return  # it is another's in the server's name, or of another height
        self._proposed.add(header.cid)
        if self._trust.holds:
            self._tell(head, header)

    def _head_after(self, head: Head, candidate: Candidate) -> Head:
        """The head once a block of ``candidate`` is appended to ``head``. Raises `InvalidBlock`."""
        checks, header = self._checks, candidate.header
        draws = checks.candidate(head, candidate)
        after = checks.protocol.head_after(checks.genesis, head, header, draws)
        stakes = checks.settlement(checks.genesis, head, header, candidate.settlement)
        return head_with(after, head, stakes)

    def decided(self, server: EdgeServer, block: Block) -> None:
        """Tell of the block that ``server`` has appended, the first one to have it."""
        found = block.cid in self._proposed
        self._trust.told(found, len(self._proposed) - found)
        self._tell(server.chain.head, block.header)

    def _tell(self, head: Head, header: Header) -> None:
        """Tell of the ``head`` that the block with this ``header`` leads to."""
        self.prove(head)
        aggregate = self._providers.aggregate_of(header)
        if self._foresee is not None and aggregate is not None:
            self._foresee(head, aggregate)
