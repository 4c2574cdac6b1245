"""Recommendation lists from a finished run's folder, as a file that others read.

The rows are those of a run in the sense of retrieval (`ranx`): q_id, the user's id in the source;
doc_id, the item's; score. Both ids are text. The lists are those of
`bfedrec.evaluation.recommendation`, under the scores of the run's own evaluation.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bfedrec.config.load import config_digest, parse
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import COMMAND_LINE, MOST_BYTES, ConfigError
from bfedrec.data.dataset import Dataset
from bfedrec.data.prepare import prepare
from bfedrec.evaluation.recommendation import Lists, recommend, recommend_blocks
from bfedrec.federation.learner import initial_private
from bfedrec.federation.scoring import Scoring, scoring_of
from bfedrec.files import whole_file
from bfedrec.runs.figures import BadFigure, count
from bfedrec.runs.folder import (
    HEAD_BYTES,
    MODEL,
    RunError,
    check_made_on,
    finished,
    read_json,
    read_summary,
    read_tensors,
    read_text,
)
from bfedrec.runs.memory import check_memory
from bfedrec.runs.state import RunState, StateError

COLUMNS = ("q_id", "doc_id", "score")
MOST_ITEMS = 1000
"""Longest list."""

Write = Callable[[Sequence[str], Sequence[str], np.ndarray], None]
"""Appends rows to a file: their q_id and doc_id, and their scores, float64."""


def scoring_at_rest(
    run: Path, threads: int | None = None, data: Dataset | None = None
) -> tuple[Config, Scoring]:
    """The config of a finished run, and the scoring of its model. ``data``: those of the run
    (`data_of`), if they are prepared already.

    The private factors of clients that keep some come from RUN/state.sqlite. Raises `RunError`,
    `StateError`, ConfigError and DataError, each one line, for a folder or data that do not fit.
    """
    config = config_of(run)
    if config.method != "federated":
        raise RunError(f"{run}: a run of method {config.method}, which has no clients")
    if not finished(run):
        raise RunError(f"{run}: not a finished run: continue it with --resume")
    rounds, reported = _rounds(run)
    data = data_of(run, config) if data is None else data
    check_memory(config, data)
    d, method = config.model.dimension, config.training.chosen
    shape = (data.items + method.shared_rows(d), d)
    path = run / MODEL
    Q = read_tensors(path, 4 * shape[0] * shape[1] + HEAD_BYTES).get("Q")
    if Q is None or Q.shape != shape or Q.dtype != np.float32:
        raise RunError(f"{path}: expected Q, float32 {shape}")
    P = initial_private(config, data.users, data.items)
    if method.keeps_factors:
        P = _kept(run / "state.sqlite", config, P, rounds, reported)
    return config, scoring_of(config, data, Q, P, threads)


def data_of(run: Path, config: Config) -> Dataset:
    """The data of a run with this config. Raises DataError, and `RunError` for data of another
    digest than the run's manifest has."""
    data = prepare(config.data)
    check_made_on(run, read_json(run / "manifest.json"), data.digest, data.places_digest)
    return data


