"""Trust in candidates: they are told of as long as hardly any is in vain."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

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
