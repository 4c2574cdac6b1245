"""Attacks on moving stake (`consensus.ledger.stakes`): sitting idle, starving and framing honest
servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from consensus.adversary.behaviour import Behaviour, behaviour
from consensus.adversary.toolbox import resigned
from consensus.encoding.unixfs import file_cid
from consensus.ledger.settlement import stakes_after
from consensus.ledger.use import most_use
from consensus.ledger.validity import InvalidBlock
from consensus.records.block import Candidate
from consensus.records.evidence import Evidence
from consensus.records.genesis import MILLION
from consensus.records.settlement import MOST_EVIDENCE, Settlement
from consensus.records.view import proposal_digest
from consensus.server.hooks import Outgoing

if TYPE_CHECKING:
    from consensus.server.edge_server import EdgeServer


def with_settlement(
    server: EdgeServer, candidate: Candidate, settlement: Settlement | None
) -> Candidate:
    """A server's own candidate with another settlement, the stake that it leads to in its header,
    signed anew."""
    try:
        sortition = server.checks.sortition
        stakes = stakes_after(
            server.genesis, server.chain.head, server.index, settlement, sortition
        )
    except (InvalidBlock, IndexError):  # others will not compute any either
        stakes = None
    changed = replace(candidate, settlement=settlement)
    return resigned(server, changed, **({} if stakes is None else {"stakes": stakes.digest}))


@behaviour("idle")
class Idle(Behaviour):
    """Takes its seat by its ticket, and sends nothing else: no vote, no block, no update. (Who is
    `silent` gets no seat, as its tickets are in no block; who does `abstain` still passes on blocks
    that it has signed.)"""

    compared = False
    relays = False
    provides = False

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        return (message,) if message.kind == "ticket" else ()


@behaviour("starve")
class Starve(Behaviour):
    """Keeps rewards from others, where stake moves: in its turn it leaves out as many honest
    members' signatures of the block before as it can, and all evidence against its circle."""

    compared = False

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        settlement, before = candidate.settlement, server.chain.head.before
        if candidate.turn is not None or settlement is None:
            return candidate
        kept = tuple(e for e in settlement.evidence if e.server not in self.colluders)
        changed = replace(settlement, evidence=kept)
        certificate = settlement.certificate
        if certificate is not None and before is not None:
            attempt = certificate.attempt
            committee = server.checks.sortition(server.genesis, before, attempt).committee
            signers = [index for index, _ in certificate.signatures]
            for index in [index for index in signers if index not in self.colluders]:
                fewer = [other for other in signers if other != index]
                if committee.approves(committee.weight_of(fewer)):
                    signers = fewer
            few = tuple(each for each in certificate.signatures if each[0] in signers)
            changed = replace(changed, certificate=replace(certificate, signatures=few))
        if changed == settlement:
            return candidate
        self.act("left out of a settlement")
        return with_settlement(server, candidate, changed)


@behaviour("frame")
class Frame(Behaviour):
    """Moves stake without a right to, where it moves: in its turn its block has forged, repeated,
    stale, empty or too much evidence, a stranger's signature, no settlement, or states other stakes
    than follow; where stake goes by use, it may be its circle alone that was of any."""

    compared = False

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        settlement = candidate.settlement
        if candidate.turn is not None or settlement is None:
            return candidate
        draws = self.draws(server)
        rule = server.genesis.incentives
        lies = (*LIES, _boasted) if rule is not None and rule.use else LIES
        lie: Lie = lies[int(draws.integers(len(lies)))]
        self.act(lie.__name__.strip("_"))
        return lie(Own(server, candidate, settlement, draws))


class Own(NamedTuple):
    """A framer's own candidate, as an honest server would propose it."""

    server: EdgeServer
    candidate: Candidate
    settlement: Settlement
    """The settlement of the candidate."""
    draws: np.random.Generator
    """The generator of the framer's draws."""

    def settling(self, settlement: Settlement | None) -> Candidate:
        """The candidate with another settlement."""
        return with_settlement(self.server, self.candidate, settlement)

    def accusing(self, *found: Evidence) -> Candidate:
        """The candidate with this evidence alone."""
        ordered = sorted(found, key=lambda each: (each.height, each.server))
        return self.settling(replace(self.settlement, evidence=tuple(ordered)))


