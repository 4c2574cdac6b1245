"""One server's way through a height under `hotstuff`, event by event, without keys or a clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from consensus.protocols.bft.standing import HeightContext
from consensus.protocols.hotstuff import vote as hotstuff
from consensus.protocols.hotstuff.state import PREPARE, Promises, Step
from consensus.records.block import Candidate, Turn
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate, Vote
from tests.helpers import tendermint_run as rotation
from tests.helpers.tendermint_run import CONTEXT, HEIGHT, MEMBERS

#: Of the committee and rotation 0, 1, 2, 3 of `tests.helpers.tendermint_run`: n - f is three.
QUORUM = (0, 1, 2)


def vote(server: int, value: Candidate, round: int = 0, phase: str = PREPARE) -> Vote:
    """A vote of a phase."""
    return rotation.vote(server, value, round, phase)


def certificate(
    value: Candidate, round: int = 0, phase: str = PREPARE, servers: Iterable[int] = QUORUM
) -> Certificate:
    """A prepareQC, or a precommitQC."""
    signed = tuple((server, bytes([server] * 64)) for server in servers)
    return Certificate(HEIGHT, round, 0, phase, value.header.cid, signed)


def new_view(server: int, round: int, prepared: Certificate | None = None) -> Timeout:
    """A new-view message: ``server`` leaves a view."""
    return Timeout(bytes(32), HEIGHT, round, 0, False, server, bytes([server] * 64), prepared)


def new_views(round: int, prepared: Certificate | None = None) -> TimeoutCertificate:
    """n - f new-view messages of those who leave a view, one of which names ``prepared``."""
    name = None if prepared is None else prepared.name
    entries = tuple((server, None if server else name, bytes([server] * 64)) for server in QUORUM)
    return TimeoutCertificate(HEIGHT, round, 0, False, entries, prepared)


def proposal(round: int = 0, salt: int = 0, by: int | None = None) -> Candidate:
    """A new block, with the new-view messages that let its leader begin."""
    found = rotation.proposal(round, salt, by)
    return replace(found, justification=new_views(round - 1)) if round else found


def again(first: Candidate, round: int, prepared: Certificate, by: int | None = None) -> Candidate:
    """A block that was proposed before, with a prepareQC as m.justify."""
    who = MEMBERS[round % 4] if by is None else by
    closed = new_views(round - 1, prepared)
    return replace(first, turn=Turn(round, 0, who, bytes(64)), proof=prepared, justification=closed)


class Run:
    """A server at a height, and what it did."""

    def __init__(self, context: HeightContext = CONTEXT, promises: Promises | None = None) -> None:
        self.context = context
        self.effects: list[Any] = []
        self.last: tuple[Any, ...] = ()
        self._take(hotstuff.begin(context, promises or Promises()))

    def _take(self, step: Step) -> Run:
        self.state, self.last = step
        self.effects += self.last
        return self

    def hear(self, value: Candidate, valid: bool | None = True, timely: bool = True) -> Run:
        """A proposal arrives and is judged (None: not yet)."""
        assert hotstuff.follows(self.context, value) is None
        self._take(hotstuff.on_proposal(self.context, self.state, value))
        return self if valid is None else self.judged(value, valid, timely)

    def judged(self, value: Candidate, valid: bool = True, timely: bool = True) -> Run:
        block = value.header.cid
        return self._take(hotstuff.on_judged(self.context, self.state, block, valid, not timely))

    def votes(
        self, servers: Iterable[int], value: Candidate, round: int = 0, phase: str = PREPARE
    ) -> Run:
        for server in servers:
            said = [vote(server, value, round, phase)]
            self._take(hotstuff.on_votes(self.context, self.state, said))
        return self

    def shown(self, value: Candidate, round: int = 0, phase: str = PREPARE) -> Run:
        found = certificate(value, round, phase)
        return self._take(hotstuff.on_certificate(self.context, self.state, found))

    def left(self, servers: Iterable[int], round: int, prepared: Certificate | None = None) -> Run:
        for server in servers:
            said = new_view(server, round, prepared)
            self._take(hotstuff.on_timeout(self.context, self.state, said))
        return self

    def closed(self, round: int, prepared: Certificate | None = None) -> Run:
        found = new_views(round, prepared)
        return self._take(hotstuff.on_closed(self.context, self.state, found))

    def timer(self, round: int | None = None) -> Run:
        at = self.state.round if round is None else round
        return self._take(hotstuff.on_timer(self.context, self.state, at))

    def did(self, kind: type) -> list[Any]:
        return [effect for effect in self.effects if isinstance(effect, kind)]
