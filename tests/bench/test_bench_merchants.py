"""Reading a million events and training a merchant: `pytest tests/bench --benchmark-only`."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bfedrec.merchants.comparison import histories_of
from bfedrec.merchants.generator import shop_events, write_events
from bfedrec.merchants.interactions import Catalogue, pairs_of, split
from bfedrec.merchants.market import MarketSettings, market_of
from bfedrec.merchants.model import initial_shared
from bfedrec.merchants.settings import StepSettings
from bfedrec.merchants.training import Trainer
from bfedrec.streams import Streams

EVENTS = 1_000_000
READ = """
import sys
from pathlib import Path
from bfedrec.merchants.events import EventReader
reader = EventReader(Path(sys.argv[1]))
assert sum(len(chunk.frame) for chunk in reader) == int(sys.argv[2])
"""


def generate(path: Path) -> None:
    """A file of a million events."""
    streams = Streams(0)
    market = market_of(MarketSettings(customers=60_000, products=3_000), streams)
    with path.open("wb") as file:
        write_events(file, market, 0, shop_events(market, 0, EVENTS, streams), streams)


def test_a_million_events_are_generated_in_a_minute(benchmark: Any, tmp_path: Path) -> None:
    benchmark.pedantic(generate, (tmp_path / "events.csv",), rounds=1)
    assert benchmark.stats["max"] < 60


def test_a_million_events_are_read_in_ten_seconds(benchmark: Any, tmp_path: Path) -> None:
    """A whole process, interpreter and pandas included, with at most 500 MB."""
    path = tmp_path / "events.csv"
    generate(path)
    command = [sys.executable, "-c", READ, str(path), str(EVENTS)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    benchmark.pedantic(lambda: subprocess.run(command, check=True), rounds=3)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    benchmark.extra_info["processor_seconds"] = (
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    ) / 3
    benchmark.extra_info["megabytes"] = after.ru_maxrss / 1024
    assert benchmark.extra_info["processor_seconds"] < 10  # which other work hardly changes
    assert after.ru_maxrss < 500 * 1024


def test_a_merchant_trains_in_three_seconds(benchmark: Any) -> None:
    """One of three merchants with 10,000 events each, 100 epochs, losses of each told."""
    streams = Streams(0)
    histories = histories_of(MarketSettings(), 10_000, streams)
    catalogue = Catalogue.of(*(one.products for one in histories))
    parts = split(pairs_of(histories[0], catalogue), streams)
    assortment = np.unique(catalogue.places(histories[0].products))
    trainer = Trainer(parts, assortment, StepSettings(), streams)
    start = initial_shared(len(catalogue), streams)
    trainer.play_round(start, tell=lambda losses: None)  # compiles
    benchmark(lambda: trainer.play_round(start, tell=lambda losses: None))
    assert benchmark.stats["min"] < 3  # what else the machine does only adds
