"""Attacks on runs: what is attacked is what was sent, who holds it, and what is refused."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bfedrec.attacks.attack import ATTACKS, Attack, Scene
from bfedrec.attacks.attack import attack as register_attack
from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.prepare import prepare
from bfedrec.learning.upload import Upload
from bfedrec.privacy.assessment import FIGURES
from bfedrec.runs.folder import RunError, RunFolder
from bfedrec.runs.holders import Holder
from bfedrec.runs.observation import Reading
from bfedrec.runs.privacy import attack, own_figures
from bfedrec.runs.recommend import config_of, data_of
from bfedrec.runs.replay import state_of
from bfedrec.runs.state import StateError
from consensus.simulation.timeline import HeightTimeline, Named
from consensus.storage.content import StoreError
from tests.bfedrec.runs.test_learning import FEEDBACK, learnt
from tests.bfedrec.runs.test_simulation import play

NONE, ALL = "ledger.retain_updates=none", "ledger.retain_updates=all"
SERVER, READER = Holder((0,)), Holder(())


def seen(run: Path, holder: Holder = SERVER, rounds: Any = None) -> tuple[Reading, list[Any]]:
    """A run as its holder sees it."""
    config = config_of(run)
    reading = Reading(run, config, data_of(run, config), holder, rounds)
    return reading, list(reading.observations())


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that keeps all updates."""
    path = tmp_path_factory.mktemp("kept")
    play(path, ALL)
    return path


