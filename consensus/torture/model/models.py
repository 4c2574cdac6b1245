"""The explored specifications, and the rules that are taken out of them to see them fail."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from consensus.torture.model.across_views import AcrossViews
from consensus.torture.model.asynchrony import Asynchrony
from consensus.torture.model.engine import Spec
from consensus.torture.model.one_view import OneView
from consensus.torture.model.recovery import Recovery


@dataclass(frozen=True)
class Model:
    """A specification with its bound."""

    name: str
    claims: str
    """The claims of PROTOCOL.md that it specifies."""
    bound: str
    """The bound in words; D: the longest delay, in ticks."""
    spec: Spec[Any]
    most: int | None = None
    """The greatest depth; None for all states."""
    quick: bool = True
    """True if it takes seconds; others take minutes."""


THREE = Asynchrony(((1, 1),) * 3, (1,) * 3)
FOUR = Asynchrony(((1, 1, 1),) * 2, (1,) * 2, crashes=False)
SEVEN = OneView(4, 3)
HALF = OneView(6, 6, 2, 5)
SAME = AcrossViews(((1, 1),) * 2, (2,) * 2)
MOVED = AcrossViews(((1, 1), (0, 2)), (2,) * 2)
RECOVERY = Recovery(((1, 2, 0), (0, 1, 2)), (1, 1), (1, 2, 3), 3)

MODELS = {
    model.name: model
    for model in (
        Model(
            "asynchrony",
            "(1)-(4)",
            "3 seats, 1 malicious, the same in 3 views, no bound on delays",
            THREE,
        ),
        Model(
            "asynchrony-moved",
            "(1)-(4)",
            "3 seats, 1 malicious, 2 views and another committee in the third",
            Asynchrony(((1, 1, 0), (1, 1, 0), (0, 1, 1)), (1,) * 3),
            quick=False,
        ),
        Model(
            "asynchrony-four",
            "(1)-(4)",
            "4 seats, 1 malicious, the same in 2 views, no crashes",
            FOUR,
        ),
        Model("one-view", "(5)", "7 seats, 3 malicious; D 1, settle 3", SEVEN),
        Model("one-view-half", "(5)", "12 seats, 6 malicious; D 2, settle 5", HALF),
        Model(
            "across-views",
            "(5)-(6)",
            "4 seats, 2 malicious, the same in 2 views; D 1, settle 3",
            SAME,
        ),
        Model(
            "across-views-moved",
            "(5)-(6)",
            "4 seats, 2 malicious, an honest server of view 0 has none in view 1; D 1, settle 3",
            MOVED,
        ),
        Model(
            "across-views-slower",
            "(5)-(6)",
            "4 seats, 2 malicious, the same in 2 views; D 2, settle 5",
            replace(SAME, delay=2, settle=5),
            quick=False,
        ),
        Model(
            "across-views-change",
            "(5)-(6)",
            "4 seats, 2 malicious, one honest member of two is another in view 1; D 1, settle 3",
            AcrossViews(((1, 1, 0), (0, 1, 1)), (2, 2)),
            quick=False,
        ),
        Model(
            "across-views-three",
            "(5)-(6)",
            "4 seats, 2 malicious, 3 views, the last as in across-views-moved; 17 steps",
            AcrossViews(((1, 1), (1, 1), (0, 2)), (2,) * 3),
            most=17,
            quick=False,
        ),
        Model(
            "recovery",
            "(7)",
            "4 seats, 1 malicious, stake 3 of 9 malicious, 2 attempts; D 1, spread 1, recovery 6",
            RECOVERY,
        ),
        Model(
            "recovery-five",
            "(7)",
            "4 seats, 1 malicious, 4 honest servers, 2 attempts; D 1, spread 1, recovery 6",
            Recovery(((1, 1, 1, 0), (0, 0, 1, 2)), (1, 1), (1, 1, 1, 3), 3),
            quick=False,
        ),
    )
}


@dataclass(frozen=True)
class Break:
    """A model's specification without one of its rules or premises."""

    name: str
    what: str
    model: str
    spec: Spec[Any]


