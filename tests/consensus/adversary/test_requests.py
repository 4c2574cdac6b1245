"""Servers that ask and ask: what honest ones send because of it, and how long heights then take.

The *amplification* of a height is the number of bytes that honest servers send to malicious ones
alone, over the bytes of requests that those send; every link on the way counts, in both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest

from consensus.adversary.behaviour import Behaviour
from consensus.adversary.behaviours import requests
from consensus.adversary.behaviours.requests import Beg
from consensus.adversary.toolbox import others
from consensus.encoding.unixfs import file_cid
from consensus.records.sync import Delivery, Status, Want
from consensus.server.answers import ALLOWANCE, FIRST_HELPERS, Answers
from consensus.server.edge_server import EdgeServer
from consensus.simulation.results import HeightResult
from tests.helpers.toy import PAYLOAD_BYTES, Toy

SERVERS, CLIENTS, BLOCKS = 16, 40, 34


@cache
def grown() -> Toy:
    """Servers with more blocks than are sent at a time."""
    toy = Toy(SERVERS, CLIENTS, crypto="modelled")
    for _ in range(BLOCKS):
        toy.play()
    return toy


@dataclass
class Traffic:
    """A height, and what was sent in it to single servers."""

    toy: Toy
    result: HeightResult
    asked: int = 0
    """Bytes of malicious servers' requests, on all links."""
    answered: int = 0
    """Bytes of honest servers' messages to one of them alone, on all links."""
    most: dict[tuple[int, int], int] = field(default_factory=dict)
    """Bytes of those, on one link, by (honest server, malicious one)."""

    @property
    def amplification(self) -> float:
        return self.answered / self.asked

    @property
    def seconds(self) -> float:
        return self.result.ended - self.result.began


def play(malicious: dict[int, Behaviour], **parameters: Any) -> Traffic:
    """The next height of the servers that have grown."""
    toy = Toy(SERVERS, CLIENTS, 0, malicious, crypto="modelled", continues=grown().world)
    network, send = toy.world.network, toy.world.network.send_many
    sent: list[tuple[int, tuple[int, ...], Any, int]] = []

    def noted(origin: int, recipients: Any, message: Any, at: float) -> None:
        hops = network.overlay.tree(origin).hops
        links = sum(hops[to] for to in recipients)
        sent.append((origin, tuple(recipients), message, links))
        send(origin, recipients, message, at)

    network.send_many = noted  # type: ignore[method-assign]
    traffic = Traffic(toy, toy.play())
    for origin, to, message, links in sent:
        if origin in malicious:
            if message.kind in ("status", "want"):
                traffic.asked += message.size * links
        elif len(to) == 1 and to[0] in malicious:
            traffic.answered += message.size * links
            key = (origin, to[0])
            traffic.most[key] = traffic.most.get(key, 0) + message.size
    return traffic


class Asks(Behaviour):
    """Sends the same requests, in turn, to all servers, again and again in 0.3 seconds."""

    name = "asks"
    relays = False

    def __init__(self, make: Callable[[EdgeServer], Sequence[Any]], count: int = 600) -> None:
        super().__init__()
        self._make = make
        self._count = count
        """Fewer, if they are long: clients' updates leave after the requests of their server."""

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        if kind == "ticket" and self.once():  # the others hold updates by then
            bodies = self._make(server)
            for number in range(self._count):
                request = bodies[number % len(bodies)]
                kind = "want" if isinstance(request, Want) else "status"
                self.send(
                    server, kind, request, others(server), delay=0.2 + 0.3 * number / self._count
                )
        return True


