"""The schedule of faults: failures of the network and of servers that nobody intends.

Each fault is a frozen record of its effect, its servers and its times; any number may be active at
once. A `Faults` plays a list of them. The network asks it about every message sent while a fault of
the network is active, and not otherwise; the world asks it when servers crash, how slow they are,
how wrong their clocks are and which content is lost. It counts the effects that faults really had.

In a config a fault is a map whose first key names it (`fault_from_node`):

    ================= =================================== ========================================
    name: value       options (default)                   what happens
    ================= =================================== ========================================
    loss: rate        servers (all)                       a message is lost
    delay: seconds    servers (all)                       arrives later, exponential with this mean
    reorder: rate     seconds (1), servers (all)          arrives up to ``seconds`` later
    duplicate: rate   servers (all)                       arrives again, up to a flight time later
    replay: rate      after (30), servers (all)           arrives again about ``after`` s later
    bit_flip: rate    servers (all)                       one bit of its bytes is flipped
    bandwidth: factor servers (all)                       this share of a server's bandwidth is left
    partition: groups one_way (false)                     what one group sends to another is lost;
                                                          one way: only what the first one sends
    eclipse: servers  sees (nobody)                       each hears only what these say, and only
                                                          these hear it
    crash: servers    lost_tail (0)                       down from ``from`` until ``until``; the
                                                          last blocks written are gone
    churn: rate       down (5), lost_tail (0),            crashes per server and second; down for
                      servers (all)                       ``down`` s on average; has an ``until``
    slow: factor      servers (all)                       work takes this many times as long
    skew: seconds     servers (all)                       the clock is this far ahead (or behind)
    missing_content:  servers (all)                       a share of the content they hold is gone
    rate
    ================= =================================== ========================================

Every fault has ``from`` (0) and ``until`` (for ever), in simulated seconds. ``servers`` are an
index, a list of indices, or a share of all servers (0.4, or "1/3") that is drawn; ``groups`` are
lists of servers (those in none are one more group) or the share that is split off. A rate is the
share of the messages, or of the contents, that is hit. Faults of messages strike on each hop of
gossip, to or from ``servers``, and once on the whole way of a message to a single server.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from hashlib import blake2b
from heapq import heapify, heapreplace
from math import inf
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from consensus.faults.kinds import (
    Bandwidth,
    BitFlip,
    Churn,
    Copy,
    Crash,
    Cut,
    Delay,
    Duplicate,
    Eclipse,
    Fault,
    Loss,
    MessageFault,
    MissingContent,
    Partition,
    Reorder,
    Replay,
    Skew,
    Slow,
)
from consensus.faults.options import shown
from consensus.server.message import Message

FAULTS: dict[str, type[Fault]] = {
    fault.NAME: fault
    for fault in (
        Loss,
        Delay,
        Reorder,
        Duplicate,
        Replay,
        BitFlip,
        Bandwidth,
        Partition,
        Eclipse,
        Crash,
        Churn,
        Slow,
        Skew,
        MissingContent,
    )
}
"""Every fault by its name in a config."""


def fault_from_node(node: Any) -> Fault:
    """The fault that a config's map describes, such as ``{"loss": 0.1, "from": 40, "until": 70}``.

    The table above has all options. Raises ValueError that says what is allowed.
    """
    if not isinstance(node, Mapping):
        raise ValueError(f"a fault is a map such as {{loss: 0.1}}, got {shown(node)}")
    names = [key for key in node if key in FAULTS]
    if len(names) != 1:
        known = f"a fault names exactly one of {', '.join(FAULTS)}"
        near = [get_close_matches(str(key), FAULTS, 1) for key in node if not names]
        hint = next((f" (did you mean {found[0]}?)" for found in near if found), "")
        raise ValueError(f"{known}; got {', '.join(map(str, node)) or 'nothing'}{hint}")
    kind = FAULTS[names[0]]
    allowed = {kind._key(entry.name): entry.name for entry in fields(kind)}
    odd = [key for key in node if key not in allowed]
    if odd:
        options = ", ".join(key for key in allowed if key != kind.NAME)
        raise ValueError(f"{kind.NAME}: there is no option {odd[0]!r}, allowed are {options}")
    return kind(**{allowed[key]: value for key, value in node.items()})


class Lifecycle(NamedTuple):
    """A server's crash or its return."""

    time: float
    """Simulated seconds."""
    server: int
    what: Literal["crash", "restart"]
    lost_tail: int
    """Number of the last written blocks that the crash loses."""
    fault: str
    """The name of the fault that causes it, for ``Faults.fired``."""
    promising: bool = False
    """True if the server goes down when it next makes a promise."""
    torn: bool = False
    """True if its promises cannot be read when it comes back."""

    @property
    def names(self) -> list[str]:
        """The names under which a crash is counted: the fault's, and one for each hardship."""
        hows = [how for how in ("promising", "torn") if getattr(self, how)]
        return [self.fault, *(f"{self.fault}: {how}" for how in hows)]


