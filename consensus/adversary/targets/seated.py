"""Strategies of corruption that go by the committees and turns of the height in progress."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np

from consensus.adversary.corruption import Known, Target, target
from consensus.records.block import Candidate
from consensus.records.ticket import Ticket
from consensus.records.view import View
from consensus.records.votes import TimeoutCertificate, Vote


class _Following(Target):
    """A strategy that looks at the committee, or at the turn, of the latest view that was seen."""

    def __init__(self, known: Known, generator: np.random.Generator) -> None:
        super().__init__(known, generator)
        self._latest: View = (0, 0)

    @abstractmethod
    def wanted(self, view: View) -> Iterable[int]:
        """The servers that it wants in a view."""

    def at_first(self) -> Iterable[int]:
        return self.wanted(self._latest)

    def on_message(self, server: int, kind: str, body: Any) -> Iterable[int]:
        view = self._view_of(body)
        if view is None or view <= self._latest:
            return ()
        self._latest = view
        return self.wanted(view)

    def _view_of(self, body: Any) -> View | None:
        """The view that a message shows to have begun; None for one that shows none."""
        if isinstance(body, Candidate):
            return body.view if body.header.height == self.known.height else None
        if not isinstance(body, Vote | TimeoutCertificate) or body.height != self.known.height:
            return None
        attempt, step = body.attempt, body.step
        if isinstance(body, Vote):
            return attempt, step
        over = body.everyone or step + 1 >= len(self.known.sortition(attempt).order)
        return (attempt + 1, 0) if over else (attempt, step + 1)


@target("members")
class Members(_Following):
    """The members of the committee in progress, those with the most weight first: as soon as the
    head is known where its draws are, else as they announce themselves."""

    meaning = "members of the committee in progress, as soon as it is known"

    def wanted(self, view: View) -> Iterable[int]:
        return self.known.sortition(view[0]).committee.weights

    def on_message(self, server: int, kind: str, body: Any) -> Iterable[int]:
        if not self.known.protocol.committees_foreseen and isinstance(body, Ticket):
            own = body.server == server and body.height == self.known.height
            return (server,) if own else ()
        return super().on_message(server, kind, body)


@target("proposer")
class Proposer(_Following):
    """Whoever is to propose in the view in progress; where servers do not take turns, whoever is
    seen to propose."""

    meaning = "whoever is to propose, as soon as it is known"

    def wanted(self, view: View) -> Iterable[int]:
        return self.known.sortition(view[0]).order[view[1] : view[1] + 1]

    def on_message(self, server: int, kind: str, body: Any) -> Iterable[int]:
        if not self.known.protocol.takes_turns and isinstance(body, Candidate):
            own = body.proposer == server and body.header.height == self.known.height
            return (server,) if own else ()
        return super().on_message(server, kind, body)


@target("voters")
class Voters(Target):
    """Members that have just voted, as their votes are seen: what they have signed is honest, and
    what they sign next to it is not."""

    meaning = "members, as they are seen to vote"

    def at_first(self) -> Iterable[int]:
        return ()

    def on_message(self, server: int, kind: str, body: Any) -> Iterable[int]:
        voted = isinstance(body, Vote) and body.server == server
        return (server,) if voted and body.height == self.known.height else ()
