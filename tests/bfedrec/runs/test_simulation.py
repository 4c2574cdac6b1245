"""A run from its config to its summary: the same bytes every time, whatever interrupts it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bfedrec.cli.audit import audit_command
from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.federation import participants
from bfedrec.federation.round import Round
from bfedrec.runs import interpreter
from bfedrec.runs.chain_writer import ChainWriter
from bfedrec.runs.claims import build
from bfedrec.runs.figures import MEASURED
from bfedrec.runs.folder import RunFolder
from bfedrec.runs.progress import Progress
from bfedrec.runs.simulation import Simulation, run
from bfedrec.runs.timelines import TIMELINE
from consensus.audit import audit
from consensus.crypto.ahead import PROVE, VERIFY, Ahead
from consensus.faults.faults import FAULTS
from consensus.records.block import Block
from consensus.simulation.results import HeightResult
from consensus.simulation.world import World
from consensus.storage.sqlite import SqliteStore
from tests.helpers.commands import completed
from tests.helpers.halting import halting

SMALL = (
    "rounds=12",
    "data.dataset=synthetic",
    "data.synthetic.users=80",
    "data.synthetic.items=60",
    "data.synthetic.interactions_per_user=10",
    "model.dimension=8",
    "model.rank=2",
    "aggregation.rule=per_item",  # which needs a mask beside A
    "clients.per_round=10",
    "servers.count=7",
    "servers.regions=2",
    "committee.size=5",
    "evaluation.every=4",
)
WALL = MEASURED


def play(path: Path, *overrides: str, resume: bool = False, traced: bool = False) -> dict[str, Any]:
    """Run the small experiment with ``overrides`` in ``path``; its summary."""
    config = load(None, [*SMALL, *overrides])
    quiet = Console(file=open(os.devnull, "w"))  # noqa: SIM115 - closed with the process
    with (
        RunFolder.open(config, path, resume) as folder,
        Progress(config.rounds, folder.log, quiet) as progress,
    ):
        summary = run(config, folder, resume, progress, traced)
        folder.write_summary(summary)
    return summary


def lasting(summary: dict[str, Any]) -> dict[str, Any]:
    """What must not differ between two runs of one seed."""
    return {key: value for key, value in summary.items() if key not in WALL}


def metrics(path: Path) -> list[dict[str, Any]]:
    lines = (path / "metrics.jsonl").read_text().splitlines()
    return [lasting(json.loads(line)) for line in lines]


def stopped_at(whole: Path, copy: Path, kept: int) -> None:
    """The run as a kill after ``kept`` heights leaves it: the chain is shorter than the rest."""
    shutil.copytree(whole, copy)
    (copy / "summary.json").unlink()
    with closing(sqlite3.connect(copy / "chain.sqlite")) as database, database:
        (data,) = database.execute("SELECT data FROM blocks WHERE height = ?", (kept,)).fetchone()
        database.execute("DELETE FROM blocks WHERE height > ?", (kept,))
        database.execute("DELETE FROM updates WHERE height > ?", (kept,))
        head = Block.decode(data).cid
        database.execute("UPDATE meta SET value = ? WHERE key = 'head'", (head,))


def ended_before_the_block(run: Path, height: int, *words: str, traced: bool = False) -> None:
    """Play until all of a height is written but its block, as if the process ended there."""
    write = ChainWriter.write

    def ends(self: ChainWriter, played: HeightResult) -> None:
        if played.height == height:
            raise KeyboardInterrupt
        write(self, played)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ChainWriter, "write", ends)
        with pytest.raises(KeyboardInterrupt):
            play(run, *words, traced=traced)


def standings(run: Path) -> list[dict[str, Any]]:
    """How a run's servers stood after every height."""
    place = f"file:{run / 'state.sqlite'}?mode=ro"
    with closing(sqlite3.connect(place, uri=True, timeout=600.0)) as database:
        rows = database.execute("SELECT counters FROM rounds ORDER BY height").fetchall()
    return [json.loads(counters)["standing"] for (counters,) in rows]


