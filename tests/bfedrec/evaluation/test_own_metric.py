"""A metric in a file outside the package: in a run's lines and summary; and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bfedrec.config.help import options
from bfedrec.evaluation.metrics import METRICS, Evaluation, Gain, Metric, compared, metric
from bfedrec.report.curves import curves
from bfedrec.report.paired_users import METRICS as PAPERS
from bfedrec.runs.ranks import read
from tests.bfedrec.runs.test_simulation import metrics, play
from tests.helpers.plugin import imported


@pytest.fixture
def reciprocal(tmp_path: Path) -> Iterator[None]:
    with METRICS.restored():
        imported(tmp_path, "metric")
        yield


def evaluation() -> Evaluation:
    return Evaluation(np.arange(4), np.array([0, 1, 3, 10]), np.array([4, 9, 10, 99]), 10)


@pytest.mark.usefixtures("reciprocal")
def test_a_metric_is_one_file() -> None:
    means = evaluation().means()
    assert list(means) == [
        f"{prefix}{name}@10" for prefix in ("", "full_") for name in ("hr", "ndcg", "mrr")
    ]
    assert means["mrr@10"] == pytest.approx((1 + 1 / 2 + 1 / 4) / 4)
    assert means["full_mrr@10"] == pytest.approx((1 / 5 + 1 / 10) / 4)
    assert evaluation().of("mrr").tolist() == [1.0, 0.5, 0.25, 0.0]
    assert "K of the metrics" in options()["evaluation.k"].description
    assert "; MRR: reciprocal rank" in options()["evaluation.k"].description
    assert list(compared()) == list(PAPERS) == ["hr", "ndcg"]  # tables stay the paper's


@pytest.mark.usefixtures("reciprocal")
def test_a_run_records_and_shows_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    summary = play(run, "crypto=modelled", "rounds=2")
    line = metrics(run)[-1]
    assert 0.0 < summary["ndcg@10"] >= summary["mrr@10"] > 0.0
    assert 0.0 < line["mrr@10"] <= line["ndcg@10"]
    ranks = read(run)
    assert ranks is not None
    assert METRICS["mrr"]().of(ranks.rank[ranks.scored], 10).mean() == summary["mrr@10"]
    assert b"MRR@10" in curves(run, tmp_path / "curves.svg").read_bytes()


def test_without_it_a_run_records_what_it_always_did() -> None:
    assert list(METRICS) == ["hr", "ndcg"]
    assert list(evaluation().means()) == ["hr@10", "ndcg@10", "full_hr@10", "full_ndcg@10"]


@pytest.mark.usefixtures("reciprocal")
def test_what_is_refused_is_said() -> None:
    @dataclass(frozen=True)
    class Other(Gain):
        pass

    with pytest.raises(ValueError, match="metric 'mrr' is registered twice"):
        metric("mrr")(Other)
    for name in ("er", "full_hr", "test_hr"):
        with pytest.raises(ValueError, match="records use this name otherwise"):
            metric(name)
    with pytest.raises(ValueError, match="a name is a small letter"):
        metric("MRR")
    with pytest.raises(ValueError, match=r"metric 'mrs' is not one of .*; did you mean 'mrr'\?"):
        evaluation().of("mrs")
    with pytest.raises(TypeError):
        Metric()  # type: ignore[abstract]
