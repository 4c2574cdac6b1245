"""MLflow's tracking, in a local file store."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

from bfedrec.loggers.logger import Line, Logger, Subject, logger

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "bfedrec"
IDENTITY = "bfedrec.run"
"""The tag by which a run is found again."""
MOST_PARAMETERS = 100
"""Most parameters that MLflow takes at once."""


@logger("mlflow", place=2)
class MLflow(Logger):
    """A run of MLflow: a metric per number, whose step is the height, and the options off their
    defaults as parameters.

    MLflow allows no "@" in a metric's name: "hr@10" is "hr:10" there.
    """

    meaning = "a file store in RUN/mlflow, or the store of MLFLOW_TRACKING_URI"
    library = "mlflow"
    extra = "'bfedrec[loggers]'"

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        self._own = subject.folder.resolve() / "mlflow"
        self._shared = os.environ.get("MLFLOW_TRACKING_URI", "")
        self._known: MlflowClient | None = None
        self._run_id = ""

    @property
    def _client(self) -> MlflowClient:
        if self._known is None:
            # MLflow asks for this word before it uses a file store, which needs no migrations and
            # no database library; and it tells its makers of use unless it is told not to.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
            from mlflow.tracking import MlflowClient

            self._known = MlflowClient(self._shared or self._own.as_uri())
        return self._known

    def _find(self) -> str:
        """The id of the run in MLflow; "" if there is none."""
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        if not self._run_id and experiment is not None:
            wanted = f"tags.`{IDENTITY}` = '{self.subject.identity}'"
            for run in self._client.search_runs([experiment.experiment_id], wanted):
                self._run_id = run.info.run_id
        return self._run_id

    def _begin(self) -> None:
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        at = experiment.experiment_id if experiment else self._client.create_experiment(EXPERIMENT)
        tags = {IDENTITY: self.subject.identity, "bfedrec.folder": str(self.subject.folder)}
        run = self._client.create_run(at, tags=tags, run_name=self.subject.name)
        self._run_id = run.info.run_id
        from mlflow.entities import Param

        options = [Param(key, value) for key, value in self.subject.options.items()]
        for start in range(0, len(options), MOST_PARAMETERS):
            self._client.log_batch(self._run_id, params=options[start : start + MOST_PARAMETERS])

    def lines(self) -> list[Line]:
        """The metrics of the run by step; of a metric that has two values at a step, the second
        makes a line of its own."""
        if not self._find():
            return []
        found: dict[int, dict[str, float]] = {}
        twice: list[Line] = []
        for name in self._client.get_run(self._run_id).data.metrics:
            for metric in self._client.get_metric_history(self._run_id, name):
                key, line = name.replace(":", "@"), found.setdefault(metric.step, {})
                if key in line:
                    twice.append({"height": metric.step, key: metric.value})
                line[key] = metric.value
        return [*twice, *({"height": step, **found[step]} for step in sorted(found))]

    def clear(self) -> None:
        """Delete the run; of the store in its folder also what cannot be read."""
        if not self._shared:
            # Not the store itself, which MLflow keeps open in this process.
            for experiment in self._own.glob("[1-9]*"):
                shutil.rmtree(experiment)
        elif self._find():
            self._client.delete_run(self._run_id)
        self._run_id = ""

    def add(self, line: Line) -> None:
        """Log the metrics of a height at once."""
        from mlflow.entities import Metric

        if not self._find():
            self._begin()
        now, step = time.time_ns() // 1_000_000, int(line["height"])
        metrics = [
            Metric(name.replace("@", ":"), value, now, step)
            for name, value in line.items()
            if name != "height"
        ]
        self._client.log_batch(self._run_id, metrics=metrics)

    def close(self, finished: bool) -> None:
        """Set the state of the run: FINISHED, or KILLED where it can be continued."""
        if self._find():
            self._client.set_terminated(self._run_id, "FINISHED" if finished else "KILLED")
