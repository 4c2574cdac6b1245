"""The chain: blocks, the heads they lead to, and the append that nothing invalid passes.

The protocol decides which blocks are valid (`consensus.ledger.protocol`).
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.ledger.protocol import Protocol
from consensus.ledger.settling import settled, stakes_after
from consensus.ledger.validity import BlockCheck, Head, check_header
from consensus.records.block import Block
from consensus.records.genesis import Genesis


def heads_of(genesis: Genesis, protocol: Protocol, blocks: Sequence[Block]) -> list[Head]:
    """The heads that ``blocks`` lead to, that of the genesis first.

    Headers and draws are checked. Votes and evidence are not: they were when the blocks were
    appended. Raises
    `InvalidBlock`.
    """
    heads = [protocol.first_head(genesis)]
    for block in blocks:
        check_header(genesis, heads[-1], block.header)
        draws = protocol.check_draws(genesis, heads[-1], block.header, block.tickets)
        after = protocol.head_after(genesis, heads[-1], block.header, draws)
        stakes = stakes_after(
            genesis, heads[-1], block.header.aggregator, block.settlement, protocol.sortition
        )
        heads.append(settled(after, heads[-1], stakes))
    return heads


class Chain:
    """One server's copy of the chain. Blocks are shared objects: thirty copies cost one."""

    def __init__(
        self,
        genesis: Genesis,
        protocol: Protocol,
        blocks: Sequence[Block] = (),
        heads: Sequence[Head] = (),
    ) -> None:
        """An empty chain, or that of a resumed run: ``blocks`` and the ``heads`` they led to, that
        of the genesis first. They were checked when they were appended, and `consensus.audit`
        checks them from bytes."""
        self.genesis = genesis
        self.protocol = protocol
        """The rules of its blocks."""
        self.blocks: list[Block] = list(blocks)
        """The block of height h at h - 1."""
        self.heads: list[Head] = list(heads) or [protocol.first_head(genesis)]
        """The head at height h at h."""
        self.head = self.heads[-1]

    @property
    def height(self) -> int:
        """The height of the last block; 0 for an empty chain."""
        return self.head.height

    def append(self, block: Block, check: BlockCheck | None = None) -> None:
        """Validate ``block`` and append it; raises `InvalidBlock` and then changes nothing.

        ``check`` is the protocol's, or one that remembers its results (`consensus.server.checks`).
        """
        head = (check or self.protocol.check_block)(self.genesis, self.head, block)
        self.blocks.append(block)
        self.heads.append(head)
        self.head = head

    def keep(self, block: Block) -> None:
        """Keep ``block`` in place of the last one, which is the same but for its certificate."""
        self.blocks[-1] = block

    def cut(self, height: int) -> None:
        """Forget the blocks above ``height``, which a crash took before they were on the disk."""
        if 0 <= height < self.height:
            del self.blocks[height:], self.heads[height + 1 :]
            self.head = self.heads[-1]
