"""The mesh of one server: its degrees, and whom it drops, takes back and refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.network.peers import (
    BACKOFF,
    PATIENCE,
    RETRY,
    Degrees,
    Peers,
    check_meshes,
    first_meshes,
)


def draws() -> np.random.Generator:
    return np.random.default_rng(0)


def peers_of(*mesh: int, servers: int = 30, degrees: Degrees | None = None) -> Peers:
    peers = Peers(0, servers, degrees or Degrees())
    peers.mesh = dict.fromkeys(mesh, 0)
    return peers


def beat(peers: Peers) -> tuple[list[int], list[int]]:
    peers.beats += 1
    return peers.beat(draws)


def test_the_usual_degrees_are_gossipsubs() -> None:
    usual = Degrees()
    assert (usual.low, usual.degree, usual.high, usual.lazy) == (4, 6, 12, 6)


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 99))
def test_first_meshes_are_mutual_and_within_the_degrees(
    servers: int, degree: int, seed: int
) -> None:
    all_peers = [Peers(server, servers, Degrees(degree)) for server in range(servers)]
    first_meshes(all_peers, np.random.default_rng(seed))
    for peers in all_peers:
        assert min(degree, servers - 1) <= len(peers.mesh) <= 2 * degree
        assert peers.server not in peers.mesh
        assert all(peers.server in all_peers[peer].mesh for peer in peers.mesh)


@pytest.mark.parametrize("size", range(15))
def test_a_heartbeat_grafts_below_and_prunes_above(size: int) -> None:
    peers = peers_of(*range(1, size + 1))
    grafted, pruned = beat(peers)
    assert len(grafted) == (6 - size if size < 4 else 0)
    assert len(pruned) == (size - 6 if size > 12 else 0)
    assert len(peers.mesh) == size + len(grafted) - len(pruned)
    assert not set(grafted) & set(range(size + 1))
    assert set(pruned) <= set(range(1, size + 1))


def test_a_silent_peer_is_dropped_and_tried_again_later() -> None:
    peers = peers_of(1, 2, 3, 4, 5, servers=6)
    for _ in range(PATIENCE):
        beat(peers)
        for peer in (1, 2, 3, 4):
            peers.heard(peer)
    assert 5 in peers.mesh
    assert beat(peers) == ([], [])
    assert (list(peers.mesh), list(peers.silent)) == ([1, 2, 3, 4], [5])
    peers.prune(4)
    for _ in range(RETRY - 1):
        assert beat(peers) == ([], []), "4 was pruned, 5 is taken for dead"
        for peer in (1, 2, 3):
            peers.heard(peer)
    assert beat(peers) == ([5], [])


def test_a_sign_of_life_brings_a_peer_back() -> None:
    peers = peers_of(servers=3)
    peers.silent = {1: 99, 2: 99}
    peers.heard(2)
    assert (peers.outside(), beat(peers)) == ([2], ([2], []))


def test_nobody_grafts_who_was_pruned_before_the_time_is_over() -> None:
    peers = peers_of(1)
    peers.prune(1)
    assert not peers.graft(1)
    for _ in range(BACKOFF - 1):
        beat(peers)
        assert 1 not in peers.free()
    assert not peers.graft(1)
    beat(peers)
    assert peers.graft(1)


def test_a_full_mesh_takes_nobody_more_but_keeps_whom_it_has() -> None:
    peers = peers_of(*range(1, 13))
    assert not peers.graft(20)
    assert peers.graft(5)
    assert len(peers.mesh) == 12


def test_a_state_is_restored_as_it_was() -> None:
    peers = peers_of(4, 2, 9)
    peers.mesh[2], peers.pruned, peers.silent, peers.beats = 1, {7: 61}, {8: 10}, 5
    other = peers_of(1, 3)
    other.restore(peers.standing())
    assert (
        other.standing()
        == peers.standing()
        == (5, ((4, 0), (2, 1), (9, 0)), ((7, 61),), ((8, 10),))
    )
    assert list(other.mesh) == [4, 2, 9], "the order is that of sending"


def test_states_of_other_servers_are_refused() -> None:
    state = peers_of(1, 2).standing()
    check_meshes([], 5)
    check_meshes([state] * 3, 3)
    for states, servers in (([state] * 3, 4), ([state] * 2, 2)):
        with pytest.raises(ValueError, match="servers with a mesh each"):
            check_meshes(states, servers)
