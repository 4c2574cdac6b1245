"""The behaviours of malicious servers in scenarios: those that configs know, and torture's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from zlib import crc32

from consensus.adversary.behaviour import BEHAVIOURS, Behaviour
from consensus.adversary.composed import Composed
from consensus.adversary.when import ALWAYS, When
from consensus.registry import import_parts
from consensus.torture.arena.attacker import ATTACKERS

import_parts("consensus.torture.arena.attacks")

#: CRC-32 of the sorted names of the recorded campaigns, joined by commas.
RECORDED: Final = 0x10CB9BFC


def _every() -> dict[str, type[Behaviour]]:
    """Behaviours and attackers by name; raises ValueError for a name that is both."""
    both = BEHAVIOURS.keys() & ATTACKERS.keys()
    if both:
        raise ValueError(f"behaviour {min(both)!r} has the name of one of torture's attackers")
    return {**BEHAVIOURS, **ATTACKERS}


def known_behaviours() -> list[str]:
    """Names of all behaviours of malicious servers in scenarios, sorted."""
    return sorted(_every())


def recorded_behaviours() -> list[str]:
    """Names of the behaviours that a seed alone draws from, sorted: those of the recorded
    campaigns.

    The set is closed, as a seed's draws are indices into it. Raises ValueError where it has
    changed.
    """
    names = sorted(name for name, cls in _every().items() if cls.recorded)
    if crc32(",".join(names).encode()) != RECORDED:
        raise ValueError(
            "the behaviours that a seed draws from are not those of the recorded campaigns: one "
            "more is registered without recorded=True and asked for by its name"
        )
    return names


class Adversary(Composed):
    """Several behaviours and attackers of one server (`Composed`)."""

    def add(self, names: Sequence[str], when: When = ALWAYS) -> None:
        """Add behaviours and attackers by name. Raises ValueError for an unknown name."""
        for name in names:
            if name in ATTACKERS:
                part = ATTACKERS[name]()
                part.circle, part.acted = self.circle, self.acted
                self._parts.append((part, when))
            else:
                super().add([name], when)
