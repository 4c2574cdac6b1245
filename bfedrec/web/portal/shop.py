"""One merchant's side of the portal: its files of events, uploads, products and losses."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from bfedrec.merchants.rounds.workspace import Workspace
from bfedrec.merchants.training import EpochLosses
from bfedrec.web.portal.shelf import Shelf
from bfedrec.web.portal.uploads import Upload, Uploads

_OTHER: Final = re.compile(r"[^A-Za-z0-9._-]+")


class EventFile(NamedTuple):
    """A file of events that has been kept."""

    name: str
    octets: int


@dataclass(frozen=True)
class Losses:
    """Losses of a round by epoch, as far as it has come."""

    round: int = 0
    rows: Sequence[EpochLosses] = ()

    @property
    def count(self) -> int:
        """Number of epochs."""
        return len(self.rows)


class Shop:
    """One merchant."""

    def __init__(self, folder: Path) -> None:
        self.workspace = Workspace(folder)
        self.uploads = Uploads(folder / "uploads")
        self.receiving = threading.Lock()
        """Held while uploads change."""
        self.live: list[EpochLosses] | None = None
        """Losses of the training that is running."""
        self._reading = threading.Lock()
        self._shelf: tuple[object, Shelf] | None = None

    @property
    def name(self) -> str:
        """The merchant's name."""
        return self.workspace.name

    def files(self) -> list[EventFile]:
        """The files of events, by name."""
        return [EventFile(each.name, each.stat().st_size) for each in self.workspace.event_files()]

    def keep(self, upload: Upload) -> None:
        """Make an upload one of the files of events, the bytes as they came, under a name of ours.

        A process that is killed in between leaves a folder without its file, which is removed.
        """
        folder = self.workspace.path / "events"
        folder.mkdir(exist_ok=True)
        # The name as it came is a text of anyone's; a part of it helps its owner to know it again.
        told = _OTHER.sub("-", upload.report.name)[:60].strip("-.") or "events"
        taken = [each.name for each in folder.iterdir()]
        numbers = [int(each[7:11]) for each in taken if re.match(r"upload-\d{4}-", each)]
        upload.events.rename(folder / f"upload-{max(numbers, default=0) + 1:04d}-{told}")
        self.uploads.discard(upload)

    def shelf(self) -> Shelf:
        """The products in all files of events. Raises DataError for a file that cannot be read."""
        with self._reading:
            files = self.workspace.event_files()
            status = [each.stat() for each in files]
            mark = [(each.st_ino, each.st_size, each.st_mtime_ns) for each in status]
            if self._shelf is None or self._shelf[0] != mark:
                self._shelf = (mark, Shelf(files))
            return self._shelf[1]

    def losses(self) -> Losses:
        """Losses of the training that is running, or else of the latest round that was trained."""
        live = self.live
        rounds = self.workspace.trained_rounds()
        if live is not None:
            return Losses(0, list(live))
        if not rounds:
            return Losses()
        rows = [
            EpochLosses(int(epoch), *map(float, rest))
            for epoch, *rest in (
                line.split(",") for line in self.workspace.losses(rounds[-1]).splitlines()[1:]
            )
        ]
        return Losses(rounds[-1], rows)
