"""The network that notes every delivery: the same as the readable one, and nothing is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.adversary.composed import Composed
from consensus.network import traced
from consensus.network.network import Network
from consensus.network.topology import Topology
from consensus.network.traced import LOST, Delivery, TracedNetwork
from consensus.protocols.registry import PROTOCOLS
from consensus.server.message import Facts, Malformed, Message, facts_of
from tests.consensus.network.test_compiled import (
    FAULTS,
    changes,
    crowd,
    graph,
    sendings,
    topologies,
)
from tests.helpers.fault_scene import mesh, row
from tests.helpers.toy import Toy
from tests.helpers.transport import Change, Sending, Servers
from tests.helpers.worlds import crash, cut, struck


class Noted:
    """A book that keeps everything."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.batches: list[int] = []

    def add(self, deliveries: Sequence[Delivery]) -> None:
        self.deliveries += deliveries
        self.batches.append(len(deliveries))


class TracedServers(Servers):
    """Servers on a network whose deliveries are noted."""

    def make_network(self, compiled: bool, *parts: Any) -> Network:
        self.book = Noted()
        return TracedNetwork(*parts, book=self.book, is_up=lambda s: s not in self.down)

    down: frozenset[int] = frozenset()

    def play(self, plan: Any) -> Servers:
        super().play(plan)
        assert isinstance(self.network, TracedNetwork)
        self.network.close_epoch()
        return self


def played(
    topology: Topology, plan: Sequence[Sending | Change], **more: Any
) -> tuple[TracedServers, dict[str, Any]]:
    """A plan comes to the same on both networks: the traced one's servers, and what it came to."""
    plain, found = Servers(topology, False, **more), TracedServers(topology, False, **more)
    expected = plain.play(plan).came_to()
    came_to = found.play(plan).came_to()
    for what, value in expected.items():
        assert came_to[what] == value, what
    return found, came_to


def check(found: TracedServers, came_to: dict[str, Any]) -> None:
    """The deliveries add up to what the network has counted, and each of them is possible."""
    sizes, numbers = Counter[str](), 0
    for each in found.book.deliveries:
        sizes[each.kind] += each.bytes
        numbers = max(numbers, each.message + 1)
        assert each.lost is None or each.lost in LOST
        assert (each.received is None) == (each.lost is not None)
        assert (each.receiver is None) == (each.lost == "nobody")
        assert (each.sent is None) == (each.lost in ("nobody", "unreachable"))
        assert each.sent is not None or each.bytes == 0
        if each.sent is not None:
            assert each.sent >= each.said
        if each.received is not None and each.sent is not None:
            assert each.received >= each.sent
        assert each.gossiped or each.sender == each.origin
    assert +sizes == came_to["bytes"]
    assert not found.network._on_their_way  # type: ignore[attr-defined]


@settings(max_examples=60, deadline=None)
@given(
    topologies,
    st.lists(sendings(), min_size=1, max_size=25),
    st.lists(changes, max_size=3),
    st.lists(st.sampled_from(sorted(FAULTS)), max_size=3, unique=True),
    st.sampled_from([0.0, 0.4]),
)
def test_a_traced_network_does_what_the_readable_one_does(
    topology: Topology,
    sent: list[Sending],
    changed: list[Change],
    faults: list[str],
    jitter: float,
) -> None:
    struck_by = [FAULTS[name] for name in faults]
    check(*played(topology, [*sent, *changed], jitter=jitter, faults=struck_by))


@pytest.mark.parametrize("faults", [[], *([each] for each in FAULTS), list(FAULTS)])
def test_every_delivery_has_its_end_in_a_crowd(
    faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traced, "AT_ONCE", 50)
    plan = crowd(1, 120, 16, pace=0.02)
    plan += [Change(0.055, 4), Change(0.095, 4, True), Change(0.101, -1)]
    struck_by = [FAULTS[name] for name in faults]
    found, came_to = played(graph(2, 16), plan, jitter=0.1, faults=struck_by, seed=3)
    check(found, came_to)
    deliveries = found.book.deliveries
    assert max(found.book.batches) <= 50
    assert len(found.book.batches) > 5
    lost = Counter(each.lost for each in deliveries)
    assert lost[None] > 500
    assert lost["over"] > 0  # an epoch begins amid them
    names = {name for each in deliveries for name in each.faults.split(", ") if name}
    arrived = {name for name, times in came_to["fired"].items() if times}
    assert names <= arrived
    if faults == ["loss"]:
        assert lost["fault"] == came_to["fired"]["loss"]
    if faults == ["duplicate"]:
        assert sum(each.copy == 1 for each in deliveries) == came_to["fired"]["duplicate"]
        assert all(each.bytes == 0 for each in deliveries if each.copy)
    if faults == ["cut"]:
        fired = came_to["fired"]["partition"]
        assert 0 < lost["fault"] < fired <= lost["fault"] + lost["unreachable"]


