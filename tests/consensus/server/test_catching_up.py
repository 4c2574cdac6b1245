"""Staying in step: what comes too early or too late, who asks whom, and how the late catch up."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from consensus.encoding.unixfs import file_cid
from consensus.records.block import Block
from consensus.records.sync import Status, Want
from consensus.server.catching_up import (
    ASKED_AT_ONCE,
    BLOCKS_AT_ONCE,
    EARLY_MESSAGES,
    QUESTIONS,
    draw_distinct,
)
from tests.helpers.bft_rig import (
    BYSTANDER,
    CLIENTS,
    FORGE,
    LEADER,
    MEMBER,
    MEMBERS,
    SERVERS,
    TOY,
    Bench,
    snapshot,
)
from tests.helpers.forge import Forge
from tests.helpers.rules import chain_from
from tests.helpers.toy import Toy

CANDIDATE = FORGE.candidate()
FIRST = FORGE.block()
NEXT = FORGE.after(FIRST)
"""The forge of height 2, ..."""
AFTER = NEXT.after(NEXT.block())
"""... and of height 3."""
DIGESTS = tuple(sorted(update.record.digest for update in FORGE.updates()))


def chain_of(heights: int) -> list[Block]:
    """The first so many blocks of a chain."""
    forge, blocks = FORGE, []
    for _ in range(heights):
        blocks.append(forge.block())
        forge = forge.after(blocks[-1])
    return blocks


BLOCKS = chain_of(5)


def at(height: int, server: int = MEMBER, start: bool = True) -> Bench:
    """A server that has so many blocks, and begins the next height."""
    bench = Bench(server, start=False)
    for block in BLOCKS[:height]:
        bench.server.chain.append(block)
    if start:
        bench.server.enter_height()
    return bench


def between(server: int = MEMBER) -> Bench:
    """A server that has block 1 and has not begun height 2."""
    bench = at(0, server).hear("block", FIRST)
    assert not bench.server.active
    return bench


def asker_helped(bench: Bench, height: int = 0) -> int:
    """A server that the bench's helps while it has so many blocks."""
    answers, mine = bench.server.catch_up.answers, bench.server.index
    others = [other for other in range(SERVERS) if other != mine]
    return next(other for other in others if answers.helps(other, height, behind=True))


def messages(forge: Forge) -> list[tuple[str, Any]]:
    """A message of every kind that belongs to a height."""
    candidate = forge.candidate()
    lock = forge.lock(candidate)
    return [
        ("ticket", forge.ticket(LEADER)),
        ("update", forge.update(0)),
        ("candidate", candidate),
        ("vote", forge.vote(candidate, forge.members()[0])),
        ("timeout", forge.timeout(forge.members()[0])),
        ("closure", forge.closing()),
        ("lock", lock),
        ("block", forge.block(candidate)),
    ]


# -- what comes too early --------------------------------------------------------------------------


def test_messages_of_the_height_to_come_are_kept_until_it_begins() -> None:
    leader = NEXT.order()[0]
    bench = between(next(s for s in NEXT.members() if s not in NEXT.order()))
    candidate = NEXT.candidate()
    for update in NEXT.updates():
        assert bench.server.receive("update", update, 0), "and passed on"
    bench.hear("candidate", candidate, sender=leader)
    bench.hear("ticket", *(NEXT.ticket(s) for s in range(SERVERS) if s != bench.server.index))
    bench.votes(candidate, NEXT.members()[:2])
    sent = len(bench.host.sent)
    assert bench.said("vote") == []
    bench.server.enter_height()
    assert len(bench.server.pool) == CLIENTS
    assert len(bench.part.tickets_held()) == SERVERS
    bench.wake("tickets")
    assert [vote.phase for vote in bench.said("vote")] == ["soft"]
    assert len(bench.host.sent) > sent
    assert bench.server.refused == {}


