"""Runs side by side: groups over seeds, intervals, differences, options that differ."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from bfedrec.evaluation.intervals import t_interval
from bfedrec.explorer import comparison
from bfedrec.explorer.catalogue import Catalogue
from bfedrec.explorer.comparison import Group, band, changes, grouped, member, rows
from bfedrec.explorer.curves import Reader
from bfedrec.explorer.places import Places
from tests.helpers import shown


def groups_of(root: Path) -> list[Group]:
    kept = Catalogue(Places(root))
    return grouped([member(run, root / run.address) for run in kept.look().runs])


def test_runs_of_one_setting_are_a_group_over_its_seeds(tmp_path: Path) -> None:
    for seed, score in ((0, 0.2), (1, 0.4), (2, 0.3)):
        end = shown.summary(**{"hr@10": score})
        shown.write_run(tmp_path / f"a-s{seed}", f"seed={seed}", "name=other", end=end)
    end = shown.summary(**{"hr@10": 0.7})
    shown.write_run(tmp_path / "b", "model.rank=2", "model.dimension=8", end=end)
    first, second = groups_of(tmp_path)
    assert first.seeds == [0, 1, 2]
    assert second.name == f"tiny {second.identity[:8]}"
    found = {row.name: row.cells for row in rows([first, second])}
    (interval, nothing), (other, difference) = found["hr@10"]
    assert interval == t_interval([0.2, 0.4, 0.3])
    assert nothing is None
    assert other == t_interval([0.7])
    assert difference is not None
    assert difference.mean == pytest.approx(0.4)
    assert difference.low is None
    assert "head" not in found  # a text
    assert changes([first, second]) == [("model.dimension", [4, 8]), ("model.rank", [1, 2])]


def test_the_difference_of_scored_users_has_an_interval_over_users_and_seeds(
    tmp_path: Path,
) -> None:
    ranks = {
        "a": ([0, 3, 20, 50, -1], [1, 40, 2, 60, -1]),
        "b": ([0, 0, 1, 20, -1], [0, 2, 1, 9, 3]),
    }
    for name, seeds in ranks.items():
        for seed, rank in enumerate(seeds):
            scored = [each for each in rank if each >= 0]
            hit = sum(each < 10 for each in scored) / len(scored)
            step = "training.item_step=0.25" if name == "b" else "training.item_step=0.5"
            run = shown.write_run(
                tmp_path / f"{name}-s{seed}",
                f"seed={seed}",
                step,
                end=shown.summary(**{"hr@10": hit}),
            )
            shown.write_ranks(run, rank)
    first, second = groups_of(tmp_path)
    cell = {row.name: row.cells for row in rows([first, second])}["hr@10"][1][1]
    assert cell is not None
    # Over the four users that both have scored under every seed.
    assert cell.mean == pytest.approx((3 / 4 + 4 / 4) / 2 - (2 / 4 + 2 / 4) / 2)
    assert cell.low is not None
    assert cell.high is not None
    assert cell.low < cell.mean < cell.high
    backwards = {row.name: row.cells for row in rows([second, first])}["hr@10"][1][1]
    assert backwards is not None
    assert backwards.mean == pytest.approx(-cell.mean)
    # A file of ranks that is a link tells nothing.
    place = tmp_path / "a-s0/ranks.npz"
    place.rename(tmp_path / "ranks.npz")
    place.symlink_to(tmp_path / "ranks.npz")
    unknown = {row.name: row.cells for row in rows(groups_of(tmp_path))}["hr@10"][1][1]
    assert unknown is not None
    assert unknown.low is None


def test_runs_whose_config_is_of_another_version_go_by_their_hash(tmp_path: Path) -> None:
    for seed in (0, 1):
        run = shown.write_run(tmp_path / f"a-s{seed}", f"seed={seed}", end=shown.summary())
        text = (run / "config.yaml").read_text()
        (run / "config.yaml").write_text(text.replace("model:\n", "model:\n  bygone: 1\n"))
    shown.write_run(tmp_path / "b", "model.dimension=8", end=shown.summary())
    old, new = groups_of(tmp_path)
    assert old.seeds == [0, 1]
    assert old.members[0].told.startswith("config.yaml: model.bygone: unknown key")
    assert changes([old, new]) == []
    assert rows([old, new])[0].cells[0][0] is not None


def test_an_unfinished_run_has_no_final_figures(tmp_path: Path) -> None:
    shown.write_run(tmp_path / "a")
    assert rows(groups_of(tmp_path)) == []


def test_a_group_that_lacks_a_figure_in_a_run_has_none(tmp_path: Path) -> None:
    shown.write_run(tmp_path / "a", "seed=0", end=shown.summary(**{"er@10": 0.5}))
    shown.write_run(tmp_path / "b", "seed=1", end=shown.summary())
    found = {row.name: row.cells for row in rows(groups_of(tmp_path))}
    assert found["er@10"] == ((None, None),)


def test_bands_hold_the_heights_that_all_runs_scored(tmp_path: Path) -> None:
    one = shown.write_run(tmp_path / "a", lines=[shown.line(at, loss=at) for at in (2, 4, 6)])
    two = shown.write_run(tmp_path / "b", lines=[shown.line(at, loss=3 * at) for at in (4, 6, 8)])
    reader = Reader()
    found = band([reader.of(one), reader.of(two)], ["round", "seconds", "loss", "er@10"], 100)
    assert found.heights == (4, 6)
    assert found.values["loss"] == (t_interval([4, 12]), t_interval([6, 18]))
    assert [each.mean for each in found.values["seconds"]] == [6.0, 9.0]
    assert "er@10" not in found.values
    alone = band([reader.of(one)], ["loss"], 2)
    assert alone.heights == (2, 6)
    assert alone.values["loss"][0].low is None
    assert band([reader.of(one), reader.of(tmp_path / "none")], ["loss"], 9).values == {}


def test_twenty_runs_of_many_lines_share_one_quantile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bfedrec.evaluation import intervals

    intervals.t_quantile.cache_clear()
    calls = []
    within = intervals._within
    monkeypatch.setattr(intervals, "_within", lambda *words: calls.append(words) or within(*words))
    lines = [shown.line(at) for at in range(1, 200)]
    runs = [shown.write_run(tmp_path / name, lines=lines) for name in "abc"]
    found = band([Reader().of(run) for run in runs], ["loss", "hr@10"], 1000)
    assert len(found.heights) == 199
    assert len(calls) <= 100  # the bisection of one quantile
    assert not any(math.isnan(each.mean) for each in found.values["loss"])


def test_the_config_of_a_foreign_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(comparison.RunError, match=r"config\.yaml: no such file"):
        comparison.config_of(tmp_path)
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(comparison.RunError, match="not a regular file"):
        comparison.config_of(tmp_path)
