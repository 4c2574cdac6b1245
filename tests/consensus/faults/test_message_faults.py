"""Faults of messages and links: each strikes when and what it says, and is counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.encoding.fields import MalformedRecord
from consensus.ledger.updates import SignedUpdate
from consensus.network.clock import Clock
from consensus.network.network import MIB, Network
from consensus.records.update import UpdateRecord
from consensus.server.message import Malformed, Message, with_flipped_bit
from tests.helpers.fault_scene import LATENCY, Note, Scene, faults_of, mesh, note, row, within


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
    UpdateRecord(
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
            UpdateRecord.decode(got.body.data)
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
