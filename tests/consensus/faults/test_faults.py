"""Faults: each strikes when and whom it says, does what it says, and is counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consensus.encoding.fields import (
    MalformedRecord,
    Record,
    fields_of,
    fixed_bytes,
    integer,
    names_of,
)
from consensus.faults.faults import FAULTS, Faults, fault_from_node
from consensus.faults.kinds import Fault, MessageFault
from consensus.ledger.updates import SignedUpdate
from consensus.network.clock import Clock
from consensus.network.network import MIB, Network
from consensus.network.topology import Topology
from consensus.records.update import ModelUpdate
from consensus.server.message import Malformed, Message, with_flipped_bit

LATENCY = 0.010
"""Seconds between any two servers of a `Scene`."""
STEP = 0.1
"""Seconds between the messages of a `Scene`."""


@dataclass(frozen=True)
class Note(Record):
    """A record with little in it."""

    KIND: ClassVar[str] = "note"

    number: int
    text: bytes

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "note", names_of(cls))
        return cls(integer(found["number"], "number"), fixed_bytes(found["text"], "text", 16))


def mesh(servers: int) -> Topology:
    """Everyone linked with everyone, equally far."""
    latency = np.full((servers, servers), LATENCY)
    np.fill_diagonal(latency, 0.0)
    others = [[o for o in range(servers) if o != server] for server in range(servers)]
    return Topology(np.zeros(servers, np.int64), latency, others)


def row(servers: int) -> Topology:
    """0 - 1 - 2 - ...: links between neighbours only."""
    ends = [[o for o in (s - 1, s + 1) if 0 <= o < servers] for s in range(servers)]
    return Topology(np.zeros(servers, np.int64), mesh(servers).latency, ends)


def faults_of(*nodes: dict[str, Any], servers: int = 4, seed: int = 0) -> Faults:
    return Faults([fault_from_node(node) for node in nodes], servers, np.random.default_rng(seed))


class Scene:
    """Servers that speak every tenth of a second while faults strike; who heard what, and when.

    A message's body is (when it was sent, number): the numbers count up.
    """

    def __init__(
        self,
        *nodes: dict[str, Any],
        servers: int = 4,
        seed: int = 0,
        until: float = 10.0,
        topology: Topology | None = None,
        size: int = 0,
        body: Callable[[float, int], Any] = lambda now, number: (now, number),
        gossip: bool = False,
    ) -> None:
        self.env = Clock()
        self.faults = faults_of(*nodes, servers=servers, seed=seed)
        self.heard: list[tuple[float, int, int, Any]] = []
        """(when, by whom, from whom, body)"""
        self.network = Network(
            self.env, topology or mesh(servers), 1.0, 0.0, self._receive, self.faults
        )
        self.network.begin(np.random.default_rng(seed))
        self.sent: dict[tuple[int, int, Any], float] = {}
        """(by whom, from whom, body): when it was sent"""
        number = 0
        for tick in range(round(until / STEP)):
            for origin in range(servers):
                number += 1
                timeout = self.env.timeout(tick * STEP)
                message = Message("note", body(tick * STEP, number), size)

                def speak(_: Any, origin: int = origin, message: Message = message) -> None:
                    now = self.env.now
                    others = [server for server in range(servers) if server != origin]
                    for other in others:
                        self.sent[other, origin, message.body] = now
                    if gossip:
                        self.network.gossip(origin, message, now)
                    else:
                        self.network.send_many(origin, others, message, now)

                timeout.callbacks.append(speak)
        self.env.run()

    def _receive(self, server: int, message: Message, origin: int) -> float | None:
        first = not any(entry[1:] == (server, origin, message.body) for entry in self.heard[-300:])
        self.heard.append((self.env.now, server, origin, message.body))
        return self.env.now if first else None

    @property
    def times(self) -> dict[tuple[int, int, Any], list[float]]:
        """When each message was heard: (by whom, from whom, body) to times."""
        found: dict[tuple[int, int, Any], list[float]] = {}
        for at, server, origin, body in self.heard:
            found.setdefault((server, origin, body), []).append(at)
        return found

    def unheard(self) -> set[tuple[int, int, Any]]:
        return self.sent.keys() - self.times.keys()


def within(sent: float, since: float, until: float) -> bool:
    return since <= sent < until


# -- faults of single messages --------------------------------------------------------------------


def test_loss() -> None:
    scene = Scene({"loss": 0.3, "from": 2, "until": 8})
    lost = scene.unheard()
    assert scene.faults.fired == {"loss": len(lost)}
    assert all(within(scene.sent[key], 2, 8) for key in lost)
    struck = sum(within(sent, 2, 8) for sent in scene.sent.values())
    assert struck == 60 * 12
    assert 0.24 < len(lost) / struck < 0.36


def test_loss_of_everything() -> None:
    scene = Scene({"loss": 1.0, "from": 2, "until": 8})
    assert scene.unheard() == {k for k, sent in scene.sent.items() if within(sent, 2, 8)}


def test_a_fault_of_some_servers_leaves_the_others_alone() -> None:
    scene = Scene({"loss": 1.0, "servers": [1]})
    assert scene.unheard() == {key for key in scene.sent if 1 in key[:2]}


def test_delay() -> None:
    scene = Scene({"delay": 0.5, "from": 2, "until": 8})
    extra = {k: times[0] - scene.sent[k] - LATENCY for k, times in scene.times.items()}
    struck = [extra[key] for key, sent in scene.sent.items() if within(sent, 2, 8)]
    assert scene.faults.fired == {"delay": len(struck)}
    assert np.mean(struck) == pytest.approx(0.5, rel=0.15)
    assert np.std(struck) == pytest.approx(0.5, rel=0.2), "exponential"
    assert min(struck) >= 0.0
    rest = [extra[key] for key, sent in scene.sent.items() if not within(sent, 2, 8)]
    assert rest == pytest.approx([0.0] * len(rest))
    assert not scene.unheard()


def test_reorder() -> None:
    scene = Scene({"reorder": 0.25, "seconds": 0.8, "from": 2, "until": 8})
    extra = {k: times[0] - scene.sent[k] - LATENCY for k, times in scene.times.items()}
    late = {key: seconds for key, seconds in extra.items() if seconds > 1e-9}
    assert scene.faults.fired == {"reorder": len(late)}
    assert all(within(scene.sent[key], 2, 8) for key in late)
    assert 0.19 < len(late) / 720 < 0.31
    assert 0.5 < max(late.values()) <= 0.8
    heard = [body for _, server, origin, body in scene.heard if (server, origin) == (0, 1)]
    assert heard != sorted(heard), "some were overtaken"
    assert not scene.unheard()


def test_duplicate() -> None:
    scene = Scene({"duplicate": 0.25, "from": 2, "until": 8})
    twice = {key: times for key, times in scene.times.items() if len(times) > 1}
    assert scene.faults.fired == {"duplicate": len(twice)}
    assert all(within(scene.sent[key], 2, 8) for key in twice)
    assert all(len(times) == 2 for times in twice.values())
    assert 0.19 < len(twice) / 720 < 0.31
    gaps = [second - first for first, second in twice.values()]
    assert 0.0 < max(gaps) <= LATENCY + 1e-9, "within another flight time"
    assert not scene.unheard()


def test_replay() -> None:
    scene = Scene({"replay": 0.25, "after": 2, "from": 2, "until": 8})
    twice = {key: times for key, times in scene.times.items() if len(times) > 1}
    assert scene.faults.fired == {"replay": len(twice)}
    assert len(twice) > 50
    for key, (first, second) in twice.items():
        assert within(scene.sent[key], 2, 8)
        assert first == pytest.approx(scene.sent[key] + LATENCY)
        assert 1.0 <= second - first <= 3.0
        assert second < 8.0, "what comes when the fault is over is no replay"


def test_a_replay_that_a_new_height_voids_has_not_fired() -> None:
    heard: list[str] = []
    env = Clock()
    faults = faults_of({"replay": 1.0, "after": 10}, servers=2)
    network = Network(env, mesh(2), 1.0, 0.0, lambda s, m, o: heard.append(m.body), faults)
    network.begin(np.random.default_rng(0))
    network.send(0, 1, Message("note", "old", 0), 0.0)
    env.run(until=1.0)
    network.begin(np.random.default_rng(0))
    network.send(0, 1, Message("note", "new", 0), 1.0)
    env.run()
    assert heard == ["old", "new", "new"]
    assert faults.fired == {"replay": 1}


def note(now: float, number: int) -> Note:
    return Note(number, b"sixteen bytes of")


def differing_bits(one: bytes, other: bytes) -> int:
    assert len(one) == len(other)
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))


def test_bit_flip() -> None:
    scene = Scene({"bit_flip": 0.3, "from": 2, "until": 8}, body=note, size=10)
    sent = {body.encoded for _, _, body in scene.sent}
    altered = [
        body.data if isinstance(body, Malformed) else body.encoded
        for _, _, _, body in scene.heard
        if isinstance(body, Malformed) or body.encoded not in sent
    ]
    collisions = scene.faults.fired["bit_flip"] - len(altered)  # another note that was sent
    assert 0 <= collisions < 30
    assert 0.24 < scene.faults.fired["bit_flip"] / 720 < 0.36
    for data in altered:
        assert 1 in {differing_bits(data, other) for other in sent if len(other) == len(data)}
    assert any(isinstance(body, Malformed) for *_, body in scene.heard)
    assert any(
        isinstance(body, Note) and body.text != b"sixteen bytes of" for *_, body in scene.heard
    ), "still a note, with another text"
    assert len(scene.heard) == len(scene.sent)


def test_an_altered_message_is_passed_on_as_it_came() -> None:
    """0 - 1 - 2: what server 1 got wrong it passes on wrong, if it takes it."""
    scene = Scene(
        {"bit_flip": 1.0, "servers": [0]}, servers=3, topology=row(3), gossip=True, body=note,
        until=2.0,
    )  # fmt: skip
    first = [body for _, server, origin, body in scene.heard if (server, origin) == (1, 0)]
    second = [body for _, server, origin, body in scene.heard if (server, origin) == (2, 0)]
    assert first == second
    assert not set(first) & {body for _, origin, body in scene.sent if origin == 0}


update = SignedUpdate(
    ModelUpdate(
        bytes(32), 1, b"\x01\x71\x12\x20" + bytes(32), bytes(32), 5,
        b"\x01\x55\x12\x20" + bytes(32), bytes(64),
    ),
    b"the payload of an update",
)  # fmt: skip


@given(st.floats(0.0, 1.0, exclude_max=True))
def test_one_bit_of_an_update_is_flipped_in_its_record_or_its_payload(where: float) -> None:
    got = with_flipped_bit(Message("update", update, update.wire_bytes), where)
    assert (got.kind, got.size) == ("update", update.wire_bytes)
    record, payload = update.record.encoded, update.payload
    if isinstance(got.body, Malformed):
        assert differing_bits(got.body.data, record) == 1
        with pytest.raises(MalformedRecord):
            ModelUpdate.decode(got.body.data)
    else:
        flipped = differing_bits(got.body.record.encoded, record)
        assert flipped + differing_bits(got.body.payload, payload) == 1
        assert (flipped == 0) == (where * got.size >= len(record))
        assert got.body != update
        assert got.body.payload_cid != update.payload_cid or flipped


def test_every_bit_can_be_hit() -> None:
    data = Note(7, bytes(16)).encoded
    places = set()
    for bit in range(8 * len(data)):
        body = with_flipped_bit(Message("note", Note(7, bytes(16)), 1), bit / (8 * len(data))).body
        got = body.data if isinstance(body, Malformed) else body.encoded
        places.add(int.from_bytes(got, "big") ^ int.from_bytes(data, "big"))
    assert places == {1 << bit for bit in range(8 * len(data))}


@pytest.mark.parametrize("body", [None, "text", 5, ()])
def test_a_body_without_bytes_arrives_malformed(body: Any) -> None:
    got = with_flipped_bit(Message("note", body, 3), 0.5)
    assert got == Message("note", Malformed(b"", got.body.reason), 3)


# -- bandwidth ------------------------------------------------------------------------------------


def test_bandwidth() -> None:
    """A 0.01 MiB message at 1 MiB/s: 10 ms to send, 40 ms where a quarter is left, at either end
    (server 1 speaks to 0 and 2 at once; 0 to 1 and 2, at 10 s)."""
    size = MIB // 100
    arrivals: list[tuple[float, int]] = []
    env = Clock()
    faults = faults_of({"bandwidth": 0.25, "servers": 1, "from": 1, "until": 20}, servers=3)
    network = Network(env, mesh(3), 1.0, 0.0, lambda s, m, o: arrivals.append((env.now, s)), faults)
    network.begin(np.random.default_rng(0))
    network.send_many(1, [0, 2], Message("note", 0, size), 0.0)
    env.run(until=1.0)
    assert arrivals == [(pytest.approx(0.020, rel=1e-3), 0), (pytest.approx(0.030, rel=1e-3), 2)]
    assert not faults.fired
    arrivals.clear()
    network.send_many(1, [0, 2], Message("note", 0, size), 1.0)
    env.run(until=9.0)
    assert arrivals == [(pytest.approx(1.050, rel=1e-3), 0), (pytest.approx(1.090, rel=1e-3), 2)]
    arrivals.clear()
    for origin in (0, 2):  # both at once, to 1 and to each other
        network.send_many(origin, [1, 2 - origin], Message("note", 0, size), 9.0)
    env.run()
    at_one = sorted(at for at, server in arrivals if server == 1)
    assert at_one[1] - at_one[0] == pytest.approx(0.040, rel=1e-3), "they queue, four times as long"
    assert sorted(at for at, server in arrivals if server != 1) == pytest.approx([9.030] * 2)
    assert faults.fired["bandwidth"] == 3


# -- servers that are kept from each other --------------------------------------------------------


@pytest.mark.parametrize("gossip", [False, True])
def test_partition(gossip: bool) -> None:
    scene = Scene({"partition": [[0, 1], [2, 3]], "from": 2, "until": 8}, gossip=gossip)
    apart = {
        key
        for key, sent in scene.sent.items()
        if within(sent, 2, 8) and (key[0] < 2) != (key[1] < 2)
    }
    assert scene.unheard() == apart
    assert scene.faults.fired == {"partition": len(apart)}


@pytest.mark.parametrize("gossip", [False, True])
def test_one_way_partition(gossip: bool) -> None:
    scene = Scene({"partition": [[0, 1]], "one_way": True, "from": 2}, gossip=gossip)
    unheard = {key for key, sent in scene.sent.items() if sent >= 2 and key[0] >= 2 and key[1] < 2}
    assert scene.unheard() == unheard
    assert scene.faults.fired == {"partition": len(unheard)}


def test_servers_in_no_group_are_one_more() -> None:
    scene = Scene({"partition": [[0], [1]]}, servers=5)
    groups = [0, 1, 2, 2, 2]
    assert scene.unheard() == {k for k in scene.sent if groups[k[0]] != groups[k[1]]}


def test_a_share_is_split_off() -> None:
    sizes = Counter()
    for seed in range(50):
        scene = faults_of({"partition": 0.4}, servers=10, seed=seed)
        [partition] = scene.faults
        [off] = partition.groups  # type: ignore[attr-defined]
        assert len(off) == 4
        sizes.update(off)
    assert len(sizes) == 10, "any server may be"


def test_what_is_on_its_way_when_a_partition_begins_is_lost() -> None:
    """Sent at 1.995, it would arrive at 2.005."""
    env = Clock()
    heard: list[float] = []
    faults = faults_of({"partition": [[0], [1]], "from": 2, "until": 3}, servers=2)
    network = Network(env, mesh(2), 1.0, 0.0, lambda s, m, o: heard.append(env.now), faults)
    network.begin(np.random.default_rng(0))
    for at in (1.985, 1.995, 2.5, 2.995, 3.0):
        network.send(0, 1, Message("note", at, 0), at)
        network.gossip(0, Message("note", at, 0), at)
    env.run()
    assert heard == pytest.approx([1.995] * 2 + [3.010] * 2)
    assert faults.fired == {"partition": 6}


def test_a_group_goes_on_among_itself() -> None:
    """0 - 1 - 2 - 3: with 1 split off, a link from 0 to 2 is opened, and closed afterwards."""
    scene = Scene(
        {"partition": [[1]], "from": 2, "until": 8}, topology=row(4), gossip=True, until=12.0
    )
    assert scene.unheard() == {
        key for key, sent in scene.sent.items() if within(sent, 2, 8) and 1 in key[:2]
    }
    times = scene.times
    for key, sent in scene.sent.items():
        if {key[0], key[1]} == {0, 2} and key in times:
            hops = 1 if within(sent, 2, 8) else 2
            assert times[key][0] == pytest.approx(sent + hops * LATENCY)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_gossip_in_a_partition_reaches_just_the_group(data: st.DataObject) -> None:
    """Any topology, any groups and silent servers; one way: the first group is not heard."""
    servers = data.draw(st.integers(2, 12))
    group = data.draw(st.lists(st.integers(0, 2), min_size=servers, max_size=servers))
    one_way = data.draw(st.booleans())
    silent = set() if one_way else data.draw(st.sets(st.integers(0, servers - 1)))
    origin = data.draw(st.integers(0, servers - 1))
    groups = [[s for s in range(servers) if group[s] == g] for g in range(3) if g in group]
    topology = Topology.generate(
        np.random.default_rng(data.draw(st.integers(0, 99))), servers, 2, 1, 5.0, 50.0
    )
    heard: Counter[int] = Counter()
    env = Clock()
    faults = faults_of({"partition": groups, "one_way": one_way}, servers=servers)

    def receive(server: int, message: Message, origin: int) -> float | None:
        heard[server] += 1
        return None if server in silent else env.now

    network = Network(env, topology, 1.0, 0.1, receive, faults)
    network.begin(np.random.default_rng(0))
    for server in silent:
        network.set_relaying(server, False)
    # A silent server finds one that relays in its group, or speaks to all itself if there is none
    # anywhere; in a group of silent ones only, nobody passes anything on.
    mute = {s for s in range(servers) if group[s] == group[origin]} <= silent
    network.gossip(origin, Message("note", 0, 10), 0.0)
    env.run()
    cut = {s for s in range(servers) if group[s] != group[origin]}
    if one_way and origin not in groups[0]:
        cut = set()
    expected = {s: 1 for s in range(servers) if s not in cut and s != origin}
    if mute and len(silent) < servers:
        assert heard.keys() <= expected.keys()
    else:
        assert heard == expected
    assert faults.fired["partition"] == len(cut)


@pytest.mark.parametrize("gossip", [False, True])
@pytest.mark.parametrize("topology", [mesh(6), row(6)], ids=["mesh", "row"])
@pytest.mark.parametrize("sees", [{0, 1}, {3, 5}])
def test_eclipse(gossip: bool, topology: Topology, sees: set[int]) -> None:
    """Server 4 hears two others only, whoever is between, and only they hear it; the others go
    on as if it were not there (in a row 5 is then linked past it)."""
    scene = Scene(
        {"eclipse": 4, "sees": list(sees), "from": 2, "until": 8},
        servers=6,
        gossip=gossip,
        topology=topology,
    )
    hidden = {
        key
        for key, sent in scene.sent.items()
        if within(sent, 2, 8) and 4 in key[:2] and not sees & set(key[:2])
    }
    assert scene.unheard() == hidden
    fired = scene.faults.fired["eclipse"]
    if gossip:  # what was stopped once is passed on to nobody, and so not stopped again
        assert len(hidden) / 2 <= fired <= len(hidden)
    else:
        assert fired == len(hidden)


def test_who_sees_nobody_is_alone() -> None:
    scene = Scene({"eclipse": [1, 2]}, gossip=True)
    assert scene.unheard() == {key for key in scene.sent if {1, 2} & set(key[:2])}


# -- faults of servers ----------------------------------------------------------------------------


def test_crash_and_restart() -> None:
    faults = faults_of({"crash": [3, 1], "lost_tail": 2, "from": 5, "until": 9}, {"crash": 0})
    events = [tuple(event) for event in faults.lifecycle(100.0)]
    assert events == [
        (0.0, 0, "crash", 0, "crash"),
        (5.0, 1, "crash", 2, "crash"),
        (5.0, 3, "crash", 2, "crash"),
        (9.0, 1, "restart", 2, "crash"),
        (9.0, 3, "restart", 2, "crash"),
    ]
    assert [event.time for event in faults.lifecycle(9.0)] == [0.0, 5.0, 5.0]
    assert not faults.fired, "the world crashes servers, and counts"


def test_churn() -> None:
    node = {"churn": 0.05, "down": 2.0, "lost_tail": 1, "from": 10, "until": 1010}
    faults = faults_of(node, servers=10)
    events = faults.lifecycle(5000.0)
    assert events == faults.lifecycle(5000.0), "the same however often it is asked for"
    assert events == sorted(events)
    crashes = [event for event in events if event.what == "crash"]
    assert {event.lost_tail for event in crashes} == {1}
    assert {event.fault for event in crashes} == {"churn"}
    # Up for 20 s and down for 2 s on average: 1000 / 22 crashes a server.
    assert len(crashes) == pytest.approx(10 * 1000 / 22, rel=0.15)
    assert {event.server for event in crashes} == set(range(10))
    assert min(event.time for event in events) >= 10.0
    assert max(event.time for event in events) <= 1010.0, "everyone is back when it ends"
    down = 0.0
    for server in range(10):
        mine = [event for event in events if event.server == server]
        assert [event.what for event in mine] == ["crash", "restart"] * (len(mine) // 2)
        down += sum(b.time - a.time for a, b in zip(mine[::2], mine[1::2], strict=True))
    assert down / len(crashes) == pytest.approx(2.0, rel=0.15)
    assert [e for e in events if e.time < 50] == faults.lifecycle(50.0), "a beginning of the same"


outages = st.builds(
    lambda server, begins, lasts, lost: {
        "crash": server, "from": begins, "until": begins + lasts, "lost_tail": lost
    },
    st.integers(0, 2), st.integers(0, 20), st.integers(1, 8), st.integers(0, 3),
)  # fmt: skip


@given(st.lists(outages, max_size=8))
def test_a_server_that_is_down_does_not_crash(nodes: list[dict[str, Any]]) -> None:
    """Outages that overlap are one: down exactly when any of them says so."""
    faults = faults_of(*nodes, servers=3)
    state = dict.fromkeys(range(3), "restart")
    events = faults.lifecycle(100.0)
    assert events == sorted(events)
    for event in events:
        assert state[event.server] != event.what
        state[event.server] = event.what
    assert set(state.values()) == {"restart"}
    for server in range(3):
        mine = [event for event in events if event.server == server]
        for moment in range(30):
            down = sum(1 if e.what == "crash" else -1 for e in mine if e.time <= moment)
            told = [
                node
                for node in nodes
                if node["crash"] == server and node["from"] <= moment < node["until"]
            ]
            assert bool(down) == bool(told)
        lost = [node["lost_tail"] for node in nodes if node["crash"] == server]
        assert max((e.lost_tail for e in mine), default=0) == max(lost, default=0)


def test_slow() -> None:
    faults = faults_of(
        {"slow": 10, "servers": [1], "from": 2, "until": 8}, {"slow": 3, "from": 5, "until": 6}
    )
    assert [faults.slowness(1, now) for now in (1.9, 2.0, 5.5, 7.9, 8.0)] == [1, 10, 30, 10, 1]
    assert [faults.slowness(0, now) for now in (1.9, 5.5, 7.9)] == [1, 3, 1]
    assert faults.fired == {"slow": 5}


def test_skew() -> None:
    faults = faults_of(
        {"skew": -2.5, "servers": [1], "from": 2, "until": 8}, {"skew": 0.5, "from": 5}
    )
    asked = [faults.skew_us(1, now) for now in (1.9, 2.0, 5.5, 8.0)]
    assert asked == [0, -2_500_000, -2_000_000, 500_000]
    assert faults.skew_us(0, 2.0) == 0
    assert faults.fired == {"skew": 4}


def test_missing_content() -> None:
    faults = faults_of({"missing_content": 0.3, "servers": [0, 1], "from": 2, "until": 8})
    links = [b"link %d" % number for number in range(1000)]
    lost = {server: {link for link in links if faults.content_lost(server, link, 5)}
            for server in range(3)}  # fmt: skip
    assert faults.fired == {"missing_content": len(lost[0]) + len(lost[1])}
    assert 250 < len(lost[0]) < 350
    assert 250 < len(lost[1]) < 350
    assert not lost[2]
    assert len(lost[0] & lost[1]) < 140, "what one has lost another may have"
    assert lost[0] == {link for link in links if faults.content_lost(0, link, 7)}, "for good"
    assert not any(faults.content_lost(0, link, now) for link in links for now in (1, 8))


def test_who_has_lost_everything() -> None:
    faults = faults_of({"missing_content": 1.0, "servers": 2})
    assert all(faults.content_lost(2, b"link %d" % number, 0) for number in range(100))


# -- all of them ----------------------------------------------------------------------------------

EVERY = [
    {"loss": 0.1},
    {"delay": 0.05},
    {"reorder": 0.2, "seconds": 0.3},
    {"duplicate": 0.2},
    {"replay": 0.2, "after": 1.0},
    {"bit_flip": 0.1},
    {"bandwidth": 0.5, "servers": 0.5},
    {"partition": 0.4},
    {"eclipse": 3, "sees": 0.3},
    {"crash": [2], "lost_tail": 2},
    {"churn": 0.5, "down": 1.0, "until": 9},
    {"slow": 10, "servers": 0.3},
    {"skew": -2.5, "servers": 1},
    {"missing_content": 0.5},
]
"""One of each."""


def test_every_fault_is_listed() -> None:
    assert [next(iter(node)) for node in EVERY] == list(FAULTS)


@pytest.mark.parametrize("gossip", [False, True])
def test_all_faults_at_once_and_the_same_seed_the_same_trace(gossip: bool) -> None:
    nodes = [{**node, "from": 1, "until": 4} for node in EVERY]

    def play(seed: int) -> tuple[list[Any], Counter[str]]:
        scene = Scene(*nodes, servers=6, seed=seed, body=note, gossip=gossip, until=6.0, size=99)
        return scene.heard, scene.faults.fired

    heard, fired = play(1)
    assert {"loss", "delay", "reorder", "duplicate", "replay", "bit_flip"} <= fired.keys()
    assert {"bandwidth", "partition", "eclipse"} <= fired.keys()
    assert (heard, fired) == play(1)
    assert (heard, fired) != play(2)


def test_each_fault_keeps_to_its_own_time() -> None:
    """Also while another one is active."""
    scene = Scene(
        {"loss": 0.5, "from": 2, "until": 4},
        {"duplicate": 0.5, "from": 3, "until": 6},
        {"bandwidth": 0.5, "from": 0, "until": 8},
    )
    lost = {scene.sent[key] for key in scene.unheard()}
    twice = {scene.sent[key] for key, times in scene.times.items() if len(times) > 1}
    assert 2.0 <= min(lost) < 2.2 < 3.8 < max(lost) < 4.0
    assert 3.0 <= min(twice) < 3.2 < 5.8 < max(twice) < 6.0


def test_what_strikes_is_drawn_from_the_stream_of_the_height() -> None:
    """So that a run that is resumed at a height is struck as it would have been."""

    def play(seed: int) -> list[float]:
        env = Clock()
        heard: list[float] = []
        faults = faults_of({"loss": 0.5}, {"delay": 0.1}, servers=2, seed=seed)
        network = Network(env, mesh(2), 1.0, 0.1, lambda s, m, o: heard.append(env.now), faults)
        network.begin(np.random.default_rng(0))
        for number in range(seed + 1):
            network.send(0, 1, Message("note", number, 0), 0.0)
        env.run()
        heard.clear()
        network.begin(np.random.default_rng(1))
        for number in range(50):
            network.send(0, 1, Message("note", number, 0), 9.0)
        env.run()
        return heard

    assert play(1) == play(2)
    assert 15 < len(play(1)) < 35


@pytest.mark.parametrize("node", EVERY, ids=[next(iter(node)) for node in EVERY])
def test_a_fault_strikes_in_its_time_only(node: dict[str, Any]) -> None:
    """Nothing that is sent before or after it, or asked then, differs from a world without."""
    calm = Scene(servers=6, until=6.0, size=99)
    scene = Scene({**node, "from": 2, "until": 4}, servers=6, until=6.0, size=99)
    assert scene.faults.healed_at == 4.0
    calm_times, times = calm.times, scene.times
    for key, sent in scene.sent.items():
        if not within(sent, 1.9, 4.5):  # queues may still be longer for a while
            assert times[key] == calm_times[key]
    for now in (1.9, 4.0):
        assert scene.faults.slowness(1, now) == 1.0
        assert scene.faults.skew_us(1, now) == 0
        assert not scene.faults.content_lost(1, b"link", now)
    assert all(2.0 <= event.time <= 4.0 for event in scene.faults.lifecycle(99.0))


def test_when_everything_is_healed() -> None:
    assert faults_of().healed_at == 0.0
    assert faults_of({"loss": 0.1, "until": 5}, {"slow": 2, "until": 70}).healed_at == 70.0
    assert faults_of({"loss": 0.1}, {"slow": 2, "until": 70}).healed_at == float("inf")


@pytest.mark.parametrize("share", [0.01, 0.34, "1/3", 0.5, 1.0])
def test_a_share_of_the_servers_is_drawn(share: Any) -> None:
    drawn = Counter()
    for seed in range(60):
        [fault] = faults_of({"crash": share}, servers=10, seed=seed).faults
        assert isinstance(fault.servers, tuple)  # type: ignore[attr-defined]
        drawn.update(fault.servers)  # type: ignore[attr-defined]
    expected = {0.01: 1, 0.34: 3, "1/3": 3, 0.5: 5, 1.0: 10}[share]
    assert drawn.total() == 60 * expected, "one at least"
    assert len(drawn) == 10


def test_faults_that_were_placed_can_be_played_again() -> None:
    """Their servers are named, so fewer of them may be played with the same servers (to find out
    which of them it takes)."""
    placed = faults_of(*EVERY, servers=9, seed=5)
    again = Faults(placed.faults[3:], 9, np.random.default_rng(77))
    assert again.faults == placed.faults[3:]


# -- config ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({}, "exactly one of loss, delay"),
        ({"los": 0.1}, "did you mean loss"),
        ({"loss": 0.1, "delay": 1.0}, "exactly one of loss.*got loss, delay"),
        ({"loss": 0.1, "form": 3}, "loss: there is no option 'form', allowed are from, until"),
        ({"loss": 0.1, "rate": 0.1}, "no option 'rate'"),
        ({"loss": 2}, "loss: expected a share, above 0 and at most 1, got 2"),
        ({"loss": True}, "loss: expected a share"),
        ({"loss": "1/0"}, "loss: expected a share"),
        ({"loss": "nan"}, "loss: expected a share"),
        ({"loss": 10**400}, "loss: expected a share"),
        ({"loss": 0.1, "from": -1}, "loss: from: expected a time"),
        ({"loss": 0.1, "from": 3, "until": 2}, r"loss: until \(2 s\) must be later than from"),
        ({"loss": 0.1, "from": "inf"}, "must be later"),
        ({"delay": 0}, "delay: expected seconds, above 0"),
        ({"slow": 0.5}, "slow: expected a factor, at least 1"),
        ({"bandwidth": 0}, "bandwidth: expected a share"),
        ({"crash": -1}, "crash: expected indices"),
        ({"crash": [0, 0]}, "crash: a server stands twice"),
        ({"crash": []}, "crash: expected servers, got none"),
        ({"crash": [0.5]}, "crash: expected indices"),
        ({"crash": None}, "crash: expected a server, a list of servers, or a share"),
        ({"crash": 1, "lost_tail": 1.5}, "crash: lost_tail: expected a number of blocks"),
        ({"churn": 0.1}, "churn: say until when"),
        ({"partition": 1.0}, "the share that is split off, between 0 and 1"),
        ({"partition": [[0, 1], [1]]}, "partition: a server stands twice"),
        ({"partition": [[0], []]}, "none of them empty"),
        ({"partition": [0, 1]}, "partition: expected lists of servers"),
        ({"partition": 0.5, "one_way": 1}, "one_way: expected true or false"),
        ({"skew": float("inf")}, "skew: expected seconds"),
        (["loss", 0.1], "a fault is a map"),
        (None, "a fault is a map"),
    ],
)
def test_a_wrong_fault_is_refused_and_told_what_is_allowed(node: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fault_from_node(node)


@pytest.mark.parametrize(
    "node", [{"crash": 4}, {"partition": [[0, 4]]}, {"eclipse": 0, "sees": [9]}, {"loss": 0.1,
    "servers": [1, 4]}],
)  # fmt: skip
def test_a_server_that_does_not_exist_is_refused(node: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"there is no server \d, they go from 0 to 3"):
        faults_of(node, servers=4)


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)
options = st.sampled_from(
    ["from", "until", "servers", "sees", "seconds", "after", "down", "lost_tail", "one_way", "x"]
)


@settings(max_examples=300)
@example("churn", 1.0, {"until": 5, "servers": []})
@given(st.sampled_from(list(FAULTS)), junk, st.dictionaries(options, junk, max_size=2))
def test_a_node_is_a_fault_or_refused(name: str, value: Any, more: dict[str, Any]) -> None:
    """Nothing else is ever raised, and what is built can be played."""
    try:
        fault = fault_from_node({name: value, **more})
    except ValueError:
        return
    assert fault_from_node({name: value, **more}) == fault
    assert isinstance(fault, FAULTS[name])
    assert fault.from_ < fault.until
    placed = Faults([fault], 12, np.random.default_rng(0))
    placed.lifecycle(1.0)
    placed.copies(0, 1, 0, Message("note", None, 1), 0.5, 0.6)


def test_a_config_reads_as_documented() -> None:
    text = '[{"partition": [[0, 1], [2, 3]], "from": 40, "until": 70}, {"partition": 0.4}]'
    both, share = (fault_from_node(node) for node in json.loads(text))
    assert (both.groups, both.from_, both.until) == (((0, 1), (2, 3)), 40.0, 70.0)
    assert (share.groups, share.one_way) == (0.4, False)


# -- a fault of one's own -------------------------------------------------------------------------


def test_a_new_kind_of_fault_is_a_few_lines() -> None:
    """Every second message to a server is lost, say."""

    @dataclass(frozen=True, kw_only=True)
    class Stutter(MessageFault):
        NAME = "stutter"
        MAIN = "servers"

        def befall(self, copies: list[Any], leave: float, draw: Callable[[], float]) -> list[Any]:
            return [] if round(leave / STEP) % 2 else copies

    faults: Sequence[Fault] = [Stutter(servers=(0,))]
    scene = Scene()
    env = Clock()
    heard: list[int] = []
    network = Network(
        env, mesh(2), 1.0, 0.0, lambda s, m, o: heard.append(m.body),
        Faults(faults, 2, np.random.default_rng(0)),
    )  # fmt: skip
    network.begin(np.random.default_rng(0))
    for tick in range(6):
        network.send(0, 1, Message("note", tick, 0), tick * STEP)
    env.run()
    assert heard == [0, 2, 4]
    assert replace(faults[0], from_=1.0).active(1.0)
    assert not scene.faults.fired
