"""One server's way through a height under `bft`, event by event, without keys or a clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from consensus.encoding.unixfs import file_cid
from consensus.ledger.committee import Committee
from consensus.ledger.validity import Sortition
from consensus.protocols.bft import vote as bft
from consensus.protocols.bft.state import (
    HeightContext,
    Promises,
    Step,
)
from consensus.records.block import Candidate, Header, Turn
from consensus.records.view import View
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate, Vote

# Seven servers, of which six sit: in attempt a all but server a - 1. Five of six are more than
# two thirds, six more than five sixths, three more than a third; five of seven are two thirds of
# all stake. In attempt a servers a, a + 1 and a + 2 lead.
SERVERS, HEIGHT, STEPS = 7, 4, 3


def sortition(attempt: int) -> Sortition:
    members = [(attempt + i) % SERVERS for i in range(6)]
    return Sortition(Committee(dict.fromkeys(members, 1), 6), tuple(members[:STEPS]))


def context_of(
    index: int = 1, settles: bool = True, stakes: Sequence[int] = (1,) * SERVERS
) -> HeightContext:
    return HeightContext(index, HEIGHT, tuple(stakes), sum(stakes), sortition, settles)


CONTEXT = context_of()
BYSTANDER = context_of(6)


def leader(view: View) -> int:
    return sortition(view[0]).order[view[1]]


def header(view: View = (0, 0), salt: int = 0, aggregator: int | None = None) -> Header:
    return Header(
        bytes(32),
        HEIGHT,
        *view,
        1_000 + salt,
        file_cid(b"parent"),
        leader(view) if aggregator is None else aggregator,
        bytes(32),
        bytes(32),
        1,
        1,
        file_cid(b"model"),
        None,
    )


def candidate(
    view: View = (0, 0),
    justification: TimeoutCertificate | None = None,
    salt: int = 0,
    aggregator: int | None = None,
) -> Candidate:
    """A new block."""
    return Candidate(header(view, salt, aggregator), bytes(64), (), (), justification)


def again(
    first: Candidate,
    view: View,
    justification: TimeoutCertificate | None,
    server: int | None = None,
) -> Candidate:
    """``first``'s block in a later view."""
    turn = Turn(*view, leader(view) if server is None else server, bytes(64))
    return replace(first, justification=justification, turn=turn)


def vote(server: int, of: Candidate, phase: str = "soft", view: View | None = None) -> Vote:
    view = of.view if view is None else view
    return Vote(bytes(32), HEIGHT, *view, phase, of.header.cid, server, bytes([server] * 64))


def lock(of: Candidate, view: View | None = None) -> Certificate:
    view = of.view if view is None else view
    members = sorted(sortition(view[0]).committee.weights)[:5]
    signed = tuple((server, bytes([server] * 64)) for server in members)
    return Certificate(HEIGHT, *view, "soft", of.header.cid, signed)


def timeout(
    server: int, view: View = (0, 0), held: Certificate | None = None, everyone: bool = False
) -> Timeout:
    return Timeout(bytes(32), HEIGHT, *view, everyone, server, bytes([server] * 64), held)


def closing(
    view: View = (0, 0), held: Certificate | None = None, everyone: bool = False
) -> TimeoutCertificate:
    """What closes a view; its first signer holds ``held``."""
    members = sorted(sortition(view[0]).committee.weights)[:5]
    entries = tuple(
        (server, held.name if held is not None and server == members[0] else None, bytes(64))
        for server in members
    )
    return TimeoutCertificate(HEIGHT, *view, everyone, entries, held)


C = candidate()
BLOCK = C.header.cid
TWIN = candidate(salt=1)
"""The same leader's other proposal of the same view."""


class Run:
    """One server's way through a height, event by event."""

    def __init__(self, context: HeightContext = CONTEXT, promises: Promises | None = None) -> None:
        self.context = context
        self.state, self.last = bft.begin(context, promises or Promises())
        self.effects: list[bft.Effect] = list(self.last)

    def take(self, step: Step) -> Run:
        self.state, self.last = step
        self.effects += self.last
        return self

    def on(self, what: str, *arguments: Any) -> Run:
        return self.take(getattr(bft, f"on_{what}")(self.context, self.state, *arguments))

    def propose(self, of: Candidate = C, valid: bool | None = True) -> Run:
        """``of`` comes, when all locks have been shown, and is judged, unless ``valid`` is None."""
        self.on("candidate", of).on("listen_timer", of.view)
        return self if valid is None else self.on("judged", of.header.cid, valid)

    def votes(self, servers: Iterable[int], of: Candidate = C, phase: str = "soft") -> Run:
        for server in servers:
            self.on("vote", vote(server, of, phase))
        return self

    def timeouts(
        self,
        servers: Iterable[int],
        view: View = (0, 0),
        held: Certificate | None = None,
        everyone: bool = False,
    ) -> Run:
        for server in servers:
            self.on("timeout", timeout(server, view, held, everyone))
        return self

    def did(self, kind: type) -> list[Any]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def unmoved(self, what: str, *arguments: Any) -> bool:
        """Whether an event leaves the very same state behind, and nothing to do."""
        state, effects = getattr(bft, f"on_{what}")(self.context, self.state, *arguments)
        return state is self.state and effects == ()
