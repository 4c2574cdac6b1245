"""The next round's training begins before the servers' height ends, and moves no result."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bfedrec.config.load import load
from bfedrec.data.prepare import prepare
from bfedrec.federation import round_training
from bfedrec.federation.early_training import EarlyTraining
from bfedrec.federation.federation import Federation
from bfedrec.federation.global_model import GlobalModel
from consensus.ledger.validity import Head
from tests.bfedrec.runs.test_simulation import SMALL

ROUNDS = 5
ADAPTIVE = ("optimizer.kind=row_adaptive", "training.method=ials", "aggregation.rule=uniform")
Played = tuple[bytes, bytes, str, list[Any]]


def played(monkeypatch: pytest.MonkeyPatch, early: bool, *overrides: str) -> tuple[Played, int]:
    """P, Q, the chain's head and figures of each round after some rounds, and how many began
    early."""
    config = load(None, [*SMALL, "crypto=modelled", f"rounds={ROUNDS}", *overrides])
    begun = 0
    with monkeypatch.context() as patch:
        taken = EarlyTraining.taken

        def counted(self: EarlyTraining, head: Any) -> Any:
            nonlocal begun
            found = taken(self, head)
            begun += found is not None
            return found

        patch.setattr(EarlyTraining, "taken", counted)
        if not early:
            patch.setattr(EarlyTraining, "foresee", lambda *_: None)
        left: dict[int, bytes] = {}
        federation = Federation(
            config, prepare(config.data), lambda _, asked: {c: left[c] for c in asked if c in left}
        )
        figures = []
        try:
            for _ in range(ROUNDS):
                result = federation.play_round()
                left |= result.residuals
                figures.append((result.loss, result.malicious, result.result.refused))
        finally:
            federation.close()
    learner = federation.learner
    head = federation.world.head.cid.hex()
    return (learner.P.tobytes(), learner.Q.tobytes(), head, figures), begun


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("model.basis=svd",),
        ("model.basis=fixed", "clients.snapshot_every=2", "clients.downlink=catch_up"),
        ("clients.per_round=20",),  # most of them take part again
        ADAPTIVE,
        ("training.virtual_share=1", "clients.dropout=0.3"),
        ("servers.malicious=1/3", "rounds=8"),
        ("protocol=paper",),  # servers race to propose
        ("ledger.barrier=false", "ledger.checkpoint_every=2"),
        ("privacy.decoys.share=0.1",),
    ],
    ids=str,
)
def test_it_moves_no_result(monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]) -> None:
    early, begun = played(monkeypatch, True, *options)
    late, none = played(monkeypatch, False, *options)
    assert early == late
    assert none == 0
    assert begun == ROUNDS - 1


def test_nor_where_attacks_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round in which a malicious client acts begins in its own time."""
    attack = "clients.malicious=[{attack: label_flip, share: 0.05}]"
    early, begun = played(monkeypatch, True, attack, "clients.per_round=4", "seed=3")
    late, _ = played(monkeypatch, False, attack, "clients.per_round=4", "seed=3")
    assert early == late
    assert 0 < begun < ROUNDS - 1


