"""Inference attacks on a run, and the files of their results: RUN/privacy.json, with the figures of
each attack, and RUN/privacy-users.csv, with those of each user."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from bfedrec.config.schema import Config
from bfedrec.data.attributes import attributes_of
from bfedrec.data.dataset import Dataset
from bfedrec.files import write_text
from bfedrec.privacy.assessment import FIGURES, Assessment, Membership, Truth
from bfedrec.privacy.inference import Attribute, AttributeAttack, InferenceAttack
from bfedrec.privacy.observation import PublicSetting
from bfedrec.privacy.registry import INFERENCES
from bfedrec.runs.figures import Scalar
from bfedrec.runs.folder import RunError, write_json
from bfedrec.runs.holders import Holder
from bfedrec.runs.memory import check_memory
from bfedrec.runs.observation import Reading, Tell
from bfedrec.runs.recommend import config_of, data_of
from bfedrec.threads import one_ahead

RESULT = "privacy.json"
USERS = "privacy-users.csv"
FIGURE = "privacy_"
"""The beginning of the figures' names in a summary."""


@dataclass(frozen=True)
class Attacked:
    """The results of attacks on a run."""

    memberships: dict[str, Membership]
    """By attack, those that had a round to attack."""
    attributes: dict[str, dict[str, float]]
    """The figures of attributes, by ``ATTACK_ATTRIBUTE``."""
    notes: list[str]
    """One line each on what was not attacked, and why."""
    user_ids: np.ndarray
    """The users' ids in the source."""

    def figures(self) -> dict[str, dict[str, Scalar]]:
        """The mean figures of each attack."""
        found: dict[str, dict[str, Scalar]] = {}
        for name, result in self.memberships.items():
            users = int((result.counts[:, 0] > 0).sum())
            updates = sum(count for _, count, _ in result.rounds)
            found[name] = {**result.means(), "users": users, "updates": updates}
        return {**found, **{name: dict(each) for name, each in self.attributes.items()}}


def attacks_named(names: Sequence[str], config: Config, data: Dataset) -> list[InferenceAttack]:
    """The attacks with these names, without any all that the run has something for, each for this
    setting. Raises ValueError for
    an unknown name."""
    training = config.training
    unobserved = training.unobserved if "unobserved" in training.chosen.reads else None
    public = PublicSetting(data.users, data.items, config.model.dimension, unobserved)
    secure = config.aggregation.secure
    chosen = names or [name for name, kind in INFERENCES.items() if secure or not kind.under_masks]
    return [INFERENCES.named(name)(public) for name in chosen]


def truth_of(config: Config, data: Dataset) -> tuple[Truth, str]:
    """The truth about the users of a data set, and a line on attributes that are not known; empty
    where they are. Raises DataError."""
    texts, lacking = attributes_of(config.data, data.user_ids)
    attributes = {name: _attribute(values) for name, values in texts.items()}
    left_out = np.column_stack([data.validation, data.test]).astype(np.int64)
    return Truth(data.indptr, data.indices, left_out, attributes), lacking


def _attribute(texts: Sequence[str]) -> Attribute:
    """The attribute with each user's value, empty where it is not known."""
    values = tuple(sorted(set(texts) - {""}))
    place = {value: number for number, value in enumerate(values)}
    return Attribute(values, np.array([place.get(text, -1) for text in texts], np.int64))


def attack(
    run: Path,
    holder: str = "server:0",
    names: Sequence[str] = (),
    rounds: Sequence[range] | None = None,
    tell: Tell = lambda done, total: None,
    data: Dataset | None = None,
) -> Attacked:
    """Attack a run, finished or going on, by the attacks of these names (all without any).

    ``holder``: as for `Holder.parse`; ``rounds``: those observed, as spans, None for all; ``data``:
    those of the run, if they are prepared already. Raises ConfigError, DataError, `RunError`,
    StateError and StoreError, each one line, and ValueError for an unknown attack.
    """
    config = config_of(run)
    if config.method != "federated":
        raise RunError(f"{run}: a run of method {config.method}, which has no clients")
    data = data_of(run, config) if data is None else data
    check_memory(config, data)
    party = Holder.parse(holder, config.servers.count)
    attacks = attacks_named(names, config, data)
    truth, lacking = truth_of(config, data)
    assessment = Assessment(attacks, truth)
    reading = Reading(run, config, data, party, rounds)
    # Two rounds are in work at a time: more threads inside of them take more time, not less.
    with threadpool_limits(1, "blas"), one_ahead(reading.observations(tell)) as observations:
        for seen in observations:
            assessment.add(seen)
    notes = _notes(reading, assessment)
    if lacking and any(isinstance(each, AttributeAttack) for each in attacks):
        notes.append(lacking)
    memberships = {name: each for name, each in assessment.memberships.items() if each.rounds}
    return Attacked(memberships, assessment.attributes(), notes, data.user_ids)


def _notes(reading: Reading, assessment: Assessment) -> list[str]:
    notes = []
    if reading.unheard and reading.holder.servers:
        notes.append(f"rounds in which no update reached the holder: {len(reading.unheard)}")
    elif reading.unheard:
        notes.append(
            f"rounds of which the run publishes no updates: {len(reading.unheard)}; what is public "
            "alone is attacked there (ledger.retain_updates=all publishes all)"
        )
    if reading.untold:
        notes.append(
            f"rounds left out, as their blocks do not tell which updates they hold: "
            f"{len(reading.untold)} (ledger.retain_updates=all keeps them)"
        )
    secure = reading.config.aggregation.secure
    if reading.grouped:
        notes.append(
            "aggregation.secure: of each client its group's mean is attacked, and by the attack "
            "masked its own update under its masks"
        )
    for each in assessment.attacks:
        if each.under_masks and not secure:
            notes.append(f"{each.name}: no update is masked, as aggregation.secure is false")
        few = getattr(each, "per_round", None)
        if few is not None and few < reading.config.clients.per_round:
            notes.append(f"{each.name}: the first {few} updates of each round are attacked")
    return notes


def own_figures(run: Path, config: Config, data: Dataset) -> dict[str, Scalar]:
    """The figures of the attacks that a config asks for, on its run that has come to its end, by
    ``privacy_ATTACK_FIGURE``. Raises as `attack`."""
    asked = config.privacy.attacks
    if not asked.names:
        return {}
    found = attack(run, asked.holder, asked.names, data=data)
    return {
        f"{FIGURE}{name}_{key}": value
        for name, figures in found.figures().items()
        for key, value in figures.items()
    }


def write_results(run: Path, attacked: Attacked) -> None:
    """Write RUN/privacy.json and RUN/privacy-users.csv."""
    write_json(run / RESULT, attacked.figures())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("user", "attack", *FIGURES))
    for name, result in attacked.memberships.items():
        by_user = result.by_user
        for user in np.flatnonzero(result.counts[:, 0]).tolist():
            cells = ("" if np.isnan(each) else f"{each:.6g}" for each in by_user[user].tolist())
            writer.writerow((attacked.user_ids[user], name, *cells))
    write_text(run / USERS, text.getvalue())
