"""The account of differential privacy: what every client has spent in a run, by `dp-accounting`.

Clients are dealt as whole permutations (`bfedrec.federation.client_sampling`), from a seed that the
run's config holds: who takes part in which round is known, and every client takes part once in each
permutation. There is no amplification by sampling against whoever knows that. A client's releases
are its participations, and they compose. A message that is sent again holds the same bytes and
spends nothing; an update trained anew for another round spends a whole release.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from bfedrec.privacy.dp.gaussian import epsilon_of, noise_multiplier
from bfedrec.privacy.dp.mechanism import Mechanism
from bfedrec.privacy.settings import DpSettings

if TYPE_CHECKING:
    from dp_accounting import PrivacyAccountant

GREATEST_ACCOUNTED = 10.0
"""Greatest mu of all releases together, an epsilon of about 90 at delta 1e-5, that the accountant
is asked for: its grids grow with the square of mu, to minutes and gigabytes."""


class NoAccountant(Exception):
    """The package `dp-accounting` is missing."""


def participations(rounds: int, per_round: int, clients: int) -> int:
    """The most rounds of the first ``rounds`` in which one of ``clients`` is dealt: all are dealt
    before any is dealt again. Those that drop out of a round send less."""
    return -(-rounds * per_round // clients)


@dataclass(frozen=True)
class Account:
    """The noise of a run's clients, and the account of what they spend by it."""

    settings: DpSettings
    multiplier: float
    """z, the noise's deviation by what one client can change, in what the guarantee is about: a
    single update, or a sum of `DpSettings.group`."""

    @classmethod
    def of(cls, settings: DpSettings, releases: int) -> Account:
        """The account of a run in which a client has at most so many ``releases``."""
        z = settings.noise_multiplier
        if z is None:
            assert settings.epsilon is not None, "checked by the settings"
            z = noise_multiplier(settings.epsilon, settings.delta, max(1, releases))
        return cls(settings, z)

    @property
    def sensitivity(self) -> float:
        """The greatest L2 norm of the change in a sum that one client's data make."""
        return self.settings.clip * (2.0 if self.settings.adjacency == "replaced" else 1.0)

    @property
    def mechanism(self) -> Mechanism:
        """The protection of a single update. Its noise is a client's share of that of a sum."""
        share = 1.0 / math.sqrt(self.settings.group)
        return Mechanism(self.settings.clip, self.multiplier * self.sensitivity * share)

    def spent(self, releases: int, summed: bool = False) -> dict[str, float]:
        """The figures of a summary after a client's greatest number of ``releases``: its epsilon at
        delta, and under distributed noise that of whoever sees its single updates, unless they are
        ``summed`` before anybody sees them. Raises NoAccountant."""
        figures = {
            "dp_epsilon": epsilon_spent(self.multiplier, releases, self.settings.delta),
            "dp_delta": self.settings.delta,
            "dp_participations": float(releases),
            "dp_noise_multiplier": self.multiplier,
        }
        if self.settings.noise == "distributed" and not summed:
            single = self.multiplier / math.sqrt(self.settings.group)
            figures["dp_epsilon_single"] = epsilon_spent(single, releases, self.settings.delta)
        return figures


def epsilon_spent(multiplier: float, releases: int, delta: float) -> float:
    """The epsilon at ``delta`` of so many Gaussian ``releases`` of noise ``multiplier``, by the
    accountant of privacy loss distributions (Koskela, Jälkö and Honkela, 2020); above
    `GREATEST_ACCOUNTED` in closed form. Raises NoAccountant."""
    if releases == 0:
        return 0.0
    mu = math.sqrt(releases) / multiplier
    if mu > GREATEST_ACCOUNTED:
        return epsilon_of(mu, delta)
    events, accountant = _accountant()
    accountant.compose(events.SelfComposedDpEvent(events.GaussianDpEvent(multiplier), releases))
    return float(accountant.get_epsilon(delta))


def need_accountant() -> None:
    """Raise NoAccountant, in one line that says what to do, where `dp-accounting` is missing."""
    from importlib.util import find_spec

    if find_spec("dp_accounting") is None:
        raise NoAccountant(
            "privacy.dp.noise: the account of what is spent needs dp-accounting: "
            "pip install 'bfedrec[privacy]'"
        )


def _accountant() -> tuple[ModuleType, PrivacyAccountant]:
    """The module of events, and a fresh accountant."""
    need_accountant()
    import dp_accounting  # takes seconds
    from dp_accounting.pld import PLDAccountant

    return dp_accounting, PLDAccountant()
