"""Each file format on a tiny sample of its true form: its rows, and where its mistakes are."""

from __future__ import annotations

import gzip
import io
import os
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bfedrec.data import columns as columns_module
from bfedrec.data import files as files_module
from bfedrec.data import lines as lines_module
from bfedrec.data.files import SourceFile
from bfedrec.data.interactions import DataError
from bfedrec.data.layout import FORMATS, format_of
from bfedrec.data.lines import MOST_LINE
from bfedrec.data.prepare import prepare
from bfedrec.data.sets.file import FormatFile
from bfedrec.data.settings import DataSettings

NAN = None


@dataclass(frozen=True)
class Sample:
    """A file of a format, its rows, and changes to it with the error each must give."""

    name: str
    text: str
    rows: list[tuple[Any, ...]]
    """User, item, time, then rating or kind where the format has one."""
    mistakes: tuple[tuple[str, str, str], ...]
    """Old text, new text, and the end of the error."""


INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
AMAZON = (
    '{"rating": 5.0, "title": "Nice \\u00e9", "text": "a, b", "images": [], "asin": "B01", '
    '"parent_asin": "B00YQ6X8EO", "user_id": "AGKHLEW2SOWHNMFQ", "timestamp": 1588687728923, '
    '"verified_purchase": true}\n'
    '{"rating": 4.0, "parent_asin": "B081TJ8YS3", "user_id": "AGKHLEW2SOWHNMFQ", '
    '"timestamp": 1588615855070}\n'
)
SAMPLES = {
    "recbole": Sample(
        "ml-100k.inter",
        f"{INTER}196\t242\t3\t881250949\n186\t302\t3.5\t891717742\n",
        [(196, 242, 881250949.0, 3.0), (186, 302, 891717742.0, 3.5)],
        (
            ("rating:float", "rating:number", "line 1, column 3: 'rating:number' is not NAME:TYPE"),
            ("item_id:token", "item_id", "line 1, column 2: 'item_id' is not NAME:TYPE"),
            (":token\titem", ":float\titem", "line 1, column 1: 'user_id:float' is not of type"),
            ("user_id:", "uid:", "line 1 names no column 'user_id'"),
            ("3.5\t", "3.5x\t", r"line 3, column 'rating:float': '3\.5x' is not a finite number$"),
            ("186\t", "\t", "line 3, column 'user_id:token': '' is not a non-empty text"),
            ("891717742", "8\t9", "line 3: has 5 columns, line 1 has 4"),
        ),
    ),
    "movielens": Sample(
        "ratings.csv",
        "userId,movieId,rating,timestamp\n1,296,5.0,1147880044\n1,306,3.5,1147868817\n",
        [(1, 296, 1147880044.0, 5.0), (1, 306, 1147868817.0, 3.5)],
        (
            ("1147868817", "", "line 3, column 'timestamp': '' is not a finite number$"),
            ("3.5", "nan", "line 3, column 'rating': 'nan' is not a finite number$"),
        ),
    ),
    "amazon-2018": Sample(
        "Magazine_Subscriptions.csv",
        "B00005N7P0,A1QUAC68EAM09F,5.0,1015718400\nB00005N7OW,A1QUAC68EAM09F,4.0,1016000000\n",
        [
            ("A1QUAC68EAM09F", "B00005N7P0", 1015718400.0, 5.0),
            ("A1QUAC68EAM09F", "B00005N7OW", 1016000000.0, 4.0),
        ],
        (("4.0,", "four,", r"line 2, column 'rating \(position 2\)': 'four' is not"),),
    ),
    "amazon-2018-json": Sample(
        "Magazine_Subscriptions_5.json",
        '{"overall": 5.0, "verified": true, "reviewTime": "09 9, 2004", "reviewerID": '
        '"A1QUAC68EAM09F", "asin": "B00005N7P0", "unixReviewTime": 1094688000}\n\n'
        '{"overall": 4.0, "reviewerID": "A2", "asin": "B00005N7P0", "unixReviewTime": 7}\n',
        [
            ("A1QUAC68EAM09F", "B00005N7P0", 1094688000.0, 5.0),
            ("A2", "B00005N7P0", 7.0, 4.0),
        ],
        (
            ('"A2",', '"A2"', "line 3, column 37: Expecting ',' delimiter$"),
            ('"unixReviewTime": 7', '"when": 7', "line 3, key 'unixReviewTime': is missing$"),
            ('"unixReviewTime": 7', '"unixReviewTime": [7]', "key 'unixReviewTime': is neither"),
            (
                '"unixReviewTime": 7',
                '"unixReviewTime": NaN',
                "key 'unixReviewTime': nan is no finite",
            ),
        ),
    ),
    "amazon-2023": Sample(
        "All_Beauty.csv",
        "user_id,parent_asin,rating,timestamp\nAGKH,B00YQ6X8EO,5.0,1588687728923\n",
        [("AGKH", "B00YQ6X8EO", 1588687728923.0, 5.0)],
        (("1588687728923", "soon", "line 2, column 'timestamp': 'soon' is not a finite number$"),),
    ),
    "amazon-2023-json": Sample(
        "All_Beauty.jsonl",
        AMAZON,
        [
            ("AGKHLEW2SOWHNMFQ", "B00YQ6X8EO", 1588687728923.0, 5.0),
            ("AGKHLEW2SOWHNMFQ", "B081TJ8YS3", 1588615855070.0, 4.0),
        ],
        (
            ('"B081TJ8YS3"', '"  "', "line 2, column 'parent_asin': '  ' is not a non-empty text"),
            ('{"rating": 4.0', '[{"rating": 4.0', "line 2, column "),
        ),
    ),
    "steam": Sample(
        "steam-200k.csv",
        '151603712,"The Elder Scrolls V Skyrim",purchase,1.0,0\n'
        '151603712,"Warhammer, the ""2""",play,273.0,0\n',
        [
            (151603712, "The Elder Scrolls V Skyrim", NAN, "purchase"),
            (151603712, 'Warhammer, the "2"', NAN, "play"),
        ],
        ((",play,273.0,0", ",,273.0,0", r"line 2, column 'kind \(position 2\)': '' is not"),),
    ),
    "steam-reviews": Sample(
        "steam_reviews.json",
        "{u'username': u'Chaos Syren', u'hours': 0.1, u'product_id': u'725280', u'date': "
        "u'2017-12-17', u'text': u''}\n"
        "{u'username': u'Ariman1', u'product_id': u'328100', u'date': u'2017-08-02'}\n",
        [("Chaos Syren", 725280, 1513468800.0), ("Ariman1", 328100, 1501632000.0)],
        (
            ("u'Ariman1',", "u'Ariman1'", r"line 2, column \d+: invalid syntax"),
            ("2017-08-02", "2017-13-02", "line 2, column 'date': '2017-13-02' is not a date as"),
            ("u'Ariman1'", "open('x')", "line 2: is no object of format steam-reviews$"),
        ),
    ),
    "gowalla": Sample(
        "loc-gowalla_totalCheckins.txt",
        "0\t2010-10-19T23:55:27Z\t30.2359091167\t-97.7951395833\t22847\n"
        "0\t2010-10-18T22:17:43Z\t30.2691029532\t-97.7493953705\t420315\n",
        [(0, 22847, 1287532527.0), (0, 420315, 1287440263.0)],
        (
            ("18T22", "18T25", r"line 2, column 'time \(position 1\)': '2010-10-18T25:17:43Z' is"),
            ("\t420315", "", r"line 2, column 'item \(position 4\)': '' is not"),
        ),
    ),
    "yelp": Sample(
        "yelp_academic_dataset_review.json",
        '{"review_id":"KU_O5udG6zpxOg","user_id":"mh_-eMZ6K5RLWhZyISBhwA","business_id":'
        '"XQfwVwDr-v0ZS3_CbbE5Xw","stars":3.0,"text":"If you","date":"2018-07-07 22:09:11"}\n',
        [("mh_-eMZ6K5RLWhZyISBhwA", "XQfwVwDr-v0ZS3_CbbE5Xw", 1531001351.0, 3.0)],
        (
            ("2018-07-07 22:09:11", "now", "line 1, column 'date': 'now' is not a date"),
            ('"stars":3.0', '"stars":true', "line 1, key 'stars': is neither text nor a number$"),
        ),
    ),
    "retailrocket": Sample(
        "events.csv",
        "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
        "1433224086234,158090,transaction,5354,4000\n",
        [
            (257597, 355908, 1433221332117.0, "view"),
            (158090, 5354, 1433224086234.0, "transaction"),
        ],
        (("158090,", "158090,,", "line 3: has 6 columns, line 1 has 5$"),),
    ),
    "mind": Sample(
        "behaviors.tsv",
        "1\tU13740\t11/11/2019 9:05:58 AM\tN55189 N42782\tN55689-1 N35729-0\n"
        "2\tU13740\t11/12/2019 6:11:30 PM\tN55189 N42782\tN35729-1\n"
        "3\tU9\t11/12/2019 1:00:00 PM\t\tN1-0\n",
        [
            ("U13740", "N55189", NAN, "history"),
            ("U13740", "N42782", NAN, "history"),
            ("U13740", "N55689", 1573463158.0, "click"),
            ("U13740", "N35729", 1573582290.0, "click"),
        ],
        (
            ("N35729-0", "N35729", "line 1, column 5: 'N35729' is not NEWS-1 or NEWS-0$"),
            ("6:11:30 PM", "18:11:30", "line 2, column 'time': '11/12/2019 18:11:30' is not a ti"),
            ("2\tU13740", "2 U13740", "line 2: has 4 columns, 5 are expected$"),
        ),
    ),
    "table": Sample(
        "mine.tsv",
        "Customer ID\tproduct_id\tCreated At\n7\tB\t2019-11-11\n7\tC\t2019-11-12\n",
        [(7, "B", 1573430400.0), (7, "C", 1573516800.0)],
        (
            (
                "Customer",
                "Person",
                "no column has a usual name for users; name it with data",
            ),
            ("2019-11-12", "12", "line 3, column 'Created At': '12' is not a number, or a date"),
            ("Created At", "product_id", "line 1 names the column 'product_id' 2 times"),
        ),
    ),
}