BREAKS = {
    each.name: each
    for each in (
        Break(
            "two-thirds-suffice",
            "a quorum is exactly two thirds, with exactly a third malicious",
            "asynchrony",
            replace(THREE, forks_only=True, more_than_two_thirds=False),
        ),
        Break(
            "votes-twice",
            "a member votes for both blocks of a view",
            "asynchrony-four",
            replace(FOUR, forks_only=True, one_vote=False),
        ),
        Break(
            "closure-without-lock",
            "a closure carries no lock",
            "asynchrony-four",
            replace(FOUR, forks_only=True, carries_locks=False),
        ),
        Break(
            "closure-lower-lock",
            "a closure carries any of its timeouts' locks, or none",
            "asynchrony-four",
            replace(FOUR, forks_only=True, carries_highest=False),
        ),
        Break(
            "timeout-names-last",
            "a timeout names the lock that was learned last",
            "asynchrony",
            replace(THREE, forks_only=True, names_last=True),
        ),
        Break(
            "votes-after-leaving",
            "a member certifies in a view that it has left",
            "asynchrony-four",
            replace(FOUR, forks_only=True, leaves=False),
        ),
        Break(
            "certifies-at-once",
            "a narrow lock is certified without waiting",
            "one-view",
            replace(SEVEN, waits=False),
        ),
        Break(
            "fast-at-two-thirds",
            "a lock of more than two thirds is certified at once, not of five sixths",
            "one-view",
            replace(SEVEN, sixths=4),
        ),
        Break(
            "votes-on-equivocation",
            "a member votes although it knows two proposals",
            "one-view",
            replace(SEVEN, heeds_proposals=False),
        ),
        Break(
            "settle-below-two-delays",
            "settle is less than 2 D",
            "one-view-half",
            replace(HALF, settle=3),
        ),
        Break(
            "settle-of-two-delays",
            "settle is exactly 2 D, and a timer comes before a message of the same time",
            "one-view-half",
            replace(HALF, settle=4),
        ),
        Break(
            "settle-of-two-delays-across",
            "the same across views",
            "across-views-moved",
            replace(MOVED, forks_only=True, settle=2),
        ),
        Break(
            "decided-is-silent",
            "who has decided says nothing upon a closure without its lock",
            "across-views",
            replace(SAME, forks_only=True, shows_block=False),
        ),
        Break(
            "left-is-silent",
            "who is past a view says nothing upon a closure without its lock",
            "across-views-moved",
            replace(MOVED, forks_only=True, shows_when_past=False),
        ),
        Break(
            "enters-silently",
            "who enters a view by a closure without its lock does not show it",
            "across-views",
            replace(SAME, forks_only=True, shows_on_entry=False),
        ),
        Break(
            "votes-at-once",
            "a soft vote does not wait until others could show locks",
            "across-views-moved",
            replace(MOVED, forks_only=True, listens=False),
        ),
        Break(
            "ignores-higher-lock",
            "a member votes for a block below a lock on another one",
            "across-views-moved",
            replace(MOVED, forks_only=True, heeds_locks=False),
        ),
        Break(
            "recovery-omits-lock",
            "a timeout of an attempt names no lock",
            "recovery",
            replace(RECOVERY, names_lock=False),
        ),
        Break(
            "decided-is-silent-in-recovery",
            "who has decided says nothing upon a timeout without its lock",
            "recovery",
            replace(RECOVERY, forks_only=True, shows_block=False),
        ),
        Break(
            "timeouts-said-once",
            "who is stuck does not repeat its timeout",
            "recovery",
            replace(RECOVERY, forks_only=True, repeats=False),
        ),
        Break(
            "recovery-too-early",
            "recovery is no longer than the spread, a repetition and 2 D",
            "recovery",
            replace(RECOVERY, forks_only=True, recovery=5),
        ),
        Break(
            "block-held-back",
            "honest members that have all decided do not pass the block on in time",
            "recovery",
            replace(RECOVERY, forks_only=True, relay=9),
        ),
    )
}
"""Rules and premises, each taken out of a model: the checker must find a fork without every one, or
in one case an attempt that forgets a lock."""
