"""The chain: every way in which a block can be wrong is told, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from consensus.crypto.keys import SigningKey
from consensus.encoding.cid import node_cid
from consensus.encoding.unixfs import file_cid
from consensus.ledger.chain import heads_of
from consensus.ledger.committee import (
    ATTEMPTS_FORESEEN,
    first_beacon,
    form_committee,
    next_beacon,
    public_draws,
    spare_draws,
)
from consensus.ledger.validity import Head, InvalidBlock
from consensus.protocols.bft.validity import (
    check_turn,
    sortition_of,
)
from consensus.protocols.registry import protocol_of
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.records.ticket import Ticket, tickets_digest
from tests.helpers.forge import Forge, digest_of, flipped
from tests.helpers.rules import chain_from
from tests.helpers.toy import Toy

TOY = Toy(servers=9, clients=3, committee_size=6)
GENESIS = TOY.genesis
BFT = protocol_of(GENESIS)
FORGE = Forge(TOY)
HEAD = FORGE.head
ORDER = FORGE.order()
MEMBERS = FORGE.members()
OUTSIDER = next(server for server in range(9) if server not in MEMBERS)


def test_a_certified_block_is_appended() -> None:
    chain = chain_from(GENESIS)
    assert (chain.height, chain.head) == (0, BFT.first_head(GENESIS))
    assert chain.head.cid == node_cid(GENESIS.encoded)
    assert chain.head.beacon == first_beacon(GENESIS)
    assert chain.head.draws == public_draws(GENESIS)
    block = FORGE.block(signers=MEMBERS[:5])
    chain.append(block)
    beta = HEAD.draws[block.header.aggregator].beta
    draws = tuple(FORGE.draw(server)[1] for server in range(9))
    assert chain.head == Head(
        1, block.cid, block.header.timestamp, next_beacon(HEAD.beacon, beta), draws
    )
    assert chain.blocks == [block]
    assert chain.heads == [HEAD, chain.head]


def test_blocks_link_and_the_second_builds_on_the_first() -> None:
    chain = chain_from(GENESIS)
    first = FORGE.block()
    chain.append(first)
    forge = Forge(TOY, chain.head)
    second = forge.block()
    assert second.header.parent == first.cid
    with pytest.raises(InvalidBlock, match="height 2 does not follow 0"):
        chain_from(GENESIS).append(second)
    chain.append(second)
    beta = forge.head.draws[second.header.aggregator].beta
    assert chain.head.beacon == next_beacon(forge.head.beacon, beta)
    with pytest.raises(InvalidBlock, match="height 1 does not follow 2"):
        chain.append(first)
    assert [block.height for block in chain.blocks] == [1, 2]


def test_the_tickets_of_a_block_are_the_next_heights_draws() -> None:
    """Who is left out of them has no seat and no turn in the attempts that tickets are announced
    for, as long as others fill all."""
    listed = FORGE.tickets(server for server in range(9) if server not in (2, 5))
    forge = FORGE.after(FORGE.block(FORGE.candidate(tickets=listed)))
    assert [draw.server for draw in forge.head.draws] == [0, 1, 3, 4, 6, 7, 8]
    early, late = range(ATTEMPTS_FORESEEN), range(ATTEMPTS_FORESEEN, 30)
    for attempts, servers in ((early, {0, 1, 3, 4, 6, 7, 8}), (late, set(range(9)))):
        seated = {server for attempt in attempts for server in forge.members(attempt)}
        leading = {server for attempt in attempts for server in forge.order(attempt)}
        assert seated == leading == servers


def test_who_has_no_ticket_may_still_have_to_fill_a_seat() -> None:
    """Five tickets, six seats: the sixth is one of the others, by a public draw; and should it be
    such a server's turn, its public draw leads to the next beacon."""
    toy = Toy(servers=9, clients=1, committee_size=6, max_step=6)
    forge = Forge(toy)
    forge = forge.after(forge.block(forge.candidate(tickets=forge.tickets(range(5)))))
    assert set(forge.members()) > {0, 1, 2, 3, 4}
    assert len(forge.members()) == 6
    last = forge.order()[5]
    assert last > 4
    block = forge.block(forge.candidate(view=(0, 5)))
    spares = spare_draws(toy.genesis, forge.head.beacon, forge.head.draws)
    [beta] = [spare.beta for spare in spares if spare.server == last]
    assert forge.after(block).head.beacon == next_beacon(forge.head.beacon, beta)


