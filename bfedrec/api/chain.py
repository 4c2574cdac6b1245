"""A run's chain: its blocks, and the votes and updates of each, as frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bfedrec.explorer.block import block_facts
from bfedrec.explorer.chain import RunChain
from bfedrec.explorer.facts import BlockFacts, ChainSummary

if TYPE_CHECKING:  # slow to load
    import pandas as pd

AT_ONCE = 500
"""Blocks that are read from the file at a time."""


class Chain:
    """The chain of a run, read from its file, also while the run writes it.

    ``len(chain)`` is its height; ``chain[h]`` and iteration give each block's facts
    (`bfedrec.explorer.facts.BlockFacts`), verified in place, from height 1 on; ``chain[-1]`` is the
    last. Raises `bfedrec.runs.folder.RunError`, in one line, for a file that is no chain, and
    IndexError for a height without a block.
    """

    def __init__(self, path: Path) -> None:
        """``path``: the file."""
        self._chain = RunChain(path)

    def __len__(self) -> int:
        return self._chain.last_height()

    def __getitem__(self, height: int) -> BlockFacts:
        last = len(self)
        at = last + 1 + height if height < 0 else height
        if not 1 <= at <= last:
            raise IndexError(f"no block of height {height}: there are heights 1 to {last}")
        return block_facts(self._chain, at)

    def __iter__(self) -> Iterator[BlockFacts]:
        return (self[height] for height in range(1, len(self) + 1))

    @property
    def summary(self) -> ChainSummary:
        """The chain as its genesis describes it, and its head."""
        return self._chain.summary()

    @property
    def blocks(self) -> pd.DataFrame:
        """A row per block, by height: its CID and its parent's, the aggregator, the attempt and
        step, the simulated microseconds, the numbers of updates, samples and votes."""
        import pandas as pd

        rows = []
        for top in range(len(self), 0, -AT_ONCE):
            rows += [asdict(line) for line in self._chain.lines(top, AT_ONCE)]
        names = ["height"] if not rows else None
        return pd.DataFrame(rows[::-1], columns=names).set_index("height")

    def votes(self, height: int) -> pd.DataFrame:
        """The committee of a block, a row per server: weight, stake, and if it voted validly."""
        import pandas as pd

        return pd.DataFrame([asdict(seat) for seat in self[height].seats])

    def updates(self, height: int) -> pd.DataFrame:
        """The updates of a block, a row each: client, sample count, digest, bytes. Empty where the
        run keeps none of this height (`ledger.retain_updates`)."""
        import pandas as pd

        return pd.DataFrame([asdict(update) for update in self[height].updates])
