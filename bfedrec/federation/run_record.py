"""The record of a run in its chain's genesis, which an audit compares with RUN/config.yaml."""

from __future__ import annotations

from bfedrec.config.load import config_digest
from bfedrec.config.schema import Config
from consensus.records.genesis import Run


def run_record(config: Config) -> Run:
    """The digest of the config, and its policy of retention."""
    retain, window = config.ledger.retain_updates, config.ledger.window
    return Run(config_digest(config), retain, window if retain == "window" else 0)
