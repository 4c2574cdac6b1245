"""A run's folder as an object: its config, its figures as frames, its model and its chain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from bfedrec.api.chain import Chain
from bfedrec.config.schema import Config
from bfedrec.runs import folder
from bfedrec.runs.folder import RunError

if TYPE_CHECKING:  # slow to load
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

    from bfedrec.api.explorer import Explorer
    from bfedrec.data.dataset import Dataset
    from bfedrec.runs.auditing import Audited


def load(path: str | Path) -> Run:
    """The run in a folder, finished or not. Raises `bfedrec.runs.folder.RunError` for a folder that
    holds none."""
    run = Path(path)
    if not (run / "config.yaml").is_file():
        raise RunError(f"{run}: not a run folder: it has no config.yaml")
    return Run(run)


class Run:
    """A run in its folder. Everything is read when it is asked for; nothing is changed.

    All properties and methods raise `bfedrec.runs.folder.RunError`, in one line, for files that are
    missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        """The run's folder."""

    def __repr__(self) -> str:
        return f"bfedrec.load({str(self.path)!r})"

    @cached_property
    def config(self) -> Config:
        """The config that it was made with."""
        from bfedrec.runs.recommend import config_of

        return config_of(self.path)

    @property
    def finished(self) -> bool:
        """True if it came to its end."""
        return folder.finished(self.path)

    @property
    def summary(self) -> Mapping[str, str | int | float]:
        """The figures of the whole run by name: those of the test items ("hr@10"), bytes,
        seconds, the chain's head. Of a run whose servers could not go on, those until then."""
        if not (self.finished or folder.stopped(self.path)):
            raise RunError(f"{self.path}: not finished: run() with the same config continues it")
        return folder.read_summary(self.path)

    @property
    def metrics(self) -> pd.DataFrame:
        """A row per evaluation, by height: loss, metrics of the validation items, totals."""
        import pandas as pd

        lines = folder.read_metrics(self.path)
        return pd.DataFrame(lines, columns=None if lines else ["height"]).set_index("height")

    @property
    def users(self) -> pd.DataFrame:
        """A row per user with a test item, by the user's number in the data set: its rank (0 is the
        best) and every metric, among the sampled negatives and in full ranking (`full_`), and both
        by recency (`ordered_`), as far as the run has them. `data` has the users' ids."""
        import pandas as pd

        from bfedrec.evaluation.metrics import METRICS
        from bfedrec.runs.ranks import read

        ranks = read(self.path)
        if ranks is None:
            raise RunError(f"{self.path}: no ranks.npz: the run is not finished, or of an old kind")
        k = self.config.evaluation.k
        columns: dict[str, np.ndarray] = {}
        for name, found in vars(ranks).items():
            if found is None:
                continue
            of_scored = columns[name] = found[ranks.scored]
            before = name.removesuffix("rank")
            for metric, kind in METRICS.items():
                columns[f"{before}{metric}@{k}"] = kind().of(of_scored, k)
        users = pd.Index(ranks.scored.nonzero()[0], name="user")
        return pd.DataFrame(columns, index=users)

    @property
    def heights(self) -> pd.DataFrame:
        """A row per height, of what the servers did in it: the ``outcome``, simulated ``seconds``,
        ``attempts`` and how those before the last ended (``lost``), ``messages``, ``bytes``,
        ``refused`` messages, proofs of ``evidence``, ``updates``, and whether malicious servers had
        a model of their own certified (``captured``); and the greatest ``delay`` between honest
        servers in simulated seconds, as far as it was measured."""
        import pandas as pd

        from bfedrec.api.heights import rows_of

        rows = rows_of(self.path)
        return pd.DataFrame(rows, columns=None if rows else ["height"]).set_index("height")

    @property
    def trace(self) -> pd.DataFrame:
        """A row per delivery of a message between servers, of a run made with ``trace=True``;
        `bfedrec.runs.messages.COLUMNS` has the columns. Of a run that goes on, those of the heights
        that are over. It is as long as the run: ``trace_of(height)`` reads one height."""
        from bfedrec.api.traces import frame_of

        return frame_of(self.path)

    def trace_of(self, height: int) -> pd.DataFrame:
        """The rows of `trace` of one height."""
        from bfedrec.api.traces import frame_of

        return frame_of(self.path, height)

    @property
    def model(self) -> np.ndarray:
        """The global item matrix Q, float32[N, d], of the round that is reported; a method without
        factors has other arrays (`tensors`)."""
        tensors = self.tensors
        if "Q" not in tensors:
            raise RunError(f"{self.path / folder.MODEL}: no Q, but {', '.join(tensors)}")
        return tensors["Q"]

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """All arrays of the model's file by name."""
        path = self.path / folder.MODEL
        try:
            size = path.stat().st_size
        except OSError:
            raise RunError(f"{path}: no such file: the run is not finished") from None
        return folder.read_tensors(path, size)

    @cached_property
    def data(self) -> Dataset:
        """The data set that it was made on, prepared again if need be."""
        from bfedrec.runs.recommend import data_of

        return data_of(self.path, self.config)

    @cached_property
    def chain(self) -> Chain:
        """Its blocks, with their votes and updates."""
        path = self.path / folder.CHAIN
        if not path.exists():
            raise RunError(f"{self.path}: has no chain")
        return Chain(path)

    def audit(self, head: str | None = None) -> Audited:
        """The outcome of an audit of its chain: everything is verified again from the bytes.

        ``head``: the CID that the run printed at its end, which the chain has to end with. Raises
        ValueError for a text that is no CID.
        """
        from bfedrec.runs.auditing import audited
        from consensus.encoding.cid import parse_cid

        return audited(self.path, None if head is None else parse_cid(head))

    def privacy(
        self,
        attacks: Sequence[str] = (),
        holder: str = "server:0",
        rounds: Iterable[int] | None = None,
    ) -> pd.DataFrame:
        """The results of inference attacks on its clients, a row per attack: users, updates, and
        figures as docs/privacy.md explains them (``auc``: 0.5 is nothing found, 1 everything).

        ``attacks``: their names, without any all; ``holder``: the party that attacks,
        ``server:INDEX``, ``colluding:COUNT`` or ``reader``; ``rounds``: the rounds that it sees,
        None for all. ``frame.attrs["notes"]`` tells what was not attacked, and why. Raises
        ConfigError for an unknown attack or holder, and RunError for a run without clients.
        """
        import pandas as pd

        from bfedrec.config.yaml_core import ConfigError
        from bfedrec.privacy.registry import INFERENCES
        from bfedrec.runs.privacy import attack

        for name in attacks:
            if name not in INFERENCES:
                known = f"{', '.join(INFERENCES)}{INFERENCES.nearest(name)}"
                raise ConfigError(f"attacks: {name!r}: not one of {known}")
        seen = None if rounds is None else [range(each, each + 1) for each in rounds]
        found = attack(self.path, holder, attacks, seen)
        frame = pd.DataFrame.from_dict(found.figures(), orient="index").rename_axis("attack")
        frame.attrs["notes"] = found.notes
        return frame

    def plot(self, out: str | Path | None = None) -> Figure:
        """Its curves: what was learnt over the rounds, and what a round took. ``out``: also written
        to this file (.png, .pdf, .svg)."""
        from bfedrec.report.curves import drawn
        from bfedrec.report.style import save, styled

        with styled():
            figure = drawn(self.path)
            if out is not None:
                save(figure, Path(out))
        return figure

    def recommend(self, top: int = 10, users: str | None = None) -> pd.DataFrame:
        """The lists of its users: ids of user and item (`q_id`, `doc_id`) and the score, as
        `bfedrec recommend` writes them. ``users``: only these, by their ids, as "1,7"."""
        import tempfile

        import pandas as pd

        from bfedrec.runs.recommend import write_lists

        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / "lists.csv"
            write_lists(self.path, top, out, users)
            texts = {"q_id": str, "doc_id": str}
            # An id may be spelt like what pandas takes for a gap, as NA.
            return pd.read_csv(out, dtype=texts, keep_default_na=False)

    def explore(self, open_browser: bool = True) -> Explorer:
        """Its pages in a browser, served on loopback until the program ends or `Explorer.close` is
        called. ``open_browser``: False only serves them."""
        from bfedrec.api.explorer import Explorer

        return Explorer(self.path, open_browser)

    def _repr_html_(self) -> str:
        rows = {"folder": str(self.path), "method": self.config.method}
        if self.finished or folder.stopped(self.path):
            shown = [name for name in self.summary if "@" in name or name in ("rounds", "head")]
            rows |= {name: _told(self.summary[name]) for name in shown}
        else:
            lines = folder.read_metrics(self.path)
            rows["state"] = f"not finished, evaluated at {len(lines)} heights"
        cells = (
            f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(value)}</td></tr>"
            for name, value in rows.items()
        )
        return f"<table><caption>bfedrec run</caption>{''.join(cells)}</table>"


def _told(value: str | int | float) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
