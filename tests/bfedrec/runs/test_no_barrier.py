"""Runs whose servers go on without a barrier: resumed, audited, and beside those with one."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from bfedrec.cli.audit import audit_command
from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.runs.folder import RunFolder
from bfedrec.runs.messages import MESSAGES
from bfedrec.runs.progress import Progress
from bfedrec.runs.simulation import run
from bfedrec.runs.state import StateError
from bfedrec.runs.timelines import TIMELINE
from tests.bfedrec.runs.test_resume import SCENARIOS
from tests.bfedrec.runs.test_simulation import (
    SMALL,
    killed_and_resumed,
    lasting,
    metrics,
    play,
    standings,
    stopped_at,
)
from tests.helpers.another import read_under

FREE = ("ledger.barrier=false", "ledger.checkpoint_every=5")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_run_stopped_between_checkpoints_goes_on_alike(tmp_path: Path, scenario: str) -> None:
    words = (*FREE, *SCENARIOS[scenario])
    whole = tmp_path / "whole"
    summary = play(whole, *words)
    assert audit_command(whole) == 0
    for height in (3, 5, 8, 11):
        cut = tmp_path / f"cut-{height}"
        stopped_at(whole, cut, height)
        assert lasting(play(cut, *words, resume=True)) == lasting(summary), height
        assert metrics(cut) == metrics(whole), height
        assert standings(cut) == standings(whole)
        assert (cut / TIMELINE).read_bytes() == (whole / TIMELINE).read_bytes()


def test_sigkill_five_times_without_a_barrier(tmp_path: Path) -> None:
    """Killed between checkpoints and at one, resumed each time: same head, figures, curves."""
    words = ["rounds=24", "crypto=modelled", "ledger.barrier=false", "ledger.checkpoint_every=7"]
    whole = tmp_path / "whole"
    play(whole, *words)
    kills = {height: 50 * height for height in (3, 7, 8, 15, 22)}
    killed_and_resumed(whole, tmp_path, words, kills)


def test_a_height_that_is_played_to_another_block_is_told(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    play(whole, *FREE)
    stopped_at(whole, cut, 8)
    with closing(sqlite3.connect(cut / "state.sqlite")) as database, database:
        database.execute("UPDATE rounds SET simulated_seconds = 1e6 WHERE height = 5")
    with pytest.raises(StateError, match="height 6, played once more from the last checkpoint"):
        play(cut, *FREE, resume=True)


@pytest.mark.parametrize("rounds", [10, 12])
def test_what_clients_kept_before_the_checkpoint_is_there(tmp_path: Path, rounds: int) -> None:
    """Under error feedback a resume trains from the checkpoint on, with the residuals of then."""
    words = (*FREE, "compression.kind=top_k", "compression.error_feedback=true", f"rounds={rounds}")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    summary = play(whole, *words)
    stopped_at(whole, cut, rounds - 1)
    assert lasting(play(cut, *words, resume=True)) == lasting(summary)


@pytest.mark.parametrize(
    "words",
    [
        read_under("aggregation.group"),
        ("protocol=tendermint",),
        ("protocol=hotstuff",),
        ("servers.gossip=mesh",),
        ("ledger.incentives.on=true", "servers.stake_mean=1000"),
        ("store.kind=memory",),
    ],
)
def test_other_options_go_with_it(tmp_path: Path, words: tuple[str, ...]) -> None:
    summary = play(tmp_path / "run", *FREE, *words, "rounds=7")
    assert summary["blocks"] == 7
    seconds = summary["simulated_seconds_per_height"]
    assert seconds * 7 == pytest.approx(summary["simulated_seconds"])
    assert summary["most_blocks_behind_first"] >= 1
    assert 0.0 < summary["seconds_behind_first"] <= summary["most_seconds_behind_first"]


def test_an_interval_is_for_runs_without_a_barrier() -> None:
    with pytest.raises(ConfigError, match="checkpoint_every: 7: expected 50, as barrier is true"):
        load(None, ["ledger.checkpoint_every=7"])
    config = load(None, ["ledger.checkpoint_every=7", "ledger.barrier=false"])
    assert config.ledger.meets_every == 7
    assert load(None, []).ledger.meets_every == 1


def traced(path: Path, *words: str, resume: bool = False) -> None:
    config = load(None, [*SMALL, *FREE, "rounds=9", *words])
    quiet = Console(file=open(os.devnull, "w"))  # noqa: SIM115 - closed with the process
    with (
        RunFolder.open(config, path, resume) as folder,
        Progress(config.rounds, folder.log, quiet) as progress,
    ):
        folder.write_summary(run(config, folder, resume, progress, traced=True))


def test_a_message_trace_has_the_messages_of_all_heights(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    summary = play(tmp_path / "plain", *FREE, "rounds=9")
    traced(whole)
    assert json.loads((whole / "summary.json").read_text())["head"] == summary["head"]
    stopped_at(whole, cut, 7)
    traced(cut, resume=True)
    told, again = (parquet.read_table(path / MESSAGES) for path in (whole, cut))
    assert again.equals(told)
    assert set(told["height"].to_pylist()) == set(range(1, 10))


def test_a_message_trace_ends_with_a_run_that_ends_early(tmp_path: Path) -> None:
    """Messages that were still on their way belong to the last height."""
    parquet = pytest.importorskip("pyarrow.parquet")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    words = ("rounds=12", "evaluation.every=2", "evaluation.patience=1", "training.item_step=30")
    traced(whole, *words)
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["rounds"] % 5, "servers met after the last height"
    assert summary["rounds"] < 12
    told = parquet.read_table(whole / MESSAGES).to_pandas()
    assert set(told.height) == set(range(1, summary["rounds"] + 1))
    assert told.bytes.sum() == summary["gossip_bytes"]
    assert (told[told.height == summary["rounds"]].lost == "over").any()
    stopped_at(whole, cut, summary["rounds"] - 1)
    traced(cut, *words, resume=True)
    assert parquet.read_table(cut / MESSAGES).to_pandas().equals(told)
