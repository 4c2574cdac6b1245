"""The account of differential privacy against a second accountant, and against the schedule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bfedrec.config.clients import ClientSettings
from bfedrec.federation.client_sampling import participants
from bfedrec.privacy.dp import accountant
from bfedrec.privacy.dp.accountant import (
    Account,
    NoAccountant,
    epsilon_spent,
    need_accountant,
    participations,
)
from bfedrec.privacy.dp.gaussian import delta_of, epsilon_of, mu_of, noise_multiplier
from bfedrec.privacy.settings import DpSettings
from bfedrec.streams import Streams

budgets = st.floats(0.05, 50)
deltas = st.sampled_from([1e-10, 1e-5, 1e-3, 0.05])


@pytest.mark.parametrize("releases", [1, 10, 1000])
@pytest.mark.parametrize(("epsilon", "delta"), [(0.5, 1e-7), (2.0, 1e-5), (8.0, 1e-5)])
def test_the_two_accountants_agree(epsilon: float, delta: float, releases: int) -> None:
    """One sums up privacy loss distributions numerically, the other is Balle and Wang's formula."""
    z = noise_multiplier(epsilon, delta, releases)
    exact = epsilon_of(math.sqrt(releases) / z, delta)
    assert epsilon_spent(z, releases, delta) == pytest.approx(exact, rel=1e-4)
    assert exact == pytest.approx(epsilon, rel=1e-5)
    assert exact <= epsilon


@given(mu=st.floats(0.05, 5), epsilon=st.floats(0.01, 10))
@settings(max_examples=60, deadline=None)
def test_delta_is_what_an_integral_of_the_densities_gives(mu: float, epsilon: float) -> None:
    """The definition, by quadrature: the integral of (p - e^epsilon q)+ for N(mu, 1) and N(0, 1),
    which is positive where x > epsilon / mu + mu / 2."""
    first = epsilon / mu + mu / 2
    x = np.linspace(first, max(first, mu) + 12, 200_001)
    excess = stats.norm.pdf(x - mu) - math.exp(epsilon) * stats.norm.pdf(x)
    assert delta_of(mu, epsilon) == pytest.approx(float(np.trapezoid(excess, x)), abs=1e-8)


@given(epsilon=budgets, delta=deltas, releases=st.integers(1, 2000), more=st.floats(1.01, 3))
@settings(max_examples=100, deadline=None)
def test_the_account_is_monotone(epsilon: float, delta: float, releases: int, more: float) -> None:
    z = noise_multiplier(epsilon, delta, releases)
    assert noise_multiplier(epsilon * more, delta, releases) <= z
    assert noise_multiplier(epsilon, delta, releases + 1) > z
    assert noise_multiplier(epsilon, delta / 2, releases) > z
    mu = math.sqrt(releases) / z
    assert epsilon_of(mu / more, delta) < epsilon_of(mu, delta) <= epsilon
    assert epsilon_of(mu, delta) <= epsilon_of(mu, delta / 2)


@given(epsilon=budgets, delta=deltas)
@settings(max_examples=60, deadline=None)
def test_the_greatest_mu_is_just_within_the_budget(epsilon: float, delta: float) -> None:
    mu = mu_of(epsilon, delta)
    assert delta_of(mu, epsilon) <= delta < delta_of(mu * (1 + 1e-6), epsilon)


@pytest.mark.parametrize(("multiplier", "releases"), [(2.0, 1), (6.3, 10), (40.0, 999)])
def test_a_release_more_costs_more(multiplier: float, releases: int) -> None:
    spent = [epsilon_spent(multiplier, count, 1e-5) for count in (0, releases, releases + 1)]
    assert 0.0 == spent[0] < spent[1] < spent[2]


def test_no_releases_and_a_great_delta_cost_nothing() -> None:
    assert epsilon_spent(1.0, 0, 1e-5) == 0.0
    assert epsilon_of(0.01, 0.1) == 0.0


@given(
    users=st.integers(2, 60),
    rounds=st.integers(1, 40),
    seed=st.integers(0, 99),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_participations_are_the_most_that_the_schedule_has(
    users: int, rounds: int, seed: int, data: st.DataObject
) -> None:
    per_round = data.draw(st.integers(1, users))
    dealt = ClientSettings(per_round=per_round)
    times = np.zeros(users, np.int64)
    for height in range(1, rounds + 1):
        times[participants(Streams(seed), users, dealt, height)] += 1
    assert times.max() == participations(rounds, per_round, users)


def test_a_run_of_the_papers_size_trains_every_client_ten_times() -> None:
    assert participations(1000, 60, 6040) == 10
    assert participations(100, 60, 6040) == 1


@pytest.mark.parametrize("adjacency", ["replaced", "absent"])
def test_a_replaced_client_moves_a_sum_by_twice_the_bound(adjacency: str) -> None:
    given_ = {"noise": "local", "epsilon": 8.0, "clip": 0.5, "adjacency": adjacency}
    account = Account.of(DpSettings.model_validate(given_), 10)
    assert account.sensitivity == (1.0 if adjacency == "replaced" else 0.5)
    assert account.mechanism.deviation == account.multiplier * account.sensitivity
    assert account.mechanism.clip == 0.5


def test_shares_of_the_noise_add_up_to_that_of_a_sum() -> None:
    local = Account.of(DpSettings(noise="local", epsilon=2.0), 10)
    shared = Account.of(DpSettings(noise="distributed", epsilon=2.0, group=15), 10)
    assert shared.multiplier == local.multiplier
    whole = 15 * shared.mechanism.deviation**2
    assert whole == pytest.approx(local.mechanism.deviation**2)
    figures = shared.spent(10)
    assert figures["dp_epsilon"] == pytest.approx(2.0, rel=1e-4)
    assert figures["dp_epsilon_single"] == pytest.approx(
        epsilon_of(math.sqrt(10 * 15) / shared.multiplier, 1e-5), rel=1e-4
    )
    assert "dp_epsilon_single" not in local.spent(10)


def test_a_given_multiplier_is_taken_as_it_is() -> None:
    account = Account.of(DpSettings(noise="local", noise_multiplier=3.0), 4)
    assert account.multiplier == 3.0
    exact = epsilon_of(2.0 / 3.0, 1e-5)
    assert account.spent(4)["dp_epsilon"] == pytest.approx(exact, rel=1e-4)


def test_next_to_no_noise_is_accounted_at_once_and_alike() -> None:
    below, above = (math.sqrt(4) / (10.0 * share) for share in (0.999, 1.001))
    assert epsilon_spent(below, 4, 1e-5) == pytest.approx(epsilon_of(9.99, 1e-5), rel=1e-4)
    assert epsilon_spent(above, 4, 1e-5) == pytest.approx(epsilon_of(10.01, 1e-5), rel=1e-12)
    account = Account.of(DpSettings(noise="local", noise_multiplier=0.001), 4)
    assert account.spent(4)["dp_epsilon"] == pytest.approx(2000.0**2 / 2, rel=0.01)


def test_a_missing_accountant_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NoAccountant, match=r"pip install 'bfedrec\[privacy\]'"):
        need_accountant()
    assert accountant.participations(1, 1, 1) == 1
