"""Checks computed once per process: what is remembered, and what a vouched draw vouches for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from consensus.encoding.unixfs import file_cid
from consensus.ledger import committee as committee_module
from consensus.ledger.committee import Draw, InvalidTicket
from consensus.ledger.validity import InvalidBlock
from consensus.protocols.bft import validity as bft_validity
from consensus.records.block import Candidate
from consensus.records.genesis import Genesis
from consensus.records.ticket import Ticket
from consensus.server import checks as checks_module
from consensus.server.checks import SharedChecks
from tests.helpers.forge import Forge, flipped
from tests.helpers.rules import chain_from, checks_of
from tests.helpers.toy import Toy

TOY = Toy(servers=5, clients=3, committee_size=4, crypto="modelled")
FORGE = Forge(TOY)
CANDIDATE = FORGE.candidate()


def fresh(toy: Toy = TOY) -> SharedChecks:
    return checks_of(toy.genesis, toy.application)


def counted(
    monkeypatch: pytest.MonkeyPatch, name: str, module: ModuleType = checks_module
) -> list[object]:
    """Calls of one of a module's own functions."""
    calls: list[object] = []
    real: Callable[..., Any] = getattr(module, name)

    def counting(*arguments: Any) -> Any:
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(module, name, counting)
    return calls


# -- tickets ---------------------------------------------------------------------------------------


def vouched(toy: Toy) -> tuple[SharedChecks, Ticket, Draw]:
    """Server 0's draw for the second height, made and vouched for."""
    checks = fresh(toy)
    forge = Forge(toy)
    ticket, draw = forge.draw(0)
    checks.vouch(forge.head.beacon, ticket, draw)
    return checks, ticket, draw


def test_a_vouched_draw_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy(servers=3)
    checks, ticket, draw = vouched(toy)
    monkeypatch.setattr(checks_module, "check_ticket", lambda *_: pytest.fail("verified"))
    copy = replace(ticket)  # equal, and as it would come over the wire
    assert checks.ticket(toy.genesis, toy.world.head.beacon, copy) == draw


@pytest.mark.parametrize("change", [{"server": 1}, {"height": 3}, {"proof": bytes(80)}])
def test_a_vouched_draw_vouches_for_nothing_else(change: dict[str, object]) -> None:
    toy = Toy(servers=3)
    checks, ticket, _ = vouched(toy)
    altered = replace(ticket, **change)  # type: ignore[arg-type]
    with pytest.raises(InvalidTicket):
        checks.ticket(toy.genesis, toy.world.head.beacon, altered)


def test_every_flipped_byte_of_a_vouched_proof_is_refused() -> None:
    toy = Toy(servers=3)
    checks, ticket, _ = vouched(toy)
    for at in range(len(ticket.proof)):
        with pytest.raises(InvalidTicket):
            checks.ticket(
                toy.genesis,
                toy.world.head.beacon,
                replace(ticket, proof=flipped(ticket.proof, at)),
            )


def test_a_draw_is_vouched_for_under_one_beacon() -> None:
    toy = Toy(servers=3)
    checks, ticket, _ = vouched(toy)
    with pytest.raises(InvalidTicket):
        checks.ticket(toy.genesis, bytes(32), ticket)


def test_a_ticket_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checks, calls = fresh(), counted(monkeypatch, "check_ticket")
    for _ in range(3):
        ticket, draw = FORGE.draw(1)
        assert checks.ticket(TOY.genesis, FORGE.head.beacon, replace(ticket)) == draw
    assert len(calls) == 1
    checks.begin_height()
    checks.ticket(TOY.genesis, FORGE.head.beacon, ticket)
    assert len(calls) == 2


