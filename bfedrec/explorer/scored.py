"""A process that scores all users of one run, and writes what the explorer shows of them.

    python -m bfedrec.explorer.scored RUN < PIPE > FILE

It loads the compilers and the model, which a server of pages must not; it ends with the process
that holds the other end of its standard input. The answer is a file of arrays (`numpy.savez`),
whose array ``told`` is a JSON object in UTF-8. `bfedrec.explorer.recommendations` reads it.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from bfedrec.attacks.adversary import Adversary
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.dataset import Dataset
from bfedrec.data.interactions import DataError
from bfedrec.data.prepare import at_hand
from bfedrec.data.source import Catalogued
from bfedrec.data.titles import titles_of
from bfedrec.evaluation.metrics import NotFinite
from bfedrec.explorer.recommendations import ITEMS
from bfedrec.federation.scoring import Scoring
from bfedrec.runs.folder import RunError
from bfedrec.runs.recommend import config_of, data_of, lists_of, scoring_at_rest
from bfedrec.runs.state import StateError
from bfedrec.streams import Streams

MOST_MEMORY: Final = 8 * 2**30
"""Bytes of address space, threads' stacks included."""
THREADS: Final = 2


def answer(run: Path) -> bytes:
    """The arrays of a run. What cannot be had is told in a line: "unusable" where nothing can be
    shown, "unscored" where there are no lists."""
    arrays: dict[str, np.ndarray] = {}
    try:
        config = config_of(run)
        data = _data(run, config)
    except (ConfigError, DataError, RunError) as error:
        return _encoded({"unusable": _placeless(error, run)}, arrays)
    group = Adversary(
        config.clients.malicious, data.users, Streams(config.seed), b"", config.servers.count
    ).group
    attacks = [each.attack for each in config.clients.malicious]
    targets = {item for each in config.clients.malicious for item in each.plan.targets()}
    told: dict[str, object] = {
        "digest": data.digest,
        "users": [str(each) for each in data.user_ids],
        "items": [str(each) for each in data.item_ids],
        "titles": list(titles_of(config.data, data.item_ids)),
        "targets": sorted(targets | set(config.evaluation.targets)),
        "attacks": attacks,
    }
    arrays = {name: getattr(data, name) for name in ("indptr", "indices", "places")}
    arrays |= {"validation": data.validation, "test": data.test, "group": group.astype(np.int16)}
    try:
        _, scoring = scoring_at_rest(run, THREADS, data)
        arrays |= dict(_lists(scoring, ordered=False))
        if scoring.ordered is not None:
            arrays |= {f"ordered_{name}": each for name, each in _lists(scoring, ordered=True)}
    except (ConfigError, DataError, MemoryError, NotFinite, RunError, StateError) as error:
        told["unscored"] = _placeless(error, run) or "not enough memory"
    return _encoded(told, arrays)


def _data(run: Path, config: Config) -> Dataset:
    """The run's data, from what is at hand: nothing is downloaded for a page."""
    published = isinstance(config.data.source, Catalogued)
    if published and not at_hand(config.data):
        raise DataError(f"{config.data.dataset}: the data set is not at hand: bfedrec data prepare")
    try:
        return data_of(run, config)
    except DataError:
        if published:
            raise
        # The config names the file, and a config may come from anybody: no word of its content.
        raise DataError("the file of the run's data cannot be read as its config says") from None


def _lists(scoring: Scoring, ordered: bool) -> Iterator[tuple[str, np.ndarray]]:
    users = np.arange(scoring.data.users)
    found = list(lists_of(scoring, users, ITEMS, ordered, THREADS))
    yield "best", np.concatenate([each.items for each in found])
    yield "scores", np.concatenate([each.scores for each in found])


def _encoded(told: Mapping[str, object], arrays: dict[str, np.ndarray]) -> bytes:
    text = np.frombuffer(json.dumps(told).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, told=text, **arrays)
    return file.getvalue()


def _placeless(error: Exception, run: Path) -> str:
    """The text of an error without the place of the run's folder."""
    text = " ".join(str(error).split())
    return text.replace(f"{run}: ", "").replace(f"{run}/", "").replace(str(run), "the folder")


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def main(arguments: list[str]) -> int:
    """Write the answer for the run that ``arguments`` name to standard output."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MOST_MEMORY if hard == resource.RLIM_INFINITY else min(hard, MOST_MEMORY)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    os.nice(5)
    (run,) = arguments
    sys.stdout.buffer.write(answer(Path(run)))
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    os._exit(status)  # the thread that waits for the parent would not let it end
