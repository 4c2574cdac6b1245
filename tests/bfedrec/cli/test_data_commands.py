"""`bfedrec data list | prepare | check`: what they print and when they fail."""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import numpy as np
import pytest

from bfedrec.cli import data as data_commands
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data import prepare as data
from bfedrec.data.catalogue import DATA_SETS, CatalogueEntry, load_catalogue
from bfedrec.data.sets.movielens_100k import MovieLens100K
from tests.conftest import ROOT


def arguments(name: str, source: Path | None = None, *overrides: str) -> argparse.Namespace:
    return argparse.Namespace(name=name, source=source, overrides=list(overrides))


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with u.data of 40 users, whose counts are those of ml-100k's record."""
    rows = [(u, (u + 3 * k) % 120, 3, 1000 + k) for u in range(40) for k in range(20)]
    lines = ["\t".join(map(str, row)) + "\n" for row in rows]
    (tmp_path / "u.data").write_text("".join(lines))
    items = len({row[1] for row in rows})
    counts = {"users": 40, "items": items, "interactions": 800}
    entry = MovieLens100K.entry.model_dump()
    entry["published"] = counts | {"sparsity": round(100 * (1 - 800 / (40 * items)), 2)}
    monkeypatch.setattr(MovieLens100K, "entry", CatalogueEntry.model_validate(entry))
    monkeypatch.delenv("BFEDREC_DATA", raising=False)
    return tmp_path


