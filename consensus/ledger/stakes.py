"""The stake of all servers after a block, and the rule by which blocks move it.

All of it is integers, rounded so that whoever takes gets no more than there is: the stakes and the
treasury together never change. docs/incentives.md has the equations, and what they are good for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from consensus.encoding.cid import digest
from consensus.encoding.dag_cbor import encode
from consensus.encoding.fields import computed_once
from consensus.encoding.frozen import frozen
from consensus.ledger.committee import Committee
from consensus.records.evidence import Evidence
from consensus.records.genesis import MILLION, Genesis, Incentives
from consensus.records.settlement import Uses

LAG: Final = 2
"""Blocks after which stake counts in sortition. The draws for a height are known, a few at least,
to whoever proposes the two blocks before it. If what these move counted at once, an aggregator
could try variants until it likes the next committee. Whoever proposes the third block before it
can know those of its own circle, from the tickets that it brings, and no others."""
FORGIVEN: Final = 2
"""Missing signatures that one signature makes up for. Who takes part in a third of its committees
or more is not taken for absent for long."""


@frozen
class Stakes:
    """The stake of all servers after a block, and what is remembered of their conduct."""

    held: tuple[int, ...]
    """Each server's stake, by index."""
    treasury: int
    """Stake that belongs to nobody: what was taken, and not paid out again."""
    absences: tuple[int, ...]
    """Each server's missing signatures, less those made up for."""
    offences: tuple[tuple[int, int], ...] = ()
    """(height, server) of the evidence that has been used, as long as it would count."""
    earlier: tuple[tuple[int, ...], ...] = ()
    """``held`` after each of the last `LAG` blocks before, the oldest first."""
    uses: Uses = ()
    """The shares of what the last block paid by the use of its updates. They are here so that
    its header binds them, which names no settlement: others could lead to the same stakes."""

    @classmethod
    def of_genesis(cls, genesis: Genesis, incentives: Incentives) -> Stakes:
        """The stake at height 0."""
        return cls(genesis.stakes, incentives.treasury, (0,) * len(genesis.servers))

    @property
    def seated(self) -> tuple[int, ...]:
        """The stakes by which the next height's committees and turns are drawn."""
        return self.earlier[0] if self.earlier else self.held

    @property
    def total(self) -> int:
        """All stakes and the treasury, which no block changes."""
        return sum(self.held) + self.treasury

    @computed_once
    def digest(self) -> bytes:
        """The digest (32 bytes) of all this that a header states. (``earlier`` follows from the
        blocks before. ``uses`` are left out where there are none.)"""
        offences = [list(offence) for offence in self.offences]
        said = [list(self.held), self.treasury, list(self.absences), offences]
        paid = [[list(use) for use in self.uses]] if self.uses else []
        return digest(encode(["bfedrec/stakes", *said, *paid]))

    def is_punishable(self, evidence: Evidence, height: int, window: int) -> bool:
        """True if a block of ``height`` may bring ``evidence``: of a height before that is not too
        old, against a server that has stake and has not paid for that height yet."""
        server = evidence.server
        return (
            max(0, height - 1 - window) < evidence.height < height
            and server < len(self.held)
            and self.held[server] > 0
            and (evidence.height, server) not in self.offences
        )


def moved(
    before: Stakes,
    rule: Incentives,
    height: int,
    aggregator: int,
    evidence: Sequence[Evidence],
    committee: Committee | None,
    signers: Collection[int],
    uses: Uses = (),
) -> Stakes:
    """The stake after the block of ``height`` by ``aggregator``, whose ``evidence`` counts;
    ``committee`` and ``signers``: of the block before, None and nobody in block 1. ``uses``: the
    shares of what is paid by the use of updates."""
    held, absences, treasury = list(before.held), list(before.absences), before.treasury
    offenders = {each.server for each in evidence}
    for each in evidence:
        taken = _up(rule.slash * held[each.server])
        held[each.server] -= taken
        told = taken * rule.report // MILLION if aggregator not in offenders else 0
        told = told if before.held[aggregator] else 0
        held[aggregator] += told
        treasury += taken - told
    signed = frozenset(signers)
    for server in () if committee is None else committee.weights:
        if server in signed:
            absences[server] = max(0, absences[server] - FORGIVEN)
            continue
        absences[server] += 1
        if absences[server] > rule.patience:
            taken = _up(rule.leak * held[server])
            held[server] -= taken
            treasury += taken
    if committee is not None:
        whole = treasury * rule.reward // MILLION
        by_use = whole * rule.use // MILLION
        paid = _rewards(rule, whole - by_use, aggregator, committee, signed)
        for server, share in uses:
            paid[server] = paid.get(server, 0) + by_use * share // MILLION
        for server, amount in paid.items():
            if held[server] and server not in offenders:
                held[server] += amount
                treasury -= amount
    used = {*before.offences, *((each.height, each.server) for each in evidence)}
    settled = height - rule.window  # evidence of this height does not count in the next block
    return Stakes(
        tuple(held),
        treasury,
        tuple(absences),
        tuple(sorted(offence for offence in used if offence[0] > settled)),
        (*before.earlier, before.held)[-LAG:],
        uses,
    )


def _rewards(
    rule: Incentives,
    whole: int,
    aggregator: int,
    committee: Committee,
    signed: Collection[int],
) -> dict[int, int]:
    """The amounts, by server, that a block pays of a ``whole`` for signatures: to the members that
    signed, by weight, and to its aggregator by the weight whose signatures it brings. What the
    others would have got stays in the treasury, so that nobody gains by leaving a signature out."""
    bonus = whole * rule.propose // MILLION
    paid = {
        server: (whole - bonus) * weight // committee.total
        for server, weight in committee.weights.items()
        if server in signed
    }
    share = bonus * committee.weight_of(sorted(signed)) // committee.total
    paid[aggregator] = paid.get(aggregator, 0) + share
    return paid


def _up(millionths: int) -> int:
    """So many millionths as a whole number, rounded up."""
    return -(-millionths // MILLION)
