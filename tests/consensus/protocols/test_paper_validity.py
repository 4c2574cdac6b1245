"""Blocks under `paper`: the proof that they carry, and the parameters that they follow."""

from __future__ import annotations

from typing import Any

import pytest

from consensus.encoding.fields import MalformedRecord
from consensus.ledger.validity import Head, InvalidBlock
from consensus.protocols.registry import protocol_of
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.records.ticket import tickets_digest
from tests.helpers.paper_rig import PaperForge
from tests.helpers.paper_scene import (
    FIRST,
    FORGE,
    LOSERS,
    MEMBER,
    SEATED,
    SEATS,
    TOY,
)
from tests.helpers.rules import chain_from

# -- blocks ----------------------------------------------------------------------------------------


def resealed(tickets: tuple[Any, ...]) -> Block:
    """A block whose members are these, all of which approve."""
    candidate = FORGE.candidate(tickets=tickets)
    return FORGE.block(candidate, sorted({ticket.server for ticket in tickets}))


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (FORGE.block(FIRST, SEATED[:2]), "2 of 3 is not more than two thirds"),
        (FORGE.block(FIRST, sorted([*SEATED, LOSERS[0]])), "voted without a seat"),
        (FORGE.block(FIRST, phase="reject"), "of the reject phase"),
        (FORGE.block(FIRST, view=(0, 1)), "another step than it was proposed in"),
        (resealed(FORGE.seats(FORGE.winners[: SEATS + 1])), "more members than seats"),
        (resealed(FORGE.seats(SEATED[:2])), "2 members cannot approve"),
        (resealed(FORGE.seats([SEATED[0], SEATED[1], SEATED[1]])), "two tickets"),
        (resealed(FORGE.seats([*SEATED[:2], LOSERS[0]])), "wins no seat"),
        (resealed((*FORGE.seats(SEATED[:2]), FORGE.draw(MEMBER, 2)[0])), "for another height"),
        (FORGE.block(FORGE.candidate(tickets=FORGE.seats(), signer=1)), "signature is not valid"),
    ],
)
def test_a_block_that_proves_too_little_is_invalid(block: Block, reason: str) -> None:
    with pytest.raises(InvalidBlock, match=reason):
        chain_from(TOY.genesis).append(block)


def test_a_blocks_link_seeds_what_follows() -> None:
    chain = chain_from(TOY.genesis)
    assert chain.head.draws == ()
    chain.append(FORGE.block(FIRST))
    assert chain.head == Head(1, FIRST.header.cid, FIRST.header.timestamp, FIRST.header.cid[-32:])
    following = PaperForge(TOY, chain.head)
    assert following.winners != FORGE.winners
    block = following.block()
    assert block.header.tickets == tickets_digest(block.tickets)
    chain.append(block)


def test_the_paper_knows_no_weighted_committee() -> None:
    node = TOY.genesis.to_node()
    node["parameters"]["committee"] = "weighted"
    genesis = Genesis.from_node(node)
    with pytest.raises(MalformedRecord, match="paper knows only 'fixed'"):
        protocol_of(genesis).check_genesis(genesis)
