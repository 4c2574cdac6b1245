"""Configs from Python: a file, a mapping or a `Config`, and what is to be changed in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from bfedrec.config.load import changed, load
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError

Source: TypeAlias = "str | Path | Mapping[str, Any] | Config"
"""An experiment: the path of a YAML file, the name of a shipped one, options by name, or a
config."""


def read_config(config: Source, *overrides: str, **options: Any) -> Config:
    """The config of an experiment, with some options changed.

    ``overrides``: as on the command line, ``"model.rank=4"``. ``options``: by name, a section as a
    mapping: ``seed=1, model={"rank": 4}``; they come last. Raises
    `bfedrec.config.yaml_core.ConfigError`, in one line.
    """
    words = [*overrides, *overrides_of(options)]
    if isinstance(config, Config):
        return changed(config, words, "config")
    if isinstance(config, Mapping):
        return load(None, [*overrides_of(config), *words])
    return load(config, words)


def overrides_of(options: Mapping[str, Any]) -> list[str]:
    """Options by name as overrides of a command line. Raises ConfigError for a value that no
    option has."""
    return [f"{key}={_text(key, value)}" for key, value in _flat(options, "")]


def _flat(options: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if not isinstance(name, str):
            raise ConfigError(f"options: {above}{name!r}: expected the name of an option")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _text(key: str, value: Any) -> str:
    """A value in JSON, which is YAML."""

    def plain(other: Any) -> Any:
        if isinstance(other, Path):
            return str(other)
        if hasattr(other, "item"):  # a number of NumPy
            return other.item()
        raise TypeError(f"{type(other).__name__} is no value of an option")

    try:
        return json.dumps(value, default=plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"options: {key}: {error}") from None
