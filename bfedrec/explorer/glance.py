"""The few options of a run that a list shows, taken from its config.yaml without parsing all of it.

A config is written with every option on a line of its own (`bfedrec.config.load.dump`). Parsing and
validating one takes 20 ms, finding these lines a hundredth of that. A text that does not look as if
it was written so is parsed as usual.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bfedrec.config.load import parse
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.plugins import PluginError
from bfedrec.runs.folder import RunError

TOP: Final = re.compile(r"([a-z][a-z0-9_]*):(?: (\S.*))?")
"""A line that begins an option or a section."""
BELOW: Final = re.compile(r"  ([a-z][a-z0-9_]*): (\S.*)")
"""A line of an option in a section."""
WORD: Final = re.compile(r"'?([A-Za-z0-9][A-Za-z0-9._-]*)'?")
NUMBER: Final = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True)
class Glance:
    """A few options of a run."""

    name: str = ""
    seed: int | None = None
    dataset: str = ""
    protocol: str = ""
    """Empty for a method without servers."""
    method: str = ""
    """The method of training, for a federated run; otherwise the baseline."""
    rounds: int = 0
    """Rounds or epochs that the run has in the end."""
    k: int = 10
    """K of the metrics."""


def glance(text: str) -> Glance:
    """The options in a config.yaml; raises `RunError` where they cannot be read."""
    found = _by_line(text)
    if found is not None:
        return found
    try:
        config = parse(text, "config.yaml")
    except (ConfigError, PluginError) as error:
        raise RunError(str(error)) from None
    return of_config(config)


def of_config(config: Config) -> Glance:
    """The same options of a config that is parsed."""
    federated = config.method == "federated"
    return Glance(
        config.name,
        config.seed,
        config.data.dataset,
        config.protocol if federated else "",
        config.training.method if federated else config.method,
        config.rounds if federated else epochs_of(config.method, config.centralised.epochs),
        config.evaluation.k,
    )


def epochs_of(method: str, epochs: int) -> int:
    """The epochs of a baseline: as configured where it trains in epochs, else its single pass."""
    return epochs if method in ("gmf", "bpr") else 1


def _by_line(text: str) -> Glance | None:
    """The options on lines of their own; None for a text that was not written so."""
    options: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        top = TOP.fullmatch(line)
        if top:
            section = top[1]
            options.setdefault(section, top[2] or "")
        elif below := BELOW.fullmatch(line):
            options.setdefault(f"{section}.{below[1]}", below[2])
        elif not line.startswith((" ", "- ")):
            return None
    texts = [_word(options, key) for key in ("name", "method", "data.dataset", "protocol")]
    numbers = [_number(options, key) for key in ("seed", "rounds", "evaluation.k")]
    name, method, dataset, protocol = texts
    seed, rounds, k = numbers
    if not (name and method and dataset and protocol) or seed is None or not rounds or not k:
        return None
    if method == "federated":
        trains = _word({"training.method": "sgd", **options}, "training.method")
        return Glance(name, seed, dataset, protocol, trains, rounds, k) if trains else None
    epochs = epochs_of(method, _number(options, "centralised.epochs") or 0)
    return Glance(name, seed, dataset, "", method, epochs, k) if epochs else None


def _word(options: Mapping[str, str], key: str) -> str:
    found = WORD.fullmatch(options.get(key, ""))
    return found[1] if found else ""


def _number(options: Mapping[str, str], key: str) -> int | None:
    found = NUMBER.fullmatch(options.get(key, ""))
    return int(found[0]) if found else None
