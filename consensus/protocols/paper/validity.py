"""The validity rules of `paper`: the block names its committee, and whoever may sit can be in it.

That the members were the first to announce nobody can prove, so it is not checked
(`consensus/README.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from consensus.ledger.committee import Committee, Draw, may_sit
from consensus.ledger.validity import Head, InvalidBlock
from consensus.records.block import Block, Header
from consensus.records.genesis import Genesis

#: So many servers may sit for every seat, so that the first to announce fill them.
CANDIDATES_PER_SEAT: Final = 2


def seated(genesis: Genesis, servers: Sequence[int]) -> Committee:
    """The committee of these members, one seat each; two thirds are taken of all seats, also of
    those that nobody has."""
    return Committee(dict.fromkeys(servers, 1), genesis.parameters.committee_size)


def check_drawn(genesis: Genesis, draws: Sequence[Draw]) -> None:
    """Check the draws of a block's members, in the order of announcement: of servers that may sit
    by stake and output, no more than there are seats, and enough to approve a block. Raises
    `InvalidBlock`."""
    if len(draws) > genesis.parameters.committee_size:
        raise InvalidBlock("its committee has more members than seats")
    if not seated(genesis, [draw.server for draw in draws]).approves(len(draws)):
        raise InvalidBlock(f"{len(draws)} members cannot approve a block")
    for draw in draws:
        if not may_sit(genesis, draw, CANDIDATES_PER_SEAT):
            raise InvalidBlock(f"server {draw.server}'s draw wins no seat")


def voters(genesis: Genesis, block: Block) -> Committee:
    """The committee that ``block`` names, which approved it in the step it was proposed in.
    Raises `InvalidBlock`."""
    if block.certificate.view != block.header.view:
        raise InvalidBlock("it was approved in another step than it was proposed in")
    return seated(genesis, [ticket.server for ticket in block.tickets])


def head_after(header: Header) -> Head:
    """The head once ``header``'s block is appended: the next draws are made on its link."""
    return Head(header.height, header.cid, header.timestamp, header.cid[-32:])
