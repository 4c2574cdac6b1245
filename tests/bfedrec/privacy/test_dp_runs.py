"""Runs under differential privacy: what is sent, audited, resumed, and told in the summary."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bfedrec.cli.audit import audit_command
from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.prepare import prepare
from bfedrec.federation.federation import Federation
from bfedrec.federation.round import Round
from bfedrec.federation.unledgered import learner_alone, rounds_of
from bfedrec.privacy.dp.gaussian import epsilon_of
from bfedrec.runs.reporting import Reporting
from bfedrec.runs.simulation import Simulation
from consensus.simulation.results import Stalled
from tests.bfedrec.runs.test_learning import learnt
from tests.bfedrec.runs.test_simulation import SMALL, lasting, play
from tests.helpers.sign_attack import auc, direction

DP = (
    "aggregation.rule=uniform",
    "privacy.dp.noise=local",
    "privacy.dp.epsilon=8",
    "ledger.retain_updates=all",
)
CODECS = {
    "low_rank": (),
    "dense": ("compression.kind=dense",),
    "quantised": ("model.rank=8", "compression.kind=quantised", "compression.size=4"),
    "ternary": (
        "model.rank=8",
        "compression.kind=ternary",
        "compression.size=4",
        "training.method=ials",
    ),
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("reference")
    return path, play(path, *DP)


def test_the_summary_tells_what_every_client_has_spent(
    reference: tuple[Path, dict[str, Any]],
) -> None:
    summary = reference[1]
    assert summary["dp_participations"] == 2  # 12 rounds of 10 among 80 clients
    assert summary["dp_epsilon"] == pytest.approx(8.0, rel=1e-4)
    assert summary["dp_delta"] == 1e-5
    assert summary["dp_noise_multiplier"] == pytest.approx(0.848853, abs=1e-9)


@pytest.mark.parametrize("playing", [play, learnt])
def test_a_run_that_ends_early_tells_what_its_rounds_have_spent(
    playing: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 12 rounds of 10 among 80 clients 8 are played, in which each takes part once."""
    monkeypatch.setattr(Reporting, "ends_early", lambda _, height: height == 8)
    summary = playing(tmp_path, *DP[:-1])
    assert summary["rounds"] == 8
    assert summary["dp_participations"] == 1
    single = epsilon_of(1 / summary["dp_noise_multiplier"], 1e-5)
    assert summary["dp_epsilon"] == pytest.approx(single, rel=1e-4)


def test_the_updates_of_a_round_that_stalls_are_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play_round = Federation.play_round

    def stalling(self: Federation) -> Round:
        if self.world.head.height == 8:
            raise Stalled("nobody decides", 9, 2, ())
        return play_round(self)

    monkeypatch.setattr(Federation, "play_round", stalling)
    with pytest.raises(Stalled):
        play(tmp_path, *DP)
    stop = json.loads((tmp_path / "stopped.json").read_text())
    assert (stop["rounds"], stop["stopped_at_height"]) == (8, 9)
    assert stop["dp_participations"] == 2


def test_the_audit_passes_and_every_client_states_one_sample(
    reference: tuple[Path, dict[str, Any]],
) -> None:
    assert audit_command(reference[0]) == 0
    config = load(None, [*SMALL, *DP, "crypto=modelled"])
    federation = Federation(config, prepare(config.data))
    played = federation.play_round()
    federation.close()
    assert {samples for _, samples in federation.genesis.clients} == {1}
    assert {update.record.samples for update in played.result.updates} == {1}


