"""The global temporal split: one time for all, and nothing of later times in the training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bfedrec.config.load import config_hash, load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data import prepare as data
from bfedrec.data.interactions import DataError, Interactions
from bfedrec.data.prepare import prepare
from bfedrec.data.settings import DataSettings
from bfedrec.data.split import Split
from bfedrec.data.temporal import Cut, TemporalSettings, temporal

Row = tuple[int, int, float]
SHARES = TemporalSettings(validation_share=0.2, test_share=0.2)
KEEP = SHARES.model_copy(update={"cold_items": "keep"})


def interactions(rows: list[Row]) -> Interactions:
    users, items, times = (np.array(column) for column in zip(*rows, strict=True))
    return Interactions(users, items, times.astype(float), np.ones(len(rows), int), None, "test")


def training(split: Split) -> set[tuple[int, int]]:
    """The pairs that are trained on, in the source's ids."""
    u = np.repeat(np.arange(len(split.user_ids)), np.diff(split.indptr))
    users, items = split.user_ids[u], split.item_ids[split.indices]
    return set(zip(users.tolist(), items.tolist(), strict=True))


@st.composite
def some_rows(draw: st.DrawFn) -> list[Row]:
    rows = []
    for user in range(draw(st.integers(2, 6))):
        for item in draw(st.lists(st.integers(0, 14), min_size=1, max_size=10, unique=True)):
            rows.append((10 * user, 100 + item, float(draw(st.integers(0, 12)))))
    # An item that all the others leave untouched, early.
    return [*rows, (1000, 500, 0.0), (1000, 501, 0.0)]


def cut(rows: list[Row], setting: Any, validation: Any, minimum: int = 1) -> tuple[Split, Cut]:
    try:
        split, _, found = temporal(interactions(rows), setting, 0, validation, minimum)
    except DataError:
        assume(False)
        raise
    return split, found


@settings(max_examples=150, deadline=None)
@given(
    some_rows(),
    st.sampled_from([SHARES, KEEP]),
    st.sampled_from(["hold_out", "train"]),
    st.integers(1, 3),
)
def test_training_ends_before_anything_held_out_begins(
    rows: list[Row], setting: TemporalSettings, validation: Any, minimum: int
) -> None:
    split, found = cut(rows, setting, validation, minimum)
    time = {(user, item): at for user, item, at in rows}
    trained = training(split)
    assert max(time[pair] for pair in trained) < found.held_out_from
    users, known = set(split.user_ids.tolist()), set(split.item_ids.tolist())
    # All rows before the cut are trained on, and no count of a user looks beyond it.
    for user in {user for user, _, _ in rows} - users:
        early = [row for row in rows if row[0] == user and row[2] < found.held_out_from]
        late = [row for row in rows if row[0] == user and row[2] >= found.held_out_from]
        assert len(early) < minimum or {i for _, i, _ in [*early, *late]} >= known
    early_pairs = {(u, i) for u, i, at in rows if at < found.held_out_from and u in users}
    assert trained == early_pairs
    assert setting.cold_items == "keep" or known == {i for _, i in trained}
    for u, user in enumerate(split.user_ids.tolist()):
        mine = [row for row in rows if row[0] == user and row[1] in known]
        for held, begin, end in (
            (split.test[u], found.tested_from, np.inf),
            (split.validation[u], found.held_out_from, found.tested_from),
        ):
            within = [at for _, _, at in mine if begin <= at < end]
            if validation == "train" and end < np.inf:
                within = []
            assert (held >= 0) == bool(within)
            if within:
                assert time[user, int(split.item_ids[held])] == min(within)
        listed = np.concatenate([split.test_negatives[u], split.validation_negatives[u]])
        assert not {*split.item_ids[listed[listed >= 0]].tolist()} & {i for _, i, _ in mine}
    assert split.later_than_test == split.test_in_training == 0


@settings(max_examples=100, deadline=None)
@given(some_rows(), st.data())
def test_the_training_does_not_depend_on_what_comes_later(
    rows: list[Row], data: st.DataObject
) -> None:
    """Other late rows of the same number: the same users, items and rows are trained on."""
    split, found = cut(rows, KEEP, "hold_out")
    late = [k for k, row in enumerate(rows) if row[2] >= found.held_out_from]
    other = list(rows)
    for k in late:
        user = data.draw(st.sampled_from([*split.user_ids.tolist(), 77]))
        other[k] = (user, 900 + k, rows[k][2])
    again, second = cut(other, KEEP, "hold_out")
    assert second.held_out_from == found.held_out_from
    assert training(again) == training(split)
    assert again.user_ids.tolist() == split.user_ids.tolist()


ROWS: list[Row] = [
    *((1, item, float(item)) for item in range(6)),  # 0 to 5
    (2, 0, 5.0),
    (2, 1, 7.0),
    (2, 90, 9.0),  # an item that is new at the end
    (2, 3, 9.5),
    (3, 91, 8.0),  # a user who is
    (4, 50, 0.5),
]


