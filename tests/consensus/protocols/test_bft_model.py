"""A small model of the vote: a few servers, some of them malicious, every order of arrival.

Honest servers are `consensus.protocols.bft.vote` and nothing else. Malicious ones say whatever
their own signatures, and what honest servers signed, can make. PROTOCOL.md claims two things, and
both are explored here: with less than a third malicious no two blocks are ever decided, though
messages arrive in any order, late, twice or never, timers fire whenever they like, and servers
restart with nothing but their promises (`Model`); with half of them malicious none are, if what
honest servers say and pass on arrives within half the settle time (`Timed`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from heapq import heappop, heappush
from typing import Any

import numpy as np
import pytest

from consensus.encoding.unixfs import file_cid
from consensus.ledger.committee import Committee
from consensus.ledger.validity import Sortition
from consensus.protocols.bft import vote as bft
from consensus.protocols.bft.state import (
    CastVote,
    Decide,
    Enter,
    HeightContext,
    Promises,
    SendTimeout,
    ShowLock,
    ShowTimeoutCertificate,
    Step,
    Validate,
)
from consensus.records.block import Candidate, Header, Turn
from consensus.records.view import View
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate, Vote

HEIGHT, STEPS, ATTEMPTS = 1, 2, 3
SIGNED = bytes(64)


class Model:
    """``servers`` servers of which ``size`` sit in every attempt; ``bad`` are malicious."""

    def __init__(
        self,
        seed: int,
        servers: int,
        size: int,
        bad: Collection[int],
        recovery: bool,
        settles: bool,
    ) -> None:
        self.draw = np.random.default_rng(seed)
        self.servers, self.size, self.bad, self.recovery = servers, size, set(bad), recovery
        self.honest = [server for server in range(servers) if server not in self.bad]
        self.contexts = {
            server: HeightContext(server, HEIGHT, (1,) * servers, servers, self.sortition, settles)
            for server in self.honest
        }
        self.states: dict[int, bft.State] = {}
        self.promises = {server: Promises() for server in self.honest}
        self.pending: list[tuple[int, str, Any]] = []
        self.timers: list[tuple[int, str, View]] = []
        self.bodies: dict[bytes, Candidate] = {}
        self.candidates: list[Candidate] = []
        self.votes: dict[tuple[str, View, bytes], set[int]] = {}
        """What honest servers signed."""
        self.timeouts: dict[tuple[View, bool], list[Timeout]] = {}
        self.proposed: set[View] = set()
        self.decided: set[bytes] = set()
        self.haste = 0.16 + 0.08 * float(self.draw.random())
        """How soon timers fire."""
        self.did: Counter[str] = Counter()
        for server in self.honest:
            self.begin(server)

    # -- who does what ----------------------------------------------------------------------------

    def sortition(self, attempt: int) -> Sortition:
        """As bad as can be: the malicious sit in every attempt, and lead half of the views."""
        order = [(3 * attempt + i) % self.servers for i in range(self.servers)]
        good = [server for server in order if server not in self.bad]
        members = [*self.bad, *good][: self.size]
        turns = (self.pick_of(attempt), good[0])
        if attempt % 2:
            turns = (good[0], self.pick_of(attempt))
        return Sortition(Committee(dict.fromkeys(members, 1), self.size), turns)

    def pick_of(self, attempt: int) -> int:
        """The malicious server that leads in an attempt."""
        return sorted(self.bad)[attempt % len(self.bad)]

    def quorum(self, servers: set[int], attempt: int) -> bool:
        committee = self.sortition(attempt).committee
        return 3 * committee.weight_of(servers) > 2 * committee.total

    # -- honest servers ---------------------------------------------------------------------------

    def begin(self, server: int) -> None:
        self.apply(server, bft.begin(self.contexts[server], self.promises[server]))

    def apply(self, server: int, step: Step) -> None:
        state, effects = step
        self.states[server] = state
        self.promises[server] = state.promises
        for effect in effects:
            self.do(server, effect)

    def on(self, server: int, what: str, *arguments: Any) -> None:
        handler: Callable[..., Step] = getattr(bft, f"on_{what}")
        self.apply(server, handler(self.contexts[server], self.states[server], *arguments))

    def tell(self, server: int, kind: str, body: Any) -> None:
        """An honest server says something to all."""
        self.pending += [(to, kind, body) for to in self.honest]

    def lie(self, kind: str, body: Any) -> None:
        """A malicious one says something to some."""
        self.pending += [(to, kind, body) for to in self.honest if self.draw.random() < 0.6]

    def later(self, server: int, what: str, view: View) -> None:
        """Set a timer."""
        self.timers.append((server, what, view))

    def do(self, server: int, effect: bft.Effect) -> None:
        self.did[type(effect).__name__] += 1
        match effect:
            case Enter(view):
                if view[0] < ATTEMPTS:
                    self.later(server, "view", view)
                    if self.recovery:
                        self.later(server, "recovery", view)
                    self.propose(server, view)
            case Validate(candidate):
                self.judge(server, candidate.header.cid)
            case CastVote(phase, view, block):
                key = (phase, view, block)
                others = [
                    said
                    for said, voters in self.votes.items()
                    if said[:2] == key[:2] and server in voters
                ]
                assert others == [], f"server {server} votes twice: {others}, {key}"
                self.votes.setdefault(key, set()).add(server)
                self.tell(server, "vote", self.vote(server, *key))
            case SendTimeout(view, everyone):
                lock = self.promises[server].named_lock(view, everyone)
                timeout = Timeout(
                    bytes(32), HEIGHT, *view, everyone, server, bytes([server] * 64), lock
                )
                self.timeouts.setdefault((view, everyone), []).append(timeout)
                self.tell(server, "timeout", timeout)
            case ShowTimeoutCertificate(certificate):
                assert self.holds(certificate), f"server {server} makes a bad {certificate}"
                self.tell(server, "closed", certificate)
            case ShowLock(lock):
                self.tell(server, "lock", lock)
            case Decide(certificate):
                signers = {signer for signer, _ in certificate.signatures}
                assert self.quorum(signers, certificate.attempt)
                self.decided.add(certificate.block)
                assert len(self.decided) == 1, "a fork"
            case bft.Settle(view):
                self.later(server, "settle", view)
            case bft.AwaitLocks(view):
                self.later(server, "listen", view)

    def judge(self, server: int, block: bytes) -> None:
        """Every block is right, some time."""
        self.pending.append((server, "judged", block))

    def propose(self, server: int, view: View) -> None:
        """An honest leader proposes once, a restart notwithstanding."""
        if self.contexts[server].leader(view) != server or view in self.proposed:
            return
        why = self.states[server].justification
        if why is not None and why.lock is not None:
            candidate = self.again(why.lock.block, view, why, server)
        else:
            candidate = self.anew(view, why, server, 9)
        self.proposed.add(view)
        self.tell(server, "candidate", candidate)

    def anew(self, view: View, why: TimeoutCertificate | None, server: int, salt: int) -> Candidate:
        link = file_cid(b"")
        header = Header(
            bytes(32), HEIGHT, *view, 1 + salt, link, server, bytes(32), bytes(32), 1, 1, link, None
        )
        candidate = Candidate(header, SIGNED, (), (), why)
        self.bodies.setdefault(header.cid, candidate)
        return candidate

    def again(
        self, block: bytes, view: View, why: TimeoutCertificate | None, server: int
    ) -> Candidate:
        turn = Turn(*view, server, SIGNED)
        return replace(self.bodies[block], justification=why, turn=turn)

    def vote(self, server: int, phase: str, view: View, block: bytes) -> Vote:
        return Vote(bytes(32), HEIGHT, *view, phase, block, server, bytes([server] * 64))

    # -- what a server checks before it tells the vote --------------------------------------------

    def receive(self, server: int, kind: str, body: Any) -> None:
        if kind == "candidate" and (
            bft.follows(self.contexts[server], body) is not None
            or (body.justification is not None and not self.holds(body.justification))
        ):
            return
        if kind == "closed" and not self.holds(body):
            return
        if kind == "timeout" and body.lock is not None and self.late(body.lock, body):
            return
        if kind == "judged":
            self.on(server, kind, body, True)
        else:
            self.on(server, kind, body)

    def holds(self, certificate: TimeoutCertificate) -> bool:
        """`consensus.protocols.bft.validity.check_timeout_certificate`, but for signatures."""
        signers = {server for server, _, _ in certificate.entries}
        if certificate.everyone:
            enough = 3 * len(signers) >= 2 * self.servers
        else:
            enough = self.quorum(signers, certificate.attempt)
        names = [name for _, name, _ in certificate.entries if name is not None]
        lock = certificate.lock
        if not enough or (lock is None) != (not names):
            return False
        if lock is None:
            return True
        highest = max(name[:2] for name in names)
        return not self.late(lock, certificate) and lock.name in names and lock.view == highest

    def late(self, lock: Certificate, left: Timeout | TimeoutCertificate) -> bool:
        """`consensus.protocols.bft.validity.check_no_later`."""
        return lock.attempt > left.attempt or (not left.everyone and lock.view > left.view)

    # -- the malicious servers --------------------------------------------------------------------

    def pick(self, items: list[Any]) -> Any:
        return items[int(self.draw.integers(len(items)))]

    def liar(self) -> int:
        """One of them."""
        return self.pick(sorted(self.bad))

    def view(self) -> View:
        """A view that somebody is in, or will be."""
        attempt, step = self.pick([self.states[server].view for server in self.honest])
        if self.draw.random() < 0.3:
            step = int(self.draw.integers(STEPS))
        return attempt, step

    def locks(self) -> list[Certificate]:
        """What honest soft votes and their own can make."""
        return [
            Certificate(
                HEIGHT, *view, "soft", block, tuple((s, SIGNED) for s in sorted(who | self.bad))
            )
            for (phase, view, block), who in self.votes.items()
            if phase == "soft" and self.quorum(who | self.bad, view[0])
        ]

    def closing(self, view: View, everyone: bool) -> TimeoutCertificate | None:
        """What honest timeouts and their own can make, preferably without a lock."""
        if everyone:
            view = (view[0], 0)
        latest = {t.server: t for t in self.timeouts.get((view, everyone), [])}
        said = sorted(latest.values(), key=lambda t: (t.lock is not None, self.draw.random()))
        mine = self.pick([None, None, *self.locks()])
        timeouts = [
            Timeout(bytes(32), HEIGHT, *view, everyone, server, SIGNED, mine)
            for server in sorted(self.bad)
        ]
        while said:
            timeouts.append(said.pop(0))
            locks = [t.lock for t in timeouts if t.lock is not None]
            certificate = TimeoutCertificate(
                HEIGHT,
                *view,
                everyone,
                tuple(
                    (t.server, None if t.lock is None else t.lock.name, SIGNED)
                    for t in sorted(timeouts, key=lambda t: t.server)
                ),
                max(locks, key=lambda lock: lock.name, default=None),
            )
            if self.holds(certificate):
                return certificate
        return None

    def misbehave(self) -> None:
        view = self.view()
        what = self.pick(["propose", "vote", "vote", "vote", "timeout", "closing", "lock"])
        message: tuple[str, Any] | None = None
        if what == "propose":
            message = self.proposal(view)
        elif what == "vote":
            blocks = [c.header.cid for c in self.candidates if c.view == view]
            if blocks:
                phase = self.pick(["soft", "cert"])
                message = ("vote", self.vote(self.liar(), phase, view, self.pick(blocks)))
        elif what == "timeout":
            everyone = self.recovery and self.draw.random() < 0.3
            at = (view[0], 0) if everyone else view
            lock = self.pick([None, *self.locks()])
            message = (
                "timeout",
                Timeout(bytes(32), HEIGHT, *at, everyone, self.liar(), SIGNED, lock),
            )
        elif what == "closing":
            certificate = self.closing(view, self.recovery and self.draw.random() < 0.3)
            message = None if certificate is None else ("closed", certificate)
        elif self.locks():
            message = ("lock", self.pick(self.locks()))
        if message is not None:
            self.lie(*message)

    def proposal(self, view: View) -> tuple[str, Any] | None:
        """One of two blocks, new or again, in its turn."""
        leader = self.sortition(view[0]).order[view[1]]
        if leader not in self.bad:
            return None
        why = None
        if view != (0, 0):
            before = (view[0], view[1] - 1) if view[1] else (view[0] - 1, STEPS - 1)
            why = self.closing(before, bool(self.recovery and self.draw.random() < 0.3))
            if why is None:
                return None
        if why is not None and why.lock is not None:
            return "candidate", self.again(why.lock.block, view, why, leader)
        return "candidate", self.anew(view, why, leader, int(self.draw.integers(2)))

    # -- what happens -----------------------------------------------------------------------------

    def step(self) -> None:
        chance = self.draw.random()
        if chance < 0.15:
            self.misbehave()
        elif chance < 0.155:
            server = self.pick(self.honest)
            self.did["restart"] += 1
            self.timers = [timer for timer in self.timers if timer[0] != server]
            self.begin(server)
        elif chance < self.haste and self.timers:
            index = int(self.draw.integers(len(self.timers)))
            server, what, view = self.timers.pop(index)
            self.on(server, f"{what}_timer", view)
        elif self.pending:
            # Mostly what was said last, now and then what is old.
            back = min(int(self.draw.exponential(12.0)), len(self.pending) - 1)
            index = len(self.pending) - 1 - back
            server, kind, body = self.pending[index]
            if self.draw.random() < 0.95:
                del self.pending[index]
            if kind == "candidate" and body not in self.candidates:
                self.candidates.append(body)
            if self.draw.random() < 0.97:
                self.receive(server, kind, body)

    def run(self, steps: int) -> Counter[str]:
        for _ in range(steps):
            self.step()
        self.did["height decided"] += bool(self.decided)
        self.did["view"] += max(state.view for state in self.states.values()) > (0, 0)
        self.did["attempt"] += max(state.view for state in self.states.values())[0] > 0
        self.did["carried"] += any(
            state.justification is not None and state.justification.lock is not None
            for state in self.states.values()
        )
        return self.did


class Timed(Model):
    """Two of four servers are malicious, and time passes: what honest servers say and pass on
    arrives within one unit, a lock settles for two."""

    VIEW, SETTLE, RECOVERY, END, PAUSE = 7.0, 2.0, 20.0, 30.0, 0.3

    def __init__(self, seed: int, hasty: str = "") -> None:
        """``hasty`` is a timer that fires at once."""
        self.now, self.hasty = 0.0, hasty
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.count = 0
        self.heard: dict[tuple[int, View], bytes] = {}
        """By server and view: the first proposal it knows of."""
        self.cunning = seed % 4 > 0
        super().__init__(seed, 4, 4, {0, 1}, recovery=True, settles=True)

    def at(self, time: float, call: Callable[[], None]) -> None:
        self.count += 1
        heappush(self.queue, (time, self.count, call))

    def deliver(self, server: int, kind: str, body: Any, time: float) -> None:
        self.at(time, lambda: self.receive(server, kind, body))

    def tell(self, server: int, kind: str, body: Any) -> None:
        for to in self.honest:
            self.deliver(to, kind, body, self.now + (to != server) * float(self.draw.random()))

    def lie(self, kind: str, body: Any) -> None:
        """To whom they like, and when: best one block to one half of the others, another to the
        other half, before these talk to each other."""
        if kind == "candidate" and body not in self.candidates:
            self.candidates.append(body)
        block = body.header.cid if kind == "candidate" else getattr(body, "block", b"\x00")
        for server in self.honest:
            if kind in ("candidate", "vote") and self.cunning:
                told = block[-1] % 2 == server % 2
            else:
                told = self.draw.random() < 0.6
            if told:
                delay = self.draw.exponential(0.1 if self.cunning else 1.0)
                self.deliver(server, kind, body, self.now + float(delay))

    def plot(self) -> None:
        """All vote, in both phases, for all that was proposed in a view, now or long ago."""
        view = self.view()
        if self.candidates and self.draw.random() < 0.3:
            view = self.pick(self.candidates).view
        for _ in range(3):
            proposal = self.proposal(view)
            if proposal is not None:
                self.lie(*proposal)
        for block in {of.header.cid: of for of in self.candidates if of.view == view}:
            for liar in sorted(self.bad):
                for phase in ("soft", "cert"):
                    self.lie("vote", self.vote(liar, phase, view, block))

    def judge(self, server: int, block: bytes) -> None:
        self.deliver(server, "judged", block, self.now)

    def later(self, server: int, what: str, view: View) -> None:
        lasts = self.VIEW * (2 + view[0]) / 2
        after = {
            "view": lasts,
            "settle": self.SETTLE,
            "listen": self.SETTLE,
            "recovery": lasts + self.RECOVERY,
        }[what]
        if what == self.hasty:
            after = 0.0
        self.at(self.now + after, lambda: self.on(server, f"{what}_timer", view))

    def receive(self, server: int, kind: str, body: Any) -> None:
        if kind == "vote" and body.phase == "soft" and body.server not in self.bad:
            self.hear_of(server, (body.attempt, body.step), body.block)
        before = self.states[server]
        super().receive(server, kind, body)
        if kind == "candidate" and self.states[server] is not before:
            self.hear_of(server, body.view, body.header.cid)
        if kind not in ("vote", "judged") and self.states[server] is not before:
            self.tell(server, kind, body)  # it is passed on

    def hear_of(self, server: int, view: View, block: bytes) -> None:
        """A proposal, which is signed, or an honest vote, which carries its signature."""
        if self.heard.setdefault((server, view), block) != block:
            self.on(server, "equivocated", view)

    def run(self, steps: int = 0) -> Counter[str]:
        time = 0.0
        while time < self.END:
            time += float(self.draw.exponential(self.PAUSE))
            self.at(time, self.plot if self.draw.random() < 0.4 else self.misbehave)
        while self.queue and self.now < self.END:
            self.now, _, call = heappop(self.queue)
            call()
        return super().run(0)


SETTINGS = {
    "all sit, recovery": (4, 4, True),
    "some sit": (6, 4, False),
    "more sit": (8, 7, False),
}


def explore(setting: str, seeds: range) -> Counter[str]:
    servers, size, recovery = SETTINGS[setting]
    total: Counter[str] = Counter()
    for seed in seeds:
        try:
            model = Model(seed, servers, size, {seed % servers}, recovery, bool(seed % 2))
            total += model.run(90 * servers)
        except AssertionError as error:
            raise AssertionError(f"{setting}, seed {seed}: {error}") from error
    return total


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_order_of_arrival_and_no_lie_makes_two_blocks(setting: str) -> None:
    runs = 200
    total = explore(setting, range(runs))
    assert total["height decided"] > runs / 10, total
    assert total["view"] > runs / 3, total
    assert total["attempt"] > 5, total
    assert total["carried"] > runs / 10, total
    assert (
        min(
            total[kind]
            for kind in ("CastVote", "SendTimeout", "ShowTimeoutCertificate", "ShowLock", "restart")
        )
        > 20
    ), total


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_no_order_of_arrival_and_no_lie_makes_two_blocks_ever(setting: str) -> None:
    runs = 5_000
    total = explore(setting, range(1_000, 1_000 + runs))
    print(f"\n{setting}: {runs} runs, {dict(total)}")


def forks(seeds: range, hasty: str = "") -> list[int]:
    found = []
    for seed in seeds:
        try:
            Timed(seed, hasty).run()
        except AssertionError as error:
            if str(error).startswith("a fork"):
                found.append(seed)
            else:
                raise
    return found


def test_half_of_them_malicious_make_no_two_blocks_in_time() -> None:
    runs = 200
    total = sum((Timed(seed).run() for seed in range(runs)), Counter[str]())
    assert total["height decided"] > runs / 2, total
    assert total["Settle"] > runs / 2, total
    assert (
        min(
            total[kind]
            for kind in ("CastVote", "SendTimeout", "ShowTimeoutCertificate", "AwaitLocks")
        )
        > runs / 2
    ), total
    assert total["ShowLock"] > runs / 10, total


def test_what_the_settle_time_is_for() -> None:
    """The model can fail: half of them malicious make two blocks if a lock does not settle. (That
    votes wait for locks to be shown is what `consensus.torture.model.across_views` is about.)"""
    made = forks(range(940, 1000), "settle")
    assert made != []
    assert [seed for seed in made if forks(range(seed, seed + 1))] == []


@pytest.mark.slow
def test_half_of_them_malicious_make_no_two_blocks_in_time_ever() -> None:
    assert forks(range(1_000, 9_000)) == []
