"""The facts of one block: its certificate, its committee and the draws that seated it, its updates
and contents, each verified in place.

All is asked of the protocol by its interface (`consensus.ledger.protocol`), so that a block of a
plugin's protocol is shown as one of ours. What does not hold is a line of `BlockFacts.problems`,
not an error: a page shows a bad block, and says what is bad about it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bfedrec.explorer.chain import RunChain, block_at
from bfedrec.explorer.facts import Attempt, BlockFacts, Content, DrawFact, Seat, UpdateFact
from consensus.encoding.cid import cid_text
from consensus.encoding.fields import MalformedRecord
from consensus.ledger.committee import Committee, InvalidTicket, check_ticket
from consensus.ledger.protocol import Protocol
from consensus.ledger.updates import updates_root
from consensus.ledger.validity import (
    Head,
    InvalidBlock,
    check_header,
    check_signature,
)
from consensus.protocols.registry import protocol_of
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.records.ticket import Ticket, tickets_digest
from consensus.records.update import UpdateRecord
from consensus.storage.content import Busy, StoreError
from consensus.storage.live import LiveChain

MOST_UPDATES: Final = 2000
"""Updates of a block that are listed."""
MOST_CONTENT: Final = 2**28
"""Longest content, in bytes, whose hash is looked at where a page waits for it."""


def block_facts(chain: RunChain, height: int) -> BlockFacts:
    """The facts of the block at a height, at least 1.

    Raises `bfedrec.runs.folder.RunError`, one line, for a chain without a block that can be read
    there, and `Busy`.
    """
    return chain.ask(lambda opened: _facts(chain, opened, height))


def _facts(run: RunChain, chain: LiveChain, height: int) -> BlockFacts:
    genesis = run.genesis(chain)
    protocol = protocol_of(genesis)
    last = chain.last_height()
    encoded = chain.block(height)
    block = block_at(chain, height)
    head = run.head(chain, height - 1)
    found = _Findings()
    committee = _committee(genesis, protocol, head, block, found)
    found.look("header and parent", lambda: check_header(genesis, head, block.header))
    found.look("aggregator's signature", lambda: _signature(genesis, block))
    seats = _seats(genesis, protocol, block, committee, head.held(genesis), found)
    draws, draws_in, seed = _draws(run, chain, genesis, protocol, head, block, committee, found)
    updates = _updates(run, chain, genesis, head, block, found)
    header, certificate = block.header, block.certificate
    carried_for, _ = protocol.drawn_from(head)
    return BlockFacts(
        height=height,
        last=last,
        cid=cid_text(header.cid),
        parent=cid_text(header.parent),
        encoded_bytes=len(encoded),
        chain_id=header.chain_id.hex(),
        timestamp_us=header.timestamp,
        took_us=header.timestamp - head.timestamp,
        aggregator=header.aggregator,
        attempt=header.attempt,
        step=header.step,
        samples=header.samples,
        count=header.count,
        updates_root=header.updates.hex(),
        tickets_digest=header.tickets.hex(),
        signature=block.signature.hex(),
        protocol=protocol.name,
        phase=certificate.phase,
        decided_attempt=certificate.attempt,
        decided_step=certificate.step,
        weight=committee.weight_of({s.server for s in seats if s.voted and s.weight}),
        total=committee.total,
        needed=2 * committee.total // 3 + 1,
        seats=seats,
        moves_stake=head.stakes is not None,
        draws=draws,
        draws_in=draws_in,
        draws_seed=seed.hex(),
        carried=len(block.tickets),
        carried_for=carried_for,
        attempts=_attempts(genesis, protocol, head, block),
        updates=updates,
        model=_content(chain, header.aggregate_cid, "aggregate", found),
        snapshot=None
        if header.snapshot is None
        else _content(chain, header.snapshot, "snapshot", found),
        modelled=genesis.parameters.crypto == "modelled",
        problems=tuple(found.problems),
        checked=tuple(found.checked),
    )


class _Findings:
    """The checks of a block that were made, and those that failed."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.checked: list[str] = []

    def look(self, what: str, check: Callable[[], object]) -> None:
        """Note that something was checked, and that it does not hold if ``check`` raises."""
        try:
            check()
        except (InvalidBlock, MalformedRecord) as error:
            self.problems.append(f"{what}: {error}")
        else:
            self.checked.append(what)


