"""The recorder of a world in which servers are still at one height while others are at the next."""

from __future__ import annotations

from consensus.simulation.observer import Observed
from consensus.simulation.pages import Page
from consensus.simulation.recorder import Recorder
from consensus.simulation.results import HeightResult
from consensus.simulation.timeline import HeightTimeline


class OverlappingRecorder(Recorder):
    """A `Recorder` that notes what happens at the height before the one in progress, too: that
    height's timeline is complete once the next one has its block."""

    _open: tuple[Page, HeightResult] | None = None
    """The height before the one in progress, and its result."""

    def begin(self, world: Observed) -> None:
        super().begin(world)
        if self._open is not None:
            page, _ = self._open
            self._pages[page.height] = page

    def completed(self, result: HeightResult, meets: bool) -> list[HeightTimeline]:
        """The timelines that are complete as the height in progress has ended with a block, in
        their order; ``meets``: true if no server goes on before all have it."""
        told = self.rest()
        self._open = self._in_progress(), result
        return [*told, *self.rest()] if meets else told

    def rest(self) -> list[HeightTimeline]:
        """The timeline that was not complete yet, if there is one; no more is noted of it."""
        if self._open is None:
            return []
        told, self._open = self._decided(*self._open), None
        return [told]
