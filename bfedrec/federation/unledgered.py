"""The rounds of a run without its ledger: the same cohorts, draws, payloads and aggregates.

Servers and links are left out, as if all servers were honest and nothing took time: every update
that they would accept is aggregated. Beacons, of which most bases and some codecs draw, come from
the seed instead of a chain. A model without such draws (``compression.kind: dense``, say) is that
of a run to the bit; another differs as between two seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bfedrec.aggregation.registry import aggregator_of
from bfedrec.attacks.adversary import Adversary
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.dataset import Dataset
from bfedrec.federation.learner import Learner, Played, Recall, check_fit, initial_model
from bfedrec.streams import Streams

Beacon = Callable[[int], bytes]
"""Maps a height to its beacon; 0 stands for that of which the `fixed` basis is drawn."""


def seeded(seed: int) -> Beacon:
    """The beacons of a seed, which no chain has."""
    return lambda height: f"{seed} {height}".encode()


def learner_alone(
    config: Config,
    data: Dataset,
    residuals: Recall | None = None,
    threads: int | None = None,
    beacon: Beacon | None = None,
    folder: Path | None = None,
) -> Learner:
    """A learner before the first round, with neither servers nor links.

    ``residuals``, ``threads``, ``folder``: as for `Learner`; ``beacon``: by default that of the
    seed. Raises ConfigError as `check_fit`, for a device that is not there, and for a rule that
    needs the groups of secure aggregation.
    """
    check_fit(config, data)
    rule = aggregator_of(config.aggregation)
    if config.aggregation.secure and rule.of_sums(np.zeros((1, 1)), np.ones(1), 1) is None:
        able = (
            "per_item or uniform, as the groups whose means it would look at are dealt by a chain"
        )
        raise ConfigError(f"aggregation.rule: {rule.name}: without a ledger use {able}")
    model = initial_model(config, data.items, (beacon or seeded(config.seed))(0))
    adversary = Adversary(
        config.clients.malicious, data.users, Streams(config.seed), b"", config.servers.count
    )
    return Learner(config, data, model, adversary, residuals, threads, folder)


def rounds_of(learner: Learner, after: int = 0, beacon: Beacon | None = None) -> Iterator[Played]:
    """Play the rounds after ``after``, and yield the result of each. Raises Diverged, naming the
    round and the client, when the steps are too large."""
    config = learner.config
    beacon = beacon or seeded(config.seed)
    for height in range(after + 1, config.rounds + 1):
        yield learner.play(height, beacon(height))


def learn(
    config: Config,
    data: Dataset,
    threads: int | None = None,
    beacons: Sequence[bytes] = (),
    shown: bool = False,
) -> Learner:
    """The learner after all rounds, with residuals in memory.

    ``beacons``: those of heights 0 (`Beacon`), 1, 2, ..., by default of the seed. ``shown``: show a
    bar of the rounds, on a terminal. Raises as `learner_alone` and `rounds_of`.
    """
    left: dict[int, bytes] = {}
    beacon = beacons.__getitem__ if beacons else seeded(config.seed)
    learner = learner_alone(
        config,
        data,
        lambda _, clients: {client: left[client] for client in clients if client in left},
        threads,
        beacon,
    )
    rounds = tqdm(
        rounds_of(learner, 0, beacon),
        "round",
        config.rounds,
        leave=False,
        disable=None if shown else True,
    )
    for played in rounds:
        left |= played.residuals
    return learner