def test_a_chain_continues_from_its_blocks_and_heads() -> None:
    chain = chain_from(GENESIS)
    chain.append(FORGE.block())
    resumed = chain_from(GENESIS, chain.blocks, chain.heads)
    resumed.append(Forge(TOY, resumed.head).block())
    assert (resumed.height, len(resumed.blocks), len(resumed.heads)) == (2, 2, 3)
    assert (chain.height, len(chain.blocks), len(chain.heads)) == (1, 1, 2)
    assert heads_of(GENESIS, BFT, resumed.blocks) == resumed.heads
    with pytest.raises(InvalidBlock, match="height 2 does not follow 0"):
        heads_of(GENESIS, BFT, resumed.blocks[1:])


def test_a_chain_is_cut_to_what_was_on_the_disk() -> None:
    chain = chain_from(GENESIS)
    forge, heads = FORGE, [HEAD]
    for _ in range(4):
        chain.append(forge.block())
        forge = Forge(TOY, chain.head)
        heads.append(chain.head)
    blocks = list(chain.blocks)
    for height in (7, 4, -1):
        chain.cut(height)
        assert chain.height == 4, "there is nothing above it, or nowhere to go"
    chain.cut(2)
    assert (chain.height, chain.head) == (2, heads[2])
    assert (chain.blocks, chain.heads) == (blocks[:2], heads[:3])
    chain.append(blocks[2])
    assert chain.head == heads[3]
    chain.cut(0)
    assert (chain.height, chain.head, chain.blocks) == (0, HEAD, [])


# -- blocks ----------------------------------------------------------------------------------------


def with_tickets(tickets: tuple[Ticket, ...]) -> Block:
    """A block whose header names ``tickets``, perfectly certified."""
    return FORGE.block(FORGE.candidate(tickets=tickets))


def resealed(block: Block, **changes: object) -> Block:
    """``block`` with another header, and its old signatures."""
    return replace(block, header=replace(block.header, **changes))  # type: ignore[arg-type]


def recertified(**changes: object) -> Block:
    """The good block with another certificate."""
    return replace(GOOD, certificate=replace(GOOD.certificate, **changes))  # type: ignore[arg-type]


def voted(**changes: object) -> Block:
    """The good block, whose certificate holds other votes than it says."""
    return FORGE.block(
        CANDIDATE,
        vote=lambda candidate, server, phase, view: FORGE.vote(
            candidate, server, **({"phase": phase, "view": view} | changes)
        ),
    )


def stranger() -> SigningKey:
    return SigningKey.from_seed(bytes(32))


OTHER = Toy(servers=9, clients=3, committee_size=6, seed=99)
CANDIDATE = FORGE.candidate()
GOOD = FORGE.block(CANDIDATE)
SIGNED = GOOD.certificate.signatures
TICKETS = FORGE.tickets()
NOT_LEADING = next(server for server in range(9) if server not in ORDER)

