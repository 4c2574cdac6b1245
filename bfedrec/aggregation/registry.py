"""The rules by which edge servers turn a round's updates into one, by their names.

Another rule is another class (`bfedrec.aggregation.mean`, `bfedrec.aggregation.robust`) and its
entry in RULES.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bfedrec.aggregation.mean import PerItem, Samples
from bfedrec.aggregation.robust import (
    Clip,
    ClipItems,
    GeometricMedian,
    Krum,
    Median,
    MultiKrum,
    TrimmedMean,
)
from bfedrec.aggregation.rule import Rule

if TYPE_CHECKING:
    from bfedrec.aggregation.settings import AggregationSettings

RULES: dict[str, type[Rule]] = {
    rule.name: rule
    for rule in (
        Samples,
        PerItem,
        Clip,
        ClipItems,
        Median,
        TrimmedMean,
        Krum,
        MultiKrum,
        GeometricMedian,
    )
}


def rule_named(name: str, parameters: Mapping[str, int] | None = None) -> Rule:
    """The rule of that name, with its parameters (all of them, or None for its defaults).

    Raises ValueError for an unknown name, which lists the names there are, for parameters that
    are not exactly the rule's, and for values out of range.
    """
    if name not in RULES:
        raise ValueError(f"aggregation rule {name!r} is not one of {', '.join(RULES)}")
    kind = RULES[name]
    if parameters is None:
        return kind()
    known = kind().parameters
    if set(parameters) != set(known):
        raise ValueError(
            f"aggregation rule {name!r} takes {', '.join(known) or 'no parameters'}, "
            f"not {', '.join(map(str, parameters)) or 'none'}"
        )
    return kind(**parameters)


def rule_of(settings: AggregationSettings) -> Rule:
    """The rule that a config asks for."""
    names = RULES[settings.rule]().parameters
    return rule_named(settings.rule, {name: getattr(settings, name) for name in names})