def _signature(genesis: Genesis, block: Block) -> None:
    if block.header.aggregator >= len(genesis.servers):
        raise InvalidBlock(f"server {block.header.aggregator} is not registered")
    check_signature(genesis, block.header, block.signature)


def _committee(
    genesis: Genesis, protocol: Protocol, head: Head, block: Block, found: _Findings
) -> Committee:
    try:
        return protocol.voters(genesis, head, block)
    except (InvalidBlock, MalformedRecord) as error:
        found.problems.append(f"committee: {error}")
        return Committee({}, genesis.parameters.committee_size)


def _seats(
    genesis: Genesis,
    protocol: Protocol,
    block: Block,
    committee: Committee,
    held: Sequence[int],
    found: _Findings,
) -> tuple[Seat, ...]:
    """The committee's members, heaviest or best first, and last the voters without a seat;
    ``held``: every server's stake before the block."""
    certificate = block.certificate
    signed = certificate.signed(genesis.chain_id)
    votes = {}
    for server, signature in certificate.signatures:
        known = server < len(genesis.servers)
        key = genesis.servers[server].signing_key if known else b""
        votes[server] = known and genesis.suite.verify(key, signed, signature)
        if not votes[server]:
            found.problems.append(f"votes: server {server}'s signature is not valid")
        elif server not in committee.weights:
            found.problems.append(f"votes: server {server} voted without a seat")
    if len(votes) != len(certificate.signatures):
        found.problems.append("votes: a server voted twice")
    named = certificate.height == block.height and certificate.block == block.cid
    if not named or certificate.phase != protocol.deciding:
        found.problems.append("votes: the certificate is for another block, height or phase")
    weight = committee.weight_of(votes)
    if not committee.approves(weight):
        found.problems.append(f"votes: {weight} of {committee.total} is not more than two thirds")
    if not any(each.startswith("votes") for each in found.problems):
        found.checked.append(f"{len(votes)} votes and the threshold")
    others = [server for server in votes if server not in committee.weights]
    return tuple(
        Seat(
            server,
            committee.weights.get(server, 0),
            held[server] if server < len(held) else 0,
            server in votes,
            votes.get(server, False),
        )
        for server in (*committee.weights, *others)
    )


def _draws(
    run: RunChain,
    chain: LiveChain,
    genesis: Genesis,
    protocol: Protocol,
    head: Head,
    block: Block,
    committee: Committee,
    found: _Findings,
) -> tuple[tuple[DrawFact, ...], int | None, bytes]:
    """The draws for the committees of this height, the height whose block carries them, and their
    seed. A protocol has them in the block itself, or in the one before."""
    height = block.height
    drawn_for, seed = protocol.drawn_from(head)
    carrier, where = block, height
    if drawn_for != height:
        if height == 1:
            facts = tuple(
                DrawFact(
                    each.server, each.beta.hex(), "", True, "", _weight(committee, each.server)
                )
                for each in head.draws
            )
            return facts, None, b""
        where = height - 1
        carrier = block_at(chain, where)
        drawn_for, seed = protocol.drawn_from(run.bare_head(chain, where - 1))
    if tickets_digest(carrier.tickets) != carrier.header.tickets:
        found.problems.append("draws: they are not those that the header names")
    facts = tuple(_draw(genesis, drawn_for, seed, ticket, committee) for ticket in carrier.tickets)
    bad = [each.server for each in facts if not each.valid]
    if bad:
        found.problems.append(f"draws: the proofs of {len(bad)} do not hold (server {bad[0]}'s)")
    else:
        found.checked.append(f"{len(facts)} draws by their proofs")
    return facts, where, seed


def _draw(
    genesis: Genesis, height: int, seed: bytes, ticket: Ticket, committee: Committee
) -> DrawFact:
    output, told = b"", ""
    try:
        output = check_ticket(genesis, seed, ticket).beta
        if ticket.height != height:
            told = f"it is for height {ticket.height}"
    except InvalidTicket as error:
        told = str(error)
    weight = _weight(committee, ticket.server)
    return DrawFact(ticket.server, output.hex(), ticket.proof.hex(), not told, told, weight)


