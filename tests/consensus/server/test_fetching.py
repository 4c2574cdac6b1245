"""Aggregates that a server lacks: whom it asks, what it does without them, and what it gives."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.adversary.behaviour import Behaviour
from consensus.records.block import Block
from consensus.records.sync import Delivery, Fetch
from consensus.server.answers import FIRST_HELPERS
from consensus.server.catching_up import BLOCKS_AT_ONCE
from consensus.server.fetching import providers
from tests.helpers.bft_rig import FORGE, LEADER, MEMBER, MEMBERS, SERVERS, TOY, Bench

CANDIDATE = FORGE.candidate()
BLOCK = FORGE.block()
NEXT = FORGE.after(BLOCK)
"""The forge of height 2."""
LINK = CANDIDATE.header.aggregate_cid
MODEL = TOY.application.aggregate(
    [update.payload for update in FORGE.updates()],
    [update.record.samples for update in FORGE.updates()],
)
ORDER = providers(TOY.genesis, BLOCK, MEMBER)
TICKET_US, RESEND_US = 500_000, 2_000_000


def lacking(behaviour: Behaviour | None = None) -> Bench:
    """A server that has the first block, and has not got its model."""
    bench = Bench(behaviour=behaviour)
    bench.host.contents = {}
    bench.hear("block", BLOCK)
    assert list(bench.server.lacking) == [LINK]
    return bench


def asked(bench: Bench) -> list[int]:
    """The servers that were asked, in this order."""
    found = []
    for kind, body, to in bench.host.sent:
        if kind == "fetch":
            assert body == Fetch(1, LINK)
            assert to is not None
            found += to
    return found


def spent(bench: Bench, since: int = 0) -> list[tuple[str, int]]:
    return [
        (what, size)
        for what, size, _ in bench.host.charged[since:]
        if what.startswith("store") or what == "hash"
    ]


# -- asking ----------------------------------------------------------------------------------------


def test_who_computed_a_model_does_not_fetch_it() -> None:
    bench = Bench()
    bench.host.contents = {}
    bench.ready().hear("candidate", CANDIDATE).hear("block", BLOCK)
    assert bench.host.contents == {LINK: MODEL}
    assert not bench.server.lacking
    assert not asked(bench)


def test_who_has_a_model_on_its_disk_does_not_fetch_it() -> None:
    bench = Bench().hear("block", BLOCK)  # of a store that holds everything
    assert not bench.server.lacking
    assert not asked(bench)


def test_a_model_is_asked_for_checked_kept_and_paid_for() -> None:
    bench = lacking()
    assert asked(bench) == [ORDER[0]]
    assert bench.fired("fetch") == [(TICKET_US, (1, 0))]
    before = len(bench.host.charged)
    bench.hear("model", Delivery(LINK, MODEL), sender=ORDER[0])
    assert bench.host.contents == {LINK: MODEL}
    assert not bench.server.lacking
    assert spent(bench, before) == [("hash", len(MODEL)), ("store_put", len(MODEL))]
    bench.wake("fetch", view=(1, 0), height=1)
    assert asked(bench) == [ORDER[0]], "the timer has nothing to do any more"


def test_who_has_nothing_is_passed_over_until_all_have_nothing() -> None:
    bench = lacking()
    for provider in ORDER[:FIRST_HELPERS]:
        bench.hear("model", Delivery(LINK, b""), sender=provider)
    assert asked(bench) == list(ORDER[:FIRST_HELPERS])
    bench.wake("fetch", view=(1, 0), height=1)
    assert asked(bench) == [*ORDER[:FIRST_HELPERS], ORDER[0]], "once more, a while later"


def test_who_does_not_answer_is_passed_over_after_a_while_and_then_a_longer_one() -> None:
    bench = lacking()
    for waits in range(1, 8):
        bench.wake("fetch", view=(waits, 0), height=1)
    assert asked(bench) == [ORDER[place % FIRST_HELPERS] for place in range(8)]
    longer = [TICKET_US, 2 * TICKET_US, *[RESEND_US] * 6]
    assert [after for after, _ in bench.fired("fetch")] == longer
    bench.hear("model", Delivery(LINK, MODEL), sender=ORDER[1])
    assert not bench.server.lacking, "whoever answers, however late"


def test_more_servers_are_asked_as_resend_times_pass() -> None:
    bench = lacking()
    bench.server.enter_height()
    bench.wake("resend")
    for waits in range(1, 9):
        bench.wake("fetch", view=(waits, 0), height=1)
    assert set(asked(bench)) == set(ORDER[: FIRST_HELPERS + 2])


@pytest.mark.parametrize("wrong", [MODEL[:-1] + b"\0", MODEL + b"\0", b"?"])
def test_wrong_bytes_are_refused_and_another_is_asked(wrong: bytes) -> None:
    bench = lacking().hear("model", Delivery(LINK, wrong), sender=ORDER[0])
    assert bench.server.refused == {"content": 1}
    assert list(bench.server.lacking) == [LINK]
    assert asked(bench) == list(ORDER[:2])
    bench.hear("model", Delivery(LINK, MODEL), sender=ORDER[0])
    assert bench.server.refused == {"content": 1, "content not asked for": 1}, "it had its chance"
    bench.hear("model", Delivery(LINK, MODEL), sender=ORDER[1])
    assert not bench.server.lacking


def test_what_was_not_asked_for_costs_nothing() -> None:
    bench = lacking()
    before = len(bench.host.charged)
    bench.hear("model", Delivery(LINK, MODEL), sender=ORDER[3])
    bench.hear("model", Delivery(BLOCK.cid, MODEL), sender=ORDER[0])
    assert list(bench.server.lacking) == [LINK]
    assert len(bench.host.charged) == before
    assert bench.server.refused == {"content not asked for": 2}


def test_who_was_asked_and_is_slower_than_another_is_heard_once() -> None:
    bench = lacking()
    bench.wake("fetch", view=(1, 0), height=1)
    bench.hear("model", Delivery(LINK, MODEL), sender=ORDER[1])
    assert not bench.server.lacking
    bench.hear("model", Delivery(LINK, MODEL), sender=ORDER[0])
    assert not bench.server.refused
    bench.hear("model", Delivery(LINK, MODEL), sender=ORDER[0])
    assert bench.server.refused == {"content not asked for": 1}


def test_after_a_crash_what_is_lacking_is_asked_for_anew() -> None:
    bench = lacking()
    bench.wake("fetch", view=(1, 0), height=1)
    bench.part.durable.resume(1)
    bench.server.restart(0, 1)
    assert asked(bench) == [*ORDER[:2], ORDER[0]]
    bench.server.restart(0, 1)
    assert asked(bench)[3:] == [ORDER[0]]


def test_what_a_crash_took_is_not_lacking() -> None:
    bench = lacking()
    bench.server.restart(1, 0)
    assert bench.server.chain.height == 0
    assert not bench.server.lacking
    assert asked(bench) == [ORDER[0]]


# -- without it ------------------------------------------------------------------------------------


def ready_for_the_next() -> Bench:
    """A server at height 2 with all that it votes on, and nothing of the model of height 1."""
    bench = lacking()
    bench.server.enter_height()
    others = [server for server in range(SERVERS) if server != MEMBER]
    bench.hear("ticket", *map(NEXT.ticket, others))
    bench.hear("update", *NEXT.updates()).wake("tickets")
    return bench


def test_a_member_votes_when_it_has_the_models_below() -> None:
    assert MEMBER in NEXT.members()
    bench = ready_for_the_next()
    candidate = NEXT.candidate()
    bench.hear("candidate", candidate)
    bench.hear("vote", *(NEXT.vote(candidate, s) for s in NEXT.members() if s != MEMBER))
    bench.wake("want", view=(0, 0))
    assert bench.phases() == [], "not even on what all others vote for"
    bench.hear("model", Delivery(LINK, MODEL), sender=ORDER[0])
    assert bench.phases() == ["soft", "cert"]


def test_a_leader_proposes_when_it_has_the_models_below() -> None:
    leader = NEXT.order()[0]
    bench = Bench(leader)
    bench.host.contents = {}
    bench.hear("block", BLOCK)
    bench.server.enter_height()
    others = [server for server in range(SERVERS) if server != leader]
    bench.hear("ticket", *map(NEXT.ticket, others))
    bench.hear("update", *NEXT.updates()).wake("tickets")
    assert bench.said("candidate") == []
    bench.hear("model", Delivery(LINK, MODEL), sender=asked(bench)[0])
    assert len(bench.said("candidate")) == 1


def test_a_malicious_member_does_not_wait() -> None:
    bench = lacking(Behaviour())
    assert bench.server.lacking
    assert not bench.server.builds_on_less()


# -- giving ----------------------------------------------------------------------------------------


def giver(asker: int, place: int = 0, behaviour: Behaviour | None = None) -> Bench:
    """The server at a place among the providers of ``asker``; it has the first block and model."""
    bench = Bench(providers(TOY.genesis, BLOCK, asker)[place], behaviour=behaviour)
    bench.host.contents = {LINK: MODEL}
    return bench.hear("block", BLOCK)


def test_a_model_is_given_once_in_a_resend_time_to_who_may_have_it_from_here() -> None:
    bench = giver(MEMBER)
    before = len(bench.host.charged)
    for _ in range(3):
        bench.hear("fetch", Fetch(1, LINK), sender=MEMBER)
    assert bench.said("model") == [Delivery(LINK, MODEL)]
    assert bench.host.whom("model") == [(MEMBER,)]
    assert spent(bench, before) == [("store_get", len(MODEL))]
    assert bench.server.refused == {"content asked too much": 2}
    bench.server.enter_height()
    bench.wake("resend")
    bench.hear("fetch", Fetch(1, LINK), sender=MEMBER)
    assert len(bench.said("model")) == 2


def test_only_the_first_providers_give_it_and_more_with_every_resend_time() -> None:
    for place in range(SERVERS - 1):
        bench = giver(MEMBER, place).hear("fetch", Fetch(1, LINK), sender=MEMBER)
        assert bool(bench.said("model")) == (place < FIRST_HELPERS)
        bench.server.enter_height()
        bench.wake("resend").hear("fetch", Fetch(1, LINK), sender=MEMBER)
        assert bool(bench.said("model")) == (place < FIRST_HELPERS + 2)


def test_the_models_of_older_blocks_are_given_by_more_but_not_more_of_them() -> None:
    """Or one that depends on malicious servers would lack a model for ever; or one that asks for
    all models would get all of them from everybody, whenever it likes."""
    blocks, forge = [], FORGE
    for _ in range(BLOCKS_AT_ONCE + 3):
        blocks.append(forge.block())
        forge = forge.after(blocks[-1])
    bench = Bench()
    bench.host.contents = {block.header.aggregate_cid: MODEL for block in blocks}
    for block in blocks:
        bench.hear("block", block)
        bench.server.enter_height()
    asker = next(server for server in range(SERVERS) if server != MEMBER)
    places = [providers(TOY.genesis, block, asker).index(MEMBER) for block in blocks]
    assert max(places[:-SERVERS]) >= FIRST_HELPERS
    for block in blocks:
        bench.hear("fetch", Fetch(block.height, block.header.aggregate_cid), sender=asker)
    given = [
        place < FIRST_HELPERS + len(blocks) - 1 - at
        for at, place in enumerate(places[:BLOCKS_AT_ONCE])
    ]
    assert all(given[:-SERVERS])
    assert len(bench.said("model")) <= BLOCKS_AT_ONCE < len(blocks)
    assert len(bench.said("model")) >= BLOCKS_AT_ONCE - 3


def test_who_has_nothing_says_so_and_may_be_asked_again() -> None:
    bench = giver(MEMBER)
    bench.host.contents = {}
    bench.hear("fetch", Fetch(1, LINK), Fetch(1, LINK), sender=MEMBER)
    assert bench.said("model") == [Delivery(LINK, b"")] * 2
    bench.host.contents = {LINK: MODEL}
    bench.hear("fetch", Fetch(1, LINK), sender=MEMBER)
    assert bench.said("model")[2:] == [Delivery(LINK, MODEL)]


def test_who_decides_a_moment_later_answers_then() -> None:
    asker = ORDER[0]
    bench = Bench(providers(TOY.genesis, BLOCK, asker)[0])
    bench.host.contents = {LINK: MODEL}
    bench.hear("fetch", Fetch(1, LINK), sender=asker).hear("fetch", Fetch(2, LINK), sender=asker)
    assert bench.said("model") == []
    bench.hear("fetch", Fetch(1, LINK), sender=asker).hear("block", BLOCK)
    assert bench.said("model") == [Delivery(LINK, MODEL)], "once"


def test_requests_for_what_no_block_names_are_refused() -> None:
    bench = giver(MEMBER)
    bench.hear("fetch", Fetch(1, BLOCK.cid), sender=MEMBER)
    assert bench.server.refused == {"content unknown": 1}
    bench.hear("fetch", Fetch(9, LINK), Fetch(2**62, LINK), sender=MEMBER)
    assert bench.said("model") == []
    assert bench.server.refused == {"content unknown": 1}
    assert not bench.server.fetching._early


class Withholding(Behaviour):
    """Gives nobody its content."""

    provides = False


def test_who_withholds_says_nothing() -> None:
    bench = giver(MEMBER, behaviour=Withholding()).hear("fetch", Fetch(1, LINK), sender=MEMBER)
    assert bench.said("model") == []


# -- providers -------------------------------------------------------------------------------------


def test_signers_come_first_and_the_aggregator_second() -> None:
    for signers in (MEMBERS[:5], MEMBERS[1:], MEMBERS):
        block = FORGE.block(signers=signers)
        for asker in range(SERVERS):
            order = providers(TOY.genesis, block, asker)
            assert sorted([*order, asker]) == list(range(SERVERS))
            others = [server for server in order if server != LEADER]
            signed = [server in signers for server in others]
            assert signed == sorted(signed, reverse=True)
            assert LEADER in (asker, order[1])


@given(st.integers(1, 2**40), st.integers(0, SERVERS - 1))
def test_everyone_asks_others_first_and_so_at_every_height(height: int, asker: int) -> None:
    """So that no server is asked by all, and no two for ever depend on the same malicious ones."""
    at = replace(BLOCK, header=replace(BLOCK.header, height=height))
    order = providers(TOY.genesis, at, asker)
    assert sorted([*order, asker]) == list(range(SERVERS))
    assert order == providers(TOY.genesis, at, asker)


def test_requests_are_spread() -> None:
    def first(height: int, asker: int) -> int:
        header = replace(BLOCK.header, height=height)
        block = Block(header, BLOCK.signature, BLOCK.tickets, BLOCK.certificate)
        return providers(TOY.genesis, block, asker)[0]

    one = {first(height, MEMBER) for height in range(1, 60)}
    assert one == set(MEMBERS) - {MEMBER, LEADER}
    assert len({first(1, asker) for asker in range(SERVERS)}) > 2


def test_records_are_read_back_and_nothing_else_is() -> None:
    for record in (Fetch(3, LINK), Delivery(LINK, MODEL), Delivery(LINK, b"")):
        assert type(record).decode(record.encoded) == record
    for record, changes in (
        (Fetch(3, LINK), {"height": 0}),
        (Fetch(3, LINK), {"link": b"no link"}),
        (Delivery(LINK, MODEL), {"data": "text"}),
        (Delivery(LINK, MODEL), {"link": None}),
        (Delivery(LINK, MODEL), {"more": 1}),
    ):
        with pytest.raises(ValueError, match=r"fetch|model"):
            type(record).from_node(record.to_node() | changes)
