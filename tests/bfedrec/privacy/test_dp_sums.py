"""Distributed noise under secure aggregation: what sums of levels have of it, what is refused."""

from __future__ import annotations

from math import exp, pi, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from bfedrec.cli.audit import audit_command
from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.prepare import prepare
from bfedrec.federation.federation import Federation
from bfedrec.federation.protection import Protection
from bfedrec.privacy.dp.accountant import Account, participations
from bfedrec.privacy.dp.lattice import LEAST_DEVIATIONS, LEAST_STEPS, lost
from bfedrec.privacy.dp.mechanism import Mechanism
from bfedrec.privacy.secure.scheme import Scheme
from bfedrec.runs.privacy import attack
from tests.bfedrec.federation.test_masked_rounds import BASE, SECURE
from tests.bfedrec.runs.test_simulation import play
from tests.conftest import ROOT

SUMS = (
    *BASE,
    *SECURE,
    "aggregation.rule=uniform",
    "compression.levels=40",
    "privacy.dp.noise=distributed",
    "privacy.dp.epsilon=8",
    "privacy.dp.clip=0.3",
    "privacy.dp.group=7",
    "ledger.retain_updates=all",
)


def test_a_run_is_audited_and_its_epsilon_is_that_of_a_holder_of_sums(tmp_path: Path) -> None:
    summary = play(tmp_path, *SUMS)
    assert audit_command(tmp_path) == 0
    assert summary["groups_opened"] == 8
    assert summary["dp_epsilon"] == pytest.approx(8.0, rel=1e-4)
    assert summary["dp_participations"] == 2  # 4 rounds of 18 among 60 clients
    assert "dp_epsilon_single" not in summary
    found = attack(tmp_path, names=("sign", "masked")).figures()
    assert abs(found["sign"]["auc"] - 0.5) < 0.1
    assert abs(found["masked"]["auc"] - 0.5) < 0.1


def test_a_sum_of_levels_has_the_noise_of_its_members() -> None:
    """A group's sum less its members' clipped updates has their noise's variance, and that of
    rounding to levels; chi-squared with as many degrees of freedom as numbers."""
    config = load(None, list(SUMS))
    federation = Federation(config, prepare(config.data))
    learner, head = federation.learner, federation.world.head
    clients, model = learner.clients(1), learner.model
    task, P = learner.task(1, head.beacon), learner.P.copy()
    trained = learner.trained(1, clients, P[clients], task)
    played = federation.play_round()
    federation.close()
    assert model.secure is not None
    assert learner.protection.account is not None
    mechanism = learner.protection.account.mechanism
    own = dict(zip(clients.tolist(), trained.A, strict=True))
    payloads = [update.payload for update in played.result.updates]
    step = 2.0**-4
    squares, numbers = 0.0, 0
    for group in model.secure.opening(payloads, head.beacon).groups:
        assert len(group.members) == 9
        exact = sum(mechanism.clipped(own[each]) for each in group.members) * mechanism.step
        noise = group.levels * step - exact
        variance = len(group.members) * (mechanism.deviation**2 + step**2 / 6)
        squares += float(np.square(noise).sum()) / variance
        numbers += noise.size
    assert abs(squares / numbers - 1) < 4 * sqrt(2 / numbers)
    # The account is of 7 members' noise: 9 have more.
    assert 7 * mechanism.deviation**2 == pytest.approx((0.6 * played_multiplier(config)) ** 2)


def played_multiplier(config: object) -> float:
    """The noise multiplier z of a config."""
    account = Protection.of(config, prepare(config.data)).account  # type: ignore[attr-defined, arg-type]
    assert account is not None
    return account.multiplier


@given(
    clients=st.integers(3, 300),
    group=st.integers(3, 40),
    neighbours=st.integers(0, 20).map(lambda half: 2 * half),
)
def test_the_fewest_are_those_of_the_smallest_group(
    clients: int, group: int, neighbours: int
) -> None:
    scheme = Scheme(1, 1, 1, False, group, neighbours if neighbours < group else 0)
    dealt = scheme.deal(range(clients), b"beacon")
    assert scheme.fewest(clients) == min(scheme.threshold(len(each)) for each in dealt)


@pytest.mark.parametrize(
    ("more", "most"),
    [
        (("privacy.dp.group=8",), 7),  # of 9 members
        (("privacy.dp.group=7", "aggregation.neighbours=4"), 4),  # of 5 shares
        (("privacy.dp.group=7", "clients.per_round=19"), 5),  # of 6 members, beside 6 and 7
        (("privacy.dp.group=1000000",), 7),
    ],
)
def test_more_noise_than_a_sum_is_sure_to_have_is_refused(more: tuple[str, ...], most: int) -> None:
    with pytest.raises(ConfigError) as refused:
        load(None, [*SUMS, *more])
    assert "privacy.dp.group: " in str(refused.value)
    assert f": expected at most {most}, the fewest clients" in str(refused.value)
    assert "\n" not in str(refused.value)
    load(None, [*SUMS, *more, f"privacy.dp.group={most}"])


IN_THE_CLEAR = ("aggregation.secure=false", "aggregation.group=15")


def test_without_masks_and_with_local_noise_nothing_is_refused() -> None:
    load(None, [*SUMS, *IN_THE_CLEAR, "privacy.dp.group=18"])
    load(None, [*SUMS, "privacy.dp.noise=local", "privacy.dp.group=1"])


