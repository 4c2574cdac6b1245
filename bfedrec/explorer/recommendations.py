"""Users of a run: what they did, the item that was held out, its rank, and their lists.

Lists need the model, the data and compiled arithmetic, which a process of its own loads
(`bfedrec.explorer.scored`) and leaves with its end: a server of pages stays small. The process
answers once for all users of a run; the answer is kept until the run's files change.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from bfedrec.runs.folder import RunError
from bfedrec.runs.ranks import FILE as RANKS
from bfedrec.runs.ranks import Ranks

ITEMS: Final = 10
"""Length of a list."""
STAMPED: Final = (
    "config.yaml",
    "manifest.json",
    "summary.json",
    "stopped.json",
    "model.safetensors",
)
"""The files on which an answer depends."""
READ: Final = (*STAMPED, "state.sqlite", RANKS)
"""The files that are read of a run to show its users."""
MOST_BYTES: Final = 96 * 2**20
"""Longest answer, and the most that all kept answers hold."""
MOST_WAITING: Final = 8
"""Runs that are being scored or wait for it."""
MOST_KEPT: Final = 16
SECONDS: Final = 600.0
"""Longest time that scoring a run may take."""
COMMAND: Final = (sys.executable, "-P", "-m", "bfedrec.explorer.scored")
_ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Item:
    """One item."""

    id: str
    """Its id in the source."""
    title: str
    """Empty where the data set has none."""
    target: bool
    """True if an attack wants it recommended, or its exposure is measured."""


@dataclass(frozen=True)
class Listed:
    """An item in a list."""

    place: int
    """1 is the best."""
    item: Item
    score: float
    held_out: bool
    """True for the user's test item."""
    there: int | None = None
    """Its place in the list beside; None if it is not there."""


@dataclass(frozen=True)
class User:
    """One user of a run."""

    id: str
    attack: str
    """The attack of the group that its client is in; empty for an honest client."""
    history: Sequence[Item]
    """The training items, the latest first as far as their order is known."""
    ordered: bool
    """True if the order of the whole history is known."""
    test: Item | None
    validation: Item | None
    best: Sequence[Listed]
    """The list; empty where there are none (`Scored.unscored`)."""


@dataclass(frozen=True)
class Scored:
    """All users of one run, as `bfedrec.explorer.scored` answers."""

    told: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    size: int
    """Bytes of the answer."""

    @property
    def digest(self) -> str:
        """The digest of the data."""
        return str(self.told["digest"])

    @property
    def ids(self) -> Sequence[str]:
        """The users' ids in the source."""
        ids: Sequence[str] = self.told["users"]
        return ids

    @property
    def unscored(self) -> str:
        """The reason that there are no lists; empty where there are."""
        return str(self.told.get("unscored", ""))

    @property
    def recency(self) -> bool:
        """True if there are lists that weigh interactions by recency too."""
        return "ordered_best" in self.arrays

    @cached_property
    def places(self) -> Mapping[str, int]:
        """The place of each user by its id."""
        return {each: place for place, each in enumerate(self.ids)}

    def item(self, index: int) -> Item:
        """The item of an index in the data set."""
        told = self.told
        return Item(told["items"][index], told["titles"][index], index in told["targets"])

    def attack(self, place: int) -> str:
        """The attack of a user's client; empty for an honest one."""
        group = int(self.arrays["group"][place])
        return str(self.told["attacks"][group]) if group >= 0 else ""

    def test(self, place: int) -> Item | None:
        """The held-out test item of a user, if it has one."""
        return self._held_out("test", place)

    def _held_out(self, name: str, place: int) -> Item | None:
        index = int(self.arrays[name][place])
        return self.item(index) if index >= 0 else None

    def best(self, place: int, recency: bool = False) -> list[tuple[int, float]]:
        """The list of a user: indices of items and their scores, the best first."""
        prefix = "ordered_" if recency else ""
        if f"{prefix}best" not in self.arrays:
            return []
        rows = self.arrays[f"{prefix}best"][place], self.arrays[f"{prefix}scores"][place]
        pairs = zip(rows[0].tolist(), rows[1].tolist(), strict=True)
        return [(index, score) for index, score in pairs if index >= 0]

    def user(self, place: int, recency: bool = False, beside: Scored | None = None) -> User:
        """A user with its list; ``beside``: a run on the same data to compare the list with."""
        first, after = self.arrays["indptr"][place : place + 2].tolist()
        indices, order = self.arrays["indices"][first:after], self.arrays["places"][first:after]
        known = order >= 0
        history = np.concatenate([indices[known][np.argsort(order[known])], indices[~known]])
        test = int(self.arrays["test"][place])
        there: dict[int, int] = {}
        if beside is not None:
            other = beside.best(place, recency and beside.recency)
            there = {index: at for at, (index, _) in enumerate(other, 1)}
        best = [
            Listed(at, self.item(index), score, index == test, there.get(index))
            for at, (index, score) in enumerate(self.best(place, recency), 1)
        ]
        return User(
            self.ids[place],
            self.attack(place),
            [self.item(int(index)) for index in history],
            bool(known.all()),
            self.test(place),
            self._held_out("validation", place),
            best,
        )


@dataclass(frozen=True)
class Moved:
    """One user in the list of all: the rank of its test item, 1 for the best; None without one."""

    id: str
    attack: str
    test: Item | None
    rank: int | None
    """Among the sampled negatives."""
    full_rank: int | None
    """Among all items that the user never touched."""
    beside: int | None
    """The full rank in the run beside, or the sampled one where it has no other."""

    @property
    def change(self) -> int | None:
        """Places that the item lost from this run to the one beside; negative if it gained."""
        here = self.rank if self.full_rank is None else self.full_rank
        return None if here is None or self.beside is None else self.beside - here


