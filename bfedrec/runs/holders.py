"""The parties whose knowledge of a run is attacked: servers, and readers of what is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bfedrec.config.yaml_core import ConfigError
from consensus.simulation.timeline import HeightTimeline, Named

FORMS = "server:INDEX, reader or colluding:COUNT"
_FORM = re.compile(r"reader|server:(0|[1-9][0-9]{0,5})|colluding:([1-9][0-9]{0,5})")


@dataclass(frozen=True)
class Holder:
    """An honest-but-curious party."""

    servers: tuple[int, ...]
    """The edge servers that it is, which put together what they hold; none for a reader, who has
    what the run publishes: blocks, aggregates, and updates as far as `ledger.retain_updates` keeps
    them."""

    @classmethod
    def parse(cls, text: str, servers: int) -> Holder:
        """The holder that a word means in a run of so many servers: `server:3`, `reader`, or
        `colluding:10` for the first ten. Raises ConfigError, one line, for any other."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise ConfigError(f"holder {text[:80]!r}: expected {FORMS}")
        index, count = found[1], found[2]
        if index is not None and int(index) >= servers:
            raise ConfigError(f"holder {text}: the run has servers 0 to {servers - 1}")
        if count is not None and int(count) > servers:
            raise ConfigError(f"holder {text}: the run has {servers} servers")
        if index is not None:
            return cls((int(index),))
        return cls(tuple(range(int(count))) if count is not None else ())

    def hears(self, timeline: HeightTimeline | None) -> bool:
        """True if signed updates of a height reach it: gossip brings every one to every server, but
        for those that were down, or that a fault kept from more than half of the others.
        ``timeline``: that of the height, None where none is kept."""
        if timeline is None:
            return bool(self.servers)
        return any(
            server not in _servers(timeline.down) and server not in _servers(timeline.cut_off)
            for server in self.servers
        )


def _servers(named: Named) -> frozenset[int]:
    return frozenset(named.servers)
