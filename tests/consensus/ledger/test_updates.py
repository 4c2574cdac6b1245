"""The update pool: what is fit enters once, what is not is counted, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.encoding.dag_cbor import merkle_root
from consensus.encoding.unixfs import file_cid
from consensus.ledger.updates import SignedUpdate, UpdatePool, check_update, updates_root
from consensus.ledger.validity import Head
from consensus.records.update import UpdateRecord
from tests.helpers.fake_inbox import FakeInbox
from tests.helpers.forge import Forge
from tests.helpers.rules import checks_of
from tests.helpers.toy import Toy

TOY = Toy(servers=4, clients=5)
HEAD = TOY.world.head
LATER = Head(1, file_cid(b"block 1"), 1, bytes(32))


def check(head: Head, update: SignedUpdate) -> str | None:
    return check_update(TOY.genesis, head, update, TOY.application.check_payload)


def with_payload(client: int, payload: bytes) -> SignedUpdate:
    """A properly signed update whose payload is ``payload``."""
    return replace(TOY.update(client, payload=file_cid(payload)), payload=payload)


def signed_by(update: SignedUpdate, client: int) -> SignedUpdate:
    signature = TOY.clients[client].sign(update.record.signed)
    return replace(update, record=replace(update.record, signature=signature))


def floats(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


FIT = TOY.update(0)
UNFIT: dict[str, SignedUpdate] = {
    "other chain": TOY.update(0, chain_id=bytes(32)),
    "early": TOY.update(0, height=2),
    "other parent": TOY.update(0, parent=file_cid(b"another block")),
    "unknown client": Toy(servers=4, clients=6).update(
        5, samples=1, chain_id=TOY.genesis.chain_id, parent=HEAD.cid
    ),
    "sample count": TOY.update(0, samples=11),
    "payload digest": replace(FIT, payload=TOY.update(1).payload),
    "shape": with_payload(0, floats(1.0)),
    "not finite": with_payload(0, floats(1.0, float("nan"))),
    "signature": signed_by(FIT, 1),
}


def test_what_a_signer_hashed_is_not_said_of_another_payload() -> None:
    update, other = SignedUpdate.by_signer(FIT.record, FIT.payload), TOY.update(1).payload
    assert update == FIT
    assert update.payload_cid == file_cid(FIT.payload)
    assert replace(update, payload=other).payload_cid == file_cid(other)


@pytest.mark.parametrize("reason", UNFIT)
def test_an_unfit_update_is_counted_and_changes_nothing_else(reason: str) -> None:
    pool = UpdatePool(check)
    assert pool.add(TOY.update(1), HEAD)
    before = pool.ordered()
    assert not pool.add(UNFIT[reason], HEAD)
    assert pool.rejected == {reason: 1}
    assert pool.ordered() == before
    assert pool.pick([UNFIT[reason].record.digest]) is None
    assert pool.add(FIT, HEAD), "the client's place is still free"


@pytest.mark.parametrize(
    "update",
    [
        TOY.update(0, samples=0),
        TOY.update(0, samples=2**62),
        with_payload(0, b""),
        with_payload(0, floats(float("inf"), 0.0)),
        with_payload(0, floats(float("-inf"), float("nan"))),
        with_payload(0, floats(1.0, 2.0, 3.0)),
        replace(FIT, record=replace(FIT.record, signature=bytes(64))),
        replace(FIT, record=replace(FIT.record, samples=FIT.record.samples - 1)),
        replace(FIT, payload=FIT.payload[:-1] + b"\x7f"),
    ],
)
def test_more_that_is_not_fit(update: SignedUpdate) -> None:
    pool = UpdatePool(check)
    assert not pool.add(update, HEAD)
    assert sum(pool.rejected.values()) == 1
    assert len(pool) == 0


def test_an_update_is_good_for_one_block_only() -> None:
    """The replay of a round: what was fit then is stale now."""
    pool = UpdatePool(check)
    assert pool.add(FIT, HEAD)
    pool.clear()
    assert len(pool) == 0
    assert not pool.add(FIT, LATER)
    assert not pool.add(TOY.update(1, height=2), LATER)
    assert pool.rejected == {"stale": 1, "other parent": 1}
    assert pool.add(TOY.update(1, height=2, parent=LATER.cid), LATER)


def test_fewer_samples_than_registered_may_be_claimed() -> None:
    assert check(HEAD, TOY.update(0, samples=1)) is None
    assert check(HEAD, TOY.update(0, samples=10)) is None


def test_the_same_update_by_another_path_is_no_offence() -> None:
    pool = UpdatePool(check)
    assert pool.add(FIT, HEAD)
    assert not pool.add(FIT, HEAD)
    assert pool.rejected == {}
    assert pool.ordered() == [FIT]


def test_two_different_updates_of_a_client_count_for_nothing_but_are_kept() -> None:
    """Every server must be able to verify a candidate that lists either of them."""
    pool = UpdatePool(check)
    second, third = TOY.update(0, value=2.0), TOY.update(0, value=3.0)
    assert pool.add(FIT, HEAD)
    assert pool.add(TOY.update(1), HEAD)
    assert pool.add(second, HEAD), "worth passing on: evidence"
    assert not pool.add(third, HEAD), "two are evidence enough"
    assert not pool.add(second, HEAD)
    assert not pool.add(FIT, HEAD)
    assert pool.rejected == {"second update": 2}
    assert pool.ordered() == [TOY.update(1)]
    assert len(pool) == 1
    assert pool.pick([second.record.digest, FIT.record.digest]) == [second, FIT]
    assert pool.pick([third.record.digest]) is None
    pool.clear()
    assert pool.add(second, HEAD), "a new height forgives"
    assert pool.ordered() == [second]


def test_an_update_that_a_candidate_lists_is_kept_of_whatever_client() -> None:
    """Else one could list what another, which keeps two of the client's, refuses for good."""
    pool, head = UpdatePool(lambda head, update: None), HEAD
    first, second, third, fourth = (TOY.update(0, value=float(n)) for n in range(4))
    assert pool.add(first, head)
    assert pool.add(second, head)
    assert not pool.add(third, head)
    pool.want([third.record.digest])
    assert pool.add(third, head)
    assert pool.pick([third.record.digest]) == [third]
    assert pool.ordered() == [], "none of them is aggregated here"
    assert not pool.add(fourth, head)
    pool.clear()
    for update in (first, second):
        pool.add(update, head)
    assert not pool.add(third, head), "a new height wants nothing yet"


