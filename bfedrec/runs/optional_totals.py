"""The totals that not every run has: their common form, in a run's state, metrics and summary."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from bfedrec.runs.figures import Scalar, count, number
from consensus.encoding.node import Node
from consensus.faults.faults import Faults

if TYPE_CHECKING:  # it loads the kernels, and a run folder is read without
    from bfedrec.federation.round import Round


@dataclass(frozen=True)
class OptionalTotals(ABC):
    """Totals that some runs have. A kind of them is a class of fields, whose names are those of the
    state, and whose defaults, which all have, are the totals before the first round."""

    @abstractmethod
    def after(self, played: Round, faults: Faults | None) -> Self | None:
        """These totals after one more round; None for a round that has nothing to do with them.

        ``faults``: those of the whole run.
        """

    def figures(self) -> dict[str, Scalar]:
        """The totals under their names in the metrics and the summary."""
        found: Mapping[str, Any] = self.to_node()
        return dict(found)

    def to_node(self) -> Node:
        """The totals as JSON-ready values, to be read by `from_node`; None is left out."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_node(cls, node: Mapping[str, object]) -> Self | None:
        """The totals whose `to_node` is part of ``node``; None if the first of their fields is not
        there. Raises as `read_field`."""
        own = fields(cls)
        if own[0].name not in node:
            return None
        return cls(**{each.name: read_field(each, node) for each in own})


def read_field(field: Field[Any], node: Mapping[str, object]) -> Any:
    """The value of a dataclass' field in a node, of its default's type: an integer, or another
    number; where that is None a number, which may be missing; where it is made, a map of counts.

    Raises KeyError for a missing value, ValueError for one of another type.
    """
    name = field.name
    if field.default is MISSING:
        found = node[name]
        if not isinstance(found, dict):
            raise ValueError(f"{name}: expected a map of counts")
        return {each: count(found, each) for each in found}
    if field.default is None and name not in node:
        return None
    return count(node, name) if type(field.default) is int else number(node, name)