Lie = Callable[[Own], Candidate]


def _evidence(server: EdgeServer, accused: int, height: int, alike: bool = False) -> Evidence:
    """Evidence of two proposals in ``accused``'s name, signed by ``server``."""
    first = file_cid(b"one")
    said = first, first if alike else file_cid(b"another")
    chain_id = server.genesis.chain_id
    signed = (server.signer.sign(proposal_digest(chain_id, height, (0, 0), each)) for each in said)
    return Evidence(accused, height, (0, 0), "proposal", said, (next(signed), next(signed)))


def _forged(own: Own) -> Candidate:
    """Bring evidence against any server, unregistered ones included, that the framer signed."""
    server = own.server
    accused = int(own.draws.integers(len(server.genesis.servers) + 1))
    return own.accusing(_evidence(server, accused, server.height - 1))


def _repeated(own: Own) -> Candidate:
    """Bring evidence of the chain, or of this very block, a second time."""
    used = [each for block in own.server.chain.blocks for each in _brought(block.settlement)]
    return own.accusing(*(2 * own.settlement.evidence or used[-1:]))


def _brought(settlement: Settlement | None) -> tuple[Evidence, ...]:
    return () if settlement is None else settlement.evidence


def _stale(own: Own) -> Candidate:
    """Bring true evidence against itself of a height that is to come, or long over."""
    server = own.server
    rule = server.genesis.incentives
    assert rule is not None
    old = max(1, server.height - rule.window - 1)
    height = (
        server.height if own.draws.random() < 0.5 or old >= server.height - rule.window else old
    )
    return own.accusing(_evidence(server, server.index, height))


def _empty(own: Own) -> Candidate:
    """Bring two signatures of an honest server's one proposal, which contradict nothing."""
    server, blocks = own.server, own.server.chain.blocks
    if not blocks:
        return own.accusing(_evidence(server, server.index, 1, True))
    last = blocks[-1]
    said, signatures = (last.cid, last.cid), (last.signature, last.signature)
    view, who = last.header.view, last.header.aggregator
    found = Evidence(who, last.height, view, "proposal", said, signatures)
    return own.accusing(found)


def _too_much(own: Own) -> Candidate:
    """Bring more evidence than a block may have."""
    server = own.server
    heights = range(1, MOST_EVIDENCE + 2)
    return own.accusing(*(_evidence(server, server.index, height) for height in heights))


def _stranger(own: Own) -> Candidate:
    """Put another server's name on a signature of the certificate, or leave the certificate out."""
    certificate = own.settlement.certificate
    if certificate is None:
        return own.settling(None)
    (_, first), *rest = certificate.signatures
    named = int(own.draws.integers(len(own.server.genesis.servers)))
    signatures = tuple(sorted(((named, first), *rest)))
    certificate = replace(certificate, signatures=signatures)
    if certificate == own.settlement.certificate:
        certificate = None
    return own.settling(replace(own.settlement, certificate=certificate))


def _wrong(own: Own) -> Candidate:
    """State other stakes in the header, or none."""
    stakes = None if own.draws.random() < 0.3 else own.draws.bytes(32)
    return resigned(own.server, own.candidate, stakes=stakes)


def _boasted(own: Own) -> Candidate:
    """Say that its own clients' updates were of all the use that the block's may have had, or of
    more, or of a little more than they were."""
    server, uses = own.server.index, own.settlement.uses
    others = tuple(each for each in uses if each[0] != server)
    more = dict(uses).get(server, 0) + 1
    said = (
        ((server, most_use(own.server.genesis, own.candidate.header.count)),),
        ((server, MILLION + 1),),
        tuple(sorted((*others, (server, more)))),
    )
    return own.settling(replace(own.settlement, uses=said[int(own.draws.integers(len(said)))]))


LIES: Final[tuple[Lie, ...]] = (
    _forged,
    _repeated,
    _stale,
    _empty,
    _too_much,
    _stranger,
    _wrong,
)
