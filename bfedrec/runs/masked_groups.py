"""The groups of a run under secure aggregation, as its totals count them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bfedrec.runs.figures import Scalar
from bfedrec.runs.optional_totals import OptionalTotals
from consensus.faults.faults import Faults

if TYPE_CHECKING:  # it loads the kernels, and a run folder is read without
    from bfedrec.federation.round import Round


@dataclass(frozen=True)
class MaskedGroups(OptionalTotals):
    """Groups by their end, summed over rounds."""

    groups_opened: int = 0
    groups_dropped: Mapping[str, int] = field(default_factory=dict)
    """Groups that were not opened, by reason, sorted."""
    clients_accused: int = 0
    """False statements of clients, proven by their own signed messages."""

    def after(self, played: Round, faults: Faults | None) -> MaskedGroups | None:
        """The groups after one more round; None for one without groups."""
        if not played.groups:
            return None
        dropped = Counter(self.groups_dropped)
        dropped.update(played.groups)
        opened = dropped.pop("opened", 0)
        return MaskedGroups(
            self.groups_opened + opened,
            dict(sorted(dropped.items())),
            self.clients_accused + len(played.accused),
        )

    def figures(self) -> dict[str, Scalar]:
        """Its numbers by name; of dropped groups the sum."""
        return {
            "groups_opened": self.groups_opened,
            "groups_dropped": sum(self.groups_dropped.values()),
            "clients_accused": self.clients_accused,
        }
