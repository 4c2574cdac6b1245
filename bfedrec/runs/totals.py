"""The totals of a run over its rounds, as they stand in its state, metrics and summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import isinf
from typing import TYPE_CHECKING, Any

from bfedrec.runs.figures import Scalar, count, number
from bfedrec.runs.masked_groups import MaskedGroups
from bfedrec.runs.stake import StakeTotals
from consensus.encoding.node import Node
from consensus.faults.faults import Faults

if TYPE_CHECKING:  # they load the kernels, and a run folder is read without
    from bfedrec.federation.federation import Round
    from consensus.simulation.results import Stalled


@dataclass(frozen=True)
class Recovery:
    """The blocks and the time that a run loses to faults which all end."""

    blocks_while_faulty: int = 0
    """Blocks decided from the first fault's beginning to the last one's end."""
    seconds_to_next_block: float | None = None
    """Simulated seconds from that end until a server has a new block; None before it has."""
    seconds_until_level: float | None = None
    """Simulated seconds from that end until the last of all servers has the newest block; None
    before it has."""

    def after(self, played: Round, begins: float, healed: float) -> Recovery:
        """The recovery after a round, where faults last from ``begins`` to ``healed`` (simulated
        seconds)."""
        appended = played.result.appended.values()
        decided, everywhere = min(appended), max(appended)
        next_block, level = self.seconds_to_next_block, self.seconds_until_level
        if next_block is None and decided >= healed:
            next_block = decided - healed
        if level is None and not played.behind and everywhere >= healed:
            level = everywhere - healed
        blocks = self.blocks_while_faulty + int(begins <= decided < healed)
        return Recovery(blocks, next_block, level)

    def figures(self) -> dict[str, Scalar]:
        """Its numbers by name, without those that are still None."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_node(cls, node: Mapping[str, object]) -> Recovery | None:
        """The recovery whose `figures` stand in ``node``; None if there is none."""
        if "blocks_while_faulty" not in node:
            return None
        next_block, level = (
            number(node, name) if name in node else None
            for name in ("seconds_to_next_block", "seconds_until_level")
        )
        return cls(count(node, "blocks_while_faulty"), next_block, level)


