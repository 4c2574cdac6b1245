"""`bfedrec merchants train`: the merchants of some files of events train, share and average."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
from bfedrec.merchants.events import EventReader
from bfedrec.merchants.settings import StepSettings
from bfedrec.streams import Streams

if TYPE_CHECKING:
    from bfedrec.merchants.interactions import History
    from bfedrec.merchants.training import EpochLosses

COLUMNS = "round,merchant,epoch,training,test,constant_training,constant_test"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="one a merchant")
    parser.add_argument("--rounds", type=int, default=1, help="default: 1")
    defaults = StepSettings()
    for name, told in (
        ("epochs", "of each round"),
        ("step", "of gradient descent"),
        ("l2", "weight of the squares of factors and biases"),
        ("negatives", "products without interaction for each pair; the report has 0"),
    ):
        value = getattr(defaults, name)
        text = f"{told} (default: {value})"
        parser.add_argument(f"--{name}", type=type(value), default=value, help=text)
    parser.add_argument(
        "--deviation",
        type=float,
        default=0.0,
        help="random deviation of strengths, as in the report (default: 0)",
    )
    parser.add_argument("--rule", default="plain", help="of the average (default: plain)")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.set_defaults(handler=train_command)


def train_command(parsed: argparse.Namespace) -> int:
    """Print the losses of every epoch as CSV beside those of a constant, and, on standard error,
    times and the average's digest; return 0. Raises `ConfigError` for values that make no sense."""
    try:
        if not 1 <= parsed.rounds <= 10_000 or parsed.seed < 0:
            raise ValueError("rounds are 1 to 10,000, and a seed is at least 0")
        settings = StepSettings(parsed.epochs, parsed.step, parsed.l2, parsed.negatives)
        _train(parsed, settings, [_read(path) for path in parsed.files])
    except ValueError as error:
        raise ConfigError(f"{COMMAND_LINE}: {error}") from None
    return 0


def _read(path: Path) -> History:
    from bfedrec.merchants.interactions import history_of

    reader = EventReader(path)
    history = history_of(reader)
    reading = reader.reading
    if not reading.events:
        raise ConfigError(f"{path}: holds no event")
    told = f"{reading.events:,} events"
    told += f", {reading.bad_rows:,} bad rows: {reading.first_bad[0]}" if reading.bad_rows else ""
    print(f"{path}: {told}", file=sys.stderr)
    return history


def _train(parsed: argparse.Namespace, settings: StepSettings, histories: list[History]) -> None:
    import numpy as np

    from bfedrec.merchants.averaging import Contribution, aggregate, rules
    from bfedrec.merchants.interactions import Catalogue, pairs_of, split
    from bfedrec.merchants.model import digest_of, encode, initial_shared
    from bfedrec.merchants.training import Trainer

    if parsed.rule not in rules():
        raise ValueError(f"rule {parsed.rule!r} is not one of {', '.join(rules())}")
    streams = Streams(parsed.seed)
    catalogue = Catalogue.of(*(history.products for history in histories))
    trainers = []
    for merchant, history in enumerate(histories):
        noise = streams.generator("shop_split", merchant, 1)
        pairs = pairs_of(history, catalogue, parsed.deviation, noise)
        assortment = np.unique(catalogue.places(history.products))
        parts = split(pairs, streams, merchant)
        trainers.append(Trainer(parts, assortment, settings, streams, merchant))
    shared = initial_shared(len(catalogue), streams)
    print(COLUMNS)
    for round in range(parsed.rounds):
        models = []
        for merchant, trainer in enumerate(trainers):

            def tell(losses: EpochLosses, merchant: int = merchant, round: int = round) -> None:
                numbers = ",".join(f"{one:.6f}" for one in losses[1:])
                print(f"{round},{merchant},{losses.epoch},{numbers}")

            start = time.perf_counter()
            trained = trainer.play_round(shared, round, tell).shared
            seconds = time.perf_counter() - start
            told = f"{len(trainer.user):,} pairs, {settings.epochs} epochs in {seconds:.2f} s"
            print(f"round {round}, merchant {merchant}: {told}", file=sys.stderr)
            models.append(Contribution(f"merchant-{merchant:03}", trained, len(trainer.user)))
        shared = aggregate(shared, models, parsed.rule)
        payload = encode(shared, catalogue)
        told = f"{len(payload):,} bytes, sha256 {digest_of(payload).hex()}"
        print(f"round {round}: average of {len(models)}, {told}", file=sys.stderr)
