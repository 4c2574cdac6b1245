"""Worlds whose servers gossip over a mesh: the same promises, and what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from consensus.adversary.composed import Composed
from consensus.network.compiled import CompiledNetwork
from consensus.network.mesh import Mesh, MeshNetwork
from consensus.network.peers import Degrees
from consensus.simulation.checkpoint import Standing
from tests.helpers.toy import Toy
from tests.helpers.worlds import check_invariants, crash, cut, struck

NODE: dict[str, Any] = {"servers": [], "holders": [], "backlog": []}


def sparse(seed: int = 0) -> Mesh:
    """A mesh of few peers and frequent heartbeats."""
    return Mesh(lambda *label: np.random.default_rng((seed, 9, *label)), Degrees(3, 2), 0.25)


def toy_of(**more: Any) -> Toy:
    settings: dict[str, Any] = {"servers": 9, "clients": 4, "crypto": "modelled", "mesh": sparse()}
    return Toy(**(settings | more))


def test_a_mesh_is_not_compiled_and_trees_are() -> None:
    assert type(toy_of().world.network) is MeshNetwork
    assert type(toy_of(mesh=None).world.network) is CompiledNetwork


def test_a_world_over_a_mesh_keeps_its_promises_and_pays_for_copies() -> None:
    found = {}
    for name, mesh in (("mesh", sparse()), ("tree", None)):
        toy = toy_of(mesh=mesh)
        results = [toy.play() for _ in range(5)]
        check_invariants(toy, results)
        found[name] = results
    for result in found["mesh"]:
        size = sum(update.wire_bytes for update in result.updates)
        assert result.gossip_bytes["update"] > 2 * 8 * size
        assert 0 < result.duplicates["bytes"] < result.gossip_bytes.total()
    assert not any(result.duplicates for result in found["tree"])
    assert {"ihave", "keepalive"} < set().union(*(r.gossip_bytes for r in found["mesh"]))


def test_a_world_over_a_mesh_bears_crashes_cuts_and_malicious_servers() -> None:
    faults = struck(10, crash(1, 2, from_=1.0, until=9.0), cut(0, 4, until=6.0))
    silent = {9: Composed(["censor"])}
    toy = toy_of(servers=10, malicious=silent, faults=faults, committee_size=7)
    results = [toy.play() for _ in range(16)]
    check_invariants(toy, results)
    assert toy.world.behind() == {}


def test_a_world_goes_on_from_the_meshes_it_had() -> None:
    """Also where a server is down, which its peers have begun to notice."""

    def make(**more: Any) -> Toy:
        return toy_of(faults=struck(9, crash(2, from_=0.8, until=2.5)), **more)

    toy = make()
    whole = [toy.play() for _ in range(8)]
    missed = 0
    for stop in (1, 3, 5, 7):
        first = make()
        for _ in range(stop):
            first.play()
        standing = first.world.standing()
        missed += sum(beats for _, mesh, _, _ in standing.meshes for _, beats in mesh)
        second = make(continues=first.world)
        rest = [second.play() for _ in range(8 - stop)]
        for name in ("appended", "gossip_bytes", "duplicates"):
            assert [getattr(r, name) for r in rest] == [getattr(r, name) for r in whole[stop:]]
        assert second.world.standing().meshes == toy.world.standing().meshes
    assert missed, "no server had missed a heartbeat at any stop"


# -- states ----------------------------------------------------------------------------------------


def test_meshes_are_written_and_read_back() -> None:
    toy = toy_of()
    toy.play()
    standing = toy.world.standing()
    assert len(standing.meshes) == 9
    assert Standing.from_node(standing.to_node()) == standing
    standing.check(9, 1)


def test_the_state_of_a_world_with_trees_says_nothing_of_meshes() -> None:
    toy = toy_of(mesh=None)
    toy.play()
    assert "meshes" not in toy.world.standing().to_node()


@pytest.mark.parametrize(
    "meshes",
    [3, [3], [[1, [], []]], [[-1, [], [], []]], [[1, [[2]], [], []]], [[1, 2, [], []]]],
)
def test_a_state_that_is_none_is_refused(meshes: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        Standing.from_node(NODE | {"meshes": meshes})


@pytest.mark.parametrize("mesh", [[[1, [[4, 0]], [], []]] * 4, [[1, [], [], []]] * 3])
def test_a_state_of_other_servers_is_refused(mesh: list[Any]) -> None:
    standing = Standing.from_node(NODE | {"meshes": mesh})
    with pytest.raises(ValueError, match="servers with a mesh each"):
        standing.check(4, 0)