def test_nor_where_messages_are_kept_to_be_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a round is attacked depends on who took part in the one before."""
    attack = "clients.malicious=[{attack: replay, share: 0.2}]"
    early, begun = played(monkeypatch, True, attack, "clients.per_round=4", "seed=2")
    late, _ = played(monkeypatch, False, attack, "clients.per_round=4", "seed=2")
    assert early == late
    assert begun == 0
    assert any(refused for _, _, refused in late[3])


def test_error_feedback_and_masks_wait_for_their_round(monkeypatch: pytest.MonkeyPatch) -> None:
    feedback = ("compression.kind=top_k", "compression.size=1", "compression.error_feedback=true")
    assert played(monkeypatch, True, *feedback)[1] == 0
    masks = ("crypto=real", "aggregation.secure=true", "compression.kind=levels", "rounds=2")
    config = load(None, [*SMALL, *masks, "aggregation.rule=per_item", "aggregation.group=4"])
    federation = Federation(config, prepare(config.data))
    for _ in range(2):
        federation.play_round()
    federation.close()
    assert federation.early.taken(federation.world.head) is None


def test_two_rounds_of_messages_that_do_not_fit_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(round_training, "PART_BYTES", 2**12)
    assert played(monkeypatch, True)[1] == 0


def test_nothing_begins_after_the_last_round() -> None:
    config = load(None, [*SMALL, "crypto=modelled", "rounds=2"])
    federation = Federation(config, prepare(config.data))
    federation.play_round()
    federation.play_round()
    federation.close()
    assert federation.early.taken(federation.world.head) is None


def test_a_block_that_is_not_decided_moves_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """The training that began on it is discarded, and that of the decided one begins."""
    late, _ = played(monkeypatch, False, *ADAPTIVE)
    foresee, wrong = EarlyTraining.foresee, 0

    def first_another(self: EarlyTraining, head: Head, aggregate: bytes) -> None:
        nonlocal wrong
        if self._next is None:
            other = replace(head, cid=bytes(36), beacon=bytes(32))
            foresee(self, other, bytes(len(aggregate)))
            wrong += self._next is not None and self._next[0] == other.cid
        foresee(self, head, aggregate)

    monkeypatch.setattr(EarlyTraining, "foresee", first_another)
    early, begun = played(monkeypatch, True, *ADAPTIVE)
    assert early == late
    assert begun == wrong == ROUNDS - 1


def test_a_training_on_a_block_that_nobody_has_decided_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the decided block was never told of."""
    late, _ = played(monkeypatch, False)
    foresee = EarlyTraining.foresee

    def another(self: EarlyTraining, head: Head, aggregate: bytes) -> None:
        foresee(self, replace(head, cid=bytes(36)), aggregate)

    monkeypatch.setattr(EarlyTraining, "foresee", another)
    early, begun = played(monkeypatch, True)
    assert early == late
    assert begun == 0


def test_it_begins_while_servers_vote_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the end of the height: no server has appended the block yet."""
    config = load(None, [*SMALL, "crypto=modelled", f"rounds={ROUNDS}"])
    federation = Federation(config, prepare(config.data))
    without: list[int] = []
    foresee = GlobalModel.foresee

    def noted(self: GlobalModel, height: int, beacon: bytes, aggregate: bytes) -> np.ndarray:
        assert threading.current_thread() is threading.main_thread()
        without.append(sum(each.chain.height < height for each in federation.world.servers))
        return foresee(self, height, beacon, aggregate)

    monkeypatch.setattr(GlobalModel, "foresee", noted)
    for _ in range(ROUNDS):
        federation.play_round()
    federation.close()
    assert without == [config.servers.count] * (ROUNDS - 1)


def test_what_is_foreseen_is_what_is_committed() -> None:
    """Also where something else is committed in the end, whatever was foreseen."""
    config = load(None, [*SMALL, "optimizer.kind=row_adaptive"])
    federation = Federation(config, prepare(config.data), plays=False)
    model, learner, head = federation.learner.model, federation.learner, federation.world.head
    clients = learner.clients(1)
    sent, _ = federation.retrained(head)
    federation.close()
    payloads = [message.payload for _, message in sent]
    whole, half = (
        model.aggregate(part, [1] * len(part), head.beacon)
        for part in (payloads, payloads[: len(clients) // 2])
    )
    before = model.Q.copy()
    foreseen = model.foresee(1, head.beacon, whole)
    assert np.array_equal(model.Q, before)
    model.commit(1, head.beacon, half)
    assert not np.array_equal(model.Q, foreseen)
    other = GlobalModel.from_genesis(
        federation.genesis.application, federation.initial_model, model.first_beacon
    )
    other.commit(1, head.beacon, half)
    assert np.array_equal(model.Q, other.Q)
    again = model.foresee(2, b"x", whole)
    model.commit(2, b"x", whole)
    assert np.array_equal(model.Q, again)
    other.commit(2, b"x", whole)
    assert np.array_equal(model.Q, other.Q)
    assert all(np.array_equal(*pair) for pair in zip(model.state, other.state, strict=True))
