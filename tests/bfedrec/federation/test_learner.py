"""The round that runs and tuning share: the same config gives both the same model, to the bit."""

from __future__ import annotations

import pytest

from bfedrec.attacks.attack import ATTACKS
from bfedrec.config.load import load
from bfedrec.config.schema import Config
from bfedrec.data.prepare import prepare
from bfedrec.federation.federation import Federation
from bfedrec.federation.learner import Learner
from bfedrec.federation.unledgered import learn
from bfedrec.learning.method import TrainingMethod
from bfedrec.learning.methods.ials import ImplicitAls
from consensus.ledger.committee import first_beacon
from tests.bfedrec.runs.test_simulation import SMALL

ROUNDS = 5
FEEDBACK = ("compression.size=1", "compression.error_feedback=true")
TERNARY = ("compression.kind=ternary", "compression.size=2")
GROUP = "clients.malicious=[{{attack: {}, share: 0.3, from: 2}}]"


def run(config: Config) -> tuple[Learner, list[bytes]]:
    """The learner of a run after its rounds, and the beacons of its chain."""
    left: dict[int, bytes] = {}
    federation = Federation(
        config, prepare(config.data), lambda _, asked: {c: left[c] for c in asked if c in left}
    )
    beacons = [first_beacon(federation.genesis)]
    for _ in range(config.rounds):
        beacons.append(federation.world.head.beacon)
        left |= federation.play_round().residuals
    federation.close()
    return federation.learner, beacons


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model.basis=fixed",),
        ("model.basis=svd", "aggregation.rule=samples"),
        ("aggregation.rule=krum",),
        ("training.loss=softmax", "training.user_epochs=1", "clients.dropout=0.3"),
        ("compression.kind=top_k", *FEEDBACK),
        ("compression.kind=random", *FEEDBACK, GROUP.format("gaussian")),
        *((GROUP.format(name),) for name in sorted(set(ATTACKS) - {"mask_violation"})),
    ],
    ids=" ".join,
)
def test_tuning_and_a_run_give_the_same_model(overrides: tuple[str, ...]) -> None:
    """With the beacons of the run's chain, which alone tuning has otherwise."""
    config = load(None, [*SMALL, f"rounds={ROUNDS}", "crypto=modelled", *overrides])
    played, beacons = run(config)
    tuned = learn(config, prepare(config.data), beacons=beacons)
    assert (tuned.P == played.P).all()
    assert (tuned.Q == played.Q).all()


@pytest.mark.parametrize(
    "overrides",
    [
        (*TERNARY, "model.rank=8", "model.basis=hadamard"),
        (*TERNARY, "model.rank=5", "aggregation.rule=uniform"),
        ("compression.kind=dense", "aggregation.rule=per_item"),  # with a mask
        ("compression.kind=quantised", GROUP.format("label_flip")),
    ],
    ids=" ".join,
)
def test_updates_that_stay_unwritten_are_sent_as_others_are(
    monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...]
) -> None:
    """Honest rounds of implicit ALS never write a client's numbers out; here they must, once."""
    words = ("training.method=ials", "crypto=modelled", "rounds=3")
    config = load(None, [*SMALL, *words, *overrides])
    learner = run(config)[0]
    writes = ImplicitAls().trainer("cpu", 1)
    monkeypatch.setattr(ImplicitAls, "trainer", lambda *_: writes)
    monkeypatch.setattr(ImplicitAls, "unwritten_trainer", TrainingMethod.unwritten_trainer)
    written = run(config)[0]
    assert (written.P == learner.P).all()
    assert (written.Q == learner.Q).all()
