"""The plots of a circle with a third of the servers against `bft`: no chain forks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from consensus.adversary.groups import acts, assign
from consensus.simulation.results import Stalled
from tests.helpers.toy import Toy

PREMISE = {
    "crypto": "modelled",
    "committee_size": 20,
    "vote_us": 5_000_000,
    "ticket_us": 500_000,
    "update_us": 30_000_000,
    "settle_us": 500_000,
    "recovery_us": 10_000_000,
    "resend_us": 5_000_000,
}


def plots(name: str, servers: int, malicious: int, seed: int, heights: int) -> Counter[str]:
    """Play some heights against a circle that plots; its acts by kind."""
    nodes = [{"behaviour": [name], "servers": list(range(malicious))}]
    generator = np.random.default_rng(seed)
    circle = assign(nodes, servers, [1] * servers, (), generator)
    toy = Toy(servers, clients=3, seed=seed, malicious=circle, **PREMISE)
    for _ in range(heights):
        try:
            toy.play(400.0)
        except Stalled:
            break
    return acts(circle.values())


@pytest.mark.parametrize("seed", [0, 3, 5, 12, 18])
def test_whoever_has_decided_does_not_let_others_decide_another_block(seed: int) -> None:
    """The chains of these seeds fork if those who have decided keep silent, and pass nothing on in
    place of what has become needless."""
    assert plots("hide_quorum", 30, 10, seed, heights=12)["hide_quorum: plot"] > 0


@pytest.mark.parametrize("seed", [22, 25])
def test_whoever_has_left_a_view_does_not_let_others_forget_its_lock(seed: int) -> None:
    """The chains of these seeds fork if those who have gone on keep silent, and pass nothing on in
    place of what has become needless."""
    acted = plots("split_closures", 100, 33, seed, heights=8)
    assert acted["split_closures: split"] > 0, "the view was closed by two certificates"


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("name", "servers", "malicious", "heights"),
    [("hide_quorum", 30, 10, 12), ("split_closures", 100, 33, 8)],
)
def test_no_chain_of_forty_forks(name: str, servers: int, malicious: int, heights: int) -> None:
    acted: Counter[str] = Counter()
    for seed in range(40):
        acted += plots(name, servers, malicious, seed, heights)
    told = {what: times for what, times in sorted(acted.items()) if what.startswith(f"{name}: ")}
    print(f"{name}: 40 chains, {told}")
    assert acted[f"{name}: plot"] >= 4
