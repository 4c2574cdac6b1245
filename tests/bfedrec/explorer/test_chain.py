"""The facts of chains and blocks, at rest, in progress and where they are not what they should."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bfedrec.explorer.block import block_facts
from bfedrec.explorer.chain import RunChain, RunChains
from bfedrec.explorer.facts import BlockFacts
from bfedrec.explorer.moves import MovesOf
from bfedrec.explorer.search import search
from bfedrec.runs.claims import build
from bfedrec.runs.folder import RunError, read_tensors
from consensus.encoding.cid import cid_text
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.simulation.results import Arrival, HeightResult
from consensus.storage.content import StoreError
from consensus.storage.sqlite import SqliteStore
from tests.helpers import shown
from tests.helpers.audited import RESULTS, TOY, Keeper
from tests.helpers.tiny import TINY
from tests.helpers.toy import Toy

HEIGHTS = 6


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of six heights of either protocol, and one whose step depends on Q."""
    folder, text = tmp_path_factory.mktemp("runs"), f"{TINY}rounds: {HEIGHTS}\n"
    for name, more in (
        ("bft", []),
        ("paper", ["protocol=paper"]),
        (
            "adaptive",
            [
                "optimizer.kind=row_adaptive",
                "clients.downlink=catch_up",
                "clients.snapshot_every=2",
            ],
        ),
    ):
        shown.play(folder / name, *more, text=text)
    return folder


@pytest.fixture(scope="module")
def bft(runs: Path) -> RunChain:
    return RunChains().of(runs / "bft")


def test_a_chain_is_summed_up(runs: Path, bft: RunChain) -> None:
    summary = bft.summary()
    with SqliteStore(runs / "bft" / "chain.sqlite", read_only=True) as store:
        assert summary.head == cid_text(store.meta("head"))
        assert summary.kept == (store.update_heights()[0], store.update_heights()[-1])
    assert summary.head_named
    assert (summary.height, summary.servers, summary.clients) == (HEIGHTS, 4, 40)
    assert (summary.protocol, summary.committee, summary.committee_size) == ("bft", "fixed", 4)


def test_lines_go_from_the_head_back(bft: RunChain) -> None:
    lines = bft.lines()
    assert [line.height for line in lines] == [6, 5, 4, 3, 2, 1]
    assert all(line.linked for line in lines)
    assert [line.parent for line in lines[:-1]] == [line.cid for line in lines[1:]]
    assert lines[-1].parent == bft.summary().genesis
    assert [line.height for line in bft.lines(top=4, most=2)] == [4, 3]
    assert [line.height for line in bft.lines(top=99, most=1)] == [6]
    assert bft.lines(top=0) == []


@pytest.mark.parametrize("name", ["bft", "paper", "adaptive"])
def test_every_block_is_verified_in_place(runs: Path, name: str) -> None:
    chain = RunChain(runs / name / "chain.sqlite")
    for height in range(HEIGHTS, 0, -1):
        facts = block_facts(chain, height)
        assert facts.problems == ()
        assert facts.weight >= facts.needed == 2 * facts.total // 3 + 1
        assert all(seat.weight for seat in facts.seats)
        assert sum(seat.voted for seat in facts.seats) >= 3
        assert all(draw.valid and len(draw.output) == 128 for draw in facts.draws)
        assert facts.draws_in == {"paper": height}.get(name, height - 1 or None)
        assert len(facts.updates) == facts.count == 4
        assert sum(each.samples for each in facts.updates) == facts.samples
        assert all(each.valid and each.bytes for each in facts.updates)
        assert facts.attempts[-1].told.startswith("decided")


def test_seats_follow_from_the_draws_that_are_shown(runs: Path) -> None:
    facts = block_facts(RunChain(runs / "bft" / "chain.sqlite"), 4)
    assert {d.server: d.weight for d in facts.draws if d.weight} == {
        seat.server: seat.weight for seat in facts.seats
    }


def beacon_of(chain: RunChain, height: int) -> bytes:
    return chain.ask(lambda opened: chain.bare_head(opened, height - 1).beacon)


