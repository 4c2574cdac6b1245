"""The training of cohorts beside the servers: in a process of its own, or in a thread."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final

import numpy as np

from bfedrec.compression.error_feedback import ErrorFeedback
from bfedrec.config.schema import Config
from bfedrec.federation.learner import Learner
from bfedrec.federation.round_training import (
    InThread,
    RoundTraining,
    Train,
    Trained,
    Worker,
    parts_for,
)
from bfedrec.federation.training_process import TrainingProcess, can_fork
from bfedrec.federation.uplink import Sent, Uplink
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import Kept, Upload
from bfedrec.threads import thread_count
from consensus.crypto.ahead import Ahead
from consensus.ledger.validity import Head

TRAINING_PARTS: Final = 4
"""Number of parts in which a cohort trains on a CPU, while servers receive the parts before."""
WORTH_FORKING: Final = 2000
"""Updates of a run below which a process of their own is not worth its start."""
MOST_BYTES: Final = 2**26
"""Greatest number of bytes of a round's messages that are handed over from one process to another:
training them is nearly all compiled loops, which wait for no interpreter."""


class Cohorts:
    """Trains cohorts, and signs what they send."""

    def __init__(
        self, config: Config, learner: Learner, uplink: Uplink, ahead: Ahead | None
    ) -> None:
        """``ahead`` checks signatures before servers ask for it; None for none."""
        self._config = config
        self._learner = learner
        self._uplink = uplink
        self._ahead = ahead
        self.thread: Executor = ThreadPoolExecutor(1, thread_name_prefix="cohort")
        self.process: TrainingProcess | None = None
        """The process in which honest cohorts train; None for none."""

    def fork(self) -> None:
        """Let honest cohorts train in a process of their own from here on, where there is a
        processor for it and enough to train."""
        config, learner = self._config, self._learner
        size = config.clients.per_round * self._uplink.message_bytes
        if (
            can_fork()
            and thread_count() > 1
            and config.device == "cpu"
            and config.rounds * config.clients.per_round >= WORTH_FORKING
            and not config.compression.error_feedback
            and not learner.adversary.keeps_messages
            and size <= MOST_BYTES
        ):
            real, sign = config.crypto == "real", self._uplink.signed_all
            with suppress(OSError):
                self.process = TrainingProcess(learner, self.train, sign, real, size)

    def close(self) -> None:
        """Wait for a training in progress, and discard its result."""
        self.thread.shutdown(wait=True, cancel_futures=True)
        if self.process is not None:
            self.process.close()

    def processor_seconds(self) -> float:
        """The processor seconds that the process has used so far."""
        return 0.0 if self.process is None else self.process.processor_seconds()

    def committed(self, height: int, beacon: bytes, aggregate: bytes) -> None:
        """Note the aggregate of a committed block, which had this beacon."""
        if self.process is not None:
            self.process.committed(height, beacon, aggregate)

    def begin(
        self,
        head: Head,
        clients: np.ndarray,
        times: np.ndarray,
        feedback: ErrorFeedback | None,
        attacked: bool,
    ) -> RoundTraining[Sent]:
        """Begin the training of the round after ``head``, whose block is committed: of ``clients``
        (int64[m]) whose updates arrive at these ``times`` (float64[m])."""
        learner, height = self._learner, head.height + 1
        worker: Worker = InThread(self.thread)
        if self.process is not None and feedback is None and not attacked:
            worker = self.process.begin(height, head.beacon)
        task = learner.task(height, head.beacon)
        train = partial(self.train, height, head.beacon, task, feedback)
        begun = self.start(worker, clients, learner.P[clients], times, train, attacked)
        return begun.signed(self.sign, head)

    def trained(
        self, head: Head, clients: np.ndarray, feedback: ErrorFeedback | None
    ) -> list[Sent]:
        """Train ``clients`` (int64[m]) in the round after ``head``; return all that they send."""
        learner, height = self._learner, head.height + 1
        task, P = learner.task(height, head.beacon), learner.P[clients]
        uploads = self.train(height, head.beacon, task, feedback, clients, P)[1]
        return self.sign(head, uploads)

    def train(
        self,
        height: int,
        beacon: bytes,
        task: TrainingTask,
        feedback: ErrorFeedback | None,
        clients: np.ndarray,
        P: np.ndarray,
        beside: bool = False,
    ) -> Trained[Upload]:
        """Train ``clients`` (int64[m]) from factors ``P`` (float32[m, d]) by the task of the round
        of ``height``, with this beacon; return what they know, and their uploads as they will be
        sent once they are signed. Runs in the thread of the training: what servers change while it
        runs is not read. ``beside``: leave a processor to the servers."""
        learner = self._learner
        update, made = learner.train(height, beacon, clients, P, task, feedback, beside)
        uploads = [self._uplink.encoded(height, beacon, upload) for upload in made]
        for upload in uploads:
            payload = upload.payload if upload.message is None else upload.message.payload
            assert payload is not None
            learner.model.check_ahead(height, payload)
        return Kept(update.P, update.loss), uploads

    def sign(self, head: Head, uploads: Sequence[Upload]) -> list[Sent]:
        """``uploads`` of the round after ``head`` with their messages, which are signed. Runs in
        the thread of the training."""
        sent = self._uplink.signed_all(head, uploads)
        if self._ahead is not None:
            records = (message.record for _, message in sent)
            self._ahead.verify([(each.client, each.signed, each.signature) for each in records])
        return sent

    def start(
        self,
        worker: Worker,
        clients: np.ndarray,
        P: np.ndarray,
        times: np.ndarray,
        train: Train[Upload],
        attacked: bool = False,
    ) -> RoundTraining[Upload]:
        """Start the training of a round by a worker (`bfedrec.federation.early_training`); a cohort
        that is ``attacked`` trains as one."""
        parts = 1 if attacked else self.parts(len(clients))
        return RoundTraining(worker, train, clients, P, times, parts)

    def parts(self, clients: int) -> int:
        """The number of parts in which a cohort of honest clients trains."""
        model, at_once = self._learner.model, TRAINING_PARTS if self._config.device == "cpu" else 1
        return max(at_once, parts_for(clients, model.rank, model.items))
