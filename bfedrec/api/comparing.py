"""`compare`: the settings of a sweep beside each other, with intervals over users and seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bfedrec.api.finished import Run
from bfedrec.config.yaml_core import ConfigError
from bfedrec.runs.folder import read_json

if TYPE_CHECKING:  # slow to load
    import pandas as pd

    from bfedrec.evaluation.statistics import Scores

Setting = tuple[Any, ...]


def compare(
    runs: pd.DataFrame,
    by: str | Sequence[str],
    metric: str = "ndcg@10",
    against: Any = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """The mean score of each setting with its interval, and its lead over one of them.

    ``runs``: a frame as `sweep` returns it, with a row per run and its folder as ``path``. ``by``:
    the column or columns that tell the settings apart. ``metric``: a column of `Run.users`.
    ``against``: the setting that the others are compared with; None for the first.

    A row per setting, of which a list or a section is told in JSON: ``seeds``, ``users``; ``mean``,
    ``low`` and ``high``, an interval that covers another draw of seeds and of users; ``lead`` over
    ``against`` by the same users, ``lead_low``, ``lead_high``, and ``p``, two-sided, by Holm
    corrected for the number of settings compared (`bfedrec.evaluation.statistics` has the model).
    With one seed the interval is over users alone. Raises ConfigError for a column, a metric or a
    setting that is not there and for runs that do not test the same users, and
    `bfedrec.runs.folder.RunError` for a run that is not finished. Of runs on different data, as of
    another ``data.validation``, the users are told by their ids in the source, for which the data
    are prepared again if need be.
    """
    import pandas as pd

    from bfedrec.evaluation.statistics import crossed_difference, crossed_mean, holm

    names = [by] if isinstance(by, str) else list(dict.fromkeys(by))
    scores = _scores(runs, names, metric)
    base = _base(against, list(scores), names)
    rows: list[dict[str, object]] = []
    leads: list[tuple[int, float]] = []
    for setting, own in scores.items():
        found = crossed_mean(own)
        span = found.interval(confidence)
        row = {**dict(zip(names, setting, strict=True)), "seeds": len(own), "users": found.users}
        row |= {"mean": span.mean, "low": span.low, "high": span.high}
        if setting != base:
            lead = crossed_difference(own, scores[base])
            between = lead.interval(confidence)
            row |= {"lead": lead.mean, "lead_low": between.low, "lead_high": between.high}
            leads.append((len(rows), lead.p))
        rows.append(row)
    for (place, _), corrected in zip(leads, holm([p for _, p in leads]), strict=True):
        rows[place]["p"] = corrected
    columns = [*names, "seeds", "users", "mean", "low", "high", "lead", "lead_low", "lead_high"]
    return pd.DataFrame(rows, columns=[*columns, "p"]).set_index(names)


def _scores(runs: pd.DataFrame, names: list[str], metric: str) -> dict[Setting, Scores]:
    """The scores of each setting's runs, float64[S, U]: a row for each run, a column for each user
    that has a test item."""
    import numpy as np

    lacking = [name for name in [*names, "path"] if name not in runs.columns]
    if lacking or not names:
        known = ", ".join(map(str, runs.columns[:20]))
        raise ConfigError(f"by: no column {', '.join(lacking) or 'named'}; the frame has {known}")
    found: dict[Setting, Scores] = {}
    first: Run | None = None
    keyed = runs.assign(**{name: runs[name].map(_key) for name in names})
    for setting, group in keyed.groupby(names, sort=False, dropna=False):
        rows = []
        for path in dict.fromkeys(group["path"]):  # a run is one sample, however often it is named
            run = Run(Path(path))
            users = run.users
            if metric not in users.columns:
                raise ConfigError(f"metric: {metric!r}: not one of {', '.join(users.columns)}")
            first = run if first is None else first
            if not _same_users(run, first):
                raise ConfigError(f"{path}: does not test the same users as the first run")
            rows.append(users[metric].to_numpy(dtype=np.float64))
        values = setting if isinstance(setting, tuple) else (setting,)
        # pandas' groups have NaN for None, which would be equal to no setting that is asked for.
        found[tuple(None if _missing(value) else value for value in values)] = np.stack(rows)
    if not found:
        raise ConfigError("runs: the frame has no rows")
    return found


def _key(value: Any) -> Any:
    """A value by which settings are grouped: a list or a section as text, in JSON."""
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def _same_users(run: Run, first: Run) -> bool:
    """True if two runs test the same users. Runs on other data number them otherwise, so that those
    are prepared for their ids."""
    at, of_first = (each.users.index.to_numpy() for each in (run, first))
    if at.shape != of_first.shape or not (at == of_first).all():
        return False
    one, other = (
        read_json(each.path / "manifest.json").get("data_digest") for each in (run, first)
    )
    if one == other:
        return True
    ids, of_first_ids = (each.data.user_ids[at] for each in (run, first))
    return bool(ids.dtype.kind == of_first_ids.dtype.kind and (ids == of_first_ids).all())


def _missing(value: Any) -> bool:
    """True for None, and for what pandas has in its place."""
    import pandas as pd

    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _base(against: Any, settings: list[Setting], names: list[str]) -> Setting:
    """The setting that others are compared with."""
    if against is None:
        return settings[0]
    base = tuple(map(_key, against)) if len(names) > 1 else (_key(against),)
    if base not in settings:
        known = ", ".join(str(each if len(names) > 1 else each[0]) for each in settings)
        raise ConfigError(f"against: {against!r}: not one of {known}")
    return base
