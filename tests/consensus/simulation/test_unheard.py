"""Whole worlds on the compiled network and on the readable one: nobody could tell them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from consensus.adversary.behaviour import BEHAVIOURS, Circle
from consensus.adversary.composed import Composed
from consensus.network.compiled import CompiledNetwork
from consensus.network.network import Network
from consensus.protocols.bft.server import BftParticipant
from consensus.simulation.observer import Observer
from consensus.simulation.results import Forked, Stalled
from tests.helpers.fault_scene import mesh
from tests.helpers.toy import Toy
from tests.helpers.transport import count_unheard
from tests.helpers.worlds import crash, cut, struck

PROTOCOLS = ("bft", "hotstuff", "paper", "tendermint")


class Seeing(Observer):
    """An observer that writes everything down, with its time."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def begin(self, world: Any) -> None:
        self.world = world
        self.seen.append(("began", world.head.height, world.env.now))

    def note(self, *what: Any) -> None:
        spent = self.world.spent() if what[0] != "sent" else None
        self.seen.append((*what, spent))

    def sent(self, server: int, kind: str, body: Any, at: float) -> None:
        self.note("sent", server, kind, body, at)

    def took(self, server: int, kind: str, body: Any, at: float) -> None:
        self.note("took", server, kind, body, at)

    def appended(self, server: int, block: Any, at: float) -> None:
        self.note("appended", server, block, at)

    def accused(self, server: int, found: Any, at: float) -> None:
        self.note("accused", server, found, at)

    def crashed(self, server: int, height: int, fault: str, at: float) -> None:
        self.note("crashed", server, height, fault, at)

    def restarted(self, server: int, height: int, fault: str, at: float) -> None:
        self.note("restarted", server, height, fault, at)


def memory(toy: Toy) -> list[dict[str, Any]]:
    """What every server remembers, after it was told all that it has taken in."""
    world, found = toy.world, []
    for server in world.servers:
        world.network.heard(server.index)
        relaying = server.relaying
        told = {
            "pool": (server.pool.digests(), len(server.pool), +server.pool.rejected),
            "ordered": server.pool.ordered(),
            "refused": +server.refused,
            "evidence": server.evidence,
            "lacking": sorted(server.lacking),
            "head": server.chain.head,
            "at": (server.height, server.active, server.catching_up, server.stage()),
            "busy": world.network.busy_until[server.index],
            "new": relaying._new,
            "held": sorted(map(repr, relaying._held.items())),
            "asked": (server.catch_up.early, server.catch_up._corrected),
        }
        part = server.participant
        told["state"] = part.state  # type: ignore[attr-defined]
        if isinstance(part, BftParticipant):
            told["tickets"] = list(part.tickets.held.items())
            told["votes"] = part.first_votes
            told["proposals"] = part.proposals.first
        found.append({name: repr(value) for name, value in told.items()})
    return found


