"""RUN/messages.parquet of runs whose servers gossip over a mesh."""

from __future__ import annotations

from pathlib import Path

import pytest

import bfedrec as bf
from bfedrec.explorer.messages import messages_of
from bfedrec.runs.messages import MESSAGES
from consensus.network.mesh import CONTROL
from tests.bfedrec.runs.test_messages import checked_totals
from tests.bfedrec.runs.test_resume import stopped_at
from tests.bfedrec.runs.test_simulation import play
from tests.helpers.shown import served

MESHED = (
    "servers.gossip=mesh",
    "servers.mesh_degree=2",
    "servers.lazy_degree=2",
    "servers.heartbeat_ms=300",
    "faults=[{loss: 0.1, until: 9}, {crash: 1, from: 3, until: 6}, {bit_flip: 0.02, until: 9}]",
    "crypto=modelled",
    "committee.resend_seconds=1",
)
FREE = (*MESHED, "ledger.barrier=false", "ledger.checkpoint_every=5")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with a trace, with a barrier and without."""
    place = tmp_path_factory.mktemp("runs")
    play(place / "traced", *MESHED, traced=True)
    play(place / "free", *FREE, traced=True)
    return place


def test_a_trace_changes_nothing_else_and_its_totals_are_those_of_the_run(
    runs: Path, tmp_path: Path
) -> None:
    play(tmp_path / "plain", *MESHED)
    for name in ("timeline.jsonl", "ranks.npz", "model.safetensors"):
        assert (tmp_path / "plain" / name).read_bytes() == (runs / "traced" / name).read_bytes()
    trace, summary = checked_totals(runs / "traced"), bf.load(runs / "traced").summary
    assert (
        trace[~trace.kind.isin(CONTROL)].groupby("height").message.nunique().sum()
        == (summary["gossip_messages"])
    )
    again = trace[trace.lost == "again"]
    assert len(again) == summary["gossip_duplicates"] > 500
    assert again["size"].sum() == summary["gossip_duplicate_bytes"]
    assert {"ihave", "iwant", "graft", "keepalive"} <= set(trace.kind)
    assert not again.kind.isin(CONTROL).any()
    whole = trace[trace.gossiped & trace.received.notna() & trace.faults.isna()]
    heard = whole.groupby(["height", "message", "receiver", "digest"]).size()
    down = set(trace[trace.lost == "down"].receiver)  # what one forgets as it crashes comes again
    twice = heard[heard > 1].reset_index()
    assert set(twice.receiver) <= down


def test_without_a_barrier_all_rows_together_add_up(runs: Path) -> None:
    run = bf.load(runs / "free")
    trace, summary = run.trace, run.summary
    assert set(trace.height) == set(range(1, 13))
    for kind, size in trace.groupby("kind").bytes.sum().items():
        assert size == summary[f"gossip_bytes_{kind}"], kind
    assert (trace.lost == "again").sum() == summary["gossip_duplicates"]
    trace["epoch"] = (trace.height - 1) // 5
    said = trace[~trace.kind.isin(CONTROL)].groupby("epoch").message.nunique()
    assert said.sum() == summary["gossip_messages"]


@pytest.mark.parametrize("name", ["traced", "free"])
def test_a_run_that_is_cut_and_goes_on_has_the_same_bytes(
    runs: Path, name: str, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    stopped_at(runs / name, cut, 7)
    play(cut, *(MESHED if name == "traced" else FREE), resume=True)
    assert (cut / MESSAGES).read_bytes() == (runs / name / MESSAGES).read_bytes()


def test_the_page_of_a_height_tells_copies_and_control_messages(runs: Path) -> None:
    with served(runs) as client:
        page = client.get("/messages/5/traced")
    assert page.status == 200
    rows, found = bf.load(runs / "traced").trace_of(5), messages_of(runs / "traced", 5)
    assert found is not None
    kinds = {each.kind: each for each in found.kinds}
    assert set(kinds) == set(rows.kind) >= {"keepalive", "ihave"}
    again = (rows.lost == "again").sum()
    assert sum(each.lost.get("again", 0) for each in found.kinds) == again > 0
    assert "came again" in page.text
    assert ">keepalive</th>" in page.text