def told(path: Path, **options: Any) -> list[tuple[Any, ...]]:
    """The rows that a file is read as."""
    source = FormatFile(path=path, **options)
    rows = source.rows(source.files(None).by_role["interactions"])
    columns: list[list[Any]] = [
        rows.user_ids[rows.users].tolist(),
        rows.item_ids[rows.items].tolist(),
        [None] * len(rows.users)
        if rows.times is None
        else [None if time != time else time for time in rows.times.tolist()],
    ]
    if rows.ratings is not None:
        columns.append(rows.ratings.tolist())
    if rows.kinds is not None:
        columns.append(rows.kinds.array().tolist())
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize("name", list(SAMPLES))
def test_a_sample_is_recognised_and_read(name: str, tmp_path: Path) -> None:
    sample = SAMPLES[name]
    path = tmp_path / sample.name
    path.write_text(sample.text, encoding="utf-8")
    assert format_of(SourceFile(path)).name == name
    assert told(path) == told(path, format=name) == sample.rows
    packed = tmp_path / f"{sample.name}.gz"
    packed.write_bytes(gzip.compress(f"\ufeff{sample.text}".replace("\n", "\r\n").encode()))
    assert told(packed) == sample.rows
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr(f"folder/{sample.name}", sample.text)
        if FORMATS[name].names:  # it is known by its name among others
            content.writestr("folder/README.html", "terms")
    assert told(archive) == sample.rows


