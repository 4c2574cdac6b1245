"""The network of a run, from its config: its servers as laid out, who is malicious and how, and who
is down or cut off at a time.

What a run's timeline saw of a height is better where there is one (`bfedrec.explorer.timeline`);
what is here is known of every run, and before it is played.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bfedrec.config.schema import Config
from bfedrec.federation.participants import Participants
from bfedrec.streams import Streams
from consensus.adversary.composed import Composed
from consensus.faults.kinds import Cut
from consensus.simulation.layout import MOST_LINKED, FaultFacts, Layout, Malice
from consensus.simulation.timeline import Named


@dataclass(frozen=True)
class Moment:
    """The state of a network at one simulated time."""

    at_us: int
    faults: tuple[FaultFacts, ...]
    """The faults that may take effect."""
    down: Named
    """Servers that have crashed; one that goes down only with its next promise counts already."""
    cut_off: Named | None
    """Servers that cuts keep, together, from more than half of the others, one way or both; None of
    more than `consensus.simulation.layout.MOST_LINKED` servers."""


class Network:
    """The network of one run."""

    def __init__(self, config: Config) -> None:
        """Lay out the servers of a config's run, as its seed draws them. Of more than
        `consensus.simulation.layout.MOST_LINKED` servers the links are not drawn."""
        participants = Participants(config, Streams(config.seed))
        count = config.servers.count
        self._servers = count
        self._faults = participants.faults()
        malicious = {
            index: tuple(Malice.of(*span) for span in behaviour.spans)
            for index, behaviour in participants.malicious().items()
            if isinstance(behaviour, Composed)
        }
        layout = Layout.of(
            participants.regions(),
            participants.stakes(),
            malicious,
            participants.topology() if count <= MOST_LINKED else None,
            self._faults,
        )
        names = participants.region_names() if config.servers.round_trips else ()
        self.layout = replace(layout, region_names=names)

    def at(self, at_us: int) -> Moment:
        """The state at a simulated time, in microseconds."""
        faults, seconds = self._faults, at_us / 1e6
        if faults is None:
            return Moment(at_us, (), Named(), Named())
        down: set[int] = set()
        for event in faults.lifecycle(float(np.nextafter(seconds, np.inf))):
            (down.add if event.what == "crash" else down.discard)(event.server)
        return Moment(
            at_us,
            tuple(each for each in self.layout.faults if each.active(at_us, at_us)),
            Named.of(down),
            self._cut_off(faults.cuts(seconds)),
        )

    def _cut_off(self, cuts: tuple[Cut, ...]) -> Named | None:
        count = self._servers
        if not cuts or count > MOST_LINKED:
            return None if cuts else Named()
        apart = np.zeros((count, count), bool)
        for cut in cuts:
            pairs = cut.pairs(count)
            apart |= pairs | pairs.T
        lost = np.count_nonzero(apart, axis=1)
        return Named.of(np.flatnonzero(2 * lost > count - 1).tolist())