@pytest.mark.parametrize(
    ("more", "key", "told"),
    [
        (("privacy.dp.group=19",), "privacy.dp.group", "expected at most 18, the updates whose"),
        (("clients.dropout=0.5", "privacy.dp.group=10"), "privacy.dp.group", "at most 9, the"),
        (("aggregation.rule=byzfl_krum",), "aggregation.rule", "the aggregate by byzfl_krum does"),
        (("aggregation.rule=byzfl_median",), "aggregation.rule", "does not follow from the sum"),
    ],
)
def test_what_publishes_less_than_the_sum_that_has_the_noise_is_refused(
    more: tuple[str, ...], key: str, told: str
) -> None:
    """The aggregate of a round is public, so that nobody sees less than it."""
    with pytest.raises(ConfigError) as refused:
        load(None, [*SUMS, *IN_THE_CLEAR, *more])
    assert f"{key}: " in str(refused.value)
    assert told in str(refused.value)
    load(None, [*SUMS, *IN_THE_CLEAR, *more[:-1], "privacy.dp.group=9"])
    if key == "aggregation.rule":  # of groups' sums, or of updates with noise of their own
        load(None, [*SUMS, *more])
        local = ("privacy.dp.noise=local", "privacy.dp.group=1")
        load(None, [*SUMS, *IN_THE_CLEAR, *more, *local])


# -- levels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("compression.step_bits=2",), "round 1: a step of 0.25: noise of deviation 0.19"),
        (("compression.levels=24",), "round 1: numbers up to 1.5: a clip of 0.3 and noise of"),
        (("compression.final_permille=500",), "round 4: numbers up to 1.25: a clip of 0.3"),
    ],
)
def test_levels_that_lose_noise_are_refused(more: tuple[str, ...], told: str) -> None:
    config = load(None, [*SUMS, *more])
    with pytest.raises(ConfigError) as refused:
        Federation(config, prepare(config.data), plays=False)
    assert str(refused.value).startswith(f"compression.levels, compression.step_bits: {told}")
    assert "\n" not in str(refused.value)
    # Local noise is in each update before it is rounded, which is then post-processing.
    local = load(None, [*SUMS, *more, "privacy.dp.noise=local", "privacy.dp.group=1"])
    Federation(local, prepare(local.data), plays=False).close()


def test_the_bounds_of_levels() -> None:
    mechanism = Mechanism(clip=1.0, deviation=2.0)
    assert (LEAST_STEPS, LEAST_DEVIATIONS) == (2.0, 8.0)
    assert lost(mechanism, 1.0, 17) is None
    assert lost(mechanism, 1.001, 17) is not None
    assert lost(mechanism, 0.999, 17) is not None
    assert lost(mechanism, 0.5, 34) is None


def rounded(x: float, deviation: float, reach: int = 24) -> np.ndarray:
    """The probabilities of -reach to reach of a Gaussian number around x that is rounded at random
    to one of its two next integers, in closed form."""

    def integral(t: np.ndarray) -> np.ndarray:
        density = np.exp(-0.5 * (t / deviation) ** 2) / sqrt(2 * pi)
        return np.asarray(t * ndtr(t / deviation) + deviation * density)

    k = np.arange(-reach, reach + 1) - x
    return integral(k + 1) - 2 * integral(k) + integral(k - 1)


@pytest.mark.parametrize(("deviation", "alike"), [(LEAST_STEPS, True), (0.3, False)])
def test_a_sum_of_rounded_numbers_tells_their_sum_alone(deviation: float, alike: bool) -> None:
    """Which numbers have the sum makes no difference to the distribution of the sum of levels,
    once noise has enough steps."""
    assert rounded(0.3, deviation).sum() == pytest.approx(1.0, abs=1e-12)
    one = np.convolve(rounded(0.0, deviation), rounded(1.0, deviation))
    other = np.convolve(rounded(0.5, deviation), rounded(0.5, deviation))
    apart = float(np.abs(one - other).max())
    assert (apart < 1e-14) is alike
    assert exp(-(pi**2) * LEAST_STEPS**2) < 1e-17


def test_the_config_of_experiments_is_what_it_says() -> None:
    """11 of 15, and levels that hold 8 deviations and more of the noise."""
    config = load(ROOT / "experiments/privacy/dp-secure.yaml", [])
    scheme = Scheme(1, 1, config.compression.parameters["levels"], False, config.aggregation.group)
    assert config.privacy.dp.group == scheme.fewest(config.clients.per_round) == 11
    assert scheme.bits == 11
    # Every one of 6,040 users takes part four times in 402 rounds of 60.
    dp, step = config.privacy.dp, 2.0 ** -config.compression.parameters["step_bits"]
    assert participations(config.rounds, config.clients.per_round, 6040) == 4
    mechanism = Account.of(dp, 4).mechanism
    assert mechanism.deviation / step == pytest.approx(4.6, abs=0.05)
    assert lost(mechanism, step, scheme.levels) is None


def test_decoys_go_under_masks_as_they_are(tmp_path: Path) -> None:
    """A client trains on more items than it registers, and states what it has registered."""
    options = [each for each in SUMS if not each.startswith("privacy")]
    summary = play(tmp_path, *options, "privacy.decoys.kept=0.9", "privacy.decoys.share=0.3")
    assert summary["groups_opened"] == 8
