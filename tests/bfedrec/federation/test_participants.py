"""The keys of clients, kept up to a number and the same whether kept or made again; and the helper
process that a run's participants ask for."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from bfedrec.config.load import config_hash, dump, load, parse
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.federation import participants
from bfedrec.federation.participants import Participants
from bfedrec.streams import Streams
from tests.bfedrec.runs.test_simulation import SMALL


@pytest.mark.parametrize("crypto", ["real", "modelled"])
def test_keys_that_are_not_kept_are_the_same(crypto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(None, [*SMALL, f"crypto={crypto}"])
    kept = Participants(config, Streams(3))
    monkeypatch.setattr(participants, "KEPT_KEYS", 5)
    few = Participants(config, Streams(3))
    for client in np.random.default_rng(0).integers(0, 20, 60).tolist():
        digest = bytes(32)
        one, two = kept.client_key(client), few.client_key(client)
        assert one.public == two.public
        assert one.sign(digest) == two.sign(digest)
    assert len(few._client_keys) == 5


def made(crypto: str = "real", rounds: int = 1000) -> Participants:
    sizes = {"servers": {"count": 4}, "committee": {"size": 4}}
    config = Config.model_validate({"crypto": crypto, "rounds": rounds} | sizes)
    return Participants(config, Streams(1))


@pytest.fixture
def processors(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of processors, which a test may change."""
    number = [2]
    monkeypatch.setattr(participants, "thread_count", lambda: number[0])
    return number


def test_a_helper_proves_with_the_servers_keys(processors: list[int]) -> None:
    of = made()
    helper = of.helper()
    assert helper is not None
    try:
        helper.prove(b"alpha")
        for index, (_, prover) in enumerate(of.server_keys):
            assert helper.proof(index, b"alpha") == prover.prove(b"alpha")
    finally:
        helper.close()


def test_where_there_is_no_processor_for_it_there_is_no_helper(processors: list[int]) -> None:
    processors[0] = 1
    assert made().helper() is None


@pytest.mark.parametrize(("rounds", "helped"), [(7, False), (8, True)])
def test_a_short_run_needs_no_helper(processors: list[int], rounds: int, helped: bool) -> None:
    """64 proofs and checks a round: 4 servers and 60 clients."""
    helper = made(rounds=rounds).helper()
    assert (helper is not None) == helped
    if helper is not None:
        helper.close()


def test_what_takes_no_time_needs_no_helper(processors: list[int]) -> None:
    assert made("modelled").helper() is None


def test_a_helper_that_cannot_be_started_is_done_without(
    processors: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    assert made().helper() is None


CLOUD = "servers.round_trips=ibm-cloud-2024"
FOUR = ("servers.count=4", "committee.size=4")


def placed(*overrides: str) -> Participants:
    config = load(None, [*FOUR, CLOUD, *overrides])
    return Participants(config, Streams(1))


def test_servers_take_the_regions_of_a_placement_in_turns() -> None:
    of = placed("servers.placement=[Tokyo, London, Tokyo]")
    assert of.region_names() == ("Tokyo", "London")
    assert of.regions() == [0, 1, 0, 0]
    latency = of.topology().latency
    assert latency[0, 1] == pytest.approx((246 + 247) / 4000)
    assert latency[0, 2] == latency[2, 3] == pytest.approx(1.75 / 2000)
    assert placed().region_names() == ("Dallas", "Toronto", "Washington-DC", "Frankfurt")


def test_a_saved_config_needs_no_file(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("region,A,B\nA,,10\nB,10,\n")
    config = load(None, [*FOUR, f"servers.round_trips={path}", "servers.latency_ms_within=3"])
    saved = dump(config)
    path.unlink()
    again = parse(saved, "saved")
    assert again == config
    latency = Participants(again, Streams(1)).topology().latency
    assert (latency[0, 1], latency[0, 2]) == (0.005, 0.003)
    other = load(None, [*FOUR, CLOUD])
    assert config_hash(again) == config_hash(config) != config_hash(other)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["servers.placement=[A]"], "servers.placement: ['A']: expected none, as round_trips"),
        ([CLOUD, "servers.placement=[Tokio]"], "regions of round_trips (Dallas, Toronto, "),
        ([CLOUD, "servers.regions=2"], "servers.regions: 2: expected 4, as round_trips is given"),
        ([CLOUD, "servers.latency_ms_between=9"], "servers.latency_ms_between: 9"),
        (["servers.round_trips=none.csv"], "'none.csv': No such file"),
        (["servers.round_trips=3"], "servers.round_trips: 3"),
        (["servers.round_trips=[{region: A}]"], "expected a list of {region: NAME, ms: [...]}"),
        (["servers.round_trips=[{region: A, ms: [x]}]"], "region 'A': ms: expected a list of numb"),
        (["servers.round_trips=[{region: A, ms: [true]}]"], "ms: expected a list of numbers"),
        (["servers.round_trips=[{region: A, ms: [1, 2]}]"], "expected 1 times, one per region"),
        (["servers.round_trips=[{region: A, ms: [1" + "0" * 400 + "]}]"], "servers.round_trips"),
    ],
)
def test_regions_that_cannot_be(overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, overrides)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
