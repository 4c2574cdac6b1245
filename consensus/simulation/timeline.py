"""The timeline of a height: the events of the protocol in the order of simulated time, the attempts
and their ends, and the servers that were down or cut off. Records, and their form in JSON.

The form is one compact JSON object per height, read with all checks by `HeightTimeline.from_node`:
it may come from a file that somebody else has made. Times are integer microseconds of simulated
time; in the form those of events and attempts count from the beginning of the height.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from consensus.encoding.node import Node
from consensus.simulation.checked_json import (
    BadTimeline,
    count,
    counts,
    items,
    later,
    maybe,
    members,
    one_of,
    parsed,
    text,
)

KINDS: Final = (
    "proposed",
    "received",
    "voted",
    "timed_out",
    "closed",
    "appended",
    "caught_up",
    "crashed",
    "restarted",
    "cut",
    "joined",
    "evidence",
    "corrupted",
    "released",
)
"""The kinds of events:

- ``proposed``: a server sent a candidate of its own; ``received``: one took in a candidate;
- ``voted``: a server sent its vote, ``what`` being the phase;
- ``timed_out``: a server gave up a view, or (``what`` is "all") the whole attempt, with all others;
- ``closed``: a server showed the certificate that closes a view, or ("all") an attempt;
- ``appended``: a server has the block; ``caught_up``: one has a block of the earlier height that
  ``what`` names;
- ``crashed``, ``restarted``: a server went down by the fault ``what``, or came back;
- ``cut``, ``joined``: the fault ``what`` began or ceased to keep servers from each other;
- ``corrupted``, ``released``: an adversary turned a server, which misbehaves from then on, or gave
  it up, and it is honest again;
- ``evidence``: a server holds proof that the server ``about`` contradicted itself, ``what`` being
  the kind of the two records.
"""
OUTCOMES: Final = ("decided", "stalled", "forked", "open")
"""The ends of a height: a block; no block, as the servers could not go on; two blocks; or none yet,
where the record ends."""
ENDS: Final = (
    "decided",
    "closed by all",
    "no candidate",
    "rejected",
    "blocked",
    "timed out",
    "open",
)
"""The ends of an attempt, the first that holds: it decided; all servers closed it together; nobody
proposed in it; a third or more of the votes on a candidate were against it; its malicious members
were a third or more of its weight; time ran out; or it has not ended yet."""
MOST_OF_A_KIND: Final = 256
"""Most events of one kind that a height's timeline keeps; the first ones."""
MOST_ATTEMPTS: Final = 64
"""Most attempts of a height that are kept; the last ones."""
MOST_SERVERS: Final = 1024
"""Most servers that a list names."""
MOST_BLOCKS: Final = 64
"""Most different blocks that a height's events name; those of further ones name none."""


class Event(NamedTuple):
    """One event of a height; `KINDS` says what the fields mean for each kind."""

    at_us: int
    """Simulated microseconds since the world began."""
    kind: str
    """One of `KINDS`."""
    server: int | None = None
    """The server that acts; None for an event of the network."""
    attempt: int | None = None
    step: int | None = None
    what: str = ""
    block: str = ""
    """The CID of the block that it is about, as text; empty for none."""
    about: int | None = None
    """The accused server of an ``evidence`` event."""


@dataclass(frozen=True)
class Attempt:
    """One attempt of a height: the turn of one committee."""

    attempt: int
    ended: str
    """One of `ENDS`."""
    began_us: int | None
    """Simulated microseconds of the first event in it; None if nothing was seen of it."""
    steps: int
    """Number of steps in which something was said."""
    candidates: int
    """Number of different blocks proposed."""
    votes: Mapping[str, int]
    """Number of votes sent, by phase."""
    timeouts: int
    """Number of timeouts sent."""
    malicious: int | None = None
    """Weight of the committee's malicious members; None where it is not known."""
    weight: int | None = None
    """Weight of the whole committee; None where it is not known."""