@pytest.fixture(scope="module")
def dropped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that keeps none."""
    path = tmp_path_factory.mktemp("dropped")
    play(path, NONE)
    return path


def test_rounds_are_made_again_whether_or_not_they_are_kept(kept: Path, dropped: Path) -> None:
    """The two runs differ in genesis, and so in beacons and bases, and have the same clients."""
    _, read = seen(kept)
    _, made = seen(dropped)
    assert [each.height for each in read] == [each.height for each in made] == list(range(1, 13))
    for one, other in zip(read, made, strict=True):
        places = [np.argsort(each.clients) for each in (one, other)]
        assert np.array_equal(one.clients[places[0]], other.clients[places[1]])
        assert np.array_equal(one.samples[places[0]], other.samples[places[1]])
        assert one.A.shape == other.A.shape == (10, 2, 60)


def test_kept_updates_and_those_made_again_are_the_same(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, read = seen(kept)
    monkeypatch.setattr("bfedrec.runs.observation.kept_updates", lambda *_: None)
    _, made = seen(kept)
    for one, other in zip(read, made, strict=True):
        for name in ("clients", "samples", "A", "touched", "Q", "B", "aggregate"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_an_observation_is_of_its_round(kept: Path) -> None:
    data = prepare(config_of(kept).data)
    _, read = seen(kept)
    for each in read:
        assert (each.samples == data.sample_counts[each.clients]).all()
        for place, user in enumerate(each.clients.tolist()):
            own = data.indices[data.indptr[user] : data.indptr[user + 1]]
            assert each.touched[place, own].all()
            assert not each.A[place][:, ~each.touched[place]].any()
    before, after = read[0].Q, read[1].Q
    moved = before + (read[0].B @ read[0].aggregate).T
    assert after == pytest.approx(moved, abs=1e-5)


def test_the_sign_finds_the_interactions(kept: Path, dropped: Path) -> None:
    for run in (kept, dropped):
        found = attack(run, names=("sign", "popularity"))
        assert found.figures()["sign"]["auc"] > 0.98
        assert found.figures()["popularity"]["auc"] < 0.8
        assert found.figures()["sign"]["updates"] == 120
        assert found.notes == []


@pytest.mark.parametrize(
    "overrides",
    [
        ("protocol=paper",),
        ("aggregation.rule=median", "compression.kind=quantised"),
        (*FEEDBACK, "rounds=10"),  # in which clients come again, with what their codec lost
        ("clients.dropout=0.3",),
        ("training.method=ials", "model.rank=8", "model.basis=identity"),
        (
            "training.method=fedncf",
            "model.rank=8",
            "model.basis=identity",
            "compression.kind=dense",
        ),
        ("clients.malicious=[{attack: stale_round, share: 0.3}]",),
        ("clients.malicious=[{attack: gaussian, share: 0.3}]",),
        ("clients.malicious=[{attack: two_updates, share: 0.2}]", "committee.update_quota=0.5"),
    ],
    ids=" ".join,
)
def test_runs_of_all_kinds_are_made_again(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    """The roots in the blocks prove it: another update, or one too many, would have another."""
    play(tmp_path, NONE, "rounds=4", *overrides)
    reading, read = seen(tmp_path)
    assert reading.unheard == []
    assert reading.untold == []
    assert len(read) == (10 if overrides[: len(FEEDBACK)] == FEEDBACK else 4)
    assert all(len(each.clients) for each in read)
    assert all(reading.honest[each.clients].all() for each in read)


def test_what_malicious_clients_keep_is_kept_when_a_run_is_made_again(tmp_path: Path) -> None:
    """An attack whose updates depend on what it signed at the height before."""

    with ATTACKS.restored():

        @register_attack("echo")
        class Echo(Attack):
            """Its updates grow with what it signed before."""

            def keeps_messages(self) -> bool:
                return True

            def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
                factor = np.float32(1 + len(scene.earlier))
                return [replace(upload, A=factor * upload.A) for upload in uploads]

        play(tmp_path, NONE, "rounds=4", "clients.malicious=[{attack: echo, share: 0.3}]")
        reading, read = seen(tmp_path)
        assert reading.untold == []
        assert len(read) == 4


def test_some_rounds_alone_are_read(dropped: Path) -> None:
    _, read = seen(dropped, rounds=[range(3, 4), range(7, 8)])
    _, whole = seen(dropped)
    assert [each.height for each in read] == [3, 7]
    assert np.array_equal(read[1].A, whole[6].A)
    with pytest.raises(RunError, match="has 12 rounds so far, and none of those asked for"):
        seen(dropped, rounds=[range(13, 10**9)])


def test_learning_without_a_ledger_is_played_again(tmp_path: Path) -> None:
    learnt(tmp_path / "run", "compression.kind=low_rank")
    found = attack(tmp_path / "run", names=("sign", "masks"))
    assert found.figures()["sign"]["auc"] > 0.98
    assert found.figures()["sign"]["updates"] == 120
    public = attack(tmp_path / "run", "reader", ("sign", "aggregate"))
    assert list(public.figures()) == ["aggregate"]


# -- holders --------------------------------------------------------------------------------------


def test_a_reader_has_what_is_published(kept: Path, dropped: Path) -> None:
    names = ("sign", "aggregate", "popularity")
    assert set(attack(kept, "reader", names).figures()) == set(names)
    found = attack(dropped, "reader", names)
    assert set(found.figures()) == {"aggregate", "popularity"}
    (note,) = found.notes
    assert note.startswith("rounds of which the run publishes no updates: 12; ")
    assert "ledger.retain_updates=all" in note


def test_a_window_publishes_its_rounds(tmp_path: Path) -> None:
    play(tmp_path, "ledger.retain_updates=window", "ledger.window=3")
    found = attack(tmp_path, "reader", ("sign",))
    assert [height for height, _, _ in found.memberships["sign"].rounds] == [10, 11, 12]
    assert found.notes[0].startswith("rounds of which the run publishes no updates: 9;")
    assert [each.height for each in seen(tmp_path)[1]] == list(range(1, 13))


@pytest.mark.parametrize(
    ("text", "servers"),
    [("reader", ()), ("server:3", (3,)), ("colluding:2", (0, 1)), ("colluding:7", tuple(range(7)))],
)
def test_holders_are_named(text: str, servers: tuple[int, ...]) -> None:
    assert Holder.parse(text, 7).servers == servers


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("server:7", "the run has servers 0 to 6"),
        ("colluding:8", "the run has 7 servers"),
        ("colluding:0", "expected server:INDEX, reader or colluding:COUNT"),
        ("server:-1", "expected server:INDEX"),
        ("server:03", "expected server:INDEX"),
        ("readers", "expected server:INDEX"),
        ("server:1\n", "expected server:INDEX"),
    ],
)
def test_other_holders_are_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Holder.parse(text, 7)


def test_a_server_that_was_down_has_heard_nothing() -> None:
    def hears(text: str, down: tuple[int, ...] = (), cut: tuple[int, ...] = ()) -> bool:
        timeline = HeightTimeline(
            1, "decided", 0, 1, "", (), down=Named.of(down), cut_off=Named.of(cut)
        )
        return Holder.parse(text, 7).hears(timeline)

    assert hears("server:3")
    assert hears("server:3", down=(2,))
    assert not hears("server:3", down=(3,))
    assert not hears("server:3", cut=(3, 4))
    assert hears("colluding:2", down=(0,))
    assert not hears("colluding:2", down=(0,), cut=(1,))
    assert not hears("reader")


def test_rounds_in_which_the_server_was_down_are_told(tmp_path: Path) -> None:
    play(tmp_path, NONE, "faults=[{crash: [2], from: 2.5, until: 5.5}]")
    _, whole = seen(tmp_path, Holder((1,)))
    reading, read = seen(tmp_path, Holder((2,)))
    assert all(each.A is not None for each in whole)
    assert 0 < len(reading.unheard) < 12
    assert [each.height for each in read if each.A is None] == reading.unheard
    (note,) = attack(tmp_path, "server:2", ("sign",)).notes
    assert note == f"rounds in which no update reached the holder: {len(reading.unheard)}"


# -- running runs, and the run's own figures ------------------------------------------------------


def test_a_run_that_goes_on_is_attacked_beside_its_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of round 9, by the process itself, which holds the folder."""
    from bfedrec.runs.simulation import Simulation

    record, found = Simulation._record, []

    def attacked(self: Simulation, played: Any) -> None:
        record(self, played)
        if played.height == 8:
            found.append(attack(tmp_path, names=("sign",)))

    monkeypatch.setattr(Simulation, "_record", attacked)
    play(tmp_path, NONE)
    assert [height for height, _, _ in found[0].memberships["sign"].rounds] == list(range(1, 9))
    assert found[0].figures()["sign"]["auc"] > 0.98