def test_messages_of_the_next_height_are_kept_while_this_one_is_undecided() -> None:
    """Others decide a moment earlier, and say once what they say next."""
    bench = at(0)
    for update in NEXT.updates():
        assert bench.server.receive("update", update, LEADER), "and passed on"
    bench.hear("ticket", *(NEXT.ticket(s) for s in range(SERVERS) if s != bench.server.index))
    assert (LEADER,) in bench.host.whom("status"), "it is asked for the block that it must have"
    assert len(bench.said("status")) == len(set(bench.host.whom("status"))), "and asked once"
    assert len(bench.server.pool) == 0
    bench.hear("block", FIRST)
    bench.server.enter_height()
    assert len(bench.server.pool) == CLIENTS
    assert len(bench.part.tickets_held()) == SERVERS


def test_a_block_that_comes_early_is_appended_when_its_height_begins() -> None:
    bench = between().hear("block", NEXT.block())
    assert bench.server.chain.height == 1
    bench.server.enter_height()
    assert bench.server.chain.height == 2


def test_a_server_that_goes_down_forgets_what_came_early() -> None:
    bench = between()
    for update in NEXT.updates():
        bench.hear("update", update)
    bench.server.forget_early()
    bench.server.enter_height()
    assert len(bench.server.pool) == 0


def test_nobody_fills_anothers_memory_with_what_is_to_come() -> None:
    bench = between()
    candidate = NEXT.candidate()
    votes = [NEXT.vote(candidate, LEADER, step=step) for step in range(EARLY_MESSAGES + 5)]
    for count, vote in enumerate(votes):
        assert bench.server.receive("vote", vote, LEADER) == (count < EARLY_MESSAGES)
    assert bench.server.refused == {"too early": 5}
    assert bench.server.receive("vote", votes[0], BYSTANDER), "others still may"
    bench.server.enter_height()
    assert bench.server.refused["vote beyond MaxStep"] > 0, "and then they are checked"
    later = AFTER.vote(AFTER.candidate(), LEADER)
    assert bench.server.receive("vote", later, LEADER), "the next height has room of its own"


def test_updates_that_come_early_crowd_out_nothing_else() -> None:
    """Clients may hand in as many as they like at an honest server, which passes them on."""
    bench = between()
    for value in range(EARLY_MESSAGES + 5):
        bench.hear("update", NEXT.update(0, float(value)), sender=LEADER)
    assert bench.server.refused == {"too early": 5}
    lock = NEXT.lock(NEXT.candidate())
    assert bench.server.receive("lock", lock, LEADER, True)
    bench.server.enter_height()
    assert bench.part.state.promises.locks == (lock,)


@pytest.mark.parametrize("kind", [kind for kind, _ in messages(AFTER)])
def test_a_later_height_says_that_one_is_behind(kind: str) -> None:
    bench = at(0).tickets([LEADER]).hear("update", FORGE.update(0))
    state, before = bench.part.state, snapshot(bench.server)
    body = dict(messages(AFTER))[kind]
    assert bench.server.receive(kind, body, 5), "it is kept, and passed on"
    [status] = bench.said("status")
    assert status == Status(
        0, 0, 0, (FORGE.update(0).record.digest,), tuple(sorted([LEADER, MEMBER]))
    )
    assert bench.host.whom("status") == [(5,)], "whoever said it is asked"
    assert bench.part.state is state
    after = snapshot(bench.server)
    assert after["catch up"].pop("_asked") == {(5, 0): 1}
    assert after["catch up"].pop("early") == [(kind, body, 5, False)]
    assert after["catch up"].pop("_early_from") == {(5, kind == "update"): 1}
    for changed in ("_asked", "early", "_early_from"):
        before["catch up"].pop(changed)
    assert after == before


def test_whoever_boasts_is_asked_so_often_and_no_more() -> None:
    bench = at(0)
    body = AFTER.vote(AFTER.candidate(), LEADER)
    for _ in range(50):
        bench.hear("vote", body, sender=5)
        bench.hear("status", Status(9, 0, 0), sender=5)
    assert len(bench.said("status")) == QUESTIONS
    assert bench.server.refused["asked too much"] >= 50 - QUESTIONS
    bench.hear("vote", body, sender=6)
    assert bench.host.whom("status")[-1] == (6,)
    bench.wake("resend")
    bench.hear("vote", body, sender=5)
    assert bench.host.whom("status")[-1] == (5,), "a while later, once more"


