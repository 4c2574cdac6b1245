"""The chain: every way in which a block can be wrong is told, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from consensus.chain import Chain, Head, InvalidBlock
from consensus.committee import form_committee, next_beacon
from consensus.encoding import file_cid, node_cid
from consensus.keys import SigningKey
from consensus.records import Block, Ticket
from tests.forge import Forge, committee_of
from tests.toy import Toy

TOY = Toy(servers=9, clients=3, committee_size=6)
FORGE = Forge(TOY)
COMMITTEE = form_committee(TOY.genesis, FORGE.draws())
MEMBERS = sorted(COMMITTEE.weights)
OUTSIDER = next(server for server in range(9) if server not in COMMITTEE.weights)


def test_a_certified_block_is_appended() -> None:
    chain = Chain(TOY.genesis)
    assert (chain.height, chain.head) == (0, Head.of_genesis(TOY.genesis))
    assert chain.head.cid == node_cid(TOY.genesis.encoded)
    block = FORGE.block(signers=MEMBERS[:5])
    chain.append(block)
    beta = FORGE.draw(block.header.aggregator).beta
    assert chain.head == Head(
        1, block.cid, block.header.timestamp, next_beacon(FORGE.head.beacon, beta)
    )
    assert chain.blocks == [block]


def test_blocks_link_and_the_second_builds_on_the_first() -> None:
    chain = Chain(TOY.genesis)
    first = FORGE.block()
    chain.append(first)
    second = Forge(TOY, chain.head).block()
    assert second.header.parent == first.cid
    with pytest.raises(InvalidBlock, match="height 2 does not follow 0"):
        Chain(TOY.genesis).append(second)
    chain.append(second)
    with pytest.raises(InvalidBlock, match="height 1 does not follow 2"):
        chain.append(first)
    assert [block.height for block in chain.blocks] == [1, 2]


def test_a_chain_continues_from_a_head() -> None:
    chain = Chain(TOY.genesis)
    chain.append(FORGE.block())
    resumed = Chain(TOY.genesis, chain.head)
    resumed.append(Forge(TOY, resumed.head).block())
    assert resumed.height == 2
    assert len(resumed.blocks) == 1


def with_committee(tickets: tuple[Ticket, ...]) -> Block:
    """A block whose header names ``tickets`` and which all of them sign."""
    return FORGE.block(FORGE.candidate(committee=tickets))


def resealed(block: Block, **changes: object) -> Block:
    """``block`` with another header, and its old signatures."""
    return replace(block, header=replace(block.header, **changes))


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def stranger() -> SigningKey:
    return SigningKey.from_seed(bytes(32))


OTHER = Toy(servers=9, clients=3, committee_size=6, seed=99)
GOOD = FORGE.block()
TICKETS = COMMITTEE.tickets
EXTRA = FORGE.draw(OUTSIDER).ticket

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
        lambda: FORGE.block(FORGE.candidate(timestamp=FORGE.head.timestamp)),
        "timestamp does not rise",
    ),
    "step beyond MaxStep": (
        lambda: FORGE.block(FORGE.candidate(aggregator=0, step=3)),
        "step 3 is beyond MaxStep",
    ),
    "aggregator unknown": (
        lambda: resealed(GOOD, aggregator=9),
        "aggregator's ticket: server 9 is not registered",
    ),
    "aggregator's proof of another attempt": (
        lambda: FORGE.block(
            FORGE.candidate(aggregator=1, proof=FORGE.draw(1, attempt=1).ticket.proof)
        ),
        "the aggregator's ticket",
    ),
    "another's proof": (
        lambda: FORGE.block(FORGE.candidate(aggregator=1, proof=FORGE.draw(2).ticket.proof)),
        "the aggregator's ticket",
    ),
    "signed by another": (
        lambda: FORGE.block(FORGE.candidate(aggregator=1, signer=2)),
        "aggregator's signature",
    ),
    "signature damaged": (
        lambda: replace(GOOD, signature=flipped(GOOD.signature)),
        "aggregator's signature",
    ),
    "header changed after signing": (
        lambda: resealed(GOOD, model=file_cid(b"other")),
        "aggregator's signature",
    ),
    "header re-signed by a stranger": (
        lambda: replace(
            resealed(GOOD, model=file_cid(b"other")),
            signature=stranger().sign(replace(GOOD.header, model=file_cid(b"other")).signed),
        ),
        "aggregator's signature",
    ),
    "header re-signed by its aggregator": (
        lambda: replace(
            FORGE.block(FORGE.candidate(model=file_cid(b"other"))), certificate=GOOD.certificate
        ),
        "vote signature is not valid",
    ),
    "committee not the one named": (
        lambda: replace(GOOD, committee=tuple(reversed(GOOD.committee))),
        "not the one its header names",
    ),
    "member dropped": (
        lambda: replace(GOOD, committee=GOOD.committee[:-1]),
        "not the one its header names",
    ),
    "seat taken twice": (lambda: with_committee((*TICKETS[:5], TICKETS[0])), "sits twice"),
    "ticket of another attempt": (
        lambda: with_committee(
            (*TICKETS[:5], replace(FORGE.draw(TICKETS[5].server, 1).ticket, attempt=0))
        ),
        "a committee member's ticket",
    ),
    "ticket that says so itself": (
        lambda: with_committee((*TICKETS[:5], FORGE.draw(TICKETS[5].server, 1).ticket)),
        "ticket is for another attempt",
    ),
    "ticket of another server": (
        lambda: with_committee((*TICKETS[:5], replace(TICKETS[5], server=OUTSIDER))),
        "a committee member's ticket",
    ),
    "ticket's response damaged": (
        lambda: with_committee(
            (*TICKETS[:5], replace(TICKETS[5], proof=flipped(TICKETS[5].proof)))
        ),
        "a committee member's ticket",
    ),
    "member unknown": (
        lambda: FORGE.block(
            FORGE.candidate(committee=(*TICKETS[:5], replace(TICKETS[5], server=9))), MEMBERS
        ),
        "server 9 is not registered",
    ),
    "one member too many": (lambda: with_committee((*TICKETS, EXTRA)), "extra members"),
    "members out of order": (
        lambda: with_committee((TICKETS[1], TICKETS[0], *TICKETS[2:])),
        "not in the order of its draws",
    ),
    "worse ticket before a better": (
        lambda: with_committee((*TICKETS[:4], EXTRA, TICKETS[4])),
        "not in the order of its draws",
    ),
    "signers unsorted": (
        lambda: replace(GOOD, certificate=tuple(reversed(GOOD.certificate))),
        "ascending order",
    ),
    "signer counted twice": (
        lambda: replace(GOOD, certificate=(*GOOD.certificate[:4], GOOD.certificate[3])),
        "distinct",
    ),
    "vote without a seat": (
        lambda: FORGE.block(signers=sorted([*MEMBERS[:5], OUTSIDER])),
        f"server {OUTSIDER} voted without a seat",
    ),
    "vote by a server unknown": (
        lambda: replace(GOOD, certificate=(*GOOD.certificate, (9, bytes(64)))),
        "server 9 voted without a seat",
    ),
    "one vote damaged among enough": (
        lambda: replace(
            GOOD,
            certificate=(
                (GOOD.certificate[0][0], flipped(GOOD.certificate[0][1])),
                *GOOD.certificate[1:],
            ),
        ),
        f"server {MEMBERS[0]}'s vote signature",
    ),
    "votes by the aggregator's own hand": (
        lambda: FORGE.block(vote=lambda candidate, server: FORGE.vote(candidate, server, signer=0)),
        "vote signature",
    ),
    "rejections": (
        lambda: FORGE.block(vote=lambda candidate, server: FORGE.vote(candidate, server, False)),
        "vote signature",
    ),
    "votes of another step": (
        lambda: FORGE.block(vote=lambda candidate, server: FORGE.vote(candidate, server, step=1)),
        "vote signature",
    ),
    "votes of another attempt": (
        lambda: FORGE.block(
            vote=lambda candidate, server: FORGE.vote(candidate, server, attempt=1)
        ),
        "vote signature",
    ),
    "votes of another height": (
        lambda: FORGE.block(vote=lambda candidate, server: FORGE.vote(candidate, server, height=2)),
        "vote signature",
    ),
    "votes on another block": (
        lambda: FORGE.block(
            vote=lambda candidate, server: FORGE.vote(candidate, server, block=file_cid(b""))
        ),
        "vote signature",
    ),
    "no votes": (lambda: FORGE.block(signers=[]), "0 of 6 is not more than two thirds"),
    "exactly two thirds": (
        lambda: FORGE.block(signers=MEMBERS[:4]),
        "4 of 6 is not more than two thirds",
    ),
    "all of a committee of too few": (
        lambda: with_committee(TICKETS[:4]),
        "4 of 6 is not more than two thirds",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_block_is_refused_with_its_reason(name: str) -> None:
    make, reason = WRONG[name]
    block = make()
    chain = Chain(TOY.genesis)
    before = chain.head
    with pytest.raises(InvalidBlock, match=reason):
        chain.append(block)
    assert chain.head is before
    assert chain.blocks == []
    chain.append(GOOD)  # and it still takes the right one


def test_five_of_six_are_more_than_two_thirds() -> None:
    for left_out in MEMBERS:
        Chain(TOY.genesis).append(FORGE.block(signers=[m for m in MEMBERS if m != left_out]))


def test_any_aggregator_of_any_attempt_may_have_been_the_one() -> None:
    for attempt in (0, 1, 5):
        draws = FORGE.draws(attempt)
        for step in range(3):
            candidate = FORGE.candidate(attempt=attempt, step=step)
            assert candidate.committee == form_committee(TOY.genesis, draws).tickets
            Chain(TOY.genesis).append(FORGE.block(candidate))


def test_a_weighted_committee_is_checked_by_its_weights() -> None:
    toy = Toy(
        servers=6, clients=2, committee="weighted", committee_size=20, stakes=[5, 5, 5, 5, 5, 15]
    )
    forge = Forge(toy)
    committee = form_committee(toy.genesis, forge.draws())
    members = sorted(committee.weights)
    refused = 0
    for left_out in [[], *[[member] for member in members]]:
        signers = [member for member in members if member not in left_out]
        chain = Chain(toy.genesis)
        if 3 * committee.weight_of(signers) > 2 * committee.total:
            chain.append(forge.block(signers=signers))
        else:
            refused += 1
            with pytest.raises(InvalidBlock, match="two thirds"):
                chain.append(forge.block(signers=signers))
    assert refused == sum(
        3 * (sum(committee.weights.values()) - committee.weights[m]) <= 2 * committee.total
        for m in members
    )


def test_the_aggregator_cannot_choose_the_next_beacon() -> None:
    """Whatever it puts into its block, the next committee is the same."""
    heads = set()
    for timestamp in range(1, 6):
        chain = Chain(TOY.genesis)
        chain.append(FORGE.block(FORGE.candidate(FORGE.updates([0]), timestamp=timestamp)))
        heads.add((chain.head.beacon, chain.head.cid))
    assert len(heads) == 5
    assert len({beacon for beacon, _ in heads}) == 1


def test_a_block_cannot_show_which_tickets_were_left_out() -> None:
    """A known limit (README): a fixed committee of the proposer's choice has valid proofs. With a
    weighted one the choice gains nothing, for the total never falls below the expected size."""
    chosen = form_committee(TOY.genesis, FORGE.draws(0, [s for s in range(9) if s != MEMBERS[0]]))
    Chain(TOY.genesis).append(FORGE.block(FORGE.candidate(committee=chosen.tickets)))
    toy = Toy(servers=9, clients=1, committee="weighted", committee_size=9)
    forge = Forge(toy)
    few = form_committee(toy.genesis, forge.draws(0, range(6)))
    assert sorted(few.weights) == list(range(6))
    with pytest.raises(InvalidBlock, match="6 of 9 is not more than two thirds"):
        Chain(toy.genesis).append(forge.block(forge.candidate(committee=few.tickets)))


def test_the_forge_and_the_ledger_name_committees_alike() -> None:
    assert committee_of(TICKETS) == COMMITTEE.digest