WRONG: dict[str, tuple[Callable[[], Block], str]] = {
    "another genesis": (lambda: Forge(OTHER).block(), "another chain"),
    "another chain's id": (
        lambda: FORGE.block(FORGE.candidate(chain_id=bytes(32))),
        "another chain",
    ),
    "height skipped": (lambda: FORGE.block(FORGE.candidate(height=2)), "height 2 does not follow"),
    "another parent": (
        lambda: FORGE.block(FORGE.candidate(parent=file_cid(b"other"))),
        "its parent is not the block before",
    ),
    "time stands still": (
        lambda: FORGE.block(FORGE.candidate(timestamp=HEAD.timestamp)),
        "timestamp does not rise",
    ),
    "step beyond MaxStep": (
        lambda: FORGE.block(FORGE.candidate(aggregator=0, step=3)),
        "step 3 is beyond MaxStep",
    ),
    "aggregator unknown": (lambda: resealed(GOOD, aggregator=9), "server 9 is not registered"),
    # -- its turn
    "a step too early": (
        lambda: FORGE.block(FORGE.candidate(aggregator=ORDER[1])),
        f"step 0 is not the turn of server {ORDER[1]}",
    ),
    "the turn of another attempt": (
        lambda: FORGE.block(FORGE.candidate(view=(1, 0), aggregator=other_leader())),
        "step 0 is not the turn",
    ),
    "a server that has no turn": (
        lambda: FORGE.block(FORGE.candidate(aggregator=NOT_LEADING)),
        "is not the turn",
    ),
    "decided before it was proposed": (
        lambda: FORGE.block(FORGE.candidate(view=(0, 1)), view=(0, 0)),
        "decided before it was proposed",
    ),
    "decided in an attempt before": (
        lambda: FORGE.block(FORGE.candidate(view=(1, 0)), view=(0, 2)),
        "decided before it was proposed",
    ),
    "decided beyond MaxStep": (
        lambda: FORGE.block(CANDIDATE, view=(0, 3)),
        "step 3 is beyond MaxStep",
    ),
    # -- its aggregator's signature
    "signed by another": (
        lambda: FORGE.block(FORGE.candidate(signer=ORDER[1])),
        "aggregator's signature",
    ),
    "signature damaged": (
        lambda: replace(GOOD, signature=flipped(GOOD.signature)),
        "aggregator's signature",
    ),
    "signed in another view": (
        lambda: replace(GOOD, signature=proposed_elsewhere()),
        "aggregator's signature",
    ),
    "header changed after signing": (
        lambda: certified(resealed(GOOD, aggregate_cid=file_cid(b"other"))),
        "aggregator's signature",
    ),
    "header re-signed by a stranger": (
        lambda: certified(
            replace(
                resealed(GOOD, aggregate_cid=file_cid(b"other")),
                signature=stranger().sign(
                    replace(GOOD.header, aggregate_cid=file_cid(b"other")).signed
                ),
            )
        ),
        "aggregator's signature",
    ),
    # -- its tickets
    "tickets not those named": (
        lambda: replace(GOOD, tickets=tuple(reversed(GOOD.tickets))),
        "its tickets are not those that its header names",
    ),
    "a ticket dropped": (
        lambda: replace(GOOD, tickets=GOOD.tickets[:-1]),
        "its tickets are not those that its header names",
    ),
    "a ticket for another": (
        lambda: replace(GOOD, tickets=(*TICKETS[:8], replace(FORGE.ticket(8, height=3), height=2))),
        "its tickets are not those that its header names",
    ),
    "a ticket twice": (lambda: with_tickets((*TICKETS, TICKETS[8])), "a server has two tickets"),
    "tickets out of order": (
        lambda: with_tickets((TICKETS[1], TICKETS[0], *TICKETS[2:])),
        "not in ascending order of their servers",
    ),
    "a ticket of this height": (
        lambda: with_tickets((*TICKETS[:8], FORGE.ticket(8, height=1))),
        "server 8's ticket is for another height",
    ),
    "a ticket of a later height": (
        lambda: with_tickets((*TICKETS[:8], FORGE.ticket(8, height=3))),
        "server 8's ticket is for another height",
    ),
    "a ticket that says another height": (
        lambda: with_tickets((*TICKETS[:8], replace(FORGE.ticket(8, height=3), height=2))),
        "a ticket: server 8",
    ),
    "a ticket on another beacon": (
        lambda: with_tickets((*TICKETS[:8], Forge(TOY, OTHER_BEACON).ticket(8))),
        "a ticket: server 8",
    ),
    "a ticket of another server": (
        lambda: with_tickets((*TICKETS[:7], replace(TICKETS[8], server=7), TICKETS[8])),
        "a ticket: server 7",
    ),
    "a ticket's response damaged": (
        lambda: with_tickets((*TICKETS[:8], replace(TICKETS[8], proof=flipped(TICKETS[8].proof)))),
        "a ticket: server 8",
    ),
    "a ticket of nobody": (
        lambda: with_tickets((*TICKETS, replace(TICKETS[8], server=9))),
        "a ticket: server 9 is not registered",
    ),
    "two thirds of the seats' draws": (
        lambda: with_tickets(TICKETS[:4]),
        "4 draws cannot fill the next committee",
    ),
    "no tickets": (lambda: with_tickets(()), "0 draws cannot fill the next committee"),
    # -- its certificate
    "certificate of another block": (
        lambda: recertified(block=file_cid(b"other")),
        "its certificate is for another block",
    ),
    "header re-signed by its aggregator": (
        lambda: replace(
            FORGE.block(FORGE.candidate(aggregate_cid=file_cid(b"other"))),
            certificate=GOOD.certificate,
        ),
        "its certificate is for another block",
    ),
    "certificate of another height": (
        lambda: recertified(height=2),
        "its certificate is of height 2",
    ),
    "a lock for a decision": (
        lambda: FORGE.block(CANDIDATE, phase="soft"),
        "its certificate is of the soft phase, not cert",
    ),
    "the paper's approvals": (
        lambda: FORGE.block(CANDIDATE, phase="approve"),
        "its certificate is of the approve phase, not cert",
    ),
    "signers unsorted": (
        lambda: recertified(signatures=tuple(reversed(SIGNED))),
        "not distinct and in ascending order",
    ),
    "signer counted twice": (
        lambda: recertified(signatures=(*SIGNED[:4], SIGNED[3])),
        "not distinct and in ascending order",
    ),
    "vote without a seat": (
        lambda: FORGE.block(signers=sorted([*MEMBERS[:5], OUTSIDER])),
        f"server {OUTSIDER} voted without a seat",
    ),
    "vote by a server unknown": (
        lambda: recertified(signatures=(*SIGNED, (9, bytes(64)))),
        "server 9 voted without a seat",
    ),
    "the committee of another attempt": (
        lambda: FORGE.block(CANDIDATE, signers=FORGE.members(1), view=(0, 0)),
        "voted without a seat",
    ),
    "one vote damaged among enough": (
        lambda: recertified(signatures=((MEMBERS[0], flipped(SIGNED[0][1])), *SIGNED[1:])),
        f"server {MEMBERS[0]}'s vote signature",
    ),
    "votes by the aggregator's own hand": (lambda: voted(signer=0), "vote signature"),
    "soft votes in a cert certificate": (lambda: voted(phase="soft"), "vote signature"),
    "rejections": (lambda: voted(phase="reject"), "vote signature"),
    "votes of another step": (lambda: voted(step=1), "vote signature"),
    "votes of another attempt": (lambda: voted(attempt=1), "vote signature"),
    "votes of another height": (lambda: voted(height=2), "vote signature"),
    "votes of another chain": (lambda: voted(chain_id=bytes(32)), "vote signature"),
    "votes on another block": (lambda: voted(block=file_cid(b"")), "vote signature"),
    "no votes": (lambda: FORGE.block(signers=[]), "0 of 6 is not more than two thirds"),
    "exactly two thirds": (
        lambda: FORGE.block(signers=MEMBERS[:4]),
        "4 of 6 is not more than two thirds",
    ),
}


