"""`bfedrec merchants` and its table: what is printed and written, and what is refused."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from bfedrec.cli import merchants_quality
from bfedrec.cli.main import main
from bfedrec.merchants import comparison
from bfedrec.merchants.market import MarketSettings
from bfedrec.merchants.record import LABELS, Comparison, LossRecord, MethodRecord, to_json
from bfedrec.merchants.settings import StepSettings
from bfedrec.report.artefact import Request
from bfedrec.report.tables import merchants
from tests.bfedrec.merchants.event_files import file_of, row

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def shops(tmp_path: Path) -> Path:
    """Two generated shops."""
    sizes = ["--shops", "2", "--customers", "60", "--products", "40", "--events", "600"]
    assert main(["merchants", "events", "generate", "--out", str(tmp_path / "shops"), *sizes]) == 0
    return tmp_path / "shops"


def test_files_are_generated_inspected_and_cut(shops: Path, capsys: Captured) -> None:
    capsys.readouterr()
    first, out = str(shops / "shop-0.csv"), shops / "cut.csv"
    assert main(["merchants", "events", "inspect", first]) == 0
    told = capsys.readouterr().out
    assert "600 events of 600 rows in " in told
    assert "  view " in told
    words = ["--since", "2019-10-03", "--until", "2019-10-20", "--shard", "user:1/3"]
    assert main(["merchants", "events", "cut", first, "--out", str(out), *words]) == 0
    kept = out.read_text().splitlines()
    assert 20 < len(kept) < 400
    assert set(kept) < set(Path(first).read_text().splitlines())
    assert all("2019-10-03" <= line[:10] < "2019-10-20" for line in kept[1:])
    # What exists is not overwritten, and nothing is left of a cut of nothing.
    for wanted, place, problem in (
        ([], out, "exists already"),
        (["--category", "none"], shops / "none.csv", "no event is selected"),
    ):
        words = ["merchants", "events", "cut", first, "--out", str(place), *wanted]
        assert main(words) == 2
        assert problem in capsys.readouterr().err
    assert sorted(path.name for path in shops.iterdir()) == ["cut.csv", "shop-0.csv", "shop-1.csv"]


def test_bad_rows_are_told(tmp_path: Path, capsys: Captured) -> None:
    path = file_of(tmp_path, row(), *[row(price="free")] * 11, "\x1b[31mred")
    assert main(["merchants", "events", "inspect", str(path)]) == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"{path}: 1 events of 13 rows")
    lines = told.err.splitlines()
    assert lines[0] == "12 bad rows (price 11, line 1):"
    assert lines[1].startswith("  line 3: price 'free' is not a price from 0")
    assert lines[-1] == "  and 2 more"
    assert "\x1b" not in told.err
    every = tmp_path / "bad.txt"
    assert main(["merchants", "events", "inspect", str(path), "--bad", str(every)]) == 0
    assert [line.split(":")[0] for line in every.read_text().splitlines()] == [
        f"line {k}" for k in range(3, 15)
    ]
    assert main(["merchants", "events", "inspect", str(path), "--bad", str(every)]) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["events", "inspect", "none.csv"],
        ["events", "inspect", "none.csv", "--since", "yesterday"],
        ["events", "inspect", "none.csv", "--count", "0"],
        ["events", "inspect", "none.csv", "--shard", "brand:0/2"],
        ["events", "generate", "--out", "x", "--shops", "0"],
        ["events", "generate", "--out", "x", "--events", "0"],
        ["events", "generate", "--out", "x", "--seed", "-1"],
        ["train", "none.csv"],
        ["quality", "--seeds", "x"],
    ],
)
def test_bad_usage_is_one_line(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["merchants", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bfedrec: ")


def test_merchants_train_and_average(shops: Path, capsys: Captured) -> None:
    capsys.readouterr()
    words = ["merchants", "train", str(shops / "shop-0.csv"), str(shops / "shop-1.csv")]
    words += ["--epochs", "3", "--rounds", "2"]
    assert main(words) == 0
    told = capsys.readouterr()
    rows = list(csv.DictReader(told.out.splitlines()))
    assert [(one["round"], one["merchant"], one["epoch"]) for one in rows] == [
        (r, m, e) for r in "01" for m in "01" for e in "123"
    ]
    assert all(0 < float(one["test"]) < 1 for one in rows)
    digests = [line for line in told.err.splitlines() if "sha256" in line]
    assert len(set(digests)) == 2
    # The same seed gives the same models, byte by byte.
    assert main(words) == 0
    again = capsys.readouterr()
    assert again.out == told.out
    assert [line for line in again.err.splitlines() if "sha256" in line] == digests
    for wrong, problem in (
        (["--rule", "medium"], "rule 'medium' is not one of plain"),
        (["--step", "0"], "step must be"),
        (["--deviation", "2"], "a deviation lies in"),
        (["--rounds", "0"], "rounds are 1 to"),
    ):
        assert main([*words, *wrong]) == 2
        assert problem in capsys.readouterr().err


# -- the table ------------------------------------------------------------------------------------


def record(pooled: float = 0.3) -> Comparison:
    """A record of two seeds with these values."""
    values = dict.fromkeys(LABELS, 0.1) | {"alone": 0.2, "pooled": pooled}
    methods = {
        name: MethodRecord(
            None if name == "popularity" else StepSettings(100, 0.06, 0.01, 8),
            value,
            {"hr@10": (value, value + 0.02), "ndcg@10": (value / 2, value / 2 + 0.01)},
        )
        for name, value in values.items()
    }
    losses = (LossRecord(0, 0.01, 0.0186, 0.02, 0.0185),)
    return Comparison((3, 5), (800, 801), methods, losses)


def recorded(folder: Path, content: str) -> Request:
    (folder / "merchants").mkdir(exist_ok=True)
    (folder / "merchants" / "quality.json").write_text(content)
    return Request(records=folder)


def test_the_table_shows_the_record(tmp_path: Path) -> None:
    made = merchants.make(recorded(tmp_path, to_json(record())))
    assert (made.lacking, made.wrong) == ("", "")
    rows = {row["method"]: row for row in made.table.rows}
    pooled = rows[LABELS["pooled"]]
    assert pooled["hr@10"] == pytest.approx(0.31)
    assert pooled["hr@10_difference"] == pytest.approx(0.1)
    assert pooled["settings"] == "step 0.06, L2 0.01, 8 negatives"
    assert "hr@10_difference" not in rows[LABELS["alone"]]
    assert any("test 0.0186; of a constant 0.0200 and 0.0185" in note for note in made.table.notes)
    one = merchants.make(replace(recorded(tmp_path, to_json(record())), seeds="5"))
    assert one.table.rows[0]["hr@10"] == pytest.approx(0.12)
    assert one.lacking == ""


def test_the_table_says_what_is_wrong_or_missing(tmp_path: Path) -> None:
    made = merchants.make(recorded(tmp_path, to_json(record(0.2))))
    assert made.wrong == "pooled data are not above a merchant alone in HR@10 and NDCG@10"
    request = recorded(tmp_path, to_json(record()))
    told = merchants.make(replace(request, seeds="3-4")).lacking
    assert "has only seeds 3, 5" in told
    assert "bfedrec merchants quality --seeds 3-4 --out" in told
    assert "do not apply: a=1" in merchants.make(replace(request, overrides=("a=1",))).lacking
    assert "bfedrec merchants quality" in merchants.make(Request(records=tmp_path / "no")).lacking


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"seeds": [0.5]}', to_json(record()).replace('"pooled"', '"x"')]
)
def test_a_damaged_record_is_one_line(content: str, tmp_path: Path, capsys: Captured) -> None:
    recorded(tmp_path, content)
    words = ["table", "merchants", "--from", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "quality.json: no record of `bfedrec merchants quality`" in line


def test_quality_writes_what_the_table_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    tiny = MarketSettings(2, 60, 40)
    monkeypatch.setattr(
        "bfedrec.merchants.comparison.compare",
        lambda seeds, tell, compare=comparison.compare: compare(
            seeds, tell, tiny, 700, [StepSettings(2)]
        ),
    )
    path = tmp_path / "merchants" / "quality.json"
    assert main(["merchants", "quality", "--seeds", "0-1", "--out", str(path)]) == 0
    assert json.loads(path.read_text())["seeds"] == [0, 1]
    words = ["table", "merchants", "--from", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(words) in (0, 1)  # so little teaches nothing
    assert "each merchant alone" in (tmp_path / "out" / "merchants.md").read_text()
    assert merchants_quality.OUT == merchants.OWN
