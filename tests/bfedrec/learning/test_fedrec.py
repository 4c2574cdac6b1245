"""FedRec's virtual items in whole runs: labelled by the round, and charged for.

What a client does with them, and uploads, is in test_cohort.py and test_client.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bfedrec.config.load import load
from bfedrec.data.prepare import prepare
from bfedrec.federation.unledgered import learn
from tests.bfedrec.runs.test_simulation import SMALL, metrics, play

FEDREC = ("compression.kind=dense", "training.virtual_share=1", "crypto=modelled")


def losses(path: Path, mean_share: float) -> list[float]:
    """The training loss of each of the twelve rounds."""
    play(path, *FEDREC, f"training.virtual_mean_share={mean_share}", "evaluation.every=1")
    return [line["loss"] for line in metrics(path)]


def test_labels_are_the_mean_in_the_first_rounds_of_a_run_and_then_predicted(
    tmp_path: Path,
) -> None:
    always, half, never = (losses(tmp_path / str(share), share) for share in (1.0, 0.5, 0.0))
    assert half[:6] == always[:6]
    assert half[6] != always[6]
    assert never[0] != always[0]


def test_tuning_learns_by_the_same_labels() -> None:
    data = prepare(load(None, SMALL).data)

    def after_a_round(mean_share: float) -> np.ndarray:
        options = ["rounds=1", f"training.virtual_mean_share={mean_share}"]
        return learn(load(None, [*SMALL, *FEDREC, *options]), data).Q

    assert np.array_equal(after_a_round(0.4), after_a_round(0.0))
    assert np.array_equal(after_a_round(0.6), after_a_round(1.0))
    assert not np.array_equal(after_a_round(0.0), after_a_round(1.0))


def test_virtual_items_take_time_in_the_passes_that_train_items(tmp_path: Path) -> None:
    slow = (
        "rounds=1",
        "clients.seconds_per_sample=1",
        "committee.update_seconds=10000",
        "training.user_epochs=1",
        "training.local_epochs=1",
        "training.negatives=2",
    )

    def seconds(share: int) -> float:
        found = play(tmp_path / str(share), *slow, f"training.virtual_share={share}")
        return float(found["simulated_seconds"])

    # Two passes of three samples an interaction, and a virtual item in one of them.
    plain = seconds(0)
    assert seconds(1) == pytest.approx(7 / 6 * plain, rel=0.02)
    assert seconds(6) == pytest.approx(2 * plain, rel=0.02)
