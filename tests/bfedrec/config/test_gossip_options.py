"""Options of the mesh between servers: what they set, and when they are refused."""

from __future__ import annotations

import pytest

from bfedrec.config.load import config_hash, dump, load, parse
from bfedrec.config.yaml_core import ConfigError
from bfedrec.federation.participants import Participants
from bfedrec.streams import Streams
from consensus.network.peers import Degrees


def test_without_a_mesh_there_is_none_and_the_hash_is_that_of_before() -> None:
    config = load(None, ["servers.gossip=tree"])
    assert config_hash(config) == config_hash(load(None, []))
    assert Participants(config, Streams(1)).mesh() is None


def test_a_mesh_has_its_settings_and_a_stream_of_its_own() -> None:
    words = ["servers.gossip=mesh", "servers.lazy_degree=3", "servers.heartbeat_ms=700"]
    config = load(None, [*words, "servers.mesh_degree=8"])
    mesh = Participants(config, Streams(1)).mesh()
    assert mesh is not None
    assert (mesh.degrees, mesh.heartbeat) == (Degrees(8, 3), 0.7)
    drawn = [mesh.draws(*label).random() for label in ((), (3, 0), (3, 1))]
    expected = [Streams(1).generator("gossip", *label).random() for label in ((), (3, 0), (3, 1))]
    assert drawn == expected
    assert len(set(drawn)) == 3
    assert parse(dump(config), "saved") == config
    assert config_hash(config) != config_hash(load(None, words))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["servers.gossip=star"], "servers.gossip: 'star'"),
        (["servers.mesh_degree=8"], "servers.mesh_degree: 8: expected 6, as gossip is tree"),
        (["servers.lazy_degree=0"], "servers.lazy_degree: 0: expected 6, as gossip is tree"),
        (["servers.heartbeat_ms=700"], "servers.heartbeat_ms: 700: expected 1000.0, as gossip is"),
        (["servers.gossip=mesh", "servers.mesh_degree=0"], "servers.mesh_degree: 0"),
        (["servers.gossip=mesh", "servers.mesh_degree=1001"], "servers.mesh_degree: 1001"),
        (["servers.gossip=mesh", "servers.lazy_degree=-1"], "servers.lazy_degree: -1"),
        (["servers.gossip=mesh", "servers.heartbeat_ms=9.9"], "servers.heartbeat_ms: 9.9"),
        (["servers.gossip=mesh", "servers.heartbeat_ms=.inf"], "servers.heartbeat_ms: inf"),
    ],
)
def test_settings_that_cannot_be(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, words)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
