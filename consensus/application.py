"""What the ledger is told about the payloads it moves: nothing but these questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Contents:
    """What a block's addresses point to."""

    model: bytes
    """The aggregate: what every client fetches."""
    snapshot: bytes | None = None
    """The whole state after this block, at the heights that have one."""


class Application(Protocol):
    """The replicated computation whose results the chain records.

    Every method is deterministic: the bytes depend on the arguments and on the blocks committed
    so far, never on who asks. All honest servers follow the same chain, so one instance serves
    all servers of a process.
    """

    def check_payload(self, payload: bytes) -> str | None:
        """Why ``payload`` is unfit for aggregation, or None if it is fit."""
        ...

    def aggregate(self, payloads: Sequence[bytes], samples: Sequence[int], beacon: bytes) -> bytes:
        """The model that these updates give, in the given order, with their sample counts N_u, for
        the block that is drawn under ``beacon``."""
        ...

    def snapshot(self, height: int, beacon: bytes, model: bytes) -> bytes | None:
        """The whole state after the block at ``height``, drawn under ``beacon``, with ``model``;
        None at the heights that record none."""
        ...

    def commit(self, height: int, beacon: bytes, model: bytes) -> None:
        """The block at ``height``, drawn under ``beacon``, was validated and holds ``model``
        (which, should a committee be captured, need not be an aggregate of anything)."""
        ...
