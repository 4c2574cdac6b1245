"""The real data sets, where a folder holds them: counts, published items, known quirks, speed."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from bfedrec.data import prepare as data
from bfedrec.data.catalogue import load_catalogue
from bfedrec.data.dataset import Dataset
from bfedrec.data.prepare import prepare
from bfedrec.data.settings import DataSettings

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def cache(prepared: Path) -> Path:
    return prepared


@pytest.fixture(scope="module")
def ml_1m(data_folder: Path, cache: Path) -> Dataset:
    return prepare("ml-1m", data_folder, cache, download=False)


def lines(path: Path) -> list[list[str]]:
    with gzip.open(path, "rt") as file:
        return list(csv.reader(file, delimiter="\t"))


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("ml-1m", "rows"),
        ("pinterest", "rows"),
        ("lfm-2k", "rows"),
        ("lfm-2k", "distinct"),
        ("ml-100k", "rows"),
    ],
)
def test_the_counts_are_the_expected_ones(
    data_folder: Path, cache: Path, name: str, variant: str
) -> None:
    settings = DataSettings.model_validate({"dataset": name, "variant": variant})
    dataset = prepare(settings, data_folder, cache, download=False)
    counts = dataset.statistics
    expected, _ = load_catalogue()[name].expected("shared", variant)
    assert (counts.users, counts.items, counts.interactions) == (
        expected.users,
        expected.items,
        expected.interactions,
    )
    assert round(counts.sparsity, 2) == expected.sparsity
    assert counts.dropped_users == 0
    held_out = 2 * counts.users - counts.without_test - counts.without_validation
    rows = counts.pairs if name == "pinterest" else counts.interactions
    assert len(dataset.indices) == rows - held_out


def test_ml_1m_has_ncfs_test_items_and_negatives(data_folder: Path, ml_1m: Dataset) -> None:
    with gzip.open(data_folder / "ml-1m" / "ncf_item_map.csv.gz", "rt") as file:
        original = {int(row["ncf_item"]): int(row["item"]) for row in csv.DictReader(file)}
    tests = lines(data_folder / "ml-1m" / "ml-1m.test.rating.gz")
    negatives = lines(data_folder / "ml-1m" / "ml-1m.test.negative.gz")
    assert ml_1m.user_ids.tolist() == [int(row[0]) + 1 for row in tests]
    short = 0
    for u, (test, listed) in enumerate(zip(tests, negatives, strict=True)):
        item = original[int(test[1])]
        assert ml_1m.item_ids[ml_1m.test[u]] == item
        mine = ml_1m.test_negatives[u]
        wanted = [original[int(k)] for k in listed[1:]]
        assert ml_1m.item_ids[mine[mine >= 0]].tolist() == [k for k in wanted if k != item]
        short += item in wanted
    assert short == ml_1m.statistics.short_negatives == 156


def test_ml_1m_validation_is_the_latest_other_item(data_folder: Path, ml_1m: Dataset) -> None:
    with gzip.open(data_folder / "ml-1m" / "interactions.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    latest: dict[int, int] = {}
    times: dict[int, int] = {}
    tests = ml_1m.item_ids[ml_1m.test]
    for row in rows:
        user, item = int(row["user"]), int(row["item"])
        if user < 3000 and item != tests[user - 1]:
            order = int(row["timestamp"])
        elif user >= 3000 and row["tail_rank"] and item != tests[user - 1]:
            order = -int(row["tail_rank"])
        else:
            continue
        if user not in times or order > times[user]:
            times[user], latest[user] = order, item
    assert len(latest) == 6040 - 316
    assert ml_1m.statistics.drawn_validations == 316
    for user, item in latest.items():
        assert ml_1m.item_ids[ml_1m.validation[user - 1]] == item


def test_the_order_of_ml_1m_is_known_of_most_users(ml_1m: Dataset) -> None:
    counts = ml_1m.statistics
    assert (counts.ordered_users, counts.ordered_interactions) == (6040 - 316, 595_805)
    assert counts.later_than_test == 0
    first = ml_1m.places[: ml_1m.indptr[2999]]  # of those whose timestamps are known
    assert (first >= 0).all()
    assert (ml_1m.places == 0).sum() == 6040 - 316


@pytest.mark.parametrize(
    ("name", "variant", "known"),
    [
        ("pinterest", "rows", 0),
        ("lfm-2k", "rows", 182_568),
        ("lfm-2k", "distinct", 67_626),
        ("ml-100k", "rows", 98_114),
    ],
)
def test_the_order_of_a_set_is_known_or_not(
    data_folder: Path, cache: Path, name: str, variant: str, known: int
) -> None:
    settings = DataSettings.model_validate({"dataset": name, "variant": variant})
    dataset = prepare(settings, data_folder, cache, download=False)
    assert dataset.statistics.ordered_interactions == known
    assert known in (0, len(dataset.indices))
    assert dataset.statistics.later_than_test == 0


#: What recorded runs were run on: nothing that is added beside the split may move these.
DIGESTS = {
    ("ml-1m", "rows"): "f75cad91c8143a2afeda585b94459b16ddbed1683c54840f6500a6623b72682d",
    ("pinterest", "rows"): "50d0fba076e4bfd141cfa1d9e69386750ce32896d68281e0fb0a83a0ea4343d6",
    ("lfm-2k", "rows"): "64d40af951c1542abdb458311a94bed5b8d69eacddc918241205c7e7f2777193",
    ("lfm-2k", "distinct"): "263469f262cdc8168bfdd48d8605637b67925a33a351dc153216747feb066d1a",
}


@pytest.mark.parametrize(("name", "variant"), DIGESTS)
def test_digests_of_recorded_runs_stay(
    data_folder: Path, cache: Path, name: str, variant: str
) -> None:
    settings = DataSettings.model_validate({"dataset": name, "variant": variant})
    dataset = prepare(settings, data_folder, cache, download=False)
    assert dataset.digest == DIGESTS[name, variant]


def test_held_out_items_and_negatives_are_not_in_training(ml_1m: Dataset) -> None:
    for u in range(0, ml_1m.users, 7):
        mine = set(ml_1m.indices[ml_1m.indptr[u] : ml_1m.indptr[u + 1]].tolist())
        touched = slice(ml_1m.touched_indptr[u], ml_1m.touched_indptr[u + 1])
        assert mine | {ml_1m.test[u], ml_1m.validation[u]} == set(ml_1m.touched_indices[touched])
        for negatives in (ml_1m.test_negatives[u], ml_1m.validation_negatives[u]):
            assert not set(negatives.tolist()) & set(ml_1m.touched_indices[touched].tolist())


def test_ml_1m_is_not_split_again_once_prepared(
    data_folder: Path, cache: Path, ml_1m: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "_split", None)
    assert prepare("ml-1m", data_folder, cache).digest == ml_1m.digest


def test_the_official_form_of_ml_1m_gives_the_same_pairs(
    data_folder: Path, cache: Path, ml_1m: Dataset, tmp_path: Path
) -> None:
    """ratings.dat as GroupLens has it, its unknown times filled in."""
    with gzip.open(data_folder / "ml-1m" / "interactions.csv.gz", "rt") as file:
        rows = csv.DictReader(file)
        text = "".join(f"{r['user']}::{r['item']}::3::{r['timestamp'] or 1}\n" for r in rows)
    (tmp_path / "ratings.dat").write_text(text)
    for name in ("ml-1m.test.rating.gz", "ml-1m.test.negative.gz"):
        (tmp_path / name).write_bytes((data_folder / "ml-1m" / name).read_bytes())
    official = prepare("ml-1m", tmp_path, cache, download=False)
    assert official.statistics.layout == "official"
    for name in ("test", "test_negatives", "touched_indptr", "touched_indices", "item_ids"):
        np.testing.assert_array_equal(getattr(official, name), getattr(ml_1m, name))


def test_pinterest_has_ncfs_test_items(data_folder: Path, cache: Path) -> None:
    dataset = prepare("pinterest", data_folder, cache, download=False)
    tests = lines(data_folder / "pinterest" / "pinterest-20.test.rating.gz")
    wanted = [int(row[1]) for row in tests[: dataset.users]]
    assert dataset.item_ids[dataset.test].tolist() == wanted
    assert (dataset.test_negatives >= 0).all()
    assert (dataset.validation != dataset.test).all()


def test_lfm_2k_rows_leak_and_distinct_does_not(data_folder: Path, cache: Path) -> None:
    rows = prepare("lfm-2k", data_folder, cache, download=False)
    settings = DataSettings(dataset="lfm-2k", variant="distinct")
    distinct = prepare(settings, data_folder, cache, download=False)
    assert rows.statistics.test_in_training == 999
    assert distinct.statistics.test_in_training == 0
    assert distinct.statistics.without_test == 118
    tested = distinct.test >= 0
    np.testing.assert_array_equal(distinct.test[tested], rows.test[tested])
    np.testing.assert_array_equal(distinct.item_ids, rows.item_ids)
    assert (rows.validation != rows.test).all()


def test_the_official_form_of_lfm_2k_keeps_the_published_users(
    data_folder: Path, cache: Path, tmp_path: Path
) -> None:
    """HetRec's tag assignments: Table I's users are those with at least 5 rows."""
    source = data_folder / "hetrec-lastfm" / "user_taggedartists.csv.gz"
    with gzip.open(source, "rt") as file:
        rows = csv.DictReader(file)
        text = "".join(
            f"{r['userID']}\t{r['artistID']}\t{r['tagID']}\t"
            f"{372 * int(r['year']) + 31 * int(r['month']) + int(r['day'])}\n"
            for r in rows
        )
    file_name = "user_taggedartists-timestamps.dat"
    (tmp_path / file_name).write_text("userID\tartistID\ttagID\ttimestamp\n" + text)
    official = prepare("lfm-2k", tmp_path, cache, download=False)
    shared = prepare("lfm-2k", data_folder, cache, download=False)
    assert official.statistics.dropped_users == 292
    assert official.statistics.interactions == 185_650
    np.testing.assert_array_equal(official.user_ids, shared.user_ids)
    np.testing.assert_array_equal(official.item_ids, shared.item_ids)
    assert (official.test == shared.test).mean() > 0.95