def test_of_a_slot_one_more_update_is_kept_for_every_list() -> None:
    """Else a leader and a client together had everybody keep as many as they like. What a right
    block lists is kept, whatever a wrong one lists besides."""
    pool = UpdatePool(lambda head, update: None)
    updates = [TOY.update(0, value=float(n)) for n in range(50)]
    right, digests = updates[-1], [update.record.digest for update in updates]
    pool.want(digests, b"wrong")
    pool.want(digests[1:], b"wrong")
    kept = [pool.add(update, HEAD) for update in updates[:-1]]
    assert kept == [True] * 3 + [False] * 46
    pool.want([right.record.digest], b"right")
    assert pool.add(right, HEAD)
    assert pool.pick([right.record.digest]) == [right]
    assert len(pool.digests()) == 4
    assert pool.add(TOY.update(1), HEAD), "others' are as they were"


def test_an_unfit_second_update_is_told_by_its_own_fault() -> None:
    pool = UpdatePool(check)
    pool.add(FIT, HEAD)
    pool.add(UNFIT["sample count"], HEAD)
    assert pool.rejected == {"sample count": 1}


def test_an_unfit_update_does_not_keep_the_fit_one_out() -> None:
    """Else anybody could silence a client by sending rubbish in its name."""
    pool = UpdatePool(check)
    assert not pool.add(UNFIT["signature"], HEAD)
    assert not pool.add(UNFIT["payload digest"], HEAD)
    assert pool.add(FIT, HEAD)


@settings(deadline=None)
@given(st.permutations(range(5)))
def test_the_order_of_aggregation_is_that_of_digests(order: list[int]) -> None:
    pool = UpdatePool(check)
    for client in order:
        assert pool.add(TOY.update(client), HEAD)
    digests = [update.record.digest for update in pool.ordered()]
    assert digests == sorted(digests)
    assert pool.ordered() == Forge(TOY).updates()


def test_picking_wants_every_update() -> None:
    pool = UpdatePool(check)
    updates = [TOY.update(client) for client in range(3)]
    for update in updates:
        pool.add(update, HEAD)
    digests = [update.record.digest for update in updates]
    assert pool.pick(digests) == updates
    assert pool.pick([]) == []
    assert pool.pick([*digests, TOY.update(3).record.digest]) is None
    assert pool.pick(list(reversed(digests))) == list(reversed(updates))


def test_a_pool_keeps_its_counts_over_heights() -> None:
    pool = UpdatePool(check)
    pool.add(UNFIT["early"], HEAD)
    pool.clear()
    pool.add(UNFIT["early"], HEAD)
    assert pool.rejected == {"early": 2}


