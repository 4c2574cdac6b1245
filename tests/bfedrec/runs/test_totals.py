"""What a run adds up over its rounds."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bfedrec.runs.delay import GreatestDelay
from bfedrec.runs.recovery import Recovery
from bfedrec.runs.totals import OPTIONAL, Totals
from consensus.faults.faults import Faults, fault_from_node
from consensus.simulation.results import Stalled


def played(
    times: tuple[float, ...] = (1.0,),
    behind: int = 0,
    weights: Any = (),
    attempt: int = 0,
    delay: float = 0.0,
    height: int = 1,
    duplicates: int = 0,
) -> Any:
    """A round whose block servers appended at these times."""
    result = SimpleNamespace(
        block=SimpleNamespace(certificate=SimpleNamespace(attempt=attempt, step=1)),
        malicious_weight=weights,
        captured=False,
        closed_by_all=1,
        caught_up=2,
        stakes=None,
        gossip_messages=7,
        gossip_bytes=Counter(vote=5),
        duplicates=Counter(messages=duplicates, bytes=33 * duplicates) if duplicates else Counter(),
        refused=Counter(),
        evidence=(),
        appended=dict(enumerate(times)),
        adversary=None,
        greatest_delay=delay,
        apart=None,
    )
    return SimpleNamespace(
        height=height,
        result=result,
        uplink_bytes=10,
        downlink_bytes={"broadcast": 1, "catch_up": 2},
        malicious={"scale": 1},
        malicious_aggregated=0,
        behind=behind,
        groups={},
        accused={},
    )


def test_totals_are_sums() -> None:
    found = Totals().after(played(attempt=2), None).after(played(), None)
    assert (found.blocks, found.attempts, found.rebuilt_committees) == (2, 4, 2)
    assert (found.closed_by_all, found.caught_up) == (2, 4)
    assert found.gossip_bytes_by_kind == {"vote": 10}
    assert found.figures("catch_up")["downlink_bytes"] == 4


def test_what_comes_twice_is_told_only_where_something_does() -> None:
    found = Totals().after(played(duplicates=3), None).after(played(duplicates=3), None)
    figures = found.figures("catch_up")
    assert (figures["gossip_duplicates"], figures["gossip_duplicate_bytes"]) == (6, 198)
    assert "gossip_duplicates" not in Totals().after(played(), None).figures("catch_up")


def test_the_figures_are_flat_and_in_the_order_of_the_files() -> None:
    """Readers of recorded runs go by these names; a resume must write the same bytes."""
    found = Totals().after(played((41.0, 42.0)), faults({"loss": 0.1, "until": 40}))
    assert list(found.figures("broadcast")) == [
        "blocks",
        "attempts",
        "rebuilt_committees",
        "steps",
        "captured_blocks",
        "committees",
        "blocked_committees",
        "captured_committees",
        "closed_by_all",
        "caught_up",
        "uplink_bytes",
        "downlink_bytes_broadcast",
        "downlink_bytes_catch_up",
        "gossip_messages",
        "evidence",
        "malicious_updates_aggregated",
        "blocks_while_faulty",
        "seconds_to_next_block",
        "seconds_until_level",
        "greatest_delay_seconds",
        "greatest_delay_height",
        "downlink_bytes",
        "gossip_bytes",
        "refused_messages",
        "malicious_updates",
    ]
    assert all(type(value) in (int, float) for value in found.figures("catch_up").values())


def test_totals_are_read_back_from_their_node() -> None:
    healed = faults({"loss": 0.1, "until": 40})
    for found in (
        Totals(),
        Totals().after(played(weights=((7, 20),)), None),
        Totals().after(played((39.0, 41.0)), healed),
        Totals().after(played((41.0, 42.0)), healed),
        Totals().after(played(delay=0.2, height=3), None),
        Totals().after(played(duplicates=3), None),
    ):
        node = json.loads(json.dumps(found.to_node(), sort_keys=True))
        assert Totals.from_node(node) == found
        assert list(Totals.from_node(node).figures("broadcast")) == list(found.figures("broadcast"))


def test_every_kind_of_optional_totals_is_read_back_beside_all_others() -> None:
    """A name that two kinds had would be that of the later one alone."""
    found = Totals(optional={kind: kind() for kind in OPTIONAL})
    assert Totals.from_node(json.loads(json.dumps(found.to_node(), sort_keys=True))) == found
    kinds, none = [kind() for kind in OPTIONAL], Totals()
    of_all, of_none = len(found.to_node()), len(none.to_node())
    assert of_all == of_none + sum(len(kind.to_node()) for kind in kinds)
    of_all, of_none = len(found.figures("catch_up")), len(none.figures("catch_up"))
    assert of_all == of_none + sum(len(kind.figures()) for kind in kinds)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("blocks", None, KeyError),
        ("blocks", 1.5, ValueError),
        ("uplink_bytes", "7", ValueError),
        ("refused", 3, ValueError),
        ("gossip_bytes_by_kind", {"vote": "many"}, ValueError),
        ("seconds_to_next_block", "soon", ValueError),
        ("greatest_delay_seconds", "long", ValueError),
        ("greatest_delay_height", None, KeyError),
    ],
)
def test_a_node_that_is_no_totals_is_refused(name: str, value: Any, error: type) -> None:
    node = Totals().after(played((41.0,)), faults({"loss": 0.1, "until": 40})).to_node()
    node[name] = value
    if value is None:
        del node[name]
    with pytest.raises(error, match=name if value != {"vote": "many"} else "vote"):
        Totals.from_node(node)


@pytest.mark.parametrize(
    ("bad", "blocked", "captured"), [(0, 0, 0), (6, 0, 0), (7, 1, 0), (13, 1, 0), (14, 1, 1)]
)
def test_committees_are_blocked_and_captured_by_more_than_a_third(
    bad: int, blocked: int, captured: int
) -> None:
    """Of twenty seats fourteen decide, so seven block."""
    found = Totals().after(played(weights=((bad, 20),)), None)
    assert (found.committees, found.blocked_committees) == (1, blocked)
    assert found.captured_committees == captured


def test_exactly_a_third_of_the_weight_blocks() -> None:
    found = Totals().after(played(weights=((10, 30), (9, 30))), None)
    assert (found.committees, found.blocked_committees) == (2, 1)


def test_the_committees_of_a_stall_count() -> None:
    found = Totals().after_stall(Stalled("", 3, 2, ((7, 20), (14, 20))), 0.0)
    assert found.blocked_committees == found.committees == 2
    assert (found.captured_committees, found.blocks) == (1, 0)


def test_the_greatest_delay_is_the_first_of_the_greatest() -> None:
    found = Totals()
    for height, delay in enumerate((0.2, 0.5, 0.3, 0.5), 1):
        found = found.after(played(delay=delay, height=height), None)
    assert found.part(GreatestDelay) == GreatestDelay(0.5, 2)
    stalled = Stalled("", 5, 2, ())
    assert found.after_stall(stalled, 0.4).part(GreatestDelay) == GreatestDelay(0.5, 2)
    assert found.after_stall(stalled, 0.6).part(GreatestDelay) == GreatestDelay(0.6, 5)
    older = {name: value for name, value in found.to_node().items() if "delay" not in name}
    assert Totals.from_node(older).part(GreatestDelay) is None


def faults(*nodes: dict[str, Any]) -> Faults:
    return Faults([fault_from_node(node) for node in nodes], 6, np.random.default_rng(0))


def test_recovery_is_timed_from_the_end_of_the_last_fault() -> None:
    both = faults({"loss": 0.1, "from": 10, "until": 20}, {"delay": 1, "from": 15, "until": 40})
    found = Totals()
    for times, behind in (
        ((8.0, 9.0), 0),  # before
        ((10.0, 11.0), 0),  # while faulty, from its first instant
        ((39.0, 41.0), 2),  # decided before the end, and two lack it
        ((42.0, 44.0), 1),  # the next block
        ((45.0, 46.5), 0),  # all level
        ((47.0, 48.0), 0),
    ):
        found = found.after(played(times, behind), both)
    recovery = found.part(Recovery)
    assert recovery is not None
    assert recovery.blocks_while_faulty == 2
    assert recovery.seconds_to_next_block == 2.0
    assert recovery.seconds_until_level == 6.5


def test_all_may_be_level_before_the_next_block() -> None:
    found = Totals().after(played((39.0, 41.0)), faults({"loss": 0.1, "until": 40}))
    recovery = found.part(Recovery)
    assert recovery is not None
    assert recovery.seconds_until_level == 1.0
    assert recovery.seconds_to_next_block is None


def test_recovery_is_nothing_without_an_end_of_faults() -> None:
    for none in (None, faults(), faults({"loss": 0.1, "from": 10})):
        assert Totals().after(played(), none).part(Recovery) is None


def test_groups_under_masks_are_counted_by_their_end_and_read_back() -> None:
    first, then = played(), played()
    first.groups = {"opened": 3, "too few shares": 1}
    then.groups, then.accused = {"opened": 4}, {17: "a share that is not the one committed to"}
    found = Totals().after(first, None).after(then, None)
    figures = found.figures("broadcast")
    assert (figures["groups_opened"], figures["groups_dropped"]) == (7, 1)
    assert figures["clients_accused"] == 1
    assert Totals.from_node(json.loads(json.dumps(found.to_node()))) == found
    assert "groups_opened" not in Totals().after(played(), None).figures("broadcast")
    with pytest.raises(ValueError, match="groups_dropped"):
        Totals.from_node(found.to_node() | {"groups_dropped": 3})
