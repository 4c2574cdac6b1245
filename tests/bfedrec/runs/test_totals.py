"""What a run adds up over its rounds."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bfedrec.runs import totals
from consensus.faults.faults import Faults, fault_from_node
from consensus.simulation.results import Stalled


def played(
    times: tuple[float, ...] = (1.0,), behind: int = 0, weights: Any = (), attempt: int = 0
) -> Any:
    """A round whose block servers appended at these times."""
    result = SimpleNamespace(
        block=SimpleNamespace(certificate=SimpleNamespace(attempt=attempt, step=1)),
        malicious_weight=weights,
        captured=False,
        closed_by_all=1,
        caught_up=2,
        gossip_messages=7,
        gossip_bytes=Counter(vote=5),
        refused=Counter(),
        evidence=(),
        appended=dict(enumerate(times)),
    )
    return SimpleNamespace(
        result=result,
        uplink_bytes=10,
        downlink_bytes={"broadcast": 1, "catch_up": 2},
        malicious={"scale": 1},
        malicious_aggregated=0,
        behind=behind,
    )


def test_totals_are_sums() -> None:
    found = totals.add(totals.NOTHING, played(attempt=2), None)
    assert set(found) == set(totals.NOTHING)
    found = totals.add(found, played(), None)
    assert (found["blocks"], found["attempts"], found["rebuilt_committees"]) == (2, 4, 2)
    assert (found["closed_by_all"], found["caught_up"]) == (2, 4)
    assert found["gossip_bytes_by_kind"] == {"vote": 10}
    assert totals.flat(found, "catch_up")["downlink_bytes"] == 4


@pytest.mark.parametrize(
    ("bad", "blocked", "captured"), [(0, 0, 0), (6, 0, 0), (7, 1, 0), (13, 1, 0), (14, 1, 1)]
)
def test_committees_are_blocked_and_captured_by_more_than_a_third(
    bad: int, blocked: int, captured: int
) -> None:
    """Of twenty seats fourteen decide, so seven block."""
    found = totals.add(totals.NOTHING, played(weights=((bad, 20),)), None)
    assert (found["committees"], found["blocked_committees"]) == (1, blocked)
    assert found["captured_committees"] == captured


def test_exactly_a_third_of_the_weight_blocks() -> None:
    found = totals.add(totals.NOTHING, played(weights=((10, 30), (9, 30))), None)
    assert (found["committees"], found["blocked_committees"]) == (2, 1)


def test_the_committees_of_a_stall_count() -> None:
    found = totals.add_stalled(totals.NOTHING, Stalled("", 3, 2, ((7, 20), (14, 20))))
    assert found["blocked_committees"] == found["committees"] == 2
    assert (found["captured_committees"], found["blocks"]) == (1, 0)


def faults(*nodes: dict[str, Any]) -> Faults:
    return Faults([fault_from_node(node) for node in nodes], 6, np.random.default_rng(0))


def test_recovery_is_timed_from_the_end_of_the_last_fault() -> None:
    both = faults({"loss": 0.1, "from": 10, "until": 20}, {"delay": 1, "from": 15, "until": 40})
    found: dict[str, Any] = dict(totals.NOTHING)
    for times, behind in (
        ((8.0, 9.0), 0),  # before
        ((10.0, 11.0), 0),  # while faulty, from its first instant
        ((39.0, 41.0), 2),  # decided before the end, and two lack it
        ((42.0, 44.0), 1),  # the next block
        ((45.0, 46.5), 0),  # all level
        ((47.0, 48.0), 0),
    ):
        found = totals.add(found, played(times, behind), both)
    assert found["blocks_while_faulty"] == 2
    assert found["seconds_to_next_block"] == 2.0
    assert found["seconds_until_level"] == 6.5


def test_all_may_be_level_before_the_next_block() -> None:
    found = totals.add(totals.NOTHING, played((39.0, 41.0)), faults({"loss": 0.1, "until": 40}))
    assert found["seconds_until_level"] == 1.0
    assert "seconds_to_next_block" not in found


def test_recovery_is_nothing_without_an_end_of_faults() -> None:
    for none in (None, faults(), faults({"loss": 0.1, "from": 10})):
        assert set(totals.add(totals.NOTHING, played(), none)) == set(totals.NOTHING)
