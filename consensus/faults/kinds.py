"""The kinds of faults: the effect of each on messages and servers, as frozen records.

`consensus.faults.faults` describes their names in a config, and plays them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from math import inf, log1p
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from consensus.faults import options
from consensus.server.message import Message, with_flipped_bit

MOST_CRASHES: Final = 10_000
"""Greatest number of crashes of a server, on average, as they are drawn in advance."""

Draw = Callable[[], float]
"""A function that draws the next number, uniform in [0, 1)."""


class Copy(NamedTuple):
    """A copy of a message on its way to one server, after the faults so far."""

    at: float
    """The time of arrival, in simulated seconds."""
    message: Message
    counts: str | None = None
    """The fault that takes effect when this copy arrives."""


def _is(check: Callable[[Any, str], Any], default: Any = None) -> Any:
    """A dataclass field that must pass ``check``; required if it has no ``default``."""
    if default is None:
        return field(metadata={"check": check})
    return field(default=default, metadata={"check": check})


# -- the faults -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A failure that may occur from ``from_`` (included) until ``until`` (excluded), in seconds."""

    NAME: ClassVar[str]
    MAIN: ClassVar[str] = "rate"
    """The field that a config gives as the value of the fault's name."""

    from_: float = _is(options.time, 0.0)
    until: float = _is(options.time, inf)

    def __post_init__(self) -> None:
        """Raises ValueError for a field that is not what it has to be."""
        for entry in fields(self):
            key = self._key(entry.name)
            what = self.NAME if key == self.NAME else f"{self.NAME}: {key}"
            value = entry.metadata["check"](getattr(self, entry.name), what)
            object.__setattr__(self, entry.name, value)
        if not self.from_ < self.until:
            raise ValueError(
                f"{self.NAME}: until ({self.until:g} s) must be later than from ({self.from_:g} s)"
            )

    @classmethod
    def _key(cls, name: str) -> str:
        """The key of a field in a config."""
        return cls.NAME if name == cls.MAIN else name.rstrip("_")

    def active(self, now: float) -> bool:
        """True if the fault may take effect at this time (seconds)."""
        return self.from_ <= now < self.until

    def placed(self, servers: int, generator: np.random.Generator) -> Fault:
        """The same fault with every share of the ``servers`` drawn.

        Raises ValueError for a server that does not exist.
        """
        return self


@dataclass(frozen=True, kw_only=True)
class _OfServers(Fault):
    """A fault of some servers, or of the messages to and from them."""

    servers: tuple[int, ...] | float = _is(options.servers, 1.0)

    def placed(self, servers: int, generator: np.random.Generator) -> Fault:
        drawn = _draw_servers(self, self.servers, servers, generator)
        return self if drawn is self.servers else replace(self, servers=drawn)

    @cached_property
    def members(self) -> frozenset[int]:
        """The servers that it concerns; known once it is placed."""
        assert isinstance(self.servers, tuple), "the share of servers was not drawn yet"
        return frozenset(self.servers)


def _draw_servers(
    fault: Fault, wanted: tuple[int, ...] | float, servers: int, generator: np.random.Generator
) -> tuple[int, ...]:
    """The named servers, or a share of all servers (at least one), drawn by ``generator``."""
    if isinstance(wanted, tuple):
        if wanted and wanted[-1] >= servers:
            raise ValueError(
                f"{fault.NAME}: there is no server {wanted[-1]}, they go from 0 to {servers - 1}"
            )
        return wanted
    count = max(1, round(wanted * servers))
    if count == servers:
        return tuple(range(servers))
    return tuple(sorted(generator.choice(servers, count, replace=False).tolist()))


