"""The recorded runs of experiments/privacy: a config a file, each a defence at one strength, or
none, with the attacks that it makes on itself (`privacy.attacks`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bfedrec.config.load import differences
from bfedrec.config.schema import Config
from bfedrec.evaluation.intervals import Interval, t_interval
from bfedrec.privacy.registry import INFERENCES
from bfedrec.report.artefact import Experiment, Runs
from bfedrec.report.paired_users import K
from bfedrec.runs.figures import number
from bfedrec.runs.privacy import FIGURE

FOLDER = Path("experiments/privacy")
SEEDS = "0-2"
EPSILON = "dp_epsilon"
"""The figure of a summary with the epsilon of a client over all of its participations."""
GROUP = "privacy"


def experiments() -> tuple[Experiment, ...]:
    """The experiments, one for each config of the folder, by name."""
    return tuple(Experiment(path, (), SEEDS) for path in sorted(FOLDER.glob("*.yaml")))


def label(config: Config) -> str:
    """The name of a config of the folder, as its file has it."""
    return config.name.removeprefix("privacy-")


def defence(config: Config) -> str:
    """The parts of a config's section `privacy` that are off their defaults, attacks apart, and
    "secure" under secure aggregation; "none" where all are at them."""
    found: dict[str, None] = {}
    for key in differences(config, Config()):
        section, _, name = key.partition(".")
        part = name.partition(".")[0]
        if (section == "privacy" and part != "attacks") or key.startswith("aggregation.secure"):
            found[part.partition("_")[0]] = None
    return ", ".join(found) or "none"


def area(runs: Runs, attack: str) -> Interval | None:
    """The area under the curve of an attack, over the seeds that have it; None if none has."""
    return mean(runs, f"{FIGURE}{attack}_auc")


def mean(runs: Runs, figure: str) -> Interval | None:
    """A figure of the summaries, over the seeds that have it; None if none has."""
    values = [number(run.summary, figure) for run in runs.finished if figure in run.summary]
    return t_interval(values) if values else None


def worst(runs: Runs) -> tuple[str, Interval] | None:
    """The attack with the greatest area under the curve, guesses apart; None without attacks."""
    found = {
        name: interval
        for name, kind in INFERENCES.items()
        if not kind.guess and (interval := area(runs, name)) is not None
    }
    if not found:
        return None
    name = max(found, key=lambda name: found[name].mean)
    return name, found[name]


def uplink(runs: Runs) -> float | None:
    """Bytes that a client sends in a round, all of its messages included; None without runs."""
    sent = [
        number(run.summary, "uplink_bytes")
        / (number(run.summary, "rounds") * runs.config.clients.present)
        for run in runs.finished
    ]
    return sum(sent) / len(sent) if sent else None


def scored(runs: Runs, metric: str) -> Interval | None:
    """A metric of the test items in lists of `K`, over the seeds; None without runs."""
    return mean(runs, f"{metric}@{K}")


def settings_of(found: Sequence[Sequence[Runs]]) -> list[Runs]:
    """The one setting of each experiment."""
    return [settings[0] for settings in found]