def rank_at(ranks: np.ndarray | None, place: int) -> int | None:
    """The rank of a user, from 1 on; None where there is none."""
    found = -1 if ranks is None else int(ranks[place])
    return found + 1 if found >= 0 else None


def check_ranks(ranks: Ranks | None, scored: Scored) -> Ranks | None:
    """The ranks of a run, if it has some. Raises `RunError` for ranks of other users."""
    if ranks is not None and len(ranks.rank) != len(scored.ids):
        raise RunError(f"ranks.npz has {len(ranks.rank):,} users, the data {len(scored.ids):,}")
    return ranks


def moved(scored: Scored, ranks: Ranks | None, beside: Ranks | None, most: int = 50) -> list[Moved]:
    """At most so many users whose test item moved most from this run to the one beside; without
    one beside, the first in the order of the data set."""
    places = np.arange(len(scored.ids))
    here = _compared(ranks, ranks, beside)
    there = _compared(beside, ranks, beside)
    if here is not None and there is not None:
        both = (here >= 0) & (there >= 0)
        change = np.where(both, np.abs(there - here), -1)
        places = np.argsort(-change, kind="stable")
    return [
        Moved(
            scored.ids[place],
            scored.attack(place),
            scored.test(place),
            rank_at(ranks.rank, place) if ranks else None,
            rank_at(ranks.full_rank, place) if ranks else None,
            rank_at(there, place),
        )
        for place in places[:most].tolist()
    ]


def _compared(own: Ranks | None, one: Ranks | None, other: Ranks | None) -> np.ndarray | None:
    """The ranks of ``own`` that two runs can be compared by: the full ones if both have them."""
    if own is None:
        return None
    full = all(each is None or each.full_rank is not None for each in (one, other))
    return own.full_rank if full else own.rank


def check_links(run: Path) -> None:
    """Raise `RunError` if one of the files of a run that are read here is a link: it may lead out
    of the folder that is shown."""
    for name in READ:
        if (run / name).is_symlink():
            raise RunError(f"{name}: a link to another place, which is not followed")


# -- the process ----------------------------------------------------------------------------------


@dataclass
class _Job:
    stamp: tuple[object, ...]
    done: threading.Event = field(default_factory=threading.Event)
    found: Scored | None = None
    failed: str = ""


class Library:
    """Answers about runs, made one at a time and kept while there is room."""

    def __init__(
        self, command: Sequence[str] = COMMAND, seconds: float = SECONDS, most: int = MOST_BYTES
    ) -> None:
        """``command``: the process, to which the run's folder is added. ``most``: bytes that are
        kept."""
        self._command, self._seconds, self._most = tuple(command), seconds, most
        self._jobs: OrderedDict[Path, _Job] = OrderedDict()
        self._guard, self._turn = threading.Lock(), threading.Lock()

    def ask(self, run: Path, patience: float) -> Scored | None:
        """The answer about a run; None if it takes longer than ``patience`` (seconds): ask again.

        Raises `RunError` for a run that cannot be shown, or if too many are asked for.
        """
        stamp = _stamp(run)
        with self._guard:
            job = self._jobs.get(run)
            if job is None or job.stamp != stamp:
                waiting = sum(not each.done.is_set() for each in self._jobs.values())
                if waiting >= MOST_WAITING:
                    raise RunError("too many runs are being scored: try again in a moment")
                job = self._jobs[run] = _Job(stamp)
                threading.Thread(target=self._work, args=(run, job), daemon=True).start()
            self._jobs.move_to_end(run)
        if not job.done.wait(patience):
            return None
        if job.found is None:
            with self._guard:  # what was lacking may be there when it is asked for again
                if self._jobs.get(run) is job:
                    del self._jobs[run]
            raise RunError(job.failed)
        return job.found

    def _work(self, run: Path, job: _Job) -> None:
        try:
            with self._turn:
                job.found = self._answer(run)
        except RunError as error:
            job.failed = str(error)
        except Exception as error:  # a full disk, no more processes: a line on the page
            job.failed = f"the run could not be scored: {type(error).__name__}"
        finally:
            job.done.set()
        with self._guard:
            self._make_room()

    def _make_room(self) -> None:
        """Forget what was asked for longest ago, as far as there is too much."""
        done = [(run, job) for run, job in self._jobs.items() if job.done.is_set()]
        size = sum(job.found.size for _, job in done if job.found is not None)
        for number, (run, job) in enumerate(done[:-1]):
            if size <= self._most and len(done) - number <= MOST_KEPT:
                return
            size -= job.found.size if job.found is not None else 0
            del self._jobs[run]

    def _answer(self, run: Path) -> Scored:
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
        with subprocess.Popen(
            [*self._command, str(run)],
            stdin=subprocess.PIPE,  # held open: the process ends with this one
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        ) as process:
            late = threading.Timer(self._seconds, process.kill)
            late.start()
            try:
                assert process.stdout is not None
                content = process.stdout.read(self._most + 1)
            finally:
                late.cancel()
                process.kill()
        if len(content) > self._most:
            raise RunError(f"the run has more users than {self._most:,} bytes hold")
        return _decoded(content)


def _stamp(run: Path) -> tuple[object, ...]:
    found: list[object] = []
    for name in STAMPED:
        try:
            status = (run / name).stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)


def _decoded(content: bytes) -> Scored:
    """The answer in the bytes of a process. Raises `RunError` with the reason that it tells, or if
    it ended without a whole answer."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        told = json.loads(arrays.pop("told").tobytes())
    except Exception:  # it was killed, or ran out of memory
        raise RunError("the run could not be scored: too long, or too much memory") from None
    if "unusable" in told:
        raise RunError(told["unusable"])
    return Scored(told, arrays, len(content))
