"""The part of a server whose vote is pure functions: it does the effects that they return."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Collection, Iterable
from typing import Generic, Protocol, TypeVar

from consensus.server.message import Kind
from consensus.server.participant import Participant

EffectT = TypeVar("EffectT")


class Speaker(Protocol):
    """The part of a server that a voting participant uses here."""

    active: bool

    def say(self, kind: Kind, body: object, to: Collection[int] | None = None) -> None:
        """Send to some, or to all."""
        ...


ServerT = TypeVar("ServerT", bound=Speaker)


class VotingParticipant(Participant, Generic[ServerT, EffectT]):
    """A participant that does its vote's effects one after the other, and can repeat itself."""

    server: ServerT

    def begin_vote(self) -> None:
        """Begin a height: nothing is said yet, and no effect waits."""
        self.said: list[tuple[Kind, object, Collection[int] | None]] = []
        """Messages of the view in progress that it has sent, to be said again."""
        self._effects: deque[EffectT] = deque()
        self._draining = False

    def tell(self, kind: Kind, body: object, to: Collection[int] | None = None) -> None:
        """Send something of this view, and remember to say it again if need be."""
        self.said.append((kind, body, to))
        self.server.say(kind, body, to)

    def say_again(self) -> None:
        for kind, body, to in self.said:
            self.server.say(kind, body, to)

    def do_all(self, effects: Iterable[EffectT]) -> None:
        """Do effects after those that wait, for as long as the height is in progress. What one of
        them leads to waits for the others: a view is entered before anything is said in it."""
        self._effects.extend(effects)
        if self._draining:
            return
        self._draining = True
        try:
            while self._effects and self.server.active:
                self._do(self._effects.popleft())
        finally:
            self._draining = False

    @abstractmethod
    def _do(self, effect: EffectT) -> None:
        """Do one effect of the vote."""
