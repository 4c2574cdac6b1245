"""Implicit ALS through the ledger: the same bytes every time, audited, resumed, under attack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bfedrec.cli.audit import audit_command
from bfedrec.runs import ranks
from tests.bfedrec.runs.test_simulation import lasting, metrics, play

IALS = (
    "training.method=ials",
    "training.l2=0.01",
    "model.rank=8",
    "model.basis=identity",
    "compression.kind=ternary",
    "compression.size=2",
    "aggregation.rule=uniform",
    "optimizer.kind=row_adaptive",
    "optimizer.memory_permille=900",
    "clients.downlink=catch_up",
    "clients.snapshot_every=3",
    "ledger.retain_updates=all",
    "evaluation.recency=true",
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("ials")
    return path, play(path, *IALS)


def test_one_seed_gives_one_head(reference: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    path, summary = reference
    assert lasting(play(tmp_path, *IALS)) == lasting(summary)
    assert metrics(tmp_path) == metrics(path)
    assert summary["uplink_bytes"] > 120 * 60 * (2 + 2)


def test_the_audit_recomputes_aggregates_and_snapshots(
    reference: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit_command(reference[0]) == 0
    assert "12" in capsys.readouterr().out


@pytest.mark.parametrize("until", [1, 4, 7])
def test_a_resumed_run_has_the_same_state(
    reference: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    until: int,
) -> None:
    """V and s follow from the blocks, so that a resume needs nothing that is not there."""
    from bfedrec.runs.simulation import Simulation

    path, summary = reference
    recorded = Simulation._record

    def stop(self: Simulation, played: Any) -> None:
        recorded(self, played)
        if played.height == until:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Simulation, "_record", stop)
        with pytest.raises(KeyboardInterrupt):
            play(tmp_path, *IALS)
    assert lasting(play(tmp_path, *IALS, resume=True)) == lasting(summary)
    for name in ("model.safetensors", "ranks.npz"):
        assert (tmp_path / name).read_bytes() == (path / name).read_bytes()


def test_ordered_figures_stand_beside_the_others(reference: tuple[Path, dict[str, Any]]) -> None:
    path, summary = reference
    kept = ranks.read(path)
    assert kept is not None
    assert kept.ordered_rank is not None
    assert kept.ordered_full_rank is not None
    for prefix, rank in (
        ("", kept.rank),
        ("full_", kept.full_rank),
        ("ordered_", kept.ordered_rank),
        ("ordered_full_", kept.ordered_full_rank),
    ):
        assert rank is not None
        hits = (rank[rank >= 0] < 10).mean()
        assert summary[f"{prefix}hr@10"] == pytest.approx(hits)
    line = json.loads((path / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"hr@10", "ordered_hr@10", "ordered_ndcg@10"} <= set(line)
    assert not np.array_equal(kept.rank, kept.ordered_rank)


def test_order_changes_nothing_that_anybody_else_sees(
    reference: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """Without recency every message and block but the genesis' digest of the config is the same."""
    plain = play(tmp_path, *IALS, "evaluation.recency=false")
    summary = reference[1]
    assert not [key for key in plain if key.startswith("ordered_")]
    same = {key: summary[key] for key in plain if key not in ("head",)}
    assert lasting(plain | {"head": ""}) == lasting(same | {"head": ""})
    assert (tmp_path / "model.safetensors").read_bytes() == (
        reference[0] / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize(
    "attack",
    [
        "sign_flip",
        "label_flip",
        "gaussian",
        "push",
    ],
)
@pytest.mark.parametrize("rule", ["uniform", "median", "multi_krum"])
def test_attacks_and_robust_rules_see_these_updates(tmp_path: Path, attack: str, rule: str) -> None:
    group = f"attack: {attack}, share: 0.2" + (", items: [3]" if attack == "push" else "")
    overrides = [each for each in IALS if not each.startswith("aggregation")]
    summary = play(
        tmp_path,
        *overrides,
        "rounds=4",
        f"aggregation.rule={rule}",
        f"clients.malicious=[{{{group}}}]",
    )
    assert summary["malicious_updates"] > 0
    assert summary["malicious_updates_aggregated"] == summary["malicious_updates"]
    assert audit_command(tmp_path) == 0
