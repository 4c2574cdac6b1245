"""A pandas frame as the data of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bfedrec as bf
from bfedrec.config.load import config_hash, load
from bfedrec.data import prepare as data
from bfedrec.data.interactions import DataError


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    pairs = [(f"anna {u}", int(i)) for u in range(30) for i in rng.choice(60, 12, replace=False)]
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(len(pairs)), unit="h")
    found = pd.DataFrame(pairs, columns=["who", "what"])
    return found.assign(when=times, stars=rng.integers(1, 6, len(pairs)))


NAMES: dict[str, Any] = {"user": "who", "item": "what", "time": "when", "rating": "stars"}


def test_a_frame_is_the_data_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "default_cache", lambda: tmp_path)
    monkeypatch.setattr("bfedrec.api.frames.default_cache", lambda: tmp_path)
    rows = frame()
    section = bf.dataset(rows, **NAMES, threshold=2)
    run = bf.run(
        "quickstart",
        data=section,
        rounds=2,
        evaluation={"every": 2},
        clients={"per_round": 10},
        out=tmp_path / "run",
        progress=False,
    )
    assert run.data.user_ids.tolist() == sorted(set(rows["who"]))
    assert run.data.statistics.pairs == int((rows["stars"] >= 2).sum())
    assert run.finished
    # The order of time is the frame's.
    kept = rows[(rows["who"] == "anna 0") & (rows["stars"] >= 2)]
    assert run.data.item_ids[run.data.test[0]] == kept["what"].iloc[-1]


def test_the_hash_covers_the_content_and_not_the_place(tmp_path: Path) -> None:
    rows = frame()
    words = [
        bf.dataset(each, **NAMES, cache=tmp_path / name)
        for each, name in (
            (rows, "a"),
            (rows.assign(other=1).set_index("what", drop=False), "b"),
            (rows.iloc[::-1], "c"),
        )
    ]
    one, same, other = (config_hash(bf.read_config("quickstart", data=each)) for each in words)
    assert one == same != other
    # Without the digest of the content, the path tells runs apart.
    paths = [load(None, ["data.dataset=file", f"data.file.path={each}"]) for each in "ab"]
    assert config_hash(paths[0]) != config_hash(paths[1])


def test_ids_and_times_of_all_kinds_are_written_in_one_way(tmp_path: Path) -> None:
    plain = pd.DataFrame({"user": [1, 2], "item": ["a", 'b,"'], "time": [1.5, 1e9]})
    section = bf.dataset(plain, time="time", cache=tmp_path)
    text = Path(section["file"]["path"]).read_text()
    assert text == 'user,item,time\n1,a,1.5\n2,"b,""",1000000000\n'
    other = plain.assign(user=[1.0, 2.0]).astype({"item": "category"})
    assert bf.dataset(other, time="time", cache=tmp_path) == section
    moments = pd.to_datetime(["2024-01-01 00:00:00.0", "2024-01-02 00:00:00.5"])
    for zone in (None, "UTC", "Asia/Tokyo"):
        for unit in ("s", "ms", "us", "ns"):
            column = pd.Series(moments).dt.tz_localize("UTC").dt.tz_convert(zone).dt.as_unit(unit)
            found = bf.dataset(plain.assign(time=column), time="time", cache=tmp_path)
            last = Path(found["file"]["path"]).read_text().splitlines()[-1].split(",")[-1]
            assert last == ("1704153600" if unit == "s" else "1704153600.5")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"user": "whom"}, r"no column 'whom' \(user\); it has who, what, when, stars$"),
        ({"who": None}, {}, "row 0, column 'who': 'None' is no id"),
        ({"who": -1}, {}, "row 0, column 'who': '-1' is no id"),
        ({"who": 1.5}, {}, "row 0, column 'who': '1.5' is no id"),
        ({"who": True}, {}, "row 0, column 'who': 'True' is no id"),
        ({"who": "a\nb"}, {}, "is no id"),
        ({"who": "x" * 201}, {}, "is no id"),
        ({"who": "a\0"}, {}, "is no id"),
        ({"who": " a"}, {}, r"row 0, column 'who': ' a' begins or ends with a space; use .*strip"),
        ({"who": "a\u3000"}, {}, "begins or ends with a space"),
        ({"when": pd.NaT}, {}, "row 0, column 'when': 'NaT' is no finite number"),
        ({"when": "2024-01-01"}, {}, r"column 'when': is no number; use .*to_datetime first"),
        ({"stars": float("inf")}, {}, "row 0, column 'stars': 'inf' is no finite number"),
    ],
)
def test_what_is_no_id_or_number_is_refused(
    change: Any, options: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message) as error:
        bf.dataset(frame().assign(**change), **{**NAMES, **options}, cache=tmp_path)
    assert "\n" not in str(error.value)


def test_an_empty_frame_and_a_double_column_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="frame: holds no rows"):
        bf.dataset(frame().iloc[:0], **NAMES, cache=tmp_path)
    double = pd.DataFrame([[1, 2, 3]], columns=["user", "user", "item"])
    with pytest.raises(DataError, match="more than one column is called 'user'"):
        bf.dataset(double, cache=tmp_path)