def assert_a_resume_ends_alike(
    options: Sequence[str], height: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is stopped after a height and resumed is that which was not, and passes the
    audit."""
    whole = play(folder / "whole", *options)
    recorded = Simulation._record

    def stop(self: Simulation, played: Any) -> None:
        recorded(self, played)
        if played.height == height:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Simulation, "_record", stop)
        with pytest.raises(KeyboardInterrupt):
            play(folder / "cut", *options)
    assert lasting(play(folder / "cut", *options, resume=True)) == lasting(whole)
    assert audit_command(folder / "cut") == 0


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_a_resumed_run_ends_alike(
    codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (*DP, *CODECS[codec])
    assert_a_resume_ends_alike(options, 7, tmp_path, monkeypatch)


def test_without_it_nothing_is_told_and_another_seed_has_other_noise(
    reference: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    plain = play(tmp_path / "plain", "aggregation.rule=uniform")
    assert not [key for key in plain if key.startswith("dp_")]
    assert plain["head"] != reference[1]["head"]


@pytest.mark.parametrize("method", ["sgd", "ials"])
def test_updates_have_the_noise_and_the_bound(method: str) -> None:
    """What a client sends less its noise, which the seed gives, is its clipped update."""
    options = [*SMALL, *DP, f"training.method={method}", "privacy.dp.clip=0.05"]
    config = load(None, options)
    learner = learner_alone(config, prepare(config.data))
    plain = learner_alone(
        load(None, [*SMALL, "aggregation.rule=uniform", f"training.method={method}"]), learner.data
    )
    clients, task = learner.clients(1), learner.task(1, b"beacon")
    P = learner.P[clients]
    _, uploads = learner.train(1, b"beacon", clients, P, task, None)
    trained = plain.trained(1, clients, P, task)
    assert learner.protection.account is not None
    mechanism = learner.protection.account.mechanism
    for upload, A in zip(uploads, trained.A, strict=True):
        assert upload.touched.all()
        assert upload.samples == 1
        generator = learner.streams.generator("dp_noise", 1, upload.client)
        noise = mechanism.protected(np.zeros_like(A), generator)
        left = upload.A.astype(np.float64) - noise
        assert np.linalg.norm(left) <= 0.05 * (1 + 1e-5)
        cosine = float((left * A).sum() / np.linalg.norm(left) / np.linalg.norm(A))
        assert cosine > 0.999 or np.linalg.norm(left) < 0.03
    spread = np.std([upload.A for upload in uploads])
    assert spread == pytest.approx(mechanism.deviation, rel=0.1)


def test_a_round_that_is_played_again_sends_the_same_and_another_does_not() -> None:
    config = load(None, [*SMALL, *DP])
    learner = learner_alone(config, prepare(config.data))
    clients = learner.clients(1)
    P = learner.P[clients]
    sent = [
        learner.train(height, b"beacon", clients, P, learner.task(1, b"beacon"), None)[1]
        for height in (1, 1, 2)
    ]
    for once, again, later in zip(*sent, strict=True):
        assert (once.A == again.A).all()
        assert (once.A != later.A).any()
    assert (sent[0][0].A != sent[0][1].A).any()  # two clients of a round


def test_the_time_of_an_update_does_not_tell_its_client_s_samples() -> None:
    config = load(None, [*SMALL, *DP, "crypto=modelled", "clients.spread=0"])
    for options, alike in ((DP, True), (("aggregation.rule=uniform",), False)):
        config = load(None, [*SMALL, *options, "crypto=modelled", "clients.seconds_per_sample=1"])
        federation = Federation(config, prepare(config.data))
        clients = np.arange(federation.data.users)
        times = federation.uplink.times(0.0, clients, np.zeros(len(clients), np.int64))
        federation.close()
        rounded = len({round(float(seconds)) for seconds in times})
        assert (rounded <= 2) is alike


def test_a_sum_s_noise_is_told_beside_that_of_a_single_update(tmp_path: Path) -> None:
    summary = play(tmp_path, *DP, "privacy.dp.noise=distributed", "privacy.dp.group=5")
    assert summary["dp_epsilon"] == pytest.approx(8.0, rel=1e-4)
    single = epsilon_of((2 * 5) ** 0.5 / summary["dp_noise_multiplier"], 1e-5)
    assert summary["dp_epsilon_single"] == pytest.approx(single, rel=1e-4)
    assert audit_command(tmp_path) == 0


def test_the_sign_of_an_update_tells_nothing_under_its_noise() -> None:
    found = {}
    for options in ((), DP[1:3]):
        config = load(None, [*SMALL, "aggregation.rule=uniform", "clients.per_round=80", *options])
        learner = learner_alone(config, prepare(config.data))
        for _ in rounds_of(learner):
            pass
        clients, task = learner.clients(12), learner.task(12, b"beacon")
        uploads = learner.train(12, b"beacon", clients, learner.P[clients], task, None)[1]
        items = np.arange(60)
        own = [task.positives(upload.client) for upload in uploads]
        aucs = [
            auc(direction(upload.A).weights, mine, np.setdiff1d(items, mine))
            for upload, mine in zip(uploads, own, strict=True)
        ]
        # On so few items the longer tail is not always that of the positives: either sign counts.
        found[options] = np.mean(np.abs(np.array(aucs) - 0.5)) + 0.5
    assert found[()] > 0.85
    assert found[DP[1:3]] < 0.6


@pytest.mark.parametrize(
    ("overrides", "key", "told"),
    [
        (("aggregation.rule=samples",), "aggregation.rule", "the number of samples"),
        (("aggregation.rule=per_item",), "aggregation.rule", "the items of a client"),
        (("aggregation.rule=median",), "aggregation.rule", "the items of a client"),
        (
            ("compression.kind=top_k", "compression.size=2", "compression.error_feedback=true"),
            "compression.error_feedback",
            "false, as privacy.dp.noise is local",
        ),
        (("privacy.dp.epsilon=null",), "privacy.dp.epsilon", "one of the two"),
        (("privacy.dp.noise_multiplier=1",), "privacy.dp.epsilon", "one of the two"),
        (("privacy.dp.group=4",), "privacy.dp.group", "1, as privacy.dp.noise is local"),
        (("privacy.dp.noise=distributed",), "privacy.dp.group", "2 or more updates"),
        (("privacy.dp.noise=none",), "privacy.dp.epsilon", "null, as privacy.dp.noise is none"),
        (("method=gmf",), "privacy.dp.noise", "method gmf does not read it"),
    ],
)
def test_what_would_tell_more_is_refused(overrides: tuple[str, ...], key: str, told: str) -> None:
    options = ["aggregation.rule=uniform", *DP[1:3], *overrides]
    if "method=gmf" in overrides:
        options = [each for each in options if not each.startswith("aggregation")]
    with pytest.raises(ConfigError) as refused:
        load(None, options)
    assert key in str(refused.value)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