def test_a_candidate_with_a_forged_ticket_is_refused_beside_vouched_ones() -> None:
    checks = fresh()
    for server in range(5):
        ticket, draw = FORGE.draw(server)
        checks.vouch(FORGE.head.beacon, ticket, draw)
    draws = tuple(FORGE.draw(server)[1] for server in range(5))
    assert checks.candidate(FORGE.head, CANDIDATE) == draws
    tickets = CANDIDATE.tickets
    forged = (replace(tickets[0], proof=tickets[0].proof[:40] + bytes(40)), *tickets[1:])
    with pytest.raises(InvalidBlock, match="a ticket: server 0"):
        checks.candidate(FORGE.head, replace(CANDIDATE, tickets=forged))


# -- what is remembered ----------------------------------------------------------------------------


def test_a_check_is_made_once_for_one_object_on_one_head(monkeypatch: pytest.MonkeyPatch) -> None:
    checks, calls = fresh(), counted(monkeypatch, "check_header")
    for _ in range(3):
        checks.candidate(FORGE.head, CANDIDATE)
    assert len(calls) == 1
    checks.candidate(FORGE.head, replace(CANDIDATE))
    assert len(calls) == 2, "an equal object is another one"
    with pytest.raises(InvalidBlock, match="height 1 does not follow 1"):
        checks.candidate(FORGE.after(FORGE.block()).head, CANDIDATE)
    assert len(calls) == 3, "another head is another question"
    checks.begin_height()
    checks.candidate(FORGE.head, CANDIDATE)
    assert len(calls) == 4


def test_a_refusal_is_remembered_too(monkeypatch: pytest.MonkeyPatch) -> None:
    checks, calls = fresh(), counted(monkeypatch, "check_header")
    bad = FORGE.candidate(parent=file_cid(b""))
    for _ in range(3):
        with pytest.raises(InvalidBlock, match="its parent"):
            checks.candidate(FORGE.head, bad)
    assert len(calls) == 1


def test_an_object_lives_as_long_as_its_memo() -> None:
    """The memo goes by identity: no new message may take the place of one that was forgotten."""
    checks = fresh()
    for step in range(300):
        vote = FORGE.vote(CANDIDATE, 0, step=step, signer=step % 2)
        assert checks.vote(FORGE.head, vote) == (step % 2 == 0)
        del vote


def test_votes_timeouts_and_closings_are_checked_on_their_head() -> None:
    checks = fresh()
    members = FORGE.members()
    lock = FORGE.lock(CANDIDATE)
    assert checks.vote(FORGE.head, FORGE.vote(CANDIDATE, 1))
    assert not checks.vote(FORGE.head, FORGE.vote(CANDIDATE, 1, signer=2))
    assert checks.timeout(FORGE.head, FORGE.timeout(1))
    assert checks.timeout(FORGE.head, FORGE.timeout(1, lock=lock))
    assert not checks.timeout(FORGE.head, FORGE.timeout(1, signer=2))
    bad = replace(lock, signatures=lock.signatures[:2])
    for _ in range(2):
        assert not checks.timeout(FORGE.head, FORGE.timeout(1, lock=bad))
    checks.lock(FORGE.head, lock)
    with pytest.raises(InvalidBlock):
        checks.lock(FORGE.head, bad)
    checks.closed(FORGE.head, FORGE.closing())
    with pytest.raises(InvalidBlock, match="not enough"):
        checks.closed(FORGE.head, FORGE.closing(servers=members[:2]))


def test_sortitions_are_those_of_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    checks, second = fresh(), FORGE.after(FORGE.block())
    calls = counted(monkeypatch, "sortition_of", bft_validity)
    for _ in range(2):
        for attempt in range(3):
            for forge in (FORGE, second):
                found = checks.sortition(TOY.genesis, forge.head, attempt)
                assert found == forge.sortition(attempt)
    assert len(calls) == 6