@dataclass(frozen=True)
class Totals:
    """Sums over the rounds of a run so far; by default those before the first round.

    The fields' names are those of the files, in this order. A field without another unit is a
    number of what its name says.
    """

    blocks: int = 0
    attempts: int = 0
    """Committees that the blocks took, one at least for each."""
    rebuilt_committees: int = 0
    steps: int = 0
    """Steps of the vote in the attempts that decided."""
    captured_blocks: int = 0
    committees: int = 0
    """Committees whose members' weights are known (`HeightResult.malicious_weight`)."""
    blocked_committees: int = 0
    """Committees of which the honest members are not more than two thirds of the weight."""
    captured_committees: int = 0
    """Committees of which the malicious members are more than two thirds of the weight."""
    closed_by_all: int = 0
    """Attempts that all servers gave up together."""
    caught_up: int = 0
    """Blocks that servers which were behind appended late."""
    uplink_bytes: int = 0
    downlink_bytes_broadcast: int = 0
    """Bytes under one account of the downlink (`bfedrec.federation.downlink`)."""
    downlink_bytes_catch_up: int = 0
    """Bytes under the other account."""
    gossip_messages: int = 0
    gossip_bytes_by_kind: Mapping[str, int] = field(default_factory=dict)
    """Bytes between servers by kind of message, sorted."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Messages that servers refused by reason, sorted."""
    evidence: int = 0
    """Proofs that a server signed two contradicting records."""
    malicious_updates_by_attack: Mapping[str, int] = field(default_factory=dict)
    """Updates of malicious clients by attack, sorted."""
    malicious_updates_aggregated: int = 0
    """Updates of malicious clients that are in a block."""
    recovery: Recovery | None = None
    """None if there are no faults, or one that never ends."""
    masked: MaskedGroups | None = None
    """None without secure aggregation."""
    stake: StakeTotals | None = None
    """None where stake does not move."""

    def after(self, played: Round, faults: Faults | None) -> Totals:
        """The totals after one more round; ``faults``: those of the whole run."""
        result = played.result
        certificate = result.block.certificate
        more = Totals(
            blocks=1,
            attempts=certificate.attempt + 1,
            rebuilt_committees=certificate.attempt,
            steps=certificate.step + 1,
            captured_blocks=int(result.captured),
            closed_by_all=result.closed_by_all,
            caught_up=result.caught_up,
            uplink_bytes=played.uplink_bytes,
            downlink_bytes_broadcast=played.downlink_bytes["broadcast"],
            downlink_bytes_catch_up=played.downlink_bytes["catch_up"],
            gossip_messages=result.gossip_messages,
            gossip_bytes_by_kind=result.gossip_bytes,
            refused=result.refused,
            evidence=len(result.evidence),
            malicious_updates_by_attack=played.malicious,
            malicious_updates_aggregated=played.malicious_aggregated,
        )
        recovery = None
        if faults is not None and faults.faults and not isinf(faults.healed_at):
            begins = min(fault.from_ for fault in faults.faults)
            recovery = (self.recovery or Recovery()).after(played, begins, faults.healed_at)
        total = (self + more)._with_committees(result.malicious_weight)
        masked = (self.masked or MaskedGroups()).after(played) if played.groups else self.masked
        stake = (self.stake or StakeTotals()).after(result) if result.stakes else self.stake
        return replace(total, recovery=recovery, masked=masked, stake=stake)

    def after_stall(self, stalled: Stalled) -> Totals:
        """The totals with the committees of a height that was never decided.

        Without them blocked committees would seem rarer than they are.
        """
        return self._with_committees(stalled.malicious_weight)

    def __add__(self, more: Totals) -> Totals:
        """The sums of two, with the recovery, the groups and the stake of the first."""
        others = vars(more)
        own = ((name, value) for name, value in vars(self).items() if name not in OPTIONAL)
        return replace(self, **{name: _sum(value, others[name]) for name, value in own})

    def _with_committees(self, weights: Sequence[tuple[int, int]]) -> Totals:
        """``weights``: for each committee that of its malicious members, and of all."""
        return replace(
            self,
            committees=self.committees + len(weights),
            blocked_committees=self.blocked_committees
            + sum(3 * (total - bad) <= 2 * total for bad, total in weights),
            captured_committees=self.captured_committees
            + sum(3 * bad > 2 * total for bad, total in weights),
        )

    # -- as written -------------------------------------------------------------------------------

    def figures(self, downlink: str) -> dict[str, Scalar]:
        """The totals under their names in the metrics and the summary.

        ``downlink`` names the one of the two accounts of the downlink that counts.
        """
        plain = {
            name: value for name, value in vars(self).items() if name not in (*MAPS, *OPTIONAL)
        }
        accounts = {
            "broadcast": self.downlink_bytes_broadcast,
            "catch_up": self.downlink_bytes_catch_up,
        }
        return {
            **plain,
            **(self.recovery.figures() if self.recovery else {}),
            **(self.masked.figures() if self.masked else {}),
            **(self.stake.figures() if self.stake else {}),
            "downlink_bytes": accounts[downlink],
            "gossip_bytes": sum(self.gossip_bytes_by_kind.values()),
            "refused_messages": sum(self.refused.values()),
            "malicious_updates": sum(self.malicious_updates_by_attack.values()),
        }

    def to_node(self) -> Node:
        """The totals as JSON-ready values, to be read by `from_node`."""
        node = {name: value for name, value in vars(self).items() if name not in OPTIONAL}
        node |= self.recovery.figures() if self.recovery else {}
        node |= self.stake.figures() if self.stake else {}
        return node | (self.masked.to_node() if self.masked else {})

    @classmethod
    def from_node(cls, node: Mapping[str, object]) -> Totals:
        """The totals that `to_node` gave; other keys are left alone.

        Raises KeyError for a missing total, ValueError for a value of another type.
        """
        sums: Mapping[str, Any] = {
            each.name: _counts(node, each.name) if each.name in MAPS else count(node, each.name)
            for each in fields(cls)
            if each.name not in OPTIONAL
        }
        recovery, masked = Recovery.from_node(node), MaskedGroups.from_node(node)
        return cls(**sums, recovery=recovery, masked=masked, stake=StakeTotals.from_node(node))


#: The totals that not every run has.
OPTIONAL = ("recovery", "masked", "stake")
#: The totals that are maps of counts, of which the metrics have the sum alone.
MAPS = ("gossip_bytes_by_kind", "refused", "malicious_updates_by_attack")


def _sum(one: Any, other: Any) -> Any:
    """The sum of two numbers, or of two maps of counts, sorted by name."""
    if not isinstance(one, Mapping):
        return one + other
    total = Counter(one)
    total.update(other)
    return dict(sorted(total.items()))


def _counts(node: Mapping[str, object], name: str) -> dict[str, int]:
    found = node[name]
    if not isinstance(found, dict):
        raise ValueError(f"{name}: expected a map of counts")
    return {each: count(found, each) for each in found}
