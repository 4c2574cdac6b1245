"""The private state of a run, for a resume: clients' private factors, counters, simulated time.

None of it may be on the chain. RUN/state.sqlite has one row per height, appended when the height is
done. A process killed at any moment leaves all rows up to some height, each of them whole. Under
error feedback (`bfedrec.compression.error_feedback`) the residuals of clients' updates are appended
in the same transaction. A client's residual is large, and each replaces the one before, which is
deleted as soon as no resume can need it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfedrec.runs.figures import GREATEST, number
from bfedrec.runs.totals import Totals
from consensus.simulation.checkpoint import Standing
from consensus.storage.closing import Closing
from consensus.storage.regular import at_rest, check_database

SCHEMA = """
CREATE TABLE IF NOT EXISTS rounds (
    height INTEGER PRIMARY KEY,
    clients BLOB NOT NULL,
    factors BLOB NOT NULL,
    simulated_seconds REAL NOT NULL,
    counters TEXT NOT NULL
) STRICT
"""
RESIDUALS = """
CREATE TABLE IF NOT EXISTS residuals (
    client INTEGER NOT NULL,
    height INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (client, height)
) STRICT
"""


class StateError(ValueError):
    """Error: a state that cannot be read, or a row that does not follow the last one."""


@dataclass(frozen=True)
class RoundState:
    """State after one height: the clients that trained, their factors, and the run's totals."""

    height: int
    clients: NDArray[np.int64]
    """int64[m]: ids of the clients that trained."""
    factors: NDArray[np.float32]
    """float32[m, d]: their new p_u."""
    simulated_seconds: float
    """Simulated time in seconds when the height was done."""
    wall_seconds: float
    """Seconds of real time since the run's start, those of earlier processes included."""
    loss: float
    """Mean training loss over the clients of the height."""
    totals: Totals = field(default_factory=Totals)
    """Sums over the rounds since the start."""
    standing: Standing = field(default_factory=Standing)
    """The servers' standing, with which a resumed run begins."""

    def counters(self) -> str:
        """The text of the column of that name: JSON with sorted keys."""
        node = self.totals.to_node() | {
            "wall_seconds": self.wall_seconds,
            "loss": self.loss,
            "standing": self.standing.to_node(),
        }
        return json.dumps(node, sort_keys=True, allow_nan=False)


