"""The audit: an honest chain passes, and a lie that a whole committee signed is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from consensus.audit import AuditReport, audit
from consensus.encoding.cid import cid_text
from consensus.encoding.unixfs import file_cid
from consensus.ledger.updates import SignedUpdate
from consensus.records.block import Block, Candidate
from consensus.records.genesis import Genesis
from consensus.records.update import UpdateRecord
from consensus.storage.sqlite import SqliteStore
from tests.consensus.simulation.test_world import colluding, first_capture
from tests.helpers.audited import BLOCKS, HEIGHTS, RESULTS, TOY, Keeper, assert_fails, build, verify
from tests.helpers.forge import Forge
from tests.helpers.rules import chain_from
from tests.helpers.toy import Toy


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chain of five honest heights with all updates retained; not to be written to."""
    path = tmp_path_factory.mktemp("audit") / "chain.sqlite"
    return Keeper(path, TOY.genesis).write_all(RESULTS)


def test_an_honest_chain_passes_and_is_counted(chain: Path) -> None:
    report = verify(chain)
    signatures = sum(1 + len(block.certificate.signatures) + 4 for block in BLOCKS)
    assert report == AuditReport(
        blocks=HEIGHTS,
        proofs=HEIGHTS * 7,
        signatures=signatures,
        aggregates=HEIGHTS,
        contents=report.contents,
        head=cid_text(BLOCKS[-1].cid),
    )
    links = {update.record.payload for result in RESULTS for update in result.updates}
    links |= {block.header.aggregate_cid for block in BLOCKS} | {TOY.genesis.model}
    assert report.contents == len(links)


def test_an_audit_writes_nothing_and_tells_its_progress(chain: Path) -> None:
    before = chain.read_bytes()
    told: list[tuple[int, int]] = []
    with SqliteStore(chain, read_only=True) as store:
        audit(store, build, lambda done, total: told.append((done, total)))
    assert told == [(height, HEIGHTS) for height in range(1, HEIGHTS + 1)]
    assert chain.read_bytes() == before
    assert sorted(chain.parent.iterdir()) == [chain]


def test_a_chain_whose_updates_were_not_kept_passes(tmp_path: Path) -> None:
    path = Keeper(tmp_path / "c.sqlite", TOY.genesis).write_all(RESULTS, retain=False)
    report = verify(path)
    assert (report.blocks, report.aggregates) == (HEIGHTS, 0)


def test_a_chain_of_nothing_but_its_genesis_passes(tmp_path: Path) -> None:
    path = Keeper(tmp_path / "c.sqlite", TOY.genesis).write_all([])
    assert verify(path).blocks == 0


def test_a_chain_of_many_attempts_passes(tmp_path: Path) -> None:
    toy = Toy(servers=30, clients=2, committee_size=20, crypto="modelled", malicious=colluding(10))
    results = [toy.play(400.0) for _ in range(6)]
    assert any(result.block.certificate.attempt for result in results)
    path = Keeper(tmp_path / "c.sqlite", toy.genesis).write_all(results)
    report = verify(path)
    assert (report.aggregates, report.modelled) == (6, True)


def test_a_block_that_was_decided_later_than_proposed_passes(tmp_path: Path) -> None:
    """It was locked, and proposed again by another server, before another committee."""
    forge = Forge(FRESH)
    block = forge.block(view=(1, 2))
    updates = forge.updates()
    aggregate = FRESH.application.aggregate(
        [update.payload for update in updates], [update.record.samples for update in updates]
    )
    keeper = Keeper(tmp_path / "c.sqlite", FRESH.genesis)
    keeper.write(block, aggregate, tuple(updates))
    keeper.store.close()
    assert verify(tmp_path / "c.sqlite").aggregates == 1


def test_a_weighted_chain_passes(tmp_path: Path) -> None:
    toy = Toy(
        servers=6, clients=2, committee="weighted", committee_size=12, stakes=[1, 2, 3, 4, 5, 6]
    )
    results = [toy.play(400.0) for _ in range(4)]
    path = Keeper(tmp_path / "c.sqlite", toy.genesis).write_all(results)
    assert verify(path).blocks == 4


