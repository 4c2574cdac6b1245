"""Claim (5): within a view, no other block is locked beside a certified one while messages arrive
in time, though half of the committee be malicious.

A malicious leader signs two proposals and shows each honest member whichever it likes. An honest
soft vote carries the leader's signature: ``delay`` ticks later all honest members know of the
proposal. They arrive at the last moment, as knowing more can only stop a vote.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from consensus.torture.model.engine import Action, Spec


class Member(NamedTuple):
    """State of one honest member."""

    soft: int = 0
    """0, or 1 + the block that it soft-voted."""
    settled: int = 0
    """0, or 1 + the ticks since it knew a lock on that block, up to ``settle`` + 1."""
    cert: int = 0
    """1 once it has cast its cert vote."""


class State(NamedTuple):
    """All honest members, and what they were told."""

    members: tuple[Member, ...]
    proposals: tuple[int, ...]
    """By block: 0, or 1 + the ticks since an honest member soft-voted it; ``delay`` + 2 once all
    know of it."""


@dataclass(frozen=True)
class OneView(Spec[State]):
    """One view of a committee of equal seats, of which ``malicious`` are malicious."""

    honest: int
    malicious: int
    delay: int = 1
    settle: int = 3
    waits: bool = True
    """A narrow lock is certified after ``settle`` only (rule 3)."""
    heeds_proposals: bool = True
    """Members that know two proposals of the view vote for neither (rule 2)."""
    sixths: int = 5
    """A lock of more than so many sixths is certified at once (rule 3)."""

    def initial(self) -> State:
        return State((Member(),) * self.honest, (0, 0))

    def support(self, state: State, block: int) -> int:
        """Soft votes for a block, all malicious ones included."""
        return self.malicious + sum(member.soft == 1 + block for member in state.members)

    def locked(self, state: State, block: int) -> bool:
        """True if a quorum of soft votes is a lock on a block."""
        return 3 * self.support(state, block) > 2 * (self.honest + self.malicious)

    def wrong(self, state: State) -> str:
        for block in (0, 1):
            certified = any(m.cert and m.soft == 1 + block for m in state.members)
            if certified and self.locked(state, 1 - block):
                return f"{'AB'[block]} is certified, and {'BA'[block]} locked"
        return ""

    def steps(self, state: State) -> Iterator[tuple[Action, State]]:
        total = self.honest + self.malicious
        for index, member in enumerate(state.members):
            if index and member == state.members[index - 1]:
                continue
            for block in (0, 1):
                known = state.proposals[1 - block] == self.delay + 2
                if known and self.heeds_proposals:
                    continue
                if not member.soft:
                    if block and not any(m.soft for m in state.members):
                        continue  # nothing has happened yet that tells the blocks apart
                    ages = list(state.proposals)
                    ages[block] = ages[block] or 1
                    after = put(state, index, Member(1 + block))
                    yield ("soft-votes", index, block), after._replace(proposals=tuple(ages))
                elif member.soft == 1 + block and not member.cert and self.locked(state, block):
                    certain = 6 * self.support(state, block) > self.sixths * total
                    if certain or not self.waits or member.settled > self.settle:
                        after = put(state, index, Member(1 + block, 0, 1))
                        yield ("cert-votes", index, block), after
                    if not member.settled:
                        after = put(state, index, Member(1 + block, 1))
                        yield ("waits, having locked", index, block), after
        yield ("tick",), self.tick(state)

    def tick(self, state: State) -> State:
        """Let a tick pass, and what is due arrive."""
        due, end = self.delay + 1, self.settle + 1
        members = (
            Member(m.soft, m.settled and min(m.settled + 1, end), m.cert) for m in state.members
        )
        return State(tuple(members), tuple(a + (0 < a <= due) for a in state.proposals))

    def tell(self, action: Action) -> str:
        if action[0] == "tick":
            return "a tick passes"
        kind, index, block = action
        return f"member {index} {kind} {'AB'[int(block)]}"

    def canonical(self, state: State) -> State:
        return State(tuple(sorted(state.members)), state.proposals)


def put(state: State, index: int, member: Member) -> State:
    """The state with another member in a place."""
    members = (*state.members[:index], member, *state.members[index + 1 :])
    return State(members, state.proposals)
