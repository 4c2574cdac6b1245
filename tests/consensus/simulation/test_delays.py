"""The greatest delay of a height, measured a second time by whoever looks on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from consensus.adversary.composed import Composed
from consensus.protocols.registry import PROTOCOLS
from consensus.server.edge_server import EdgeServer
from consensus.server.message import Message
from consensus.simulation.host import WorldHost
from tests.helpers.fault_scene import mesh, row
from tests.helpers.toy import Toy
from tests.helpers.worlds import crash, struck

SERVERS = 6


class Ear:
    """All that honest servers say and hear in a world: the greatest time in between, by kind."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.longest: dict[str, float] = {}
        self.toy: Toy | None = None
        self._said: dict[int, tuple[float, Any]] = {}
        """By the identity of a body: when it was said last, and the body, which stays alive."""
        show, receive = WorldHost._show, EdgeServer.receive

        def hear_saying(host: WorldHost, kind: Any, body: Any, to: Any, leaves: float) -> None:
            self._said[id(body)] = host.reached, body
            show(host, kind, body, to, leaves)

        def hear(
            server: EdgeServer, kind: str, body: Any, sender: int, gossiped: bool = False
        ) -> bool:
            assert isinstance(server.host, WorldHost)
            begins, server.host.relay_from = server.host.reached, None
            news = receive(server, kind, body, sender, gossiped)
            honest = server.behaviour is None and sender not in self.toy.world.behaviours
            if honest and id(body) in self._said:
                delay = (server.host.relay_from or begins) - self._said[id(body)][0]
                self.longest[kind] = max(self.longest.get(kind, 0.0), delay)
            return news

        patch.setattr(WorldHost, "_show", hear_saying)
        patch.setattr(EdgeServer, "receive", hear)


def played(**more: Any) -> tuple[Toy, list[float]]:
    """A world after three heights, and the greatest delay of each."""
    toy = Toy(**{"servers": SERVERS, "clients": 3, "crypto": "modelled"} | more)
    return toy, [toy.play(60.0).greatest_delay for _ in range(3)]


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
@pytest.mark.parametrize("malicious", [(), ("invert_votes",)])
def test_the_delay_is_from_an_honest_saying_to_an_honest_hearing(
    protocol: str, malicious: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ear = Ear(monkeypatch)
    bad = {0: Composed(malicious)} if malicious else {}
    ends = row(SERVERS)  # the malicious one is at an end
    ear.toy = toy = Toy(SERVERS, 3, malicious=bad, topology=ends, compiled=False, protocol=protocol)
    found = max(toy.play(60.0).greatest_delay for _ in range(3))
    timely = [ear.longest[kind] for kind in toy.world.protocol.timely if kind in ear.longest]
    assert len(timely) >= 2
    assert found == pytest.approx(max(timely), abs=1e-12)
    assert 0.0 < found < 1.0


def test_a_longer_way_takes_longer() -> None:
    """From one end of a row of servers to the other; a server that is far away alone."""
    _, near = played(topology=mesh(SERVERS))
    _, far = played(topology=row(SERVERS))
    assert min(far) > 2 * max(near)


def test_what_never_arrives_and_who_is_down_have_no_delay() -> None:
    """What a fault stops is not counted, and copies that come later neither; a slow message is."""
    _, calm = played(topology=mesh(SERVERS))
    for faults in (
        {"duplicate": 1.0, "until": 1000.0},
        {"replay": 1.0, "after": 0.3, "until": 1000.0},
        {"bit_flip": 1e-9, "until": 1000.0},
        crash(5),
    ):
        _, found = played(topology=mesh(SERVERS), faults=struck(SERVERS, faults))
        assert max(found) < 1.5 * max(calm), faults
    slow = {"delay": 0.2, "servers": [5], "until": 1000.0}
    _, found = played(topology=mesh(SERVERS), faults=struck(SERVERS, slow))
    assert max(found) > 0.2


def test_copies_that_faults_make_have_no_delay() -> None:
    message = Message("vote", None, 10, said=0.2, timed=True)
    for name, timed in (
        ("duplicate", [True, False]),
        ("replay", [True, False]),
        ("bit_flip", [False]),
    ):
        copies = struck(3, {name: 1.0, "until": 1000.0}).copies(0, 1, 0, message, 0.5, 0.6)
        assert [copy.message.timed for copy in copies] == timed, name
    assert message.timed


def test_a_malicious_server_makes_no_delay() -> None:
    """Neither by what it says nor as one that hears late."""
    toy, found = played(topology=row(SERVERS), malicious={5: Composed(("silent",))})
    _, all_honest = played(topology=row(SERVERS))
    assert max(found) < max(all_honest)
    assert max(toy.world.network.delays) > max(
        delay for server, delay in enumerate(toy.world.network.delays) if server != 5
    )


def test_a_copy_that_is_passed_on_counts_from_the_first_saying() -> None:
    message = Message("vote", None, 5, said=2.5, timed=True, number=4)
    toy = Toy(SERVERS, 1)
    block = toy.play(60.0).block
    known = message.retold("block", block)
    assert known == Message(
        "block", block, known.size, gossiped=True, said=2.5, timed=True, number=4
    )
    assert message.untimed() == Message("vote", None, 5, said=2.5, number=4)
    late = message.untimed()
    assert late.untimed() is late


def test_each_protocol_says_what_its_argument_relies_on() -> None:
    toy = Toy(SERVERS, 1)
    parameters = toy.genesis.parameters
    found = {name: each.longest_delay(parameters) for name, each in PROTOCOLS.items()}
    without = {"paper": None, "tendermint": None, "hotstuff": None}
    assert found == {"bft": parameters.settle_us / 2e6, **without}
    for name, each in PROTOCOLS.items():
        assert bool(each.premise_of_time) == (found[name] is not None)
        assert not {"update", "ticket", "fetch", "model"} & set(each.timely)
