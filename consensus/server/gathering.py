"""The part of a server that gathers what moves stake: signatures that came late, and evidence.

Votes go to the members of a committee, not to all: who votes for one block towards some and for
another towards others need not be found out by any of them. But a vote only earns its signer
something in a certificate, which all see; whoever has heard another vote of the same signer then
holds both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from consensus.encoding.node import Node
from consensus.ledger.chain import Chain
from consensus.ledger.settlement import stakes_after
from consensus.ledger.stakes import Stakes
from consensus.records.block import Block
from consensus.records.evidence import Evidence
from consensus.records.genesis import Genesis
from consensus.records.settlement import MOST_EVIDENCE, Settlement, Uses
from consensus.records.votes import Certificate, Signatures, Vote
from consensus.server.checks import SharedChecks
from consensus.server.host import Host


@dataclass(frozen=True)
class Unsettled:
    """All that a server holds between two heights which moves stake and is not in its chain."""

    late: Certificate | None = None
    """The late signatures alone, as a certificate of the head's block."""
    evidence: tuple[Evidence, ...] = ()
    """Evidence that the next block may bring."""
    others: tuple[Vote, ...] = ()
    """Votes of the last height for other blocks, in the phase that decides."""

    def to_node(self) -> Node:
        """All of it in hex, JSON-ready."""
        return {
            "late": "" if self.late is None else self.late.encoded.hex(),
            "evidence": [each.encoded.hex() for each in self.evidence],
            "others": [each.encoded.hex() for each in self.others],
        }

    @classmethod
    def from_node(cls, node: Mapping[str, Any]) -> Self:
        """The state from which `to_node` made ``node``; raises KeyError, TypeError or ValueError if
        it made none like it."""
        late = bytes.fromhex(node["late"])
        return cls(
            Certificate.decode(late) if late else None,
            tuple(Evidence.decode(bytes.fromhex(each)) for each in node["evidence"]),
            tuple(Vote.decode(bytes.fromhex(each)) for each in node["others"]),
        )


class Gatherer(Protocol):
    """The part of a server that gathering uses."""

    index: int
    chain: Chain
    genesis: Genesis
    checks: SharedChecks
    host: Host
    evidence: dict[tuple[str, int, int], Evidence]

    def accuse(self, found: Evidence) -> None:
        """Keep evidence against a server."""
        ...


class Gathering:
    """The settlements that one server would propose, in a chain with incentives."""

    def __init__(self, server: Gatherer) -> None:
        self._server = server
        self.on = server.genesis.incentives is not None
        """False in a chain without incentives, where nothing is gathered."""
        self._late: Certificate | None = None
        """The votes that came after the block was decided which was the head then."""
        self._others: dict[tuple[int, int, int], Vote] = {}
        """By attempt, step and server: a vote of the last height for another block than its own."""

    # -- signatures -------------------------------------------------------------------------------

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
        """Take in a vote of the head's height that came after that was decided. For its block, the
        signer took part; for another, it may have voted for both."""
        server = self._server
        head, own = server.chain.head, server.chain.blocks[-1].certificate
        of_height = (vote.height, vote.phase) == (own.height, own.phase)
        if not of_height or head.before is None or vote.chain_id != server.genesis.chain_id:
            return
        view, late = (vote.attempt, vote.step), dict(self._late_for(own))
        name, same = (*view, vote.server), vote.block == own.block
        known = vote.server in (late | dict(own.signatures)) if same else name in self._others
        if known or view != own.view:
            return
        committee = server.checks.sortition(server.genesis, head.before, vote.attempt).committee
        if vote.server not in committee.weights:
            return
        server.host.charge("verify")
        if not server.checks.vote(head, vote):
            return
        if same:
            late[vote.server] = vote.signature
            self._late = replace(own, signatures=tuple(sorted(late.items())))
        else:
            self._others[name] = vote
        self._compare(own)

    # -- evidence ---------------------------------------------------------------------------------

    def decided(self, block: Block, votes_heard: Callable[[str], Iterable[Vote]]) -> None:
        """Go on from a block that was appended, and forget evidence that is too old for the next;
        ``votes_heard`` gives the checked votes of its height by phase."""
        rule, evidence = self._server.genesis.incentives, self._server.evidence
        assert rule is not None
        for key in [key for key in evidence if key[1] <= block.height - rule.window]:
            del evidence[key]
        if block.settlement is not None and block.settlement.certificate is not None:
            self._compare(block.settlement.certificate)
        certificate = block.certificate
        self._others = {
            (vote.attempt, vote.step, vote.server): vote
            for vote in votes_heard(certificate.phase)
            if vote.height == block.height and vote.block != certificate.block
        }
        self._compare(certificate)

    def _compare(self, certificate: Certificate) -> None:
        """Accuse whoever signed a checked certificate and was heard to vote for another block in
        the same view."""
        for server, signature in (*certificate.signatures, *self._late_for(certificate)):
            other = self._others.get((*certificate.view, server))
            if other is not None and other.height == certificate.height:
                said, signatures = (other.block, certificate.block), (other.signature, signature)
                phase, height = certificate.phase, certificate.height
                found = Evidence(server, height, certificate.view, phase, said, signatures)
                self._server.accuse(found)

    def punishable(self) -> tuple[Evidence, ...]:
        """The evidence here that the next block may bring, by ascending height and server, one
        piece of each."""
        server = self._server
        rule, stakes = server.genesis.incentives, server.chain.head.stakes
        if rule is None or stakes is None:
            return ()
        found: dict[tuple[int, int], Evidence] = {}
        for key in sorted(server.evidence):
            each = server.evidence[key]
            if stakes.is_punishable(each, server.chain.height + 1, rule.window):
                found.setdefault((each.height, each.server), each)
        return tuple(found[key] for key in sorted(found))

    # -- between heights --------------------------------------------------------------------------

    def gathered(self) -> Unsettled | None:
        """All that this server holds which moves stake and is not in its chain; None for
        nothing."""
        blocks = self._server.chain.blocks
        if not self.on or not blocks:
            return None
        own = blocks[-1].certificate
        known = dict(own.signatures)
        late = tuple(each for each in self._late_for(own) if each[0] not in known)
        found = Unsettled(
            replace(own, signatures=late) if late else None,
            self.punishable(),
            tuple(self._others[key] for key in sorted(self._others)),
        )
        return None if found == Unsettled() else found

    def resume(self, gathered: Unsettled) -> None:
        """Hold what this server of an earlier process held."""
        self._late = gathered.late
        self._others = {(vote.attempt, vote.step, vote.server): vote for vote in gathered.others}
        self._server.evidence.update((each.key, each) for each in gathered.evidence)

    # -- proposing --------------------------------------------------------------------------------

    def settlement(self, uses: Uses) -> Settlement | None:
        """The settlement that this server proposes after its head, with the ``uses`` of its
        updates; None without incentives."""
        if not self.on:
            return None
        return Settlement(self.certificate, self.punishable()[:MOST_EVIDENCE], uses)

    def stakes(self, uses: Uses) -> Stakes | None:
        """The stake after a block of this server's with that settlement."""
        server, settlement = self._server, self.settlement(uses)
        head, sortition = server.chain.head, server.checks.sortition
        return stakes_after(server.genesis, head, server.index, settlement, sortition)