EXPENSIVE: dict[str, Callable[[EdgeServer], Sequence[Any]]] = {
    "all of this height": lambda server: [Status(server.chain.height, 0, 0)],
    "the chain from its beginning": lambda server: [Status(0, 0, 0)],
    "the last block": lambda server: [Status(server.chain.height - 1, 0, 0)],
    "further than anybody": lambda server: [Status(server.chain.height + 9, 0, 0)],
    "other heights every time": lambda server: [
        Status(height, 0, 0) for height in range(server.chain.height + 3)
    ],
    "every update, over and over": lambda server: [
        Want(server.height, tuple(update.record.digest for update in updates_of(server)) * 2)
    ],
    "each update by itself": lambda server: [
        Want(server.height, (update.record.digest,)) for update in updates_of(server)
    ],
}


def asks(name: str) -> Asks:
    return Asks(EXPENSIVE[name], 60 if name == "every update, over and over" else 600)


def updates_of(server: EdgeServer) -> list[Any]:
    """The updates that all clients of the toy send in the height in progress."""
    toy, before = grown(), float(server.chain.height)
    return [toy.update(client, before) for client in range(CLIENTS)]


@cache
def undisturbed() -> float:
    """Seconds that the height takes if nobody asks."""
    return play({3: Asks(lambda server: (), 0)}).seconds


@pytest.mark.parametrize("name", EXPENSIVE)
def test_no_request_costs_more_than_three_times_what_it_takes(name: str) -> None:
    traffic = play({3: asks(name)})
    assert traffic.asked > 500_000
    assert 0 < traffic.amplification <= 3
    assert traffic.seconds <= 1.05 * undisturbed()
    assert traffic.result.refused["asked too much"] > 500


def test_asking_at_unequal_heights_in_collusion_gains_nothing() -> None:
    names = list(EXPENSIVE)
    traffic = play({index: asks(names[index % len(names)]) for index in (0, 3, 6, 9, 12)})
    assert 0 < traffic.amplification <= 3
    assert traffic.seconds <= 1.05 * undisturbed()


@pytest.mark.parametrize("askers", [(3,), (0, 3, 6, 9, 12)])
@pytest.mark.parametrize(("interval", "count"), [(0.005, 120), (0.001, 500)])
def test_who_begs_is_refused(
    askers: Sequence[int], interval: float, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "INTERVAL", interval)
    monkeypatch.setattr(requests, "REQUESTS", count)
    traffic = play({index: Beg() for index in askers})
    assert 0 < traffic.amplification <= 3
    assert traffic.seconds <= 1.05 * undisturbed()
    assert traffic.result.refused["asked too much"] > 0
    assert traffic.result.refused["content asked too much"] > 0


def test_one_request_to_each_gets_the_allowance_from_each_and_no_more() -> None:
    """What is given for nothing: a request may be honest."""
    traffic = play({3: Asks(EXPENSIVE["all of this height"], 1)})
    assert len(traffic.most) == SERVERS - 1
    assert ALLOWANCE / 2 < max(traffic.most.values()) <= ALLOWANCE


def test_without_the_limit_a_request_costs_a_hundred_times_as_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The attack works: what withstands it shows something."""
    monkeypatch.setattr(Answers, "spend", lambda *_: True)
    traffic = play({3: Asks(EXPENSIVE["all of this height"], 20)})
    assert traffic.amplification > 100


def test_models_are_given_to_few_and_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks everybody for the last models, again and again, gets each from the first three
    providers, once in a resend time; and no height takes longer for it."""
    monkeypatch.setattr(requests, "INTERVAL", 0.001)
    traffic = play({3: Beg()})
    world = traffic.toy.world
    size = len(Delivery(file_cid(b"x"), bytes(PAYLOAD_BYTES)).encoded)
    network = world.network
    furthest = max(network.overlay.tree(3).hops)
    times = 1 + int(traffic.seconds / (world.genesis.parameters.resend_us / 1e6))
    got, asked = (traffic.result.gossip_bytes[kind] for kind in ("model", "fetch"))
    given = size * furthest * requests.BLOCKS * FIRST_HELPERS * (times + 1)
    assert 0 < got <= given + asked, "others say at most that they have nothing"
    assert traffic.result.refused["content asked too much"] > 100
    assert traffic.seconds <= 1.05 * undisturbed()
