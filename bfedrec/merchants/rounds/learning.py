"""Training of a merchant on its own files of events, from the model of a round's parent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bfedrec.data.interactions import DataError
from bfedrec.merchants.events import EventReader
from bfedrec.merchants.interactions import History, history_of, joined, pairs_of, split
from bfedrec.merchants.model import Home, Shared
from bfedrec.merchants.rounds.agreement import Agreement
from bfedrec.merchants.rounds.workspace import Kept
from bfedrec.merchants.training import EpochLosses, Trained, Trainer

MOST_BYTES = 2**34
"""Unpacked bytes of one file of events that a merchant trains on."""


class NoEvents(Exception):
    """Error: a merchant that has nothing to train on; one line for people."""


class Events(NamedTuple):
    """The events of a merchant's files that are of products in the catalogue."""

    history: History
    unknown: int
    """Number of events of products that are not in the catalogue."""
    bad_rows: int
    """Number of rows that are no event."""


def read_events(files: list[Path], agreement: Agreement) -> Events:
    """The events of files. Raises NoEvents, one line, for files that cannot be read, or hold no
    event of the catalogue."""
    histories, bad_rows = [], 0
    for file in files:
        reader = EventReader(file, most_bytes=MOST_BYTES)
        try:
            histories.append(history_of(reader))
        except DataError as error:
            raise NoEvents(str(error)) from None
        bad_rows += reader.reading.bad_rows
    history = joined(histories)
    known = np.isin(history.products, agreement.catalogue.ids)
    found = history.select(known)
    if not known.any():
        raise NoEvents("there are no events of products in the catalogue to train on")
    return Events(found, int((~known).sum()), bad_rows)


class Learner:
    """A merchant that trains on its events."""

    def __init__(self, events: Events, agreement: Agreement, name: str) -> None:
        number = agreement.number(name)
        pairs = pairs_of(events.history, agreement.catalogue)
        self.assortment = np.unique(agreement.catalogue.places(events.history.products))
        """int64[K]: places in the catalogue of the products that the merchant sells."""
        parts = split(pairs, agreement.streams, number)
        self.users = pairs.users
        """int64[M]: ids of its users."""
        self.pairs = pairs
        self.trainer = Trainer(
            parts, self.assortment, agreement.settings, agreement.streams, number
        )

    @property
    def samples(self) -> int:
        """Number of pairs to train on."""
        return len(self.trainer.user)

    def train(
        self,
        start: Shared,
        number: int,
        kept: Kept | None,
        tell: Callable[[EpochLosses], None] | None = None,
    ) -> Trained:
        """Train round ``number`` from ``start``, going on with the rows of users that were kept.

        Raises Diverged as `Trainer.play_round` does.
        """
        self.trainer.home = self.home(start.factors.shape[1], kept)
        return self.trainer.play_round(start, number, tell)

    def home(self, dimension: int, kept: Kept | None) -> Home:
        """The merchant's own part: kept rows of users that are still there, fresh ones of others.

        The mean is that of today's events.
        """
        home = self.trainer.fresh_home(dimension)
        if kept is not None and kept.home.factors.shape[1] == dimension:
            _, ours, theirs = np.intersect1d(self.users, kept.users, return_indices=True)
            home.factors[ours] = kept.home.factors[theirs]
            home.biases[ours] = kept.home.biases[theirs]
        return home

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of all pairs that it was made of."""
        found = hashlib.sha256()
        for part in (self.users, self.pairs.user, self.pairs.item, self.pairs.strength):
            found.update(np.ascontiguousarray(part).tobytes())
        return found.hexdigest()
