"""The generated data set of any size: its split, its sizes, and what learning can find in it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import ValidationError

from bfedrec.data.dataset import Dataset
from bfedrec.data.files import Files
from bfedrec.data.prepare import prepare
from bfedrec.data.sets import generated
from bfedrec.data.sets.generated import Generated
from bfedrec.data.settings import DataSettings
from bfedrec.data.split import Arrays, leave_one_out

SIZE: dict[str, Any] = {"clients": 900, "items": 400, "interactions": 27_000}
NONE = Files("generated", {})


def made(cache: Path, **options: Any) -> Dataset:
    return prepare(
        DataSettings(dataset="generated", generated=Generated(**{**SIZE, **options})), cache=cache
    )


@pytest.mark.parametrize("validation", ["hold_out", "train"])
def test_its_split_is_leave_one_out_of_its_rows(
    validation: Literal["hold_out", "train"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generated, "CHUNK", 400)  # three generators
    source = Generated(**SIZE)
    split = source.split(3, validation)
    expected = leave_one_out(source.read(NONE, 3), 3, "latest", validation)
    drawn = {"validation_negatives", "test_negatives"}  # from streams of its own
    for name in {each.name for each in fields(Arrays)} - drawn | {"places"}:
        assert np.array_equal(getattr(split, name), getattr(expected, name)), name
    for u in range(source.clients):
        touched = split.touched_indices[split.touched_indptr[u] : split.touched_indptr[u + 1]]
        assert len(set(split.test_negatives[u])) == 99
        assert not set(split.test_negatives[u]) & set(touched)
        if validation == "hold_out":
            assert len(set(split.validation_negatives[u])) == 99
            assert not set(split.validation_negatives[u]) & set(touched)
    assert validation == "hold_out" or (split.validation_negatives == -1).all()
    assert not np.array_equal(split.validation_negatives, split.test_negatives)
    lists = split.test_negatives
    assert 0 <= lists.min() <= lists.max() == 399


def test_it_has_the_sizes_that_are_asked_for(tmp_path: Path) -> None:
    data = made(tmp_path)
    counts = data.statistics
    assert (counts.users, counts.items, counts.interactions) == (900, 400, 27_000)
    assert (counts.pairs, counts.disliked, counts.dropped_users) == (27_000, 0, 0)
    assert (counts.without_test, counts.ordered_users) == (0, 900)
    sizes = np.diff(data.touched_indptr)
    assert sizes.min() >= 3
    assert sizes.std() > 5
    full = Generated(clients=20, items=400, interactions=2_000)  # as many as there may be
    assert np.diff(full.split(0, "train").touched_indptr).sum() == 2_000


def test_one_seed_gives_one_data_set(tmp_path: Path) -> None:
    one, kept = made(tmp_path), made(tmp_path)
    assert one.digest == kept.digest
    assert one.digest == made(tmp_path / "again").digest
    other = prepare(
        DataSettings(dataset="generated", generated=Generated(**SIZE), seed=1), cache=tmp_path
    )
    assert other.digest != one.digest
    trained = DataSettings(dataset="generated", generated=Generated(**SIZE), validation="train")
    assert len(prepare(trained, cache=tmp_path).indices) == len(one.indices) + 900


def test_popularity_is_zipfs() -> None:
    even, steep = (
        np.sort(np.bincount(Generated(**SIZE, exponent=exponent).read(NONE, 0).items))[::-1]
        for exponent in (0.0, 1.2)
    )
    assert even[:4].sum() < 600
    assert steep[:4].sum() > 1_500


def test_users_have_tastes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users who share an item share others: pairs of items stand together more than by chance."""

    def together() -> float:
        rows, table = Generated(**SIZE, exponent=0.0).read(NONE, 0), np.zeros((900, 400))
        table[rows.users, rows.items] = 1
        share = table.mean(axis=0)
        beyond = table.T @ table / 900 - np.outer(share, share)
        np.fill_diagonal(beyond, 0)
        return float(np.abs(beyond).mean())

    with_tastes = together()
    monkeypatch.setattr(generated, "AFFINITY", 0.0)
    assert with_tastes > 1.15 * together()


def test_heavy_users_of_few_popular_items_come_to_an_end() -> None:
    """Popularity alone would propose the same few items for ever."""
    rows = Generated(clients=2, items=400, interactions=200, exponent=3.0).read(NONE, 0)
    assert len(set(zip(rows.users.tolist(), rows.items.tolist(), strict=True))) == 200


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"interactions": 2_699}, "interactions=2699 must be 2700 to 90000"),
        ({"interactions": 90_001}, "interactions=90001 must be 2700 to 90000"),
        ({"items": 399}, "greater than or equal to 400"),
        ({"exponent": -0.1}, "greater than or equal to 0"),
    ],
)
def test_impossible_sizes_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Generated(**{**SIZE, **options})


def test_a_digest_is_of_the_bytes_in_any_layout(tmp_path: Path) -> None:
    data = made(tmp_path)
    turned = replace(data, test_negatives=np.asfortranarray(data.test_negatives), digest="")
    assert turned.digest == data.digest
