"""Checks computed once per process: what is remembered, and what a vouched draw vouches for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus import vrf
from consensus.chain import InvalidBlock
from consensus.committee import Draw, InvalidTicket
from consensus.records import Ticket
from tests.forge import Forge
from tests.toy import Toy


def vouched(toy: Toy) -> Draw:
    """Server 0's draw for the first height, made and vouched for."""
    head = toy.world.head
    alpha = Ticket.alpha(toy.genesis.chain_id, head.beacon, 1, 0)
    proof, beta = toy.keys[0][1].prove(alpha)
    draw = Draw(Ticket(1, 0, 0, proof), beta)
    toy.world.checks.vouch(head, draw)
    return draw


def test_a_vouched_draw_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy(servers=3)
    draw = vouched(toy)
    monkeypatch.setattr(vrf, "verify", lambda *_: pytest.fail("verified"))
    copy = replace(draw.ticket)  # equal, and as it would come over the wire
    assert toy.world.checks.ticket(toy.world.head, copy) == draw


@pytest.mark.parametrize(
    "change",
    [
        {"server": 1},
        {"attempt": 1},
        {"height": 2},
        {"proof": bytes(80)},
    ],
)
def test_a_vouched_draw_vouches_for_nothing_else(change: dict[str, object]) -> None:
    toy = Toy(servers=3)
    ticket = replace(vouched(toy).ticket, **change)  # type: ignore[arg-type]
    with pytest.raises(InvalidTicket):
        toy.world.checks.ticket(toy.world.head, ticket)


def test_every_flipped_byte_of_a_vouched_proof_is_refused() -> None:
    toy = Toy(servers=3)
    ticket = vouched(toy).ticket
    for at in range(len(ticket.proof)):
        proof = bytearray(ticket.proof)
        proof[at] ^= 1
        with pytest.raises(InvalidTicket):
            toy.world.checks.ticket(toy.world.head, replace(ticket, proof=bytes(proof)))


def test_a_draw_is_vouched_for_under_one_beacon() -> None:
    toy = Toy(servers=3)
    draw = vouched(toy)
    other = replace(toy.world.head, beacon=bytes(32))
    with pytest.raises(InvalidTicket):
        toy.world.checks.ticket(other, draw.ticket)


def test_a_candidate_with_a_forged_seat_is_refused_beside_vouched_ones() -> None:
    toy = Toy(servers=4)
    forge = Forge(toy)
    for draw in forge.draws():
        toy.world.checks.vouch(toy.world.head, draw)
    good = forge.candidate()
    toy.world.checks.candidate(toy.world.head, good)
    seats = (replace(good.committee[0], proof=bytes(80)), *good.committee[1:])
    with pytest.raises(InvalidBlock):
        toy.world.checks.candidate(toy.world.head, replace(good, committee=seats))


def test_a_refusal_is_remembered_too(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy(servers=3)
    bad = Ticket(1, 0, 0, bytes(80))
    with pytest.raises(InvalidTicket):
        toy.world.checks.ticket(toy.world.head, bad)
    monkeypatch.setattr(vrf, "verify", lambda *_: pytest.fail("verified twice"))
    with pytest.raises(InvalidTicket):
        toy.world.checks.ticket(toy.world.head, bad)
