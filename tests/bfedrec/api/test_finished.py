"""A run's folder as an object: figures, users, model, chain, audit, curves, pages."""

from __future__ import annotations

import csv
import json
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bfedrec as bf
from bfedrec.config.yaml_core import ConfigError
from bfedrec.runs.folder import RunError
from bfedrec.runs.recommend import write_lists
from tests.bfedrec.api.test_playing import OPTIONS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> bf.Run:
    """A tiny finished run that keeps its updates."""
    options = {**OPTIONS, "ledger": {"retain_updates": "all"}}
    return bf.run(options, out=tmp_path_factory.mktemp("api") / "run", progress=False)


def test_the_frames_are_what_the_files_hold(run: bf.Run) -> None:
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert list(run.metrics.index) == [line["height"] for line in lines] == [2, 4, 6]
    assert list(run.metrics["ndcg@10"]) == [line["ndcg@10"] for line in lines]
    users = run.users
    for name in ("hr@10", "ndcg@10", "full_hr@10", "full_ndcg@10"):
        assert users[name].mean() == pytest.approx(run.summary[name], abs=1e-12)
    assert ((users["rank"] < 10) == (users["hr@10"] == 1)).all()
    assert len(users) == run.summary["users_scored"]
    assert run.data.users >= len(users)
    assert run.model.shape == (run.data.items, 4)
    assert run.model.dtype == np.float32


def test_the_chain_is_iterated(run: bf.Run) -> None:
    chain = run.chain
    assert len(chain) == 6
    assert [block.height for block in chain] == [1, 2, 3, 4, 5, 6]
    assert chain[-1].cid == run.summary["head"] == chain.summary.head
    blocks = chain.blocks
    assert list(blocks.index) == [1, 2, 3, 4, 5, 6]
    assert list(blocks["parent"][1:]) == list(blocks["cid"][:-1])
    assert blocks.loc[3, "votes"] == chain.votes(3)["voted"].sum()
    updates = chain.updates(2)
    assert len(updates) == blocks.loc[2, "updates"]
    assert updates["samples"].sum() == blocks.loc[2, "samples"]
    for height in (0, 7, -7):
        with pytest.raises(IndexError, match="heights 1 to 6"):
            chain[height]


def test_the_audit_finds_another_head(run: bf.Run) -> None:
    assert run.audit().passed
    assert run.audit(str(run.summary["head"])).passed
    other = run.chain[2].cid
    assert not run.audit(other).passed
    with pytest.raises(ValueError, match="CID"):
        run.audit("nothing")


def test_a_row_tells_of_each_height(run: bf.Run, tmp_path: Path) -> None:
    heights = run.heights
    assert list(heights.index) == [1, 2, 3, 4, 5, 6]
    assert set(heights["outcome"]) == {"decided"}
    assert heights["attempts"].sum() == run.summary["attempts"]
    assert heights["messages"].sum() == run.summary["gossip_messages"]
    assert heights["bytes"].sum() == run.summary["gossip_bytes"]
    assert heights["seconds"].sum() == pytest.approx(run.summary["simulated_seconds"])
    assert not heights["captured"].any()
    (tmp_path / "config.yaml").write_text("rounds: 3\n")
    (tmp_path / "timeline.jsonl").write_text("{}\n")
    with pytest.raises(RunError, match=r"timeline\.jsonl"):
        _ = bf.load(tmp_path).heights


def test_attacks_on_clients_are_a_frame(run: bf.Run) -> None:
    found = run.privacy(["sign", "popularity"])
    assert list(found.index) == ["sign", "popularity"]
    assert found.loc["sign", "auc"] > found.loc["popularity", "auc"]
    assert (found["updates"] == 6 * 4).all()
    early = run.privacy(["sign"], rounds=[1, 2], holder="reader")
    assert early.loc["sign", "updates"] == 8
    assert early.attrs["notes"] == []
    for options, told in (
        ({"attacks": ["sgin"]}, "'sgin': not one of .*did you mean 'sign'"),
        ({"holder": "nobody"}, "holder 'nobody'"),
    ):
        with pytest.raises(ConfigError, match=told):
            run.privacy(**options)


def test_curves_and_lists(run: bf.Run, tmp_path: Path) -> None:
    figure = run.plot(tmp_path / "curves.png")
    assert len(figure.axes) == 3
    assert (tmp_path / "curves.png").read_bytes() == (run.path / "curves.png").read_bytes()
    lists = run.recommend(3)
    assert list(lists.columns) == ["q_id", "doc_id", "score"]
    assert (lists.groupby("q_id").size() == 3).all()
    user = lists["q_id"].iloc[0]
    assert set(run.recommend(3, user)["q_id"]) == {user}


def test_lists_have_the_ids_and_scores_of_the_file(tmp_path: Path) -> None:
    """Among them ids that pandas takes for a gap, unless it is told otherwise."""
    rng = np.random.default_rng(0)
    users, items = ["NA", "null", "nan", "None", "007"], [f"i{n}" for n in range(28)]
    items += ["N/A", "NULL"]
    rows = [(u, i) for u in users for i in rng.choice(items, 9, replace=False)]
    frame = pd.DataFrame(rows, columns=["user", "item"])
    data = bf.dataset(frame, cache=tmp_path, min_interactions=3)
    options = {"rounds": 2, "clients": {"per_round": 2}, "evaluation": {"every": 2}}
    run = bf.learn({}, data=data, out=tmp_path / "run", progress=False, **options)
    lists = run.recommend(30)
    write_lists(run.path, 30, tmp_path / "lists.csv")
    with (tmp_path / "lists.csv").open(newline="") as file:
        _, *written = csv.reader(file)
    assert lists["q_id"].tolist() == [row[0] for row in written]
    assert lists["doc_id"].tolist() == [row[1] for row in written]
    assert lists["score"].tolist() == [float(row[2]) for row in written]
    assert set(lists["q_id"]) == set(users)
    assert {"N/A", "NULL"} <= set(lists["doc_id"])


def test_pages_are_served_until_they_are_closed(run: bf.Run) -> None:
    with run.explore(open_browser=False) as pages:
        with urllib.request.urlopen(pages.url) as answer:
            assert run.path.name in answer.read().decode()
        assert pages.url in pages._repr_html_()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(pages.url)


def test_a_run_shows_itself(run: bf.Run) -> None:
    shown = run._repr_html_()
    assert str(run.summary["head"]) in shown
    assert f"{run.summary['hr@10']:.4f}" in shown
    assert repr(run) == f"bfedrec.load({str(run.path)!r})"


def test_a_path_is_escaped(run: bf.Run, tmp_path: Path) -> None:
    odd = tmp_path / "<script>"
    odd.symlink_to(run.path)
    assert "<script>" not in bf.load(odd)._repr_html_()


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        bf.load(tmp_path)
    (tmp_path / "config.yaml").write_text("rounds: 3\n")
    run = bf.load(tmp_path)
    assert run.metrics.empty
    for name in ("summary", "users", "model", "chain"):
        with pytest.raises(RunError):
            getattr(run, name)
