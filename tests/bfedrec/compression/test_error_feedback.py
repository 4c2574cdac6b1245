"""Error feedback: nothing of what is trained is lost, whatever interrupts a run."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

from bfedrec.aggregation.registry import aggregator_named
from bfedrec.cli.audit import audit_command
from bfedrec.compression.error_feedback import ErrorFeedback, pack, unpack
from bfedrec.compression.exchange import Exchange
from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.prepare import prepare
from bfedrec.federation.federation import Federation
from bfedrec.federation.unledgered import learn
from bfedrec.learning.upload import Diverged, Upload
from bfedrec.runs.folder import RunFolder
from bfedrec.runs.progress import Progress
from bfedrec.runs.simulation import Simulation
from bfedrec.runs.state import RoundState, RunState, StateError
from consensus.ledger.chain import heads_of
from consensus.protocols.registry import protocol_of
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.records.update import UpdateRecord
from consensus.storage.sqlite import SqliteStore
from tests.bfedrec.compression.test_codecs import update
from tests.bfedrec.runs.test_simulation import SMALL, killed_and_resumed, lasting, metrics, play

LOSSY = pytest.mark.parametrize("kind", ["random", "top_k", "svd"])
FAST = ("crypto=modelled", "clients.per_round=30")
TOP_K = (*FAST, "compression.kind=top_k", "compression.size=1", "clients.dropout=0.1")
FEEDBACK = (*TOP_K, "compression.error_feedback=true")


def honest(client: int) -> None:
    """No client follows an attack."""


def left_in(run: Path) -> list[tuple[int, int, bytes]]:
    """Client, height and residual: all that a run's state holds."""
    place = f"file:{run / 'state.sqlite'}?mode=ro"
    with closing(sqlite3.connect(place, uri=True)) as database:
        return database.execute("SELECT client, height, data FROM residuals").fetchall()


@contextmanager
def simulating(path: Path, *overrides: str, resume: bool = False) -> Iterator[Simulation]:
    config = load(None, [*SMALL, *overrides])
    quiet = Console(file=open(os.devnull, "w"))  # noqa: SIM115 - closed with the process
    with (
        RunFolder.open(config, path, resume) as folder,
        Progress(config.rounds, folder.log, quiet) as progress,
        Simulation(config, folder, progress) as simulation,
    ):
        yield simulation


# -- one client ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["samples", "per_item"])
@LOSSY
def test_what_is_sent_and_what_is_left_add_up_to_what_was_trained(kind: str, rule: str) -> None:
    exchange = Exchange.named(aggregator_named(rule), kind, 6, 40, 1)
    feedback = ErrorFeedback(exchange)
    trained, sent = np.zeros((6, 40)), np.zeros((6, 40))
    for height in range(20):
        A, touched = update(height, 6, 40, share=0.6)
        beacon = b"%d" % height
        (upload,) = feedback.sent([Upload(3, A, touched, 1)], beacon, honest)
        assert upload.payload == exchange.encode(upload.A, upload.touched, beacon)
        assert exchange.check(upload.payload) is None
        trained += A
        sent += exchange.decode(upload.payload, beacon).A
        left = np.zeros((6, 40))
        items, rows = unpack(feedback.residuals[3], 6)
        left[:, items] = rows.T
        np.testing.assert_allclose(sent + left, trained, atol=1e-4)
        assert not left[:, ~upload.touched].any()
    assert np.abs(left).max() > 0.1, "nothing was left over"


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_residual_is_kept_by_item(share: float) -> None:
    A, _ = update(1, 5, 30, share)
    A[0, :3] = -0.0
    items, rows = unpack(pack(A), 5)
    again = np.zeros_like(A)
    again[:, items] = rows.T
    assert np.array_equal(again, A)
    assert rows.any(axis=1).all()
    assert len(pack(A)) == 4 * len(items) * (1 + 5)


