"""Where files come from: archives, folders, downloads; digests; the cache of prepared data."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bfedrec.config.help import help_text
from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data import prepare as data
from bfedrec.data.catalogue import DATA_SETS, CatalogueEntry, load_catalogue
from bfedrec.data.entry import FileEntry, Layout
from bfedrec.data.files import Files
from bfedrec.data.interactions import DataError, Interactions, interactions_of
from bfedrec.data.prepare import prepare
from bfedrec.data.sets.movielens_1m import MovieLens1M
from bfedrec.data.settings import DataSettings
from bfedrec.data.source import TAKEN, Catalogued, DataSource, data_set
from bfedrec.data.textfile import ID, read_columns
from bfedrec.section import flatten

USERS, ITEMS = 30, 150


def official_rows() -> list[tuple[int, int, int, int]]:
    """ratings.dat of a tiny MovieLens 1M: user u rates 25 items; times grow along the row."""
    return [
        (u + 1, 10 * ((7 * u + 3 * k) % ITEMS) + 5, 1 + k % 5, 978300000 + k)
        for u in range(USERS)
        for k in range(25)
    ]


def write_official(folder: Path) -> dict[str, Path]:
    """ml-1m.zip and NCF's two files, as their publishers lay them out."""
    rows = official_rows()
    ncf = {item: k for k, item in enumerate(dict.fromkeys(row[1] for row in rows))}
    folder.mkdir(parents=True, exist_ok=True)
    tests, negatives = [], []
    for u in range(USERS):
        mine = [row for row in rows if row[0] == u + 1]
        touched = {ncf[row[1]] for row in mine}
        item = ncf[mine[-2][1]]  # not the latest, so that the published choice shows
        tests.append(f"{u}\t{item}\t{mine[-2][2]}\t{mine[-2][3]}\n")
        listed = [k for k in range(len(ncf)) if k not in touched][:99]
        if u == 0:
            listed[5] = item  # the quirk of 156 of NCF's lists
        negatives.append("\t".join([f"({u},{item})", *map(str, listed)]) + "\n")
    files = {
        "zip": folder / "ml-1m.zip",
        "test": folder / "ml-1m.test.rating",
        "negative": folder / "ml-1m.test.negative",
    }
    with zipfile.ZipFile(files["zip"], "w") as archive:
        archive.writestr("ml-1m/README", "terms")
        archive.writestr("ml-1m/ratings.dat", "".join("::".join(map(str, r)) + "\n" for r in rows))
    files["test"].write_text("".join(tests))
    files["negative"].write_text("".join(negatives))
    return files


def write_shared(folder: Path) -> None:
    official = write_official(folder / "official")
    (folder / "ml-1m").mkdir()
    lines = ["user,item,rating,timestamp,tail_rank\n"]
    for user, item, rating, time in official_rows():
        # User 1 has times, user 2 neither times nor ranks, the others the ranks of their tail.
        k = time - 978300000
        rank = str(25 - k) if user > 2 and k >= 15 else ""
        known = user == 1 or k == 23
        lines.append(f"{user},{item},{rating if known else ''},{time if known else ''},{rank}\n")
    for name, content in (
        ("interactions.csv", "".join(lines).encode()),
        ("ml-1m.test.rating", official["test"].read_bytes()),
        ("ml-1m.test.negative", official["negative"].read_bytes()),
    ):
        (folder / "ml-1m" / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
    for path in official.values():
        path.unlink()


def digest(path: Path, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, path.read_bytes()).hexdigest()}"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with both layouts of a tiny ml-1m that its record describes; its files' server."""
    official = write_official(tmp_path / "official")
    write_shared(tmp_path / "shared")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path / "official"))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    entry = MovieLens1M.entry.model_dump()
    for role, name, algorithm in (
        ("interactions", "zip", "md5"),
        ("test", "test", "sha256"),
        ("negatives", "negative", "sha256"),
    ):
        file = entry["layouts"]["official"]["files"][role]
        file["url"] = f"http://127.0.0.1:{server.server_port}/{official[name].name}"
        file["digest"] = digest(official[name], algorithm)
        shared = entry["layouts"]["shared"]["files"][role]
        shared["digest"] = digest(tmp_path / "shared" / shared["path"])
    monkeypatch.setattr(MovieLens1M, "entry", CatalogueEntry.model_validate(entry))
    monkeypatch.delenv("BFEDREC_DATA", raising=False)
    yield tmp_path
    server.shutdown()
    server.server_close()
    thread.join()