def test_stakes_that_are_too_great_for_weights_end_an_audit_at_once(tmp_path: Path) -> None:
    toy = Toy(servers=4, clients=2, committee="weighted", committee_size=12)
    servers = tuple(replace(server, stake=10**12) for server in toy.genesis.servers)
    keeper = Keeper(tmp_path / "c.sqlite", replace(toy.genesis, servers=servers))
    keeper.store.close()
    assert_fails(tmp_path / "c.sqlite", 0, "stakes are too great for a weighted committee")


def test_a_chain_of_the_papers_protocol_passes(tmp_path: Path) -> None:
    toy = Toy(servers=7, clients=2, committee_size=4, protocol="paper")
    results = [toy.play(400.0) for _ in range(4)]
    path = Keeper(tmp_path / "c.sqlite", toy.genesis).write_all(results)
    report = verify(path)
    assert (report.blocks, report.aggregates, report.proofs) == (4, 4, 16)


def test_a_record_decodes_from_what_the_store_holds(chain: Path) -> None:
    with SqliteStore(chain, read_only=True) as store:
        assert Genesis.decode(store.block(0)) == TOY.genesis
        for block, result in zip(BLOCKS, RESULTS, strict=True):
            assert Block.decode(store.block(block.height)) == block
            assert [UpdateRecord.decode(data) for data in store.updates(block.height)] == [
                update.record for update in result.updates
            ]


# -- what a captured committee certifies -----------------------------------------------------------
LIE = file_cid(b"another aggregate")
FRESH = Toy(servers=7, clients=4, committee_size=5)


def test_a_captured_block_is_found_where_updates_were_kept(tmp_path: Path) -> None:
    """Its proofs stand: only the updates tell that the aggregate is not theirs."""
    toy, results = first_capture()
    kept = Keeper(tmp_path / "kept.sqlite", toy.genesis).write_all(results)
    assert_fails(kept, len(results), "the aggregate is not that of its 2 updates")
    dropped = Keeper(tmp_path / "dropped.sqlite", toy.genesis).write_all(results, retain=False)
    assert verify(dropped).blocks == len(results)


FORGE = Forge(FRESH)
PAIR = [FRESH.update(0), FRESH.update(0, value=2.0)]


def certified(**changes: object) -> Candidate:
    return FORGE.candidate(**changes)  # type: ignore[arg-type]


LIES: dict[str, tuple[Candidate, list[SignedUpdate], str]] = {
    "count": (certified(count=5), FORGE.updates(), "miscounts its updates or their samples"),
    "samples": (certified(samples=1), FORGE.updates(), "miscounts its updates or their samples"),
    "root": (certified(updates=bytes(32)), FORGE.updates(), "not those whose root"),
    "snapshot": (certified(snapshot=LIE), FORGE.updates(), "a snapshot where none belongs"),
    "twice": (FORGE.candidate(PAIR), PAIR, "a client's updates count twice"),
    "unregistered": (
        FORGE.candidate([FRESH.update(0, samples=11)]),
        [FRESH.update(0, samples=11)],
        "update 0 is not fit: sample count",
    ),
    "stale": (
        FORGE.candidate([FRESH.update(0, height=2)]),
        [FRESH.update(0, height=2)],
        "update 0 is not fit: early",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_that_the_whole_committee_signed_is_found(tmp_path: Path, name: str) -> None:
    candidate, updates, reason = LIES[name]
    block = FORGE.block(candidate)
    chain_from(FRESH.genesis).append(block)  # the certificate is perfect
    aggregate = FRESH.application.aggregate(
        [update.payload for update in updates], [update.record.samples for update in updates]
    )
    keeper = Keeper(tmp_path / "c.sqlite", FRESH.genesis)
    keeper.write(block, aggregate, tuple(updates))
    keeper.store.close()
    assert_fails(tmp_path / "c.sqlite", 1, reason)
