"""The compiled network: to the last bit what the readable one does, and where it is used."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.network import arrays, forest, kernels
from consensus.network.compiled import CompiledNetwork
from consensus.network.network import Network
from consensus.network.topology import Topology
from consensus.server.message import Message
from consensus.server.unheard import ANY_NUMBER, IGNORED, UPDATES, Taken
from consensus.simulation.unheard import Judge
from consensus.torture.arena.drawing import draw
from consensus.torture.arena.world import TortureWorld
from consensus.torture.run import run
from tests.guard import came_to
from tests.helpers.fault_scene import mesh, row
from tests.helpers.transport import (
    CREDITS,
    Body,
    Change,
    Sending,
    Servers,
    count_unheard,
    on_both,
)

SERVERS = 9


def equal(
    topology: Topology, plan: list[Sending | Change], **more: Any
) -> tuple[Servers, dict[str, Any]]:
    """Play a plan on both networks: what it came to is the same. Returns the compiled one, and
    that."""
    plain, compiled = on_both(topology, plan, **more)
    expected, found = plain.came_to(), compiled.came_to()
    for what, value in expected.items():
        assert found[what] == value, what
    return compiled, found


def crowd(seed: int, messages: int, servers: int, **more: Any) -> list[Sending | Change]:
    """Messages of all kinds, many at the same time."""
    rng = np.random.default_rng(seed)
    plan: list[Sending | Change] = []
    for number in range(messages):
        lane = int(rng.integers(4))
        count = int(rng.integers(1, servers))
        to = None if lane == 0 else tuple(rng.permutation(servers)[:count].tolist())
        body = Body(
            number,
            lane,
            ground=int(rng.random() < 0.3),
            name=int(rng.integers(more.get("names", 12))),
            weight=int(rng.integers(1, 4)),
            seconds=float(rng.choice([0.0, 0.001, 0.03])),
            fit=bool(rng.random() < 0.9),
            replies=int(rng.integers(3)) if rng.random() < 0.3 else 0,
        )
        at = float(rng.integers(20)) * more.get("pace", 0.01)
        plan.append(
            Sending(at, int(rng.integers(servers)), to, int(rng.choice([0, 200, 9000])), body)
        )
    return plan


FAULTS: dict[str, dict[str, Any]] = {
    "delay": {"delay": 0.05, "from": 0.03, "until": 0.2},
    "loss": {"loss": 0.3, "from": 0.05, "until": 0.15},
    "duplicate": {"duplicate": 0.5, "from": 0.0, "until": 0.12},
    "reorder": {"reorder": 0.5, "from": 0.06, "until": 0.2},
    "replay": {"replay": 0.3, "from": 0.01, "until": 0.07},
    "bit flip": {"bit_flip": 0.3, "from": 0.02, "until": 0.2},
    "bandwidth": {"bandwidth": 0.2, "servers": [1, 4, 5], "from": 0.05, "until": 0.16},
    "eclipse": {"eclipse": [3], "sees": [2], "from": 0.03, "until": 0.1},
    "cut": {"partition": [[0, 1, 2]], "from": 0.04, "until": 0.12},
    "a cut without end": {"partition": [[0, 1, 2]], "from": 0.04},
}


def graph(seed: int, servers: int = SERVERS) -> Topology:
    return Topology.generate(np.random.default_rng(seed), servers, 2, 2, 5.0, 40.0)


topologies = st.one_of(
    st.just(mesh(SERVERS)), st.just(row(SERVERS)), st.builds(graph, st.integers(0, 50))
)
bodies = st.builds(
    Body,
    st.integers(0, 400),
    st.integers(0, 3),
    st.integers(0, 1),
    st.integers(0, 6),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.0, 0.001, 0.02]),
    st.sampled_from([True, True, True, False]),
    st.integers(0, 2),
)
TIMES = st.integers(0, 12).map(lambda tick: tick * 0.01)


@st.composite
def sendings(of: st.DrawFn) -> Sending:
    body = of(bodies)
    servers = st.integers(0, SERVERS - 1)
    to = None if body.lane == 0 else tuple(of(st.lists(servers, min_size=1, unique=True)))
    return Sending(of(TIMES), of(servers), to, of(st.sampled_from([0, 0, 300, 20_000])), body)


changes = st.builds(Change, TIMES, st.integers(-1, SERVERS - 1), st.booleans())


@settings(max_examples=80, deadline=None)
@given(
    topologies,
    st.lists(sendings(), min_size=1, max_size=25),
    st.lists(changes, max_size=3),
    st.lists(st.sampled_from(sorted(FAULTS)), max_size=3, unique=True),
    st.sampled_from([0.0, 0.0, 0.4]),
    st.sampled_from([CREDITS, (40,), (ANY_NUMBER, 0), (3,)]),
)
def test_both_networks_do_the_same(
    topology: Topology,
    sent: list[Sending],
    changed: list[Change],
    faults: list[str],
    jitter: float,
    credits_: tuple[int, ...],
) -> None:
    struck = [FAULTS[name] for name in faults]
    equal(topology, [*sent, *changed], jitter=jitter, faults=struck, credits=credits_)


@pytest.mark.parametrize("faults", [[], *([each] for each in FAULTS), list(FAULTS)])
@pytest.mark.parametrize("servers", [6, 40])
def test_both_networks_do_the_same_in_a_crowd(servers: int, faults: list[str]) -> None:
    """Also of messages that are under way when faults begin and end, and links change."""
    plan = crowd(1, 120, servers, pace=0.02)
    plan += [Change(0.055, 4), Change(0.095, 4, True), Change(0.101, 5)]
    struck = [FAULTS[name] for name in faults]
    compiled, found = equal(graph(2, servers), plan, jitter=0.1, faults=struck, seed=3)
    assert compiled.unheard > 20 or "a cut without end" in faults
    assert len(found["heard"]) > 20


def test_no_message_is_under_way_in_the_loop_until_faults_may_strike_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop does not look for faults when a message arrives."""
    advance, looked = CompiledNetwork.advance, Counter[str]()

    def check(network: CompiledNetwork, until: float, number: int) -> bool:
        size = network._cells[kernels.SIZE]
        times, _, entries = (part[:size] for part in network._heap)
        on_their_way = times[entries & kernels.WAITED == 0]
        assert (on_their_way < network._calm_until).all()
        looked["finite" if network._calm_until < inf else "for ever"] += len(on_their_way)
        return advance(network, until, number)

    monkeypatch.setattr(CompiledNetwork, "advance", check)
    for fault in FAULTS.values():
        equal(graph(2, 20), crowd(1, 120, 20, pace=0.02), jitter=0.1, faults=[fault], seed=3)
    assert looked["finite"] > 100


