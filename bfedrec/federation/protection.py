"""The protection of the clients' updates under differential privacy, and what else they would tell.

An update says more than its numbers: its client's sample count, which a genesis registers; the
items it has numbers for; the time at which it comes. Under differential privacy every client states
one sample, sends numbers for all items, and waits until the one with the most samples has trained.
The training loss, the scores and the private factors in a run's folder are the simulator's: no
client sends them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.dataset import Dataset
from bfedrec.federation.global_model import GlobalModel
from bfedrec.learning.task import Shown
from bfedrec.learning.upload import Diverged, Upload
from bfedrec.privacy.decoys.draw import Decoys
from bfedrec.privacy.dp.accountant import Account, participations
from bfedrec.privacy.dp.lattice import lost
from bfedrec.privacy.dp.mechanism import NotFinite
from bfedrec.streams import Streams


@dataclass(frozen=True)
class Protection:
    """The steps between a client's training and its message; none without differential privacy."""

    account: Account | None
    streams: Streams
    stated: np.ndarray
    """int64[M]: the sample count N_u that each client registers and states."""
    charged: np.ndarray
    """int64[M]: the sample count by which the time of its training is charged."""
    decoys: Decoys | None = None

    @classmethod
    def of(cls, config: Config, data: Dataset) -> Protection:
        """The protection that a config asks for."""
        counts, streams = data.sample_counts, Streams(config.seed)
        decoys, charged = None, counts
        if config.privacy.decoys.on:
            decoys = Decoys(
                config.privacy.decoys,
                (data.indptr, data.indices),
                data.items,
                partial(streams.generator, "decoys"),
            )
            charged = counts + decoys.counts()
        if not config.privacy.dp.on:
            return cls(None, streams, counts, charged, decoys)
        releases = participations(config.rounds, config.clients.per_round, data.users)
        return cls(
            Account.of(config.privacy.dp, releases),
            streams,
            np.ones_like(counts),
            np.full_like(counts, charged.max(initial=1)),
            decoys,
        )

    def check_sums(self, model: GlobalModel) -> None:
        """Raise ConfigError where the levels that ``model`` sums under masks do not keep the noise
        of the sum, in the first round or in the last (`bfedrec.privacy.dp.lattice`)."""
        account = self.account
        if model.secure is None or account is None or account.settings.noise != "distributed":
            return
        for height in (1, model.rounds):
            step = model.secure.step(model.exchange_at(height))
            told = lost(account.mechanism, step, model.secure.scheme.levels)
            if told is not None:
                raise ConfigError(
                    f"compression.levels, compression.step_bits: round {height}: {told}"
                )

    def shown(self, clients: np.ndarray) -> Shown | None:
        """The items on which ``clients`` (int64[m]) train their updates; None: their own."""
        return None if self.decoys is None else self.decoys.shown(clients)

    def sent(self, height: int, uploads: Sequence[Upload]) -> list[Upload]:
        """The uploads that clients send in round ``height`` instead of their trained ``uploads``.

        A client's noise depends on the round and the client alone: whoever plays the round again
        gets the same message. Raises Diverged, naming the client.
        """
        if self.account is None:
            return list(uploads)
        mechanism, sent = self.account.mechanism, []
        for upload in uploads:
            generator = self.streams.generator("dp_noise", height, upload.client)
            try:
                A = mechanism.protected(upload.A, generator)
            except NotFinite as error:
                raise Diverged(f"client {upload.client}: {error}") from None
            sent.append(replace(upload, A=A, touched=np.ones_like(upload.touched)))
        return sent


def spent(config: Config, users: int, rounds: int) -> dict[str, float]:
    """The figures of what a client has spent at most once ``rounds`` have been played; empty
    without differential privacy. Raises `bfedrec.privacy.dp.accountant.NoAccountant`."""
    if not config.privacy.dp.on:
        return {}
    per_round = config.clients.per_round
    account = Account.of(config.privacy.dp, participations(config.rounds, per_round, users))
    summed = config.aggregation.secure
    return account.spent(participations(rounds, per_round, users), summed)