class MessageFault(_OfServers):
    """A fault of single messages, to or from its servers."""

    ON_ARRIVAL: ClassVar[bool] = False
    """True if the fault counts as having taken effect only when its copies arrive."""

    def befall(self, copies: list[Copy], leave: float, draw: Draw) -> list[Copy]:
        """Apply the fault to the copies (at least one) of a message that left at ``leave`` seconds.

        Returns a new list, or ``copies`` itself if the fault took no effect.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Loss(MessageFault):
    """A share of the messages never arrives."""

    NAME = "loss"
    rate: float = _is(options.share)

    def befall(self, copies: list[Copy], leave: float, draw: Draw) -> list[Copy]:
        kept = [copy for copy in copies if draw() >= self.rate]
        return copies if len(kept) == len(copies) else kept


@dataclass(frozen=True, kw_only=True)
class Delay(MessageFault):
    """Every message takes longer: exponential, ``seconds`` on average."""

    NAME = "delay"
    MAIN = "seconds"
    seconds: float = _is(options.duration)

    def befall(self, copies: list[Copy], leave: float, draw: Draw) -> list[Copy]:
        mean = self.seconds
        return [Copy(at - mean * log1p(-draw()), what, counts) for at, what, counts in copies]


@dataclass(frozen=True, kw_only=True)
class Reorder(MessageFault):
    """A share of the messages is overtaken by what is sent up to ``seconds`` later."""

    NAME = "reorder"
    rate: float = _is(options.share)
    seconds: float = _is(options.duration, 1.0)

    def befall(self, copies: list[Copy], leave: float, draw: Draw) -> list[Copy]:
        if draw() >= self.rate:
            return copies
        most = self.seconds
        return [Copy(at + most * draw(), what, counts) for at, what, counts in copies]


@dataclass(frozen=True, kw_only=True)
class Duplicate(MessageFault):
    """A share of the messages arrives twice, the second time up to a flight time later."""

    NAME = "duplicate"
    rate: float = _is(options.share)

    def befall(self, copies: list[Copy], leave: float, draw: Draw) -> list[Copy]:
        if draw() >= self.rate:
            return copies
        at, what, counts = copies[0]
        return [*copies, Copy(at + (at - leave) * draw(), what.untimed(), counts)]


@dataclass(frozen=True, kw_only=True)
class Replay(MessageFault):
    """A share of the messages arrives again much later: after ``after`` seconds, give or take half
    of that, and only while the fault lasts."""

    NAME = "replay"
    ON_ARRIVAL = True
    rate: float = _is(options.share)
    after: float = _is(options.duration, 30.0)

    def befall(self, copies: list[Copy], leave: float, draw: Draw) -> list[Copy]:
        if draw() >= self.rate:
            return copies
        again = copies[0].at + self.after * (0.5 + draw())
        if again >= self.until:
            return copies
        return [*copies, Copy(again, copies[0].message.untimed(), self.NAME)]


@dataclass(frozen=True, kw_only=True)
class BitFlip(MessageFault):
    """A share of the messages arrives with one bit flipped."""

    NAME = "bit_flip"
    rate: float = _is(options.share)

    def befall(self, copies: list[Copy], leave: float, draw: Draw) -> list[Copy]:
        if draw() >= self.rate:
            return copies
        where = draw()
        return [Copy(at, with_flipped_bit(what, where), counts) for at, what, counts in copies]


@dataclass(frozen=True, kw_only=True)
class Bandwidth(_OfServers):
    """Some servers send and receive at ``factor`` of their bandwidth."""

    NAME = "bandwidth"
    MAIN = "factor"
    factor: float = _is(options.share)


class Cut(Fault):
    """A fault that keeps servers from each other."""

    def severs(self, sender: int, receiver: int, origin: int) -> bool:
        """True if ``receiver`` does not get the messages of ``origin`` that ``sender`` passes on.

        The sender of a message to a single server is its origin.
        """
        raise NotImplementedError

    def pairs(self, servers: int) -> np.ndarray:
        """bool[servers, servers]: true where nothing can go from the row's to the column's
        server."""
        raise NotImplementedError

    @property
    def hidden(self) -> frozenset[int]:
        """The servers through which nothing is passed on."""
        return frozenset()


@dataclass(frozen=True, kw_only=True)
class Partition(Cut):
    """Servers in different groups hear nothing of each other.

    ``one_way``: the first group hears the others, but they do not hear it.
    """

    NAME = "partition"
    MAIN = "groups"
    groups: tuple[tuple[int, ...], ...] | float = _is(options.groups)
    one_way: bool = _is(options.yes_or_no, False)

    def placed(self, servers: int, generator: np.random.Generator) -> Fault:
        if isinstance(self.groups, tuple):
            for group in self.groups:
                _draw_servers(self, group, servers, generator)  # they are named: do they exist?
            return self
        count = min(max(1, round(self.groups * servers)), max(1, servers - 1))
        off = generator.choice(servers, count, replace=False).tolist()
        return replace(self, groups=(tuple(sorted(off)),))

    @cached_property
    def _group(self) -> dict[int, int]:
        assert isinstance(self.groups, tuple), "the share that is split off was not drawn yet"
        return {server: index for index, group in enumerate(self.groups) for server in group}

    def severs(self, sender: int, receiver: int, origin: int) -> bool:
        there, here = self._group.get(sender, -1), self._group.get(receiver, -1)
        return there != here and (there == 0 or not self.one_way)

    def pairs(self, servers: int) -> np.ndarray:
        group = np.array([self._group.get(server, -1) for server in range(servers)])
        apart = group[:, None] != group[None, :]
        return apart & (group == 0)[:, None] if self.one_way else apart


@dataclass(frozen=True, kw_only=True)
class Eclipse(_OfServers, Cut):
    """Some servers hear only messages whose origin they see, and only those servers hear them."""

    NAME = "eclipse"
    MAIN = "servers"
    servers: tuple[int, ...] | float = _is(options.servers)
    sees: tuple[int, ...] | float = _is(options.servers_or_none, ())

    def placed(self, servers: int, generator: np.random.Generator) -> Fault:
        drawn = _draw_servers(self, self.servers, servers, generator)
        return replace(self, servers=drawn, sees=_draw_servers(self, self.sees, servers, generator))

    @cached_property
    def _seen(self) -> frozenset[int]:
        assert isinstance(self.sees, tuple), "the share of servers was not drawn yet"
        return frozenset(self.sees)

    @property
    def hidden(self) -> frozenset[int]:
        return self.members

    def severs(self, sender: int, receiver: int, origin: int) -> bool:
        return (receiver in self.members and origin not in self._seen) or (
            origin in self.members and receiver not in self._seen
        )

    def pairs(self, servers: int) -> np.ndarray:
        eclipsed = np.zeros(servers, bool)
        eclipsed[list(self.members)] = True
        unseen = np.ones(servers, bool)
        unseen[list(self._seen)] = False
        apart = eclipsed[:, None] & unseen[None, :]
        return apart | apart.T


@dataclass(frozen=True, kw_only=True)
class Crash(_OfServers):
    """Some servers go down, and come back without the last ``lost_tail`` blocks that they wrote.

    ``promising``: each goes down only when it has written down a promise and sent nothing yet of
    what follows from it (``bft``). ``torn``: what it had promised cannot be read any more when it
    comes back.
    """

    NAME = "crash"
    MAIN = "servers"
    servers: tuple[int, ...] | float = _is(options.servers)
    lost_tail: int = _is(options.blocks, 0)
    promising: bool = _is(options.yes_or_no, False)
    torn: bool = _is(options.yes_or_no, False)


@dataclass(frozen=True, kw_only=True)
class Churn(_OfServers):
    """Servers crash at ``rate`` per server and second, and are down for ``down`` seconds on
    average.

    It must have an end, as its crashes are drawn in advance.
    """

    NAME = "churn"
    rate: float = _is(options.per_second)
    down: float = _is(options.duration, 5.0)
    lost_tail: int = _is(options.blocks, 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.until == inf:
            raise ValueError(f"{self.NAME}: say until when, it would never come to an end")
        often = (self.until - self.from_) / (1.0 / self.rate + self.down)
        if often > MOST_CRASHES:
            raise ValueError(
                f"{self.NAME}: a server would crash {often:,.0f} times, {MOST_CRASHES:,} at most"
            )


@dataclass(frozen=True, kw_only=True)
class Slow(_OfServers):
    """All work of some servers takes ``factor`` times as long."""

    NAME = "slow"
    MAIN = "factor"
    factor: float = _is(options.factor)


@dataclass(frozen=True, kw_only=True)
class Skew(_OfServers):
    """The clocks of some servers are ``seconds`` ahead, or behind if negative."""

    NAME = "skew"
    MAIN = "seconds"
    seconds: float = _is(options.offset)


@dataclass(frozen=True, kw_only=True)
class MissingContent(_OfServers):
    """Some servers have lost a share of the content they held."""

    NAME = "missing_content"
    rate: float = _is(options.share)