def killed_and_resumed(
    whole: Path, folder: Path, words: Sequence[str], kills: Mapping[int, int]
) -> Path:
    """The small experiment with these options in ``folder``, killed and resumed (`resume_killed`):
    it comes to the same as the whole one."""
    (folder / "small.yaml").write_text("name: small\n")
    run = folder / "run"
    resume_killed(["run", folder / "small.yaml", *SMALL, *words], run, kills)
    assert_alike(run, whole)
    return run


def resume_killed(command: Sequence[object], run: Path, kills: Mapping[int, int]) -> None:
    """Play a run in processes that are killed so many calls after each of these heights, and go on
    each time; the last one ends it. ``command``: without the folder of the run."""
    words = [*command, "--out", run, "--resume"]
    for height, calls in kills.items():
        killed = completed(*words, env=halting(run.parent / "halt", height, calls))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert len(standings(run)) == height
    completed(*words).check_returncode()


def assert_alike(run: Path, whole: Path) -> None:
    """Fail unless a run, whose chain passes the audit, came to what another one came to."""
    summaries = [json.loads((each / "summary.json").read_text()) for each in (run, whole)]
    assert lasting(summaries[0]) == lasting(summaries[1])
    assert metrics(run) == metrics(whole)
    assert (run / TIMELINE).read_bytes() == (whole / TIMELINE).read_bytes()
    assert audit_command(run) == 0


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("reference")
    return path, play(path)