def test_a_block_of_the_same_parts_is_checked_once() -> None:
    """Servers that certify a block themselves put it together from shared parts; whatever differs
    in a part is another block."""
    checks = fresh()
    members = FORGE.members()
    chain = chain_from(TOY.genesis)
    good = FORGE.block()
    chain.append(good, checks.block)
    assert checks.block(TOY.genesis, FORGE.head, replace(good)) is chain.head
    assert checks.block(TOY.genesis, FORGE.head, FORGE.block()) == chain.head
    with pytest.raises(InvalidBlock, match="two thirds"):
        checks.block(TOY.genesis, FORGE.head, FORGE.block(signers=members[:2]))
    signatures = ((members[0], bytes(64)), *good.certificate.signatures[1:])
    certificate = replace(good.certificate, signatures=signatures)
    for _ in range(2):
        with pytest.raises(InvalidBlock, match="vote signature"):
            checks.block(TOY.genesis, FORGE.head, replace(good, certificate=certificate))
        with pytest.raises(InvalidBlock, match="aggregator's signature"):
            checks.block(TOY.genesis, FORGE.head, replace(good, signature=bytes(64)))
        with pytest.raises(InvalidBlock, match="its tickets"):
            checks.block(TOY.genesis, FORGE.head, replace(good, tickets=good.tickets[1:]))


def test_aggregates_and_addresses_are_what_they_are() -> None:
    checks = fresh()
    updates = FORGE.updates()
    digests = tuple(update.record.digest for update in updates)
    contents, size = checks.aggregate(FORGE.head, updates, digests)
    assert size == sum(len(update.payload) for update in updates)
    assert contents.aggregate == TOY.application.aggregate(
        [update.payload for update in updates], [update.record.samples for update in updates]
    )
    assert checks.aggregate(FORGE.head, FORGE.updates(), digests)[0] is contents
    assert checks.aggregate(FORGE.head, updates[:2], digests[:2])[0] != contents
    assert checks.address(contents.aggregate) == file_cid(contents.aggregate)
    assert checks.address(contents.aggregate + b"x") == file_cid(contents.aggregate + b"x")
    assert checks.updates_root(CANDIDATE) == CANDIDATE.header.updates
    fewer = replace(CANDIDATE, updates=CANDIDATE.updates[:2])
    assert checks.updates_root(fewer) != CANDIDATE.header.updates


def test_a_candidates_updates_are_those_that_its_header_names() -> None:
    """They are not signed themselves: whoever passes a candidate on could alter them, and have an
    honest leader's block judged wrong."""
    checks = fresh()
    updates = CANDIDATE.updates
    for altered in [(), updates[:-1], tuple(reversed(updates)), (*updates, bytes(32)), updates * 2]:
        with pytest.raises(InvalidBlock, match="its updates are not those"):
            checks.candidate(FORGE.head, replace(CANDIDATE, updates=altered))
    with pytest.raises(InvalidBlock, match="its updates are not those"):
        checks.candidate(FORGE.head, FORGE.candidate(count=2))


# -- who proposes again ----------------------------------------------------------------------------


def again(**changes: Any) -> Candidate:
    closing = FORGE.closing(locks={FORGE.members()[0]: FORGE.lock(CANDIDATE)})
    return FORGE.again(CANDIDATE, (0, 1), closing, **changes)


def test_who_proposes_again_signs_too() -> None:
    checks = fresh()
    right = again()
    checks.candidate(FORGE.head, right)
    assert right.turn is not None
    for wrong in (
        again(signer=(right.turn.server + 1) % 5),
        replace(right, turn=replace(right.turn, step=2)),
        replace(right, turn=replace(right.turn, attempt=1)),
        replace(right, turn=replace(right.turn, server=99)),
        replace(right, turn=replace(right.turn, signature=CANDIDATE.signature)),
    ):
        with pytest.raises(InvalidBlock, match="proposer's signature"):
            checks.candidate(FORGE.head, wrong)


def test_a_wrong_genesis_is_nobodys() -> None:
    """The checks are of one chain: another's candidate is refused as such."""
    other: Genesis = replace(TOY.genesis, timestamp=1)
    assert committee_module.first_beacon(other) != FORGE.head.beacon
    with pytest.raises(InvalidBlock, match="another chain"):
        checks_of(other, TOY.application).candidate(FORGE.head, CANDIDATE)
