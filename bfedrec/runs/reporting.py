"""The scores that a run reports: a line of metrics at each evaluation, and the test items' figures
in the summary, with the model and the ranks of the round that `evaluation.select` names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.dataset import Dataset
from bfedrec.evaluation.metrics import labelled
from bfedrec.federation.learner import Learner
from bfedrec.federation.scoring import Scores, Scoring
from bfedrec.runs.figures import Figures, Scalar, count, number
from bfedrec.runs.folder import RunFolder
from bfedrec.runs.progress import Evaluated, Event, Note
from bfedrec.runs.ranks import Ranks
from bfedrec.runs.selection import chosen, reported, tested


def check_selectable(config: Config, data: Dataset) -> None:
    """Raise ConfigError for a round to be chosen, or a run to be ended, by validation items that
    the data do not have."""
    evaluation = config.evaluation
    if (data.validation >= 0).any():
        return
    for key, asked in (
        ("select", evaluation.select == "validation"),
        ("patience", evaluation.patience),
    ):
        if asked:
            told = f"evaluation.{key}: {getattr(evaluation, key)}"
            raise ConfigError(f"{told}: no user of {data.name} has a validation item")


class Reporting:
    """The scoring of a learner into a run's folder."""

    def __init__(self, folder: RunFolder, learner: Learner, tell: Callable[[Event], None]) -> None:
        """``tell``: shows each evaluation. Raises ConfigError for target items that do not
        exist."""
        self.folder = folder
        self.learner = learner
        self.data = learner.scored
        self.evaluation = learner.config.evaluation
        self._targets = learner.targets()
        self._tell = tell

    def is_due(self, height: int) -> bool:
        """True if the model is scored at this height."""
        return height % self.evaluation.every == 0 or height == self.learner.config.rounds

    def has_line(self, height: int) -> bool:
        """True if the metrics have a line of this height."""
        lines = self.folder.metrics()
        return bool(lines) and count(lines[-1], "height") >= height

    def ends_early(self, height: int) -> bool:
        """True, and told, if the evaluation at this height ends the run: if the last
        `evaluation.patience` of them have no better NDCG than those before."""
        patience, name = self.evaluation.patience, f"ndcg@{self.evaluation.k}"
        if not patience or not self.is_due(height):
            return False
        scores = [number(line, name) for line in self.folder.metrics()]
        if len(scores) <= patience or max(scores[-patience:]) > max(scores[:-patience]):
            return False
        told = f"no better NDCG in {patience} evaluations: ends after {height} rounds"
        self._tell(Note(told))
        return True

    def validate(self, height: int, loss: float | None, more: Mapping[str, Scalar]) -> None:
        """Score the validation items and append the metrics of this height: the mean training loss
        of its cohort, the scores, and ``more``."""
        k, scoring = self.evaluation.k, self.learner.scoring()
        line: dict[str, Scalar] = {"height": height}
        if loss is not None:
            line["loss"] = loss
        if (self.data.validation >= 0).any():
            scores = scoring.evaluate("validation", k, full=False).means()
            line |= {"split": "validation", **scores}
            self._tell(Evaluated(height, "validation", labelled(scores, k)))
        line |= self._exposure(scoring)
        if self.evaluation.select != "last":
            line |= self._tested(line, scoring)
        self.folder.append_metrics({**line, **more})

    def finish(self, height: int) -> dict[str, Scalar]:
        """The figures of the test items at the end, which came at ``height``; the model and ranks
        are those of the same round."""
        found = self._scored_last(height) if self.evaluation.select == "last" else self._chosen()
        return {**found, "users_scored": int((self.data.test >= 0).sum())}

    def _tested(self, line: Figures, scoring: Scoring) -> dict[str, Scalar]:
        """Score the test items at the height of this line; if it is the best so far, its model and
        ranks are the run's. A resume repeats the heights that lost their lines, and with them what
        these left."""
        evaluation = self.evaluation
        scores = scoring.evaluate("test", evaluation.k, full=evaluation.full_ranking)
        figures = tested(scores.means())
        lines = [*self.folder.metrics(), {**line, **figures}]
        if chosen(lines, evaluation.select, evaluation.k) is lines[-1]:
            self._write_model(scores)
        return figures

    def _write_model(self, scores: Scores) -> None:
        self.folder.write_model(self.learner.Q)
        ranks = Ranks.of(scores.blind, self.data.users, scores.ordered)
        self.folder.write_ranks(ranks.encode())

    def _exposure(self, scoring: Scoring) -> dict[str, float]:
        """ER@K of the target items over the honest clients' users; empty without targets."""
        return scoring.exposure(self._targets, self.evaluation.k, self.learner.asked)

    def _scored_last(self, height: int) -> dict[str, Scalar]:
        """Score the test items, once; write the model and the ranks; return their figures."""
        k, scoring = self.evaluation.k, self.learner.scoring()
        scores = scoring.evaluate("test", k, full=self.evaluation.full_ranking)
        means = scores.means()
        self._tell(Evaluated(height, "test", labelled(means, k)))
        self._write_model(scores)
        return {**means, **self._exposure(scoring)}

    def _chosen(self) -> dict[str, Scalar]:
        """The figures of the round that was chosen among those scored."""
        evaluation = self.evaluation
        line = chosen(self.folder.metrics(), evaluation.select, evaluation.k)
        found = reported(line, evaluation.select, evaluation.k)
        means = {name: float(found[name]) for name in found if name.endswith(f"@{evaluation.k}")}
        height = count(line, "height")
        self._tell(Evaluated(height, "test", labelled(means, evaluation.k)))
        return found