def test_same_seed_same_head_and_figures(
    reference: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    path, summary = reference
    assert lasting(play(tmp_path)) == lasting(summary)
    assert metrics(tmp_path) == metrics(path)


def test_another_seed_gives_another_chain(
    reference: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    assert play(tmp_path, "seed=1")["head"] != reference[1]["head"]


def test_where_the_chain_is_kept_does_not_change_it(
    reference: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    assert play(tmp_path, "store.kind=memory", "name=other")["head"] == reference[1]["head"]


@pytest.mark.parametrize("kept", ["none", "all"])
def test_what_is_kept_changes_the_genesis_and_nothing_that_happens(
    reference: tuple[Path, dict[str, Any]], tmp_path: Path, kept: str
) -> None:
    path, summary = reference
    other = play(tmp_path, f"ledger.retain_updates={kept}")
    assert other["head"] != summary["head"]
    assert lasting(other | {"head": summary["head"]}) == lasting(summary)
    for name in ("model.safetensors", "ranks.npz"):
        assert (tmp_path / name).read_bytes() == (path / name).read_bytes()


def test_summary_says_what_the_chain_says(reference: tuple[Path, dict[str, Any]]) -> None:
    path, summary = reference
    assert summary["rounds"] == summary["blocks"] == 12
    assert summary["users_scored"] == 80
    assert 0.0 < summary["ndcg@10"] <= summary["hr@10"] <= 1.0
    with SqliteStore(path / "chain.sqlite", read_only=True) as store:
        report = audit(store, build)
    assert report.head == summary["head"]
    assert report.blocks == 12
    assert report.aggregates == 10  # the window's heights


def test_window_keeps_the_last_heights_only(tmp_path: Path) -> None:
    play(tmp_path, "ledger.window=3")
    with SqliteStore(tmp_path / "chain.sqlite", read_only=True) as store:
        assert store.update_heights() == [10, 11, 12]
        # 12 models, the initial one, and the payloads of three heights.
        assert len(store.cids()) == 12 + 1 + 3 * 10


def test_a_window_never_drops_a_model(tmp_path: Path) -> None:
    """With one client a round and the paper's rule, an update's payload *is* the model."""
    play(tmp_path, "ledger.window=2", "clients.per_round=1", "aggregation.rule=samples")
    assert audit_command(tmp_path) == 0


def test_bytes_are_those_of_the_messages(reference: tuple[Path, dict[str, Any]]) -> None:
    path, summary = reference
    with SqliteStore(path / "chain.sqlite", read_only=True) as store:
        records = [data for height in store.update_heights() for data in store.updates(height)]
    payload = 4 * 2 * 60 + 8  # float32 A of rank 2 over 60 items, and the mask
    smallest = min(len(record) for record in records) + payload
    largest = max(len(record) for record in records) + payload
    assert 120 * smallest <= summary["uplink_bytes"] <= 120 * largest
    parts = [size for key, size in summary.items() if key.startswith("gossip_bytes_")]
    assert summary["gossip_bytes"] == sum(parts)
    assert summary["downlink_bytes"] == summary["downlink_bytes_broadcast"]
    assert summary["downlink_bytes_catch_up"] > summary["downlink_bytes_broadcast"]


def test_catch_up_records_snapshots_that_the_models_lead_to(tmp_path: Path) -> None:
    summary = play(tmp_path, "clients.downlink=catch_up", "clients.snapshot_every=5")
    assert summary["downlink_bytes"] == summary["downlink_bytes_catch_up"]
    assert audit_command(tmp_path) == 0  # recomputes Q at heights 5 and 10 and compares
    with SqliteStore(tmp_path / "chain.sqlite", read_only=True) as store:
        held = [Block.decode(store.block(at)).header.snapshot is not None for at in range(1, 13)]
        assert [at for at, has in enumerate(held, 1) if has] == [5, 10]
        snapshot = Block.decode(store.block(10)).header.snapshot
        assert snapshot is not None
        assert len(store.get(snapshot)) == 4 * 60 * 8


def test_a_third_malicious_changes_no_figure(
    reference: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """Two of seven cannot certify anything in a committee of five: only time is lost."""
    summary = play(tmp_path, "servers.malicious=2")
    assert summary["uplink_bytes"] == reference[1]["uplink_bytes"]
    assert summary["hr@10"] == pytest.approx(reference[1]["hr@10"], abs=0.1)  # another beacon
    assert summary["captured_blocks"] == summary["captured_committees"] == 0
    assert summary["malicious_stake_share"] == 2 / 7
    assert summary["blocks"] == 12
    assert summary["steps"] > reference[1]["steps"] or summary["attempts"] > 12


def test_resume_of_nothing_starts_at_the_beginning(
    reference: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    assert lasting(play(tmp_path, resume=True)) == lasting(reference[1])


def test_a_helper_changes_nothing(
    reference: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference is too short for one."""
    answered: set[bytes] = set()
    received = Ahead._take

    def take(self: Ahead, kind: bytes, number: int, data: bytearray) -> bool:
        answered.add(kind)
        return received(self, kind, number, data)

    monkeypatch.setattr(participants, "WORTH_A_PROCESS", 0)
    monkeypatch.setattr(participants, "thread_count", lambda: 2)
    monkeypatch.setattr(Ahead, "_take", take)
    assert lasting(play(tmp_path)) == lasting(reference[1])
    assert metrics(tmp_path) == metrics(reference[0])
    assert answered == {PROVE, VERIFY}


@pytest.mark.parametrize("kept", [1, 4, 7, 11])
def test_resume_after_any_height_ends_alike(
    reference: tuple[Path, dict[str, Any]], tmp_path: Path, kept: int
) -> None:
    """A chain cut back to ``kept`` heights, with state and metrics beyond it, as a kill between
    two writes leaves them."""
    path, summary = reference
    cut = tmp_path / "cut"
    stopped_at(path, cut, kept)
    assert lasting(play(cut, resume=True)) == lasting(summary)
    assert metrics(cut) == metrics(path)


def test_sigkill_at_any_moment_loses_at_most_the_round(
    reference: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """Killed again and again at other moments, resumed each time: same head, figures, curves."""
    generator = np.random.default_rng(7)
    # 4 and 8 are evaluated
    kills = {height: int(generator.integers(1, 5_000)) for height in (1, 3, 4, 8, 11)}
    killed_and_resumed(reference[0], tmp_path, (), kills)


def test_validation_items_can_be_trained_on(tmp_path: Path) -> None:
    summary = play(tmp_path, "data.validation=train")
    assert summary["users_scored"] == 80
    assert all("hr@10" not in line for line in metrics(tmp_path))


@pytest.mark.parametrize("device", ["cuda:99", "mps"])
def test_a_device_that_is_not_there_is_told(tmp_path: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=f"device: '{device}': torch finds no such device"):
        play(tmp_path, f"device={device}")


def test_torch_trains_the_same_model_as_the_compiled_path(
    reference: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """What a GPU runs, run on the CPU: equal to float tolerance, so equal figures."""
    summary = play(tmp_path, "device=torch", "training.chunk_mib=1")
    assert summary["head"] != reference[1]["head"]  # sums run in another order
    assert summary["hr@10"] == pytest.approx(reference[1]["hr@10"], abs=0.03)
    assert summary["uplink_bytes"] == reference[1]["uplink_bytes"]


@pytest.mark.parametrize("parts", [1, 3, 99])
def test_in_how_many_parts_a_cohort_trains_does_not_matter(
    reference: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parts: int,
) -> None:
    monkeypatch.setattr("bfedrec.federation.cohorts.TRAINING_PARTS", parts)
    assert lasting(play(tmp_path)) == lasting(reference[1])
    assert metrics(tmp_path) == metrics(reference[0])


def test_more_clients_a_round_than_users_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"clients\.per_round: 81 is more than the 80 users"):
        play(tmp_path, "clients.per_round=81")


# -- what a run counts -----------------------------------------------------------------------------


def results_of(path: Path, *overrides: str) -> tuple[dict[str, Any], list[HeightResult], World]:
    """A run's summary beside what its heights came to, one by one, and its world."""
    config, results = load(None, [*SMALL, *overrides]), []
    quiet = Console(file=open(os.devnull, "w"))  # noqa: SIM115 - closed with the process
    with (
        RunFolder.open(config, path) as folder,
        Progress(config.rounds, folder.log, quiet) as progress,
        Simulation(config, folder, progress) as simulation,
    ):
        play_round = simulation.federation.play_round

        def remembered() -> Round:
            played = play_round()
            results.append(played.result)
            return played

        simulation.federation.play_round = remembered  # type: ignore[method-assign]
        summary = simulation.run(False)
        folder.write_summary(summary)
        return summary, results, simulation.federation.world


CAPTURING = (
    "servers.malicious=[{behaviour: [gaussian, invert_votes], servers: [0, 1], until: 25}, "
    "{behaviour: equivocate_candidates, servers: [1]}, "
    "{behaviour: abstain, servers: [0], from: 25}]",
    "committee.size=2",
    "crypto=modelled",
    "rounds=40",
)


def test_a_malicious_runs_totals_are_those_of_its_heights(tmp_path: Path) -> None:
    summary, results, _ = results_of(tmp_path, *CAPTURING)
    assert len(results) == summary["blocks"] == 40
    certificates = [result.block.certificate for result in results]
    weights = [weight for result in results for weight in result.malicious_weight]
    for name, total in {
        "attempts": sum(certificate.attempt + 1 for certificate in certificates),
        "rebuilt_committees": sum(certificate.attempt for certificate in certificates),
        "steps": sum(certificate.step + 1 for certificate in certificates),
        "captured_blocks": sum(result.captured for result in results),
        "evidence": sum(len(result.evidence) for result in results),
        "committees": len(weights),
        "blocked_committees": sum(total - bad <= total * 2 / 3 for bad, total in weights),
        "captured_committees": sum(bad > total * 2 / 3 for bad, total in weights),
        "closed_by_all": sum(result.closed_by_all for result in results),
        "refused_messages": sum(sum(result.refused.values()) for result in results),
        "gossip_messages": sum(result.gossip_messages for result in results),
        "gossip_bytes": sum(sum(result.gossip_bytes.values()) for result in results),
        "simulated_seconds": results[-1].ended,
    }.items():
        assert summary[name] == total, name
    for name in ("rebuilt_committees", "captured_blocks", "evidence", "closed_by_all"):
        assert summary[name] > 0, f"nothing to count: {name}"
    for result in results:
        assert {proof.server for proof in result.evidence} <= {1}
    log = (tmp_path / "log.txt").read_text()
    assert log.count("captured the committee") == summary["captured_blocks"]
    assert metrics(tmp_path)[-1]["captured_blocks"] == summary["captured_blocks"]


def test_a_captured_block_is_what_an_audit_finds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is validly signed; that its model is not the aggregate shows where updates were kept."""
    results = results_of(tmp_path, *CAPTURING, "ledger.retain_updates=all")[1]
    first = next(height for height, result in enumerate(results, 1) if result.captured)
    assert audit_command(tmp_path) == 1
    said = capsys.readouterr().err
    assert f"height {first}: the aggregate is not that of its 10 updates" in said


FAULTY = {
    "loss": "0.1",
    "delay": "0.1",
    "reorder": "0.3, seconds: 0.5",
    "duplicate": "0.3",
    "replay": "0.3, after: 0.5",
    "bit_flip": "0.05",
    "bandwidth": "0.01",
    "partition": "[[0, 1]]",
    "eclipse": "2, sees: [3]",
    "crash": "[1, 5], lost_tail: 2",
    "churn": "0.2, down: 1, lost_tail: 1",
    "slow": "10, servers: 1/3",
    "skew": "2, servers: [0, 3]",
    "missing_content": "0.7",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_run_under_each_fault_ends_and_its_chain_holds(tmp_path: Path, kind: str) -> None:
    """And the fault did strike; afterwards everybody is level again."""
    faults = f"{{{kind}: {FAULTY[kind]}, from: 1, until: 4}}"
    if kind == "missing_content":
        faults += ", {crash: 6, until: 3}"  # it has then to fetch what the others computed
    words = [f"faults=[{faults}]", "rounds=10", "committee.resend_seconds=1", "crypto=modelled"]
    summary, results, world = results_of(tmp_path, *words)
    assert audit_command(tmp_path) == 0
    assert (summary["blocks"], summary["captured_blocks"]) == (10, 0)
    assert world.faults is not None
    assert world.faults.fired[kind] > 0
    assert not world.behind()
    assert results[-1].ended > 4.0
    assert summary["evidence"] == 0, "a fault never makes an honest server look malicious"


def test_modelled_crypto_is_told_by_the_run_and_by_its_audit(
    reference: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same world, other keys: nothing but the draws differs, and whoever reads is told."""
    said = "crypto is modelled: signatures and proofs show nothing"
    summary = play(tmp_path, "crypto=modelled")
    assert said in (tmp_path / "log.txt").read_text()
    assert audit_command(tmp_path) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith(f"chain.sqlite: {said}")
    assert summary["head"] != reference[1]["head"]
    for key in ("uplink_bytes", "blocks", "gossip_bytes_update"):
        assert summary[key] == reference[1][key], key
    assert audit_command(reference[0]) == 0
    assert "modelled" not in capsys.readouterr().out + (reference[0] / "log.txt").read_text()


# --- clients that are away ------------------------------------------------------------------------


def test_clients_that_are_away_cost_time_unless_servers_expect_it(tmp_path: Path) -> None:
    everybody = play(tmp_path / "all")
    expected = play(tmp_path / "some", "clients.dropout=0.5", "committee.update_quota=0.5")
    awaited = play(tmp_path / "awaited", "clients.dropout=0.5", "committee.update_seconds=20")
    for bytes_ in ("uplink_bytes", "downlink_bytes_broadcast"):
        assert expected[bytes_] == pytest.approx(everybody[bytes_] / 2, rel=1e-3)
        assert awaited[bytes_] == pytest.approx(expected[bytes_], rel=1e-3)
    assert expected["simulated_seconds"] < 1.2 * everybody["simulated_seconds"]
    assert awaited["simulated_seconds"] > everybody["simulated_seconds"] + 12 * 19


def test_threads_take_turns_often_during_a_run_alone() -> None:
    before = sys.getswitchinterval()
    with contextlib.suppress(ZeroDivisionError), interpreter.switching_often():
        assert sys.getswitchinterval() == pytest.approx(interpreter.SWITCH_SECONDS)
        _ = 1 / 0
    assert sys.getswitchinterval() == before
