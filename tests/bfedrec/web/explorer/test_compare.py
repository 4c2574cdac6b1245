"""The comparison of runs over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import pytest

from bfedrec.web.explorer import compare
from bfedrec.web.explorer.compare import MOST_RUNS, told
from tests.helpers import shown
from tests.helpers.web import Client


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    for seed in range(3):
        lines = [shown.line(at, **{"hr@10": 0.1 * at + 0.01 * seed}) for at in (2, 4)]
        end = shown.summary(**{"hr@10": 0.4 + 0.01 * seed})
        shown.write_run(tmp_path / f"a-s{seed}", f"seed={seed}", lines=lines, end=end)
    end = shown.summary(**{"hr@10": 0.3})
    shown.write_run(tmp_path / "b", "model.dimension=8", "faults=[]", end=end)
    with shown.served(tmp_path) as found:
        yield found


def query(*runs: str) -> str:
    return urlencode([("run", run) for run in runs])


def test_groups_curves_differences_and_options(client: Client) -> None:
    asked = query("a-s0", "a-s1", "a-s2", "b")
    page = unescape(client.get(f"/compare?{asked}").text)
    assert "0.4100" in page
    assert "[0.3852, 0.4348] n = 3" in page
    assert "−0.1100" in page
    assert "<code>model.dimension</code>" in page
    assert "<td><code>4</code></td><td><code>8</code></td>" in page
    assert f'data-source="/curves?{asked}"' in page
    figure = json.loads(client.get(f"/curves?{asked}").body)
    assert [axis["key"] for axis in figure["x"]] == ["round", "bytes", "gossip", "seconds"]
    assert [axis["key"] for axis in figure["y"]][:3] == ["hr@10", "ndcg@10", "loss"]
    first, second = figure["series"]
    assert first["name"].endswith("(3 seeds)")
    assert first["values"]["hr@10"] == [0.21, 0.41]
    assert first["values"]["seconds"] == [3.0, 6.0]
    assert first["low"]["hr@10"][0] == pytest.approx(0.1852, abs=1e-4)
    assert first["high"]["hr@10"][0] == pytest.approx(0.2348, abs=1e-4)
    assert "low" not in second


def test_groups_of_one_name_stay_apart(client: Client) -> None:
    figure = json.loads(client.get(f"/curves?{query('b', 'a-s0', 'b', 'a-s0')}").body)
    assert len(figure["series"]) == 2


def test_nothing_chosen_and_nothing_there(client: Client) -> None:
    assert "No run is chosen" in client.get("/compare").text
    page = client.get(f"/compare?{query('none', '../x', 'a-s0', '<script>')}").text
    assert page.count('class="note bad"') == 3
    assert "<script>" not in page.replace('<script src="', "")
    assert "a-s0" in page
    assert json.loads(client.get("/curves").body) == {"x": [], "y": [], "series": []}


def test_runs_at_once_are_bounded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "MOST_RUNS", 2)
    page = client.get(f"/compare?{query('a-s0', 'a-s1', 'a-s2', 'b')}").text
    assert "More than 2 runs" in page
    assert "a-s2" not in page
    assert MOST_RUNS >= 20


def test_runs_without_curves_or_end_are_compared_as_far_as_they_go(
    client: Client, tmp_path: Path
) -> None:
    shown.write_run(tmp_path / "new", "seed=9", lines=[])
    page = client.get(f"/compare?{query('new')}").text
    assert "None of these runs has ended." in page
    assert "chart-compare" not in page
    both = json.loads(client.get(f"/curves?{query('new', 'b')}").body)
    assert len(both["series"]) == 1


@pytest.mark.parametrize(
    ("name", "value", "sign", "shown_as"),
    [
        ("hr@10", 0.5, False, "0.5000"),
        ("hr@10", -0.25, True, "−0.2500"),
        ("hr@10", 0.25, True, "+0.2500"),
        ("uplink_bytes", 1500.0, False, "1.5 KB"),
        ("uplink_bytes", -1500.0, True, "−1.5 KB"),
        ("simulated_seconds", 1234.5, False, "1,234.5 s"),
        ("attempts", 12.0, True, "+12"),
        ("steps", 1.25, False, "1.25"),
        ("steps", None, False, "–"),
    ],
)
def test_figures_are_told_by_their_names(
    name: str, value: float | None, sign: bool, shown_as: str
) -> None:
    assert told(name, value, sign) == shown_as


def test_the_pages_of_the_explorer_load_nothing_slow() -> None:
    code = (
        "import sys, bfedrec.web.explorer.app\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    slow = {"torch", "numba", "pandas", "matplotlib"}
    assert slow & set(done.stdout.split()) == set()
