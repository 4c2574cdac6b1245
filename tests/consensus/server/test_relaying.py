"""A server passes on what it knows already, from a message to it alone or otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import pytest

from consensus.adversary.behaviour import Behaviour
from consensus.adversary.behaviours.messages import Preempt
from consensus.network.topology import Topology
from consensus.protocols.bft.unheard import TIMEOUTS
from consensus.server.message import Message
from consensus.server.relaying import NAMES
from consensus.server.unheard import Taken
from tests.helpers.bft_rig import FORGE, MEMBERS, Bench
from tests.helpers.bft_rig import LEADER as SEATED
from tests.helpers.forge import Forge
from tests.helpers.toy import Toy

SERVERS = 7
SPEAKER, INNER, BAD = 0, (1, 3), 6
"""On a line of servers: the honest one at its end that gossips, those that have been told before,
and the malicious one at the other end that told them."""
HOP = 0.01
GOSSIP = 0.2
"""Seconds in which gossip reaches all, with what it costs to check; no timer fires so soon."""


def line() -> Topology:
    places = np.arange(SERVERS)
    latency = HOP * np.abs(places[:, None] - places)
    near = [[o for o in (s - 1, s + 1) if 0 <= o < SERVERS] for s in range(SERVERS)]
    return Topology(np.zeros(SERVERS, np.int64), latency, near)


def suited() -> int:
    """A seed for which the speaker has a seat and those in between have none: members that enter a
    view say so themselves."""
    for seed in range(1_000):
        seated = set(Forge(toy(seed)).members())
        if SPEAKER in seated and not seated & set(INNER):
            return seed
    raise AssertionError("no seed suits")


def toy(seed: int) -> Toy:
    return Toy(SERVERS, 3, seed, committee_size=4, crypto="modelled", topology=line())


SEED = suited()


class Line:
    """The servers on a line, in their first height, and what each has heard."""

    def __init__(self) -> None:
        self.world = toy(SEED).world
        self.world.network.begin(np.random.default_rng(0))
        self.heard: list[set[tuple[str, Any]]] = [set() for _ in range(SERVERS)]
        for server in self.world.servers:
            server.enter_height()
            server.receive = self.listening(server.index, server.receive)  # type: ignore[method-assign]
            server.take_in = self.counting(server.index, server.take_in)  # type: ignore[method-assign]

    def listening(self, index: int, receive: Callable[..., bool]) -> Callable[..., bool]:
        def listen(kind: str, body: Any, *more: Any) -> bool:
            if kind in NAMES:
                self.heard[index].add((kind, NAMES[kind](body)))
            return receive(kind, body, *more)

        return listen

    def counting(
        self, index: int, take_in: Callable[[Iterable[Taken]], None]
    ) -> Callable[[Iterable[Taken]], None]:
        def count(taken: Iterable[Taken]) -> None:
            taken = list(taken)
            timeouts = [body for lane, body, *_ in taken if lane >= TIMEOUTS]
            self.heard[index].update(("timeout", NAMES["timeout"](each)) for each in timeouts)
            take_in(taken)

        return count

    def go_on(self, seconds: float = GOSSIP) -> None:
        self.world.env.run(until=self.world.env.now + seconds)

    def tell(self, kind: Any, body: Any) -> None:
        """The malicious server tells those in between, each alone."""
        message = self.world.message(kind, body)
        self.world.network.send_many(BAD, INNER, message, self.world.env.now)
        self.go_on()

    def lack(self, kind: str, body: Any) -> list[int]:
        """The honest servers that have not heard it."""
        name = kind, NAMES[kind](body)
        for server in range(SERVERS):
            self.world.network.heard(server)
        return [s for s in range(SERVERS) if s not in (SPEAKER, BAD) and name not in self.heard[s]]


def said() -> dict[str, tuple[tuple[str, Any], tuple[str, Any], tuple[str, Any]]]:
    """By case: what those in between are told, what is gossiped then, and what all must hear."""
    forge = Forge(toy(SEED))
    candidate, members = forge.candidate(), forge.members()
    lock, others_lock = forge.lock(candidate, signers=members[:3]), forge.lock(candidate)
    block, closure = forge.block(candidate), forge.closing()
    later = forge.closing((0, 1))
    plain: dict[str, Any] = {
        "update": forge.update(0),
        "candidate": candidate,
        "timeout": forge.timeout(SPEAKER),
        "closure": closure,
        "lock": lock,
        "block": block,
    }
    cases = {kind: ((kind, body),) * 3 for kind, body in plain.items()}
    lock_said = ("lock", lock)
    timeout = forge.timeout(members[1], lock=lock)
    closing = forge.closing((0, 0), locks={members[1]: lock})
    return cases | {
        "a lock by others": (("lock", others_lock), lock_said, lock_said),
        "a lock within a timeout": (("timeout", timeout), lock_said, lock_said),
        "a lock within a closure": (("closure", closing), lock_said, lock_said),
        "a later closure": (("closure", later), ("closure", closure), ("closure", later)),
        "a timeout of a view left": (
            ("closure", closure),
            ("timeout", plain["timeout"]),
            ("closure", closure),
        ),
        "a decided block": (("block", block), ("closure", closure), ("block", block)),
    }


CASES = said()


@pytest.mark.parametrize("name", CASES)
def test_what_inner_servers_were_told_alone_reaches_those_behind_them(name: str) -> None:
    told, gossiped, needed = CASES[name]
    run = Line()
    run.tell(*told)
    assert run.lack(*told) == [2, 4, 5], "nobody passes on what it alone is told"
    run.world.servers[SPEAKER].say(*gossiped)  # type: ignore[arg-type]
    run.go_on()
    assert run.lack(*needed) == []


def test_an_early_message_to_one_alone_is_passed_on_once_its_height_has_begun() -> None:
    bench = Bench(start=False)
    update = FORGE.update(0)
    bench.server.receive("update", update, 5)
    bench.server.enter_height()
    assert not bench.server.receive("update", update, 4, gossiped=True)
    assert bench.server.passes_on("update", update, 4) == ("update", update, ())


def test_one_is_passed_on_once_for_every_origin() -> None:
    bench, update = Bench(), FORGE.update(0)
    assert bench.server.receive("update", update, 5, gossiped=True)
    assert bench.server.passes_on("update", update, 5) is None, "it has been passed on"
    for _ in range(2):
        assert not bench.server.receive("update", update, 4, gossiped=True)
    assert bench.server.passes_on("update", update, 4) == ("update", update, (5,))
    assert bench.server.passes_on("update", update, 4) is None
    assert bench.server.passes_on("update", update, 3) == ("update", update, (5, 4))


def test_what_a_server_has_gossiped_itself_is_not_passed_on_again() -> None:
    bench, lock = Bench(), FORGE.lock(FORGE.candidate())
    bench.hear("lock", lock, sender=SEATED)
    bench.server.say("lock", lock)
    assert bench.server.passes_on("lock", lock, 4) is None


def test_a_forgery_under_a_known_name_is_not_passed_on() -> None:
    bench, lock = Bench(), FORGE.lock(FORGE.candidate())
    forged = replace(lock, signatures=tuple((s, bytes(64)) for s in MEMBERS))
    assert not bench.server.receive("lock", forged, 4, gossiped=True)
    assert bench.server.passes_on("lock", forged, 4) is None
    bench.hear("lock", lock, sender=SEATED)
    assert not bench.server.receive("lock", forged, 4, gossiped=True)
    again = bench.server.passes_on("lock", forged, 4)
    assert again is not None
    assert again[1] is lock


def test_a_decided_block_is_passed_on_with_the_certificate_that_was_checked() -> None:
    block, other = FORGE.block(), FORGE.block(signers=MEMBERS[:5])
    certificate = replace(block.certificate, signatures=((MEMBERS[0], bytes(64)),))
    junk = replace(block, certificate=certificate)
    bench = Bench().tickets().updates().hear("block", block, sender=SEATED)
    for origin, body in ((4, junk), (5, other)):
        assert not bench.server.receive("block", body, origin, gossiped=True)
        again = bench.server.passes_on("block", body, origin)
        assert again is not None
        assert again[1] is block
        assert bench.server.passes_on("block", body, origin) is None, "once for an origin"


@pytest.mark.parametrize("server", [SEATED, Bench().server.index])
def test_tickets_sent_to_one_alone_and_its_own_are_passed_on(server: int) -> None:
    bench = Bench().tickets()
    ticket = FORGE.ticket(server)
    assert not bench.server.receive("ticket", ticket, 5, gossiped=True)
    assert bench.server.passes_on("ticket", ticket, 5) == ("ticket", ticket, ())


def test_what_a_malicious_server_does_not_hear_it_does_not_pass_on() -> None:
    class Deaf(Behaviour):
        def hears(self, server: Any, kind: str, body: Any, sender: int) -> bool:
            return sender != 4

    bench, update = Bench(behaviour=Deaf()), FORGE.update(0)
    assert bench.server.receive("update", update, 5)
    assert not bench.server.receive("update", update, 4, gossiped=True)
    assert bench.server.passes_on("update", update, 4) is None


def test_nothing_is_kept_of_a_height_that_is_over_but_its_block() -> None:
    bench = Bench().tickets().updates().hear("block", FORGE.block(), sender=SEATED)
    bench.server.enter_height()
    assert {kind for kind, held in bench.server.relaying._held.items() if held} == {"block"}


def test_what_is_passed_on_again_goes_over_no_link_twice() -> None:
    """In a star, server 0 has passed on what 1 gossiped to all others; 2's gossip lacks 1."""
    places = np.full((4, 4), HOP) - HOP * np.eye(4)
    star = Topology(np.zeros(4, np.int64), places, [[1, 2, 3], [0], [0], [0]])
    world = Toy(4, 1, topology=star).world
    world.network.begin(np.random.default_rng(0))
    message = Message("lock", None, 100)
    world.network.pass_on(0, 2, message, 0.0, (1,))
    assert world.network.bytes["lock"] == 100, "to 1 alone"
    world.network.pass_on(0, 2, message, 0.0, (1, 3))
    assert world.network.bytes["lock"] == 100, "to none"


def test_heights_are_as_fast_as_without_who_preempts() -> None:
    def seconds(bad: range) -> float:
        run = Toy(16, 8, malicious={each: Preempt() for each in bad}, crypto="modelled")
        return median(result.ended - result.began for result in (run.play() for _ in range(8)))

    assert seconds(range(3, 7)) <= 1.05 * seconds(range(0))
