"""Cohorts that train in a process of their own: it moves no result, whatever befalls it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bfedrec.config.load import load
from bfedrec.data.prepare import prepare
from bfedrec.federation import cohorts, forked_trainer, training_process
from bfedrec.federation.early_training import EarlyTraining
from bfedrec.federation.federation import Federation
from bfedrec.federation.forked_trainer import ROUNDS as ROUNDS_HELD
from bfedrec.federation.global_model import GlobalModel
from bfedrec.federation.round_training import RoundTraining
from bfedrec.federation.training_process import Answer, TrainingProcess
from bfedrec.federation.uplink import Uplink
from bfedrec.learning.upload import Diverged, Upload
from consensus.crypto import keys
from consensus.ledger.updates import SignedUpdate
from consensus.ledger.validity import Head
from tests.bfedrec.runs.test_simulation import SMALL

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no process is forked elsewhere")

ROUNDS = 6
ADAPTIVE = ("optimizer.kind=row_adaptive", "training.method=ials", "aggregation.rule=uniform")
#: A quarter of the updates decides a round: no guess of a block is right.
IMPATIENT = ("committee.update_quota=0.25", "clients.spread=1.5", "clients.upload_mib_per_s=0.0002")


@pytest.fixture
def forking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any run is worth a process."""
    monkeypatch.setattr(cohorts, "WORTH_FORKING", 0)
    monkeypatch.setattr(cohorts, "thread_count", lambda: 2)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The number of requests to processes, by method."""
    found: Counter[str] = Counter()
    ask = TrainingProcess.ask

    def counted(self: TrainingProcess, number: int, method: str, *more: Any, **rest: Any) -> Answer:
        found[method] += 1
        return ask(self, number, method, *more, **rest)

    monkeypatch.setattr(TrainingProcess, "ask", counted)
    return found


def made(*overrides: str) -> Federation:
    config = load(None, [*SMALL, "crypto=modelled", f"rounds={ROUNDS}", *overrides])
    return Federation(config, prepare(config.data), lambda height, clients: {})


def played(
    *overrides: str, alone: bool = False, between: Callable[[int, Federation], None] | None = None
) -> dict[str, Any]:
    """What comes of a run; ``alone``: without a process; ``between`` is called after each round."""
    federation = made(*overrides)
    federation._may_fork = not alone
    losses = []
    try:
        for number in range(federation.config.rounds):
            losses.append(federation.play_round().loss)
            assert alone == (federation.cohorts.process is None)
            if between is not None:
                between(number, federation)
    finally:
        federation.close()
    learner = federation.learner
    found = {"P": learner.P, "Q": learner.Q, "losses": np.array(losses)}
    head = federation.world.head.cid.hex()
    return {name: array.tobytes() for name, array in found.items()} | {"head": head}


@pytest.mark.usefixtures("forking")
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("crypto=real",),
        ("model.basis=svd", "aggregation.rule=per_item"),
        ("model.basis=fixed", "clients.snapshot_every=2", "clients.downlink=catch_up"),
        ("clients.per_round=20",),  # most of them take part again
        ("clients.per_round=1",),
        ADAPTIVE,
        ("training.virtual_share=1", "clients.dropout=0.3"),
        ("servers.malicious=1/3", "rounds=8"),
        ("protocol=paper",),  # no block is guessed
        ("protocol=tendermint",),
        ("protocol=hotstuff",),
        ("ledger.barrier=false", "ledger.checkpoint_every=2"),
        ("compression.kind=quantised", "model.rank=8"),
        IMPATIENT,
        ("clients.malicious=[{attack: label_flip, share: 0.05}]", "clients.per_round=4", "seed=3"),
        # Some rounds train here, and their clients take part again in those that do not.
        (
            "clients.malicious=[{attack: label_flip, share: 0.02}]",
            "clients.per_round=45",
            "rounds=8",
        ),
        ("privacy.decoys.share=0.1",),
    ],
    ids=str,
)
def test_it_moves_no_result(asked: Counter[str], options: tuple[str, ...]) -> None:
    alone = played(*options, alone=True)
    assert not asked
    assert played(*options) == alone
    assert asked["train"] > 0
    assert asked["sign"] > 0


@pytest.mark.usefixtures("forking")
def test_a_round_is_guessed_signed_and_taken(asked: Counter[str]) -> None:
    played()
    assert asked["begin"] == 1, "the first round has none before it"
    assert asked["guess"] == ROUNDS - 1
    assert asked["train"] == asked["sign"] == ROUNDS * cohorts.TRAINING_PARTS
    assert asked["committed"] == ROUNDS


@pytest.mark.usefixtures("forking")
def test_wrong_guesses_are_given_up(asked: Counter[str]) -> None:
    """After two of them, until enough blocks are as expected; here none is."""
    played(*IMPATIENT, "rounds=8")
    assert asked["guess"] == 2
    assert asked["begin"] == 8


@pytest.mark.usefixtures("forking")
@pytest.mark.parametrize("told", ["another block", "another, then the block", "none"])
def test_what_is_proposed_and_not_decided_moves_no_result(
    monkeypatch: pytest.MonkeyPatch, asked: Counter[str], told: str
) -> None:
    alone = played(alone=True)
    foresee = EarlyTraining.foresee

    def wrongly(self: EarlyTraining, head: Head, aggregate: bytes) -> None:
        if told != "none":
            foresee(self, replace(head, cid=bytes(36)), aggregate)
        if told == "another, then the block":
            foresee(self, head, aggregate)

    monkeypatch.setattr(EarlyTraining, "foresee", wrongly)
    asked.clear()
    assert played() == alone
    if told == "another, then the block":
        assert asked["begin"] == 1, "what was guessed is right for both"
    else:
        assert asked["begin"] == ROUNDS


@pytest.mark.usefixtures("forking")
@pytest.mark.parametrize("seed", range(12))
def test_a_process_that_is_killed_is_done_without(seed: int) -> None:
    """At any moment: while it trains, signs or rests, and whatever was asked of it."""
    generator, options = np.random.default_rng(seed), ("clients.per_round=20", f"seed={seed}")
    fatal = int(generator.integers(1, 40))
    alone = played(*options, alone=True)
    count = 0
    ask = TrainingProcess.ask

    def kill(self: TrainingProcess, *more: Any, **rest: Any) -> Answer:
        nonlocal count
        count += 1
        if count == fatal:
            assert self._process is not None
            os.kill(self._process, signal.SIGKILL)
            if seed % 2:
                os.waitpid(self._process, 0)
        return ask(self, *more, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingProcess, "ask", kill)
        assert played(*options) == alone
    assert count >= fatal


@pytest.mark.usefixtures("forking")
@pytest.mark.parametrize("size", [0, 1, 700])
def test_payloads_for_which_there_is_no_room_come_all_the_same(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    alone = played(alone=True)
    begin = TrainingProcess.__init__

    def cramped(self: TrainingProcess, *more: Any) -> None:
        begin(self, *more[:-1], size)

    monkeypatch.setattr(TrainingProcess, "__init__", cramped)
    assert played() == alone


@pytest.mark.usefixtures("forking")
@pytest.mark.parametrize("numbers", [1, 2, 3])
def test_numbers_of_rounds_are_used_again(monkeypatch: pytest.MonkeyPatch, numbers: int) -> None:
    """A round that nobody wanted does not keep a later one of its number from being trained."""
    monkeypatch.setattr(forked_trainer, "NUMBERS", numbers)
    monkeypatch.setattr(training_process, "NUMBERS", numbers)
    alone = played(*IMPATIENT, alone=True)
    assert played(*IMPATIENT) == alone


@pytest.mark.usefixtures("forking")
def test_what_is_wrong_with_an_update_is_found_as_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures that are no good, and payloads that have a flaw."""
    sign, refused = Uplink.sign, Counter[str]()

    def badly(self: Uplink, head: Head, upload: Upload) -> SignedUpdate:
        message = sign(self, head, upload)
        if upload.client % 5:
            return message
        return replace(message, record=replace(message.record, signature=bytes(64)))

    def flaw(self: GlobalModel, payload: bytes) -> str | None:
        return "an odd one" if sum(payload) % 4 == 0 else None

    def count(_: int, federation: Federation) -> None:
        refused.update(federation.world.servers[0].pool.rejected)

    monkeypatch.setattr(Uplink, "sign", badly)
    monkeypatch.setattr(GlobalModel, "_flaw", flaw)
    options = ("crypto=real", "committee.update_quota=0.3")
    alone = played(*options, alone=True)
    keys.forget()
    assert played(*options, between=count) == alone
    assert {"signature", "an odd one"} <= {*refused}


