"""The exception for a violated invariant."""

from __future__ import annotations


class Violation(Exception):
    """A violated invariant, and its symptom in this scenario."""

    def __init__(self, invariant: str, what: str, height: int | None = None) -> None:
        """``invariant``: its name; ``what``: the symptom, in a line; ``height``: that of the
        decided block which violates it, if it is one."""
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant
        self.what = what
        self.height = height
