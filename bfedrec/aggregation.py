"""How edge servers turn a round's payloads into one A, by the rule that the genesis names.

The bytes of a result depend on the payloads' bytes and order alone, not on who computes it.
Another rule is another class (`bfedrec.rules`, `bfedrec.robust`) and its entry in RULES.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bfedrec.robust import (
    Clip,
    ClipItems,
    GeometricMedian,
    Krum,
    Median,
    MultiKrum,
    TrimmedMean,
)
from bfedrec.rules import FLOAT, PerItem, Rule, Samples, update_of

if TYPE_CHECKING:
    from bfedrec.client_settings import AggregationSettings

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


def encode_update(A: np.ndarray, touched: np.ndarray, rule: str | Rule) -> bytes:
    """The payload of one client under `rule`, from A_u (float32[r, N]) and its mask (bool[N])."""
    return _rule(rule).encode(A, touched)


def check_payload(payload: bytes, r: int, N: int, rule: str | Rule) -> str | None:
    """Why an edge server must not accept `payload` under `rule`; None if nothing speaks against."""
    return _rule(rule).check(payload, r, N)


def aggregate(
    payloads: Sequence[bytes], sample_counts: Sequence[int], r: int, N: int, rule: str | Rule
) -> bytes:
    """The model of a round: float32 little-endian, r x N, from payloads in an agreed order.

    Sums run in float64 in the given order and are rounded once, element by element, with no
    operation whose order a library or processor could choose: whoever computes it gets the same
    bytes. `sample_counts` are the N_u, as long as `payloads`.

    Raises ValueError for no payloads, a malformed one, or sample counts that are negative or all 0.
    """
    chosen = _rule(rule)
    if not payloads:
        raise ValueError("there is nothing to aggregate: no payload was given")
    if len(payloads) != len(sample_counts):
        raise ValueError(f"{len(payloads)} payloads but {len(sample_counts)} sample counts")
    if min(sample_counts) < 0 or sum(sample_counts) == 0:
        raise ValueError("sample counts must be 0 or more, and not all 0")
    for place, payload in enumerate(payloads):
        if len(payload) != chosen.payload_size(r, N):
            raise ValueError(f"payload {place}: {chosen.check(payload, r, N)}")
    return chosen.mean(payloads, sample_counts, r, N).astype(FLOAT).tobytes()


def decode_model(model: bytes, r: int, N: int) -> np.ndarray:
    """The A (read-only float32[r, N]) that `aggregate` encoded; ValueError on a wrong length."""
    if len(model) != 4 * r * N:
        raise ValueError(f"a model of {r} x {N} has {4 * r * N} bytes, not {len(model)}")
    return update_of(model, r, N)


def _rule(rule: str | Rule) -> Rule:
    return rule_named(rule) if isinstance(rule, str) else rule
