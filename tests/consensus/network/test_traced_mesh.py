"""The network that notes every delivery over a mesh: the same as the mesh, and nothing left out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.adversary.composed import Composed
from consensus.network.mesh import CONTROL, CONTROL_BYTES, NAME_BYTES
from consensus.network.peers import Degrees
from consensus.network.traced import LOST, Delivery
from consensus.network.traced_mesh import TracedMeshNetwork
from consensus.protocols.registry import PROTOCOLS
from consensus.server.message import Message
from tests.consensus.network.test_traced import Noted
from tests.consensus.simulation.test_mesh_world import sparse
from tests.helpers.mesh_scene import MeshScene, anywhere
from tests.helpers.toy import Toy
from tests.helpers.worlds import crash, cut, struck

FAULTS: dict[str, dict[str, Any]] = {
    "loss": {"loss": 0.2, "until": 5.0},
    "duplicate": {"duplicate": 0.2, "until": 5.0},
    "bit_flip": {"bit_flip": 0.1, "until": 5.0},
    "bandwidth": {"bandwidth": 0.01, "servers": [0, 1], "until": 4.0},
    "partition": {"partition": [[0], [1]], "from": 1.0, "until": 3.0},
}


def close(scene: MeshScene) -> list[Delivery]:
    """All deliveries of a scene with a book, which ends here."""
    network = scene.network
    assert isinstance(network, TracedMeshNetwork)
    network.close_epoch()
    assert not network._on_their_way
    book = network._book
    assert isinstance(book, Noted)
    return book.deliveries


def played(book: Noted | None, servers: int, sent: list[Any], *faults: str) -> MeshScene:
    """Servers of a sparse mesh that speak, one of which goes down for a while."""
    struck_by = [FAULTS[name] for name in faults]
    degrees = Degrees(2, 2)
    scene = MeshScene(anywhere(servers), *struck_by, degrees=degrees, jitter=0.2, book=book)
    scene.set_up(1, 1.2, False)
    scene.set_up(1, 2.5, True)
    for number, (origin, at, size) in enumerate(sent):
        scene.speak(origin % servers, at, number, size)
    scene.env.call_at(0.5, lambda _: scene.network.send(0, 1, Message("vote", None, 70), 0.5), None)
    scene.play(8.0)
    return scene


def check(scene: MeshScene, rows: list[Delivery]) -> None:
    """The deliveries add up to what the network has counted, and each of them is possible."""
    sizes, again, again_bytes = Counter[str](), 0, 0
    for each in rows:
        sizes[each.kind] += each.bytes
        assert each.lost is None or each.lost in LOST
        assert (each.received is None) == (each.lost is not None)
        assert each.gossiped or each.sender == each.origin
        assert each.sent is not None
        assert each.sent >= each.said
        assert each.received is None or each.received >= each.sent
        if each.lost == "again":
            again, again_bytes = again + 1, again_bytes + each.size
            assert each.kind == "note"
    assert +sizes == +scene.network.bytes
    assert {"messages": again, "bytes": again_bytes} == {"messages": 0, "bytes": 0} | dict(
        scene.network.duplicates
    )
    numbers = {each.message for each in rows}
    assert numbers == set(range(len(numbers)))
    for number in numbers:
        sayings = [each for each in rows if each.message == number]
        assert len({(each.origin, each.kind, each.said) for each in sayings}) == 1


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2, 12),
    st.lists(
        st.tuples(
            st.integers(0, 11),
            st.floats(0.0, 6.0).map(lambda at: round(at, 2)),
            st.integers(10, 3_000_000),
        ),
        max_size=12,
    ),
    st.lists(st.sampled_from(sorted(FAULTS)), max_size=3, unique=True),
)
def test_a_traced_mesh_does_what_a_mesh_does(
    servers: int, sent: list[Any], faults: list[str]
) -> None:
    plain, found = (played(book, servers, sent, *faults) for book in (None, Noted()))
    rows = close(found)
    assert found.heard == plain.heard
    assert found.damaged == plain.damaged
    assert found.network.bytes == plain.network.bytes
    assert found.network.duplicates == plain.network.duplicates
    assert found.network.meshes() == plain.network.meshes()
    check(found, rows)


def test_every_end_of_a_copy_is_told() -> None:
    sent = [(number, number / 8, 100_000) for number in range(48)]
    found = played(Noted(), 9, sent, "loss")
    network = found.network
    assert isinstance(network, TracedMeshNetwork)
    assert all(facts.digest for _, facts in network._facts.values()), "it keeps control messages"
    rows = close(found)
    check(found, rows)
    notes = [each for each in rows if each.kind == "note"]
    assert {each.lost for each in notes} >= {None, "again", "fault", "down"}
    first = {(each.message, each.receiver): each for each in notes if each.lost is None}
    assert len(first) == sum(map(len, found.heard.values()))
    times = Counter(each.sender == each.origin for each in notes)
    assert times[True] > 50
    assert times[False] > times[True]
    kept = Counter(each.kind for each in rows if each.kind in CONTROL)
    assert set(kept) == set(CONTROL)
    for each in rows:
        if each.kind in CONTROL:
            assert not each.gossiped
            assert (each.record_height, each.attempt, each.digest) == (None, None, "")
            assert (each.size - CONTROL_BYTES) % NAME_BYTES == 0
            assert each.lost != "again"
        if each.kind in ("ihave", "graft", "keepalive"):
            since = each.said - network._first_beats[each.origin]
            assert since == pytest.approx(round(since)), "heartbeats are a second apart"
    told = {(each.receiver, each.received) for each in rows if each.kind == "ihave"}
    asked = [each for each in rows if each.kind == "iwant" and each.lost is None]
    assert asked
    assert {(each.origin, each.said) for each in asked} <= told
    for each in asked:  # a copy answers it
        assert any(
            (copy.sender, copy.receiver) == (each.receiver, each.sender)
            and each.received is not None
            and copy.sent is not None
            and copy.sent >= each.received
            for copy in notes
        )


def test_a_message_of_a_server_alone_goes_to_nobody() -> None:
    scene = MeshScene(anywhere(1), book=Noted())
    scene.speak(0, 0.5, "a")
    scene.play(1.0)
    (only,) = close(scene)
    assert (only.message, only.receiver, only.lost, only.bytes) == (0, None, "nobody", 0)


# -- whole worlds ---------------------------------------------------------------------------------

WORLDS: dict[str, dict[str, Any]] = {
    "honest": {},
    "malicious": {"malicious": {0: Composed(("spam", "censor"))}},
    "crash and loss": {"faults": [crash(6, until=1.5), {"loss": 0.1, "until": 5.0}]},
    "copies and flips": {
        "faults": [{"duplicate": 0.2, "until": 5.0}, {"bit_flip": 0.05, "until": 5.0}]
    },
    "a cut": {"faults": [cut(2, until=2.0)]},
    "no barrier": {"meets_every": 0},
}


@pytest.mark.parametrize(
    ("world", "protocol"),
    [
        *((world, "bft") for world in WORLDS),
        *(("copies and flips", protocol) for protocol in sorted(set(PROTOCOLS) - {"bft"})),
    ],
)
def test_a_traced_world_decides_the_same_and_its_rows_add_up(world: str, protocol: str) -> None:
    more = {"servers": 7, "clients": 3, "crypto": "modelled", "protocol": protocol} | WORLDS[world]
    faults = more.pop("faults", None)

    def toy(book: Noted | None) -> Toy:
        each = struck(7, *faults) if faults else None
        return Toy(**more, faults=each, book=book, mesh=sparse())

    book, plain = Noted(), toy(None)
    noted = toy(book)
    network = noted.world.network
    assert type(network) is TracedMeshNetwork
    found = []
    for _ in range(3):
        found.append(noted.play(60.0))
        assert found[-1] == plain.play(60.0)
        if more.get("meets_every", 1):
            network.close_epoch()
            check_rows(book.deliveries, noted, *found)
            book.deliveries, found = [], []
    if found:
        network.close_epoch()
        check_rows(book.deliveries, noted, *found)


def check_rows(rows: list[Delivery], toy: Toy, *results: Any) -> None:
    """The rows since servers met, and the results since then, tell the same sums."""
    sizes = Counter[str]()
    for each in rows:
        sizes[each.kind] += each.bytes
    assert +sizes == sum((result.gossip_bytes for result in results), Counter())
    said = {each.message for each in rows if each.kind not in CONTROL}
    assert len(said) == sum(result.gossip_messages for result in results)
    again = [each.size for each in rows if each.lost == "again"]
    assert len(again) == sum(result.duplicates["messages"] for result in results)
    assert sum(again) == sum(result.duplicates["bytes"] for result in results)
    delays = [
        each.taken_in - each.said
        for each in rows
        if each.taken_in is not None and each.receiver not in toy.world.behaviours
    ]
    assert max(delays) == max(result.greatest_delay for result in results)
    assert np.isfinite(delays).all()