def test_moves_are_those_of_the_model(runs: Path) -> None:
    """The moves of all heights lead from the initial model to the run's last."""
    for name in ("bft", "adaptive"):
        chain, moves, norms = RunChain(runs / name / "chain.sqlite"), MovesOf(), []
        with SqliteStore(chain.path, read_only=True) as store:
            genesis = Genesis.decode(store.block(0))
            model = build(genesis, store.get(genesis.model))
            for height in range(1, HEIGHTS + 1):
                beacon = beacon_of(chain, height)
                before = model.Q
                header = Block.decode(store.block(height)).header
                model.commit(height, beacon, store.get(header.aggregate_cid))
                moved = model.Q.astype(np.float64) - before
                norms.append(float(np.sqrt((moved**2).sum())))
                lengths = np.sqrt((moved**2).sum(axis=1))
                told = moves.at(chain, height)
                assert told.norm == pytest.approx(norms[-1], rel=1e-4)
                assert told.most[0].length == pytest.approx(lengths.max(), rel=1e-3)
        last = read_tensors(runs / name / "model.safetensors", 2**20)["Q"]
        assert np.array_equal(model.Q, last)
        backwards = [MovesOf().at(chain, height).norm for height in range(HEIGHTS, 0, -1)]
        assert backwards[::-1] == pytest.approx(norms, rel=1e-4)


def test_work_for_moves_is_bounded(runs: Path) -> None:
    chain = RunChain(runs / "adaptive" / "chain.sqlite")
    assert MovesOf().at(chain, 2, most_work=0).told == (
        "the step depends on Q, which 1 aggregates below would have to be applied for"
    )
    assert MovesOf().at(chain, 3, most_work=0).told == ""  # height 2 has a snapshot


def test_blocks_are_followed_ahead_of_their_pages(runs: Path, tmp_path: Path) -> None:
    chain = RunChain(runs / "bft" / "chain.sqlite")
    chain.follow_ahead()
    assert chain._ahead is not None
    chain._ahead.join()
    assert len(chain._followed) == HEIGHTS
    broken = RunChain(tmp_path / "none")
    broken.follow_ahead()
    assert broken._ahead is not None
    broken._ahead.join()
    with pytest.raises(RunError, match="No such file"):
        broken.summary()


# -- search ----------------------------------------------------------------------------------------


def hits(chain: RunChain, question: str) -> list[tuple[int, str]]:
    return [(hit.height, hit.what) for hit in search(chain, question).hits]


def test_search_finds_heights_links_servers_and_clients(bft: RunChain) -> None:
    lines = bft.lines()
    third = next(line for line in lines if line.height == 3)
    assert hits(bft, " 3 ") == [(3, "block")]
    assert hits(bft, "7") == []
    assert hits(bft, third.cid) == [(4, "parent"), (3, "header")]
    assert hits(bft, third.cid.upper()[:30]) == [(4, "parent"), (3, "header")]
    assert hits(bft, lines[0].cid) == [(6, "header")]
    assert hits(bft, third.model) == [(3, "aggregate")]
    assert hits(bft, bft.summary().genesis[:20]) == [(0, "genesis")]
    update = block_facts(bft, 5).updates[2]
    assert (5, "payload of an update") in hits(bft, update.payload)
    told = f"an update of client {update.client}, {update.samples} samples"
    assert (5, told) in hits(bft, f"client {update.client}")
    assert (5, told) in hits(bft, update.key[:10])
    proposed = [line.height for line in lines if line.aggregator == third.aggregator]
    found = hits(bft, f"server {third.aggregator}")
    assert [height for height, what in found if "proposed" in what] == proposed
    for question in ("", "nothing", "b", "bafy", "abc", "-1", "9" * 90, "server", "\0", "é"):
        assert hits(bft, question) == []
    assert hits(bft, "server 99") == hits(bft, "client 999") == []


# -- chains that change, and chains that are wrong -------------------------------------------------


def others(heights: int) -> list[HeightResult]:
    """Other heights after the toy's genesis."""
    toy, results = Toy(servers=7, clients=4, committee_size=5), []
    for _ in range(heights):
        updates = [toy.update(client, value=9.0) for client in range(4)]
        now = toy.world.env.now
        arrivals = [Arrival(now + 0.1, at, lambda u=u: u) for at, u in enumerate(updates)]
        results.append(toy.world.run_height(arrivals, 200.0))
    return results


def test_a_chain_that_grows_is_followed_and_one_that_was_cut_is_not_mixed(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "chain.sqlite", TOY.genesis)
    keeper.store.close()
    chain = RunChain(keeper.path)
    assert chain.summary().height == 0
    grown = tmp_path / "next.sqlite"
    for results in (RESULTS[:2], RESULTS, RESULTS[:3], others(3)):  # cut, and played again
        grown.unlink(missing_ok=True)
        Keeper(grown, TOY.genesis).write_all(results)
        shutil.copy(grown, keeper.path)
        assert chain.summary().height == len(results)
        assert block_facts(chain, len(results)).problems == ()
        assert chain.lines()[0].cid == cid_text(results[-1].block.cid)
    with pytest.raises(RunError, match="no block of height 4"):
        block_facts(chain, 4)