OTHER_BEACON = replace(HEAD, beacon=bytes(32))


def other_leader() -> int:
    """A server that does not lead attempt 1, step 0, but leads step 0 of attempt 0."""
    assert FORGE.order(1)[0] != ORDER[0]
    return ORDER[0]


def proposed_elsewhere() -> bytes:
    """The aggregator's signature on the good block, proposed again in a later view."""
    turn = FORGE.again(CANDIDATE, (0, 1), None, server=ORDER[0]).turn
    assert turn is not None
    return turn.signature


def certified(block: Block) -> Block:
    """``block`` with a certificate of its own."""
    again = replace(CANDIDATE, header=block.header)
    return replace(block, certificate=FORGE.certificate(again))


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_block_is_refused_with_its_reason(name: str) -> None:
    make, reason = WRONG[name]
    block = make()
    chain = chain_from(GENESIS)
    before = chain.head
    with pytest.raises(InvalidBlock, match=reason):
        chain.append(block)
    assert chain.head is before
    assert (chain.blocks, chain.heads) == ([], [before])
    chain.append(GOOD)  # and it still takes the right one


def test_five_of_six_are_more_than_two_thirds() -> None:
    for left_out in MEMBERS:
        chain_from(GENESIS).append(FORGE.block(signers=[m for m in MEMBERS if m != left_out]))


