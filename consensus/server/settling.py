"""The part of a server that gathers what moves stake: evidence, and signatures that came late."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from consensus.ledger.chain import Chain
from consensus.ledger.settling import stakes_after
from consensus.ledger.stakes import Stakes
from consensus.records.evidence import Evidence
from consensus.records.genesis import Genesis
from consensus.records.settlement import MOST_EVIDENCE, Settlement
from consensus.records.votes import Certificate, Signatures, Vote
from consensus.server.checks import SharedChecks
from consensus.server.host import Host


class Gatherer(Protocol):
    """The part of a server that gathering uses."""

    index: int
    chain: Chain
    genesis: Genesis
    checks: SharedChecks
    host: Host
    evidence: dict[tuple[str, int, int], Evidence]


class Settling:
    """The settlements that one server would propose, in a chain with incentives."""

    def __init__(self, server: Gatherer) -> None:
        self._server = server
        self.on = server.genesis.incentives is not None
        """False in a chain without incentives, where nothing is gathered."""
        self._late: Certificate | None = None
        """The votes that came after the block was decided which was the head then."""

    @property
    def certificate(self) -> Certificate | None:
        """The certificate of the head's block, with the signatures that came late; None in an empty
        chain."""
        blocks = self._server.chain.blocks
        if not blocks:
            return None
        own = blocks[-1].certificate
        signatures = dict(self._late_for(own)) | dict(own.signatures)
        return replace(own, signatures=tuple(sorted(signatures.items())))

    def _late_for(self, own: Certificate) -> Signatures:
        """The late signatures that say the same as those of a certificate."""
        late = self._late
        same = late is not None and (late.view, late.block) == (own.view, own.block)
        return late.signatures if late is not None and same else ()

    def hear(self, vote: Vote) -> None:
        """Add a vote for the head's block that came after it was decided: its signer took part."""
        server = self._server
        head, own = server.chain.head, server.chain.blocks[-1].certificate
        said = (vote.height, vote.attempt, vote.step, vote.phase, vote.block)
        same = said == (own.height, *own.view, own.phase, own.block)
        if not same or head.before is None or vote.chain_id != server.genesis.chain_id:
            return
        committee = server.checks.sortition(server.genesis, head.before, vote.attempt).committee
        late = dict(self._late_for(own))
        if vote.server in late or vote.server not in committee.weights:
            return
        if vote.server in dict(own.signatures):
            return
        server.host.charge("verify")
        if server.checks.vote(head, vote):
            late[vote.server] = vote.signature
            self._late = replace(own, signatures=tuple(sorted(late.items())))

    def gathered(self) -> Settlement | None:
        """All that this server holds between two heights which moves stake and is not in its chain:
        the late signatures alone as a certificate, and evidence; None for nothing."""
        blocks = self._server.chain.blocks
        if not self.on or not blocks:
            return None
        own, evidence = blocks[-1].certificate, self.punishable()
        known = dict(own.signatures)
        late = tuple(each for each in self._late_for(own) if each[0] not in known)
        certificate = replace(own, signatures=late) if late else None
        return Settlement(certificate, evidence) if certificate or evidence else None

    def resume(self, gathered: Settlement) -> None:
        """Hold what this server of an earlier process held (`gathered`)."""
        self._late = gathered.certificate
        self._server.evidence.update((each.key, each) for each in gathered.evidence)

    def punishable(self) -> tuple[Evidence, ...]:
        """The evidence here that the next block may bring, by ascending height and server, one
        piece of each."""
        server = self._server
        rule, stakes, height = (
            server.genesis.incentives,
            server.chain.head.stakes,
            server.chain.height,
        )
        if rule is None or stakes is None:
            return ()
        found: dict[tuple[int, int], Evidence] = {}
        for key in sorted(server.evidence):
            each = server.evidence[key]
            if stakes.is_punishable(each, height + 1, rule.window):
                found.setdefault((each.height, each.server), each)
        return tuple(found[key] for key in sorted(found))

    def settlement(self) -> Settlement | None:
        """The settlement that this server proposes after its head; None without incentives."""
        if not self.on:
            return None
        return Settlement(self.certificate, self.punishable()[:MOST_EVIDENCE])

    def stakes(self) -> Stakes | None:
        """The stake after a block of this server's with that settlement."""
        server, settlement = self._server, self.settlement()
        head, sortition = server.chain.head, server.checks.sortition
        return stakes_after(server.genesis, head, server.index, settlement, sortition)