def test_what_is_cold_is_counted_and_left_out_or_kept() -> None:
    # Of 12 rows, those from 7.0 on (the tenth of them) are for validation, from 9.0 for the test.
    shares = TemporalSettings(validation_share=1 / 6, test_share=1 / 6)
    split, kept, found = temporal(interactions(ROWS), shares, 0, "hold_out", 1)
    assert (found.held_out_from, found.tested_from) == (7.0, 9.0)
    assert split.user_ids.tolist() == [1, 2, 4]
    assert split.item_ids.tolist() == [0, 1, 2, 3, 4, 5, 50]
    assert [split.item_ids[t] if t >= 0 else None for t in split.test] == [None, 3, None]
    assert [split.item_ids[t] if t >= 0 else None for t in split.validation] == [None, 1, None]
    assert (found.cold_users, found.dropped_users, found.dropped_interactions) == (1, 1, 1)
    assert (found.cold_items, found.cold_interactions, found.cold_tests) == (1, 1, 0)
    assert found.unused_interactions == 0
    assert len(kept.users) == 10
    keep = shares.model_copy(update={"cold_items": "keep"})
    split, _, found = temporal(interactions(ROWS), keep, 0, "hold_out", 1)
    assert split.item_ids.tolist() == [0, 1, 2, 3, 4, 5, 50, 90]
    assert split.item_ids[split.test[1]] == 90
    assert (found.cold_items, found.cold_tests, found.unused_interactions) == (1, 1, 1)
    # Without validation the rows between the cuts are trained on.
    split, _, found = temporal(interactions(ROWS), shares, 0, "train", 1)
    assert (2, 1) in training(split)
    assert found.held_out_from == found.tested_from == 9.0
    # A user with too few rows before the cut is dropped, however many follow: of the one who is
    # left with enough, every item is known.
    with pytest.raises(DataError, match="every user touched every item"):
        temporal(interactions(ROWS), shares, 0, "hold_out", 2)


def test_an_item_that_the_user_had_is_not_tested_again() -> None:
    rows = [(1, 5, 0.0), (1, 6, 1.0), (1, 5, 8.0), (1, 7, 9.0), (2, 7, 0.0), (2, 8, 1.0)]
    shares = TemporalSettings(validation_share=0.1, test_share=0.3)
    split, _, found = temporal(interactions(rows), shares, 0, "train", 1)
    assert split.item_ids[split.test[0]] == 7
    assert found.unused_interactions == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(1, k, 5.0) for k in range(9)], "too many rows have the same time"),
        ([(1, 1, 1.0), (1, 2, float("nan")), (2, 3, 3.0)], "1 of 3 have none"),
        ([(k, k, float(k)) for k in range(10)], "no user with training rows has a test row"),
        ([(1, k, float(k)) for k in range(10)], "every user touched every item"),
    ],
)
def test_rows_that_cannot_be_cut_are_refused(rows: list[Row], message: str) -> None:
    with pytest.raises(DataError, match=message):
        temporal(interactions(rows), TemporalSettings(), 0, "hold_out", 1)
    with pytest.raises(DataError, match="no user has the 9 interactions that are asked for before"):
        temporal(interactions(ROWS), TemporalSettings(), 0, "hold_out", 9)


def test_shares_leave_something_to_train_on() -> None:
    with pytest.raises(ValidationError, match=r"sum must be below 1"):
        TemporalSettings(validation_share=0.5, test_share=0.5)
    with pytest.raises(ConfigError, match=r"data\.split.*temporal, as data\.temporal is set"):
        load(None, ["data.temporal.test_share=0.2"])
    words = ["data.dataset=csv", "data.csv.path=x", "data.csv.duplicates=merge"]
    with pytest.raises(ConfigError, match=r"data\.csv\.duplicates.*refuse, as data\.split"):
        load(None, [*words, "data.split=temporal"])


def test_a_repeated_pair_stays_where_it_was_first(tmp_path: Path) -> None:
    """Merged at its latest row it would be missing from the training, which tells the future."""
    path = tmp_path / "x.inter"
    rows = [(u, (3 * k + u) % 11, 10 * k + u) for u in range(8) for k in range(9)]
    rows += [(0, 0, 1_000), (8, 20, 0), (8, 21, 0)]
    head = "user_id:token\titem_id:token\ttimestamp:float\n"
    path.write_text(head + "".join(f"{u}\t{i}\t{t}\n" for u, i, t in rows))
    section = {"path": str(path), "min_interactions": 1}
    chosen = DataSettings.model_validate({"dataset": "file", "split": "temporal", "file": section})
    dataset = prepare(chosen, None, tmp_path / "c")
    own = dataset.item_ids[dataset.indices[: dataset.indptr[1]]]
    assert 0 in own.tolist()
    assert dataset.statistics.held_out_from is not None
    again = prepare(chosen, None, tmp_path / "c")
    assert again.statistics == dataset.statistics
    usual = chosen.model_copy(update={"split": "leave_one_out"})
    assert prepare(usual, None, tmp_path / "c").digest != dataset.digest
    assert len(list((tmp_path / "c").glob("*.npz"))) == 2


def test_the_split_has_keys_and_hashes_of_its_own_and_the_usual_keeps_its() -> None:
    usual, cut = load(None, []), load(None, ["data.split=temporal"])
    assert config_hash(usual) != config_hash(cut)
    wide = load(None, ["data.split=temporal", "data.temporal.test_share=0.2"])
    keys = {data._options_key(each.data) for each in (usual, cut, wide)}
    assert len(keys) == 3
    assert data._options_key(load(None, ["data.dataset=ml-1m"]).data).startswith("ce74ada8e6f3a0e1")


def test_generated_sources_may_be_cut_too(tmp_path: Path) -> None:
    chosen = DataSettings(dataset="synthetic", split="temporal")
    dataset = prepare(chosen, None, tmp_path)
    assert dataset.statistics.later_than_test == 0
    assert (dataset.test >= 0).any()
    unknown = replace(interactions(ROWS), times=np.full(len(ROWS), np.nan))
    with pytest.raises(DataError, match=r"data\.split=temporal needs the time of every row"):
        temporal(unknown, TemporalSettings(), 0, "hold_out", 1)
