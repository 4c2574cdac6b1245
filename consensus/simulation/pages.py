"""The notes that a recorder of timelines keeps of a height while it is played, and the attempts
that they show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from consensus.records.block import Block
from consensus.simulation.timeline import Attempt

ALL: Final = "all"
"""The ``what`` of a timeout, or of a certificate of timeouts, that is of all servers."""
Weights = Mapping[int, tuple[int, int]]
"""(malicious weight, total weight) of the committees that are known, by attempt."""


@dataclass(slots=True)
class AttemptSeen:
    """The notes of an attempt."""

    began: int
    step: int = 0
    candidates: set[bytes] = field(default_factory=set)
    votes: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[tuple[bytes, str]] = field(default_factory=Counter)
    """By block and phase: the number of votes."""
    timeouts: int = 0
    closed_by_all: bool = False

    def add(self, kind: str, at: int, step: int, what: str, block: bytes) -> None:
        """Count an event."""
        self.began = min(self.began, at)
        self.step = max(self.step, step)
        if kind == "proposed":
            self.candidates.add(block)
        elif kind == "voted":
            self.votes[what] += 1
            self.verdicts[block, what] += 1
        elif kind == "timed_out":
            self.timeouts += 1
        elif what == ALL:
            self.closed_by_all = True

    def rejected(self) -> bool:
        """True if a third or more of the votes on a candidate were against it."""
        for block in self.candidates:
            against = self.verdicts[block, "reject"]
            if against and 3 * against >= against + self.verdicts[block, "approve"]:
                return True
        return False


@dataclass(slots=True)
class Page:
    """The notes of a height."""

    height: int
    began: int
    down: set[int]
    events: list[tuple[Any, ...]] = field(default_factory=list)
    """The fields of events, the block as its binary CID."""
    counts: Counter[str] = field(default_factory=Counter)
    seen: set[tuple[Any, ...]] = field(default_factory=set)
    attempts: dict[int, AttemptSeen] = field(default_factory=dict)
    reached: int = 0
    """The last attempt that an honest server spoke of."""
    block: Block | None = None
    """The block that was appended first."""
    ended: int = 0
    """The time of the last append."""
    forked: bool = False
    """True if another block was appended, too."""


def attempts_of(
    page: Page, numbers: Iterable[int], weights: Weights, outcome: str
) -> Iterator[Attempt]:
    """The attempts with these numbers, of which the last one is that in which the height ended."""
    numbers = list(numbers)
    for number in numbers:
        seen = page.attempts.get(number)
        bad, weight = weights.get(number, (None, None))
        if number == numbers[-1]:
            ended = "decided" if outcome == "decided" else "open"
        elif seen is not None and seen.closed_by_all:
            ended = "closed by all"
        elif seen is None or not seen.candidates:
            ended = "no candidate"
        elif seen.rejected():
            ended = "rejected"
        elif bad is not None and weight is not None and 3 * (weight - bad) <= 2 * weight:
            ended = "blocked"
        else:
            ended = "timed out"
        if seen is None:
            yield Attempt(number, ended, None, 0, 0, {}, 0, bad, weight)
        else:
            votes = dict(sorted(seen.votes.items()))
            yield Attempt(
                *(number, ended, seen.began, seen.step + 1, len(seen.candidates), votes),
                *(seen.timeouts, bad, weight),
            )
