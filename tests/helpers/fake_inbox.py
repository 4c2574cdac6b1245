"""An inbox that a test fills, and that writes down what a server tells it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any


class FakeInbox:
    """`consensus.server.unheard.Inbox`."""

    def __init__(self) -> None:
        self.arrived: list[tuple[Any, int]] = []
        """The updates that are here, with their origins."""
        self.noted: list[Hashable] = []
        self.cleared = 0

    def waiting(self) -> int:
        return len(self.arrived)

    def updates(self) -> tuple[list[Any], list[tuple[Any, int]]]:
        found, self.arrived = self.arrived, []
        return [update.record.client for update, _ in found], found

    def note(self, name: Hashable) -> None:
        self.noted.append(name)

    def clear(self) -> None:
        self.cleared += 1
        self.arrived.clear()
        self.noted.clear()
