"""Learning without a ledger, in a folder like a run's: the same rounds, metrics and ranks.

No server, link or clock is simulated, so that there is no chain to audit and there are no figures
of one; summary and manifest say ``"ledger": "none"``. Bytes follow from the payloads alone.

RUN/state.sqlite holds the clients' private factors, a row per round, as in a run. At every
evaluation (every round, under error feedback, of which residuals are kept for two rounds alone)
RUN/checkpoint.safetensors is replaced: Q and the optimizer's state, from which `resume` goes on to
the same result. It goes when the summary is there.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from bfedrec.config.schema import Config
from bfedrec.data.prepare import prepare
from bfedrec.federation.learner import Played
from bfedrec.federation.protection import spent
from bfedrec.federation.unledgered import learner_alone, rounds_of
from bfedrec.runs.figures import LEDGER, NO_LEDGER, Figures, Scalar
from bfedrec.runs.folder import CHECKPOINT, HEAD_BYTES, RunError, RunFolder, read_tensors
from bfedrec.runs.memory import check_memory
from bfedrec.runs.privacy import own_figures
from bfedrec.runs.progress import Note, RoundLearnt, Watcher
from bfedrec.runs.reporting import Reporting, check_selectable
from bfedrec.runs.state import RoundState, StateError
from bfedrec.runs.totals import Totals
from consensus.storage.closing import Closing


class Learning(Closing):
    """Rounds without a ledger, in progress."""

    def __init__(self, config: Config, folder: RunFolder, progress: Watcher) -> None:
        self.config = config
        self.folder = folder
        self.progress = progress
        self.began = time.perf_counter()
        self.data = prepare(config.data)
        check_memory(config, self.data)
        check_selectable(config, self.data)
        folder.start(self.data.digest, self.data.places_digest)
        self.state = folder.state()
        self.learner = learner_alone(config, self.data, self.state.residuals, folder=folder.path)
        self.reporting = Reporting(folder, self.learner, progress.update)
        self.totals = Totals()
        """Its bytes are those of payloads: `uplink_bytes`, and `downlink_bytes_broadcast` for an
        aggregate, or at first Q, to each participant."""
        self.broadcast = self.learner.model.Q.nbytes
        """Bytes that a participant of the next round fetches."""
        self.loss: float | None = None
        self.wall_before = 0.0
        self.rounds_here = 0
        """Number of rounds played by this process."""

    def close(self) -> None:
        """Close the files; all that was written stays."""
        self.state.close()

    def run(self, resume: bool) -> Figures:
        """Play the remaining rounds; return the summary."""
        height = self._resume() if resume else 0
        if not height:
            self.state.discard_after(0)
            self.folder.cut_metrics(0)
        rounds = rounds_of(self.learner, height)
        while not self.reporting.ends_early(height) and (played := next(rounds, None)) is not None:
            height = played.height
            self.rounds_here += 1
            traffic = self._record(played)
            self.progress.update(RoundLearnt(played.height, len(played.clients), traffic))
            if self.reporting.is_due(played.height):
                self._checkpoint(played.height)
                self._validate(played.height)
            elif self.config.compression.error_feedback:
                self._checkpoint(played.height)
        return self._finish(height)

    # -- a round's traces -------------------------------------------------------------------------

    def _record(self, played: Played) -> int:
        """Add the round to the totals and the state; return its bytes."""
        downlink = self.broadcast * len(played.clients)
        self.totals += Totals(
            uplink_bytes=played.uplink_bytes,
            downlink_bytes_broadcast=downlink,
        )
        self.broadcast, self.loss = played.aggregate_bytes, played.loss
        row = RoundState(
            played.height, played.clients, played.factors, 0.0, self._wall, played.loss, self.totals
        )
        self.state.append(row, played.residuals)
        return played.uplink_bytes + downlink

    @property
    def _wall(self) -> float:
        return self.wall_before + time.perf_counter() - self.began

    def _validate(self, height: int) -> None:
        """Score the validation items and append the metrics of this round."""
        self.reporting.validate(height, self.loss, {**self._bytes(), "wall_seconds": self._wall})

    def _bytes(self) -> dict[str, Scalar]:
        return {
            "uplink_payload_bytes": self.totals.uplink_bytes,
            "broadcast_payload_bytes": self.totals.downlink_bytes_broadcast,
        }

    # -- checkpoints ------------------------------------------------------------------------------

    def _checkpoint(self, height: int) -> None:
        model = self.learner.model
        state = {f"state_{number}": array for number, array in enumerate(model.state)}
        counts = np.array([height, self.broadcast], np.int64)
        self.folder.write_tensors({"counts": counts, "Q": model.Q, **state}, CHECKPOINT)

    def _resume(self) -> int:
        """Bring all to the state of the last checkpoint; return its round, 0 without one."""
        path, model = self.folder.path / CHECKPOINT, self.learner.model
        if not path.exists():
            self.progress.update(Note("no checkpoint yet: begins anew"))
            return 0
        found = read_tensors(path, model.snapshot_size + HEAD_BYTES)
        wanted: dict[str, NDArray] = {"counts": np.zeros(2, np.int64), "Q": model.Q}
        wanted |= {f"state_{number}": array for number, array in enumerate(model.state)}
        shapes = (
            {name: (x.shape, x.dtype) for name, x in each.items()} for each in (found, wanted)
        )
        if next(shapes) != next(shapes):
            raise RunError(f"{path}: not a checkpoint of this config")
        height, self.broadcast = found["counts"].tolist()
        if not 0 < height <= min(self.state.last_height, self.config.rounds):
            raise StateError(
                f"{path}: is of round {height}, but state.sqlite has {self.state.last_height}; "
                "restore it, or start anew in another folder"
            )
        self.state.discard_after(height)
        self.folder.cut_metrics(height)
        model.Q = found["Q"]
        model.state = tuple(found[f"state_{number}"] for number in range(len(model.state)))
        self.learner.P[:] = self.state.load_factors(self.learner.P)
        row = self.state.row(height)
        self.totals, self.wall_before, self.loss = row.totals, row.wall_seconds, row.loss
        if self.reporting.is_due(height) and not self.reporting.has_line(height):
            self._validate(height)
        self.progress.update(Note(f"resumed after round {height}"))
        return int(height)

    # -- the end ----------------------------------------------------------------------------------

    def _finish(self, rounds: int) -> dict[str, Scalar]:
        """Report the test items of the round that `evaluation.select` names, after so many rounds;
        return the summary."""
        scored = self.reporting.finish(rounds)
        trained = self.rounds_here * self.config.clients.present
        seconds = self.learner.training_seconds
        return {
            **scored,
            "rounds": rounds,
            LEDGER: NO_LEDGER,
            **spent(self.config, self.data.users, rounds),
            "wall_seconds": self._wall,
            "clients_per_second": trained / (time.perf_counter() - self.began),
            "training_clients_per_second": trained / seconds if seconds else 0.0,
            **self._bytes(),
            **own_figures(self.folder.path, self.config, self.data),
        }


def run(config: Config, folder: RunFolder, resume: bool, progress: Watcher) -> Figures:
    """Learn ``config`` in ``folder`` to the end, from the start or from the last checkpoint.

    Returns the summary. Raises errors that the command line prints as one line:
    `bfedrec.config.yaml_core.ConfigError`, `bfedrec.data.interactions.DataError`,
    `bfedrec.runs.folder.RunError`, `bfedrec.runs.state.StateError`,
    `bfedrec.learning.upload.Diverged`, `bfedrec.evaluation.metrics.NotFinite`.
    """
    with Learning(config, folder, progress) as learning:
        return learning.run(resume)
