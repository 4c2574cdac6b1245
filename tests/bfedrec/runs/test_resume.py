"""A run that is stopped while things go wrong ends with the very same bytes as one that is not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bfedrec.cli.audit import audit_command
from bfedrec.config.load import load
from bfedrec.runs.folder import RunFolder
from bfedrec.runs.progress import Progress
from bfedrec.runs.simulation import Simulation
from consensus.faults.faults import Faults
from consensus.faults.kinds import Crash, Loss
from consensus.simulation.checkpoint import Standing
from consensus.simulation.spec import WorldSpec
from consensus.simulation.world import World
from tests.bfedrec.runs.test_simulation import (
    SMALL,
    killed_and_resumed,
    lasting,
    metrics,
    play,
    standings,
    stopped_at,
)
from tests.helpers.toy import COSTS, Toy

SCENARIOS = {
    "servers that crash, and come back without their last blocks": (
        "faults=[{crash: 1, from: 2.5, until: 5.5, lost_tail: 2}, "
        "{crash: [2, 3], from: 3.9, until: 6.2, lost_tail: 3}, {crash: 5, from: 7, until: 7.4}]",
        "committee.update_quota=0.5",
        "committee.resend_seconds=2",
    ),
    "servers cut off, and content that is lost": (
        "faults=[{partition: [[0], [3]], from: 2, until: 6}, {missing_content: 0.8, from: 1.5, "
        "until: 12}, {eclipse: 6, sees: 1, from: 7, until: 11}]",
        "committee.size=7",
        "committee.resend_seconds=0.3",
        "committee.update_quota=0.5",
    ),
    "churn, and messages that are lost, come twice, late or altered": (
        "faults=[{churn: 0.1, down: 1.5, lost_tail: 2, until: 40}, {loss: 0.05, until: 40}, "
        "{duplicate: 0.1, until: 40}, {bit_flip: 0.02, until: 40}, {replay: 0.05, after: 3}]",
        "committee.resend_seconds=1",
    ),
    "servers that are slow, and links that carry little": (
        "faults=[{slow: 300, servers: 2, from: 1.5, until: 12}, {bandwidth: 0.00002, servers: 4, "
        "from: 2, until: 10}, {missing_content: 0.8, from: 1.5, until: 12}]",
        "committee.size=7",
        "committee.resend_seconds=0.5",
        "committee.update_quota=0.5",
    ),
    "the paper's protocol, and models that many lack": (
        "protocol=paper",
        "committee.size=5",
        "faults=[{missing_content: 0.7, from: 1, until: 12}, "
        "{bandwidth: 0.0001, servers: [0, 6], from: 2, until: 12}]",
        "committee.resend_seconds=0.5",
        "committee.update_quota=0.5",
    ),
    "malicious servers": (
        "servers.malicious=[{behaviour: [gaussian, invert_votes], share: 0.15}, "
        "{behaviour: [equivocate_votes, withhold], share: 0.15, from: 3, until: 9}]",
    ),
    "servers that sleep until a second, and take turns": (
        "servers.malicious=[{behaviour: silent, servers: [1], from: 3.5, until: 9, by: seconds}, "
        "{behaviour: [stale, honest, spam], servers: [1, 4], each: 2}]",
        "faults=[{delay: 0.01, servers: 2, until: 6}]",
    ),
    "an adversary that corrupts whoever has a seat, late": (
        "adversary.corruption={strategy: members, behaviour: [equivocate_votes, late_votes], "
        "at_once: 2, in_all: 9, delay: 1.5, hold: 2}",
        "committee.size=5",
        "faults=[{crash: 1, from: 2.5, until: 5.5, lost_tail: 2}]",
        "committee.resend_seconds=1",
    ),
    "an adversary that corrupts proposers, and holds messages": (
        "adversary.corruption={strategy: proposer, behaviour: [equivocate_candidates], "
        "at_once: 2, delay: 1, by: heights, hold: 1}",
        "adversary.delays={strategy: for_malicious, bound_seconds: 0.3}",
        "servers.malicious=tamper+stale:1/7",
    ),
    "corruption at once, by lot, under the paper's protocol": (
        "protocol=paper",
        "adversary.corruption={strategy: random, behaviour: [silent], at_once: 2, hold: 1}",
        "adversary.delays={strategy: shuffle, bound_seconds: 0.1}",
        "committee.size=5",
    ),
    "stake that moves by evidence and by late signatures": (
        "ledger.incentives.on=true",
        "servers.stake_mean=1000000",
        "servers.malicious=equivocate_candidates+equivocate_votes:2/7",
        "committee.size=5",
    ),
    "stake that moves by the use of updates, some of which are noise": (
        "ledger.incentives.on=true",
        "ledger.incentives.use=0.5",
        "servers.stake_mean=1000000",
        "clients.malicious=[{attack: gaussian, share: 1, homes: [0, 2]}]",
        "committee.size=5",
    ),
    "gossip over a mesh, with servers that are down, cut off, and pass nothing on": (
        "servers.gossip=mesh",
        "servers.mesh_degree=2",
        "servers.lazy_degree=2",
        "servers.heartbeat_ms=300",
        "servers.malicious=censor:1/7",
        "faults=[{crash: 1, from: 2.5, until: 5.5, lost_tail: 2}, {loss: 0.1, until: 40}, "
        "{partition: [[0], [3]], from: 3, until: 6}, {bit_flip: 0.02, until: 40}]",
        "committee.resend_seconds=1",
        "committee.update_quota=0.5",
    ),
    "clients that are away": ("clients.dropout=0.5", "committee.update_quota=0.5"),
    "modelled crypto": (
        "crypto=modelled",
        "faults=[{crash: 3, from: 2, until: 5}, {skew: 2, servers: 1}]",
        "servers.malicious=tamper+stale:1/7",
        "committee.resend_seconds=1",
    ),
    "malicious clients": (
        "clients.malicious=[{attack: replay, share: 0.3}, {attack: alie, share: 0.2, from: 3}]",
        "faults=[{crash: 1, from: 3, until: 8}]",
    ),
    "the paper's protocol": (
        "protocol=paper",
        "faults=[{delay: 0.05, until: 9}, {crash: 5, from: 3, until: 7}]",
    ),
}
CRASHED, CUT_OFF, CHURN, SLOW, LACKING = list(SCENARIOS)[:5]
MESH = next(name for name in SCENARIOS if "mesh" in name)


def behind(standing: dict[str, Any]) -> list[int]:
    """The servers that have not got all blocks."""
    furthest = max((height for _, height, _, _ in standing["servers"]), default=0)
    return [index for index, height, _, _ in standing["servers"] if height < furthest]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_run_stopped_while_things_go_wrong_goes_on_alike(tmp_path: Path, scenario: str) -> None:
    words, whole = SCENARIOS[scenario], tmp_path / "whole"
    summary = play(whole, *words)
    assert audit_command(whole) == 0
    stood = standings(whole)
    if scenario in (CRASHED, CUT_OFF, CHURN, MESH):
        assert any(map(behind, stood)), "nobody was ever behind"
    if scenario in (CUT_OFF, LACKING):
        assert any(lacking for standing in stood for *_, lacking in standing["servers"])
    assert any("meshes" in standing for standing in stood) == (scenario == MESH)
    if scenario in (SLOW, LACKING):
        assert any(standing["backlog"] for standing in stood), "no queue was ever full"
    odd = [behind(standing) or (scenario == SLOW and standing["backlog"]) for standing in stood]
    kept = [at for at, found in enumerate(odd, 1) if found and at < 12]
    for height in sorted({*kept[::3], 7}):
        cut = tmp_path / f"cut-{height}"
        stopped_at(whole, cut, height)
        assert lasting(play(cut, *words, resume=True)) == lasting(summary), height
        assert metrics(cut) == metrics(whole), height
        assert standings(cut) == stood


@pytest.mark.parametrize("scenario", [CRASHED, CUT_OFF, CHURN, SLOW, LACKING, MESH])
def test_a_resumed_world_stands_as_it_stood(tmp_path: Path, scenario: str) -> None:
    words = SCENARIOS[scenario]
    play(tmp_path / "whole", *words)
    stood = standings(tmp_path / "whole")
    config = load(None, [*SMALL, *words])
    for height in range(1, 12):
        cut = tmp_path / f"cut-{height}"
        stopped_at(tmp_path / "whole", cut, height)
        quiet = Progress(12, lambda line: None, Console(file=open(os.devnull, "w")))  # noqa: SIM115
        with RunFolder.open(config, cut, resume=True) as folder:
            simulation = Simulation(config, folder, quiet)
            simulation._resume()
            standing = simulation.federation.world.standing()
            simulation.close()
        assert standing.to_node() == stood[height - 1]
        assert Standing.from_node(json.loads(json.dumps(standing.to_node()))) == standing


def test_sigkill_while_servers_are_down_cut_off_and_malicious(tmp_path: Path) -> None:
    """Killed each time when somebody is behind, resumed each time: same head, figures, curves."""
    words = [
        "rounds=40",
        "crypto=modelled",
        "servers.malicious=[{behaviour: [equivocate_candidates, spam], share: 1/7, from: 4}]",
        "clients.malicious=[{attack: replay, share: 0.2}, {attack: two_updates, share: 0.1}]",
        "faults=[{crash: [1, 4], from: 4, until: 25, lost_tail: 2}, {slow: 2, servers: 3}, "
        "{partition: [[0], [3]], from: 22, until: 30}, {loss: 0.05, until: 60}]",
        "committee.resend_seconds=1",
        "committee.update_quota=0.5",
        "committee.update_seconds=4",
    ]
    play(tmp_path / "whole", *words)
    lagging = [
        height for height, stood in enumerate(standings(tmp_path / "whole"), 1) if behind(stood)
    ]
    kills = {height: 50 * height for height in (lagging[2], lagging[-1])}
    killed_and_resumed(tmp_path / "whole", tmp_path, words, kills)


# -- what a world leaves behind between two heights ------------------------------------------------


def test_of_a_blocks_certificates_all_servers_keep_one() -> None:
    """Else a resume, which has but the recorded one, would send other bytes to who is behind."""
    faults = Faults([Loss(rate=0.2)], 10, np.random.default_rng(1))
    toy = Toy(servers=10, crypto="modelled", faults=faults)
    for _ in range(5):
        block = toy.play().block
        kept = [server.chain.blocks[-1] for server in toy.world.servers if server.chain.height]
        assert sum(other is block for other in kept) >= 7
        assert all(other is block for other in kept if other.height == block.height)


def test_what_came_before_its_height_is_void() -> None:
    early = Toy().update(0)  # of height 1
    toy = Toy(crypto="modelled")
    server = toy.world.servers[3]
    assert server.receive("update", early, 0), "it is kept"
    assert "other chain" not in toy.play().refused


def test_a_fault_strikes_at_its_very_time_after_a_resume() -> None:
    """0.2 + (0.9 - 0.2) is not 0.9, and everything that follows would be off by a bit."""
    toy = Toy(crypto="modelled")
    faults = Faults([Crash(servers=1, from_=0.9, until=1.1)], 7, np.random.default_rng(0))
    times: list[float] = []

    class Watched(World):
        def _live_or_die(self, event: Any) -> None:
            times.append(self.env.now)

    spec = WorldSpec(
        toy.genesis,
        toy.application,
        toy.world.network.topology,
        toy.keys,
        {},
        COSTS,
        bandwidth_mib_per_s=12.5,
        jitter=0.1,
        network_stream=np.random.default_rng,
        randomness=lambda *label: np.random.default_rng([1]),
        faults=faults,
    )
    world = Watched(spec, now=0.2)
    assert 0.2 + (0.9 - 0.2) != 0.9
    world.env.run(until=2.0)
    assert times == [0.9, 1.1]