@pytest.mark.usefixtures("forking")
def test_what_diverges_there_is_told_as_here() -> None:
    options = ("training.item_step=1e30", "training.user_step=1e30")
    with pytest.raises(Diverged) as alone:
        played(*options, alone=True)
    with pytest.raises(Diverged) as there:
        played(*options)
    assert str(there.value) == str(alone.value)


class Unreadable(Exception):
    """Unpickling calls it with one argument."""

    def __init__(self, client: int, reason: str) -> None:
        super().__init__(f"client {client}: {reason}")


def unsendable(client: int, reason: str) -> Exception:
    """Pickling finds no class of its name."""

    class Unsendable(Exception): ...

    return Unsendable(f"client {client}: {reason}")


@pytest.mark.usefixtures("forking")
@pytest.mark.parametrize("wrong", [Unreadable, unsendable])
def test_errors_that_cannot_be_handed_over_are_told_as_here(
    monkeypatch: pytest.MonkeyPatch, wrong: Callable[[int, str], Exception]
) -> None:
    encoded = Uplink.encoded

    def refused(self: Uplink, height: int, beacon: bytes, upload: Upload) -> Upload:
        if height == 4:
            raise wrong(upload.client, "too large")
        return encoded(self, height, beacon, upload)

    monkeypatch.setattr(Uplink, "encoded", refused)
    told = []
    for alone in (True, False):
        with pytest.raises(Exception, match=r"client \d+: too large") as error:
            played(alone=alone)
        told.append((error.type.__name__, str(error.value)))
    assert told[0] == told[1]


