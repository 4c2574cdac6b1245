"""The storage benchmark: its statistics, its order, what it refuses, its record and its figure."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import binom

from bfedrec.cli.main import main
from bfedrec.data.interactions import DataError
from bfedrec.merchants.storage.measuring import measure
from bfedrec.merchants.storage.places import S3, Ipfs
from bfedrec.merchants.storage.record import MB, Benchmark, StoreTimes, from_json, to_json
from bfedrec.merchants.storage.seaweed import Seaweed
from bfedrec.merchants.storage.statistics import growth, median_interval, slope
from bfedrec.report.artefact import Request
from bfedrec.report.figures import storage
from bfedrec.report.registry import figures
from consensus.storage.content import StoreError

SIZES = (1_000, 2_000, 4_000)


class Shelf:
    """A store in memory that notes what is done with it."""

    def __init__(self, name: str, log: list[tuple[str, str, int]], spoil: int = 0) -> None:
        """``spoil``: the number of the get that gives other bytes; 0 for none."""
        self.about, self._name, self._log, self._spoil = name, name, log, spoil
        self.held: dict[int, bytes] = {}
        self.seen: list[bytes] = []

    def _note(self, act: str, size: int) -> None:
        self._log.append((self._name, act, size))

    def renew(self) -> None:
        self._note("renew", 0)

    def put(self, data: bytes) -> int:
        self._note("put", len(data))
        self.seen.append(data)
        self.held[len(self.seen)] = data
        return len(self.seen)

    def get(self, address: int) -> bytes:
        self._note("get", len(self.held[address]))
        found = self.held[address]
        return found[:-1] + b"?!" if address == self._spoil else found

    def remove(self, address: int, data: bytes) -> None:
        del self.held[address]

    def close(self) -> None:
        """Nothing is open."""


def measured(seed: int = 0, spoil: int = 0) -> tuple[list[tuple[str, str, int]], Benchmark]:
    log: list[tuple[str, str, int]] = []
    places = {"a": Shelf("a", log), "b": Shelf("b", log, spoil)}
    found = measure(places, {"c": "not there"}, 6, SIZES, seed, lambda line: None)
    for place in places.values():
        assert len(set(place.seen)) == len(place.seen)  # new content each time
        assert not place.held
    return log, found


def test_the_interval_of_a_median_has_its_confidence_whatever_the_distribution() -> None:
    assert median_interval([3.0]).low is None
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0]).low is None  # 1 - 2 / 2^5 < 95 %
    six = median_interval([6.0, 1.0, 2.0, 5.0, 3.0, 4.0])
    assert (six.mean, six.low, six.high) == (3.5, 1.0, 6.0)
    for n in (15, 30, 101):
        found = median_interval([float(value) for value in range(1, n + 1)])
        assert found.low is not None
        place = int(found.low)
        assert found.high == n + 1 - place
        assert 2 * binom.cdf(place - 1, n, 0.5) <= 0.05 < 2 * binom.cdf(place, n, 0.5)
    with pytest.raises(ValueError, match="at least one"):
        median_interval([])


def test_the_growth_is_not_that_of_an_outlier() -> None:
    sizes = (MB, 2 * MB, 4 * MB, 8 * MB, 16 * MB)
    straight = {size: 0.5 + 0.02 * size / MB for size in sizes}
    assert slope(straight) == pytest.approx(0.02)
    assert slope({**straight, 4 * MB: 30.0}) == pytest.approx(0.02, rel=0.3)
    times = {
        size: [seconds * factor for factor in range(1, 8)] for size, seconds in straight.items()
    }
    found = growth(times)
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((0.08, 0.02, 0.14))
    assert growth({MB: [1.0, 2.0]}) is None


def test_stores_take_turns_in_an_order_that_the_seed_draws() -> None:
    log, found = measured()
    cases = [(name, size) for name, act, size in log if act == "put"][2:]
    rounds = [cases[start : start + 6] for start in range(0, 36, 6)]
    assert all(len(set(one)) == 6 for one in rounds)
    assert len(set(map(tuple, rounds))) > 1
    assert measured()[0] == log
    assert measured(seed=1)[0] != log
    assert found.absent == {"c": "not there"}
    assert all(len(found.stores[name].get[size]) == 6 for name in "ab" for size in SIZES)


def test_every_client_is_new() -> None:
    log, _ = measured()
    acts = [act for _, act, _ in log]
    assert acts == ["renew", "put", "renew", "get"] * (len(acts) // 4)


def test_a_store_that_gives_other_bytes_is_left_out() -> None:
    log, found = measured(spoil=5)
    assert list(found.stores) == ["a"]
    assert "came back as other bytes" in found.absent["b"]
    assert [act for name, act, _ in log if name == "b"].count("put") == 5
    with pytest.raises(ValueError, match="no store is left"):
        measure({"b": Shelf("b", [], 1)}, {}, 2, SIZES, 0, lambda line: None)


def a_record() -> Benchmark:
    times = {size: tuple(0.001 * size * factor for factor in range(1, 8)) for size in SIZES}
    return Benchmark(0, 7, "a machine", {"s3": StoreTimes("S3", times, times)}, {})


@pytest.mark.parametrize(
    "change",
    [
        {"repetitions": 8},
        {"repetitions": 0},
        {"stores": {"s3": {"about": "", "put": {"1": [1.0] * 7}, "get": {"2": [1.0] * 7}}}},
        {"stores": {"s3": {"about": "", "put": {"1": [-1.0] * 7}, "get": {"1": [1.0] * 7}}}},
        {"stores": []},
        {"absent": None},
    ],
)
def test_a_damaged_record_is_refused(change: dict[str, object]) -> None:
    text = to_json(a_record())
    assert from_json(text, "here") == a_record()
    with pytest.raises(DataError, match="here: no record of `bfedrec merchants storage`"):
        from_json(json.dumps(json.loads(text) | change), "here")
    with pytest.raises(DataError):
        from_json(text[:-10], "here")


def test_the_figure_shows_the_record_and_tells_what_is_absent(tmp_path: Path) -> None:
    kind = figures()["storage"]
    assert kind.source is not None
    nothing, lacking = kind.source(Request(records=tmp_path))
    assert not nothing
    assert f"bfedrec merchants storage --api MULTIADDR --out {tmp_path}" in lacking
    (tmp_path / "merchants").mkdir()
    record = replace(a_record(), absent={"ipfs": "no node was named (--api)"})
    (tmp_path / "merchants" / "storage.json").write_text(to_json(record))
    data, lacking = kind.source(Request(records=tmp_path))
    assert "ipfs was not measured (no node" in lacking
    first, last = data[0], data[-1]
    assert (first["median"], first["low"], first["high"]) == pytest.approx((4e3, 1e3, 7e3))
    assert (last["what"], last["median"]) == ("ms per MB", pytest.approx(4e6))
    texts = storage.draw(data).axes[0].get_legend()
    assert texts is not None
    assert texts.get_texts()[0].get_text() == "S3 server, 4e+06 ms/MB (1e+06 to 7e+06)"
    out = str(tmp_path / "out")
    assert main(["figure", "storage", "--from", str(tmp_path), "--out", out]) == 2
    assert (tmp_path / "out" / "storage.csv").read_text().startswith("store,about,act,what,bytes,")


def test_a_real_s3_server_is_measured_and_knows_its_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        server = Seaweed(tmp_path / "s3")
    except StoreError as error:
        pytest.skip(str(error))
    with server:
        server.connect().close()
        with pytest.raises(StoreError, match="SignatureDoesNotMatch"):
            S3(server.url, server._key, "another secret")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server._key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server._secret)
        out = tmp_path / "merchants" / "storage.json"
        words = ["merchants", "storage", "--repetitions", "1", "--most-mb", "0.1"]
        words += ["--s3", server.url, "--api", "/ip4/127.0.0.1/tcp/1", "--out", str(out)]
        assert main(words) == 0
    told = capsys.readouterr().err
    assert "ipfs: left out: /ip4/127.0.0.1/tcp/1: " in told
    found = from_json(out.read_text(), str(out))
    assert set(found.stores) == {"embedded", "s3"}
    assert set(found.absent) == {"ipfs"}
    assert list(found.stores["s3"].put) == [10_000, 100_000]


@pytest.mark.parametrize("words", [["--repetitions", "0"], ["--most-mb", "65"], ["--seed", "-1"]])
def test_values_without_sense_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merchants", "storage", *words]) == 2
    assert capsys.readouterr().err.startswith("bfedrec: command line: ")


def test_an_absent_node_is_one_line() -> None:
    with pytest.raises(StoreError, match=r"/ip4/127\.0\.0\.1/tcp/1: "):
        Ipfs("/ip4/127.0.0.1/tcp/1")
