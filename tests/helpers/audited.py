"""A toy's chain in a store, and its audit."""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus.audit import AuditFailure, AuditReport, audit
from consensus.ledger.updates import SignedUpdate
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.simulation.results import HeightResult
from consensus.storage.sqlite import SqliteStore
from tests.helpers.toy import Toy, ToyApplication

HEIGHTS = 5
"""Length of the honest chain."""


def build(genesis: Genesis, initial: bytes) -> ToyApplication:
    """The application of a chain, for `audit`; ValueError if its initial model is not the toy's."""
    if initial != b"initial":
        raise ValueError("the initial model is not the toy's")
    return ToyApplication()


class Keeper:
    """A store that a toy's heights are written to, as a run writes them."""

    def __init__(self, path: Path, genesis: Genesis) -> None:
        self.path = path
        self.store = SqliteStore(path)
        with self.store.transaction():
            self.store.put(b"initial")
            self.store.put_block(0, genesis.encoded)
            self.store.set_meta("head", genesis.cid)

    def write(
        self, block: Block, aggregate: bytes, updates: tuple[SignedUpdate, ...], retain: bool = True
    ) -> None:
        """Add a height: its block, its aggregate and, with ``retain``, its updates."""
        with self.store.transaction():
            self.store.put(aggregate)
            self.store.put_block(block.height, block.encoded)
            self.store.set_meta("head", block.cid)
            if retain:
                self.store.put_updates(block.height, [u.record.encoded for u in updates])
                for update in updates:
                    self.store.put(update.payload)

    def write_all(self, results: list[HeightResult], retain: bool = True) -> Path:
        """Add the heights of ``results`` and close the store; its path."""
        for result in results:
            self.write(result.block, result.contents.aggregate, result.updates, retain)
        self.store.close()
        return self.path


def verify(path: Path) -> AuditReport:
    """The audit's report of the chain in the store at ``path``; raises `AuditFailure`."""
    with SqliteStore(path, read_only=True) as store:
        return audit(store, build)


TOY = Toy(servers=7, clients=4, committee_size=5)
RESULTS = [TOY.play() for _ in range(HEIGHTS)]
BLOCKS = [result.block for result in RESULTS]
"""Five honest heights of a toy, and their blocks."""


def failure(path: Path) -> AuditFailure:
    """The failure that the audit of the store at ``path`` ends with."""
    with pytest.raises(AuditFailure) as caught:
        verify(path)
    return caught.value


def assert_fails(path: Path, height: int | None, reason: str) -> None:
    """Check that the audit fails at ``height`` (None: in a content of no height) for ``reason``."""
    found = failure(path)
    assert found.height == height, found
    assert reason in found.reason, found
    assert str(found) == f"{'content' if height is None else f'height {height}'}: {found.reason}"
