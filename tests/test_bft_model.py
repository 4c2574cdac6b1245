"""A small model of the vote: a few servers, one of them malicious, every order of arrival.

Honest servers are `consensus.bft` and nothing else. Messages arrive in any order, late, twice or
never; timers fire whenever they like; servers restart with nothing but their promises. The
malicious server says whatever its own signature, and what honest servers signed, can make. Whatever
happens, no two blocks are decided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from consensus import bft
from consensus.bft import Closed, Decide, Enter, Judge, Leave, Object, Promises, Say, Seat, Step
from consensus.blocks import Candidate, Certificate, Timeout, TimeoutCertificate, Turn
from consensus.chain import Sortition
from consensus.committee import Committee
from consensus.encoding import file_cid
from consensus.records import Header, View, Vote

HEIGHT, STEPS, ATTEMPTS = 1, 2, 3
SIGNED = bytes(64)


class Model:
    """``servers`` servers of which ``size`` sit in every attempt; ``bad`` is malicious."""

    def __init__(self, seed: int, servers: int, size: int, bad: int, recovery: bool) -> None:
        self.draw = np.random.default_rng(seed)
        self.servers, self.size, self.bad, self.recovery = servers, size, bad, recovery
        self.honest = [server for server in range(servers) if server != bad]
        self.seats = {
            server: Seat(server, HEIGHT, (1,) * servers, self.sortition, bool(seed % 2))
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
        order = [(3 * attempt + i) % self.servers for i in range(self.servers)]
        members = order[: self.size] if self.size < self.servers else order
        if self.bad not in members:  # as bad as can be: it sits in every attempt
            members = [self.bad, *members[1:]]
        turns = tuple([self.bad, *(s for s in order if s != self.bad)][:STEPS])
        if attempt % 2:
            turns = tuple(reversed(turns))
        return Sortition(Committee(dict.fromkeys(members, 1), self.size), turns)

    def quorum(self, servers: set[int], attempt: int) -> bool:
        committee = self.sortition(attempt).committee
        return 3 * committee.weight_of(servers) > 2 * committee.total

    # -- honest servers ---------------------------------------------------------------------------

    def begin(self, server: int) -> None:
        self.apply(server, bft.begin(self.seats[server], self.promises[server]))

    def apply(self, server: int, step: Step) -> None:
        state, effects = step
        self.states[server] = state
        self.promises[server] = state.promises
        for effect in effects:
            self.do(server, effect)

    def on(self, server: int, what: str, *arguments: Any) -> None:
        handler: Callable[..., Step] = getattr(bft, f"on_{what}")
        self.apply(server, handler(self.seats[server], self.states[server], *arguments))

    def tell(self, kind: str, body: Any) -> None:
        self.pending += [(to, kind, body) for to in self.honest]

    def do(self, server: int, effect: bft.Effect) -> None:
        self.did[type(effect).__name__] += 1
        match effect:
            case Enter(view):
                if view[0] < ATTEMPTS:
                    self.timers.append((server, "view", view))
                    if self.recovery:
                        self.timers.append((server, "recovery", view))
                    self.propose(server, view)
            case Judge(candidate):
                self.pending.append((server, "judged", candidate.header.cid))
            case Say(phase, view, block):
                key = (phase, view, block)
                others = [
                    said
                    for said, voters in self.votes.items()
                    if said[:2] == key[:2] and server in voters
                ]
                assert others == [], f"server {server} votes twice: {others}, {key}"
                self.votes.setdefault(key, set()).add(server)
                self.tell("vote", self.vote(server, *key))
            case Leave(view, everyone):
                lock = self.promises[server].told(view, everyone)
                timeout = Timeout(
                    bytes(32), HEIGHT, *view, everyone, server, bytes([server] * 64), lock
                )
                self.timeouts.setdefault((view, everyone), []).append(timeout)
                self.tell("timeout", timeout)
            case Closed(certificate):
                assert self.holds(certificate), f"server {server} makes a bad {certificate}"
                self.tell("closed", certificate)
            case Object(lock):
                self.tell("lock", lock)
            case Decide(certificate):
                signers = {signer for signer, _ in certificate.signatures}
                assert self.quorum(signers, certificate.attempt)
                self.decided.add(certificate.block)
                assert len(self.decided) == 1, "a fork"
            case bft.Settle(view):
                self.timers.append((server, "settle", view))

    def propose(self, server: int, view: View) -> None:
        """An honest leader proposes once, a restart notwithstanding."""
        if self.seats[server].leader(view) != server or view in self.proposed:
            return
        why = self.states[server].why
        if why is not None and why.lock is not None:
            candidate = self.again(why.lock.block, view, why, server)
        else:
            candidate = self.anew(view, why, server, 9)
        self.proposed.add(view)
        self.tell("candidate", candidate)

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
            bft.follows(self.seats[server], body) is not None
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
        """`consensus.chain.check_timeout_certificate`, but for signatures."""
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
        """`consensus.chain.check_no_later`."""
        return lock.attempt > left.attempt or (not left.everyone and lock.view > left.view)

    # -- the malicious server ---------------------------------------------------------------------

    def pick(self, items: list[Any]) -> Any:
        return items[int(self.draw.integers(len(items)))]

    def some(self) -> list[int]:
        """Whom it tells."""
        return [server for server in self.honest if self.draw.random() < 0.6]

    def view(self) -> View:
        """A view that somebody is in, or will be."""
        attempt, step = self.pick([self.states[server].view for server in self.honest])
        if self.draw.random() < 0.3:
            step = int(self.draw.integers(STEPS))
        return attempt, step

    def locks(self) -> list[Certificate]:
        """What honest soft votes and its own can make."""
        return [
            Certificate(
                HEIGHT, *view, "soft", block, tuple((s, SIGNED) for s in sorted({*who, self.bad}))
            )
            for (phase, view, block), who in self.votes.items()
            if phase == "soft" and self.quorum({*who, self.bad}, view[0])
        ]

    def closing(self, view: View, everyone: bool) -> TimeoutCertificate | None:
        """What honest timeouts and its own can make, preferably without a lock."""
        if everyone:
            view = (view[0], 0)
        latest = {t.server: t for t in self.timeouts.get((view, everyone), [])}
        said = sorted(latest.values(), key=lambda t: (t.lock is not None, self.draw.random()))
        mine = self.pick([None, None, *self.locks()])
        timeouts = [Timeout(bytes(32), HEIGHT, *view, everyone, self.bad, SIGNED, mine)]
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
                message = ("vote", self.vote(self.bad, phase, view, self.pick(blocks)))
        elif what == "timeout":
            everyone = self.recovery and self.draw.random() < 0.3
            at = (view[0], 0) if everyone else view
            lock = self.pick([None, *self.locks()])
            message = (
                "timeout",
                Timeout(bytes(32), HEIGHT, *at, everyone, self.bad, SIGNED, lock),
            )
        elif what == "closing":
            certificate = self.closing(view, self.recovery and self.draw.random() < 0.3)
            message = None if certificate is None else ("closed", certificate)
        elif self.locks():
            message = ("lock", self.pick(self.locks()))
        if message is not None:
            self.pending += [(to, *message) for to in self.some()]

    def proposal(self, view: View) -> tuple[str, Any] | None:
        """One of two blocks, new or again, in its turn."""
        if self.sortition(view[0]).order[view[1]] != self.bad:
            return None
        why = None
        if view != (0, 0):
            before = (view[0], view[1] - 1) if view[1] else (view[0] - 1, STEPS - 1)
            why = self.closing(before, bool(self.recovery and self.draw.random() < 0.3))
            if why is None:
                return None
        if why is not None and why.lock is not None:
            return "candidate", self.again(why.lock.block, view, why, self.bad)
        return "candidate", self.anew(view, why, self.bad, int(self.draw.integers(2)))

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
            state.why is not None and state.why.lock is not None for state in self.states.values()
        )
        return self.did


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
            total += Model(seed, servers, size, seed % servers, recovery).run(90 * servers)
        except AssertionError as error:
            raise AssertionError(f"{setting}, seed {seed}: {error}") from error
    return total


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_order_of_arrival_and_no_lie_makes_two_blocks(setting: str) -> None:
    runs = 80
    total = explore(setting, range(runs))
    assert total["height decided"] > runs / 10, total
    assert total["view"] > runs / 3, total
    assert total["attempt"] > 5, total
    assert total["carried"] > runs / 10, total
    assert min(total[kind] for kind in ("Say", "Leave", "Closed", "Object", "restart")) > 20, total


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_no_order_of_arrival_and_no_lie_makes_two_blocks_ever(setting: str) -> None:
    runs = 5_000
    total = explore(setting, range(1_000, 1_000 + runs))
    print(f"\n{setting}: {runs} runs, {dict(total)}")