@dataclass(frozen=True)
class Named:
    """A number of servers, of which the first `MOST_SERVERS` are named."""

    count: int = 0
    servers: tuple[int, ...] = ()
    """Ascending."""

    @classmethod
    def of(cls, servers: Iterable[int]) -> Named:
        """These servers, each once."""
        found = sorted(set(servers))
        return cls(len(found), tuple(found[:MOST_SERVERS]))

    def to_node(self) -> list[object]:
        """The number and the list, to be read by `named`."""
        return [self.count, list(self.servers)]


NOBODY: Final = Named()


@dataclass(frozen=True)
class HeightFigures:
    """The figures of one height (`consensus.simulation.results.HeightResult`)."""

    bytes: Mapping[str, int]
    """Bytes between servers by kind of message."""
    messages: int
    refused: Mapping[str, int]
    """Number of messages that honest servers refused, by reason."""
    evidence: int
    """Number of proofs against servers that honest servers hold."""
    updates: int
    """Number of updates in the block; 0 without a block."""
    captured: bool
    """True if the block's aggregate is not that of its updates."""
    closed_by_all: int
    caught_up: int
    delay_us: int | None = None
    """The greatest delay between honest servers in microseconds; None where nobody measured it."""

    def to_node(self) -> Node:
        """The figures as JSON-ready values."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class HeightTimeline:
    """The timeline of one height."""

    height: int
    outcome: str
    """One of `OUTCOMES`."""
    began_us: int
    ended_us: int
    block: str
    """The CID of the block that was decided first, as text; empty for none."""
    events: tuple[Event, ...]
    """In the order of time."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Number of events that are not among ``events``, by kind."""
    attempts: tuple[Attempt, ...] = ()
    """In their order; the first `attempts_left_out` are missing."""
    attempts_left_out: int = 0
    down: Named = NOBODY
    """Servers that were down for some of the height."""
    cut_off: Named = NOBODY
    """Servers that a fault kept from more than half of the others for some of the height."""
    figures: HeightFigures | None = None
    """None where nobody counted."""

    # -- as written -------------------------------------------------------------------------------

    def line(self) -> str:
        """The timeline as one line of compact JSON, without the newline; the height comes first."""
        return json.dumps(self.to_node(), separators=(",", ":"), allow_nan=False)

    def to_node(self) -> Node:
        """The timeline as JSON-ready values, to be read by `from_node`."""
        blocks: dict[str, int] = {}
        events = [self._event_node(event, blocks) for event in self.events]
        return {
            "height": self.height,
            "outcome": self.outcome,
            "began": self.began_us,
            "ended": self.ended_us,
            "block": self.block,
            "attempts": [self._attempt_node(attempt) for attempt in self.attempts],
            "attempts_left_out": self.attempts_left_out,
            "down": self.down.to_node(),
            "cut_off": self.cut_off.to_node(),
            "figures": None if self.figures is None else self.figures.to_node(),
            "left_out": dict(self.left_out),
            "blocks": list(blocks),
            "events": events,
        }

    def _event_node(self, event: Event, blocks: dict[str, int]) -> list[object]:
        """The fields of an event up to the last one that is set; its block by its place in
        ``blocks``, which grows."""
        place = None
        if event.block and (event.block in blocks or len(blocks) < MOST_BLOCKS):
            place = blocks.setdefault(event.block, len(blocks))
        node: list[object] = [event.at_us - self.began_us, *event[1:6], place, event.about]
        while node[-1] in (None, ""):
            node.pop()
        return node

    def _attempt_node(self, attempt: Attempt) -> list[object]:
        began = None if attempt.began_us is None else attempt.began_us - self.began_us
        votes, timeouts = dict(attempt.votes), attempt.timeouts
        return [
            *(attempt.attempt, attempt.ended, began, attempt.steps, attempt.candidates),
            *(votes, timeouts, attempt.malicious, attempt.weight),
        ]

    @classmethod
    def from_line(cls, text: str) -> HeightTimeline:
        """The timeline in a line that `line` made; raises `BadTimeline`."""
        return cls.from_node(parsed(text))

    @classmethod
    def from_node(cls, node: object) -> HeightTimeline:
        """The timeline that `to_node` gave; raises `BadTimeline` for anything else."""
        found = members(node, "timeline", _KEYS)
        began = count(found["began"], "began")
        blocks = tuple(text(each, "blocks") for each in items(found["blocks"], "blocks", 64))
        attempts = items(found["attempts"], "attempts", MOST_ATTEMPTS)
        events = items(found["events"], "events", MOST_OF_A_KIND * len(KINDS))
        return cls(
            count(found["height"], "height", 1),
            one_of(found["outcome"], "outcome", OUTCOMES),
            began,
            count(found["ended"], "ended", began),
            text(found["block"], "block"),
            tuple(_event(each, began, blocks) for each in events),
            counts(found["left_out"], "left_out"),
            tuple(_attempt(each, began) for each in attempts),
            count(found["attempts_left_out"], "attempts_left_out"),
            named(found["down"], "down"),
            named(found["cut_off"], "cut_off"),
            None if found["figures"] is None else _figures(found["figures"]),
        )