class RunState(Closing):
    """The rows of RUN/state.sqlite, one per height from 1 on, without gaps. A context manager.

    Raises `StateError` for a file that is not such a state. With ``read_only`` it neither creates
    nor changes any file; no other process may be writing it.
    """

    def __init__(
        self,
        path: Path,
        keeps_residuals: bool = False,
        read_only: bool = False,
        checkpoint_every: int = 1,
        digest: bytes = b"",
    ) -> None:
        """``checkpoint_every``: heights between two after which a run can be resumed; the
        residuals from before the last of them are kept. ``digest``: that of the run's config
        (`bfedrec.config.load.config_digest`), to which a new file is bound; a file of another one
        is refused; empty: no file is."""
        self._path = path
        self._keeps_residuals = keeps_residuals
        self._checkpoint_every = checkpoint_every
        try:
            check_database(path)
        except OSError as error:
            raise StateError(f"{error.filename}: {error.strerror}") from None
        with self._readable():
            if read_only:
                self._database = sqlite3.connect(at_rest(path), uri=True, isolation_level=None)
                self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
                if digest:
                    self._check_bound(_mark(digest))
                return
            self._database = sqlite3.connect(path, isolation_level=None)
            # In WAL mode a commit survives the death of the process at once; a power cut may take
            # the last rows, never the order or wholeness of those before.
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            if digest:
                self._bind(digest)
            self._database.execute(SCHEMA)
            if keeps_residuals:
                self._database.execute(RESIDUALS)

    def _bind(self, digest: bytes) -> None:
        """Bind a new file to a run, or raise `StateError` for another run's."""
        mark = _mark(digest)
        self._check_bound(mark)
        if not self._rows("SELECT 1 FROM sqlite_master LIMIT 1"):
            self._database.execute(f"PRAGMA user_version = {mark}")

    def _check_bound(self, mark: int) -> None:
        """Raise `StateError` for a file whose mark is another; 0 is that of a file from before
        there were marks, or of a new one."""
        (found,) = self._rows("PRAGMA user_version")[0]
        if found not in (0, mark):
            self._database.close()
            raise StateError(
                f"{self._path}: the state of another run, with another config or seed; restore "
                "this run's, or start anew in another folder"
            )

    def close(self) -> None:
        """Close the file; rows appended are kept."""
        self._database.close()

    @property
    def last_height(self) -> int:
        """The greatest height with a row; 0 if there is none."""
        return int(self._rows("SELECT coalesce(max(height), 0) FROM rounds")[0][0])

    def append(self, state: RoundState, residuals: Mapping[int, bytes] | None = None) -> None:
        """Append the row of the height after the last; raises `StateError` for any other, and
        `bfedrec.learning.upload.Diverged` for a loss that no figure can tell.

        ``residuals``: new residuals by client that sent an update, if the state keeps them.
        """
        expected = self.last_height + 1
        if state.height != expected:
            raise StateError(f"{self._path}: height {expected} is next, got {state.height}")
        if state.factors.ndim != 2 or len(state.factors) != len(state.clients):
            raise StateError(
                f"{self._path}: {len(state.clients)} clients, factors {state.factors.shape}"
            )
        if not -GREATEST < state.loss < GREATEST:  # nor is it NaN
            from bfedrec.learning.upload import Diverged  # slow to load

            raise Diverged(
                f"round {state.height}: the mean training loss is {state.loss:g}; lower the steps "
                "of training (item_step, user_step) or model.init_scale, or malicious clients have "
                "destroyed the model"
            )
        row = (
            state.height,
            np.ascontiguousarray(state.clients, "<i8").tobytes(),
            np.ascontiguousarray(state.factors, "<f4").tobytes(),
            float(state.simulated_seconds),
            state.counters(),
        )
        with self._transaction():
            self._database.execute("INSERT INTO rounds VALUES (?, ?, ?, ?, ?)", row)
            if self._keeps_residuals:
                self._append_residuals(state.height, residuals or {})

    def _append_residuals(self, height: int, residuals: Mapping[int, bytes]) -> None:
        rows = ((client, height, data) for client, data in residuals.items())
        self._database.executemany("INSERT INTO residuals VALUES (?, ?, ?)", rows)
        # The chain has the height before this one, and may be left without this one. Whoever
        # resumes at the last checkpoint up to there may have to train that height again
        # (`Federation.recall`), with what clients kept before it: the last of the heights below it.
        chain, every = height - 1, self._checkpoint_every
        if chain % every == 0:
            self._database.execute(
                "DELETE FROM residuals WHERE client IN "
                "(SELECT client FROM residuals WHERE height >= ? AND height < ?) "
                "AND height < (SELECT max(height) FROM residuals AS later "
                "WHERE later.client = residuals.client AND later.height < ?)",
                (chain - every, chain, chain),
            )

    def residuals(self, height: int, clients: Iterable[int]) -> dict[int, bytes]:
        """The residuals of these clients before a height, by client.

        Clients that had not sent an update before are left out.
        """
        query = (
            "SELECT data FROM residuals WHERE client = ? AND height < ? "
            "ORDER BY height DESC LIMIT 1"
        )
        found = ((client, self._rows(query, client, height)) for client in clients)
        return {client: rows[0][0] for client, rows in found if rows}

    def row(self, height: int) -> RoundState:
        """The row of a height; raises `StateError` if there is none."""
        rows = self._rows("SELECT * FROM rounds WHERE height = ?", height)
        if not rows:
            raise StateError(f"{self._path}: no height {height}")
        return self._decode(rows[0])

    def discard_after(self, height: int) -> None:
        """Delete every row above a height, which the chain did not reach.

        Raises `StateError` if the residuals of that height are no longer there: after a kill the
        chain is at most one height behind.
        """
        if self._keeps_residuals and 0 < height < self.last_height - 1:
            raise StateError(
                f"{self._path}: the chain has height {height}, this {self.last_height}, and error "
                "feedback can go back by one only; restore the chain, or start anew in another "
                "folder"
            )
        with self._transaction():
            self._database.execute("DELETE FROM rounds WHERE height > ?", (height,))
            if self._keeps_residuals:
                self._database.execute("DELETE FROM residuals WHERE height > ?", (height,))

    def load_factors(
        self, initial: NDArray[np.float32], until: int | None = None
    ) -> NDArray[np.float32]:
        """P float32[M, w] after the height ``until`` (None: the last): a copy of the initial P with
        all rows up to it applied.

        Raises `StateError` if a row does not fit P's shape.
        """
        factors = np.array(initial, np.float32)
        last = self.last_height if until is None else until
        for height in range(1, last + 1):
            state = self.row(height)
            if len(state.clients) == 0:
                continue
            try:
                if state.clients.min() < 0:
                    raise IndexError
                factors[state.clients] = state.factors
            except (IndexError, ValueError):
                raise StateError(
                    f"{self._path}: height {state.height} does not fit P {initial.shape}"
                ) from None
        return factors

    def _decode(self, values: tuple[int, bytes, bytes, float, str]) -> RoundState:
        height, clients, factors, simulated_seconds, counters = values
        try:
            ids = np.frombuffer(clients, "<i8").astype(np.int64)
            flat = np.frombuffer(factors, "<f4").astype(np.float32)
            rows = flat.reshape(len(ids), len(flat) // max(1, len(ids)))
            if not 0.0 <= simulated_seconds < inf:
                raise ValueError("simulated_seconds: expected a number from 0")
            node = json.loads(counters)
            seconds, loss = number(node, "wall_seconds"), number(node, "loss")
            totals, standing = Totals.from_node(node), Standing.from_node(node["standing"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise StateError(
                f"{self._path}: height {height}: not the totals of a round: {error}"
            ) from None
        return RoundState(height, ids, rows, simulated_seconds, seconds, loss, totals, standing)

    def _rows(self, query: str, *values: int) -> list[tuple[Any, ...]]:
        with self._readable():
            return self._database.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit all writes inside together, or undo them if an exception is raised."""
        with self._readable(), self._database:
            self._database.execute("BEGIN")
            yield

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Turn what SQLite makes of a damaged or locked file, or of a full disk, into
        `StateError`."""
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise  # the caller's mistake, not the file's
        except sqlite3.OperationalError as error:
            raise StateError(f"{self._path}: {error}") from None
        except (sqlite3.Error, OverflowError) as error:
            raise StateError(f"{self._path}: not a run's state: {error}") from None
        except UnicodeDecodeError:  # SQLite quotes damaged bytes in its message
            raise StateError(f"{self._path}: not a run's state: the file is damaged") from None


def _mark(digest: bytes) -> int:
    """The number for users in the header of a file that is bound to a run: 31 bits, not 0."""
    return int.from_bytes(digest[:4], "big") >> 1 or 1
