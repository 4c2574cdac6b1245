"""The comparison of benchmarks with a baseline (tests/bench/ratios.py), on times of our own."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.bench import kernel, measuring, ratios
from tests.bench.core import CORE
from tests.bench.ratios import BASELINE, LEAST_MARGIN, compared, main, read_baseline, write_baseline

QUIET = [1.0, 1.01, 0.99, 1.005, 0.995]


class Bench:
    """A machine whose benchmarks take given times, with noise; each has a row of passes for each
    measurement, the last of which goes on."""

    def __init__(self, **passes: Sequence[Sequence[float]]) -> None:
        self.passes = {name: list(rows) for name, rows in passes.items()}
        self.asked: list[list[str]] = []

    def __call__(self, names: Collection[str], passes: int) -> dict[str, list[float]]:
        self.asked.append(sorted(names))
        return {
            name: list(rows.pop(0) if len(rows) > 1 else rows[0])
            for name, rows in self.passes.items()
            if not names or name in names
        }


def times(passes: Sequence[float], factor: float) -> list[float]:
    return [one * factor for one in passes]


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    path = tmp_path / "baseline.json"
    write_baseline(path, {"gossip": QUIET, "audit": times(QUIET, 7.0)})
    return path


def test_a_planted_slow_down_is_told_and_fails(
    baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(gossip=[times(QUIET, 1.2)], audit=[times(QUIET, 7.0)])
    assert main(["--baseline", str(baseline)], bench) == 1
    told = capsys.readouterr().out
    first = told.splitlines()[1]
    assert first.startswith("gossip")
    assert first.endswith("+20.0%     8.0%  slower")
    assert "1 slower, 0 faster, 1 as before" in told
    assert bench.asked == [[], ["gossip"]]


def test_what_a_second_look_does_not_confirm_is_not_told(baseline: Path) -> None:
    bench = Bench(gossip=[times(QUIET, 1.2), QUIET], audit=[times(QUIET, 7.0)])
    assert main(["--baseline", str(baseline)], bench) == 0
    assert bench.asked == [[], ["gossip"]]


def test_what_got_faster_is_told_and_does_not_fail(
    baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(gossip=[times(QUIET, 0.5)], audit=[times(QUIET, 7.0)])
    assert main(["--baseline", str(baseline)], bench) == 0
    told = capsys.readouterr().out
    assert "-50.0%     8.0%  faster" in told
    assert "0 slower, 1 faster, 1 as before" in told
    assert bench.asked == [[]]  # nothing to confirm


def test_missing_and_new_benchmarks_are_told(
    baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--baseline", str(baseline)], Bench(gossip=[QUIET], sums=[[3.0, 3.0]])) == 0
    told = capsys.readouterr().out
    assert "audit: in the baseline, and measured no more" in told
    assert "sums: new, 3; make baseline adds it" in told
    assert "0 slower, 0 faster, 1 as before" in told


def test_noise_widens_the_margin() -> None:
    noisy = [1.0, 1.3, 0.8, 1.1, 0.9]
    assert compared("x", QUIET, times(QUIET, 1.15)).verdict == "slower"
    assert compared("x", QUIET, times(noisy, 1.15)).verdict == ""
    assert compared("x", noisy, times(QUIET, 1.15)).verdict == ""
    assert compared("x", QUIET, QUIET).margin == LEAST_MARGIN
    assert compared("x", noisy, noisy).margin > compared("x", noisy * 4, noisy * 4).margin
    assert compared("x", noisy, times(noisy, 2.5)).verdict == "slower"


def test_of_many_comparisons_with_itself_few_tell_a_slow_down(tmp_path: Path) -> None:
    """Passes that lie apart by 5 %, with an outlier among ten, as on a machine that others use."""
    rng = np.random.default_rng(0)

    def passes(count: int) -> list[float]:
        outliers = 1 + 0.3 * (rng.random(count) < 0.1)
        return list(map(float, np.exp(0.05 * rng.standard_normal(count)) * outliers))

    def one() -> bool:
        path = tmp_path / "baseline.json"
        write_baseline(path, {str(name): passes(15) for name in range(30)})

        def measure(names: Collection[str], count: int) -> dict[str, list[float]]:
            return {str(name): passes(count) for name in names or range(30)}

        return main(["--baseline", str(path)], measure) == 1

    assert sum(one() for _ in range(100)) <= 10


# -- ratios ---------------------------------------------------------------------------------------


class Machine:
    """A clock that work moves on, at the machine's speed."""

    def __init__(self, speed: float) -> None:
        self.now, self.speed = 0.0, speed

    def clock(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        self.now += seconds / self.speed

    def ratio(self, seconds: float) -> float:
        ratio, _ = measuring.sampled(
            lambda: self.work(seconds), lambda: self.work(0.01), clock=self.clock
        )
        return ratio


def test_a_faster_machine_is_no_speed_up_and_a_slower_one_no_slow_down() -> None:
    assert Machine(1.0).ratio(0.05) == pytest.approx(5.0)
    assert Machine(2.0).ratio(0.05) == pytest.approx(5.0)
    assert Machine(0.4).ratio(0.05) == pytest.approx(5.0)
    assert Machine(1.0).ratio(0.1) == pytest.approx(10.0)


def test_a_machine_that_slows_down_in_between_changes_little() -> None:
    machine = Machine(1.0)
    calls = 0

    def work() -> None:
        nonlocal calls
        calls += 1
        machine.speed = 1.0 if calls < 3 else 0.5
        machine.work(0.1)

    ratio, seconds = measuring.sampled(work, lambda: machine.work(0.01), 5, machine.clock)
    assert ratio == pytest.approx(10.0)
    assert seconds == pytest.approx(0.2)


def test_short_work_is_repeated() -> None:
    calls = 0
    machine = Machine(1.0)

    def work() -> None:
        nonlocal calls
        calls += 1
        machine.work(1e-4)

    measuring.sampled(work, lambda: machine.work(0.01), 2, machine.clock)
    assert calls == 2 + 2 * 300


# -- the file -------------------------------------------------------------------------------------


def test_a_baseline_holds_machine_versions_ratios_and_spread(baseline: Path) -> None:
    node = json.loads(baseline.read_text())
    assert node["kernel"] == kernel.digest()
    assert {"cpu", "cores", "memory_gib"} <= node["machine"].keys()
    assert {"python", "numba", "numpy", "pynacl"} <= node["versions"].keys()
    assert node["benchmarks"]["audit"]["ratio"] == 7.0
    assert node["benchmarks"]["audit"]["spread"] == pytest.approx(0.0079, abs=1e-4)
    assert read_baseline(baseline).passes == {
        "gossip": QUIET,
        "audit": pytest.approx(times(QUIET, 7.0)),
    }


def test_another_machine_and_other_versions_are_told(
    baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = json.loads(baseline.read_text())
    numpy = node["versions"]["numpy"]
    node["machine"]["cpu"], node["versions"]["numpy"] = "abacus", None
    baseline.write_text(json.dumps(node))
    assert main(["--baseline", str(baseline)], Bench(gossip=[QUIET])) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("processor: abacus in the baseline, ")
    assert told[1] == f"numpy: none in the baseline, {numpy} here"


def test_the_command_writes_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new.json"
    assert main(["--write", "--baseline", str(path)], Bench(gossip=[QUIET])) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert read_baseline(path).passes == {"gossip": QUIET}


def damaged(path: Path) -> list[str]:
    whole = path.read_text()
    return [
        "",
        whole[:-40],
        "[]",
        "7",
        "[" * 100_000,
        "{}",
        '{"kernel": "x", "benchmarks": []}',
        '{"kernel": "x", "benchmarks": {"a": 1}}',
        whole.replace("7.0,", '"7",'),
        whole.replace("7.0,", "0.0,"),
        whole.replace("7.0,", "NaN,"),
        whole.replace("7.0,", "Infinity,"),
        whole.replace('"versions"', '"other"'),
        json.dumps(json.loads(whole) | {"benchmarks": {"a": {"passes": []}}}),
        whole.replace(kernel.digest(), "0" * 64),
    ]


@pytest.mark.parametrize("number", range(15))
def test_a_damaged_baseline_is_one_line(
    baseline: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    texts = damaged(baseline)
    assert len(texts) == 15
    assert texts[number] != baseline.read_text()
    baseline.write_text(texts[number])
    assert main(["--baseline", str(baseline)], Bench()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "make baseline" in captured.err or "expected the ratios" in captured.err


def test_no_baseline_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--baseline", str(tmp_path / "none.json")], Bench()) == 2
    assert "No such file or directory: make baseline writes one\n" in capsys.readouterr().err


def test_a_single_pass_has_no_spread(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--passes", "1"], Bench())
    assert "--passes 1: expected at least 2" in capsys.readouterr().err


def test_a_benchmark_that_fails_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="a benchmark failed: KeyError: 'no such benchmark'"):
        ratios.measured(["no such benchmark"], 1)


# -- what is committed ----------------------------------------------------------------------------


def test_the_committed_baseline_is_of_this_kernel_and_these_benchmarks() -> None:
    assert read_baseline(BASELINE).passes.keys() == CORE.keys()


@pytest.mark.parametrize("name", ["gossip: 4 servers, 2,000 messages", "codec: top_k"])
def test_a_core_benchmark_runs_as_a_process(name: str) -> None:
    (ratio,) = ratios.measured([name], 1)[name]
    assert ratio > 0
