"""The oracle of moving stake: the rule of docs/incentives.md written a second time, and what it
promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from fractions import Fraction
from hashlib import sha256
from math import ceil, floor

from consensus.encoding.dag_cbor import encode
from consensus.ledger.evidence import holds
from consensus.ledger.updates import SignedUpdate
from consensus.records.block import Block
from consensus.records.genesis import Genesis, Incentives
from consensus.torture.arena.rig import tiny_use
from consensus.torture.oracle import verify
from consensus.torture.oracle.verify import Seats
from consensus.torture.oracle.violation import Violation

#: Blocks after which stake counts in sortition.
LAG = 2


class Purses:
    """Every server's stake after each decided block, and the treasury. Raises `Violation`."""

    def __init__(self, genesis: Genesis, bad: Collection[int], phase: str) -> None:
        self._genesis = genesis
        self._bad = bad
        self._phase = phase
        self._whole = sum(member.stake for member in genesis.servers)
        rule = genesis.incentives
        self._treasury = 0 if rule is None else rule.treasury
        self._whole += self._treasury
        self._after = [[member.stake for member in genesis.servers]]
        """Stakes by server, after each height."""
        self._absent = [0] * len(genesis.servers)
        self._paid_for: set[tuple[int, int]] = set()
        """(height, server) of all evidence in blocks."""
        self.slashed = 0
        """Number of pieces of evidence in blocks."""
        self.useful = 0
        """Number of blocks that paid by the use of their updates."""

    def seated(self, height: int) -> list[int]:
        """The stakes by which committees of a height are drawn."""
        moves = self._genesis.incentives is not None
        return self._after[max(0, height - 1 - LAG) if moves else 0]

    def most_are_malicious(self, height: int) -> bool:
        """True if a third or more of the stake that counts at a height is malicious."""
        stakes = self.seated(height)
        bad = sum(stakes[server] for server in self._bad)
        return bool(bad) and 3 * bad >= sum(stakes)

    def append(
        self,
        block: Block,
        voters: Seats | None,
        parent: bytes,
        updates: Sequence[SignedUpdate],
    ) -> None:
        """Move stake as a decided block of these updates does; ``voters``: of the block before,
        whose link is ``parent``."""
        rule, height, settlement = self._genesis.incentives, block.height, block.settlement
        if rule is None:
            if settlement is not None or block.header.stakes is not None:
                raise Violation("stake is conserved", f"height {height} moves stake")
            return
        if settlement is None:
            raise Violation("stake is conserved", f"height {height} has no settlement")
        used = self._used(updates, rule)
        if settlement.uses != tuple(sorted(used.items())):
            raise Violation("use", f"height {height} states another use of its updates")
        stakes, offenders = list(self._after[-1]), set()
        reporter = block.header.aggregator
        for each in settlement.evidence:
            self._check(each.server, each.height, height, rule)
            if not holds(self._genesis, each):
                raise Violation("evidence", f"that against server {each.server} does not hold")
            offenders.add(each.server)
        for each in settlement.evidence:
            self.slashed += 1
            taken = ceil(Fraction(rule.slash * stakes[each.server], 10**6))
            stakes[each.server] -= taken
            self._treasury += taken
            if reporter not in offenders and self._after[-1][reporter]:
                told = floor(Fraction(taken * rule.report, 10**6))
                stakes[reporter] += told
                self._treasury -= told
        if (settlement.certificate is None) != (voters is None):
            raise Violation("certificates", f"height {height}: its settlement has one, or none")
        if settlement.certificate is not None and voters is not None:
            if settlement.certificate.block != parent:
                raise Violation("certificates", f"height {height}: of another block")
            fault = verify.certificate_fault(
                self._genesis, settlement.certificate, self._phase, voters
            )
            if fault is not None:
                raise Violation("certificates", f"height {height}: its settlement's: {fault}")
            signers = {server for server, _ in settlement.certificate.signatures}
            self._take_part(stakes, voters, signers, rule)
            self._pay(stakes, voters, (signers, used), rule, (reporter, offenders))
            self.useful += bool(used)
        self._after.append(stakes)
        self._check_sum(height)
        self._check_digest(block, rule, used)

    def _check(self, server: int, offence: int, height: int, rule: Incentives) -> None:
        if server not in self._bad:
            raise Violation("evidence", f"height {height} slashes honest server {server}")
        if (offence, server) in self._paid_for or not height - rule.window <= offence < height:
            raise Violation("evidence", f"height {height}: that against {server} counts no more")
        if not self._after[-1][server]:
            raise Violation("evidence", f"height {height}: server {server} has no stake left")
        self._paid_for.add((offence, server))

    def _used(self, updates: Sequence[SignedUpdate], rule: Incentives) -> dict[int, int]:
        """The share of each server in what is paid by use, in millionths, above 0."""
        if not rule.use:
            return {}
        keys = [key for key, _ in self._genesis.clients]
        used: Counter[int] = Counter()
        for update in updates:
            home = keys.index(update.record.client) % len(self._genesis.servers)
            used[home] += tiny_use(update.payload)
        filled = min(Fraction(1), Fraction(len(updates), self._genesis.parameters.quota))
        most, whole = floor(10**6 * filled), used.total()
        shares = {server: floor(most * Fraction(use, whole)) for server, use in used.items() if use}
        return {server: share for server, share in shares.items() if share}

    def _take_part(
        self, stakes: list[int], voters: Seats, signers: set[int], rule: Incentives
    ) -> None:
        """Note who signed, and let the stake of the absent leak."""
        for server in voters.weights:
            if server in signers:
                self._absent[server] = max(0, self._absent[server] - 2)
                continue
            self._absent[server] += 1
            if self._absent[server] > rule.patience:
                taken = ceil(Fraction(rule.leak * stakes[server], 10**6))
                stakes[server] -= taken
                self._treasury += taken

    def _pay(
        self,
        stakes: list[int],
        voters: Seats,
        earned: tuple[set[int], dict[int, int]],
        rule: Incentives,
        parties: tuple[int, set[int]],
    ) -> None:
        """Pay rewards out of the treasury; ``earned``: the signers, and the shares in use;
        ``parties``: the aggregator, and the offenders."""
        (signers, uses), (aggregator, offenders) = earned, parties
        whole = floor(Fraction(self._treasury * rule.reward, 10**6))
        useful = floor(Fraction(whole * rule.use, 10**6))
        whole -= useful
        bonus = floor(Fraction(whole * rule.propose, 10**6))
        members = whole - bonus
        shares = {
            server: floor(Fraction(members * voters.weights[server], voters.total))
            for server in signers
        }
        brought = floor(Fraction(bonus * voters.of(signers), voters.total))
        shares[aggregator] = shares.get(aggregator, 0) + brought
        for server, use in uses.items():
            shares[server] = shares.get(server, 0) + floor(Fraction(useful * use, 10**6))
        for server, share in shares.items():
            if stakes[server] > 0 and server not in offenders:
                stakes[server] += share
                self._treasury -= share

    def _check_sum(self, height: int) -> None:
        stakes = self._after[-1]
        if min(*stakes, self._treasury) < 0 or sum(stakes) + self._treasury != self._whole:
            raise Violation("stake is conserved", f"height {height}: {stakes}, {self._treasury}")

    def _check_digest(self, block: Block, rule: Incentives, used: dict[int, int]) -> None:
        """Check that the header states what the oracle has come to."""
        height = block.height
        recent = sorted(each for each in self._paid_for if each[0] > height - rule.window)
        said = [self._after[-1], self._treasury, self._absent, [list(each) for each in recent]]
        if used:
            said.append([list(each) for each in sorted(used.items())])
        if block.header.stakes != sha256(encode(["bfedrec/stakes", *said])).digest():
            raise Violation("stake is conserved", f"height {height} states other stakes")