_Outage = tuple[Lifecycle, float]
"""A server's crash, and the time of its return."""


class Faults:
    """A list of faults, with the servers of each drawn, played against a number of servers."""

    _DRAWS: ClassVar[int] = 128

    def __init__(
        self, faults: Sequence[Fault], servers: int, generator: np.random.Generator
    ) -> None:
        """Raises ValueError for a fault of a server that does not exist."""
        self.faults = tuple(fault.placed(servers, generator) for fault in faults)
        """The faults with the servers that were drawn for them; no shares are left."""
        self.fired: Counter[str] = Counter()
        """Number of times that each fault took effect, by name; the world counts the crashes it
        carries out."""
        self.healed_at: float = max((fault.until for fault in faults), default=0.0)
        """The time in seconds from which no fault is active; infinite if one never ends."""
        self.lost_tail = max(
            (fault.lost_tail for fault in self.faults if isinstance(fault, Crash | Churn)),
            default=0,
        )
        """The largest number of blocks that one crash takes from a server."""
        self._messages = [fault for fault in self.faults if isinstance(fault, MessageFault)]
        self._cuts = [fault for fault in self.faults if isinstance(fault, Cut)]
        self._bandwidth = [fault for fault in self.faults if isinstance(fault, Bandwidth)]
        self._slow = [fault for fault in self.faults if isinstance(fault, Slow)]
        self._skew = [fault for fault in self.faults if isinstance(fault, Skew)]
        self._missing = [fault for fault in self.faults if isinstance(fault, MissingContent)]
        self._changes = sorted(
            time
            for fault in (*self._messages, *self._cuts, *self._bandwidth)
            for time in (fault.from_, fault.until)
        )
        self._seed = int(generator.integers(2**63))
        self.begin(generator)

    # -- for the network --------------------------------------------------------------------------

    def begin(self, generator: np.random.Generator) -> None:
        """Draw the effects on messages from ``generator`` from here on."""
        self._generator = generator
        self._draws: list[float] = []

    def next_change(self, now: float) -> float:
        """The next time after ``now`` at which a fault of the network begins or ends."""
        place = bisect_right(self._changes, now)
        return self._changes[place] if place < len(self._changes) else inf

    def disturb(self, now: float) -> bool:
        """True if a fault of the network is active at ``now`` (seconds)."""
        return any(fault.active(now) for fault in (*self._messages, *self._cuts, *self._bandwidth))

    def cuts(self, now: float) -> tuple[Cut, ...]:
        """The cuts that are active at ``now`` (seconds)."""
        return tuple(cut for cut in self._cuts if cut.active(now))

    def out_of_reach(self, origin: int, servers: Sequence[int], now: float) -> None:
        """Count a message from ``origin`` that had no open path to ``servers``."""
        for cut in self.cuts(now):
            for server in servers:
                if cut.severs(origin, server, origin):
                    self.fired[cut.NAME] += 1

    def slowdown(self, server: int, now: float) -> float:
        """The factor by which a server's sending and receiving of a byte is slowed down."""
        factor = 1.0
        for cap in self._bandwidth:
            if cap.from_ <= now < cap.until and server in cap.members:
                factor /= cap.factor
                self.fired[cap.NAME] += 1
        return factor

    def copies(
        self, sender: int, receiver: int, origin: int, message: Message, leave: float, arrive: float
    ) -> list[Copy]:
        """The copies that arrive of a message which leaves ``sender`` at ``leave`` (seconds).

        Without faults it would be at ``receiver`` at ``arrive``.
        """
        fired = self.fired
        if self._cuts and self._severed(sender, receiver, origin, leave):
            return []
        copies = [Copy(arrive, message)]
        for fault in self._messages:
            if not fault.from_ <= leave < fault.until:
                continue
            if sender not in fault.members and receiver not in fault.members:
                continue
            left = fault.befall(copies, leave, self._draw)
            if left is not copies:
                copies = left
                if not fault.ON_ARRIVAL:
                    fired[fault.NAME] += 1
                if not copies:
                    return copies
        if self._cuts:
            return [c for c in copies if not self._severed(sender, receiver, origin, c.at)]
        return copies

    def _severed(self, sender: int, receiver: int, origin: int, at: float) -> bool:
        for cut in self._cuts:
            if cut.from_ <= at < cut.until and cut.severs(sender, receiver, origin):
                self.fired[cut.NAME] += 1
                return True
        return False

    def _draw(self) -> float:
        if not self._draws:
            self._draws = self._generator.random(self._DRAWS).tolist()
        return self._draws.pop()

    # -- for the world ----------------------------------------------------------------------------

    def lifecycle(self, horizon: float) -> list[Lifecycle]:
        """The crashes and returns of servers before ``horizon`` (simulated seconds), in order of
        time.

        A server that is down does not crash: overlapping outages of one server are merged to one,
        which loses the longer tail. Every call gives the same list.
        """
        outages: dict[int, list[_Outage]] = {}
        for index, fault in enumerate(self.faults):
            if isinstance(fault, Crash):
                for server in sorted(fault.members):
                    crash = Lifecycle(
                        fault.from_,
                        server,
                        "crash",
                        fault.lost_tail,
                        fault.NAME,
                        fault.promising,
                        fault.torn,
                    )
                    outages.setdefault(server, []).append((crash, fault.until))
            elif isinstance(fault, Churn):
                generator = np.random.default_rng((self._seed, index))
                for server, outage in _churned(fault, generator, horizon):
                    outages.setdefault(server, []).append(outage)
        events = []
        for found in outages.values():
            for crash, ends in _merged(found):
                events += [crash, crash._replace(time=ends, what="restart")]
        return sorted(event for event in events if event.time < horizon)

    @property
    def slows(self) -> bool:
        """True if any server is ever slowed down."""
        return bool(self._slow)

    @property
    def skews(self) -> bool:
        """True if any server's clock is ever wrong."""
        return bool(self._skew)

    @property
    def throttles(self) -> bool:
        """True if any server ever sends and receives slowly."""
        return bool(self._bandwidth)

    def slowness(self, server: int, now: float) -> float:
        """The factor by which all work of this server takes longer at ``now``."""
        factor = 1.0
        for slow in self._slow:
            if slow.from_ <= now < slow.until and server in slow.members:
                factor *= slow.factor
                self.fired[slow.NAME] += 1
        return factor

    def skew_us(self, server: int, now: float) -> int:
        """The number of microseconds by which this server's clock is ahead (negative: behind)."""
        ahead = 0
        for skew in self._skew:
            if skew.from_ <= now < skew.until and server in skew.members:
                ahead += round(skew.seconds * 1e6)
                self.fired[skew.NAME] += 1
        return ahead

    def content_lost(self, server: int, link: bytes, now: float) -> bool:
        """True if ``server`` has lost the content at ``link``, which it held.

        It lacks the content for as long as the fault lasts; other servers may have it.
        """
        for missing in self._missing:
            if missing.active(now) and server in missing.members:
                lot = blake2b(link, digest_size=8, key=b"%d %d" % (self._seed, server)).digest()
                if int.from_bytes(lot, "big") < missing.rate * 2**64:
                    self.fired[missing.NAME] += 1
                    return True
        return False


