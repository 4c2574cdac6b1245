"""The round whose test figures a run reports: `evaluation.select`.

By default it is the last one, whose test items are scored once. Otherwise the test items are scored
whenever the model is, and the lines of RUN/metrics.jsonl, which survive a kill, say which round it
is: the first with the best NDCG@K of the validation items (`validation`), or of the test items
themselves (`test`), as some papers have it. What is chosen on test items is not honest, and the
summary says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bfedrec.runs.figures import Figures, Scalar, count, number

TESTED = "test_"
"""Prefix of a metric of the test items in the lines of metrics.jsonl."""
TOLD = {
    "validation": "validation items",
    "test": "chosen on test items: not honest",
}
"""The words of the summary, by the value of `evaluation.select`."""


def tested(means: Mapping[str, float]) -> dict[str, Scalar]:
    """The metrics of the test items, by their names in a line of metrics.jsonl."""
    return {f"{TESTED}{name}": mean for name, mean in means.items()}


def chosen(lines: Sequence[Figures], select: str, k: int) -> Figures:
    """The line of the round that is reported: the first of those that are best.

    ``select``: `validation` or `test`. Raises KeyError for a line without the figure it goes by,
    and ValueError without lines.
    """
    name = f"{TESTED if select == 'test' else ''}ndcg@{k}"
    return max(lines, key=lambda line: number(line, name))


def reported(line: Figures, select: str, k: int) -> dict[str, Scalar]:
    """The part of the summary that the chosen line gives: the figures of the test items, the
    exposure of target items, and how the round was chosen."""
    figures: dict[str, Scalar] = {
        name.removeprefix(TESTED): value for name, value in line.items() if name.startswith(TESTED)
    }
    exposure = {name: value for name, value in line.items() if name == f"er@{k}"}
    return (
        figures
        | exposure
        | {
            "selected_by": TOLD[select],
            "selected_height": count(line, "height"),
        }
    )
