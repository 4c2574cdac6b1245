"""Attacks on runs under secure aggregation: what is held of one client, and of its group."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.prepare import prepare
from bfedrec.federation.unledgered import learner_alone
from bfedrec.privacy.secure.masks import Lanes
from bfedrec.privacy.secure.member import Member
from bfedrec.runs.folder import RunError
from bfedrec.runs.privacy import attack
from bfedrec.runs.recommend import config_of
from tests.bfedrec.federation.test_masked_rounds import BASE, SECURE
from tests.bfedrec.runs.test_learning import learnt
from tests.bfedrec.runs.test_privacy import ALL, NONE, READER, copy, seen
from tests.bfedrec.runs.test_simulation import play

MASKED = (*BASE, *SECURE, "rounds=6")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run under masks that keeps all updates."""
    path = tmp_path_factory.mktemp("masked")
    play(path, *MASKED, ALL)
    return path


def test_of_a_client_its_group_s_mean_is_seen_and_its_masked_levels(kept: Path) -> None:
    reading, rounds = seen(kept)
    assert reading.grouped
    assert reading.unheard == reading.untold == []
    for each in rounds:
        assert each.A.shape == each.masked.shape == (18, 4, 76)
        means, of = np.unique(each.A.reshape(18, -1), axis=0, return_inverse=True)
        assert len(means) == 2
        assert np.bincount(of.reshape(-1)).tolist() == [9, 9]
        assert len(np.unique(each.masked.reshape(18, -1), axis=0)) == 18
        # 8 bits hold 2 * 9 * 8 + 1 values.
        assert each.masked.min() == -128
        assert each.masked.max() == 127


def test_an_item_of_a_single_member_is_touched(tmp_path: Path) -> None:
    """Of so many items that some have one member of a group who touched them."""
    wide = ("rounds=1", "data.synthetic.items=600", "training.negatives=1")
    play(tmp_path, *MASKED, *wide, ALL)
    _, (first,) = seen(tmp_path)
    data = prepare(config_of(tmp_path).data)
    alone = 0
    for mean in np.unique(first.A, axis=0):
        group = [place for place in range(18) if np.array_equal(first.A[place], mean)]
        clients = first.clients[group]
        own = [data.indices[data.indptr[each] : data.indptr[each + 1]] for each in clients]
        items, members = np.unique(
            np.concatenate([np.unique(each) for each in own]), return_counts=True
        )
        assert first.touched[group[0], items].all()
        alone += int((members == 1).sum())
    assert alone > 20


def test_a_group_s_mean_is_that_of_its_members_updates(kept: Path) -> None:
    """Trained again without masks, from the same Q, factors and beacon."""
    _, rounds = seen(kept, rounds=[range(1, 2)])
    (first,) = rounds
    config = config_of(kept)
    learner = learner_alone(config, prepare(config.data))
    with closing(sqlite3.connect(kept / "chain.sqlite")) as database:
        messages = database.execute("SELECT count(*) FROM updates WHERE height = 1").fetchone()
    assert messages == (3 * 18,)
    assert np.array_equal(first.Q, learner.Q)
    data = learner.data
    assert (first.samples == data.sample_counts[first.clients]).all()
    for place, client in enumerate(first.clients.tolist()):
        own = data.indices[data.indptr[client] : data.indptr[client + 1]]
        assert first.touched[place, own].all()
    # Each mean is that of nine; levels are rounded at random, and cut at 8.
    total = np.unique(first.A, axis=0).sum(axis=0) * 9
    clients = learner.clients(1)
    task = learner.task(1, b"other")
    task = type(task)(**{**vars(task), "B": first.B})
    update = learner.trained(1, clients, learner.P[clients], task)
    exact = np.where(update.touched[:, None], update.A, 0).sum(axis=0)
    step = 2.0**-4
    assert np.abs(total - exact).max() < 18 * step
    assert np.abs(total - exact).mean() < 2 * step
    # Shown as touched is what any member of the group has touched.
    masks = dict(zip(clients.tolist(), update.touched, strict=True))
    for mean in np.unique(first.A, axis=0):
        group = [place for place in range(18) if np.array_equal(first.A[place], mean)]
        together = np.any([masks[first.clients[place]] for place in group], axis=0)
        assert (first.touched[group] == together[:76]).all()


def test_the_masked_update_tells_nothing_and_the_group_s_mean_something(kept: Path) -> None:
    found = attack(kept).figures()
    assert 0.4 < found["masked"]["auc"] < 0.6
    assert "auc_touched" not in found["masked"]
    assert found["masked"]["updates"] == found["sign"]["updates"] == 108
    assert 0.6 < found["sign"]["auc"] < 0.95
    assert set(found) >= {"sign", "masks", "imia", "rank_one", "aggregate", "masked"}
    assert attack(kept).notes[0].startswith("aggregation.secure: of each client its group's mean")