def _churned(
    fault: Churn, generator: np.random.Generator, horizon: float
) -> Iterator[tuple[int, _Outage]]:
    """Each server that goes down, with its outage, in order of time.

    They are drawn one after the other, so that a longer horizon only adds to them.
    """

    def lasts(seconds: float) -> float:
        return float(generator.exponential(seconds))

    up = [(fault.from_ + lasts(1.0 / fault.rate), server) for server in sorted(fault.members)]
    heapify(up)
    while up[0][0] < min(fault.until, horizon):
        begins, server = up[0]
        ends = min(begins + lasts(fault.down), fault.until)
        heapreplace(up, (ends + lasts(1.0 / fault.rate), server))
        yield server, (Lifecycle(begins, server, "crash", fault.lost_tail, fault.NAME), ends)


def _merged(outages: list[_Outage]) -> list[_Outage]:
    """One server's outages in order of time, with overlapping and touching ones merged; one that
    waits for a promise does so only alone."""
    merged: list[_Outage] = []
    for crash, ends in sorted(outages, key=lambda outage: (outage[0].time, outage[1], outage[0])):
        if merged and crash.time <= merged[-1][1]:
            first, until = merged[-1]
            both = first._replace(
                lost_tail=max(first.lost_tail, crash.lost_tail),
                promising=False,
                torn=first.torn or crash.torn,
            )
            merged[-1] = both, max(until, ends)
        else:
            merged.append((crash, ends))
    return merged
