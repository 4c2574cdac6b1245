"""The totals of a run over its rounds, as they stand in its state, metrics and summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from bfedrec.runs.adversary import AdversaryTotals
from bfedrec.runs.apart import ServersApart
from bfedrec.runs.delay import GreatestDelay
from bfedrec.runs.figures import Scalar
from bfedrec.runs.masked_groups import MaskedGroups
from bfedrec.runs.optional_totals import OptionalTotals, read_field
from bfedrec.runs.recovery import Recovery
from bfedrec.runs.redundancy import Redundancy
from bfedrec.runs.stake import StakeTotals
from consensus.encoding.node import Node
from consensus.faults.faults import Faults

if TYPE_CHECKING:  # they load the kernels, and a run folder is read without
    from bfedrec.federation.round import Round
    from consensus.simulation.results import Stalled

Part = TypeVar("Part", bound=OptionalTotals)


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
    optional: Mapping[type[OptionalTotals], OptionalTotals] = field(default_factory=dict)
    """Totals that not every run has (`OPTIONAL`), by their kind."""

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
        parts = {kind: self.optional.get(kind, kind()).after(played, faults) for kind in OPTIONAL}
        found = {kind: part for kind, part in parts.items() if part is not None}
        total = (self + more)._with_committees(result.malicious_weight)
        return replace(total, optional={**self.optional, **found})

    def after_stall(self, stalled: Stalled, delay: float) -> Totals:
        """The totals with the committees, and the greatest ``delay`` in seconds, of a height that
        was never decided.

        Without them blocked committees would seem rarer than they are.
        """
        greatest = (self.part(GreatestDelay) or GreatestDelay()).or_greater(delay, stalled.height)
        found = self._with_committees(stalled.malicious_weight)
        return replace(found, optional={**self.optional, GreatestDelay: greatest})

    def part(self, kind: type[Part]) -> Part | None:
        """The optional totals of a kind; None for a run without them."""
        found = self.optional.get(kind)
        assert found is None or isinstance(found, kind)
        return found

    def __add__(self, more: Totals) -> Totals:
        """The sums of two, with the optional totals of the first."""
        others = vars(more)
        return replace(
            self, **{name: _sum(value, others[name]) for name, value in self._sums().items()}
        )

    def _sums(self) -> Mapping[str, Any]:
        """All but the optional totals."""
        return {name: value for name, value in vars(self).items() if name != "optional"}

    def _parts(self) -> Iterator[OptionalTotals]:
        """The optional totals, in the order of `OPTIONAL`."""
        return (self.optional[kind] for kind in OPTIONAL if kind in self.optional)

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
        plain = {name: value for name, value in self._sums().items() if name not in MAPS}
        accounts = {
            "broadcast": self.downlink_bytes_broadcast,
            "catch_up": self.downlink_bytes_catch_up,
        }
        return {
            **plain,
            **{name: value for part in self._parts() for name, value in part.figures().items()},
            "downlink_bytes": accounts[downlink],
            "gossip_bytes": sum(self.gossip_bytes_by_kind.values()),
            "refused_messages": sum(self.refused.values()),
            "malicious_updates": sum(self.malicious_updates_by_attack.values()),
        }

    def to_node(self) -> Node:
        """The totals as JSON-ready values, to be read by `from_node`."""
        node: Node = dict(self._sums())
        for part in self._parts():
            node |= part.to_node()
        return node

    @classmethod
    def from_node(cls, node: Mapping[str, object]) -> Totals:
        """The totals that `to_node` gave; other keys are left alone.

        Raises KeyError for a missing total, ValueError for a value of another type.
        """
        sums: Mapping[str, Any] = {
            each.name: read_field(each, node) for each in fields(cls) if each.name != "optional"
        }
        parts = {kind: kind.from_node(node) for kind in OPTIONAL}
        found = {kind: part for kind, part in parts.items() if part is not None}
        return cls(**sums, optional=found)


#: The totals that not every run has, in the order of their figures.
OPTIONAL: tuple[type[OptionalTotals], ...] = (
    Recovery,
    MaskedGroups,
    AdversaryTotals,
    GreatestDelay,
    StakeTotals,
    Redundancy,
    ServersApart,
)
#: The totals that are maps of counts, of which the metrics have the sum alone.
MAPS = ("gossip_bytes_by_kind", "refused", "malicious_updates_by_attack")


def _sum(one: Any, other: Any) -> Any:
    """The sum of two numbers, or of two maps of counts, sorted by name."""
    if not isinstance(one, Mapping):
        return one + other
    total = Counter(one)
    total.update(other)
    return dict(sorted(total.items()))
