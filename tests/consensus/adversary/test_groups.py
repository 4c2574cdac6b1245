"""Malicious servers: composition, heights and placement, and adding a behaviour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfedrec.section import share_of
from consensus.adversary.behaviour import BEHAVIOURS, Behaviour, Circle, behaviour, strategies
from consensus.adversary.composed import Composed
from consensus.adversary.groups import PLACEMENTS, Group, acts, assign
from consensus.application import Contents
from consensus.server.hooks import Outgoing
from tests.helpers.toy import Toy

HONEST = Contents(np.arange(1000, dtype="<f4").tobytes(), b"snapshot")

WANTED = """abstain censor equivocate_candidates equivocate_votes false_locks forge_tickets gaussian
grind invert_votes late_block late_votes lie_status phantom_votes replay_tickets rush silent spam
stale tamper withhold"""


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_every_attack_is_known_by_its_name_and_told() -> None:
    assert set(WANTED.split()) <= set(BEHAVIOURS)
    for name, attack in BEHAVIOURS.items():
        assert attack.name == name
        assert attack.__doc__
    assert len({attack.__doc__ for attack in BEHAVIOURS.values()}) == len(BEHAVIOURS)


def test_the_base_is_honest() -> None:
    base = Behaviour()
    assert base.contents(HONEST, generator()) is HONEST
    assert [base.verdict(honest, generator) for honest in (True, False)] == [True, False]
    assert base.relays
    assert base.provides
    plain = Toy(servers=4, clients=2, crypto="modelled")
    base_too = Toy(servers=4, clients=2, crypto="modelled", malicious={2: base})
    expected, found = plain.play(), base_too.play()
    assert found.block.encoded == expected.block.encoded
    assert {2: expected.appended[2], **found.appended} == expected.appended
    assert (found.refused, base.acted) == ({}, {})


def test_gaussian_proposes_noise_of_the_right_size() -> None:
    proposed = Composed(["gaussian"]).contents(HONEST, generator())
    assert len(proposed.aggregate) == len(HONEST.aggregate)
    values = np.frombuffer(proposed.aggregate, "<f4")
    assert np.isfinite(values).all()
    assert abs(values.mean()) < 0.15
    assert 0.9 < values.std() < 1.1
    assert proposed == Composed(["gaussian"]).contents(HONEST, generator())
    assert proposed != Composed(["gaussian"]).contents(HONEST, generator(1))


def test_inverted_votes_approve_what_is_wrong_and_reject_what_is_right() -> None:
    inverted = Composed(["invert_votes"])
    assert [inverted.verdict(honest, generator) for honest in (True, False)] == [False, True]
    assert inverted.contents(HONEST, generator()) is HONEST


# -- several at once -------------------------------------------------------------------------------


def test_behaviours_compose_in_order_and_count_what_they_change() -> None:
    both = Composed(["gaussian", "invert_votes"])
    assert both.names == ("gaussian", "invert_votes")
    assert both.contents(HONEST, generator()).aggregate != HONEST.aggregate
    assert both.verdict(True, generator) is False
    assert both.acted == {"gaussian": 1, "invert_votes": 1}
    assert Composed(["invert_votes", "invert_votes"]).verdict(True, generator) is True
    honest = Composed([])
    assert honest.contents(HONEST, generator()) is HONEST
    assert honest.acted == {}
    assert acts([both, both, honest]) == {"gaussian": 2, "invert_votes": 2}


def test_one_that_does_not_relay_or_provide_makes_all_of_them_so() -> None:
    assert (Composed(["gaussian"]).relays, Composed(["gaussian"]).provides) == (True, True)
    assert (Composed(["gaussian", "censor"]).relays, Composed(["censor"]).provides) == (False, True)
    assert (Composed(["withhold", "rush"]).relays, Composed(["withhold"]).provides) == (True, False)


def test_an_unknown_behaviour_is_told_with_those_known() -> None:
    with pytest.raises(ValueError, match=r"unknown behaviour 'lazy' \(known: abstain, beg, "):
        Composed(["gaussian", "lazy"])


@pytest.fixture
def echo() -> Iterator[str]:
    """The name of a behaviour that is registered for as long as a test runs."""
    with BEHAVIOURS.restored():

        @behaviour("echo")
        class Echo(Behaviour):
            """Says everything twice, the second time a second later."""

            def outgoing(self, server: Any, message: Outgoing) -> Iterable[Outgoing]:
                yield message
                yield replace(message, delay=message.delay + 1.0)

        yield "echo"


def test_a_behaviour_is_added_by_registering_it(echo: str) -> None:
    composed = Composed([echo])
    toy = Toy(servers=4, clients=2, crypto="modelled", malicious={1: composed})
    assert not toy.play().captured
    assert composed.acted[echo] >= 2
    assert Group.from_node({"behaviour": echo, "share": 0.5}).names == (echo,)
    with pytest.raises(ValueError, match=r"'echo' is registered twice, by .*test_groups and by "):
        behaviour(echo)(BEHAVIOURS[echo])


def test_what_there_is_to_compare_follows_the_registry(echo: str) -> None:
    alone = [names for names in strategies() if "+" not in names]
    assert echo in alone
    pairs = {tuple(names.split("+")) for names in strategies() if "+" in names}
    assert pairs == {("equivocate_candidates", "equivocate_votes")}
    left_out = {name for name, cls in BEHAVIOURS.items() if not cls.compared}
    assert left_out == {"beg", "frame", "idle", "preempt", "starve"}
    compared = {*alone, *(name for pair in pairs for name in pair)}
    assert compared == BEHAVIOURS.keys() - left_out


# -- for some heights ------------------------------------------------------------------------------


def test_outside_its_heights_a_server_does_as_honest_ones_do() -> None:
    nodes = [{"behaviour": "silent", "servers": [0], "from": 3, "until": 4}]
    found = assign(nodes, 5, [1] * 5, [0] * 5, generator())
    composed = found[0]
    assert isinstance(composed, Composed)
    toy = Toy(servers=5, clients=3, crypto="modelled", malicious=found)
    active, relaying = [], []
    for _ in range(6):
        toy.play()
        active.append(composed.active)
        relaying.append(toy.world.network._relays[0])
        acted = composed.acted["silent"]
    assert active == [(), (), ("silent",), ("silent",), (), ()]
    assert relaying == [True, True, False, False, True, True]
    toy.play()
    assert composed.acted["silent"] == acted > 0
    assert all(ticket.server != 0 for ticket in toy.world.servers[1].chain.blocks[2].tickets)
    assert any(ticket.server == 0 for ticket in toy.world.servers[1].chain.blocks[5].tickets)


def test_groups_that_name_the_same_server_add_up() -> None:
    nodes = [
        {"behaviour": "gaussian", "servers": [1, 2], "until": 9},
        {"behaviour": ["stale", "rush"], "servers": [2], "from": 10},
    ]
    found = assign(nodes, 4, [1] * 4, [0] * 4, generator())
    assert {server: part.names for server, part in found.items()} == {  # type: ignore[attr-defined]
        1: ("gaussian",),
        2: ("gaussian", "stale", "rush"),
    }


# -- who they are ----------------------------------------------------------------------------------

REGIONS = [index % 3 for index in range(30)]
STAKES = [1 + (7 * index) % 30 for index in range(30)]


def deal(nodes: list[dict[str, Any]], seed: int = 0) -> dict[int, Behaviour]:
    return assign(nodes, 30, STAKES, REGIONS, generator(seed))


def test_a_share_of_the_servers_is_drawn() -> None:
    node = {"behaviour": ["gaussian", "invert_votes"], "share": "1/3"}
    found = deal([node])
    assert len(found) == 10
    assert list(found) == sorted(found)
    assert list(found) == list(deal([node]))
    assert list(found) != list(deal([node], seed=1))
    assert len({id(part) for part in found.values()}) == 10, "each has its own"
    counts = np.zeros(30)
    for seed in range(600):
        counts[list(deal([node], seed))] += 1
    assert counts.min() > 140
    assert counts.max() < 260


@pytest.mark.parametrize(
    ("share", "count"), [(0, 0), (0.1, 3), ("1/3", 10), (0.3333, 9), (0.29, 8), (0.05, 1), (1, 30)]
)
def test_a_share_is_rounded_down_as_that_of_clients(share: Any, count: int) -> None:
    assert len(deal([{"behaviour": "silent", "share": share}])) == count == share_of(share, 30)


def test_groups_are_dealt_to_different_servers() -> None:
    found = deal(
        [
            {"behaviour": "silent", "share": 0.3},
            {"behaviour": "gaussian", "servers": [4, 5]},
            {"behaviour": "rush", "share": 0.4, "placement": "most_stake"},
        ]
    )
    names = [part.names for part in found.values()]  # type: ignore[attr-defined]
    assert sorted(map(len, names)) == [1] * 23
    assert names.count(("silent",)) == 9
    assert names.count(("rush",)) == 12
    assert [found[4].names, found[5].names] == [("gaussian",)] * 2  # type: ignore[attr-defined]


def test_all_malicious_servers_know_each_other() -> None:
    found = deal([{"behaviour": "silent", "share": 0.1}, {"behaviour": "rush", "servers": [7]}])
    assert len(found) in (3, 4)
    for part in found.values():
        assert part.colluders == frozenset(found)
    assert len({id(part.circle) for part in found.values()}) == 1
    assert Composed(["silent"]).colluders == frozenset()
    circle = Circle(frozenset([1, 2]))
    assert Composed(["silent"], circle=circle).colluders == {1, 2}


def test_placement_by_stake_takes_the_largest_or_the_smallest() -> None:
    node = {"behaviour": "silent", "share": "1/3"}
    most = deal([node | {"placement": "most_stake"}])
    least = deal([node | {"placement": "least_stake"}])
    assert min(STAKES[server] for server in most) > max(
        STAKES[server] for server in range(30) if server not in most
    )
    assert {STAKES[server] for server in least} == set(range(1, 11))


def test_placement_by_region_fills_one_region_then_the_next() -> None:
    node = {"behaviour": "silent", "placement": "region"}
    chosen = set()
    for seed in range(20):
        found = deal([node | {"share": "1/3"}], seed)
        [region] = {REGIONS[server] for server in found}
        chosen.add(region)
        more = [REGIONS[server] for server in deal([node | {"share": 0.5}], seed)]
        assert sorted(map(more.count, set(more))) == [5, 10]
    assert chosen == {0, 1, 2}


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("silent", r"is a map such as \{behaviour: \[gaussian, invert_votes\], share: 1/3\}"),
        ({"share": 0.1}, r"malicious.behaviour: expected one or several of abstain, beg, censor"),
        ({"behaviour": [], "share": 0.1}, "expected one or several of"),
        ({"behaviour": 3, "share": 0.1}, "expected one or several of"),
        ({"behaviour": "slient", "share": 0.1}, r"no 'slient' \(did you mean silent\?\), known"),
        ({"behaviour": ["rush", 7], "share": 0.1}, "there is no 7, known are abstain"),
        ({"behaviour": "rush"}, "either a share of the servers, or servers by index"),
        ({"behaviour": "rush", "share": 0.1, "servers": [1]}, "either a share"),
        ({"behaviour": "rush", "share": 1.1}, "malicious.share: expected a share, from 0 to 1"),
        ({"behaviour": "rush", "share": "a third"}, "expected a share"),
        ({"behaviour": "rush", "share": float("nan")}, "expected a share"),
        ({"behaviour": "rush", "servers": 3}, "malicious.servers: expected a list of indices"),
        ({"behaviour": "rush", "servers": [1, 1]}, "stands twice"),
        ({"behaviour": "rush", "servers": [-1]}, "expected indices"),
        ({"behaviour": "rush", "servers": [30]}, "there is no server 30, only 0-29"),
        ({"behaviour": "rush", "servers": [1], "placement": "random"}, "placement is for a share"),
        ({"behaviour": "rush", "share": 1, "placement": "rich"}, "random, most_stake, least_stake"),
        ({"behaviour": "rush", "share": 1, "from": 0}, "malicious.from: expected a height, from 1"),
        ({"behaviour": "rush", "share": 1, "until": 2.5}, "malicious.until: expected a height"),
        ({"behaviour": "rush", "share": 1, "from": True}, "malicious.from: expected a height"),
        ({"behaviour": "rush", "share": 1, "from": 5, "until": 4}, "comes before"),
        ({"behaviour": "rush", "shares": 1}, r"no option 'shares' \(did you mean share\?\)"),
        ({"behaviour": "rush", "share": 1, 4: 4}, "no option 4, allowed are behaviour, share"),
    ],
)
def test_what_is_not_allowed_is_told(node: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        deal([node])


def test_no_more_servers_than_there_are() -> None:
    node = {"behaviour": "silent", "share": 0.6}
    with pytest.raises(ValueError, match="18 servers are asked for where 12 of 30 are left"):
        deal([node, node])


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 40) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
OPTIONS = st.sampled_from(["behaviour", "share", "servers", "placement", "from", "until", "x"])
NODES = st.dictionaries(OPTIONS, JUNK | st.sampled_from([*BEHAVIOURS, *PLACEMENTS, "1/3"])) | JUNK


@given(NODES)
def test_any_node_is_a_group_or_an_error(node: Any) -> None:
    try:
        group = Group.from_node(node)
    except ValueError:
        return
    assert set(group.names) <= set(BEHAVIOURS)
    assert 1 <= group.from_ <= group.until <= inf
    assert (group.share is None) or not group.servers
