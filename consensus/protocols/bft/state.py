"""The frozen state of one height under `bft`, and the effects that its functions return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from consensus.ledger.validity import Sortition
from consensus.records.block import Candidate
from consensus.records.view import View
from consensus.records.votes import Certificate, LockName, Timeout, TimeoutCertificate, Vote

#: Votes are kept for this many attempts ahead of one's own, no further: a server cannot be made
#: to remember what a malicious one invents about a distant future.
ATTEMPTS_AHEAD = 2


#: Later than any view.
NEVER: View = (2**63, 0)


@dataclass(frozen=True)
class HeightContext:
    """Knowledge that one server has of a height before it begins."""

    index: int
    height: int
    stakes: tuple[int, ...]
    stake: int
    """The sum of the stakes."""
    sortition: Callable[[int], Sortition]
    """Committee and turns of an attempt."""
    settles: bool
    """True if a lock waits for the settle timer before it is certified, unless hardly anybody
    could have voted for another block, and, in every view but the first, a soft vote until others
    have shown their locks (`AwaitLocks`)."""

    def leader(self, view: View) -> int | None:
        """The server whose turn the view is; None beyond the last turn of its attempt."""
        attempt, step = view
        order = self.sortition(attempt).order
        return order[step] if step < len(order) else None

    def weight(self, attempt: int, server: int) -> int:
        """A server's weight in an attempt's committee; 0 for others than members."""
        return self.sortition(attempt).committee.weights.get(server, 0)

    def next_view(self, closed: TimeoutCertificate | Timeout) -> View:
        """The view after a closed one."""
        attempt, step = closed.view
        if closed.everyone or step + 1 >= len(self.sortition(attempt).order):
            return attempt + 1, 0
        return attempt, step + 1


@dataclass(frozen=True)
class Promises:
    """Promises that a server may never go back on, a crash included: they are written down before
    anything that follows from them is sent."""

    height: int = 0
    soft: View = (-1, 0)
    """The last view it cast a soft vote in."""
    cert: View = (-1, 0)
    """The last view it cast a cert vote in."""
    proposed: View = (-1, 0)
    """The last view it proposed a block in."""
    left: View = (-1, 0)
    """It votes in no view up to this one."""
    locks: tuple[Certificate, ...] = ()
    """The soft certificates that it knows, of different views or blocks."""
    told: tuple[tuple[View, bool, LockName | None], ...] = ()
    """The lock that it named on leaving each view, or (True) each attempt: the same after a crash,
    though it may know a higher one by then. Two timeouts of one view are evidence against it."""

    @property
    def lock(self) -> Certificate | None:
        """The highest lock it knows."""
        return max(self.locks, key=lambda lock: lock.name, default=None)

    def named_lock(self, view: View, everyone: bool) -> Certificate | None:
        """The lock that a timeout of ``view`` (of all its attempt) names: that which it has named
        before, else the highest of those that are no later, for what closes a view cannot know
        what came after it."""
        for left, all_of_it, name in self.told:
            if (left, all_of_it) == (view, everyone):
                return next((lock for lock in self.locks if lock.name == name), None)
        end = (view[0] + 1, -1) if everyone else view
        known = (lock for lock in self.locks if lock.view <= end)
        return max(known, key=lambda lock: lock.name, default=None)


class Tally(NamedTuple):
    """The servers that said one thing, and their weight."""

    servers: int = 0
    """Bit i is set if server i did."""
    weight: int = 0
    said: Any = None
    """The messages, newest first: (message, the earlier ones)."""

    def add(self, server: int, weight: int, message: Vote | Timeout) -> Tally:
        """The tally with ``server``'s message of this weight, which it does not hold yet."""
        return Tally(self.servers | 1 << server, self.weight + weight, (message, self.said))

    def messages(self) -> list[Any]:
        """The messages by ascending server."""
        found, rest = [], self.said
        while rest is not None:
            message, rest = rest
            found.append(message)
        return sorted(found, key=lambda message: message.server)


NOBODY = Tally()


def certificate_of(
    context: HeightContext, key: tuple[str, View, bytes], tally: Tally
) -> Certificate:
    """The votes of a tally as one certificate; ``key``: their phase, view and block."""
    phase, (attempt, step), block = key
    return Certificate(
        context.height,
        attempt,
        step,
        phase,
        block,
        tuple((vote.server, vote.signature) for vote in tally.messages()),
    )


