"""Whole runs under every codec: the same bytes every time, audited, and counted as they are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bfedrec.aggregation.registry import aggregator_named
from bfedrec.cli.audit import audit_command
from bfedrec.config.load import load
from bfedrec.data.prepare import prepare
from bfedrec.evaluation.ranking import evaluate
from bfedrec.federation.unledgered import learn
from bfedrec.runs.claims import build
from consensus.audit import AuditFailure, audit
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.records.update import UpdateRecord
from consensus.storage.sqlite import SqliteStore
from tests.bfedrec.runs.test_simulation import SMALL, lasting, metrics, play

N, D, S = 60, 8, 2  # items and dimension of the small experiment, and its transmitted size
WHOLE, PART = 4 * D * N, 4 * S * N
MASK = 8
SIZES = {  # of a payload and of an aggregate
    "dense": (WHOLE + MASK, WHOLE),
    "quantised": (PART, PART),  # 8 numbers, 6 bits each, and their step: 64 bits an item
    "quantised dense": (PART, WHOLE),
    "random": (PART, PART),
    "top_k": (2 * PART, 2 * PART),
    "svd": (PART + 4 * S + 4 * D * S, PART + 4 * S + 4 * D * S),
    "top_k dense": (2 * PART, WHOLE),
    "svd dense": (PART + 4 * S + 4 * D * S, WHOLE),
}
FAST = ("crypto=modelled", "ledger.retain_updates=all")


def options(case: str) -> list[str]:
    kind, _, downlink = case.partition(" ")
    size = [] if kind == "dense" else [f"compression.size={S}"]
    if kind == "quantised":
        size.append(f"model.rank={D}")
    return [f"compression.kind={kind}", f"compression.downlink={downlink or 'same'}", *size, *FAST]


@pytest.fixture(scope="module", params=list(SIZES))
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("run")
    return request.param, path, play(path, *options(request.param))


Run = tuple[str, Path, dict[str, Any]]


def test_the_bytes_are_those_of_the_codec(run: Run) -> None:
    case, path, summary = run
    payload, aggregate = SIZES[case]
    with SqliteStore(path / "chain.sqlite", read_only=True) as store:
        records = [data for height in store.update_heights() for data in store.updates(height)]
        held = {len(store.get(UpdateRecord.decode(data).payload)) for data in records}
        headers = [Block.decode(store.block(height)).header for height in range(1, 13)]
        assert {len(store.get(header.aggregate_cid)) for header in headers} == {aggregate}
    assert held == {payload}
    assert summary["uplink_bytes"] == sum(map(len, records)) + len(records) * payload
    broadcast = 10 * (WHOLE + sum(len(header.encoded) + aggregate for header in headers[:-1]))
    assert summary["downlink_bytes_broadcast"] == broadcast


def test_an_audit_recomputes_the_aggregates(run: Run) -> None:
    case, path, _ = run
    assert audit_command(path) == 0

    def deaf(genesis: Genesis, initial: bytes) -> Any:
        """As an audit that took the updates for something else."""
        model = build(genesis, initial)
        model.exchange = replace(model.exchange, rule=aggregator_named("samples"))
        return model

    with SqliteStore(path / "chain.sqlite", read_only=True) as store:
        assert audit(store, build).aggregates == 12
        with pytest.raises(AuditFailure, match="bytes instead of" if case == "dense" else "aggr"):
            audit(store, deaf)


def test_a_resumed_run_ends_alike_and_an_altered_payload_is_found(run: Run, tmp_path: Path) -> None:
    case, path, summary = run
    play(tmp_path, *options(case))
    (tmp_path / "summary.json").unlink()
    with closing(sqlite3.connect(tmp_path / "chain.sqlite")) as database, database:
        (data,) = database.execute("SELECT data FROM blocks WHERE height = 6").fetchone()
        database.execute("DELETE FROM blocks WHERE height > 6")
        database.execute("DELETE FROM updates WHERE height > 6")
        database.execute("UPDATE meta SET value = ? WHERE key = 'head'", (Block.decode(data).cid,))
    assert lasting(play(tmp_path, *options(case), resume=True)) == lasting(summary)
    assert metrics(tmp_path) == metrics(path)
    with SqliteStore(tmp_path / "chain.sqlite", read_only=True) as store:
        link = UpdateRecord.decode(store.updates(3)[0]).payload
        payload = bytearray(store.get(link))
    payload[1] ^= 1
    with closing(sqlite3.connect(tmp_path / "chain.sqlite")) as database, database:
        changed = database.execute(
            "UPDATE content SET data = ? WHERE cid = ?", (bytes(payload), link)
        )
        assert changed.rowcount == 1
    assert audit_command(tmp_path) == 1


def test_the_genesis_names_the_codec_unless_it_is_the_papers(run: Run, tmp_path: Path) -> None:
    def described(path: Path) -> dict[str, Any]:
        with SqliteStore(path / "chain.sqlite", read_only=True) as store:
            return dict(Genesis.decode(store.block(0)).application)

    case, path, _ = run
    kind, _, downlink = case.partition(" ")
    told = described(path)
    size = D if kind == "dense" else S
    assert told["compression"] == {"kind": kind, "size": size, "downlink": downlink or "same"}
    assert told["rank"] == D
    assert told["basis"] == ("seeded" if kind == "quantised" else "identity")
    play(tmp_path, "rounds=1", *FAST)
    assert "compression" not in described(tmp_path)


def test_malformed_payloads_are_refused_under_every_codec(run: Run, tmp_path: Path) -> None:
    summary = play(
        tmp_path,
        *options(run[0]),
        "rounds=3",
        "committee.update_quota=0.3",
        "clients.malicious=[{attack: wrong_shape, share: 0.2}, {attack: nan, share: 0.2}]",
    )
    assert summary["blocks"] == 3
    assert summary["malicious_updates_aggregated"] == 0
    assert summary["refused_messages"] > 0


@pytest.mark.parametrize("case", list(SIZES))
def test_tuning_learns_through_the_codec(case: str) -> None:
    config = load(None, [*SMALL, *options(case), "rounds=60", "training.item_step=1.0"])
    data = prepare(config.data)
    figures = [
        evaluate(x.P, x.Q, data, "validation").means()["full_ndcg@10"]
        for x in (
            learn(load(None, [*SMALL, *options(case), "rounds=1"]), data),
            learn(config, data),
        )
    ]
    assert figures[1] > figures[0]