@pytest.fixture
def copied(runs: Path, tmp_path: Path) -> Path:
    path = tmp_path / "chain.sqlite"
    shutil.copy(runs / "bft" / "chain.sqlite", path)
    return path


def altered(path: Path, height: int, change: Callable[[dict], dict]) -> RunChain:
    """The chain with the block of a height after a change of its record."""
    from consensus.encoding.dag_cbor import encode

    with sqlite3.connect(path) as connection:
        query = "SELECT data FROM blocks WHERE height = ?"
        (data,) = connection.execute(query, (height,)).fetchone()
        node = change(Block.decode(data).to_node())
        connection.execute("UPDATE blocks SET data = ? WHERE height = ?", (encode(node), height))
    connection.close()
    return RunChain(path)


def swapped(node: dict) -> dict:
    """Two voters' signatures exchanged."""
    votes = node["certificate"]["signatures"]
    votes[0][1], votes[1][1] = votes[1][1], votes[0][1]
    return node


def few(node: dict) -> dict:
    node["certificate"]["signatures"] = node["certificate"]["signatures"][:2]
    return node


def proof(node: dict) -> dict:
    node["tickets"][0][2] = node["tickets"][0][2][:40] + bytes(40)
    return node


def draw(node: dict) -> dict:
    node["tickets"] = node["tickets"][:3]
    return node


@pytest.mark.parametrize(
    ("at", "change", "told"),
    [
        (4, swapped, "signature is not valid"),
        (4, few, "2 of 4 is not more than two thirds"),
        (3, proof, "draws: the proofs of 1 do not hold"),
        (3, draw, "draws: they are not those that the header names"),
        (4, lambda node: {**node, "signature": bytes(64)}, "aggregator's signature"),
    ],
    ids=["votes swapped", "few votes", "proof", "draw left out", "signature"],
)
def test_what_does_not_hold_is_said(
    copied: Path, at: int, change: Callable[[dict], dict], told: str
) -> None:
    facts: BlockFacts = block_facts(altered(copied, at, change), 4)
    assert any(told in problem for problem in facts.problems), facts.problems


def test_a_header_that_was_changed_leaves_its_place(copied: Path) -> None:
    def later(node: dict) -> dict:
        node["header"]["timestamp"] += 1
        return node

    chain = altered(copied, 6, later)
    assert not chain.summary().head_named
    assert any("signature" in each for each in block_facts(chain, 6).problems)
    chain = altered(copied, 3, later)
    assert [line.linked for line in chain.lines()] == [True, True, False, True, True, True]
    with pytest.raises(RunError, match="height 4: its parent is not the block below"):
        block_facts(chain, 5)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE blocks SET data = x'00' WHERE height = 6", "height 6: block: "),
        ("UPDATE blocks SET data = zeroblob(9000000) WHERE height = 6", "height 6: block: "),
        ("UPDATE blocks SET data = 'text' WHERE height = 6", "holds str where bytes belong"),
        (
            "UPDATE blocks SET data = (SELECT data FROM blocks WHERE height = 5) WHERE height = 6",
            "height 6: holds a block of height 5",
        ),
        ("UPDATE blocks SET data = x'a0' WHERE height = 0", "genesis"),
        ("DELETE FROM blocks WHERE height = 3", "no block of height 3"),
        ("DELETE FROM blocks", "no block of height 0"),
        ("CREATE TABLE more (x)", "its tables are not those of a chain"),
    ],
)
def test_a_chain_that_cannot_be_read_is_one_line(copied: Path, statement: str, told: str) -> None:
    shown.change(copied, statement)
    chain = RunChain(copied)
    with pytest.raises((RunError, StoreError)) as caught:
        chain.summary(), chain.lines(), block_facts(chain, 6), search(chain, "server 1")
    assert told in str(caught.value)
    assert str(copied) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_content_that_is_gone_or_other_is_said(copied: Path) -> None:
    shown.change(copied, "UPDATE content SET data = x'00'")
    chain = RunChain(copied)
    facts = block_facts(chain, 6)
    assert facts.model.bytes is None
    assert any("aggregate" in each and "has another hash" in each for each in facts.problems)
    assert "has another hash" in MovesOf().at(chain, 6).told