def story(compiled: bool, heights: int, malicious: Sequence[str], **more: Any) -> dict[str, Any]:
    """All that happens in a world."""
    seeing, servers = Seeing(), more.get("servers", 16)
    # Without faults the premise may be broken, as far as heights are still decided.
    places = range(0, servers, 3) if "faults" not in more else range(servers // 3)
    circle = Circle(frozenset(places if malicious else ()))
    bad = {index: Composed(malicious, circle=circle) for index in circle.members}
    faults = more.pop("faults", ())
    toy = Toy(
        malicious=dict(sorted(bad.items())),
        faults=struck(servers, *faults) if faults else None,
        observer=seeing,
        compiled=compiled,
        **{"servers": 16, "clients": 6, "crypto": "modelled"} | more,
    )
    network = toy.world.network
    assert type(network) is (CompiledNetwork if compiled else Network)
    told: dict[str, Any] = {}
    for height in range(1, heights + 1):
        try:
            told[f"result {height}"] = toy.play(60.0)
        except (Stalled, Forked) as error:
            told[f"stalled {height}"] = str(error)
        told[f"memory {height}"] = memory(toy)
        told[f"clock {height}"] = toy.world.env.now
        if f"stalled {height}" in told:
            break
    told["seen"] = seeing.seen
    told["bytes"] = +network.bytes
    told["standing"] = toy.world.standing() if heights == height else None
    assert network._generator is not None
    told["next draw"] = network._generator.random()
    told["fired"] = +(toy.world.faults.fired if toy.world.faults else Counter[str]())
    told["acted"] = [+behaviour.acted for behaviour in bad.values()]
    return told


def same(heights: int = 2, malicious: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """A world comes to the same on both networks; returns that."""
    plain, compiled = (story(which, heights, malicious, **more) for which in (False, True))
    for what, expected in plain.items():
        found = compiled[what]
        if isinstance(expected, list):
            for place, (one, other) in enumerate(zip(expected, found, strict=False)):
                assert other == one, (what, place)
            assert len(found) == len(expected), what
        else:
            assert found == expected, what
    assert compiled.keys() == plain.keys()
    return plain


HONEST: dict[str, dict[str, Any]] = {
    "sixteen": {},
    "forty": {"servers": 40, "clients": 12, "committee_size": 20},
    "one": {"servers": 1},
    "two": {"servers": 2},
    "a seat for each": {"servers": 9, "clients": 1},
    "few seats": {"servers": 40, "committee_size": 5},
    "by stake": {"stakes": [5, 1, 2, 9] * 4, "committee": "weighted", "committee_size": 30},
    "real signatures": {"servers": 7, "crypto": "real"},
    "a quota below": {"quota": 4},
    "a quota beyond": {"quota": 9, "update_us": 2_000_000},
    "locks at once": {"settle_us": 0},
    "tickets at once": {"ticket_us": 30_000},
    "equal latencies": {"topology": mesh(16)},
    "votes too late": {"vote_us": 100_000, "ticket_us": 50_000},
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", HONEST)
def test_honest_servers(name: str, protocol: str) -> None:
    more = {"committee_size": 8} | HONEST[name]
    more["committee_size"] = min(more["committee_size"], more.get("servers", 16))
    if name == "by stake" and protocol == "paper":
        more["committee_size"] = 8
    same(3, protocol=protocol, **more)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", sorted(BEHAVIOURS))
def test_a_third_is_malicious(name: str, protocol: str) -> None:
    """With nine seats the malicious ones may have a third of them, or more."""
    told = same(2, [name], protocol=protocol, committee_size=9, clients=4)
    assert told["seen"]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "names", [("preempt", "forge_tickets"), ("equivocate_votes", "stale"), ("rush",)]
)
def test_forty_servers_of_which_a_third_is_malicious(names: Sequence[str], seed: int) -> None:
    same(2, names, servers=40, clients=8, committee_size=12, seed=seed)


FAULTS: dict[str, list[dict[str, Any]]] = {
    "crash": [crash(1, 4, from_=0.2, until=1.5), crash(7, from_=0.9, until=30.0)],
    "crash of many": [crash(*range(6), from_=0.5, until=3.0, lost_tail=2)],
    "cut": [{"partition": [[0, 1, 2, 3, 4]], "from": 0.15, "until": 3.0}],
    "a cut that is there": [cut(0, 1, 2, until=2.0)],
    "one way": [{"partition": [[0, 5]], "one_way": True, "from": 0.2, "until": 2.5}],
    "eclipse": [{"eclipse": [2], "sees": [3], "from": 0.1, "until": 2.0}],
    "delay": [{"delay": 0.3, "from": 0.2, "until": 2.0}],
    "loss": [{"loss": 0.2, "from": 0.1, "until": 2.0}],
    "duplicate": [{"duplicate": 0.5, "from": 0.1, "until": 1.0}],
    "replay": [{"replay": 0.3, "from": 0.1, "until": 1.0}],
    "reorder": [{"reorder": 0.5, "from": 0.1, "until": 1.0}],
    "bit flip": [{"bit_flip": 0.2, "from": 0.1, "until": 1.0}],
    "bandwidth": [{"bandwidth": 0.01, "servers": [1, 2, 3], "from": 0.15, "until": 1.5}],
    "slow": [{"slow": 20.0, "servers": [0, 1, 5], "from": 0.1, "until": 2.0}],
    "skew": [{"skew": 0.4, "servers": [2, 6], "from": 0.0, "until": 3.0}],
    "churn": [{"churn": 0.2, "down": 0.5, "from": 0.0, "until": 4.0}],
    "missing content": [{"missing_content": 0.5, "from": 0.0, "until": 2.0}],
    "short": [{"loss": 0.5, "from": 0.1 + at / 50, "until": 0.11 + at / 50} for at in range(30)],
}
FAULTS["all together"] = [
    node for name in ("crash", "cut", "delay", "duplicate", "bandwidth") for node in FAULTS[name]
]


@pytest.mark.parametrize("malicious", [(), ("equivocate_candidates", "preempt")])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", FAULTS)
def test_faults(name: str, protocol: str, malicious: Sequence[str]) -> None:
    same(3, malicious, protocol=protocol, faults=FAULTS[name], committee_size=10, seed=1)


def test_a_vote_of_ones_own_that_comes_back() -> None:
    """Who lost messages asks others, who send it what they have: its own votes, too, which cost it
    nothing. (Of 80 seeds this one tells whether they do.)"""
    lost = struck(7, {"loss": 0.3, "from": 0.1, "until": 0.55})
    timing = {"vote_us": 20_000_000, "ticket_us": 50_000, "resend_us": 150_000}
    played = []
    for compiled in (False, True):
        more: dict[str, Any] = {"protocol": "tendermint", "compiled": compiled, "faults": lost}
        toy = Toy(7, 4, 33, crypto="modelled", **more, **timing)
        found = [toy.play() for _ in range(2)]
        played.append([(each.ended, each.appended, each.refused) for each in found])
    assert played[0] == played[1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_loops_are_used_in_worlds(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also between faults, and where a third is malicious."""
    unheard = count_unheard(monkeypatch)
    for malicious, faults in (((), ()), (("equivocate_votes",), ()), ((), FAULTS["short"])):
        before = unheard.total()
        more = {"protocol": protocol, "committee_size": 10} | ({"faults": faults} if faults else {})
        story(True, 2, malicious, **more)
        assert unheard.total() - before > 60
    votes = set() if protocol == "hotstuff" else {"vote"}  # which go to the leader alone
    assert set(unheard) == ({"update"} if protocol == "paper" else {"update", "ticket", *votes})