@pytest.mark.parametrize(
    ("name", "change"), [(name, k) for name, each in SAMPLES.items() for k in each.mistakes]
)
def test_a_mistake_is_told_by_file_line_and_column(
    name: str, change: tuple[str, str, str], tmp_path: Path
) -> None:
    sample, (old, new, message) = SAMPLES[name], change
    assert old in sample.text
    path = tmp_path / sample.name
    head, _, tail = sample.text.rpartition(old)
    path.write_text(f"{head}{new}{tail}", encoding="utf-8")
    with pytest.raises(DataError, match=message) as error:
        told(path, format=name)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["gowalla", "yelp", "mind", "table"])
def test_dates_are_read_the_same_in_every_time_zone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / SAMPLES[name].name
    path.write_text(SAMPLES[name].text)
    try:
        with monkeypatch.context() as changed:
            changed.setenv("TZ", "Asia/Tokyo")
            time.tzset()
            assert told(path) == SAMPLES[name].rows
    finally:
        time.tzset()


def test_every_format_has_a_sample() -> None:
    assert set(FORMATS) == {*SAMPLES, "parquet"}


# --- Parquet --------------------------------------------------------------------------------------


def parquet(path: Path, **columns: Any) -> Path:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as written

    written.write_table(pa.table(columns), path, row_group_size=2)
    return path


