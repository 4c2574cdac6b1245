"""The files beside a chain, and what they claim of it: for `bfedrec audit` and for pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bfedrec.config.load import load
from bfedrec.config.schema import Config
from bfedrec.federation.run_record import run_record
from bfedrec.runs.figures import Figures, count, number, text
from bfedrec.runs.folder import finished, read_figures, read_metrics, stopped
from consensus.audit import LATEST_US, AuditFailure, AuditReport, Claims
from consensus.encoding.cid import parse_cid
from consensus.ledger.committee import first_beacon
from consensus.records.genesis import Genesis

if TYPE_CHECKING:
    from bfedrec.federation.global_model import GlobalModel

BESIDE_CONFIG = ("manifest.json", "metrics.jsonl", "summary.json", "stopped.json", "state.sqlite")
"""Files that a folder has only beside a run's config.yaml."""


def build(genesis: Genesis, initial: bytes) -> GlobalModel:
    """The application of a BFedRec chain (`consensus.audit.ApplicationFactory`)."""
    from bfedrec.federation.global_model import GlobalModel  # slow: not for what is refused at once

    return GlobalModel.from_genesis(genesis.application, initial, first_beacon(genesis))


def told(report: AuditReport) -> str:
    """The counts of an audit in words, of a chain whose genesis names a run."""
    assert report.run is not None
    return (
        f"{report.blocks} blocks, {report.proofs} VRF proofs, "
        f"{report.signatures} signatures, {report.aggregates} of {report.blocks} aggregates "
        f"recomputed (the run keeps {report.run.policy}), {report.contents} blocks of content; "
        f"head {report.head}"
    )


class RunFiles:
    """The files beside a chain, and what they claim of it: that it is of this config, as long as
    the run was, and ends in this head.

    The files can be edited as easily as the chain. The head that a user has noted cannot: it covers
    every block below it and the genesis, which covers the config and the policy of retention.
    """

    def __init__(self, folder: Path, head: bytes | None) -> None:
        self._folder = folder
        self._heads = {} if head is None else {"--head": head}
        self.unchecked = ""
        """The claims that these files are too few for, in words; empty if there are none."""

    def claims(self, genesis: Genesis, blocks: int) -> Claims:
        """The claims about a chain (`consensus.audit.ClaimsOf`). Raises ValueError for a genesis of
        another config, and AuditFailure for a chain of another length."""
        if genesis.run is None:
            raise ValueError("it names no run: neither a config nor what is kept of the updates")
        config = self._config()
        if config is None:
            self._leave_unchecked("config, length and times", "there is no config.yaml beside it")
            return Claims(self._heads)
        if run_record(config) != genesis.run:
            raise ValueError(f"{self._folder / 'config.yaml'} is not the config of this chain")
        if not finished(self._folder) and not stopped(self._folder):
            return self._claims_of_unfinished(config, blocks)
        place = self._folder / ("summary.json" if finished(self._folder) else "stopped.json")
        figures = read_figures(place)
        try:
            told = count(figures, "rounds")
            rounds = _rounds(config, told) if finished(self._folder) else told
            heads = {**self._heads, str(place): parse_cid(text(figures, "head"))}
            latest = _latest_us(config, figures)
        except (KeyError, OverflowError, ValueError) as error:
            raise ValueError(f"{place}: not the figures of a run: {error}") from None
        if blocks != rounds:
            raise AuditFailure(blocks, f"the chain ends here, but the run had {rounds} rounds")
        if told != rounds:
            raise ValueError(f"{place}: rounds: {told}: expected {rounds}, as the chain has")
        return Claims(heads, latest)

    def _claims_of_unfinished(self, config: Config, blocks: int) -> Claims:
        if blocks > config.rounds:
            raise AuditFailure(config.rounds + 1, f"the run has only {config.rounds} rounds")
        self._leave_unchecked("length", f"the run is not finished ({blocks} of {config.rounds})")
        try:
            lines = [line for line in read_metrics(self._folder) if count(line, "height") == blocks]
            return Claims(self._heads, _latest_us(config, lines[-1]) if lines else None)
        except (KeyError, OverflowError, ValueError) as error:
            raise ValueError(f"{self._folder / 'metrics.jsonl'}: not of a run: {error}") from None

    def _leave_unchecked(self, what: str, why: str) -> None:
        head = "" if self._heads else ", head (give it by --head)"
        self.unchecked = f"{what}{head}, as {why}"

    def _config(self) -> Config | None:
        """The run's config; None beside a chain alone, as one that was imported. Raises ValueError
        if it is gone from a run's folder, or cannot be read."""
        path = self._folder / "config.yaml"
        if path.exists():
            return load(path)
        for name in BESIDE_CONFIG:
            if (self._folder / name).exists():
                raise ValueError(f"{path} is missing, though the folder has the run's {name}")
        return None


def _rounds(config: Config, told: int) -> int:
    """The number of rounds of a finished run whose summary tells of so many: only a run with
    `evaluation.patience` ends before the last, and then right after an evaluation. Raises
    ValueError for a number that no run of this config ends with."""
    evaluation = config.evaluation
    if not evaluation.patience or told == config.rounds:
        return config.rounds
    if not 0 < told < config.rounds or told % evaluation.every:
        raise ValueError(f"rounds: {told}: no run of this config ends there")
    return told


def _latest_us(config: Config, figures: Figures) -> int:
    """The latest timestamp that a run can have reached by the simulated time in ``figures``.

    A block was approved by a member whose clock was at most `skew` ahead of that time, and a
    member approves a block at most `vote_seconds` ahead of its clock, or a microsecond after the
    block before (`consensus.server.block_contents.BlockContents.is_timely`). Raises KeyError or
    ValueError for figures without a time.
    """
    seconds = number(figures, "simulated_seconds")
    skews = [number(fault, "skew") for fault in config.faults if "skew" in fault]
    ahead = config.committee.vote_seconds + sum(max(0.0, skew) for skew in skews)
    latest = 1e6 * (seconds + ahead) + config.rounds + 1
    if not 0.0 <= latest <= LATEST_US:  # nor is it NaN
        raise ValueError(f"simulated_seconds: {seconds!r}: expected a time that a clock can show")
    return round(latest)