def _weight(committee: Committee, server: int) -> int:
    return committee.weights.get(server, 0)


def _attempts(
    genesis: Genesis, protocol: Protocol, head: Head, block: Block
) -> tuple[Attempt, ...]:
    """The views up to the one that decided; of a long row the last ones."""
    header, certificate = block.header, block.certificate
    steps = genesis.parameters.max_step
    views = [
        (attempt, step)
        for attempt in range(max(0, certificate.attempt - 5), certificate.attempt + 1)
        for step in range(min(steps, 100))
        if (attempt, step) <= certificate.view
    ]
    found = []
    for attempt, step in views:
        leader = None
        if protocol.committees_foreseen:
            order = protocol.sortition(genesis, head, attempt).order
            leader = order[step] if step < len(order) else None
        if (attempt, step) == certificate.view:
            told = "decided" if certificate.view == header.view else "decided, proposed before"
        elif (attempt, step) == header.view:
            told = "proposed, not decided in time"
        else:
            told = "no block was decided"
        if not protocol.takes_turns and (attempt, step) == header.view:
            leader = header.aggregator
        found.append(Attempt(attempt, step, leader, told))
    return tuple(found)


def _updates(
    run: RunChain, chain: LiveChain, genesis: Genesis, head: Head, block: Block, found: _Findings
) -> tuple[UpdateFact, ...]:
    """The retained updates, each with what speaks against it, and the root over their digests."""
    height = block.height
    encoded = chain.updates(height)
    if not encoded:
        return ()
    facts: list[UpdateFact] = []
    digests = []
    for position, data in enumerate(encoded[:MOST_UPDATES]):
        try:
            record = UpdateRecord.decode(data)
        except MalformedRecord as error:
            found.problems.append(f"update {position}: {error}")
            return tuple(facts)
        digests.append(record.digest)
        facts.append(_update(run, chain, genesis, head, record, position))
    bad = [each for each in facts if not each.valid]
    if bad:
        found.problems.append(f"update {bad[0].position}: {bad[0].told} ({len(bad)} are not fit)")
    if len(encoded) > MOST_UPDATES:
        return tuple(facts)
    if updates_root(digests) != block.header.updates:
        found.problems.append("updates: they are not those whose root the header holds")
    elif not bad:
        found.checked.append(f"{len(facts)} updates, their signatures and their root")
    return tuple(facts)


def _update(
    run: RunChain,
    chain: LiveChain,
    genesis: Genesis,
    head: Head,
    record: UpdateRecord,
    position: int,
) -> UpdateFact:
    registered = genesis.registered.get(record.client)
    size, told = _length(chain, record.payload)
    if record.chain_id != genesis.chain_id or record.height != head.height + 1:
        told = "it is of another chain or height"
    elif record.parent != head.cid:
        told = "it builds on another block"
    elif registered is None:
        told = "its client is not registered"
    elif not 0 < record.samples <= registered:
        told = f"{record.samples} samples, and {registered} are registered"
    elif not genesis.suite.verify(record.client, record.signed, record.signature):
        told = "its signature is not valid"
    return UpdateFact(
        position=position,
        client=run.client_number(record.client),
        key=record.client.hex(),
        samples=record.samples,
        registered=registered or 0,
        digest=record.digest.hex(),
        payload=cid_text(record.payload),
        bytes=size,
        valid=not told,
        told=told,
    )


def _content(chain: LiveChain, link: bytes, what: str, found: _Findings) -> Content:
    size, told = _length(chain, link)
    if told:
        found.problems.append(f"{what}: {told}")
    else:
        found.checked.append(f"{what} by its address")
    return Content(cid_text(link), size, told)


def _length(chain: LiveChain, link: bytes) -> tuple[int | None, str]:
    """The length of content whose bytes hash to its address, or None and why there is none."""
    try:
        return len(chain.get_at_most(link, MOST_CONTENT)), ""
    except Busy:
        raise
    except StoreError as error:
        return None, f"{error}"
