"""The facts that are kept of each block from the genesis up, and the heads that follow from them.

A committee follows from the draws and the beacon of the block below, that beacon from the one
before, and so on: the first page of a block has to pass all blocks below it. Of each of them the
header is read as a record, since its hash is the block's identity; of its draws and votes no more
is read than the next head and searches need, and the canonical form of the whole is not looked at.
That takes a third of the time of `Block.decode`, by which the blocks that a page shows are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from consensus.encoding.cid import EncodingError
from consensus.encoding.dag_cbor import decode_loosely
from consensus.encoding.fields import (
    PROOF_BYTES,
    MalformedRecord,
    fields_of,
    fixed_bytes,
    integer,
    items_of,
    names_of,
    pair,
)
from consensus.ledger.committee import Draw, InvalidTicket, claimed_draw
from consensus.ledger.protocol import Protocol
from consensus.ledger.settlement import head_with, stakes_after
from consensus.ledger.stakes import Stakes
from consensus.ledger.validity import Head, InvalidBlock
from consensus.records.block import Block, Header
from consensus.records.genesis import Genesis
from consensus.records.settlement import Settlement
from consensus.records.ticket import Ticket
from consensus.records.votes import Certificate

Entry = Sequence[Any]
"""A draw as a block carries it: height, server, proof."""
_BLOCK: Final = names_of(Block)
_CERTIFICATE: Final = names_of(Certificate)


class Followed(NamedTuple):
    """A block as far as it is kept in memory: what the head after it and searches need."""

    cid: bytes
    timestamp: int
    beacon: bytes
    recorded: bool
    """True if the head's draws are those that the block carries, which are read again if needed."""
    draws: tuple[Draw, ...]
    """The head's draws, if they are others."""
    aggregator: int
    voters: int
    """Bit s is set if server s voted."""
    model: bytes
    snapshot: bytes | None
    stakes: Stakes | None = None
    """The stake after the block; None in a chain without incentives."""

    def head(self, height: int, draws: tuple[Draw, ...] = ()) -> Head:
        """The head after the block, which is at a height."""
        return Head(height, self.cid, self.timestamp, self.beacon, draws, self.stakes)


class Skimmed(NamedTuple):
    """The parts of a block that following it takes."""

    header: Header
    draws: Sequence[Entry]
    voters: Sequence[Any]
    """The (server, signature) of its certificate."""
    settlement: Settlement | None = None


def skim(height: int, encoded: bytes) -> Skimmed:
    """The parts of the encoded block of a height. Raises MalformedRecord, naming the height."""
    try:
        block = decode_loosely(encoded)
        settled = isinstance(block, dict) and "settlement" in block
        node = fields_of(block, "block", _BLOCK if settled else _BLOCK - {"settlement"})
        header = Header.from_node(node["header"])
        certificate = fields_of(node["certificate"], "certificate", _CERTIFICATE)
        votes = items_of(certificate["signatures"], "certificate.signatures")
        draws = items_of(node["tickets"], "tickets")
        settlement = Settlement.from_node(node["settlement"]) if settled else None
    except (EncodingError, MalformedRecord) as error:
        told = f"block: {error}" if isinstance(error, EncodingError) else f"{error}"
        raise MalformedRecord(f"height {height}: {told}") from None
    if header.height != height:
        raise MalformedRecord(f"height {height}: holds a block of height {header.height}")
    return Skimmed(header, draws, votes, settlement)


def after(
    genesis: Genesis, protocol: Protocol, head: Head, block: Skimmed
) -> tuple[Head, Followed]:
    """The head after a block, and what is kept of it. Raises MalformedRecord."""
    header = block.header
    if header.parent != head.cid:
        raise MalformedRecord(f"height {header.height}: its parent is not the block below")
    if header.aggregator >= len(genesis.servers):
        raise MalformedRecord(f"height {header.height}: server {header.aggregator} is not known")
    draws = lazy_draws(genesis, protocol.drawn_from(head)[1], block.draws)
    following = protocol.head_after(genesis, head, header, draws)
    try:
        stakes = stakes_after(
            genesis, head, header.aggregator, block.settlement, protocol.sortition
        )
    except (InvalidBlock, IndexError) as error:  # its evidence may name a server that is not known
        raise MalformedRecord(f"height {header.height}: its settlement: {error}") from None
    following = head_with(following, head, stakes)
    voters, known = 0, len(genesis.servers)
    for vote in block.voters:
        server, _ = pair(vote, "certificate.signatures")
        if integer(server, "certificate.signatures.server") < known:
            voters |= 1 << server
    recorded = following.draws is draws
    return following, Followed(
        following.cid,
        following.timestamp,
        following.beacon,
        recorded,
        () if recorded else following.draws,
        header.aggregator,
        voters,
        header.aggregate_cid,
        header.snapshot,
        stakes,
    )


class _LazyDraw(Draw):
    """The draw that an entry claims, whose output is computed when it is asked for: of the draws
    that a block carries the beacon needs one. It raises MalformedRecord then, for a proof that
    cannot be read."""

    def __init__(self, server: int, claim: tuple[Genesis, bytes, Entry]) -> None:
        object.__setattr__(self, "__dict__", {"server": server, "_claim": claim})

    def __getattr__(self, name: str) -> bytes:
        if name != "beta":
            raise AttributeError(name)
        genesis, seed, (height, server, proof) = self.__dict__["_claim"]
        ticket = Ticket(
            integer(height, "tickets.height", 1),
            server,
            fixed_bytes(proof, "tickets.proof", PROOF_BYTES),
        )
        try:
            beta = claimed_draw(genesis, seed, ticket).beta
        except InvalidTicket as error:
            raise MalformedRecord(f"a draw: {error}") from None
        object.__setattr__(self, "beta", beta)
        return beta


def lazy_draws(genesis: Genesis, seed: bytes, entries: Sequence[Entry]) -> tuple[Draw, ...]:
    """The draws that the entries of a block claim from ``seed``, each computed when it is needed.
    Their proofs are not checked: `bfedrec.explorer.block` checks those that a page shows. Raises
    MalformedRecord for an entry of no registered server."""
    known, found = len(genesis.servers), []
    for entry in entries:
        if type(entry) is not list or len(entry) != 3 or type(entry[1]) is not int:
            raise MalformedRecord("tickets: expected [height, server, proof]")
        server = entry[1]
        if not 0 <= server < known:
            raise MalformedRecord(f"a draw of server {server}, which is not registered")
        found.append(_LazyDraw(server, (genesis, seed, entry)))
    return tuple(found)


def recorded_draws(genesis: Genesis, seed: bytes, block: Block) -> tuple[Draw, ...]:
    """The draws that a block carries, as `lazy_draws`."""
    entries = [[each.height, each.server, each.proof] for each in block.tickets]
    return lazy_draws(genesis, seed, entries)
