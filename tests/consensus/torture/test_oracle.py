"""Torture's oracle: it forms the committees that the ledger forms, and knows who was corrupted."""

from __future__ import annotations

from hashlib import sha512
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.ledger.committee import Draw
from consensus.ledger.protocol import Sortition
from consensus.ledger.validity import Head
from consensus.protocols.registry import protocol_named
from consensus.records.genesis import Genesis
from consensus.torture.arena.rig import genesis_of
from consensus.torture.arena.scenario import Scenario
from consensus.torture.campaign import Plan
from consensus.torture.oracle import ending, verify
from consensus.torture.oracle.reference import Ledger
from consensus.torture.oracle.verify import DISTINCT, FORESEEN, Betas, Seats
from consensus.torture.oracle.violation import Violation
from consensus.torture.run import is_excused, run

BEACON = bytes(range(32))


def seats_of(genesis: Genesis, betas: Betas, attempt: int) -> tuple[Seats, Sortition]:
    """The seats of an attempt as the oracle forms them, and as the ledger does."""
    stakes = [member.stake for member in genesis.servers]
    seats = verify.seats(genesis, BEACON, betas, attempt, stakes)
    draws = tuple(Draw(server, beta) for server, beta in sorted(betas.items()))
    head = Head(1, bytes(36), 1, BEACON, draws)
    ledger = protocol_named("bft").sortition(genesis, head, attempt)
    return seats.stepped(genesis.parameters.max_step), ledger


@settings(max_examples=150)
@given(st.data())
def test_seats_and_turns_are_those_of_the_ledger(data: st.DataObject) -> None:
    """Of equal and unequal stakes, of whatever draws were recorded, in early and late attempts."""
    count = data.draw(st.integers(4, 9))
    stakes = data.draw(st.just(()) | st.lists(st.integers(1, 9), min_size=count, max_size=count))
    scenario = Scenario(
        seed=data.draw(st.integers(0, 1000)),
        servers=count,
        stakes=tuple(stakes),
        committee=data.draw(st.sampled_from(["fixed", "weighted"])),
        size=data.draw(st.integers(3, count)),
        max_step=data.draw(st.integers(1, 4)),
    )
    recorded = data.draw(st.sets(st.integers(0, count - 1)))
    betas = {server: sha512(bytes([scenario.seed % 251, server])).digest() for server in recorded}
    attempt = data.draw(st.integers(0, FORESEEN + 3) | st.integers(DISTINCT - 2, 2 * DISTINCT))
    ours, theirs = seats_of(genesis_of(scenario), betas, attempt)
    assert ours.weights == theirs.committee.weights
    assert ours.total == theirs.committee.total
    assert ours.order == theirs.order


@pytest.mark.parametrize("kind", ["fixed", "weighted"])
def test_who_has_no_recorded_draw_gets_seats_in_late_attempts_alone(kind: str) -> None:
    scenario = Scenario(seed=3, servers=9, committee=kind, size=5)
    betas = {server: sha512(bytes([server])).digest() for server in range(6)}
    seated = {
        late: {
            server
            for attempt in (range(FORESEEN, 40) if late else range(FORESEEN))
            for server in seats_of(genesis_of(scenario), betas, attempt)[0].weights
        }
        for late in (False, True)
    }
    assert seated[False] <= set(range(6))
    assert seated[True] == set(range(9))


@pytest.mark.parametrize(
    ("takers", "bad", "censored"),
    [
        ({1: 5.0}, set(), True),
        ({1: 5.0}, {1}, False),
        ({1: 5.0, 2: 6.0}, {1}, True),
        ({1: 5.0, 2: 99.0}, {1}, False),
        ({1: 5.0}, {0}, False),
    ],
)
def test_an_update_may_be_left_out_that_corrupted_servers_alone_took(
    takers: dict[int, float], bad: set[int], censored: bool
) -> None:
    """Server 0 proposes without it at second 100."""
    header = SimpleNamespace(aggregator=0, cid=b"block", parent=b"parent", height=2)
    decided = SimpleNamespace(block=SimpleNamespace(header=header), updates=())
    monitor: Any = SimpleNamespace(
        bad=bad, proposed={b"block": 100.0}, ledger=SimpleNamespace(decided=[decided])
    )
    update = SimpleNamespace(record=SimpleNamespace(parent=b"parent"))
    clients = SimpleNamespace(accepted={b"update": takers}, by_digest={b"update": update})
    world: Any = SimpleNamespace(clients=clients)
    scenario = Scenario(seed=1, servers=4)
    if censored:
        with pytest.raises(Violation, match="updates are not censored"):
            ending._check_censorship(scenario, world, monitor, 0.0)
    else:
        ending._check_censorship(scenario, world, monitor, 0.0)


# -- what a committee outside of the premise excuses -----------------------------------------------


def ledger_with(half: bool = False) -> Ledger:
    """Servers 0 to 3 are malicious: of the committees of five or six that formed, one of none of
    them sits at height 1, one of a third at height 2, one of half at 3, and a captured one at 4."""
    ledger = Ledger(genesis_of(Scenario(seed=1, servers=9)), {0, 1, 2, 3}, "cert", half)
    members = [(4, 5, 6, 7, 8), (0, 1, 4, 5, 6, 7), (0, 1, 2, 4, 5, 6), (0, 1, 2, 3, 4)]
    for height, seated in enumerate(members, 1):
        ledger._seats[height, 0] = Seats(dict.fromkeys(seated, 1), len(seated), seated)
    return ledger


@pytest.mark.parametrize(
    ("invariant", "excused"),
    [
        ("one block per height", [2, 3, 4]),
        ("committed prefix", [2, 3, 4]),
        ("exact aggregate", [4]),
        ("updates", [4]),
        ("content can be fetched", [4]),
        ("tickets", []),
        ("one signature per slot", []),
    ],
)
def test_a_block_is_excused_by_committees_of_its_own_height(
    invariant: str, excused: list[int]
) -> None:
    ledger = ledger_with()
    assert ledger.outside
    heights = range(1, 5)
    assert [h for h in heights if is_excused(invariant, h, ledger, slow=False)] == excused
    slow = [h for h in heights if is_excused(invariant, h, ledger, slow=True)]
    assert slow == (list(heights) if 2 in excused else excused)


def test_half_of_a_committee_excuses_no_fork_where_half_may_be_malicious() -> None:
    heights = range(1, 5)
    ledger = ledger_with(half=True)
    assert [h for h in heights if is_excused("one block per height", h, ledger, False)] == [4]


@pytest.mark.parametrize(
    ("invariant", "excused"),
    [
        ("a block within the bound", True),
        ("heights within one", True),
        ("committed prefix", False),
        ("evidence", False),
        ("hash links", False),
    ],
)
def test_any_committee_excuses_what_is_of_no_one_block(invariant: str, excused: bool) -> None:
    assert is_excused(invariant, None, ledger_with(), slow=False) is excused
    assert not is_excused(invariant, None, Ledger(ledger_with().genesis, set(), "cert"), slow=False)


def test_a_wrong_model_is_seen_though_a_third_of_a_committee_was_malicious() -> None:
    """Half a committee cannot decide it alone: honest members voted for what they had not
    recomputed."""
    plan = Plan(rule="contents", adaptive=True)
    with plan.applied():
        outcome = run(plan.scenario(214))
    assert outcome.outside
    assert outcome.invariant == "exact aggregate"
