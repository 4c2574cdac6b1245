"""Trust in candidates: they are told of as long as hardly any is in vain."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from consensus.ledger.committee import Committee
from consensus.ledger.validity import Head, Sortition
from consensus.simulation.foresight import Foresight


class Heights:
    """Heights of candidates that are all sound, the last of which is decided."""

    def __init__(self) -> None:
        self.told: list[str] = []
        protocol = SimpleNamespace(head_after=lambda _, __, header, ___: header.cid)
        checks: Any = SimpleNamespace(
            candidate=lambda *_: (), settlement=lambda *_: None, protocol=protocol, genesis=None
        )
        spec: Any = SimpleNamespace(ahead=None, foresee=lambda head, _: self.told.append(head))
        providers: Any = SimpleNamespace(aggregate_of=lambda header: b"")
        self.foresight = Foresight(spec, checks, providers)
        self.server: Any = SimpleNamespace(behaviour=None, chain=SimpleNamespace(head=None))

    def play(self, candidates: int) -> int:
        """Play a height with so many candidates; returns how many of them were told of when they
        were sent."""
        self.foresight.begin()
        self.told.clear()
        for number in range(candidates):
            header = SimpleNamespace(cid=f"{number}", aggregator=0)
            candidate: Any = SimpleNamespace(header=header, settlement=None)
            self.foresight.proposed([self.server], candidate)
        told = len(self.told)
        self.server.chain.head = f"{candidates - 1}"
        block: Any = SimpleNamespace(cid=f"{candidates - 1}", header=header)
        self.foresight.decided(self.server, block)
        assert self.told[told:] == [self.server.chain.head], "a decided block is always told of"
        return told


def test_candidates_are_told_of_while_they_are_decided() -> None:
    heights = Heights()
    assert [heights.play(1) for _ in range(20)] == [1] * 20
    assert heights.play(2) == 2  # once in vain: 8 + 1 - 4 = 5
    assert heights.play(1) == 1  # 6
    assert heights.play(3) == 3  # -1
    assert [heights.play(1) for _ in range(4)] == [0, 0, 1, 1]


def test_they_are_trusted_again_after_however_many_in_vain() -> None:
    heights = Heights()
    for _ in range(100):
        heights.play(3)
    assert heights.play(3) == 0
    assert [heights.play(1) for _ in range(10)] == [0] * 9 + [1]


def foresight(drawn: Any, ahead: Any = None) -> Foresight:
    """One whose sortition is ``drawn`` by attempt, as total weight, members and order."""

    def sortition(_: Any, __: Any, attempt: int) -> Sortition:
        total, members, order = drawn[min(attempt, len(drawn) - 1)]
        return Sortition(Committee(dict.fromkeys(members, 1), total), order)

    protocol = SimpleNamespace(
        beacon_after=lambda _, __, aggregator: bytes((aggregator,)),
        alpha=lambda _, head: (head.height, head.beacon),
    )
    checks: Any = SimpleNamespace(sortition=sortition, protocol=protocol, genesis=None)
    spec: Any = SimpleNamespace(ahead=ahead, foresee=None)
    return Foresight(spec, checks, Any)


HEAD = Head(7, bytes(36), 0, bytes(32), ())
SOUND, BLOCKED = (4, (1, 2, 3, 4), (3, 1)), (4, (1, 2, 3, 4), (4, 1))


@pytest.mark.parametrize(
    ("drawn", "malicious", "beacon"),
    [
        ([SOUND], (), b"\3"),
        ([SOUND], (3,), b"\1"),  # not in its turn
        ([(4, (1, 2, 3, 4), (3, 5))], (3, 5), None),  # nobody honest proposes in any attempt
        ([BLOCKED, SOUND], (2, 9), b"\4"),
        ([(4, (1, 2, 3), (1,)), SOUND], (2,), b"\3"),  # a seat is empty: one more blocks
        ([BLOCKED], (1, 2), None),
        ([(4, (1, 2, 3, 4), ())], (), None),  # they race
    ],
)
def test_a_beacon_is_expected_of_whoever_can_be_decided_first(
    drawn: Any, malicious: tuple[int, ...], beacon: bytes | None
) -> None:
    assert foresight(drawn).beacon_expected(HEAD, malicious) == beacon


def test_draws_are_made_a_height_ahead_where_candidates_are_in_vain() -> None:
    proven: list[Any] = []
    found = foresight([SOUND], SimpleNamespace(prove=proven.append))
    found.entered(HEAD, ())
    assert not proven, "they are made once a candidate is sent"
    for _ in range(4):
        found._trust.told(0, 1)
    found.entered(HEAD, (1, 2))
    assert not proven, "nobody knows for what"
    found.entered(HEAD, ())
    assert proven == [(8, b"\3")]