def config_of(run: Path) -> Config:
    """The config of a run's folder. Raises `RunError` and ConfigError."""
    path = run / "config.yaml"
    try:
        return parse(read_text(path, MOST_BYTES), str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{run}: not a run folder: it has no config.yaml") from None


def _rounds(run: Path) -> tuple[int, int]:
    """The number of a run's rounds, and the round whose model it reports (`evaluation.select`)."""
    try:
        summary = read_summary(run)
        rounds = count(summary, "rounds")
        reported = count(summary, "selected_height") if "selected_height" in summary else rounds
        if not 0 <= reported <= rounds:
            raise BadFigure(f"selected_height: {reported} of {rounds} rounds")
        return rounds, reported
    except BadFigure as error:
        raise RunError(f"{run / 'summary.json'}: {error}") from None


def _kept(
    path: Path, config: Config, initial: np.ndarray, rounds: int, reported: int
) -> np.ndarray:
    """The private numbers of clients after round ``reported`` of so many, float32[M, w]."""
    if not path.exists():
        raise StateError(f"{path}: no such file, and it holds the clients' own factors")
    with RunState(path, read_only=True, digest=config_digest(config)) as state:
        if state.last_height != rounds:
            raise StateError(f"{path}: has {state.last_height} rounds, and the run {rounds}")
        return state.load_factors(initial, reported)


def chosen_users(data: Dataset, ids: str | None) -> np.ndarray:
    """The users (int64[n], ascending) with these ids in the source, separated by commas; all
    without. Raises ConfigError naming an id that nobody has."""
    if ids is None:
        return np.arange(data.users)
    places = {str(each): place for place, each in enumerate(data.user_ids)}
    wanted = [word.strip() for word in ids.split(",")]
    for word in wanted:
        if word not in places:
            raise ConfigError(f"{COMMAND_LINE}: --users {word[:80]!r}: no user of {data.name}")
    return np.unique([places[word] for word in wanted])


def write_lists(
    run: Path,
    k: int,
    out: Path,
    ids: str | None = None,
    ordered: bool = False,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[int, int]:
    """Write the lists of ``k`` items of a finished run's users to a file, whole or not at all;
    return the numbers of users and of rows.

    ``out``: .parquet or .csv. ``ids``: as for `chosen_users`. ``ordered``: score with factors that
    weigh interactions by recency. ``tell`` is called with the users done, and all. Raises as
    `scoring_at_rest` and `bfedrec.evaluation.recommendation.recommend`, and ConfigError for what
    cannot be asked for.
    """
    if not 1 <= k <= MOST_ITEMS:
        raise ConfigError(f"{COMMAND_LINE}: --top {k}: expected 1 to {MOST_ITEMS}")
    writer = _writer_of(out)
    if ordered and not config_of(run).evaluation.recency:
        raise ConfigError(
            f"{COMMAND_LINE}: --ordered: {run} was made with evaluation.recency=false"
        )
    _, scoring = scoring_at_rest(run)
    users = chosen_users(scoring.data, ids)
    done = rows = 0
    with whole_file(out) as file, writer(file) as write:
        for lists in lists_of(scoring, users, k, ordered):
            write(*_rows(lists, scoring.data))
            done, rows = done + len(lists.users), rows + int(lists.lengths.sum())
            tell(done, len(users))
    return done, rows


def lists_of(
    scoring: Scoring, users: np.ndarray, k: int, ordered: bool, threads: int | None = None
) -> Iterator[Lists]:
    """The lists of ``k`` items of ``users`` (int64[n]), some users at a time. ``ordered``: by the
    factors that weigh interactions by recency, which the scoring must have."""
    if ordered:
        assert scoring.ordered is not None
        return recommend(*scoring.ordered, scoring.data, users, k, threads)
    if scoring.scorer is not None:
        return recommend_blocks(scoring.scorer, scoring.data, users, k, threads)
    return recommend(scoring.P, scoring.Q, scoring.data, users, k, threads)


def _rows(lists: Lists, data: Dataset) -> tuple[list[str], list[str], np.ndarray]:
    there = np.arange(lists.items.shape[1]) < lists.lengths[:, None]
    users = np.repeat(lists.users, lists.lengths)
    return (
        [str(each) for each in data.user_ids[users]],
        [str(each) for each in data.item_ids[lists.items[there]]],
        lists.scores[there].astype(np.float64),
    )


@contextmanager
def _csv(file: BinaryIO) -> Iterator[Write]:
    """CSV with a line of names. A score is the shortest decimal that gives the same float64."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    yield lambda users, items, scores: writer.writerows(
        zip(users, items, scores.tolist(), strict=True)
    )
    text.flush()
    text.detach()


@contextmanager
def _parquet(file: BinaryIO) -> Iterator[Write]:
    """Parquet with a row group for each call."""
    import pyarrow
    from pyarrow import parquet

    kinds = (pyarrow.string(), pyarrow.string(), pyarrow.float64())
    schema = pyarrow.schema(list(zip(COLUMNS, kinds, strict=True)))
    with parquet.ParquetWriter(file, schema) as writer:
        yield lambda *columns: writer.write_table(
            pyarrow.table([pyarrow.array(column) for column in columns], schema=schema)
        )


FORMATS = {".csv": _csv, ".parquet": _parquet}


def _writer_of(out: Path) -> Callable[[BinaryIO], AbstractContextManager[Write]]:
    """The writer for a file's suffix. Raises ConfigError for another, or without its library."""
    writer = FORMATS.get(out.suffix)
    if writer is None:
        raise ConfigError(f"{COMMAND_LINE}: --out {out}: expected {' or '.join(FORMATS)}")
    if writer is _parquet and find_spec("pyarrow") is None:
        raise ConfigError(
            f"{COMMAND_LINE}: --out {out}: this needs pyarrow: pip install 'bfedrec[recommend]', "
            "or name a .csv"
        )
    return writer