def test_whoever_boasts_gets_no_question_beyond_its_share() -> None:
    bench = at(0)
    assert bench.server.catch_up.answers.spend(5, "what it was sent before", 10**9)
    bench.hear("status", Status(9, 0, 0), sender=5)
    assert bench.said("status") == []
    assert bench.server.refused["asked too much"] == 1


@pytest.mark.parametrize("kind", ["ticket", "update", "candidate", "vote", "lock", "block"])
def test_what_is_over_is_ignored(kind: str) -> None:
    bench = at(2)
    before, sent = snapshot(bench.server), list(bench.host.sent)
    assert not bench.server.receive(kind, dict(messages(FORGE))[kind], 5)
    assert snapshot(bench.server) == before
    assert bench.host.sent == sent
    assert bench.server.refused == {}


def test_a_block_that_is_here_already_is_seen_and_nothing_more() -> None:
    bench = between()
    before = snapshot(bench.server)
    assert not bench.server.receive("block", FORGE.block(signers=MEMBERS[:5]), 5)
    assert not bench.server.receive("block", FORGE.block(FORGE.candidate(view=(0, 1))), 5)
    after = snapshot(bench.server)
    seen = [snap["participant"].pop("_seen_block") for snap in (before, after)]
    assert seen == [FIRST.cid, FIRST.cid]
    assert after == before
    assert len(bench.host.blocks) == 1


# -- asking and answering --------------------------------------------------------------------------


def test_a_server_that_makes_progress_asks_nobody() -> None:
    bench = at(0).wake("resend").tickets()
    assert bench.said("status") == []
    bench.hear("update", FORGE.update(0)).wake("resend")
    assert bench.said("status") == []
    assert [after for after, _ in bench.fired("resend")] == [2_000_000] * 3


def test_a_server_that_makes_no_progress_repeats_itself_and_asks_a_few() -> None:
    bench = at(0).ready().hear("candidate", CANDIDATE).wake("view")
    bench.wake("resend")
    bench.host.sent.clear()
    bench.wake("resend")
    said = {kind: (body, to) for kind, body, to in bench.host.sent}
    assert said["vote"][0].phase == "soft"
    assert said["timeout"] == (FORGE.timeout(MEMBER), None)
    assert said["ticket"][0] == FORGE.ticket(MEMBER)
    status, to = said["status"]
    assert status == Status(0, 0, 0, DIGESTS, tuple(range(SERVERS)))
    assert to is not None
    assert len(set(to)) == len(to) == ASKED_AT_ONCE
    assert MEMBER not in to
    bench.host.now += 1
    bench.wake("resend")
    bench.host.now += 1
    bench.wake("resend")
    assert len(set(bench.host.whom("status"))) > 1, "others, another time"


def test_what_was_said_in_views_before_is_not_repeated() -> None:
    bench = at(0).ready().hear("candidate", CANDIDATE).wake("view")
    bench.hear("closure", FORGE.closing())
    bench.wake("resend")
    bench.host.sent.clear()
    bench.wake("resend")
    assert {kind for kind, _, _ in bench.host.sent} == {"ticket", "status"}
    [status] = bench.said("status")
    assert (status.attempt, status.step) == (0, 1)


def test_a_world_of_one_asks_nobody() -> None:
    bench = Bench(0, Toy(servers=1, clients=1, crypto="modelled"))
    for _ in range(3):
        bench.wake("resend")
    assert bench.said("status") == []


def test_whoever_is_behind_gets_blocks_and_is_asked_how_far_it_came() -> None:
    bench = at(4)
    assert not bench.server.receive("status", Status(1, 0, 0), 5)
    assert bench.said("block") == BLOCKS[1:4]
    assert bench.host.sent[-1][0] == "status"
    assert bench.host.sent[-1][1].height == 4
    assert {to for kind, _, to in bench.host.sent if kind != "ticket"} == {(5,)}


def test_so_many_blocks_are_sent_at_a_time() -> None:
    bench = at(0)
    bench.server.chain.blocks.extend([FIRST] * (BLOCKS_AT_ONCE + 5))
    bench.server.chain.head = replace(bench.server.chain.head, height=BLOCKS_AT_ONCE + 5)
    bench.hear("status", Status(0, 0, 0), sender=asker_helped(bench))
    assert len(bench.said("block")) == BLOCKS_AT_ONCE


