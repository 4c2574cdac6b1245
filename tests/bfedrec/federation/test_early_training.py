"""The next round's training begins before the servers' height ends, and moves no result."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bfedrec.compression.exchange import Exchange
from bfedrec.config.load import load
from bfedrec.data.prepare import prepare
from bfedrec.federation import round_training
from bfedrec.federation.early_training import EarlyTraining, _Present
from bfedrec.federation.federation import Federation
from bfedrec.federation.global_model import GlobalModel
from consensus.ledger.validity import Head
from consensus.simulation.foresight import Foresight, Trust
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


def test_without_a_guess_it_begins_while_servers_vote_on_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not at the end of the height: no server has appended the block yet."""
    monkeypatch.setattr(Trust, "holds", False)  # and candidates are told of when they are decided
    monkeypatch.setattr(Foresight, "proposed", candidates_always(Foresight.proposed))
    federation, without = made(), []
    begun = EarlyTraining._begun

    def noted(self: EarlyTraining, present: Any, head: Head, aggregate: bytes) -> Any:
        without.append(sum(each.chain.height < head.height for each in federation.world.servers))
        return begun(self, present, head, aggregate)

    monkeypatch.setattr(EarlyTraining, "_begun", noted)
    for _ in range(ROUNDS):
        federation.play_round()
    federation.close()
    assert without == [federation.config.servers.count] * (ROUNDS - 1)


def candidates_always(proposed: Any) -> Any:
    """`Foresight.proposed` that trusts all candidates."""

    def trusting(self: Foresight, *more: Any) -> None:
        self._trust = SimpleNamespace(holds=True, told=lambda *_: None)  # type: ignore[assignment]
        proposed(self, *more)

    return trusting


def made(*overrides: str) -> Federation:
    config = load(None, [*SMALL, "crypto=modelled", f"rounds={ROUNDS}", *overrides])
    return Federation(config, prepare(config.data))


@pytest.mark.parametrize("protocol", ["bft", "tendermint", "hotstuff"])
def test_the_block_is_guessed_when_the_round_begins(
    monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """What is guessed is right: nothing begins later."""
    federation = made(f"protocol={protocol}")
    begun = EarlyTraining._begun
    late: list[int] = []

    def noted(self: EarlyTraining, present: Any, head: Head, aggregate: bytes) -> Any:
        late.append(head.height)
        return begun(self, present, head, aggregate)

    monkeypatch.setattr(EarlyTraining, "_begun", noted)
    for height in range(ROUNDS):
        expected = federation.world.beacon_expected(federation.world.head)
        federation.play_round()
        assert expected == federation.world.head.beacon
        guess = federation.early._guess
        assert (guess is not None) == (height < ROUNDS - 1)
    federation.close()
    assert not late


def test_where_servers_race_nothing_is_expected() -> None:
    federation = made("protocol=paper")
    assert federation.world.beacon_expected(federation.world.head) is None
    federation.play_round()
    assert federation.world.beacon_expected(federation.world.head) is None
    federation.close()


def test_the_first_honest_turn_before_a_committee_that_can_decide_is_expected() -> None:
    """Wherever malicious servers lead, or can block; here no other view comes to a block."""
    options = ("gaussian", "invert_votes")
    federation = made(
        f"servers.malicious=[{{behaviour: [{', '.join(options)}], share: 1/3}}]", "rounds=12"
    )
    world, told = federation.world, Counter[str]()
    for _ in range(12):
        first = world.checks.sortition(world.genesis, world.head, 0)
        leads = first.order[0] in world.behaviours
        blocks = first.committee.cannot_approve(first.committee.weight_of(world.behaviours))
        expected = world.beacon_expected(world.head)
        federation.play_round()
        assert expected == world.head.beacon
        told["blocks" if blocks else "leads" if leads else "neither"] += 1
    federation.close()
    assert set(told) == {"leads", "blocks", "neither"}


@pytest.mark.parametrize("what", ["beacon", "aggregate"])
def test_a_wrong_guess_moves_no_result(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    late, _ = played(monkeypatch, False, *ADAPTIVE)
    guessed = EarlyTraining._guessed
    wrong = 0

    def wrongly(self: EarlyTraining, present: Any) -> Any:
        nonlocal wrong
        if what == "beacon":
            present = present._replace(beacon=bytes(32))
        found = guessed(self, present)
        if found is None:
            return None
        wrong += 1
        if what == "aggregate":
            return found._replace(aggregate=SimpleNamespace(result=lambda: b"another"))
        return found

    monkeypatch.setattr(Trust, "holds", True)
    monkeypatch.setattr(EarlyTraining, "_guessed", wrongly)
    monkeypatch.setattr(EarlyTraining, "_known_aggregate", lambda *_: None)
    early, begun = played(monkeypatch, True, *ADAPTIVE)
    assert early == late
    assert begun == wrong == ROUNDS - 1


@pytest.mark.parametrize("what", ["beacon", "updates"])
def test_guesses_are_trusted_while_blocks_are_as_expected(what: str) -> None:
    federation = made()
    early, head = federation.early, federation.world.head
    message: Any = object()
    training: Any = SimpleNamespace(all_sent=lambda: [(None, message)])
    present = _Present(head, np.arange(1), training, head.beacon)
    early._present = present
    for _ in range(9):
        early.played(head, [message])
        assert early._trust.holds
    for left in (True, False):
        if what == "beacon":
            early.played(replace(head, beacon=bytes(32)), [message])
        else:
            early.played(head, [])
        assert early._trust.holds == left
    early._present = present._replace(beacon=None)
    early.played(head, [message])
    assert not early._trust.holds, "nothing was expected"
    federation.close()


def test_updates_that_have_no_aggregate_are_no_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers' block may be of others, and is waited for."""
    late, _ = played(monkeypatch, False, *ADAPTIVE)

    def refused(*_: Any) -> bytes:
        raise ValueError("too few of them")

    monkeypatch.setattr("bfedrec.federation.early_training.aggregate_of_all", refused)
    early, begun = played(monkeypatch, True, *ADAPTIVE)
    assert early == late
    assert begun == ROUNDS - 1


def test_what_is_aggregated_ahead_is_not_aggregated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Counter[str]()
    aggregate = Exchange.aggregate

    def noted(self: Exchange, *more: Any) -> bytes:
        threads[threading.current_thread().name] += 1
        return aggregate(self, *more)

    monkeypatch.setattr(Exchange, "aggregate", noted)
    federation = made()
    for _ in range(ROUNDS):
        federation.play_round()
    federation.close()
    # Nobody trains after the last round, so nobody has aggregated it.
    assert threads == {"cohort_0": ROUNDS - 1, "MainThread": 1}


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