def test_the_state_of_a_run_that_goes_on_is_copied(dropped: Path, tmp_path: Path) -> None:
    run = copy(dropped, tmp_path)
    with state_of(run, config_of(run)) as state:
        assert state._path.parent == run
    with RunFolder.open(config_of(run), run, resume=True), state_of(run, config_of(run)) as state:
        assert state._path.parent != run
        assert state.last_height == 12


def test_a_run_tells_the_figures_of_the_attacks_it_is_asked_for(
    dropped: Path, tmp_path: Path
) -> None:
    names = "privacy.attacks.names=[sign,popularity]"
    summary = play(tmp_path, NONE, names)
    assert summary["privacy_sign_auc"] > 0.98
    assert summary["privacy_sign_updates"] == 120
    assert {key for key in summary if key.startswith("privacy_popularity_")} == {
        f"privacy_popularity_{key}"
        for key in (*FIGURES, "users", "updates")
        if key != "auc_touched"
    }
    assert not any(key.startswith("privacy_") for key in json.loads(_text(dropped)))
    again = attack(tmp_path, names=("sign", "popularity"))
    assert again.figures()["sign"]["auc"] == summary["privacy_sign_auc"]
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    assert learnt(tmp_path / "learnt", names)["privacy_sign_auc"] > 0.98


def _text(run: Path) -> str:
    return (run / "summary.json").read_text()


def test_without_the_option_nothing_is_read(tmp_path: Path) -> None:
    config = load(None, [])
    assert own_figures(tmp_path / "none", config, None) == {}  # type: ignore[arg-type]


# -- refusals -------------------------------------------------------------------------------------


def copy(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run, to / "copy"))