def test_nothing_is_left_where_nothing_is_lost() -> None:
    for kind in ("random", "top_k"):
        feedback = ErrorFeedback(Exchange.named(aggregator_named("per_item"), kind, 6, 40, 6))
        A, touched = update(1, 6, 40)
        (upload,) = feedback.sent([Upload(3, A, touched, 1)], b"x", honest)
        assert np.array_equal(upload.A, A)
        assert feedback.residuals == {3: b""}


def test_who_follows_an_attack_forges_what_it_trained_and_keeps_its_residual() -> None:
    exchange = Exchange.named(aggregator_named("per_item"), "top_k", 6, 40, 1)
    feedback = ErrorFeedback(exchange)
    uploads = [Upload(client, *update(client, 6, 40), 1) for client in (4, 5)]
    feedback.sent(uploads, b"x", honest)
    before = dict(feedback.residuals)
    again = feedback.sent(uploads, b"x", {4: "scale", 5: None}.get)
    assert again[0] is uploads[0]
    assert again[1] is not uploads[1]
    assert feedback.residuals[4] == before[4]
    assert feedback.residuals[5] != before[5]


def test_a_residual_out_of_bounds_is_told() -> None:
    exchange = Exchange.named(aggregator_named("samples"), "random", 6, 40, 1)
    feedback = ErrorFeedback(exchange)
    most = np.full((6, 40), 3e38, np.float32)
    upload = Upload(7, most, np.ones(40, np.bool_), 1)
    feedback.sent([upload], b"x", honest)
    with pytest.raises(Diverged, match="client 7's residual"):
        feedback.sent([upload], b"x", honest)


# -- whole runs ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("reference")
    return path, play(path, *FEEDBACK)


Run = tuple[Path, dict[str, Any]]


def test_servers_see_updates_like_any_others(reference: Run, tmp_path: Path) -> None:
    path, summary = reference
    plain = play(tmp_path, *TOP_K)
    assert audit_command(path) == 0
    assert summary["uplink_bytes"] == plain["uplink_bytes"]
    assert summary["simulated_seconds"] == pytest.approx(plain["simulated_seconds"], rel=0.2)
    genesis = []
    for run in (path, tmp_path):
        with SqliteStore(run / "chain.sqlite", read_only=True) as store:
            genesis.append(Genesis.decode(store.block(0)))
    assert genesis[0].chain_id == genesis[1].chain_id
    factors = [(run / "model.safetensors").read_bytes() for run in (path, tmp_path)]
    assert factors[0] != factors[1]
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        left_in(tmp_path)


@pytest.mark.parametrize("kind", ["random", "top_k"])
def test_a_codec_that_loses_nothing_gives_the_same_models(tmp_path: Path, kind: str) -> None:
    words = (*FAST, f"compression.kind={kind}", "compression.size=8", "rounds=6")
    plain = play(tmp_path / "plain", *words)
    summary = play(tmp_path / "feedback", *words, "compression.error_feedback=true")
    assert lasting(summary | {"head": plain["head"]}) == lasting(plain)
    factors = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("plain", "feedback")]
    assert factors[0] == factors[1]
    assert {data for _, _, data in left_in(tmp_path / "feedback")} == {b""}


@LOSSY
def test_a_run_loses_nothing_of_what_its_clients_trained(tmp_path: Path, kind: str) -> None:
    """All clients are in all rounds; what each sent is read off the chain."""
    words = (
        "crypto=modelled",
        f"compression.kind={kind}",
        "compression.size=1",
        "compression.error_feedback=true",
        "rounds=6",
        "ledger.retain_updates=all",
        "data.synthetic.users=10",
    )
    with simulating(tmp_path, *words) as simulation:
        federation = simulation.federation
        total = np.zeros((10, 8, federation.data.items))
        train = federation.learner.trained

        def remembered(height: int, clients: np.ndarray, *rest: Any) -> Any:
            update = train(height, clients, *rest)
            total[clients] += update.A
            return update

        federation.learner.trained = remembered  # type: ignore[method-assign, assignment]
        simulation.run(False)
        of = {federation.participants.client_key(c).public: c for c in range(10)}
        exchange = federation.learner.model.exchange
    found = np.zeros_like(total)
    with SqliteStore(tmp_path / "chain.sqlite", read_only=True) as store:
        blocks = [Block.decode(store.block(height)) for height in range(1, 7)]
        for height, head in enumerate(
            heads_of(federation.genesis, protocol_of(federation.genesis), blocks)[:-1], 1
        ):
            records = [UpdateRecord.decode(data) for data in store.updates(height)]
            assert len(records) == 10
            for record in records:
                update = exchange.decode(store.get(record.payload), head.beacon)
                found[of[record.client]] += update.A
    for client, height, data in left_in(tmp_path):
        if height == 6:
            items, rows = unpack(data, 8)
            found[client][:, items] += rows.T
    np.testing.assert_allclose(found, total, atol=1e-4)