def test_whoever_is_further_is_asked() -> None:
    bench = at(1)
    assert not bench.server.receive("status", Status(3, 0, 0), 5)
    assert bench.said("block") == []
    assert bench.host.sent[-1] == ("status", Status(1, 0, 0, (), (MEMBER,)), (5,))


def test_whoever_is_as_far_gets_what_it_lacks() -> None:
    bench = at(0).ready().hear("candidate", CANDIDATE).votes(CANDIDATE, MEMBERS[:3])
    bench.timeouts(MEMBERS[1:3]).wake("view")
    bench.host.sent.clear()
    lacking = Status(0, 0, 0, DIGESTS[:1], (0, 1, 2))
    assert not bench.server.receive("status", lacking, 5)
    assert {to for _, _, to in bench.host.sent} == {(5,)}
    assert [update.record.digest for update in bench.said("update")] == list(DIGESTS[1:])
    assert {ticket.server for ticket in bench.said("ticket")} == set(range(3, SERVERS))
    assert bench.said("candidate") == [CANDIDATE]
    assert [vote.server for vote in bench.said("vote")] == sorted({*MEMBERS[:3], MEMBER})
    assert {timeout.server for timeout in bench.said("timeout")} == {*MEMBERS[1:3], MEMBER}
    assert bench.said("closure") == bench.said("status") == []


def test_whoever_is_views_behind_gets_what_closed_them_and_what_was_locked() -> None:
    lock = FORGE.lock(CANDIDATE)
    why = FORGE.closing(locks={MEMBERS[0]: lock})
    bench = at(0).ready().hear("candidate", CANDIDATE).hear("closure", why)
    bench.host.sent.clear()
    bench.hear("status", Status(0, 0, 0), sender=5)
    assert bench.said("closure") == [why]
    assert bench.said("candidate") == [CANDIDATE]
    bench.host.sent.clear()
    bench.hear("status", Status(0, 0, 1), sender=5)
    assert bench.said("closure") == [], "it is there already"


def test_a_decided_block_that_is_not_here_can_be_asked_of_whoever_voted_for_it() -> None:
    bench = at(0).ready().hear("candidate", CANDIDATE).votes(CANDIDATE)
    bench.host.sent.clear()
    bench.hear("status", Status(0, 0, 0), sender=5)
    assert bench.said("candidate") == [CANDIDATE]
    other = at(0, BYSTANDER).votes(CANDIDATE, MEMBERS[:5], "cert")
    for _, body, to in [sent for sent in other.host.sent if sent[0] == "status"]:
        assert to == tuple(MEMBERS[:5])
        assert isinstance(body, Status)
    other.hear("candidate", *bench.said("candidate"))
    assert other.server.chain.height == 1


def test_whoever_asks_again_gets_nothing_again_until_things_are_said_again() -> None:
    bench = at(0).ready().hear("candidate", CANDIDATE)
    for times in range(1, 4):
        bench.host.sent.clear()
        bench.hear("status", *[Status(0, 0, 0)] * 20, sender=5)
        assert len(bench.said("update")) == CLIENTS
        assert {ticket.server for ticket in bench.said("ticket")} == set(range(SERVERS))
        assert bench.said("candidate") == [CANDIDATE]
        assert bench.server.refused == {"asked too much": 19 * times}
        bench.wake("resend")


def test_who_is_behind_gets_a_block_once_and_is_asked_back_so_often() -> None:
    bench = at(4)
    for height in (0, 1, 0, 2, 3, 0) * 5:
        bench.hear("status", Status(height, 0, 0), sender=5)
    assert sorted(bench.said("block"), key=lambda block: block.height) == BLOCKS[:4]
    assert len(bench.said("status")) <= QUESTIONS