def closing_of(timeout: Timeout, tally: Tally) -> TimeoutCertificate:
    """The timeouts of a tally, of which ``timeout`` is one, as what closes their view."""
    messages = tally.messages()
    locks = [message.lock for message in messages if message.lock is not None]
    return TimeoutCertificate(
        timeout.height,
        timeout.attempt,
        timeout.step,
        timeout.everyone,
        tuple(
            (message.server, None if message.lock is None else message.lock.name, message.signature)
            for message in messages
        ),
        max(locks, key=lambda lock: lock.name, default=None),
    )


@dataclass(frozen=True)
class State:
    """The point that one server has reached in a height."""

    promises: Promises
    view: View = (0, 0)
    justification: TimeoutCertificate | None = None
    """The certificate that closed the view before this one."""
    candidates: Mapping[View, Candidate] = field(default_factory=dict)
    """The first proposal of every view, by its leader."""
    valid: Mapping[bytes, bool] = field(default_factory=dict)
    """By block: True if its contents were found right."""
    votes: Mapping[tuple[str, View, bytes], Tally] = field(default_factory=dict)
    """By phase, view and block."""
    timeouts: Mapping[tuple[View, bool], Tally] = field(default_factory=dict)
    """By view, and True if everyone closes it, False if its committee does."""
    equivocated: frozenset[View] = frozenset()
    """Views whose leader signed two proposals."""
    settling: View | None = None
    """The view whose narrow lock waits for the settle timer, or has waited for it."""
    settled: bool = False
    listened: bool = False
    """True if it has been in the view for the settle time: whoever certified a block before has
    shown its lock meanwhile."""
    timed_out: View = (-1, 0)
    """The last view that it has said a timeout of since it is up: one said before a crash may have
    reached nobody, and is said again."""
    shown: frozenset[tuple[object, LockName]] = frozenset()
    """Locks that it has shown: to everyone, by the view whose closure lacked them, and to servers
    that voted for another block."""
    decided: Certificate | None = None

    def is_far_ahead(self, attempt: int) -> bool:
        """True of an attempt of which nothing is kept before a certificate leads there."""
        return attempt > self.view[0] + ATTEMPTS_AHEAD


R = TypeVar("R", State, Promises)


def _with(record: R, **changes: Any) -> R:
    """``dataclasses.replace`` without the call of ``__init__``: a height makes thousands."""
    new = object.__new__(type(record))
    object.__setattr__(new, "__dict__", record.__dict__ | changes)
    return new


BLANK = State(Promises())
"""The state in which every height begins, but for its promises."""


@lru_cache(maxsize=4)  # all servers begin alike
def blank_at(height: int) -> State:
    """The state in which a height begins where nothing was promised in it yet."""
    return _with(BLANK, promises=_with(BLANK.promises, height=height))


@dataclass(frozen=True)
class Enter:
    """Begin a view: start its timer; its leader proposes."""

    view: View


@dataclass(frozen=True)
class Validate:
    """Find out whether the candidate's contents are right, and say so (`on_judged`)."""

    candidate: Candidate


@dataclass(frozen=True)
class CastVote:
    """Sign and send a vote to the committee."""

    phase: str
    view: View
    block: bytes


@dataclass(frozen=True)
class SendTimeout:
    """Sign and send a timeout to everyone."""

    view: View
    everyone: bool


@dataclass(frozen=True)
class Settle:
    """Start the settle timer of a view."""

    view: View


@dataclass(frozen=True)
class AwaitLocks:
    """Start the timer of a view until which others show the locks that they know."""

    view: View


@dataclass(frozen=True)
class ShowLock:
    """Show a lock that the closing of a view left out, or that speaks against a vote."""

    lock: Certificate
    to: int | None = None
    """The server that needs it; None: everyone."""


@dataclass(frozen=True)
class ShowTimeoutCertificate:
    """Show everyone what closes a view, which this server has put together."""

    certificate: TimeoutCertificate


@dataclass(frozen=True)
class Decide:
    """Append the block: it is decided."""

    certificate: Certificate


Effect = (
    Enter
    | Validate
    | CastVote
    | SendTimeout
    | Settle
    | AwaitLocks
    | ShowLock
    | ShowTimeoutCertificate
    | Decide
)


Step = tuple[State, tuple[Effect, ...]]