def test_five_of_six_seats_draws_are_enough() -> None:
    forge = FORGE.after(with_tickets(TICKETS[:5]))
    assert [draw.server for draw in forge.head.draws] == [0, 1, 2, 3, 4]
    chain_from(GENESIS, (), (forge.head,)).append(forge.block())
    with pytest.raises(InvalidBlock, match="4 of 6 is not more than two thirds"):
        chain_from(GENESIS, (), (forge.head,)).append(forge.block(signers=forge.members()[:4]))


def test_any_aggregator_of_any_attempt_may_have_been_the_one() -> None:
    for attempt in (0, 1, 5):
        for step in range(3):
            candidate = FORGE.candidate(view=(attempt, step))
            assert candidate.header.aggregator == FORGE.order(attempt)[step]
            chain_from(GENESIS).append(FORGE.block(candidate))


@pytest.mark.parametrize("view", [(0, 1), (0, 2), (1, 0), (3, 2)])
def test_a_block_may_be_decided_later_than_it_was_proposed(view: tuple[int, int]) -> None:
    """Proposed again because of its lock: the committee of that view decides, not the first."""
    block = FORGE.block(CANDIDATE, view=view)
    chain = chain_from(GENESIS)
    chain.append(block)
    assert chain.head == BFT.check_block(GENESIS, HEAD, GOOD), (
        "the head is the block's, and the same"
    )
    if view[0]:
        others = FORGE.block(CANDIDATE, signers=MEMBERS, view=view)
        with pytest.raises(InvalidBlock):
            chain_from(GENESIS).append(others)


def test_a_turn_is_one_servers() -> None:
    check_turn(ORDER, 0, ORDER[0])
    for step, server in ((0, ORDER[1]), (1, ORDER[0]), (3, ORDER[0])):
        with pytest.raises(InvalidBlock, match=f"step {step} is not the turn of server {server}"):
            check_turn(ORDER, step, server)


def test_a_weighted_committee_is_checked_by_its_weights() -> None:
    toy = Toy(
        servers=6, clients=2, committee="weighted", committee_size=20, stakes=[5, 5, 5, 5, 5, 15]
    )
    forge = Forge(toy)
    committee = forge.sortition().committee
    members = sorted(committee.weights)
    refused = 0
    for left_out in [[], *[[member] for member in members], members[:2], members[-2:]]:
        signers = [member for member in members if member not in left_out]
        chain = chain_from(toy.genesis)
        if 3 * committee.weight_of(signers) > 2 * committee.total:
            chain.append(forge.block(signers=signers))
        else:
            refused += 1
            with pytest.raises(InvalidBlock, match="two thirds"):
                chain.append(forge.block(signers=signers))
    assert refused > 0


def test_the_aggregator_cannot_choose_the_next_beacon() -> None:
    """Whatever it puts into its block, what the next height draws is the same."""
    heads = set()
    for timestamp in range(1, 6):
        chain = chain_from(GENESIS)
        chain.append(FORGE.block(FORGE.candidate(FORGE.updates([0]), timestamp=timestamp)))
        heads.add((chain.head.beacon, chain.head.cid))
    assert len(heads) == 5
    assert len({beacon for beacon, _ in heads}) == 1


def test_another_aggregator_leads_to_another_beacon() -> None:
    beacons = {
        FORGE.after(FORGE.block(FORGE.candidate(view=(a, s)))).head.beacon
        for a in range(2)
        for s in range(3)
    }
    aggregators = {FORGE.order(a)[s] for a in range(2) for s in range(3)}
    assert len(beacons) == len(aggregators)


def test_the_first_heights_committees_are_public() -> None:
    """Whoever knows the genesis knows who votes on block 1, in every attempt."""
    fresh = BFT.first_head(Genesis.decode(GENESIS.encoded))
    for attempt in range(4):
        found = sortition_of(GENESIS, fresh, attempt)
        assert found == FORGE.sortition(attempt)
        assert found.committee == form_committee(GENESIS, public_draws(GENESIS), attempt)


def test_the_forge_and_the_ledger_name_tickets_alike() -> None:
    assert digest_of(TICKETS) == tickets_digest(TICKETS)