_KEYS: Final = (
    *("height", "outcome", "began", "ended", "block", "attempts", "attempts_left_out", "down"),
    *("cut_off", "figures", "left_out", "blocks", "events"),
)
_FIGURES: Final = tuple(HeightFigures.__dataclass_fields__)


def _event(node: object, began: int, blocks: tuple[str, ...]) -> Event:
    values = items(node, "event", 8)
    if len(values) < 2:
        raise BadTimeline("event: expected [time, kind, ...]")
    values += [None] * (8 - len(values))
    at, kind, server, attempt, step, what, block, about = values
    place = maybe(count, block, "event.block")
    if place is not None and place >= len(blocks):
        raise BadTimeline("event.block: there is no such block")
    return Event(
        later(began, at, "event.time"),
        one_of(kind, "event.kind", KINDS),
        maybe(count, server, "event.server"),
        maybe(count, attempt, "event.attempt"),
        maybe(count, step, "event.step"),
        "" if what is None else text(what, "event.what"),
        "" if place is None else blocks[place],
        maybe(count, about, "event.about"),
    )


def _attempt(node: object, began: int) -> Attempt:
    values = items(node, "attempt", 9)
    if len(values) != 9:
        raise BadTimeline("attempt: expected nine values")
    number, ended, first, steps, candidates, votes, timeouts, malicious, weight = values
    return Attempt(
        count(number, "attempt"),
        one_of(ended, "attempt.ended", ENDS),
        None if first is None else later(began, first, "attempt.began"),
        count(steps, "attempt.steps"),
        count(candidates, "attempt.candidates"),
        counts(votes, "attempt.votes"),
        count(timeouts, "attempt.timeouts"),
        maybe(count, malicious, "attempt.malicious"),
        maybe(count, weight, "attempt.weight"),
    )


def named(node: object, where: str) -> Named:
    """The servers that `Named.to_node` gave; raises `BadTimeline` for anything else."""
    values = items(node, where, 2)
    if len(values) != 2:
        raise BadTimeline(f"{where}: expected [number, [server, ...]]")
    servers = tuple(count(each, where) for each in items(values[1], where, MOST_SERVERS))
    if list(servers) != sorted(set(servers)):
        raise BadTimeline(f"{where}: expected ascending servers")
    return Named(count(values[0], where, len(servers)), servers)


def _figures(node: object) -> HeightFigures:
    measured = isinstance(node, dict) and "delay_us" in node  # older files do not have it
    names = _FIGURES if measured else tuple(name for name in _FIGURES if name != "delay_us")
    found = dict(members(node, "figures", names))
    captured = found.pop("captured")
    if type(captured) is not bool:
        raise BadTimeline("figures.captured: expected true or false")
    values: Mapping[str, Any] = {
        name: (counts if name in ("bytes", "refused") else count)(value, f"figures.{name}")
        for name, value in found.items()
    }
    return HeightFigures(captured=captured, **values)
