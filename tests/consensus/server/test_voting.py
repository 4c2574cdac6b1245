"""The part of a server that does its vote's effects and repeats what it said."""

from __future__ import annotations

from typing import Any

from consensus.server.voting import VotingParticipant


class Recorder:
    """A server that keeps what it is told to say."""

    def __init__(self) -> None:
        self.active = True
        self.heard: list[tuple[Any, ...]] = []

    def say(self, kind: Any, body: object, to: Any = None) -> None:
        self.heard.append((kind, body, to))


class Counting(VotingParticipant[Recorder, int]):
    """Its effects are numbers: one leads to those below it, and 0 ends the height."""

    def __init__(self) -> None:
        self.server = Recorder()
        self.done: list[int] = []
        self.begin_vote()

    def _do(self, effect: int) -> None:
        self.done.append(effect)
        if effect == 0:
            self.server.active = False
        if effect > 10:
            self.do_all((effect - 10,))


Counting.__abstractmethods__ = frozenset()  # the rest of a participant is not looked at here


def test_what_an_effect_leads_to_waits_for_the_others() -> None:
    part = Counting()
    part.do_all((31, 12))
    part.do_all((3,))
    assert part.done == [31, 12, 21, 2, 11, 1, 3]


def test_a_height_that_is_over_leaves_effects_undone() -> None:
    part = Counting()
    part.do_all((4, 0, 5))
    assert part.done == [4, 0]
    part.begin_vote()
    part.server.active = True
    part.do_all((6,))
    assert part.done == [4, 0, 6], "the next height begins without what was left"


def test_what_was_told_is_said_again_to_the_same() -> None:
    part = Counting()
    part.tell("vote", "yes", (1, 2))
    part.tell("block", "mine")
    first = list(part.server.heard)
    assert first == [("vote", "yes", (1, 2)), ("block", "mine", None)]
    part.say_again()
    assert part.server.heard == first * 2
    part.begin_vote()
    part.say_again()
    assert part.server.heard == first * 2