def test_an_update_weighs_its_encoded_bytes() -> None:
    assert FIT.wire_bytes == len(FIT.record.encoded) + len(FIT.payload)
    assert FIT.payload_cid == FIT.record.payload


def test_the_root_covers_every_digest_and_their_order() -> None:
    digests = [update.record.digest for update in Forge(TOY).updates()]
    assert updates_root(digests) == merkle_root(digests)
    variants = [digests[:-1], digests[1:], [*digests, digests[-1]], list(reversed(digests))]
    assert updates_root(digests) not in {updates_root(variant) for variant in variants}


@settings(deadline=None)
@given(st.sampled_from(["height", "samples"]), st.integers(0, 2**63 - 1))
def test_no_number_in_an_update_can_be_changed(name: str, value: int) -> None:
    record = UpdateRecord(**{**FIT.record.to_node(), name: value})
    if record != FIT.record:
        assert check(HEAD, SignedUpdate(record, FIT.payload)) is not None


@settings(deadline=None)
@given(st.integers(0, 5 * 8 - 1), st.integers(0, 7))
def test_no_bit_of_payload_or_signature_can_be_flipped(position: int, bit: int) -> None:
    data = bytearray(FIT.payload + FIT.record.signature[:32])
    data[position] ^= 1 << bit
    payload, head = bytes(data[:8]), bytes(data[8:])
    record = replace(FIT.record, signature=head + FIT.record.signature[32:])
    assert check(HEAD, SignedUpdate(record, payload)) in ("payload digest", "signature")


def test_servers_share_a_check_but_not_over_heights() -> None:
    """The memo goes by object and head: another head is another question."""
    checks = checks_of(TOY.genesis, TOY.application)
    checks.begin_height()
    assert checks.update(HEAD, FIT) is None
    assert checks.update(HEAD, FIT) is None
    assert checks.update(LATER, FIT) == "stale"
    assert checks.update(HEAD, UNFIT["signature"]) == "signature"
    assert checks.update(HEAD, UNFIT["signature"]) == "signature"


# -- arrivals -------------------------------------------------------------------------------------


def filled(*clients: int) -> tuple[UpdatePool, FakeInbox, list[tuple[SignedUpdate, int]]]:
    """A pool into which updates of these clients came unheard, and what it tells of them."""
    pool, inbox = UpdatePool(check), FakeInbox()
    told: list[tuple[SignedUpdate, int]] = []
    pool.fill_from(inbox, told.extend)
    inbox.arrived = [(TOY.update(client), 10 + client) for client in clients]
    return pool, inbox, told


@pytest.mark.parametrize("look", ["ordered", "digests", "pick", "add", "take_in"])
def test_arrivals_are_taken_in_when_the_pool_is_looked_at(look: str) -> None:
    pool, inbox, told = filled(2, 0)
    assert len(pool) == 2
    assert not told
    arguments = {"pick": ([TOY.update(0).record.digest],), "add": (TOY.update(1), HEAD)}
    getattr(pool, look)(*arguments.get(look, ()))
    assert inbox.waiting() == 0
    assert told == [(TOY.update(2), 12), (TOY.update(0), 10)], "in the order of arrival"
    clients = {0, 1, 2} if look == "add" else {0, 2}
    assert len(pool) == len(clients)
    assert set(pool.digests()) == {TOY.update(client).record.digest for client in clients}
    found = pool.pick([TOY.update(0).record.digest, TOY.update(2).record.digest])
    assert found == [TOY.update(0), TOY.update(2)]
    assert len(told) == 2, "once"


def test_a_second_update_of_a_client_whose_first_came_unheard_is_evidence() -> None:
    pool, inbox, _ = filled(0, 1)
    assert pool.add(TOY.update(0, value=5.0), HEAD)
    assert pool.rejected == {"second update": 1}
    assert [update.record.client for update in pool.ordered()] == [TOY.clients[1].public]
    assert len(pool) == 1
    assert len(pool.digests()) == 3
    assert inbox.noted == []


def test_the_pool_notes_whose_updates_it_has_heard() -> None:
    pool, inbox, told = filled()
    for update in (FIT, FIT, UNFIT["signature"], TOY.update(0, value=5.0), TOY.update(1)):
        pool.add(update, HEAD)
    assert inbox.noted == [TOY.clients[0].public, TOY.clients[1].public]
    assert told == [], "what it hears its server notes"


def test_a_cleared_pool_forgets_its_arrivals() -> None:
    pool, inbox, told = filled(0, 1)
    pool.clear()
    assert inbox.cleared == 1
    assert len(pool) == 0
    assert pool.digests() == ()
    assert told == []