def test_a_message_that_goes_to_nobody_has_a_row() -> None:
    servers = TracedServers(mesh(3), False)
    servers.network.send_many(1, (1,), Message("vote", None, 7, said=2.0), 2.0)
    servers.network.gossip(1, Message("lock", None, 9), 0.0)
    servers.play(())
    first, *others = servers.book.deliveries
    assert (first.message, first.receiver, first.lost, first.bytes) == (0, None, "nobody", 0)
    assert (first.said, first.size, first.sent) == (2.0, 7, None)
    assert [(each.message, each.receiver) for each in others] == [(1, 0), (1, 2)]


def test_a_server_that_is_down_gets_nothing() -> None:
    servers = TracedServers(row(3), False)
    servers.down = frozenset({2})
    servers.network.send_many(0, (1, 2), Message("vote", None, 10), 0.0)
    servers.play(())
    assert [(each.receiver, each.lost, each.bytes) for each in servers.book.deliveries] == [
        (1, None, 10),
        (2, "down", 20),  # over two links
    ]


# -- whole worlds ---------------------------------------------------------------------------------

WORLDS: dict[str, dict[str, Any]] = {
    "honest": {},
    "malicious": {"malicious": {0: Composed(("spam",))}},
    "crash and loss": {"faults": [crash(6, until=1.5), {"loss": 0.1, "until": 5.0}]},
    "copies and flips": {
        "faults": [{"duplicate": 0.2, "until": 5.0}, {"bit_flip": 0.05, "until": 5.0}]
    },
    "a cut": {"faults": [cut(2, until=2.0)]},
}


@pytest.mark.parametrize(
    ("world", "protocol"),
    [
        (world, protocol)
        for world in WORLDS
        for protocol in sorted(PROTOCOLS)
        if (world, protocol) != ("malicious", "paper")  # which one malicious server blocks
    ],
)
def test_a_traced_world_decides_the_same_and_its_rows_add_up(world: str, protocol: str) -> None:
    more = {"servers": 7, "clients": 3, "crypto": "modelled", "protocol": protocol} | WORLDS[world]
    faults = more.pop("faults", None)

    def toy(book: Noted | None) -> Toy:
        each = struck(7, *faults) if faults else None
        return Toy(**more, faults=each, book=book)

    book, plain = Noted(), toy(None)
    noted = toy(book)
    network = noted.world.network
    assert isinstance(network, TracedNetwork)
    for _ in range(3):
        expected, found = plain.play(60.0), noted.play(60.0)
        assert found == expected
        network.close_epoch()
        rows, book.deliveries = book.deliveries, []
        sizes = Counter[str]()
        for each in rows:
            sizes[each.kind] += each.bytes
        assert +sizes == +found.gossip_bytes
        assert len({each.message for each in rows}) == found.gossip_messages
        sayings = {(each.message, each.origin, each.said) for each in rows}
        assert len(sayings) == found.gossip_messages
        assert max(each.message for each in rows) == found.gossip_messages - 1
        delays = [
            each.taken_in - each.said
            for each in rows
            if each.taken_in is not None and each.receiver not in noted.world.behaviours
        ]
        assert max(delays) == found.greatest_delay


# -- facts ----------------------------------------------------------------------------------------


def test_the_facts_of_a_body_are_those_of_its_record() -> None:
    book = Noted()
    toy = Toy(7, 3, crypto="modelled", book=book)
    block = toy.play().block
    assert isinstance(toy.world.network, TracedNetwork)
    toy.world.network.close_epoch()
    assert facts_of(block)[:2] == (1, block.certificate.attempt)
    by_kind = {each.kind: each for each in book.deliveries}
    assert by_kind["candidate"].attempt == by_kind["vote"].attempt == 0
    assert by_kind["candidate"].record_height == by_kind["update"].record_height == 1
    assert by_kind["update"].attempt is None
    assert all(len(each.digest) == 64 for each in book.deliveries)


def test_any_body_has_facts() -> None:
    """Malicious servers send what they like."""
    for body in (None, "vote", 7, object(), Malformed(b"", ""), Malformed(b"x", "y")):
        found = facts_of(body)
        assert found.height is None
        assert found.attempt is None
    assert facts_of("vote") == Facts(None, None, "")
    assert facts_of(Malformed(b"x", "")).digest != facts_of(Malformed(b"y", "")).digest
