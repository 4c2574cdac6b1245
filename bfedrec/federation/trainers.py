"""The implementations of a config's training method."""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.learning.method import METHODS, Trainer, UnwrittenTrainer


class Trainers(NamedTuple):
    """The implementations for so many threads."""

    written: Trainer
    unwritten: UnwrittenTrainer | None
    """The one that leaves updates unwritten; None where all of their numbers are needed."""
    threads: int | None
    """None for all processors."""


def trainers(config: Config, threads: int | None, as_terms: bool) -> Trainers:
    """The implementations for the config's device; ``as_terms``: False where all numbers of updates
    are needed. Raises ConfigError as `trainer`."""
    unwritten = None
    if config.device == "cpu" and as_terms:
        unwritten = config.training.chosen.unwritten_trainer(threads)
    return Trainers(trainer(config, threads), unwritten, threads)


def trainer(config: Config, threads: int | None) -> Trainer:
    """The implementation of the config's training method for its device: compiled for cpu, torch
    for all others, of which torch is the CPU. Raises ConfigError for a device that torch does
    not find, or on which the method does not train."""
    method, device = config.training.chosen, config.device
    if device != "cpu":
        if not method.on_devices:
            able = ", ".join(name for name, kind in METHODS.items() if kind.on_devices)
            raise ConfigError(
                f"device: {device!r}: training.method {method.name} trains on the cpu; on torch "
                f"devices train: {able}"
            )
        if find_spec("torch") is None:
            raise ConfigError(f"device: {device!r}: this needs torch: pip install 'bfedrec[torch]'")
        from bfedrec.learning import cohort_torch  # torch takes seconds to import

        if not cohort_torch.is_usable(cohort_torch.device_of(device)):
            raise ConfigError(f"device: {device!r}: torch finds no such device here; use cpu")
    return method.checked_trainer(device, threads)