def test_updates_are_sent_once_however_often_they_are_wanted() -> None:
    bench = at(0).ready()
    wants = [Want(1, DIGESTS * 2), Want(1, DIGESTS[:1]), Want(1, (bytes(32),)), Want(2, DIGESTS)]
    bench.hear("want", *wants, *wants, sender=5)
    assert [update.record.digest for update in bench.said("update")] == list(DIGESTS)
    assert bench.server.refused == {"asked too much": 4}
    bench.hear("want", wants[0], sender=6)
    assert len(bench.said("update")) == 2 * CLIENTS, "others still may"


def heavy(server: int) -> tuple[Bench, tuple[bytes, ...]]:
    """A server with a pool of updates each of which counts as 6 KB."""
    bench = at(0, server).ready()
    spend = bench.server.catch_up.answers.spend

    def sized(asker: int, key: Any, size: int, helping: bool = False) -> bool:
        return spend(asker, key, 6_000 if key in DIGESTS else size, helping)

    bench.server.catch_up.answers.spend = sized  # type: ignore[method-assign]
    bench.host.sent.clear()
    return bench, DIGESTS


def test_only_helpers_send_more_than_a_little_and_only_after_a_while() -> None:
    bench, digests = heavy(MEMBER)
    answers, others = bench.server.catch_up.answers, set(range(SERVERS)) - {MEMBER}
    for resends in range(4):
        helped = {other for other in others if answers.helps(other, 0, behind=False)}
        assert bool(helped) == (resends > 0)
        for other in sorted(others):
            bench.host.sent.clear()
            bench.hear("want", Want(1, digests), sender=other)
            assert len(bench.said("update")) == (CLIENTS if other in helped else 1)
        bench.wake("resend")
    assert helped == others, "in the end it helps all"


def test_who_proposed_updates_sends_them_all_to_whoever_wants_them() -> None:
    bench, digests = heavy(LEADER)
    assert bench.server.contents.has_listed(digests[0])
    bench.hear("want", Want(1, digests), sender=5)
    assert len(bench.said("update")) == CLIENTS
    bench.hear("status", Status(0, 0, 0), sender=BYSTANDER)
    assert len(bench.said("update")) <= CLIENTS + 1, "which was not asked for by name"


def test_a_stuck_server_asks_its_helpers_and_wants_updates_of_one_of_them() -> None:
    bench = at(0)
    catch_up, answers = bench.server.catch_up, bench.server.catch_up.answers
    assert catch_up.and_a_helper([]) == [], "nobody helps yet"
    bench.wake("resend")
    helpers = set(answers.helpers(0))
    strangers = sorted(set(range(SERVERS)) - helpers - {MEMBER})
    assert len(helpers) == len(strangers) == 3
    *same, helper = catch_up.and_a_helper(strangers)
    assert (same, helper in helpers) == (strangers, True)
    some = [*strangers, min(helpers)]
    assert catch_up.and_a_helper(some) == some
    bench.wake("resend")
    assert set(bench.host.whom("status")[-1] or ()) <= set(answers.helpers(0))


def test_servers_that_hold_a_locked_block_are_asked_so_often_and_no_more() -> None:
    bench = at(0)
    for _ in range(20):
        bench.server.catch_up.ask([2, 5])
    assert sum(5 in (to or ()) for to in bench.host.whom("status")) == QUESTIONS


@pytest.mark.parametrize("catching_up", [False, True])
def test_who_is_between_heights_or_catching_up_helps_nobody(catching_up: bool) -> None:
    if catching_up:
        bench = at(0, start=False)
        bench.server.enter_height(catching_up=True)
        status = Status(0, 0, 0)
    else:
        bench, status = between(), Status(1, 0, 0)
    bench.host.sent.clear()
    assert not bench.server.receive("status", status, 5)
    assert bench.host.sent == []


# -- catching up -----------------------------------------------------------------------------------


class Late(Bench):
    """A server that has missed some heights, in a world that tells it to go on."""

    def __init__(self, known: int) -> None:
        super().__init__(start=False)
        self.known = known
        appended = self.host.appended

        def go_on(block: Block) -> None:
            appended(block)
            self.server.enter_height(catching_up=self.server.chain.height < known)

        self.host.appended = go_on  # type: ignore[method-assign]
        self.server.enter_height(catching_up=True)


