"""The notebooks of docs/tutorials: their form, and that each runs and shows what its prose says."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from bfedrec.config.shipped import experiments

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))

FACTS = {
    "01-first-run": """
        assert run.summary["hr@10"] > 0.25 and len(run.users) == run.summary["users_scored"]
        assert audit.passed and audit.report.aggregates == 30
        assert again.path == run.path and other.summary["head"] != run.summary["head"]
    """,
    "02-your-own-data": """
        assert bf.check(data).rows["rows"] == f"{len(shop):,}"
        assert "later interactions" in repr(bf.check(data, split="temporal"))
        assert any("rated below the threshold" in name for name in bf.check(liked).split)
        assert run.summary["ndcg@10"] > 2 * common.summary["ndcg@10"]
        assert set(run.recommend(top=3)["q_id"]) == set(shop["who"])
        assert mistake == "broken.csv: line 42, column 'stars': 'many' is not a finite number"
    """,
    "03-your-own-parts": """
        assert own.config.aggregation.rule == "quorum" and own.audit().passed
        assert refused.endswith("aggregation.least: 0: expected int >= 1 <= 1000")
        honest = play().summary
        assert honest["malicious_updates"] == 0 < attacked.summary["malicious_updates_aggregated"]
        assert (scores["a third mirrors"] < scores["honest"]).all()
        assert late.summary["simulated_seconds"] > 2 * prompt.summary["simulated_seconds"]
        assert full.chain.summary.protocol == "full" and full.audit().passed
        assert outcome.failure == "height 1: the aggregate is not that of its 30 updates"
    """,
    "04-a-third-malicious": """
        assert third.summary["blocks"] == honest.summary["blocks"] == 20
        assert third.summary["captured_blocks"] == 0 < third.summary["blocked_committees"]
        assert third.summary["simulated_seconds"] > 2 * honest.summary["simulated_seconds"]
        assert third.heights["attempts"].sum() == third.summary["attempts"] > 40
        tried = {way: play(f"{way}:1/3", rounds=8) for way in ways}
        evidence = {way: run.heights["evidence"].sum() for way, run in tried.items()}
        assert evidence == {way: run.summary["evidence"] for way, run in tried.items()}
        assert evidence["equivocate_candidates"] and evidence["spam"]
        assert evidence["tamper"] == evidence["silent"] == 0
        assert captured(8) == 0 < captured(3)
        assert small.heights["captured"].sum() == small.summary["captured_blocks"] == 1
        assert "height 10: the aggregate is not that of" in small.audit().failure
        assert blind.summary["captured_blocks"] == 1 and blind.audit().passed
        assert "0 of 12 servers have a block" in reason
    """,
    "05-reading-a-chain": """
        assert len(chain) == 20 and block.problems == () and block.weight >= block.needed
        assert list(chain.blocks["parent"][1:]) == list(chain.blocks["cid"][:-1])
        assert len(updates) == 20 and updates["valid"].all()
        assert audit.passed and audit.report.blocks == 20 == audit.report.aggregates
        told = [forged("again", change).failure for change in (flip_payload, flip_block)]
        assert "has another hash" in told[0] and told[1].startswith("height 7: ")
        assert "root" in forged("again", drop_update).failure
        assert "the chain ends here" in forged("again", cut).failure
        assert "the head is" in other.audit(run.summary["head"]).failure
    """,
    "06-privacy": """
        assert found(plain) > 0.99 and found(secure) < 0.7
        assert abs(secure.privacy(["masked"]).loc["masked", "auc"] - 0.5) < 0.05
        assert found(grouped(3)) > found(grouped(15))
        assert secure.summary["uplink_bytes"] > unmasked.summary["uplink_bytes"]
        assert runs["epsilon 10"].summary["dp_epsilon"] < 10.01
        assert found(runs["no noise"]) > 0.99 > 0.6 > found(runs["epsilon 10"])
    """,
    "07-scaling-out": """
        assert set(frame["state"]) == {"finished"} and set(frame["head"]) <= set(more["head"])
        assert spent.sum() > 0 and "profile_" not in "".join(bf.run(base, seed=10).summary)
        assert learnt.summary["ledger"] == "none"
        assert len(rounds) == 3 and all(seconds > 0 for seconds in rounds)
    """,
    "08-comparing-methods": """
        assert list(table["seeds"]) == [4, 4, 4] and table["lead"].isna().sum() == 1
        assert (table["low"] < table["mean"]).all() and (table["mean"] < table["high"]).all()
        assert table.loc["per_item", "lead_low"] > 0 and table.loc["uniform", "p"] > 0.1
        assert sorted(best["aggregation.rule"]) == sorted(rules)
    """,
}
"""Statements about the names that a notebook leaves, executed in its kernel after its own cells."""

LONG = {"06-privacy", "07-scaling-out", "08-comparing-methods"}
"""Notebooks of more than ten processor seconds."""


def test_each_notebook_has_facts_and_a_place() -> None:
    assert [path.stem for path in TUTORIALS] == list(FACTS)
    assert [path.stem[:3] for path in TUTORIALS] == [f"{n:02d}-" for n in range(1, 9)]


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    ids = [cell.id for cell in notebook.cells]
    slug = path.stem[3:]
    assert ids == [f"{slug}-{number:02d}" for number in range(1, len(ids) + 1)]
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    for cell in notebook.cells:
        assert cell.cell_type in ("markdown", "code")
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert len(cell.source.splitlines()) <= 40, "more than one idea in a cell"
            assert "!" not in {line.strip()[:1] for line in cell.source.splitlines()}


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_what_a_notebook_links_to_is_there(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (path.parent / link).is_file(), link
    for name in re.findall(r'bf\.run\("([\w-]+)"', str(notebook)):
        assert f"{name}.yaml" in experiments()


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[pytest.mark.slow] if path.stem in LONG else [])
        for path in TUTORIALS
    ],
    ids=lambda path: path.stem,
)
def test_a_notebook_runs_and_shows_what_it_says(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("BFEDREC_DATA", raising=False)  # a tutorial needs no downloads
    notebook = nbformat.read(path, as_version=4)
    facts = "\n".join(line.strip() for line in FACTS[path.stem].strip().splitlines())
    notebook.cells.append(nbformat.v4.new_code_cell(facts))
    work = tmp_path / "work"
    work.mkdir()
    NotebookClient(
        notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": work}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not any(output.output_type == "stream" and output.name == "stderr" for output in outputs)
    pictures = sum("image/png" in output.get("data", {}) for output in outputs)
    assert pictures >= (0 if path.stem[:2] == "05" else 1)
