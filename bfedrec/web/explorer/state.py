"""The state of a running explorer: what it shows, and how many visitors are told live."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException

from bfedrec.explorer.catalogue import Catalogue
from bfedrec.explorer.chain import RunChains
from bfedrec.explorer.curves import Reader
from bfedrec.explorer.heights import HeightReader
from bfedrec.explorer.moves import MovesOf
from bfedrec.explorer.places import Places
from bfedrec.explorer.recommendations import Library
from bfedrec.explorer.records import Records
from bfedrec.web.explorer.verifications import Verifications

LISTENERS: Final = 32
"""Pages that are told live at once."""


@dataclass
class Explorer:
    """Everything that pages need; one for a server."""

    places: Places
    trace: Path | None = None
    """A torture trace that is shown in place of runs."""
    gateway: str = ""
    """URL of an IPFS gateway that content is linked to, as ``http://127.0.0.1:8080``; empty for
    none."""
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    """Names under which the pages are found, whatever the port: a tunnel has another one."""
    chains: RunChains = field(default_factory=RunChains)
    moves: MovesOf = field(default_factory=MovesOf)
    verifications: Verifications = field(default_factory=Verifications)
    library: Library = field(default_factory=Library)
    """The users of runs and their lists."""
    catalogue: Catalogue = field(init=False)
    curves: Reader = field(default_factory=Reader)
    heights: HeightReader = field(default_factory=HeightReader)
    records: Records = field(init=False)
    _listeners: int = 0
    _answers: int = 0
    """Pages that are being answered."""
    _guard: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self.catalogue = Catalogue(self.places)
        self.records = Records(self.places)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Count a visitor that is told live. Raises HTTPException (429) beyond `LISTENERS`."""
        with self._guard:
            if self._listeners >= LISTENERS:
                raise HTTPException(429, "Too many pages are being told at once; close some.")
            self._listeners += 1
        try:
            yield
        finally:
            with self._guard:
                self._listeners -= 1

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Count a page that is being answered."""
        with self._guard:
            self._answers += 1
        try:
            yield
        finally:
            with self._guard:
                self._answers -= 1
                self._guard.notify_all()

    def wait_until_idle(self) -> None:
        """Wait until no page is being answered, for work that no visitor waits for."""
        with self._guard:
            self._guard.wait_for(lambda: not self._answers)
