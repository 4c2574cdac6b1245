"""What is raised when an invariant does not hold."""

from __future__ import annotations


class Violation(Exception):
    """An invariant that does not hold, and how that shows."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant
        self.what = what