def test_loops_are_compiled_anew_when_what_they_are_built_on_changes() -> None:
    """Numba's cache would keep the old constants: it looks at the file of the loops alone."""
    constants = IGNORED, UPDATES
    assert arrays.digest(*constants) == kernels.BUILT_ON
    for changed in ((IGNORED, UPDATES + 1), (IGNORED - 1, UPDATES)):
        with pytest.raises(RuntimeError, match=f'set it to "{arrays.digest(*changed)}"'):
            arrays.check_built_on(kernels.BUILT_ON, *changed)
    tree = ast.parse(Path(kernels.__file__).read_text(encoding="utf-8"))
    found = {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("consensus")
        for alias in node.names
    }
    others = {each for each in found if each[0] != "consensus.network.arrays"}
    assert others == {("consensus.server.unheard", name) for name in ("IGNORED", "UPDATES")}


def test_loops_of_another_version_of_their_arrays_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "arrays.py"
    text = Path(arrays.__file__).read_text(encoding="utf-8")
    other.write_text(text.replace("TIMES: Final = 0", "TIMES: Final = 1"), encoding="utf-8")
    monkeypatch.setattr(arrays, "__file__", str(other))
    with pytest.raises(RuntimeError, match=r"kernels\.py: BUILT_ON is .*has changed"):
        arrays.check_built_on(kernels.BUILT_ON, IGNORED, UPDATES)


