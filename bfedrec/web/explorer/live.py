"""A run's page told what changes: server-sent events while the run goes on, and after a resume.

The files are looked at every second; nothing of them is opened unless the time or size of one
changed. A fragment is sent if its HTML is another one than before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from sse_starlette import ServerSentEvent
from starlette.exceptions import HTTPException
from starlette.responses import Response

from bfedrec.explorer.catalogue import Run, State
from bfedrec.runs.folder import RunError
from bfedrec.web.explorer.run import Facts
from bfedrec.web.explorer.visits import Visit
from bfedrec.web.live import Figure, told_figure, told_fragment

LOOK_SECONDS: Final = 1.0
"""Seconds between two looks at a run that goes on."""
FIGURES_EVERY: Final = 2
"""Looks at a run that goes on between two of its charts: they are long."""
WAIT_SECONDS: Final = 2.0
"""Seconds between two looks at a run that does not go on but may be resumed."""


def live(visit: Visit) -> Response:
    """The changes of a run's page, from its present state on. Raises HTTPException (429 where too
    many listen, 404 for no folder), `RunError` for one that is no run."""
    visit.place()
    visit.explorer.catalogue.run(visit.path)
    return visit.events(_told(visit))


class Changes:
    """The difference between what a page has and what it should have."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._run: Run | None = None
        self._fragments: dict[str, str] = {}
        self._figures: dict[str, Figure] = {}
        self._looks = 0
        self._owed = False
        """True if the charts may have changed since they were sent."""
        self.ended = False
        """True once the run is finished or broken: nothing more will come."""
        self.going = False
        """True while a process works at it."""

    def look(self) -> list[ServerSentEvent]:
        """The events since the last look; at first those of the whole page."""
        run = self._visit.explorer.catalogue.run(self._visit.path)
        due = self._looks % FIGURES_EVERY == 0 or run.state is not State.RUNNING
        self._looks += 1
        if run == self._run and not (due and self._owed):
            return []
        facts = Facts(self._visit, run)
        self._run = facts.run
        self.ended = facts.run.state in (State.DONE, State.BROKEN, State.IMPORTED)
        self.going = facts.run.state is State.RUNNING
        fragments = facts.fragments()
        figures = facts.figures() if due else self._figures
        self._owed = not due
        events = [
            told_fragment(f"part-{name}", html)
            for name, html in fragments.items()
            if self._fragments.get(name) != html
        ]
        events += [
            told_figure(name, figure)
            for name, figure in figures.items()
            if self._figures.get(name) != figure
        ]
        self._fragments, self._figures = fragments, figures
        return events


async def _told(visit: Visit) -> AsyncIterator[ServerSentEvent]:
    changes = Changes(visit)
    try:
        while True:
            for event in await asyncio.to_thread(changes.look):
                yield event
            if changes.ended:
                yield ServerSentEvent("", event="done")
                return
            await asyncio.sleep(LOOK_SECONDS if changes.going else WAIT_SECONDS)
    except (RunError, HTTPException):  # its folder went away
        return  # the browser asks again, and is told the reason
