"""The engines by their names.

Another engine is another class under the decorator `bfedrec.sweeps.engine.engine`: in a file of
`bfedrec.sweeps.engines`, which is found there, or in a plugin.
"""

from __future__ import annotations

from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
from bfedrec.sweeps.engine import ENGINES, Engine
from consensus.registry import import_parts

__all__ = ["ENGINES", "engine_of"]

import_parts("bfedrec.sweeps.engines")


def engine_of(told: str, jobs: int | None = None, usual: int = 1) -> Engine:
    """The engine that NAME or NAME://ADDRESS asks for; other arguments as of `Engine`.

    Raises `ConfigError` for an unknown name, an address that the engine does not take or cannot
    read, and a number of jobs below 1.
    """
    if jobs is not None and jobs < 1:
        raise ConfigError(f"{COMMAND_LINE}: --jobs {jobs}: expected int >= 1")
    name, separator, address = told.partition("://")
    try:
        kind = ENGINES.named(name)
    except ValueError as error:
        raise ConfigError(f"{COMMAND_LINE}: --engine {told}: {error}") from None
    if separator and not (kind.addressed and address):
        form = f"{name}, or {name}://ADDRESS" if kind.addressed else name
        raise ConfigError(f"{COMMAND_LINE}: --engine {told}: expected {form}")
    return kind(jobs, usual, address)