# -- room for everything --------------------------------------------------------------------------


def test_more_messages_names_and_places_than_there_was_room_for() -> None:
    plan = crowd(2, 400, 40, names=300, pace=0.001)
    compiled, _ = equal(graph(3, 40), plan, jitter=0.1, credits=(1000, 5))
    network = compiled.network
    assert isinstance(network, CompiledNetwork)
    assert len(network._heap[0]) > 1024
    assert network._intake._seen.shape[1] > 64
    assert len(network._intake.table) > 64
    assert compiled.unheard > 1000


@pytest.mark.parametrize("trees", [1, 2, 5, 17, 33])
def test_trees_that_do_not_fit_are_grown_again(trees: int, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = 40
    monkeypatch.setattr(forest, "MOST_BYTES", trees * 24 * servers)
    plan = [
        Sending(0.001 * number, number % servers, None, 100, Body(number, name=number))
        for number in range(2 * servers)
    ]
    compiled, _ = equal(graph(4, servers), plan, credits=(ANY_NUMBER,))
    network = compiled.network
    assert isinstance(network, CompiledNetwork)
    assert len(network._forest._trees[0]) <= trees
    assert compiled.unheard == 2 * servers * (servers - 1)


@pytest.mark.parametrize("each", [1, 3])
def test_jitter_that_runs_out_amid_a_message_is_drawn_as_it_would_be(
    each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for more receivers than are drawn for at a time, and while faults draw, too."""
    monkeypatch.setattr(Network, "_DRAWS", each)
    for faults in ([], [FAULTS["delay"], FAULTS["loss"]]):
        compiled, _ = equal(graph(5, 12), crowd(3, 150, 12), jitter=0.5, faults=faults, seed=each)
        assert compiled.unheard > 15


def test_what_is_under_way_when_an_epoch_begins_is_dropped() -> None:
    plan = [*crowd(4, 100, 12), Change(0.051, -1), Change(0.1, -1)]
    compiled, found = equal(graph(6, 12), plan, jitter=0.1)
    assert compiled.unheard > 20
    assert len(found["heard"]) > 20
    dropped = Servers(graph(6, 12), True, credits=(ANY_NUMBER,))
    dropped.network.gossip(0, Message("update", Body(1), 10), 0.0)
    dropped.begin()
    dropped.env.run()
    assert dropped.came_to()["counted"] == {}


def test_an_epoch_knows_nothing_of_the_one_before() -> None:
    """Nothing is told of it, and names are free again."""
    servers = Servers(mesh(5), True, credits=(ANY_NUMBER,))
    network = servers.network
    assert isinstance(network, CompiledNetwork)
    for _ in range(3):
        network.gossip(0, Message("update", Body(1), 10), servers.env.now)
        network.send_many(0, range(5), Message("vote", Body(2, 2, name=1), 10), servers.env.now)
        servers.env.run()
        assert network._intake._logged.tolist() == [[0, 1, 1, 1, 1]] * 2
        network.begin(np.random.default_rng(0))
        for server in range(5):
            network.heard(server)
            assert network.inbox(server).waiting() == 0
    assert not servers.counted
    assert not servers.heard


def test_what_was_noted_is_forgotten_with_the_rest() -> None:
    servers = Servers(mesh(5), True, credits=(ANY_NUMBER,))
    network = servers.network
    assert isinstance(network, CompiledNetwork)
    seen, inbox = network._intake._seen, network.inbox(2)
    for _ in range(2):
        inbox.note("name")
        assert seen[2].any()
        assert not seen[3].any()
        inbox.clear()
        assert not seen.any()


# -- whole scenarios ------------------------------------------------------------------------------

Twin = tuple[str, str]
"""The trace of a scenario, and what it came to."""


def twin(seed: int, protocol: str, compiled: bool, names: tuple[str, ...] = ()) -> Twin:
    """Play the scenario of a seed, in which malicious servers follow ``names``, if given, alone."""
    scenario = draw(seed, protocol)
    if names:
        bad = tuple((server, names) for server in sorted(scenario.bad))
        scenario = replace(scenario, malicious=bad)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TortureWorld, "compiled", compiled)
        outcome = run(scenario, traced=True)
    outcome.events = 0  # calls of the clock, of which the compiled network makes fewer
    return outcome.trace, came_to(outcome)


SAMPLE = [
    *(("bft", seed) for seed in range(0, 400, 10)),
    *(("paper", seed) for seed in range(0, 60, 5)),
    *(("tendermint", seed) for seed in range(0, 90, 5)),
    *(("hotstuff", seed) for seed in range(0, 90, 5)),
]


@pytest.mark.parametrize(("protocol", "seed"), SAMPLE)
def test_a_scenario_of_torture_comes_to_the_same(protocol: str, seed: int) -> None:
    assert twin(seed, protocol, True) == twin(seed, protocol, False)


QUIET = ("gaussian", "invert_votes")


def test_malicious_servers_that_need_not_hear_everything_do_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They take in messages unheard, as honest ones do."""
    unheard: Counter[int] = Counter()
    take_in = Judge.take_in

    def note(judge: Judge, server: int, taken: Iterable[Taken]) -> None:
        taken = list(taken)
        unheard[server] += len(taken)
        take_in(judge, server, taken)

    monkeypatch.setattr(Judge, "take_in", note)
    by_malicious = 0
    for protocol, seed in SAMPLE[::5]:
        unheard.clear()
        found = twin(seed, protocol, True, QUIET)
        by_malicious += sum(unheard[server] for server in draw(seed, protocol).bad)
        assert found == twin(seed, protocol, False, QUIET), (protocol, seed)
    assert by_malicious > 20


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["bft", "hotstuff", "paper", "tendermint"])
@pytest.mark.parametrize("first", range(0, 1000, 50))
def test_scenarios_of_torture_come_to_the_same(protocol: str, first: int) -> None:
    for seed in range(first, first + 50):
        assert twin(seed, protocol, True) == twin(seed, protocol, False), seed


@pytest.mark.parametrize("protocol", ["bft", "hotstuff", "paper", "tendermint"])
def test_loops_are_used_in_scenarios_of_torture(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where faults strike and servers are malicious; and servers hear of messages still."""
    unheard, heard = count_unheard(monkeypatch), Counter[str]()
    hand_over = CompiledNetwork._hand_over

    def note(network: CompiledNetwork, delivery: Any) -> None:
        heard[delivery[2].kind] += 1
        hand_over(network, delivery)

    monkeypatch.setattr(CompiledNetwork, "_hand_over", note)
    found: Counter[tuple[bool, bool]] = Counter()
    for seed in (seed for name, seed in SAMPLE if name == protocol):
        scenario, before = draw(seed, protocol), unheard.total()
        twin(seed, protocol, True)
        struck = bool(scenario.faults), bool(scenario.bad)
        found[struck] += unheard.total() - before
    votes = set() if protocol == "hotstuff" else {"vote"}  # which go to the leader alone
    lanes = {"update"} if protocol == "paper" else {"update", "ticket", *votes}
    assert set(unheard) == lanes
    assert min(unheard.values()) > 50
    assert set(heard) >= {"update", "ticket", "candidate", "vote", "block"}
    assert sum(taken for (faults, _), taken in found.items() if faults) > 50
    assert sum(taken for (_, bad), taken in found.items() if bad) > 50
