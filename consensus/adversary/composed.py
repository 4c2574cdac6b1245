"""Several behaviours of one malicious server at once, each for some heights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from consensus.adversary.behaviour import BEHAVIOURS, Behaviour, Circle
from consensus.adversary.when import ALWAYS, SECONDS, When
from consensus.application import Contents
from consensus.records.block import Candidate
from consensus.registry import import_parts
from consensus.server.hooks import Outgoing

if TYPE_CHECKING:
    from consensus.server.edge_server import EdgeServer

import_parts("consensus.adversary.behaviours")


class Composed(Behaviour):
    """Several behaviours of one server, applied in order, each in its own heights.

    Each gets the message or decision that the one before made of the honest one. Changes are
    counted in ``acted``.
    """

    def __init__(
        self,
        names: Sequence[str],
        when: When = ALWAYS,
        circle: Circle | None = None,
    ) -> None:
        """``names``: behaviours that apply ``when`` they do; ``circle``: the adversary that the
        server belongs to.

        Raises ValueError for an unknown name, listing those known.
        """
        super().__init__()
        self._parts: list[tuple[Behaviour, When]] = []
        self.circle = circle or Circle()
        self.add(names, when)
        self._activate([part for part, _ in self._parts])

    def add(self, names: Sequence[str], when: When = ALWAYS) -> None:
        """Add behaviours by name, which begin with the next height. Raises ValueError for an
        unknown name, listing those known."""
        for name in names:
            if name not in BEHAVIOURS:
                known = ", ".join(sorted(BEHAVIOURS))
                raise ValueError(f"unknown behaviour {name!r} (known: {known})")
        for name in names:
            part = BEHAVIOURS[name]()
            part.acted = self.acted
            self._parts.append((part, when))
        self.join(self.circle)

    def join(self, circle: Circle) -> None:
        """Belong to the adversary ``circle`` from here on."""
        self.circle = circle
        for part, _ in self._parts:
            part.circle = circle
            if not part.decides_alone:
                circle.attentive.add(part.name)

    @property
    def hears_all(self) -> bool:  # type: ignore[override]  # it depends on the circle
        """True unless all behaviours of the whole circle leave alone what servers wait for."""
        return bool(self.circle.attentive)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all behaviours in order, of heights to come included."""
        return tuple(part.name for part, _ in self._parts)

    @property
    def spans(self) -> tuple[tuple[str, When], ...]:
        """The name of each behaviour, in order, and when it applies."""
        return tuple((part.name, when) for part, when in self._parts)

    @property
    def active(self) -> tuple[str, ...]:
        """Names of the behaviours of the height in progress."""
        return tuple(part.name for part in self._active)

    @property
    def acting(self) -> bool:
        return bool(self._active)

    def _activate(self, parts: list[Behaviour]) -> None:
        self._active = parts
        self._listeners = [part for part in parts if _overrides(part, "hears")]
        """Behaviours that may refuse a message. Most refuse none, and hundreds of messages arrive
        in a height."""
        self._speakers = [part for part in parts if _overrides(part, "outgoing")]
        """Behaviours that may change what is sent."""
        self.relays = all(part.relays for part in parts)
        self.provides = all(part.provides for part in parts)

    def begins(self, server: EdgeServer) -> None:
        super().begins(server)
        height = server.chain.height + 1
        timed = any(when.unit == SECONDS for _, when in self._parts)
        seconds = server.host.now_us() / 1e6 if timed else 0.0
        self._activate([part for part, when in self._parts if when.holds(height, seconds)])
        for part in self._active:
            if not (part.relays and part.provides):
                part.act()
            part.begins(server)

    def entered(self, server: EdgeServer) -> None:
        for part in self._active:
            part.entered(server)

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        for part in self._listeners:
            if not part.hears(server, kind, body, sender):
                part.act()
                return False
        return True

    def waits(self, server: EdgeServer, what: str, honest: float) -> float:
        for part in self._active:
            before, honest = honest, part.waits(server, what, honest)
            if honest != before:
                part.act()
        return honest

    def takes(self, server: EdgeServer, client: bytes) -> bool:
        for part in self._active:
            if not part.takes(server, client):
                part.act()
                return False
        return True

    def contents(self, honest: Contents, generator: np.random.Generator) -> Contents:
        for part in self._active:
            before, honest = honest, part.contents(honest, generator)
            if honest is not before:
                part.act()
        return honest

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        for part in self._active:
            proposed = part.proposes(server, candidate)
            if proposed is not candidate:
                part.act()
            if proposed is None:
                return None
            candidate = proposed
        return candidate

    def verdict(self, honest: bool, draws: Callable[[], np.random.Generator]) -> bool:
        for part in self._active:
            before, honest = honest, part.verdict(honest, draws)
            if honest is not before:
                part.act()
        return honest

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        saying = [message]
        for part in self._speakers:
            said = [out for each in saying for out in part.outgoing(server, each)]
            if len(said) != len(saying) or any(
                one is not other for one, other in zip(said, saying, strict=True)
            ):
                part.act()
            saying = said
        return saying


def _overrides(part: Behaviour, hook: str) -> bool:
    """True if a behaviour has a hook of its own."""
    return getattr(type(part), hook) is not getattr(Behaviour, hook)