def test_tuning_learns_what_a_run_learns(reference: Run) -> None:
    """With top_k no beacon counts, and the two differ by the order of the aggregate's sums."""
    path, _ = reference
    config = load(None, [*SMALL, *FEEDBACK])
    learned = learn(config, prepare(config.data)).Q
    plain = load(None, [*SMALL, *TOP_K])
    without = learn(plain, prepare(plain.data)).Q
    Q = load_file(path / "model.safetensors")["Q"]
    np.testing.assert_allclose(learned, Q, atol=1e-4)
    assert np.abs(without - Q).max() > 0.05


@pytest.mark.parametrize("parts", [1, 3, 99])
def test_in_how_many_parts_a_cohort_trains_does_not_matter(
    reference: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    monkeypatch.setattr("bfedrec.federation.cohorts.TRAINING_PARTS", parts)
    assert lasting(play(tmp_path, *FEEDBACK)) == lasting(reference[1])
    assert sorted(left_in(tmp_path)) == sorted(left_in(reference[0]))


# -- what is kept of them --------------------------------------------------------------------------


class Killed(Exception):
    """As a kill would end the run."""


@pytest.mark.parametrize(
    ("place", "name", "after"),
    [("state", "append", False), ("chain", "write", False), ("chain", "write", True)],
    ids=["before the state", "between state and chain", "after the chain"],
)
def test_a_run_killed_between_any_two_writes_goes_on_alike(
    reference: Run, tmp_path: Path, place: str, name: str, after: bool
) -> None:
    """Killed at every height, and at one of them twice."""
    path, summary = reference
    for height in [*range(1, 12), 11]:
        with simulating(tmp_path, *FEEDBACK, resume=True) as simulation:
            part = getattr(simulation, place)
            write = getattr(part, name)

            def killed(first: Any, *rest: Any, write: Any = write, height: int = height) -> None:
                if first.height < height or after:
                    write(first, *rest)
                if first.height >= height:
                    raise Killed

            setattr(part, name, killed)
            with pytest.raises(Killed):
                simulation.run(True)
    assert lasting(play(tmp_path, *FEEDBACK, resume=True)) == lasting(summary)
    assert metrics(tmp_path) == metrics(path)
    assert sorted(left_in(tmp_path)) == sorted(left_in(path))


def test_a_run_goes_on_alike_after_sigkill(reference: Run, tmp_path: Path) -> None:
    killed_and_resumed(reference[0], tmp_path, FEEDBACK, {5: 100})


def test_a_round_that_is_trained_again_sends_what_it_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For what malicious clients keep of it, the last height's residuals are those before it, even
    of a client that was in the round before that one as well."""
    words = (*FEEDBACK, "clients.malicious=[{attack: replay, share: 0.1}]", "clients.per_round=60")
    sent: list[list[bytes]] = []
    recalled: list[list[bytes]] = []
    for found, resume in ((sent, False), (recalled, True)):
        with simulating(tmp_path, *words, resume=resume) as simulation:
            adversary, write = simulation.federation.learner.adversary, simulation.chain.write
            remember = adversary.remember

            def remembered(all_sent: Any, found: Any = found, remember: Any = remember) -> None:
                new = [message for upload, message in all_sent if upload.message is None]
                found.append([message.record.digest for message in new])
                remember(all_sent)

            def killed(played: Any, write: Any = write) -> None:
                if played.height == 9:
                    raise Killed
                write(played)

            monkeypatch.setattr(adversary, "remember", remembered)
            simulation.chain.write = killed  # type: ignore[method-assign]
            with pytest.raises(Killed):
                simulation.run(resume)
    assert len(sent) == 9
    assert recalled == sent[7:]


def state_of(height: int) -> RoundState:
    return RoundState(height, np.arange(2), np.zeros((2, 3), np.float32), 0.0, 0.0, 0.0)


def test_residuals_are_deleted_when_no_resume_can_ask_for_them(tmp_path: Path) -> None:
    """Client 0 is in every round, client 1 in rounds 1 and 5 alone."""
    kept = []
    with RunState(tmp_path / "state.sqlite", keeps_residuals=True) as state:
        for height in range(1, 9):
            clients = (0, 1) if height in (1, 5) else (0,)
            state.append(state_of(height), dict.fromkeys(clients, b"%d" % height))
            kept.append({(client, at) for client, at, _ in left_in(tmp_path)})
        assert state.residuals(9, [0, 1, 2]) == {0: b"8", 1: b"5"}
        assert state.residuals(8, [0]) == {0: b"7"}
        state.discard_after(7)
        assert state.residuals(9, [0]) == {0: b"7"}
        assert state.residuals(7, [0]) == {0: b"6"}, "to train round 7 again"
        with pytest.raises(StateError, match="the chain has height 5, this 7, and error feedback"):
            state.discard_after(5)
        state.discard_after(0)
        assert left_in(tmp_path) == []
    assert kept[4] == {(0, 3), (0, 4), (0, 5), (1, 1), (1, 5)}
    assert kept[7] == {(0, 6), (0, 7), (0, 8), (1, 5)}


def test_a_height_is_appended_with_its_residuals_or_not_at_all(tmp_path: Path) -> None:
    with RunState(tmp_path / "state.sqlite", keeps_residuals=True) as state:
        state.append(state_of(1), {0: b"1"})
        with pytest.raises(sqlite3.Error):
            state.append(state_of(2), {0: b"2", 1: None})  # type: ignore[dict-item]
        assert state.last_height == 1
        assert left_in(tmp_path) == [(0, 1, b"1")]


def test_a_long_runs_state_does_not_grow_with_its_residuals(tmp_path: Path) -> None:
    play(tmp_path, *FEEDBACK, "rounds=60", "evaluation.every=60")
    rows = left_in(tmp_path)
    assert len({client for client, _, _ in rows}) == 80
    assert len(rows) <= 80 + 2 * 27
    old = [client for client, height, _ in rows if height <= 58]
    assert len(old) == len(set(old))
    with closing(sqlite3.connect(tmp_path / "state.sqlite")) as database:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        (rounds,) = database.execute(
            "SELECT sum(length(clients) + length(factors) + length(counters)) FROM rounds"
        ).fetchone()
    # At most all items of all clients, and of the cohorts of three heights.
    assert pages * 4096 < 2 * (rounds + (80 + 3 * 27) * 60 * 4 * 9)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("low_rank", "expected false, as compression.kind is low_rank, which loses nothing"),
        ("dense", "expected false, as compression.kind is dense, which loses nothing"),
        ("quantised", "as compression.kind is quantised, whose losses lie in a basis"),
    ],
)
def test_kinds_that_leave_nothing_for_the_next_update(kind: str, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"compression\.error_feedback: True: .*{words}") as told:
        load(None, ["compression.error_feedback=true", f"compression.kind={kind}"])
    assert "\n" not in str(told.value)


def test_a_federation_needs_a_place_for_residuals() -> None:
    config = load(None, [*SMALL, *FEEDBACK])
    federation = Federation(config, prepare(config.data))
    with pytest.raises(ValueError, match="needs a place"):
        federation.play_round()
    federation.close()