def extract(folder: Path) -> None:
    with zipfile.ZipFile(folder / "ml-1m.zip") as archive:
        archive.extractall(folder)
    (folder / "ml-1m.zip").unlink()


def test_every_form_of_the_official_files_gives_the_same_data(tiny: Path) -> None:
    folder = tiny / "official"
    from_folder = prepare("ml-1m", folder, tiny / "a", download=False)
    from_archive = prepare("ml-1m", folder / "ml-1m.zip", tiny / "b", download=False)
    extract(folder)
    from_extracted = prepare("ml-1m", folder, tiny / "c", download=False)
    from_file = prepare("ml-1m", folder / "ml-1m", tiny / "d", download=True)
    digests = {d.digest for d in (from_folder, from_archive, from_extracted, from_file)}
    assert len(digests) == 1
    assert from_folder.statistics.layout == "official"
    assert from_folder.statistics.published_tests == USERS
    assert from_folder.statistics.short_negatives == 1


def test_the_held_out_items_are_the_published_and_the_latest_other(tiny: Path) -> None:
    dataset = prepare("ml-1m", tiny / "official", tiny / "cache", download=False)
    rows = official_rows()
    for u in range(USERS):
        mine = [row[1] for row in rows if row[0] == u + 1]
        assert dataset.item_ids[dataset.test[u]] == mine[23]
        assert dataset.item_ids[dataset.validation[u]] == mine[24]
    assert (dataset.sample_counts == 23).all()
    assert dataset.test[0] not in dataset.test_negatives[0]


def test_the_shared_layout_orders_by_times_then_ranks_then_a_draw(tiny: Path) -> None:
    dataset = prepare("ml-1m", tiny / "shared", tiny / "cache", download=False)
    official = prepare("ml-1m", tiny / "official", tiny / "cache", download=False)
    np.testing.assert_array_equal(dataset.test, official.test)
    np.testing.assert_array_equal(dataset.test_negatives, official.test_negatives)
    np.testing.assert_array_equal(
        np.delete(dataset.validation, 1), np.delete(official.validation, 1)
    )
    assert dataset.statistics.drawn_validations == 1
    assert dataset.statistics.layout == "shared"


def test_latest_needs_no_published_files(tiny: Path) -> None:
    for name in ("ml-1m.test.rating", "ml-1m.test.negative"):
        (tiny / "official" / name).unlink()
    settings = DataSettings(dataset="ml-1m", test="latest")
    dataset = prepare(settings, tiny / "official", tiny / "cache", download=False)
    mine = [row[1] for row in official_rows() if row[0] == 1]
    assert dataset.item_ids[dataset.test[0]] == mine[24]
    with pytest.raises(DataError, match=r"ml-1m\.test\.rating, .*not found.*data\.test=latest"):
        prepare("ml-1m", tiny / "official", tiny / "cache", download=False)


def test_what_lacks_beside_an_archive_is_found_elsewhere(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tiny / "alone").mkdir()
    (tiny / "official" / "ml-1m.zip").rename(tiny / "alone" / "ml-1m.zip")
    monkeypatch.setenv("BFEDREC_DATA", str(tiny / "shared"))
    dataset = prepare("ml-1m", tiny / "alone" / "ml-1m.zip", tiny / "cache", download=False)
    assert dataset.statistics.layout == "official"
    assert dataset.statistics.published_tests == USERS