def test_check_passes_on_the_published_counts(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = small / "cache"
    assert data_commands.check_command(arguments("ml-100k", small), cache) == 0
    printed = capsys.readouterr().out
    assert "GroupLens (published)" in printed
    assert "digest: " in printed


def test_check_fails_on_other_counts(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = small / "u.data"
    # The last user falls under 20 interactions and is dropped.
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    assert data_commands.check_command(arguments("ml-100k", small), small / "cache") == 1
    printed = capsys.readouterr().out
    assert "MISMATCH: ml-100k: users differ" in printed
    assert "users dropped for too few interactions: 1" in printed
    assert "MISMATCH: ml-100k: interactions differ" in printed


def test_the_temporal_split_is_not_compared_with_the_published_counts(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("data.split=temporal", "data.temporal.test_share=0.4")
    assert data_commands.check_command(arguments("ml-100k", small), small / "cache") == 0
    rows = [(u, (u + 3 * k) % 120, 3, 1000 + k) for u in range(40) for k in range(40)]
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    (small / "u.data").write_text(text)
    assert data_commands.check_command(arguments("ml-100k", small, *words), small / "cache") == 0
    printed = capsys.readouterr().out
    assert "temporal split: trained on before 1020, tested from 1024 on" in printed
    assert "MISMATCH" not in printed


def test_prepare_prints_what_came_out(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data_commands.prepare_command(arguments("ml-100k", small), small / "cache") == 0
    printed = capsys.readouterr().out
    assert "training interactions: 720" in printed
    assert "order known: 720 training interactions (100.0 %) of 40 users" in printed
    assert "later than their test item" not in printed
    assert len(list((small / "cache").glob("ml-100k-*.npz"))) == 1


def test_list_tells_what_is_at_hand(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = argparse.Namespace(toml=False)
    assert data_commands.list_command(nothing, small / "cache") == 0
    assert "no: would be downloaded" in capsys.readouterr().out
    monkeypatch.setenv("BFEDREC_DATA", str(small))
    data_commands.list_command(nothing, small / "cache")
    printed = capsys.readouterr().out
    assert f"official files: {small / 'u.data'}" in printed
    assert "licence: GroupLens" in printed


def test_the_written_catalogue_says_what_the_classes_say(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert data_commands.list_command(argparse.Namespace(toml=True)) == 0
    told = tomllib.loads(capsys.readouterr().out)
    entries = {name: CatalogueEntry.model_validate(entry) for name, entry in told.items()}
    assert entries == load_catalogue()
    written = tomllib.loads((ROOT / "datasets" / "catalogue.toml").read_text(encoding="utf-8"))
    assert written == {name: told[name] for name in written}


def test_every_registered_data_set_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BFEDREC_DATA", raising=False)
    data_commands.list_command(argparse.Namespace(toml=False), tmp_path)
    printed = capsys.readouterr().out
    for name, kind in DATA_SETS.items():
        assert f"\n{name} " in printed
        assert kind.summary() in printed


def test_a_file_of_ones_own_is_checked_with_its_columns_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.tsv"
    rows = [f"u{u}|i{(u + k) % 50}\n" for u in range(5) for k in range(20)]
    file.write_text("who|what\n" + "".join(rows))
    columns = ("user=who", "item=what", "ids=text", "delimiter='|'")
    overrides = [f"data.csv.{column}" for column in columns]
    assert data_commands.check_command(arguments("csv", file, *overrides), tmp_path / "cache") == 0
    assert "ours (nothing is published)" in capsys.readouterr().out


def test_unknown_names_and_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'ml-1m'"):
        data_commands.check_command(arguments("ml1m"), tmp_path)
    with pytest.raises(ConfigError, match=r"data\.sed"):
        data_commands.check_command(arguments("ml-1m", None, "data.sed=1"), tmp_path)


def test_synthetic_data_show_learning(tmp_path: Path) -> None:
    """A low-rank model must beat popularity by far, and popularity must beat chance (0.10)."""
    dataset = data.prepare("synthetic", None, tmp_path)
    again = data.prepare("synthetic", None, tmp_path / "other")
    assert dataset.digest == again.digest
    other = data.DataSettings(dataset="synthetic", seed=1)
    assert data.prepare(other, None, tmp_path).digest != dataset.digest
    assert (dataset.users, dataset.statistics.without_test) == (600, 0)
    assert (dataset.test_negatives >= 0).all()
    rating = np.zeros((dataset.users, dataset.items))
    rating[np.repeat(np.arange(dataset.users), dataset.sample_counts), dataset.indices] = 1
    u, s, v = np.linalg.svd(rating, full_matrices=False)

    def hr(scores: np.ndarray) -> float:
        positive = scores[np.arange(dataset.users), dataset.test]
        negatives = np.take_along_axis(scores, dataset.test_negatives, axis=1)
        return float(((negatives >= positive[:, None]).sum(axis=1) < 10).mean())

    popularity = hr(np.tile(rating.sum(axis=0), (dataset.users, 1)))
    low_rank = hr((u[:, :12] * s[:12]) @ v[:12])
    assert 0.15 < popularity < 0.45
    assert low_rank > 0.65


def ratings(path: Path) -> Path:
    rows = [
        (u, (7 * u + 3 * k) % 90, 1 + k % 5, 978_300_000 + 3_600 * ((7 * u + 5 * k) % 97))
        for u in range(30)
        for k in range(12)
    ]
    rows.append(rows[0])
    path.write_text(
        "userId,movieId,rating,timestamp\n" + "".join(f"{u},{i},{r},{t}\n" for u, i, r, t in rows)
    )
    return path


def test_a_file_is_checked_by_its_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ratings(tmp_path / "ratings.csv")
    assert data_commands.check_command(arguments(str(path)), tmp_path / "cache") == 0
    printed = capsys.readouterr().out
    for line in (
        f"{path}: format movielens: MovieLens 20M",
        "  rows: 361",
        "  users: 30",
        "  rows per user: 12 at least, 12 in the middle, 13 at most",
        "  times: 100.0 % of the rows have one, from 2000-12-31 22:00:00 UTC to 2001-01-04 22:00",
        "  ratings: 1: 91, 2: 90, 3: 60, 4: 60, 5: 60",
        "  WARNING: 1 rows repeat a user-item pair (data.file.duplicates)",
        "training interactions: 300",
    ):
        assert line in printed
    words = ("data.split=temporal", "data.file.min_interactions=1")
    assert data_commands.check_command(arguments(str(path), None, *words), tmp_path / "cache") == 0
    printed = capsys.readouterr().out
    assert "temporal split: trained on before 9785" in printed
    assert "later interactions neither trained on nor tested: " in printed
    assert data_commands.prepare_command(arguments(str(path)), tmp_path / "cache") == 0
    path.write_text(path.read_text().replace("1,7,1,", "1,7,one,"))
    with pytest.raises(data.DataError, match=r"line 14, column 'rating': 'one' is not a finite"):
        data_commands.check_command(arguments(str(path)), tmp_path / "cache")


def test_what_is_odd_about_a_file_is_told_on_plain_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.tsv"
    rows = [f"u{u}\ti[red]{u}{k}\t3\n" for u in range(20) for k in range(5)]
    rows += [f"u0\tj{k}\t3\n" for k in range(40)]
    path.write_text("user\titem\trating\n" + "".join(rows))
    assert data_commands.check_command(arguments(str(path)), tmp_path / "cache") == 0
    printed = capsys.readouterr().out
    for line in (
        "WARNING: user 'u0' has 32 % of all rows",
        "WARNING: 100 % of the items have fewer than 5 rows",
        "WARNING: no row has a time: held-out items are drawn",
        "WARNING: all ratings are equal",
    ):
        assert line in printed
    path.write_text("user\titem\trating\n" + "".join(rows).replace("red", "red\x1b"))
    with pytest.raises(data.DataError, match=r"line 2, column 'item': 'i\[red\\x1b\]00' is not a"):
        data_commands.check_command(arguments(str(path)), tmp_path / "cache")
    assert "\x1b" not in capsys.readouterr().out
    path.write_text("user\titem\ttime\n" + "".join(f"a\t{k}\t{k // 4}\n" for k in range(9)))
    with pytest.raises(data.DataError, match="every user touched every item"):
        data_commands.check_command(arguments(str(path)), tmp_path / "cache")
    printed = capsys.readouterr().out
    assert "WARNING: there is one user or item only" in printed
    assert "WARNING: the times are no dates since 1970: only their order counts" in printed
    assert "WARNING: 67 % of the rows have the same time as another row of the user" in printed


def test_foreign_kinds_of_events_neither_fill_the_page_nor_turn_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kinds are named as the file has them, cut, and without characters that turn the line."""
    path = tmp_path / "events.csv"
    kinds = ["view\u202e\u2066\x9b31m", *("k" * (90 + k) for k in range(9))]
    rows = [
        f"{1433221332117 + k},{k % 20},{kinds[k % 11 % 10]},{k % 7 + k // 40},\n"
        for k in range(400)
    ]
    header = "timestamp,visitorid,event,itemid,transactionid\n"
    path.write_text(header + "".join(rows), encoding="utf-8")
    assert data_commands.check_command(arguments(str(path)), tmp_path / "cache") == 0
    printed = capsys.readouterr().out
    assert "kinds of events: " in printed
    assert "view\N{REPLACEMENT CHARACTER}" in printed
    assert not set(printed) & {"\u202e", "\u2066", "\x9b"}
    (line,) = (each for each in printed.split("\n  ") if each.startswith("kinds of events"))
    assert "k" * 90 in "".join(line.split())
    assert "…" in line