def test_factors_of_another_run_are_refused(dropped: Path, tmp_path: Path) -> None:
    run = copy(dropped, tmp_path)
    with closing(sqlite3.connect(run / "state.sqlite")) as database, database:
        (factors,) = database.execute("SELECT factors FROM rounds WHERE height = 2").fetchone()
        changed = (-np.frombuffer(factors, "<f4")).tobytes()
        database.execute("UPDATE rounds SET factors = ? WHERE height = 2", (changed,))
    with pytest.raises(RunError, match=r"the updates that its config and seed lead to are not"):
        seen(run)


def test_rows_that_do_not_fit_are_refused(dropped: Path, tmp_path: Path) -> None:
    run = copy(dropped, tmp_path)
    with closing(sqlite3.connect(run / "state.sqlite")) as database, database:
        clients = np.full(10, -1, "<i8").tobytes()
        database.execute("UPDATE rounds SET clients = ? WHERE height = 2", (clients,))
    with pytest.raises(StateError, match=r"height 2 does not fit P"):
        seen(run)


def test_kept_updates_that_are_not_the_blocks_are_refused(kept: Path, tmp_path: Path) -> None:
    run = copy(kept, tmp_path)
    with closing(sqlite3.connect(run / "chain.sqlite")) as database, database:
        database.execute("DELETE FROM updates WHERE height = 5 AND position = 3")
    for holder in (SERVER, READER):
        with pytest.raises(RunError, match="height 5: the kept updates are not those that"):
            seen(run, holder)


def test_payloads_that_are_not_what_their_address_says_are_refused(
    kept: Path, tmp_path: Path
) -> None:
    run = copy(kept, tmp_path)
    with closing(sqlite3.connect(run / "chain.sqlite")) as database, database:
        rows = database.execute("SELECT rowid, data FROM content").fetchall()
        for row, data in rows:
            changed = bytes([data[0] ^ 1]) + data[1:]
            database.execute("UPDATE content SET data = ? WHERE rowid = ?", (changed, row))
    with pytest.raises(StoreError, match="has another hash"):
        seen(run, READER)


def test_another_config_is_refused(dropped: Path, tmp_path: Path) -> None:
    run = copy(dropped, tmp_path)
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: 1", 1))
    with pytest.raises(RunError, match="its genesis is not that of this config"):
        seen(run)
    path.write_text(path.read_text().replace("users: 80", "users: 81", 1))
    with pytest.raises(RunError, match="the run was made on data"):
        attack(run)


@pytest.mark.parametrize(
    ("file", "error", "told"),
    [
        ("chain.sqlite", RunError, "has no chain.sqlite"),
        ("state.sqlite", StateError, "no such file, and it holds the clients' own factors"),
        ("config.yaml", RunError, "not a run folder"),
        ("manifest.json", RunError, "no such file"),
    ],
)
def test_missing_files_are_told(
    dropped: Path, tmp_path: Path, file: str, error: type[Exception], told: str
) -> None:
    run = copy(dropped, tmp_path)
    (run / file).unlink()
    with pytest.raises(error, match=told):
        attack(run)


def test_damaged_learning_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    learnt(run)
    with closing(sqlite3.connect(run / "state.sqlite")) as database, database:
        (factors,) = database.execute("SELECT factors FROM rounds WHERE height = 4").fetchone()
        changed = factors[:-1] + bytes([factors[-1] ^ 1])
        database.execute("UPDATE rounds SET factors = ? WHERE height = 4", (changed,))
    with pytest.raises(RunError, match="round 4 cannot be played again"):
        seen(run)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["privacy.attacks.names=[sing]"], "sign | masks"),
        (["privacy.attacks.names=[sign,sign]"], "each attack once"),
        (["privacy.attacks.holder=nobody"], "privacy.attacks.holder"),
        (["privacy.attacks.holder=reader"], "server:0, as privacy.attacks.names is empty"),
        (["privacy.attacks.names=[sign]", "store.kind=memory"], "sqlite | ipfs"),
        (["privacy.attacks.names=[sign]", "method=popularity"], "does not read it"),
    ],
)
def test_configs_that_cannot_be_attacked_are_refused(overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(None, overrides)
    assert told in str(raised.value)