@pytest.mark.usefixtures("forking")
def test_signatures_that_it_has_checked_are_not_checked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys.forget()
    sent, here = [], []
    open_here, submitted = keys.bindings.crypto_sign_open, RoundTraining.finish

    def opened(signed: bytes, public: bytes) -> bytes:
        here.append(public)
        return open_here(signed, public)

    def finished(self: Any) -> Any:
        found = submitted(self)
        sent.extend(message.record.client for _, message in found[2])
        return found

    monkeypatch.setattr(keys.bindings, "crypto_sign_open", opened)
    monkeypatch.setattr(RoundTraining, "finish", finished)
    played("crypto=real")
    assert sent
    assert not {*here} & {*sent}
    assert here, "those of servers are"


@pytest.mark.usefixtures("forking")
def test_rounds_that_are_over_are_let_go_of() -> None:
    def few(number: int, _: Federation) -> None:
        if number == ROUNDS - 1:
            gc.collect()
            found = Counter(type(each) for each in gc.get_objects())
            assert found[RoundTraining] <= 6
            assert found[Answer] <= 2 * (3 + 2 * cohorts.TRAINING_PARTS)

    gc.collect()
    played(between=few)


@pytest.mark.usefixtures("forking")
def test_payloads_that_are_not_read_yet_are_not_written_over() -> None:
    federation = made()
    federation.play_round()
    process, head = federation.cohorts.process, federation.world.head
    assert process is not None
    for _ in range(5):
        process.begin(head.height + 1, head.beacon)
        assert len({each.number for each in process._unread if each.number}) <= ROUNDS_HELD
    federation.close()


@pytest.mark.usefixtures("forking")
def test_it_ends_with_its_run() -> None:
    federation = made()
    federation.play_round()
    process = federation.cohorts.process
    assert process is not None
    number = process._process
    assert number is not None
    assert process.processor_seconds() > 0
    federation.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(number, 0)
    federation.close()  # once more does nothing


@pytest.mark.usefixtures("forking")
def test_interrupts_are_for_the_run() -> None:
    def interrupt(_: int, federation: Federation) -> None:
        process = federation.cohorts.process
        assert process is not None
        assert process._process is not None
        os.kill(process._process, signal.SIGINT)

    assert played(between=interrupt) == played(alone=True)


@pytest.mark.usefixtures("forking")
def test_two_runs_at_once_have_a_process_each() -> None:
    one, other = made(), made("seed=1")
    one.play_round()
    other.play_round()
    process = other.cohorts.process
    assert process is not None
    one.close()
    other.play_round()
    assert other.cohorts.process is process
    assert process._process is not None
    other.close()


ORPHAN = """
import os, sys, time
from bfedrec.federation import cohorts
from bfedrec.federation.forked_trainer import ForkedTrainer
from tests.bfedrec.federation.test_training_process import made
cohorts.WORTH_FORKING, cohorts.thread_count = 0, lambda: 2
ForkedTrainer.accounts = lambda self: time.sleep(float(sys.argv[1]))
federation = made()
federation.play_round()
process = federation.cohorts.process
process.ask(0, "accounts", ())
print(process._process, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("seconds", [0, 120])
def test_it_ends_with_a_run_that_is_killed(seconds: int, tmp_path: Path) -> None:
    """At once, whatever it has been asked for: else the run could not be resumed."""
    with (tmp_path / "told").open("w+") as told:
        run = subprocess.run([sys.executable, "-c", ORPHAN, str(seconds)], stdout=told)
        told.seek(0)
        number = int(told.read())
    assert run.returncode == -signal.SIGKILL
    gone = Path(f"/proc/{number}/stat")
    for _ in _waiting():
        if not gone.exists() or gone.read_text().rpartition(")")[2].split()[0] == "Z":
            return
    pytest.fail("the process outlives its run")


def _waiting() -> Iterator[None]:
    """Some moments, for a minute at most."""
    for _ in range(600):
        yield
        time.sleep(0.1)


def trains_here(*options: str) -> bool:
    """True if a run of one round has no process."""
    federation = made(*options, "rounds=1")
    federation.play_round()
    federation.close()
    return federation.cohorts.process is None


@pytest.mark.parametrize(
    "options",
    [
        ("device=torch",),
        ("compression.kind=top_k", "compression.size=1", "compression.error_feedback=true"),
        ("clients.malicious=[{attack: replay, share: 0.2}]",),
    ],
    ids=str,
)
@pytest.mark.usefixtures("forking")
def test_some_rounds_train_here(options: tuple[str, ...]) -> None:
    assert trains_here(*options)


@pytest.mark.usefixtures("forking")
@pytest.mark.parametrize(
    ("name", "value"),
    [("WORTH_FORKING", 10**6), ("MOST_BYTES", 2**10), ("thread_count", lambda: 1)],
)
def test_some_runs_are_not_worth_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    """Short ones, those of huge rounds, and those that have one processor."""
    assert not trains_here()
    monkeypatch.setattr(cohorts, name, value)
    assert trains_here()


@pytest.mark.usefixtures("forking")
def test_a_system_that_cannot_fork_trains_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    assert trains_here()
