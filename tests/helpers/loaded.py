"""Imported, it has made a tiny run, so that whatever is forked from the process finds machine code
and fonts loaded: half of the processor seconds of a tiny run in a new process. Plugins are looked
for anew afterwards, and no test plays with these keys."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from rich.console import Console

from bfedrec.api.making import make
from bfedrec.config.load import changed
from bfedrec.config.schema import Config
from bfedrec.plugins import load_plugins
from bfedrec.runs.progress import Progress
from tests.helpers.tiny import TINY

SEED = 2**31 - 77


@contextmanager
def _unseen(rounds: int, log: Callable[[str], None], unit: str) -> Iterator[Progress]:
    with open(os.devnull, "w") as nowhere, Progress(rounds, log, Console(file=nowhere)) as progress:
        yield progress


def _make() -> None:
    sections = yaml.safe_load(TINY).items()
    words = [f"{name}={yaml.safe_dump(node, default_flow_style=True)}" for name, node in sections]
    config = changed(Config(), [*words, f"seed={SEED}", "rounds=2"], "tests.helpers.loaded")
    with tempfile.TemporaryDirectory() as folder:
        make(config, Path(folder) / "run", _unseen)
    load_plugins.cache_clear()  # a run's manifest names them


_make()
