"""Federated recommendation on an edge-server blockchain (BFedRec), simulated.

    import bfedrec as bf

    run = bf.run("experiments/ml-1m.yaml", seed=1, rounds=100)
    run.metrics.plot(y=["hr@10", "ndcg@10"])

The names below are the Python interface; they are of the room `bfedrec.api`, and loaded when they
are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bfedrec.api.artefacts import figure, table
    from bfedrec.api.chain import Chain
    from bfedrec.api.checking import check
    from bfedrec.api.comparing import compare
    from bfedrec.api.finished import Run, load
    from bfedrec.api.frames import dataset
    from bfedrec.api.options import read_config
    from bfedrec.api.playing import learn, run
    from bfedrec.api.sweeping import sweep
    from bfedrec.api.watching import Callback, StopRun
    from bfedrec.config.schema import Config

_HOMES = {
    "run": "bfedrec.api.playing",
    "learn": "bfedrec.api.playing",
    "load": "bfedrec.api.finished",
    "Run": "bfedrec.api.finished",
    "Chain": "bfedrec.api.chain",
    "dataset": "bfedrec.api.frames",
    "check": "bfedrec.api.checking",
    "compare": "bfedrec.api.comparing",
    "sweep": "bfedrec.api.sweeping",
    "table": "bfedrec.api.artefacts",
    "figure": "bfedrec.api.artefacts",
    "read_config": "bfedrec.api.options",
    "Config": "bfedrec.config.schema",
    "Callback": "bfedrec.api.watching",
    "StopRun": "bfedrec.api.watching",
}

__all__ = [
    "Callback",
    "Chain",
    "Config",
    "Run",
    "StopRun",
    "check",
    "compare",
    "dataset",
    "figure",
    "learn",
    "load",
    "read_config",
    "run",
    "sweep",
    "table",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
