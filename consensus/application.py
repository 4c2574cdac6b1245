"""The interface between the ledger and the application: checks and aggregation of payloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from consensus.records.settlement import Uses


@dataclass(frozen=True)
class Contents:
    """The contents that a block's addresses point to."""

    aggregate: bytes
    """The aggregate A, which every client fetches."""
    snapshot: bytes | None = None
    """The application's whole state after this block, at the heights that record one; else None."""
    uses: Uses = ()
    """Shares of what is paid by the use of updates, which no address names; the block's settlement
    has them. Empty where nothing is paid so."""


class Application(Protocol):
    """The replicated computation whose results the chain records.

    Every method is deterministic: the bytes depend on the arguments and on the blocks committed so
    far, never on the server that asks. All honest servers follow the same chain, so one instance
    serves all servers of a process.
    """

    def check_payload(self, payload: bytes) -> str | None:
        """Return None if ``payload`` can be aggregated, else the reason why not, in a few words."""
        ...

    def slot(self, client: int, payload: bytes) -> int | None:
        """The slot of its height that a payload without a flaw fills, or None if it is not for this
        client (its number in the genesis) to fill it.

        One payload counts of each client in each slot. An application whose clients send one
        message at a height has the slot 0 alone.
        """
        ...

    def aggregate(self, payloads: Sequence[bytes], samples: Sequence[int], beacon: bytes) -> bytes:
        """Aggregate ``payloads`` in the given order, weighted by their sample counts N_u.

        ``beacon`` is the randomness of the height. Returns the bytes of A.
        """
        ...

    def snapshot(self, height: int, beacon: bytes, aggregate: bytes) -> bytes | None:
        """The application's whole state after the block at ``height`` with ``aggregate``.

        ``beacon`` is the randomness of the height. None at the heights that record no state.
        """
        ...

    def commit(self, height: int, beacon: bytes, aggregate: bytes) -> None:
        """Advance to the validated block at ``height``, which has ``aggregate``.

        ``beacon`` is the randomness of the height. If a committee was captured, ``aggregate``
        need not be that of any updates.
        """
        ...


@runtime_checkable
class MeasuresUse(Protocol):
    """An application that can tell of how much use the updates of a block are, which the genesis
    may ask for (`consensus.records.genesis.Incentives.use`)."""

    def use(self, groups: Sequence[Sequence[bytes]], beacon: bytes) -> Sequence[int]:
        """The use to the others of each group of a height's payloads, as an integer, 0 or more. A
        group is of one payload at least.

        Deterministic as `Application.aggregate`. Raises ValueError where it cannot be measured.
        """
        ...
