"""Faults of servers: crashes, churn, slowness, skewed clocks and lost content."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.fault_scene import faults_of


def test_crash_and_restart() -> None:
    faults = faults_of({"crash": [3, 1], "lost_tail": 2, "from": 5, "until": 9}, {"crash": 0})
    events = [tuple(event)[:5] for event in faults.lifecycle(100.0)]
    assert events == [
        (0.0, 0, "crash", 0, "crash"),
        (5.0, 1, "crash", 2, "crash"),
        (5.0, 3, "crash", 2, "crash"),
        (9.0, 1, "restart", 2, "crash"),
        (9.0, 3, "restart", 2, "crash"),
    ]
    assert [event.time for event in faults.lifecycle(9.0)] == [0.0, 5.0, 5.0]
    assert not faults.fired, "the world crashes servers, and counts"


def test_how_a_server_crashes() -> None:
    faults = faults_of(
        {"crash": [0], "from": 1, "until": 3, "promising": True},
        {"crash": [1], "from": 1, "until": 3, "torn": True},
        {"crash": [2], "from": 1, "until": 3, "promising": True},
        {"crash": [2], "from": 2, "until": 4, "torn": True},
    )
    crashes = [event for event in faults.lifecycle(100.0) if event.what == "crash"]
    assert [(event.promising, event.torn) for event in crashes] == [
        (True, False),
        (False, True),
        (False, True),
    ], "overlapping outages are one, which waits for nothing"


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
