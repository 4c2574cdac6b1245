"""Stake as the explorer shows it where blocks move it: that of the height that is looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bfedrec.explorer.block import block_facts
from bfedrec.explorer.chain import RunChain
from bfedrec.runs.folder import RunError
from tests.helpers.shown import play, served
from tests.helpers.web import Client

MOVING = (
    "ledger.incentives.on=true",
    "servers.stake_mean=1000000",
    "servers.malicious=equivocate_candidates+equivocate_votes:1/4",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose blocks move stake, and one in which it stays."""
    root = tmp_path_factory.mktemp("runs")
    play(root / "moving", *MOVING)
    play(root / "still")
    return root


@pytest.fixture(scope="module")
def client(runs: Path) -> Iterator[Client]:
    with served(runs) as found:
        yield found


def summary(runs: Path) -> dict[str, float]:
    found = json.loads((runs / "moving" / "summary.json").read_text())
    assert isinstance(found, dict)
    return found


def test_the_network_shows_the_stake_of_its_height(runs: Path, client: Client) -> None:
    chain = RunChain(runs / "moving" / "chain.sqlite")
    first, last = chain.stakes(1), chain.stakes(7)
    assert first is not None
    assert last is not None
    assert first == (1_000_000,) * 4 != last
    assert sum(last) == summary(runs)["stake_servers"]
    (bad,) = [server for server in range(4) if last[server] < first[server]]
    assert last[bad] == summary(runs)["stake_malicious"] == min(last)
    for height in (1, 4, 6):
        held = chain.stakes(height)
        assert held is not None
        page = client.get(f"/network/moving?height={height}").text
        assert f">Stake as height {height} begins</th>" in page
        share = 100 * held[bad] / sum(held)
        assert f"with {share:.1f} % of the stake as height {height} begins." in page
        for each in held:
            assert f", stake {each:,}" in page
    page = client.get("/network/moving").text
    assert ">Stake in the genesis</th>" in page
    assert "with 25.0 % of the stake in the genesis." in page
    assert page.count(", stake 1,000,000") == 4


def test_a_block_shows_the_stake_before_it(runs: Path, client: Client) -> None:
    chain = RunChain(runs / "moving" / "chain.sqlite")
    for height in (1, 6):
        facts = block_facts(chain, height)
        held = chain.stakes(height)
        assert held is not None
        assert facts.moves_stake
        assert {seat.server: seat.stake for seat in facts.seats} == {
            seat.server: held[seat.server] for seat in facts.seats
        }
        assert "Stake before this block</th>" in client.get(f"/block/{height}/moving").text


def test_where_stake_stays_nothing_is_said_of_a_height(runs: Path, client: Client) -> None:
    assert RunChain(runs / "still" / "chain.sqlite").stakes(3) is None
    for page in ("network/still?height=3", "network/still", "block/3/still"):
        text = client.get(f"/{page}").text
        assert ">Stake</th>" in text
        assert "Stake before" not in text
    assert not block_facts(RunChain(runs / "still" / "chain.sqlite"), 3).moves_stake


def test_a_height_that_the_chain_has_not_reached_is_told(runs: Path, client: Client) -> None:
    with pytest.raises(RunError):
        RunChain(runs / "moving" / "chain.sqlite").stakes(9)
    page = client.get("/network/moving?height=99")
    assert page.status == 200
    assert "Stake in the genesis" in page.text
    assert "99" in page.text


def test_a_summary_has_the_share_after_the_last_block(runs: Path) -> None:
    found = summary(runs)
    assert found["malicious_stake_share"] == 0.25
    share = found["stake_malicious"] / found["stake_servers"]
    assert found["stake_malicious_share"] == share < 0.2
    line = json.loads((runs / "moving" / "metrics.jsonl").read_text().splitlines()[0])
    assert share < line["stake_malicious_share"] < 0.25