def test_a_late_server_asks_takes_every_block_and_votes_again() -> None:
    late, peer = Late(4), at(4)
    late.wake("resend")
    assert [status.height for status in late.said("status")] == [0]
    assert late.said("ticket") == [], "nobody waits for it"
    peer.hear("status", late.said("status")[0], sender=MEMBER)
    late.hear("block", *peer.said("block"), sender=5)
    assert late.server.chain.head == peer.server.chain.head
    assert late.server.catching_up is False
    assert late.server.height == 5
    assert [ticket.height for ticket in late.said("ticket")] == [6]


def test_blocks_in_any_order_are_asked_for_again() -> None:
    late, peer = Late(4), at(4)
    late.hear("block", BLOCKS[3], BLOCKS[2], BLOCKS[0], sender=5)
    assert late.server.chain.height == 1, "one is missing"
    assert late.host.whom("status")[-1] == (5,)
    peer.hear("status", Status(1, 0, 0), sender=MEMBER)
    late.hear("block", *peer.said("block"), sender=5)
    assert late.server.chain.height == 4


BAD: dict[str, Block] = {
    "its certificate of too few": replace(
        BLOCKS[1],
        certificate=replace(BLOCKS[1].certificate, signatures=BLOCKS[1].certificate.signatures[:4]),
    ),
    "a vote damaged": replace(
        BLOCKS[1],
        certificate=replace(
            BLOCKS[1].certificate,
            signatures=(
                *BLOCKS[1].certificate.signatures[:-1],
                (BLOCKS[1].certificate.signatures[-1][0], bytes(64)),
            ),
        ),
    ),
    "another aggregate": replace(
        BLOCKS[1], header=replace(BLOCKS[1].header, aggregate_cid=file_cid(b"another"))
    ),
    "another parent": NEXT.block(NEXT.candidate(parent=file_cid(b"another"))),
    "a ticket dropped": replace(BLOCKS[1], tickets=BLOCKS[1].tickets[1:]),
    "out of turn": NEXT.block(NEXT.candidate(aggregator=NEXT.order()[1])),
    "of another chain": replace(BLOCKS[1], header=replace(BLOCKS[1].header, chain_id=bytes(32))),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_block_of_a_peer_is_refused_and_the_right_one_taken(name: str) -> None:
    late = Late(4).hear("block", BLOCKS[0], sender=5)
    state, before = late.part.state, snapshot(late.server)
    sent = list(late.host.sent)
    assert not late.server.receive("block", BAD[name], 5)
    assert late.server.refused == {"block": 1}
    assert late.part.state is state
    assert snapshot(late.server) == before
    assert late.host.sent == sent
    late.hear("block", *BLOCKS[1:4], sender=6)
    assert late.server.chain.height == 4
    again = chain_from(TOY.genesis)
    for block in late.server.chain.blocks:
        again.append(block)
    for one, other in pairwise(late.server.chain.blocks):
        assert other.header.parent == one.cid


def test_two_servers_that_differ_by_many_heights_meet() -> None:
    """Told as messages between two benches: nothing is lost, and it ends."""
    late, peer = Late(5), at(5)
    late.wake("resend")
    rounds = 0
    heard = [0, 0]
    for _ in range(20):
        busy = False
        for which, (source, target) in enumerate([(late, peer), (peer, late)]):
            fresh = source.host.sent[heard[which] :]
            heard[which] = len(source.host.sent)
            for kind, body, to in fresh:
                if to is None or target.server.index in to or kind == "status":
                    busy = True
                    target.server.receive(kind, body, source.server.index)
        rounds += busy
        if not busy:
            break
    assert late.server.chain.head == peer.server.chain.head
    assert rounds < 10
    assert late.server.refused == {}


@pytest.mark.parametrize(("count", "size"), [(1, 1), (2, 2), (3, 2), (15, 2), (40, 7)])
def test_distinct_numbers_are_those_that_numpy_chooses(count: int, size: int) -> None:
    for seed in range(50):
        mine, numpys = np.random.default_rng(seed), np.random.default_rng(seed)
        chosen = draw_distinct(mine, count, size)
        assert chosen == numpys.choice(count, size, replace=False).tolist()
        assert mine.random() == numpys.random(), "the stream goes on alike"
