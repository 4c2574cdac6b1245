"""Configs that would take memory or time without end: one line, before anything is allocated."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bfedrec.cli.main import main
from bfedrec.config.load import MOST_BASES, dump, load, parse
from bfedrec.config.yaml_core import MOST_BYTES, ConfigError, _parse
from bfedrec.federation.participants import Participants
from bfedrec.runs import memory
from bfedrec.streams import Streams
from tests.helpers.limited import command, limited

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
MERGES = "m0: &m0 {k: 1}\n" + "".join(
    f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LAUGHS, "aliases stand for more than"),
        (LAUGHS + "faults: *a9\n", "aliases stand for more than"),
        (MERGES, "aliases stand for more than"),
        (f"a: &a {'x' * 50_000}\nb: [*a, *a, *a]\n", "aliases stand for more than"),
        ("data: &a {dataset: *a}\n", "stands within"),
        ("[" * 5000, "nested deeper"),
        ("- " * 5000, "nested deeper"),
        ("{a: " * 5000, "nested deeper"),
        ("seed: " + "9" * 100_000, "an integer of 100,000 digits"),
        ("seed: " + "9" * 21, "an integer of 21 digits"),
        ("x" * (MOST_BYTES + 1), "onger than"),
        ("servers: {stake: [" + "1," * 60_000 + "1]}", "more than 16,384 values"),
        ("committee: {vote_seconds: 1" + "0" * 19 + "}", "expected 0, or a number from"),
        ("servers: {jitter: 1e-300}", "expected 0, or a number from"),
        (
            "faults: [{delay: 1e300, until: 5}]",
            "faults.delay: 1e+300: expected 0, or a number from",
        ),
        ("faults: [{loss: 0.5, servers: [.nan], until: 5}]", "indices of servers"),
        ("name: [.nan]", "name: [nan]"),
        ("base: c.yaml", "each other's base"),
        ("base: /dev/zero", "Not a regular file"),
        ("base: .", "Is a directory"),
        ("base: " + "a" * 5000, "File name too long"),
        ('base: "a\\0b"', "null"),
    ],
    ids=range(22),
)
def test_a_hostile_text_is_one_line(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    ended = command("run", path, "--out", tmp_path / "run")
    assert (ended.status, len(ended.lines)) == (2, 1), ended.out
    assert told in ended.out
    assert len(ended.out) < 1000
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("servers.count=1000000000", "would need 7,450,580,597 GiB"),
        ("servers.count=" + "9" * 18, "would need"),
        ("model.dimension=1000000000", "every 1,000 items would need 3,725 GiB"),
        ("rounds=1" + "0" * 18, "< 2147483648"),
        ("servers.latency_ms_between=0", "float > 0.0"),
        ("servers.latency_ms_within=0", "float > 0.0"),
        ("servers.latency_ms_between=1e10", "<= 1000000000.0"),
        ("servers.bandwidth_mib_per_s=1e-10", ">= 1e-06"),
        ("committee.vote_seconds=1e-4", ">= 0.001"),
        ("committee.vote_seconds=1e10", "<= 1000000000.0"),
        ("committee.ticket_seconds=1e10", "<= 1000000000.0"),
        ("committee.update_seconds=1e10", "<= 1000000000.0"),
        ("committee.settle_seconds=1e10", "<= 1000000000.0"),
        ("committee.recovery_seconds=1e10", "<= 1000000000.0"),
        ("committee.resend_seconds=1e-9", ">= 0.001"),
        ("committee.max_step=1000000000000", "<= 1000000"),
        ("costs.sign=1e10", "<= 1000000000.0"),
        ("clients.seconds_per_sample=1e10", "<= 1000000000.0"),
        ("clients.retry_seconds=1e-9", ">= 0.001"),
        ("servers.stake_mean=1" + "0" * 15, "<= 1000000000000"),
        ("training.local_epochs=1000000000", "<= 10000"),
        ("training.user_epochs=1000000000", "<= 10000"),
        ("training.batch_size=10000000000", "<= 1048576"),
        ("training.negatives=1000000000", "<= 10000"),
        ("training.virtual_share=1e9", "<= 10000"),
        ("data.synthetic={users: 1000000, items: 1000000}", "every user weighs every item"),
        ("data.synthetic.clusters=1000000000", "<= 1000000"),
        ("faults=[{churn: 1, until: 1e9}]", "a server would crash 166,666,667 times"),
        ("faults=[{churn: 1e7, until: 5}]", "a number per second"),
        ("faults=[{delay: 1e10, until: 5}]", "seconds, above 0"),
        ("faults=[{skew: -1e10, until: 5}]", "seconds, at most"),
        ("faults=[{slow: 1e10, until: 5}]", "a factor"),
        ("faults=[{loss: 1e-10, until: 5}]", "a share"),
        ("faults=[{loss: '1e-999999999/1', until: 5}]", "a share"),
        ("faults=[{loss: 0.1, until: 1e10}]", "a time in seconds"),
        ("faults=[{crash: [1], lost_tail: 9999999999, until: 5}]", "a number of blocks"),
        ("servers.malicious=silent:1e-999999999", "a share"),
        ("servers.malicious=silent:1/" + "9" * 4000, "a share"),
        ("servers.malicious=[{behaviour: silent, share: 1/3, until: 9999999999}]", "a height"),
        ("clients.malicious=[{attack: push, share: '1e-999999999'}]", "share"),
        (".".join(["a"] * 20_000) + "=1", "unknown key"),
        ("seed=" + "9" * 19, "expected 0, or a number from"),
    ],
)
def test_a_number_that_nothing_holds_is_one_line(override: str, told: str) -> None:
    def work() -> int:
        return main(["run", "experiments/quickstart.yaml", override, "--out", "/nowhere/run"])

    ended = limited(work)
    assert (ended.status, len(ended.lines)) == (2, 1), ended.out
    assert ended.out.startswith("bfedrec: command line: ")
    assert told in ended.out
    assert len(ended.out) < 600


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("servers.count=100000", "servers.count: 100000: the latencies of all pairs of servers"),
        ("model.dimension=60000", "model.dimension: 60000: the factors of"),
        ("model={dimension: 60000, rank: 60000}", "would need"),
        ("clients.per_round=500", "clients.per_round: 500: the updates of a round"),
    ],
)
def test_what_this_machine_has_not_is_told_before_it_is_taken(
    override: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 2**20)
    words = ["crypto=modelled", "model.dimension=16", "clients.per_round=6", override]
    out = ["--out", str(tmp_path / "run")]
    assert main(["run", "experiments/quickstart.yaml", *words, *out]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert "and 0.0 GiB are there" in line


def test_memory_is_the_machine_s_or_a_lower_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < memory.available() <= whole
    assert limited(lambda: int(memory.available() < 2**40)).status == 1
    monkeypatch.setattr(memory, "CGROUP", Path("/proc/sys/kernel/ostype"))
    assert memory.available() <= whole


def test_out_of_memory_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def full(*given: object) -> None:
        raise MemoryError("Unable to allocate 5 TiB")

    monkeypatch.setattr("bfedrec.config.load.load", full)
    assert main(["run", "experiments/quickstart.yaml", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "bfedrec: not enough memory: Unable to allocate 5 TiB\n"


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [fifo, device, Path.mkdir])
@pytest.mark.parametrize("where", ["config", "base", "override"])
def test_no_config_is_read_from_what_is_no_file(
    make: Callable[[Path], None], where: str, tmp_path: Path
) -> None:
    make(tmp_path / "it")
    (tmp_path / "above.yaml").write_text("base: it\n")
    words: list[object] = {
        "config": [tmp_path / "it"],
        "base": [tmp_path / "above.yaml"],
        "override": ["experiments/quickstart.yaml", f"@{tmp_path / 'it'}"],
    }[where]
    ended = command("run", *words, "--out", tmp_path / "run")
    assert (ended.status, len(ended.lines)) == (2, 1), ended.out


def test_bases_in_a_row_are_counted_and_circles_told(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number}.yaml").write_text(f"base: {number + 1}.yaml\n")
    (tmp_path / "40.yaml").write_text("rounds: 7\n")
    with pytest.raises(ConfigError, match=f"more than {MOST_BASES} bases in a row"):
        load(tmp_path / "0.yaml")
    assert load(tmp_path / f"{40 - MOST_BASES}.yaml").rounds == 7
    (tmp_path / "40.yaml").write_text("base: 39.yaml\n")
    with pytest.raises(ConfigError, match="each other's base"):
        load(tmp_path / "38.yaml")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "x.yaml").write_text("base: loop\n")
    with pytest.raises(ConfigError):
        load(tmp_path / "x.yaml")


def test_a_long_list_of_stakes_is_no_bomb() -> None:
    stakes = list(range(1, 10_001))
    words = [f"servers.stake={stakes}", "servers.count=10000", "committee.size=20"]
    config = load(None, words)
    assert parse(dump(config), "saved") == config
    shared = "a: &a {x: [1, 2, 3]}\n" + "".join(f"b{i}: *a\n" for i in range(100))
    assert _parse(shared, "x")["b99"] == {"x": [1, 2, 3]}


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["servers.stake_mean=1000000000000"], "servers.stake_mean: 1000000000000"),
        (["servers.stake_mean=60000"], "servers.stake_mean: 60000"),
        (["servers.stake_mean=20000", "servers.stake=pareto"], "servers.stake_mean: 20000"),
        (["servers.count=2", "servers.stake=[1,1000000]", "servers.regions=2"], "servers.stake: "),
    ],
)
def test_stakes_that_are_too_great_for_weights_are_refused(words: list[str], key: str) -> None:
    weighted = ["committee.kind=weighted", *words]
    with pytest.raises(ConfigError, match="weighted: weights would be computed") as error:
        load(None, weighted)
    assert str(error.value).startswith(f"command line: {key}")
    load(None, [*words, "committee.size=2"])  # drawn by a race


def test_seats_for_all_stake_need_no_weights() -> None:
    words = ["committee.kind=weighted", "servers.stake_mean=1000000"]
    load(None, [*words, "committee.size=30000000"])
    with pytest.raises(ConfigError, match="weights would be computed"):
        load(None, [*words, "committee.size=29999999"])


def test_stakes_of_every_seed_are_looked_at() -> None:
    words = ["committee.kind=weighted", "servers.stake=pareto", "servers.stake_mean=9000"]
    refused = []
    for seed in range(20):
        config = load(None, [*words[1:], f"seed={seed}"])
        stakes = Participants(config, Streams(seed)).stakes()
        if max(stakes) * sum(stakes).bit_length() > 2**20:
            refused.append(seed)
            with pytest.raises(ConfigError, match=r"servers\.stake_mean: 9000: expected less"):
                load(None, [*words, f"seed={seed}"])
        else:
            load(None, [*words, f"seed={seed}"])
    assert 0 < len(refused) < 20