def test_levels_without_masks_would_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attack on masked updates finds what there is to be found."""
    monkeypatch.setattr(
        "bfedrec.privacy.secure.member.mask_of", lambda scheme, _: Lanes.zero(scheme)
    )
    monkeypatch.setattr(
        "bfedrec.privacy.secure.opening.mask_of", lambda scheme, _: Lanes.zero(scheme)
    )
    play(tmp_path, *MASKED, "rounds=2", ALL)
    assert attack(tmp_path, names=("masked",)).figures()["masked"]["auc"] > 0.9


def test_a_reader_of_kept_updates_has_what_a_server_has(kept: Path) -> None:
    _, server = seen(kept)
    _, reader = seen(kept, READER)
    for one, other in zip(server, reader, strict=True):
        for name in ("clients", "samples", "A", "touched", "masked"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name


@pytest.mark.parametrize(
    "more",
    [(), ("clients.dropout=0.2",), ("aggregation.neighbours=4",), ("aggregation.rule=median",)],
    ids=" ".join,
)
def test_masked_rounds_are_made_again(tmp_path: Path, more: tuple[str, ...]) -> None:
    """The roots in the blocks prove it: another message would have another."""
    play(tmp_path, *MASKED, "rounds=3", NONE, *more)
    reading, rounds = seen(tmp_path)
    assert reading.unheard == reading.untold == []
    assert len(rounds) == 3
    assert all(each.masked is not None for each in rounds)
    if not more:
        assert all(len(each.clients) == 18 for each in rounds)


def test_kept_messages_and_those_made_again_are_the_same(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, read = seen(kept)
    monkeypatch.setattr("bfedrec.runs.observation.kept_updates", lambda *_: None)
    _, made = seen(kept)
    for one, other in zip(read, made, strict=True):
        for name in ("clients", "samples", "A", "touched", "masked"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_a_round_that_is_not_made_again_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shares answer to what came in time: where that differed, the root is another."""
    monkeypatch.setattr(Member, "unmask", _late(Member.unmask))
    play(tmp_path, *MASKED, "rounds=2", NONE)
    monkeypatch.undo()
    found = attack(tmp_path, names=("sign", "masked", "aggregate"))
    assert set(found.figures()) == {"aggregate"}
    assert found.notes[0].startswith("rounds left out, as their blocks do not tell")


def _late(unmask: object) -> object:
    """Members that have not heard of the last survivor."""

    def fewer(self: Member, setups: object, roster: int, survivors: int) -> bytes | None:
        last = 1 << (survivors.bit_length() - 1)
        return unmask(self, setups, roster, survivors & ~last)  # type: ignore[operator, no-any-return]

    return fewer


def test_a_dropped_group_shows_nothing(tmp_path: Path) -> None:
    play(tmp_path, *MASKED, "rounds=3", ALL, "clients.dropout=0.6")
    found = attack(tmp_path, names=("sign", "masked", "imia", "attributes"))
    assert sum(len(each.clients) for each in seen(tmp_path)[1]) < 18
    assert all(figures["updates"] < 18 for figures in found.figures().values())


def test_without_a_ledger_a_sum_is_all_that_is_seen(tmp_path: Path) -> None:
    learnt(tmp_path / "run", *MASKED)
    found = attack(tmp_path / "run")
    assert set(found.figures()) == {"aggregate", "popularity"}
    reading, rounds = seen(tmp_path / "run")
    assert reading.unheard == [1, 2, 3, 4, 5, 6]
    assert all(each.A is None and each.masked is None for each in rounds)


def test_messages_that_no_block_can_hold_are_refused(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bfedrec.runs import observation

    read = observation.kept_updates

    def wrong(*arguments: object) -> object:
        found = read(*arguments)  # type: ignore[arg-type]
        if found:
            found[0] = type(found[0])(found[0].record, found[0].payload[:-1])
        return found

    monkeypatch.setattr(observation, "kept_updates", wrong)
    with pytest.raises(RunError, match=r"^height 1: an update of client \d+: "):
        seen(kept)


def test_without_masks_the_attack_on_them_is_refused_or_told(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"none of masked, as aggregation\.secure is false"
    ) as raised:
        load(None, ["privacy.attacks.names=[sign,masked]"])
    assert "\n" not in str(raised.value)
    assert load(None, [*MASKED, "privacy.attacks.names=[masked]"]).privacy.attacks.names
    play(tmp_path, ALL, "rounds=2")
    found = attack(tmp_path, names=("masked",))
    assert found.figures() == {}
    assert found.notes == ["masked: no update is masked, as aggregation.secure is false"]
    assert "masked" not in attack(copy(tmp_path, tmp_path)).figures()
