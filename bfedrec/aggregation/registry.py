"""The aggregation rules by their names.

Another rule is another class under the decorator `bfedrec.aggregation.aggregator.aggregator`: in a
file of `bfedrec.aggregation.rules`, which is found there, or in a plugin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bfedrec.aggregation.aggregator import AGGREGATORS, Aggregator
from bfedrec.parts import check_keys
from consensus.registry import import_parts

__all__ = ["AGGREGATORS", "aggregator_named", "aggregator_of"]

import_parts("bfedrec.aggregation.rules")


class Choice(Protocol):
    """A config's section that names a rule and has its parameters."""

    @property
    def rule(self) -> str:
        """The rule's name."""

    @property
    def parameters(self) -> dict[str, int]:
        """The parameters of the rule, by their keys."""


def aggregator_named(name: str, parameters: Mapping[str, int] | None = None) -> Aggregator:
    """The rule of that name with these parameters: all that it has, or None for its defaults.

    Raises ValueError for an unknown name, which lists the names there are, for parameters that
    are not exactly the rule's, and for values out of range.
    """
    kind = AGGREGATORS.named(name)
    if parameters is None:
        return kind()
    check_keys(kind, parameters)
    return kind(**parameters)


def aggregator_of(settings: Choice) -> Aggregator:
    """The rule that a config asks for."""
    return aggregator_named(settings.rule, settings.parameters)