def test_an_explicit_source_wins_over_the_environment(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BFEDREC_DATA", str(tiny / "official"))
    explicit = prepare("ml-1m", tiny / "shared", tiny / "cache")
    assert explicit.statistics.layout == "shared"
    assert prepare("ml-1m", None, tiny / "cache").statistics.layout == "official"
    (tiny / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: does not hold ml-1m; expected ml-1m\.zip or"):
        prepare("ml-1m", tiny / "empty", tiny / "cache")
    with pytest.raises(DataError, match="no such file or folder"):
        prepare("ml-1m", tiny / "nowhere", tiny / "cache")


@pytest.mark.parametrize(
    "path", ["shared/ml-1m/interactions.csv.gz", "official/ml-1m.zip", "official/ml-1m.test.rating"]
)
def test_a_damaged_file_is_refused_by_its_digest(tiny: Path, path: str) -> None:
    content = bytearray((tiny / path).read_bytes())
    content[len(content) // 2] ^= 1
    (tiny / path).write_bytes(content)
    with pytest.raises(DataError, match=r"its record says .* fetch it again") as error:
        prepare("ml-1m", tiny / path.split("/")[0], tiny / "cache", download=False)
    assert str(tiny / path) in str(error.value)
    assert not (tiny / "cache").exists()


def test_official_files_are_downloaded_and_checked(tiny: Path) -> None:
    cache = tiny / "cache"
    dataset = prepare("ml-1m", None, cache)
    assert dataset.digest == prepare("ml-1m", tiny / "official", tiny / "b").digest
    assert sorted(path.name for path in (cache / "downloads").iterdir()) == [
        "ml-1m.test.negative",
        "ml-1m.test.rating",
        "ml-1m.zip",
    ]
    # Without the network: from the download, and without that from what was prepared.
    for path in (tiny / "official").iterdir():
        path.unlink()
    assert prepare("ml-1m", None, cache, download=False).digest == dataset.digest
    for path in (cache / "downloads").iterdir():
        path.unlink()
    assert prepare("ml-1m", None, cache, download=False).digest == dataset.digest
    assert data.at_hand(DataSettings(dataset="ml-1m"), cache).startswith("prepared: ")


def test_a_download_that_is_not_the_file_is_refused(tiny: Path) -> None:
    (tiny / "official" / "ml-1m.test.negative").write_text("<html>moved</html>")
    with pytest.raises(DataError, match=r"does not have the digest sha256.*--from PATH"):
        prepare("ml-1m", None, tiny / "cache")
    assert not (tiny / "cache" / "downloads" / "ml-1m.test.negative").exists()


def test_without_network_the_error_says_what_to_do(tiny: Path) -> None:
    (tiny / "official" / "ml-1m.zip").unlink()
    with pytest.raises(DataError, match=r"ml-1m\.zip: cannot be downloaded .*BFEDREC_DATA"):
        prepare("ml-1m", None, tiny / "cache")
    assert data.at_hand(DataSettings(dataset="ml-1m"), tiny / "cache") == ""


def test_prepared_data_are_reused_verified_and_rebuilt(tiny: Path) -> None:
    cache = tiny / "cache"
    first = prepare("ml-1m", tiny / "official", cache)
    (path,) = cache.glob("*.npz")
    written = path.read_bytes()
    stamp = path.stat().st_mtime_ns
    again = prepare("ml-1m", tiny / "official", cache)
    assert path.stat().st_mtime_ns == stamp
    assert again.digest == first.digest
    assert again.statistics == first.statistics
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(array, getattr(again, name))
        assert array.dtype == getattr(again, name).dtype
    rng = np.random.default_rng(0)
    for place in rng.integers(len(written), size=60):
        damaged = bytearray(written)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        assert prepare("ml-1m", tiny / "official", cache).digest == first.digest
    # A sound file whose arrays are not those that its digest is of.
    path.write_bytes(written)
    with np.load(path) as content:
        arrays = dict(content)
    arrays["test"] = np.roll(arrays["test"], 1)
    np.savez(path, **arrays)
    np.testing.assert_array_equal(prepare("ml-1m", tiny / "official", cache).test, first.test)
    # Nor places that are not those of their own digest, nor none at all.
    with np.load(path) as content:
        arrays = dict(content)
    assert (arrays["places"] >= 0).any()
    for places in ({"places": arrays["places"][::-1]}, {}):
        np.savez(
            path, **{name: array for name, array in arrays.items() if name != "places"}, **places
        )
        again = prepare("ml-1m", tiny / "official", cache)
        np.testing.assert_array_equal(again.places, first.places)
    # A sound file of other options under this one's name.
    other = prepare(DataSettings(dataset="ml-1m", seed=1), tiny / "official", tiny / "other")
    (theirs,) = (tiny / "other").glob("*.npz")
    path.write_bytes(theirs.read_bytes())
    assert prepare("ml-1m", tiny / "official", cache).digest == first.digest != other.digest
    path.write_bytes(written[: len(written) // 2])
    assert prepare("ml-1m", tiny / "official", cache).digest == first.digest
    assert not list(cache.glob("*.tmp"))


def test_options_and_sources_have_their_own_prepared_files(tiny: Path) -> None:
    cache = tiny / "cache"
    digests = set()
    for settings in (
        DataSettings(dataset="ml-1m"),
        DataSettings(dataset="ml-1m", seed=1),
        DataSettings(dataset="ml-1m", validation="train"),
        DataSettings(dataset="ml-1m", test="latest"),
    ):
        digests.add(prepare(settings, tiny / "official", cache).digest)
    digests.add(prepare("ml-1m", tiny / "shared", cache).digest)
    assert len(digests) == len(list(cache.glob("*.npz"))) == 5
    # An option of another data set makes no difference.
    prepare(DataSettings(dataset="ml-1m", variant="distinct"), tiny / "official", cache)
    assert len(list(cache.glob("*.npz"))) == 5
    with pytest.raises(DataError, match="2 different sources"):
        prepare("ml-1m", None, cache, download=False)


def another(value: Any) -> Any:
    """A value other than this one, valid or not."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return (*value, "one more")
    return f"{value}?" if isinstance(value, str) else 1 if value is None else value + 1


@pytest.mark.parametrize("dataset", list(DATA_SETS))
def test_every_option_has_its_own_prepared_file(dataset: str) -> None:
    """But for those that make no difference, which are listed with their reason here again."""
    settings = DataSettings.model_validate({"dataset": dataset})
    # A name that another data set has for its own options, and a file that counts by its digest.
    idle = {
        "synthetic": "synthetic.",
        "generated": "generated.",
        "csv": "csv.",
        "file": "file.",
        "lfm-2k": "variant",
    }
    without = tuple(prefix for owner, prefix in idle.items() if owner != dataset)
    keys = {data._options_key(settings)}
    without_difference = []
    for option, value in flatten(settings).items():
        *section, name = option.split(".")
        new = Path("my.csv") if name == "path" else another(value)
        changed: dict[str, Any] = {name: new}
        for outer in section:
            changed = {outer: getattr(settings, outer).model_copy(update=changed)}
        if option == "dataset":
            changed = {"dataset": "csv" if dataset == "synthetic" else "synthetic"}
        key = data._options_key(settings.model_copy(update=changed))
        if key in keys:
            without_difference.append(option)
        keys.add(key)
    # Files that count by their content, and the cuts of a split that is not the chosen one.
    without = (*without, "csv.path", "file.path", "file.sha256", "temporal.")
    expected = [key for key in flatten(settings) if key.startswith(without)]
    assert without_difference == expected


@pytest.mark.parametrize("dataset", list(load_catalogue()))
def test_a_changed_minimum_has_its_own_prepared_file(
    dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = load_catalogue()[dataset]
    settings = DataSettings(dataset=dataset)
    keys = set()
    for minimum in (5, 6):
        changed = entry.model_copy(update={"min_interactions": minimum})
        monkeypatch.setattr(DATA_SETS[dataset], "entry", changed)
        keys.add(data._options_key(settings))
    assert len(keys) == 2


def test_a_changed_minimum_is_prepared_anew(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prepare("ml-1m", tiny / "official", tiny / "cache").users == USERS
    entry = MovieLens1M.entry.model_copy(update={"min_interactions": 26})
    monkeypatch.setattr(MovieLens1M, "entry", entry)
    with pytest.raises(DataError, match="no user has the 26 interactions"):
        prepare("ml-1m", tiny / "official", tiny / "cache")


def test_users_below_the_minimum_are_dropped_before_the_split(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    rows = [f"{u},{i}\n" for u, n in ((1, 5), (2, 4), (3, 1)) for i in range(n)]
    file.write_text("user,item\n" + "".join(rows) + "9,77\n" * 1)
    settings = DataSettings.model_validate(
        {"dataset": "csv", "csv": {"path": str(file), "min_interactions": 1}}
    )
    dataset = prepare(settings, None, tmp_path / "cache")
    assert dataset.users == 4
    assert dataset.sample_counts.tolist() == [3, 2, 1, 1]
    assert dataset.statistics.without_test == 2
    strict = settings.model_copy(
        update={"csv": settings.csv.model_copy(update={"min_interactions": 6})}
    )
    lacking = "csv: no user has the 6 interactions .* has 5; lower data.csv.min_interactions$"
    with pytest.raises(DataError, match=lacking):
        prepare(strict, None, tmp_path / "cache")
    with pytest.raises(DataError, match="no such file"):
        prepare(settings, tmp_path / "other.csv", tmp_path / "cache")


def csv_settings(path: Path, **options: Any) -> DataSettings:
    section = {"path": str(path), "min_interactions": 1, **options}
    return DataSettings.model_validate({"dataset": "csv", "csv": section})


def test_items_rated_below_the_threshold_are_not_untouched(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    rows = [f"{u},{(u + i) % 9},{1 + (u * i) % 5},{i}\n" for u in range(8) for i in range(7)]
    file.write_text("user,item,stars,time\n" + "".join(rows))
    settings = csv_settings(file, rating="stars", threshold=3, time="time")
    dataset = prepare(settings, None, tmp_path / "cache")
    cells = [tuple(map(int, row.split(","))) for row in rows]
    liked = {(user, item) for user, item, stars, _ in cells if stars >= 3}
    # Users 0 and 5 like nothing.
    low = {(u, i) for u, i, _, _ in cells if u % 5} - liked
    assert dataset.statistics.disliked == len(low) == 20
    assert dataset.statistics.pairs == len(liked)
    for u, user in enumerate(dataset.user_ids.tolist()):
        listed = np.concatenate([dataset.test_negatives[u], dataset.validation_negatives[u]])
        training = dataset.indices[dataset.indptr[u] : dataset.indptr[u + 1]]
        for ids in (dataset.item_ids[listed[listed >= 0]], dataset.item_ids[training]):
            assert not {(user, item) for item in ids.tolist()} & low
    # Without a threshold nothing is different from before there were disliked items.
    plain = prepare(csv_settings(file, time="time"), None, tmp_path / "cache")
    assert plain.statistics.disliked == 0
    assert plain.digest == "45206974d5ee4f5418f7e3c3b0a62fec5d30fdd78d1a00341d90f199653c8104"


def test_users_who_touched_every_item_are_left_out_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    rows = [(1, i) for i in range(7)] + [(3, i) for i in range(4)] + [(5, i) for i in range(2, 6)]
    file.write_text("user,item\n" + "".join(f"{u},{i}\n" for u, i in [*rows, (4, 0), (4, 1)]))
    dataset = prepare(csv_settings(file, min_interactions=3), None, tmp_path / "cache")
    counts = dataset.statistics
    assert (dataset.user_ids.tolist(), dataset.items) == ([3, 5], 6)
    assert (counts.dropped_users, counts.dropped_interactions) == (1, 2)
    assert (counts.crowded_users, counts.interactions, counts.pairs) == (1, 8, 8)
    file.write_text("user,item\n1,1\n1,2\n2,1\n2,2\n")
    with pytest.raises(DataError, match=r"^csv: every user touched every item: nothing is left"):
        prepare(csv_settings(file), None, tmp_path / "cache")


def test_the_catalogue_names_every_source() -> None:
    catalogue = load_catalogue()
    in_csv = ["ml-20m", "ml-25m", "ml-32m"]
    assert list(catalogue) == ["ml-1m", "pinterest", "lfm-2k", "ml-100k", *in_csv]
    for name, entry in catalogue.items():
        assert set(entry.layouts) == ({"official"} if name in in_csv else {"official", "shared"})
        assert entry.licence
        assert entry.citation
        for file in entry.layouts["official"].files.values():
            assert file.url is not None
            assert file.url.startswith("https://")
        for file in entry.layouts["shared"].files.values() if name not in in_csv else ():
            assert file.digest is not None
        for counts in (entry.published, entry.expected("official", "")[0]):
            sparsity = 100 * (1 - counts.interactions / (counts.users * counts.items))
            assert counts.sparsity == round(sparsity, 2)


# --- a data set is one class ----------------------------------------------------------------------


def visits(minimum: int) -> type[Catalogued]:
    """A data set of one's own: visits.csv, with users of at least so many rows."""
    record = MovieLens1M.entry.model_dump() | {
        "title": "Visits to a shop",
        "min_interactions": minimum,
        "layouts": {"official": Layout(files={"interactions": FileEntry(path="visits.csv")})},
    }

    class Visits(Catalogued):
        entry = CatalogueEntry.model_validate(record)

        def read(self, files: Files, seed: int) -> Interactions:
            table = read_columns(files.by_role["interactions"], {"user": ID, "item": ID})
            times = np.arange(len(table["user"]), dtype=np.float64)
            return interactions_of(files.layout, table["user"], table["item"], times)

    return Visits


def test_a_data_set_is_a_class_that_configs_help_and_preparation_know(tmp_path: Path) -> None:
    rows = [f"{u},{(7 * u + 3 * k) % 120}\n" for u in range(6) for k in range(4 + u)]
    (tmp_path / "visits.csv").write_text("user,item\n" + "".join(rows))
    with DATA_SETS.restored():
        data_set("visits")(visits(6))
        assert "visits: Visits to a shop" in " ".join(help_text().split())
        settings = load(None, ["data.dataset=visits", "data.test=latest"]).data
        dataset = prepare(settings, tmp_path, tmp_path / "cache", download=False)
        assert (dataset.users, dataset.statistics.dropped_users) == (4, 2)
        keys = [data._options_key(settings)]
        assert list((tmp_path / "cache").glob(f"visits-{keys[0][:16]}-*.npz"))
        with pytest.raises(ConfigError, match=r"'visit': expected .*did you mean 'visits'"):
            load(None, ["data.dataset=visit"])
        with pytest.raises(DataError, match=r"'visit' is not one of .*did you mean 'visits'"):
            prepare("visit", tmp_path)
        with pytest.raises(DataError, match=r"visits: visits\.csv not found"):
            prepare(DataSettings(dataset="visits"), None, tmp_path / "none", download=False)
    with DATA_SETS.restored():
        data_set("visits")(visits(7))
        assert data._options_key(settings) not in keys
    with pytest.raises(ConfigError, match="'visits': expected ml-1m"):
        load(None, ["data.dataset=visits"])


def test_a_source_without_files_draws_from_the_seed(tmp_path: Path) -> None:
    class Wheel(DataSource):
        meaning = "a wheel that is turned"

        def read(self, files: Files, seed: int) -> Interactions:
            users = np.repeat(np.arange(5), 6)
            items = (np.arange(30) * 7 + seed) % 200
            return interactions_of(files.layout, users, items, np.arange(30.0))

    with DATA_SETS.restored():
        data_set("wheel")(Wheel)
        one, other = (
            prepare(DataSettings(dataset="wheel", seed=seed), None, tmp_path) for seed in (0, 1)
        )
    assert one.users == other.users == 5
    assert one.digest != other.digest


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        (
            "ml-1m",
            {},
            "data set 'ml-1m' is registered twice, by bfedrec.data.sets.movielens_1m and by",
        ),
        ("Visits", {}, "data set 'Visits': a name is a small letter"),
        *((name, {}, f"data set '{name}': data.{name} is an option") for name in TAKEN),
        ("visits", {"layouts": {}}, "data set 'visits': its record has no layout 'official'"),
        (
            "visits",
            {"layouts": {"official": Layout(files={})}},
            "data set 'visits': layout 'official' has no interactions",
        ),
    ],
)
def test_a_data_set_that_cannot_be_used_is_refused(
    name: str, change: dict[str, Any], reason: str
) -> None:
    kind = visits(5)
    kind.entry = kind.entry.model_copy(update=change)
    with DATA_SETS.restored(), pytest.raises(ValueError, match=reason):
        data_set(name)(kind)
    assert "visits" not in DATA_SETS