def test_parquet_has_ids_of_any_kind_and_times_of_any_kind(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import datetime as dt

    moments = [dt.datetime(2019, 11, 11, 1, k, tzinfo=dt.UTC) for k in range(3)]
    expected = [(3, "a", moments[0].timestamp(), 1.0), (4, "b", moments[1].timestamp(), 2.5)]
    expected.append((3, "c", moments[2].timestamp(), 3.0))
    for unit in ("s", "ms", "us", "ns"):
        path = parquet(
            tmp_path / f"{unit}.parquet",
            note=pa.array([[1], [2], []]),
            user_id=pa.array([3.0, 4.0, 3.0]),
            movieId=pa.array(["a", "b", "c"]).dictionary_encode(),
            Rating=pa.array([1, 2.5, 3], pa.float32()),
            date=pa.array(moments, pa.timestamp(unit, "UTC")),
        )
        assert told(path) == expected
    path = parquet(tmp_path / "named.pq", x=[1, 2], y=["p", "q"])
    assert told(path, user="x", item="y") == [(1, "p", None), (2, "q", None)]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"user": [1, 2, None], "item": [1, 2, 3]}, {}, "row 3, column 'user': '' is not a non-em"),
        ({"user": [1.0, float("nan")], "item": [1, 2]}, {}, "row 2, column 'user': '' is not a"),
        ({"user": [1], "item": [float("inf")]}, {}, "row 1, column 'item': '' is not a non-empty"),
        ({"user": [1], "item": [[1]]}, {}, "column 'item': is of type list<.*: no number, text or"),
        ({"who": [1], "item": [1]}, {}, "no column has a usual name for users; .* has who, item$"),
        ({"user": [1], "item": [1]}, {"time": "at"}, "no column 'at', which data.file.time names"),
        ({"user": [1], "item": [1]}, {"time": "item"}, "must be different columns"),
        ({"user": [], "item": []}, {}, "type null|holds no rows"),
    ],
)
def test_parquets_mistakes_are_told(
    columns: Any, options: Any, message: str, tmp_path: Path
) -> None:
    path = parquet(tmp_path / "mine.parquet", **columns)
    with pytest.raises(DataError, match=message) as error:
        told(path, **options)
    assert str(error.value).startswith(str(path))


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "mine.parquet", user=[1, 2, 3], item=[1, 2, 3])
    content = path.read_bytes()
    for damaged in (b"PAR1 and no more", content[:-5], content[:4] + bytes(60) + content[64:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"mine\.parquet: damaged or no Parquet file"):
            told(path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_an_id_in_json_is_a_finite_number(number: str, tmp_path: Path) -> None:
    path = tmp_path / "review.json"
    rows = SAMPLES["yelp"].text.replace('"user_id":"', f'"user_id":{number},"was":"')
    path.write_text(rows)
    with pytest.raises(DataError, match=r"line 1, key 'user_id': -?(nan|inf) is no finite number"):
        told(path, format="yelp")


# --- options --------------------------------------------------------------------------------------


def test_columns_may_have_other_names_where_a_header_tells_them(tmp_path: Path) -> None:
    path = tmp_path / "mine.inter"
    path.write_text("who:token\titem_id:token\tat:float\n7\t1\t5\n")
    assert told(path, user="who", time="at") == [(7, 1, 5.0)]
    with pytest.raises(DataError, match=r"no column 'when', which data\.file\.time names"):
        told(path, user="who", time="when")
    path.write_text("who:float\titem_id:token\n7\t1\n")
    with pytest.raises(DataError, match="column 1: 'who:float' is not of type token"):
        told(path, user="who")
    path = tmp_path / "ratings.csv"
    path.write_text(SAMPLES["movielens"].text)
    with pytest.raises(DataError, match=r"no data\.file\.user: the columns .* movielens are fixed"):
        told(path, user="movieId")


def test_ids_are_numbers_where_all_are_written_in_one_way(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user,item\n10,007\n9,7\n")
    assert told(path) == [(10, "007", None), (9, "7", None)]
    source = FormatFile(path=path)
    rows = source.rows(SourceFile(path))
    assert rows.user_ids.tolist() == [9, 10]  # by number, not as texts


def test_a_quoted_cell_may_hold_line_ends_and_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('user,note,item\n1,"a\nb\n,c",2\n\n3,"d\n",4\n5,e,\n')
    with pytest.raises(DataError, match="line 8, column 'item': '' is not"):
        told(path)
    path.write_text('user,note,item\n1,"a,2\n3,b,4\n')
    with pytest.raises(DataError, match=r"x\.csv: line 2: has a quote that is not closed$"):
        told(path)


def test_an_open_quote_takes_no_row_along(tmp_path: Path) -> None:
    path = tmp_path / "quote.csv"
    rows = [f"{k // 10},{k % 10}\n" for k in range(60)]
    path.write_text("".join(["user,item\n", *rows, '7,"10\n', "7,11\n", "7,12\n", "7,13\n"]))
    with pytest.raises(DataError, match=r"quote\.csv: line 62: has a quote that is not closed$"):
        told(path)
    path.write_text('user,item\n1,"2"3\n')
    with pytest.raises(DataError, match=r"quote\.csv: line 2: ',' expected after '\"'$"):
        told(path)
    path.write_text('user,"item"\n"a ""b"", c", "d"\n\n"1",e"f"')
    assert told(path) == [('a "b", c', "d", None), ("1", 'e"f"', None)]


def settings(path: Path, **options: Any) -> DataSettings:
    section = {"path": str(path), "min_interactions": 1, **options}
    return DataSettings.model_validate({"dataset": "file", "file": section})


def test_events_are_kept_by_kind(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    rows = [f"{k},{k % 3},{'view' if k % 2 else 'buy'},{k},\n" for k in range(12)]
    path.write_text("timestamp,visitorid,event,itemid,transactionid\n" + "".join(rows))
    assert prepare(settings(path), None, tmp_path / "c").statistics.interactions == 12
    kept = prepare(settings(path, keep=("buy",)), None, tmp_path / "c")
    assert kept.item_ids.tolist() == [0, 2, 4, 6, 8, 10]
    with pytest.raises(DataError, match=r"no row is of kind 'sell'; it has buy, view$"):
        prepare(settings(path, keep=("sell",)), None, tmp_path / "c")
    path = tmp_path / "x.inter"
    path.write_text(f"{INTER}1\t1\t1\t1\n")
    with pytest.raises(DataError, match=r"its format tells no kinds of events for data\.file\.kee"):
        prepare(settings(path, keep=("buy",)), None, tmp_path / "c")


def test_repeats_are_merged_or_refused_and_ids_are_the_sources(tmp_path: Path) -> None:
    path = tmp_path / "x.inter"
    rows = [
        ("u", "a", 4, 1),
        ("u", "b", 4, 2),
        ("u", "a", 4, 3),
        ("v", "c", 1, 1),
        ("v", "d", 5, 2),
    ]
    path.write_text(INTER + "".join("\t".join(map(str, row)) + "\n" for row in rows))
    found = prepare(settings(path), None, tmp_path / "c")
    assert found.user_ids.tolist() == ["u", "v"]
    assert found.item_ids.tolist() == ["a", "b", "c", "d"]
    assert found.item_ids[found.test].tolist() == ["a", "d"]
    assert found.statistics.interactions == 5
    assert found.statistics.pairs == 4
    with pytest.raises(DataError, match=r"1 rows repeat .* \(user u, item a, for one\)"):
        prepare(settings(path, duplicates="refuse"), None, tmp_path / "c")
    liked = prepare(settings(path, threshold=4), None, tmp_path / "c")
    assert liked.statistics.pairs == 3
    with pytest.raises(DataError, match=r"no rating reaches the threshold 6 \(the largest is 5\)"):
        prepare(settings(path, threshold=6), None, tmp_path / "c")
    path.write_text("user_id:token\titem_id:token\n1\t1\n")
    with pytest.raises(DataError, match=r"has no rating for data\.file\.threshold"):
        prepare(settings(path, threshold=6), None, tmp_path / "c")


def test_a_digest_pins_the_content(tmp_path: Path) -> None:
    path = tmp_path / "x.inter"
    path.write_text(f"{INTER}1\t1\t1\t1\n")
    digest = SourceFile(path).digest()
    assert prepare(settings(path, sha256=digest), None, tmp_path / "c").users == 1
    path.write_text(f"{INTER}1\t2\t1\t1\n")
    with pytest.raises(DataError, match=r"its sha256 is [0-9a-f]{64}, data\.file\.sha256 another"):
        prepare(settings(path, sha256=digest), None, tmp_path / "c")


# --- hostile files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "format", ["recbole", "amazon-2023-json", "steam-reviews", "mind", "table"]
)
def test_an_endless_line_ends_early(format: str, tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"[" * (64 * MOST_LINE)))
    with pytest.raises(DataError, match="line 1: is longer than"):
        told(path, format=format)


def test_bombs_and_strange_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep.json"
    for text in ("[" * 100_000, '{"a":' * 100_000, "9" * 5_000, "null", '"x"'):
        for format in ("yelp", "steam-reviews"):
            path.write_text(f"{text}\n")
            with pytest.raises(DataError, match="line 1"):
                told(path, format=format)
    monkeypatch.setattr(lines_module, "MOST_ROWS", 1_000)
    path = tmp_path / "x.inter.gz"
    path.write_bytes(gzip.compress(INTER.encode() + b"\n" * 5_000))
    with pytest.raises(DataError, match="more than 1,000 lines"):
        told(path)
    monkeypatch.setattr(files_module, "MOST_BYTES", 5_000)
    with pytest.raises(DataError, match=r"x\.inter\.gz: holds more than 5,000 bytes"):
        told(path)
    fifo = tmp_path / "pipe.inter"
    os.mkfifo(fifo)
    with pytest.raises(DataError, match="no such file"):
        told(fifo)


def test_ids_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"user,item\n1,2\n1,{'x' * 201}\n")
    with pytest.raises(DataError, match=r"line 3, column 'item': 'x{60}\.\.\.' is not a non-empty"):
        told(path)
    monkeypatch.setattr(columns_module, "MOST_TEXTS", 2)
    path.write_text("user,item\n1,2\n1,3\n1,4\n")
    with pytest.raises(DataError, match="a column has more than 2 different texts"):
        told(path)
    monkeypatch.setattr(columns_module, "MOST_TEXTS", 20)
    monkeypatch.setattr(columns_module, "MOST_MEMORY", 11)
    with pytest.raises(DataError, match="column 'item': 3 texts of up to 1 letters are more than"):
        told(path)


@pytest.mark.parametrize("bad", ["a\0", "a\x07", "a\x1bb", "a\u202eb", "a\u2028b", "\ufeffa"])
def test_ids_that_cannot_be_printed_are_refused(bad: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"user,item\n1,a\n2,{bad}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"x\.csv: line 3, column 'item': .* printable") as error:
        told(path)
    assert str(error.value).isprintable()


def test_ids_of_all_scripts_are_read(tmp_path: Path) -> None:
    ids = [
        "Anna Müller",
        "東京\u3000都",
        "می\u200cخواهم",
        "क्\u200dष",
        "a\xa0b",
        "👩\u200d🚀",
        "№ 5",
    ]
    path = tmp_path / "x.csv"
    path.write_text("user,item\n" + "".join(f"1,{each}\n" for each in ids), encoding="utf-8")
    assert [item for _, item, _ in told(path)] == ids


def test_an_archive_without_interactions_or_encrypted_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.doc", "x")
        archive.writestr("b.doc", "x")
    with pytest.raises(DataError, match="no member is a file of interactions by its name"):
        told(path)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("events.csv", SAMPLES["retailrocket"].text)
    content = bytearray(stream.getvalue())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + place] |= 1  # the flag of encryption
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.zip:events\.csv: cannot be read \(.*encrypted"):
        told(path)


def test_an_unknown_format_names_those_there_are(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(DataError, match=r"not recognised; name it with data\.file\.format: rec"):
        told(path)
    with pytest.raises(DataError, match="is not UTF-8 text"):
        told(path, format="table")
    with pytest.raises(ValueError, match=r"auto \| recbole"):
        FormatFile(format="netflix")
