"""Events, attempts and heights of a timeline in plain sentences, and the shape that stands for each
kind of event in drawings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from bfedrec.web.pages import count, short
from consensus.simulation.layout import FaultFacts, Placed
from consensus.simulation.pages import ALL
from consensus.simulation.timeline import Attempt, Event, HeightTimeline, Named

SHAPES: Final = {
    "proposed": "a block is proposed",
    "received": "a server takes in a proposed block",
    "first-vote": "vote of the first phase (soft), or approval",
    "second-vote": "vote of the second phase (cert)",
    "against": "vote against a block",
    "timed_out": "a server gives up waiting",
    "closed": "certificate of timeouts: a step or an attempt is closed",
    "appended": "a server appends the block",
    "caught_up": "a server appends an earlier block",
    "crashed": "a server goes down",
    "restarted": "a server comes back",
    "evidence": "proof of a contradiction",
    "corrupted": "an adversary corrupts a server",
    "released": "an adversary gives a server up",
}
"""The shapes in drawings of timelines, each with what it stands for; ``cut`` and ``joined`` are
lines across all servers."""
_VOTES: Final = {"cert": "second-vote", "reject": "against"}
MOST_SERVERS: Final = 24
"""Most servers that a sentence names."""

OUTCOMES: Final = {
    "decided": "decided",
    "stalled": "stopped: the servers could not agree on a block",
    "forked": "stopped: two different blocks were decided",
    "open": "not decided yet when the record ended",
}


def shape(event: Event) -> str:
    """The shape that stands for an event: one of `SHAPES`, or ``cut`` or ``joined``."""
    return _VOTES.get(event.what, "first-vote") if event.kind == "voted" else event.kind


def sentence(event: Event, server: str | None = None) -> str:
    """An event in a sentence; ``server``: how to call the server that acts."""
    who = server or ("The network" if event.server is None else f"Server {event.server}")
    block = f"block {short(event.block, 5)}" if event.block else "a block"
    view = _view(event)
    match event.kind:
        case "proposed":
            told = f"{who} proposes {block}{view}"
        case "received":
            told = f"{who} takes in the proposed {block}{view}"
        case "voted":
            told = f"{who} votes {_vote(event, block)}{view}"
        case "timed_out":
            told = f"{who} has waited long enough: it gives up {_closed(event)}"
        case "closed":
            told = f"{who} shows that enough servers gave up, which closes {_closed(event)}"
        case "appended":
            told = f"{who} appends {block} to its chain{view}"
        case "caught_up":
            told = f"{who} was behind and appends an earlier block ({event.what})"
        case "crashed":
            told = f"{who} goes down (fault: {event.what})"
        case "restarted":
            told = f"{who} comes back (fault: {event.what})"
        case "corrupted":
            told = f"{who} is corrupted: an adversary decides from now on what it does"
        case "released":
            told = f"{who} is given up by the adversary: it is honest again"
        case "cut":
            told = f"The network is cut: from now on some servers do not hear others ({event.what})"
        case "joined":
            told = f"The network is whole again ({event.what} ends)"
        case _:
            accused = "another" if event.about is None else f"server {event.about}"
            told = f"{who} holds proof that {accused} contradicted itself ({event.what}){view}"
    return f"{told}."


def _view(event: Event) -> str:
    if event.attempt is None:
        return ""
    step = "" if event.step is None else f", step {count(event.step)}"
    return f" in attempt {count(event.attempt)}{step}"


def _vote(event: Event, block: str) -> str:
    if event.what == "reject":
        return f"against {block}"
    named = block if event.block else "no block"
    return f"for {named}" if event.what == "approve" else f"for {named} ({event.what} phase)"


def _closed(event: Event) -> str:
    """The step, or with all servers the attempt, that a timeout is about."""
    attempt = "an attempt" if event.attempt is None else f"attempt {count(event.attempt)}"
    if event.what == ALL:
        return f"the whole of {attempt}, together with all servers"
    return attempt if event.step is None else f"step {count(event.step)} of {attempt}"


def called(server: Placed | None, number: int, height: int) -> str:
    """The name of a server at a height, with its behaviours if it is malicious."""
    names = () if server is None else server.malicious_at(height)
    return f"Server {number} (malicious: {', '.join(names)})" if names else f"Server {number}"


def reason(attempt: Attempt) -> str:
    """The end of an attempt, and what led to it, in a sentence."""
    weight = ""
    if attempt.malicious is not None and attempt.weight:
        weight = f"malicious members had {count(attempt.malicious)} of {count(attempt.weight)}"
    match attempt.ended:
        case "decided":
            return f"It decided; {weight} of its weight." if weight else "It decided."
        case "closed by all":
            return "All servers gave it up together, after they had waited in vain."
        case "no candidate":
            return "Nobody's proposal was seen."
        case "rejected":
            return "A third or more of the votes on a proposed block were against it."
        case "blocked":
            told = weight or "malicious members had a third or more"
            return f"Blocked: {told} of its weight, and a third can keep it from deciding."
        case "timed out":
            return "Time ran out before enough like votes had come together."
        case _:
            return "It had not ended when the record did."


def failures(attempts: Sequence[Attempt]) -> list[tuple[str, str]]:
    """The attempts that failed, as "Attempts 3 to 7", and the reason; those that follow each other
    for one reason are told together."""
    failed = [each for each in attempts if each.ended not in ("decided", "open")]
    found = []
    for why, alike in groupby(failed, reason):
        numbers = [each.attempt for each in alike]
        first, last = count(numbers[0]), count(numbers[-1])
        name = f"Attempt {first}" if len(numbers) == 1 else f"Attempts {first} to {last}"
        found.append((name, why))
    return found


def outcome(timeline: HeightTimeline) -> str:
    """The end of a height in a sentence."""
    return f"Height {count(timeline.height)}: {OUTCOMES[timeline.outcome]}."


def named(servers: Named, most: int = MOST_SERVERS) -> str:
    """Servers in a text: their numbers, and how many are not named."""
    if not servers.count:
        return "nobody"
    shown = ", ".join(map(str, servers.servers[:most]))
    left = servers.count - min(len(servers.servers), most)
    return f"{shown} and {count(left)} more" if left and shown else shown or count(servers.count)


def fault(facts: FaultFacts, servers: int) -> str:
    """A fault in a phrase: what it is, whom of all ``servers`` it strikes, from when until when."""
    until = "to the end" if facts.until_us is None else f"until {facts.until_us / 1e6:,.1f} s"
    if facts.groups:
        whom = " | ".join(named(group) for group in facts.groups)
        if sum(group.count for group in facts.groups) < servers:
            whom += " | the rest"
    elif facts.servers.count in (0, servers):
        whom = "all servers"
    else:
        whom = f"servers {named(facts.servers)}"
    options = f" ({facts.options})" if facts.options else ""
    return f"{facts.name}{options}: {whom}, from {facts.from_us / 1e6:,.1f} s {until}"
