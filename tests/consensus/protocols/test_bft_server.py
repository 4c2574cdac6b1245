"""One server under `bft`, without clock or network: a height told step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from consensus.adversary.behaviour import Behaviour
from consensus.application import Contents
from consensus.encoding.unixfs import file_cid
from consensus.ledger.evidence import Evidence, holds
from consensus.protocols.bft import tickets
from consensus.protocols.bft.state import ATTEMPTS_AHEAD
from consensus.records.block import Block, Candidate
from consensus.records.sync import Want
from consensus.records.view import View
from consensus.records.votes import Certificate, Timeout, Vote
from consensus.server.message import Malformed
from tests.helpers.bft_rig import (
    BYSTANDER,
    CLIENTS,
    FORGE,
    LEADER,
    MEMBER,
    MEMBERS,
    ORDER,
    SEATS,
    SERVERS,
    TOY,
    Bench,
    snapshot,
)
from tests.helpers.forge import Forge, flipped
from tests.helpers.rules import chain_from
from tests.helpers.toy import Toy

UPDATES = FORGE.updates()
CANDIDATE = FORGE.candidate()
BLOCK = CANDIDATE.header.cid
TWIN = FORGE.candidate(timestamp=2_000_000)
"""The leader's other proposal of the same view."""
LOCK = FORGE.lock(CANDIDATE)
OTHERS = [server for server in MEMBERS if server != MEMBER]
"""The members but `MEMBER`."""


def closed(view: View = (0, 0), lock: Certificate | None = None) -> Any:
    """What closes a view; one of its signers names ``lock``."""
    return FORGE.closing(view, locks=None if lock is None else {FORGE.members(view[0])[0]: lock})


def own_vote(server: int, candidate: Candidate = CANDIDATE, phase: str = "soft") -> Vote:
    """What a server says that votes for ``candidate``."""
    proposal = candidate.proposal if phase == "soft" else b""
    return FORGE.vote(candidate, server, phase, proposal=proposal)


# -- a height begins -------------------------------------------------------------------------------


def test_a_height_begins_with_a_ticket_and_its_deadlines() -> None:
    bench = Bench(BYSTANDER)
    assert bench.said("ticket") == [FORGE.ticket(BYSTANDER)]
    [to] = bench.host.whom("ticket")
    recorders = {*MEMBERS, *ORDER, *FORGE.members(1), *FORGE.order(1)} - {BYSTANDER}
    assert to is not None
    assert set(to) == recorders, "those who may record it in this attempt or the next"
    assert len(to) == len(recorders)
    assert [(after, timer[0]) for after, timer in bench.host.timers] == [
        (20_000_000, "updates"),
        (2_000_000, "resend"),
        (500_000, "tickets"),
    ]
    assert bench.host.charged == [("vrf_prove", 0, 1)]


def test_a_draw_that_can_win_nothing_stays_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "is_worth_announcing", lambda *_: False)
    bench = Bench(LEADER).tickets().updates().wake("tickets")
    assert bench.said("ticket") == []
    [candidate] = bench.said("candidate")
    assert LEADER not in [ticket.server for ticket in candidate.tickets]


def test_a_ticket_is_taken_once_and_passed_on() -> None:
    bench = Bench()
    ticket = FORGE.ticket(LEADER)
    assert bench.server.receive("ticket", ticket, LEADER)
    assert not bench.server.receive("ticket", ticket, LEADER)
    assert bench.part.tickets_held() == tuple(sorted([MEMBER, LEADER]))
    assert bench.server.refused == {}


# -- proposing -------------------------------------------------------------------------------------


def test_the_leader_proposes_the_aggregate_of_all_it_has() -> None:
    bench = Bench(LEADER).ready()
    [candidate] = bench.said("candidate")
    expected = FORGE.candidate(timestamp=bench.host.now)
    assert candidate == expected
    assert bench.host.whom("candidate") == [None], "gossiped"
    assert bench.host.published[0].aggregate == TOY.application.aggregate(
        [update.payload for update in UPDATES], [update.record.samples for update in UPDATES]
    )
    assert ("store_put", 8, 1) in bench.host.charged
    assert ("sign", 0, 1) in bench.host.charged
    assert bench.said("vote") == [own_vote(LEADER, candidate)]


@pytest.mark.parametrize("server", range(SERVERS))
def test_only_the_leader_proposes(server: int) -> None:
    assert bool(Bench(server).ready().said("candidate")) == (server == LEADER)


def test_nothing_is_proposed_before_tickets_and_updates_are_in() -> None:
    bench = Bench(LEADER).tickets().updates()
    assert bench.said("candidate") == []
    bench.wake("tickets")
    assert len(bench.said("candidate")) == 1
    bench = Bench(LEADER).tickets().wake("tickets").updates(UPDATES[:2])
    assert bench.said("candidate") == []
    bench.updates(UPDATES[2:])
    assert len(bench.said("candidate")) == 1


def test_a_leader_that_lacks_draws_waits_for_one_more() -> None:
    bench = Bench(LEADER).tickets([s for s in range(SERVERS) if s != LEADER][:3])
    bench.updates().wake("tickets")
    assert bench.said("candidate") == [], "four draws of six seats"
    late = next(s for s in range(SERVERS) if s not in bench.part.tickets_held())
    bench.tickets([late])
    [candidate] = bench.said("candidate")
    assert [ticket.server for ticket in candidate.tickets] == sorted(bench.part.tickets_held())


def test_updates_are_sufficient_after_their_deadline_however_few() -> None:
    bench = Bench(LEADER).tickets().wake("tickets").updates(UPDATES[:1])
    assert bench.said("candidate") == []
    bench.wake("updates")
    assert bench.said("candidate")[0].header.count == 1


def test_no_update_at_all_is_never_sufficient() -> None:
    bench = Bench(LEADER).tickets().wake("tickets").wake("updates")
    assert bench.said("candidate") == []
    bench.updates(UPDATES[:1])
    assert len(bench.said("candidate")) == 1


SECOND = TOY.update(0, value=7.0)
"""Client 0's second, different update."""
TWICE = sorted([*UPDATES, SECOND], key=lambda update: update.record.digest)


def test_two_updates_of_a_client_are_passed_on_but_not_aggregated() -> None:
    bench = Bench(LEADER).tickets().updates(TWICE).wake("tickets")
    assert bench.said("candidate") == [], "the quota is not reached"
    bench.wake("updates")
    [candidate] = bench.said("candidate")
    assert candidate.updates == tuple(update.record.digest for update in FORGE.updates([1, 2]))


def test_the_clock_never_sets_a_block_back() -> None:
    bench = Bench(LEADER, start=False)
    bench.host.now = -5
    bench.server.enter_height()
    bench.ready()
    assert bench.said("candidate")[0].header.timestamp == FORGE.head.timestamp + 1


def test_a_leader_proposes_once() -> None:
    bench = Bench(LEADER).ready().updates([SECOND]).wake("tickets").wake("updates")
    bench.votes(bench.said("candidate")[0], MEMBERS[:2])
    assert len(bench.said("candidate")) == 1


def test_the_next_leader_proposes_when_the_view_is_closed() -> None:
    bench = Bench(ORDER[1]).ready()
    assert bench.said("candidate") == []
    why = closed()
    bench.hear("closure", why)
    [candidate] = bench.said("candidate")
    assert candidate == FORGE.candidate(view=(0, 1), justification=why, timestamp=bench.host.now)


def test_a_locked_block_is_proposed_again_and_nothing_else() -> None:
    bench = Bench(ORDER[1]).ready().hear("candidate", CANDIDATE)
    why = closed((0, 0), LOCK)
    bench.hear("closure", why)
    [candidate] = bench.said("candidate")
    assert candidate == FORGE.again(CANDIDATE, (0, 1), why)


def test_a_leader_without_the_locked_block_asks_its_voters_for_it() -> None:
    bench = Bench(ORDER[1]).ready()
    why = closed((0, 0), LOCK)
    bench.hear("closure", why)
    assert bench.said("candidate") == [], "nothing else may be proposed"
    asked = bench.host.whom("status")[-1]
    assert asked == tuple(server for server, _ in LOCK.signatures)
    bench.hear("candidate", CANDIDATE)
    assert bench.said("candidate") == [FORGE.again(CANDIDATE, (0, 1), why)]


# -- voting ----------------------------------------------------------------------------------------


def test_a_member_recomputes_and_votes_for_what_is_right() -> None:
    bench = Bench().ready()
    assert bench.server.receive("candidate", CANDIDATE, LEADER)
    assert bench.said("vote") == [own_vote(MEMBER)], "with what it was proposed"
    assert bench.host.whom("vote") == [
        tuple(server for server in FORGE.sortition().committee.weights if server != MEMBER)
    ]
    assert ("aggregate", 8 * CLIENTS, 1) in bench.host.charged
    assert bench.host.published[0].aggregate, "what it approves of it provides"


def test_a_candidate_may_go_on_before_its_draws_are_verified() -> None:
    """Its signatures are checked first; the many draws while it travels on."""
    bench = Bench().hear("candidate", CANDIDATE)
    charged = [operation for operation, _, _ in bench.host.charged]
    assert charged.index("may relay") == charged.index("verify") + 1
    assert bench.host.charged[charged.index("may relay") + 1] == ("vrf_verify", 0, SERVERS - 1)


def test_a_leader_without_a_seat_gets_the_votes_too() -> None:
    """It passes the block on."""
    attempt, step = next(
        (attempt, step)
        for attempt in range(50)
        for step in range(3)
        if FORGE.order(attempt)[step] not in FORGE.members(attempt)
    )
    member = FORGE.members(attempt)[0]
    why = FORGE.closing((attempt, step - 1) if step else (attempt - 1, 2))
    candidate = FORGE.candidate(view=(attempt, step), justification=why)
    bench = Bench(member).ready().hear("candidate", candidate).wake("listen")
    [to] = bench.host.whom("vote")
    assert to is not None
    assert candidate.proposer in to
    assert set(to) == {*FORGE.members(attempt), candidate.proposer} - {member}


def test_who_has_no_seat_does_not_vote() -> None:
    bench = Bench(BYSTANDER).ready().hear("candidate", CANDIDATE).wake("view")
    assert bench.said("vote") == bench.said("timeout") == []


WRONG: dict[str, Candidate] = {
    "another aggregate": FORGE.candidate(aggregate_cid=file_cid(b"noise")),
    "a snapshot where none belongs": FORGE.candidate(snapshot=file_cid(b"state")),
    "updates in another order": FORGE.candidate(list(reversed(UPDATES))),
    "an update twice": FORGE.candidate([UPDATES[0], *UPDATES]),
    "a client twice": FORGE.candidate(TWICE),
    "another N": FORGE.candidate(samples=1),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_member_leaves_the_view_of_what_is_wrong(name: str) -> None:
    bench = Bench().ready().updates([SECOND])
    assert bench.server.receive("candidate", WRONG[name], LEADER)
    assert bench.said("vote") == []
    assert bench.said("timeout") == [FORGE.timeout(MEMBER)]
    assert bench.host.whom("timeout") == [None], "gossiped"


def test_a_candidate_without_an_update_is_never_right() -> None:
    bench = Bench().ready().wake("updates")
    bench.hear("candidate", FORGE.candidate(count=0, listed=UPDATES))
    assert bench.said("vote") == []


LATE = next(server for server in range(SERVERS) if server not in (MEMBER, LEADER))
UNTIMELY: dict[str, Candidate] = {
    "far ahead": FORGE.candidate(timestamp=3_000_001),
    "a ticket left out": FORGE.candidate(
        tickets=FORGE.tickets(server for server in range(SERVERS) if server != LATE)
    ),
}


@pytest.mark.parametrize("name", UNTIMELY)
def test_a_member_declines_what_comes_at_the_wrong_time(name: str) -> None:
    candidate = UNTIMELY[name]
    bench = Bench().ready()
    if name != "far ahead":
        bench.host.now += 500_000
    bench.hear("candidate", candidate)
    assert bench.said("vote") == []
    assert bench.said("timeout") == [FORGE.timeout(MEMBER)]
    again = FORGE.again(candidate, (0, 1), closed((0, 0), FORGE.lock(candidate)))
    bench.hear("candidate", again).wake("listen")
    assert bench.phases() == ["soft"], "others found it timely, and locked it"


def test_a_ticket_may_have_missed_its_recorder() -> None:
    """One that came within the collecting time here may have come after it there."""
    bench = Bench().tickets(s for s in range(SERVERS) if s != LATE).updates()
    bench.host.now += 500_000
    bench.wake("tickets").tickets([LATE])
    bench.host.now += 499_999
    bench.hear("candidate", UNTIMELY["a ticket left out"])
    assert bench.phases() == ["soft"]


def test_clocks_may_differ_by_a_voting_time() -> None:
    bench = Bench().ready().hear("candidate", FORGE.candidate(timestamp=3_000_000))
    assert bench.phases() == ["soft"]


def test_few_updates_are_right_once_they_are_late() -> None:
    few = FORGE.candidate(FORGE.updates([0, 1]))
    bench = Bench().ready().hear("candidate", few)
    assert bench.said("vote") == bench.said("timeout") == [], "right, perhaps, but not yet"
    bench.wake("updates")
    assert bench.said("vote") == [own_vote(MEMBER, few)]
    assert Bench().ready().wake("updates").hear("candidate", few).phases() == ["soft"]


def test_a_candidate_with_one_of_two_updates_is_still_voted_for() -> None:
    """Its leader had not seen the other; this member saw it first."""
    bench = Bench().tickets().updates([SECOND, *UPDATES]).wake("tickets").wake("updates")
    bench.hear("candidate", CANDIDATE)
    assert bench.phases() == ["soft"]


def test_a_vote_waits_for_an_update_and_asks_for_it() -> None:
    bench = Bench().tickets().updates(UPDATES[:1]).wake("tickets").hear("candidate", CANDIDATE)
    assert bench.said("vote") == []
    assert bench.fired("want") == [(125_000, (0, 0))], "the gossip may be about to bring it"
    bench.wake("want")
    missing = Want(1, tuple(update.record.digest for update in UPDATES[1:]))
    assert bench.said("want") == [missing]
    [to] = bench.host.whom("want")
    assert to is not None
    assert to[0] == LEADER
    assert len(set(to)) == len(to) >= 2
    assert set(to) <= set(MEMBERS) - {MEMBER}
    assert bench.fired("want")[1:] == [(500_000, (0, 0))]
    bench.updates(UPDATES[1:2]).wake("want")
    assert bench.said("want")[1] == Want(1, (UPDATES[2].record.digest,))
    bench.updates(UPDATES[2:])
    assert bench.said("vote") == [own_vote(MEMBER)]
    bench.wake("want")
    assert len(bench.said("want")) == 2


def test_updates_that_others_lack_are_sent_to_them() -> None:
    bench = Bench().updates()
    digests = tuple(update.record.digest for update in UPDATES)
    assert not bench.server.receive("want", Want(1, (*digests, bytes(32))), 5)
    assert bench.said("update") == UPDATES
    assert bench.host.whom("update") == [(5,)] * CLIENTS
    for height in (2, 3):
        bench.hear("want", Want(height, digests), sender=5)
    assert len(bench.said("update")) == CLIENTS
    bench.hear("want", Want(1, (bytes(32),) * 2 * CLIENTS + digests), sender=5)
    assert len(bench.said("update")) == CLIENTS, "no more than twice the quota at a time"


def test_a_candidate_waits_for_its_view() -> None:
    bench = Bench().ready()
    why = closed()
    second = FORGE.candidate(view=(0, 1), justification=why)
    assert bench.server.receive("candidate", second, ORDER[1])
    assert bench.view == (0, 1), "which it brings"
    assert bench.said("vote") == []
    bench.wake("listen")
    assert bench.said("vote") == [own_vote(MEMBER, second)], "once locks have been shown"
    assert bench.said("closure") == [why], "nobody stays behind for long"


def test_one_candidate_of_a_view_is_enough() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE)
    before = snapshot(bench.server)
    assert not bench.server.receive("candidate", CANDIDATE, LEADER)
    assert not bench.server.receive("candidate", replace(CANDIDATE), 3)
    assert snapshot(bench.server) == before
    assert bench.server.refused == {}


# -- two phases ------------------------------------------------------------------------------------


def test_an_overwhelming_lock_is_certified_and_decided() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE).votes(CANDIDATE)
    assert bench.said("vote") == [own_vote(MEMBER), own_vote(MEMBER, phase="cert")]
    bench.votes(CANDIDATE, OTHERS[:3], "cert")
    assert bench.host.blocks == []
    bench.votes(CANDIDATE, OTHERS[3:4], "cert")
    [block] = bench.host.blocks
    assert block.header == CANDIDATE.header
    assert [server for server, _ in block.certificate.signatures] == sorted([MEMBER, *OTHERS[:4]])
    assert bench.server.chain.height == 1
    chain_from(TOY.genesis).append(block)


def test_a_narrow_lock_settles_first() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE).votes(CANDIDATE, OTHERS[:4])
    assert bench.phases() == ["soft"]
    assert bench.fired("settle") == [(500_000, (0, 0))]
    bench.wake("settle")
    assert bench.phases() == ["soft", "cert"]


def test_without_settling_a_narrow_lock_is_enough() -> None:
    toy = Toy(
        servers=SERVERS, clients=CLIENTS, committee_size=SEATS, crypto="modelled", settle_us=0
    )
    forge = Forge(toy)
    member = next(server for server in forge.members() if server not in forge.order())
    bench = Bench(member, toy).ready()
    candidate = forge.candidate()
    others = [server for server in forge.members() if server != member]
    bench.hear("candidate", candidate).votes(candidate, others[:4])
    assert bench.phases() == ["soft", "cert"]
    assert bench.fired("settle") == []


@pytest.mark.parametrize("vote_brings_it", [False, True])
def test_a_second_proposal_while_a_lock_settles_keeps_it_from_being_certified(
    vote_brings_it: bool,
) -> None:
    """Here directly, there by a soft vote for it, which carries the leader's signature."""
    bench = Bench().ready().hear("candidate", CANDIDATE).votes(CANDIDATE, OTHERS[:4])
    if vote_brings_it:
        bench.hear("vote", own_vote(OTHERS[4], TWIN))
    else:
        bench.hear("candidate", TWIN)
    assert bench.said("timeout") == [FORGE.timeout(MEMBER, lock=bench.part.durable.promises.lock)]
    bench.wake("settle")
    assert bench.phases() == ["soft"]


def test_votes_may_come_before_their_candidate() -> None:
    bench = Bench().ready().votes(CANDIDATE).votes(CANDIDATE, OTHERS[:4], "cert")
    assert bench.said("vote") == []
    bench.hear("candidate", CANDIDATE)
    assert bench.phases() == ["soft", "cert"]
    assert len(bench.host.blocks) == 1


def test_what_is_decided_without_its_block_is_asked_for() -> None:
    bench = Bench(BYSTANDER).ready().votes(CANDIDATE, MEMBERS[:5], "cert")
    assert bench.host.blocks == []
    assert bench.host.whom("status")[-1] == tuple(MEMBERS[:5])
    bench.hear("candidate", CANDIDATE)
    assert [block.header for block in bench.host.blocks] == [CANDIDATE.header]


def test_votes_that_come_after_their_view_still_decide() -> None:
    bench = Bench(BYSTANDER).ready().hear("candidate", CANDIDATE)
    bench.hear("closure", closed())
    assert bench.view == (0, 1)
    bench.votes(CANDIDATE, MEMBERS[:5], "cert", (0, 0))
    assert bench.host.blocks[0].header == CANDIDATE.header


def test_a_block_may_be_decided_in_a_later_view() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE)
    again = FORGE.again(CANDIDATE, (0, 1), closed((0, 0), LOCK))
    bench.hear("candidate", again).votes(again).votes(again, phase="cert")
    [block] = bench.host.blocks
    assert (block.header.view, block.certificate.view) == ((0, 0), (0, 1))


def test_the_leader_passes_its_block_on() -> None:
    bench = Bench(LEADER).ready()
    [candidate] = bench.said("candidate")
    bench.votes(candidate).votes(candidate, phase="cert")
    assert bench.said("block") == bench.host.blocks
    assert bench.host.whom("block") == [None]
    assert bench.fired("relay") == []


def test_others_pass_it_on_only_if_they_do_not_see_it_go_round() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE).votes(CANDIDATE)
    bench.votes(CANDIDATE, phase="cert")
    rank = 1 + list(FORGE.sortition().committee.weights).index(MEMBER)
    assert bench.fired("relay") == [(rank * 500_000, (0, 0))], "one after the other"
    assert bench.said("block") == []
    bench.wake("relay", (0, 0), height=1)
    assert bench.said("block") == bench.host.blocks
    bench = Bench().ready().hear("candidate", CANDIDATE).votes(CANDIDATE)
    bench.votes(CANDIDATE, phase="cert")
    assert bench.server.receive("block", bench.host.blocks[0], LEADER), "seen, and passed on"
    bench.wake("relay", (0, 0), height=1)
    assert bench.said("block") == []


def test_a_block_is_enough() -> None:
    """A server that missed everything else verifies the block's proofs and appends it."""
    bench = Bench()
    block = FORGE.block(signers=MEMBERS[:5])
    assert bench.server.receive("block", block, LEADER)
    assert bench.host.blocks == [block]
    assert bench.host.charged[1:] == [
        ("verify", 0, 6),
        ("may relay", 0, 1),
        ("vrf_verify", 0, SERVERS),
    ]
    assert not bench.server.active
    known = Bench().ready().hear("candidate", CANDIDATE)
    known.hear("block", FORGE.block())
    assert known.host.charged[-1] == ("vrf_verify", 0, 0), "its draws are checked already"


def test_who_did_not_compute_a_model_fetches_it() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE).hear("block", FORGE.block())
    assert bench.host.fetched == []
    bench = Bench().ready().hear("block", FORGE.block())
    assert bench.host.fetched == [CANDIDATE.header.aggregate_cid]
    assert bench.server.lacking == set()


def test_a_model_that_nobody_has_yet_is_fetched_later() -> None:
    bench = Bench(BYSTANDER)
    bench.host.contents = {}
    bench.hear("block", FORGE.block())
    link = CANDIDATE.header.aggregate_cid
    assert bench.server.lacking == {link}
    bench.server.enter_height()
    assert bench.server.lacking == {link}, "tried as the next height begins"
    bench.wake("resend")
    assert bench.server.lacking == {link}
    bench.host.contents = {link: b"aggregate"}
    bench.wake("resend")
    assert bench.server.lacking == set()
    assert bench.host.fetched == [link] * 4


def test_a_decided_height_is_over() -> None:
    bench = Bench().ready().hear("block", FORGE.block())
    before, sent = snapshot(bench.server), len(bench.host.sent)
    for kind, body in [
        ("update", UPDATES[0]),
        ("ticket", FORGE.ticket(BYSTANDER)),
        ("candidate", CANDIDATE),
        ("vote", FORGE.vote(CANDIDATE, LEADER)),
        ("timeout", FORGE.timeout(LEADER)),
        ("closure", closed()),
        ("lock", LOCK),
    ]:
        assert not bench.server.receive(kind, body, LEADER)
    for what in ("view", "settle", "recovery", "updates", "tickets", "want", "resend"):
        bench.wake(what, (0, 0), height=1)
    assert snapshot(bench.server) == before
    assert len(bench.host.sent) == sent
    assert bench.server.refused == {}, "what is still in flight is no offence"


def test_the_next_height_starts_from_nothing() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE).hear("block", FORGE.block())
    bench.server.enter_height()
    server = bench.server
    assert (server.height, bench.part.state.view, server.late) == (2, (0, 0), False)
    assert (len(server.pool), bench.part.tickets_held()) == (0, (MEMBER,))
    assert bench.part.durable.promises.height == 1, "nothing is promised at height 2 yet"
    assert bench.said("ticket")[-1].height == 3
    after = FORGE.after(FORGE.block())
    assert server.chain.head == after.head
    assert bench.said("ticket")[-1] == after.ticket(MEMBER)


# -- leaving a view --------------------------------------------------------------------------------


def test_the_first_views_time_begins_when_its_leader_could_have_proposed() -> None:
    bench = Bench().tickets().updates()
    assert bench.fired("view") == []
    bench.wake("tickets")
    assert bench.fired("view") == [(2_000_000, (0, 0))]
    bench.updates([SECOND])
    bench.hear("candidate", CANDIDATE)
    assert len(bench.fired("view")) == 1
    assert Bench().hear("candidate", CANDIDATE).fired("view") == [(2_000_000, (0, 0))]


def test_a_view_that_is_over_is_left_and_with_enough_others_closed() -> None:
    bench = Bench().ready().wake("view")
    assert bench.said("timeout") == [FORGE.timeout(MEMBER)]
    assert bench.fired("recovery") == [(10_000_000, (0, 0))]
    bench.timeouts(OTHERS[:3])
    assert bench.view == (0, 0)
    bench.timeouts(OTHERS[3:4])
    assert bench.view == (0, 1)
    [closure] = bench.said("closure")
    assert closure == FORGE.closing(servers=sorted([MEMBER, *OTHERS[:4]]))
    assert bench.fired("view")[-1] == (2_000_000, (0, 1))


def test_views_last_longer_with_every_attempt() -> None:
    bench = Bench().ready()
    for attempt in range(3):
        for step in range(3):
            bench.hear("closure", closed((attempt, step)))
    lasting: dict[int, set[int]] = {}
    for after, view in bench.fired("view"):
        lasting.setdefault(view[0], set()).add(after)
    assert lasting == {0: {2_000_000}, 1: {3_000_000}, 2: {4_000_000}, 3: {5_000_000}}


def test_a_new_attempt_is_told_ones_ticket() -> None:
    """Those who record it there may be others than before."""
    toy = Toy(servers=16, clients=1, committee_size=4, crypto="modelled")
    forge = Forge(toy)
    bench = Bench(0, toy)
    told = set(bench.host.whom("ticket")[0] or ())
    for step in range(3):
        bench.hear("closure", forge.closing((0, step)))
    to = bench.host.whom("ticket")[-1]
    assert to is not None
    recorders = {*forge.members(1), *forge.order(1), *forge.members(2), *forge.order(2)} - {0}
    assert set(to) == recorders - told, "whoever has it is not told again"


def test_a_lock_is_told_on_leaving() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE).votes(CANDIDATE, OTHERS[:4]).wake("view")
    [timeout] = bench.said("timeout")
    assert timeout.lock == bench.part.durable.promises.lock
    assert timeout.lock is not None
    assert timeout.lock.name == (0, 0, BLOCK)
    assert timeout == FORGE.timeout(MEMBER, lock=timeout.lock)


def test_a_lock_of_a_later_view_is_not_told_of_an_earlier_one() -> None:
    """A server that lags behind hears of it, and must not spoil what closes its own view."""
    second = FORGE.candidate(view=(0, 1), justification=closed())
    held = FORGE.lock(second)
    bench = Bench().ready().hear("timeout", FORGE.timeout(OTHERS[0], (0, 1), lock=held))
    assert bench.part.durable.promises.lock == held
    bench.wake("view")
    assert bench.said("timeout") == [FORGE.timeout(MEMBER)]
    bench.hear("closure", closed())
    bench.wake("view")
    assert bench.said("timeout")[-1] == FORGE.timeout(MEMBER, (0, 1), lock=held)


def test_an_attempt_is_given_up_after_the_recovery_time() -> None:
    bench = Bench(BYSTANDER).ready().wake("view")
    assert bench.said("timeout") == []
    assert bench.fired("recovery") == [(10_000_000, (0, 0))]
    bench.wake("recovery")
    assert bench.said("timeout") == [FORGE.timeout(BYSTANDER, everyone=True)]
    bench.timeouts([s for s in range(SERVERS) if s != BYSTANDER][:4], everyone=True)
    assert bench.view == (1, 0), "five of seven"
    [first, *_] = bench.said("closure")
    assert first.everyone


def test_without_recovery_nobody_gives_an_attempt_up() -> None:
    toy = Toy(servers=4, clients=1, crypto="modelled", recovery_us=0)
    bench = Bench(0, toy).ready().wake("view")
    assert bench.fired("recovery") == []


def test_a_closed_view_is_entered_told_and_done_with() -> None:
    bench = Bench().ready()
    why = closed()
    assert bench.server.receive("closure", why, LEADER)
    assert bench.view == (0, 1)
    assert bench.said("closure") == [why]
    before = snapshot(bench.server)
    assert not bench.server.receive("closure", why, LEADER)
    assert not bench.server.receive("closure", replace(why, step=0), LEADER)
    assert snapshot(bench.server) == before
    assert bench.server.refused == {}


def test_a_lock_that_a_closing_left_out_is_shown() -> None:
    bench = Bench().ready().hear("lock", LOCK)
    assert not bench.server.receive("lock", replace(LOCK), LEADER), "it is known"
    bench.hear("closure", closed())
    assert bench.said("lock") == [LOCK]
    assert bench.host.whom("lock") == [None]


# -- timers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "height", "view"),
    [
        ("view", 2, (0, 0)),
        ("view", 1, (0, 1)),
        ("view", 1, (1, 0)),
        ("settle", 1, (0, 0)),
        ("settle", 2, (0, 0)),
        ("recovery", 1, (0, 1)),
        ("recovery", 2, (0, 0)),
        ("tickets", 2, (0, 0)),
        ("updates", 2, (0, 0)),
        ("resend", 2, (0, 0)),
        ("relay", 1, (0, 0)),
        ("relay", 2, (0, 0)),
        ("want", 1, (0, 0)),
        ("nonsense", 1, (0, 0)),
    ],
)
def test_a_stale_timer_does_nothing(what: str, height: int, view: View) -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE)
    before, sent = snapshot(bench.server), list(bench.host.sent)
    state, timers = bench.part.state, len(bench.host.timers)
    bench.wake(what, view, height)
    assert bench.part.state is state
    assert snapshot(bench.server) == before
    assert bench.host.sent == sent
    assert len(bench.host.timers) == timers


# -- evidence --------------------------------------------------------------------------------------


def assert_proves(bench: Bench, server: int, phase: str) -> Evidence:
    [found] = bench.server.evidence.values()
    assert (found.server, found.phase, found.height) == (server, phase, 1)
    assert set(found.blocks) == {BLOCK, TWIN.header.cid}
    assert holds(TOY.genesis, found)
    return found


@pytest.mark.parametrize("order", [(CANDIDATE, TWIN), (TWIN, CANDIDATE)])
def test_two_proposals_of_a_view_are_evidence(order: tuple[Candidate, Candidate]) -> None:
    bench = Bench().ready().hear("candidate", *order)
    assert_proves(bench, LEADER, "proposal")
    assert bench.part.state.candidates[0, 0] == order[0]


def test_a_vote_shows_what_its_voter_was_proposed() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE).hear("vote", own_vote(OTHERS[0], TWIN))
    assert_proves(bench, LEADER, "proposal")
    assert bench.said("timeout") == [FORGE.timeout(MEMBER)]
    early = Bench().hear("vote", own_vote(OTHERS[0], TWIN), own_vote(OTHERS[1]))
    assert_proves(early, LEADER, "proposal")


def test_what_a_vote_was_not_proposed_proves_nothing() -> None:
    """A malicious voter cannot make an honest leader look two-faced."""
    for proposal in (bytes(64), CANDIDATE.signature, flipped(TWIN.signature)):
        bench = Bench().ready().hear("candidate", CANDIDATE)
        bench.hear("vote", FORGE.vote(TWIN, OTHERS[0], proposal=proposal))
        assert bench.server.evidence == {}
        assert bench.said("timeout") == []


@pytest.mark.parametrize("phase", ["soft", "cert"])
def test_two_votes_in_a_view_are_evidence_and_the_first_counts(phase: str) -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE)
    liar = OTHERS[0]
    assert bench.server.receive("vote", FORGE.vote(CANDIDATE, liar, phase), liar)
    state = bench.part.state
    assert not bench.server.receive("vote", FORGE.vote(TWIN, liar, phase), liar)
    assert bench.server.refused == {"second vote": 1}
    assert bench.part.state is state
    assert_proves(bench, liar, phase)


def test_two_votes_of_two_views_are_no_evidence() -> None:
    bench = Bench().ready()
    for view in [(0, 0), (0, 1), (1, 0)]:
        candidate = FORGE.candidate(view=view)
        bench.hear("vote", FORGE.vote(candidate, OTHERS[0], "cert"))
        bench.hear("vote", FORGE.vote(candidate, OTHERS[0], "soft"))
    assert bench.server.evidence == {}
    assert bench.server.refused == {}


def test_evidence_that_was_altered_does_not_hold() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE, TWIN)
    real = assert_proves(bench, LEADER, "proposal")
    one, other = real.signatures
    altered: list[dict[str, Any]] = [
        {"server": (LEADER + 1) % SERVERS},
        {"server": SERVERS},
        {"height": 2},
        {"view": (0, 1)},
        {"view": (1, 0)},
        {"phase": "soft"},
        {"blocks": (BLOCK, BLOCK), "signatures": (CANDIDATE.signature,) * 2},
        {"blocks": (real.blocks[0], file_cid(b"other"))},
        {"blocks": tuple(reversed(real.blocks))},
        {"signatures": (one, flipped(other))},
        {"signatures": (one, one)},
        {"signatures": (other, one)},
    ]
    for change in altered:
        assert not holds(TOY.genesis, replace(real, **change)), change
    assert not holds(Toy(servers=SERVERS, crypto="modelled", seed=99).genesis, real)
    turned = replace(
        real, blocks=tuple(reversed(real.blocks)), signatures=tuple(reversed(real.signatures))
    )
    assert holds(TOY.genesis, turned)


def test_one_piece_of_evidence_per_server_and_kind_is_kept() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE)
    for timestamp in (2_000_000, 2_100_000, 2_200_000):
        bench.hear("candidate", FORGE.candidate(timestamp=timestamp))
    for liar in OTHERS[:2]:
        for of in (CANDIDATE, TWIN, FORGE.candidate(timestamp=2_300_000)):
            bench.hear("vote", FORGE.vote(of, liar, "cert"))
    assert sorted(bench.server.evidence) == [
        ("proposal", 1, LEADER),
        ("vote", 1, OTHERS[0]),
        ("vote", 1, OTHERS[1]),
    ]
    assert all(holds(TOY.genesis, found) for found in bench.server.evidence.values())


# -- after a crash ---------------------------------------------------------------------------------


def crashed(bench: Bench, lost_tail: int = 0) -> Bench:
    """The bench once its server is up again, with nothing said since."""
    bench.server.active = False
    bench.host.sent.clear()
    bench.host.timers.clear()
    bench.server.restart(lost_tail, bench.server.chain.height)
    return bench


def test_a_restarted_server_votes_for_nothing_else() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE)
    assert bench.phases() == ["soft"]
    crashed(bench).ready().hear("candidate", TWIN)
    assert bench.said("vote") == []
    crashed(bench).ready().hear("candidate", CANDIDATE).votes(CANDIDATE).wake("settle")
    assert bench.phases() == ["cert"], "but goes on with what it voted for"
    crashed(bench).ready().hear("candidate", CANDIDATE).votes(CANDIDATE)
    assert bench.said("vote") == []


def test_a_restarted_server_stays_out_of_the_view_that_it_left_and_says_so_again() -> None:
    bench = Bench().ready().wake("view")
    crashed(bench).ready()
    assert bench.fired("view") == [(2_000_000, (0, 0))]
    bench.hear("candidate", CANDIDATE).votes(CANDIDATE)
    assert bench.said("vote") == []
    assert bench.said("timeout") == [FORGE.timeout(MEMBER)]


def test_a_restarted_server_says_again_that_it_gave_the_attempt_up() -> None:
    bench = Bench(BYSTANDER).ready().wake("view").wake("recovery")
    crashed(bench).wake("view").wake("recovery")
    assert bench.said("timeout") == [FORGE.timeout(BYSTANDER, everyone=True)]


def test_a_restarted_leader_proposes_nothing_else() -> None:
    bench = Bench(LEADER).ready()
    assert len(bench.said("candidate")) == 1
    bench.host.now += 1_000
    crashed(bench).ready()
    assert bench.said("candidate") == []
    assert bench.server.evidence == {}


def test_a_restarted_server_keeps_its_lock_and_the_locked_block() -> None:
    """It may be the only one left that has them."""
    bench = Bench(ORDER[1]).ready().hear("candidate", CANDIDATE)
    others = [server for server in MEMBERS if server != ORDER[1]]
    bench.votes(CANDIDATE, others[:4])
    held = bench.part.durable.promises.lock
    assert held is not None
    crashed(bench)
    assert bench.part.durable.promises.lock == held
    assert bench.server.pool.digests() == tuple(sorted(CANDIDATE.updates))
    bench.hear("closure", closed((0, 0), held))
    [again] = bench.said("candidate")
    assert again == FORGE.again(CANDIDATE, (0, 1), closed((0, 0), held))


def test_what_a_crash_takes_is_what_was_in_memory() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE, TWIN)
    assert bench.server.evidence
    crashed(bench)
    assert bench.server.evidence == {}
    assert len(bench.server.pool) == 0
    assert bench.part.tickets_held() == (MEMBER,)
    assert bench.part.state.candidates == {}
    assert bench.said("ticket") == [FORGE.ticket(MEMBER)], "the very same draw"


def test_a_crash_takes_no_block_that_something_was_said_on() -> None:
    """Promises and what they build on are on the disk first."""
    bench = Bench().hear("block", FORGE.block())
    bench.server.enter_height()
    after = FORGE.after(FORGE.block())
    bench.hear("update", *after.updates()).hear("candidate", after.candidate())
    assert bench.part.durable.promises.soft == (0, 0)
    crashed(bench, lost_tail=5)
    assert bench.server.chain.height == 1
    other = Bench().hear("block", FORGE.block())
    other.server.active = False
    other.server.restart(5, 1)
    assert other.server.chain.height == 0, "nothing was promised at height 2 yet"
    assert other.server.passive


def test_a_server_whose_block_was_lost_keeps_to_what_it_promised_there() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE).votes(CANDIDATE)
    promises = bench.part.durable.promises
    bench.hear("block", FORGE.block())
    bench.server.active = False
    bench.server.restart(1, 0)
    assert (bench.server.chain.height, bench.server.passive) == (0, False)
    assert bench.part.durable.promises == promises
    bench.host.sent.clear()
    bench.ready().hear("candidate", TWIN).votes(TWIN)
    assert bench.said("vote") == []


# -- looking on ------------------------------------------------------------------------------------


def test_a_passive_server_says_nothing_but_follows() -> None:
    bench = Bench(LEADER, start=False)
    bench.server.enter_height(passive=True)
    bench.ready().hear("candidate", CANDIDATE).votes(CANDIDATE)
    for what in ("view", "settle", "recovery"):
        bench.wake(what)
    bench.timeouts(MEMBERS[1:5])
    bench.hear("closure", closed())
    assert {kind for kind, _, _ in bench.host.sent} <= {"closure", "status"}
    before = bench.part.durable.promises
    bench.hear("block", FORGE.block())
    assert bench.host.blocks == [FORGE.block()]
    assert bench.part.durable.promises == before, "and promises nothing"


def test_a_passive_server_sees_a_decision_by_votes() -> None:
    bench = Bench(start=False)
    bench.server.enter_height(passive=True)
    bench.hear("candidate", CANDIDATE).votes(CANDIDATE, phase="cert")
    assert len(bench.host.blocks) == 1


# -- what is refused -------------------------------------------------------------------------------

OTHER = Forge(
    Toy(servers=SERVERS, clients=CLIENTS, committee_size=SEATS, crypto="modelled", seed=5)
)
"""Another chain."""
SECOND_WHY = closed()
SECOND_CANDIDATE = FORGE.candidate(view=(0, 1), justification=SECOND_WHY)
AGAIN = FORGE.again(CANDIDATE, (0, 1), closed((0, 0), LOCK))
A_TICKET = FORGE.ticket(LATE)
A_VOTE = FORGE.vote(CANDIDATE, OTHERS[0])
A_TIMEOUT = FORGE.timeout(OTHERS[0], lock=LOCK)
FAR = (ATTEMPTS_AHEAD + 1, 0)


def narrow(candidate: Candidate = CANDIDATE) -> Certificate:
    """A lock of exactly two thirds."""
    return FORGE.lock(candidate, signers=MEMBERS[:4])


REFUSED: dict[str, tuple[str, Any, str]] = {
    # -- tickets
    "a forged ticket": ("ticket", replace(A_TICKET, proof=bytes(80)), "ticket proof"),
    "a ticket of another chain": ("ticket", OTHER.ticket(LATE), "ticket proof"),
    "a ticket for another server": ("ticket", replace(A_TICKET, server=LEADER), "ticket proof"),
    "a ticket of another height": (
        "ticket",
        replace(FORGE.ticket(LATE, height=3), height=2),
        "ticket proof",
    ),
    "a ticket of nobody": ("ticket", replace(A_TICKET, server=SERVERS), "ticket proof"),
    # -- candidates
    "a candidate of another chain": (
        "candidate",
        OTHER.candidate(aggregator=LEADER),
        "candidate header",
    ),
    "a candidate on another parent": (
        "candidate",
        FORGE.candidate(parent=file_cid(b"")),
        "candidate header",
    ),
    "a candidate of the past": ("candidate", FORGE.candidate(timestamp=0), "candidate header"),
    "a candidate signed by another": (
        "candidate",
        FORGE.candidate(signer=BYSTANDER),
        "candidate header",
    ),
    "a candidate of nobody": (
        "candidate",
        replace(CANDIDATE, header=replace(CANDIDATE.header, aggregator=SERVERS)),
        "candidate: not its turn",
    ),
    "a candidate out of turn": (
        "candidate",
        FORGE.candidate(aggregator=ORDER[1]),
        "candidate: not its turn",
    ),
    "a candidate beyond MaxStep": (
        "candidate",
        FORGE.candidate(step=3, aggregator=LEADER),
        "candidate: not its turn",
    ),
    "a candidate far ahead": (
        "candidate",
        FORGE.candidate(view=FAR),
        "candidate for another attempt",
    ),
    "a candidate without the certificate of the view before": (
        "candidate",
        FORGE.candidate(view=(0, 1)),
        "candidate: no justification",
    ),
    "a candidate with the certificate of another view": (
        "candidate",
        FORGE.candidate(view=(0, 1), justification=closed((0, 1))),
        "candidate: justification of another view",
    ),
    "a candidate with a certificate of too few": (
        "candidate",
        FORGE.candidate(view=(0, 1), justification=FORGE.closing(servers=MEMBERS[:4])),
        "candidate header",
    ),
    "a candidate with a forged certificate": (
        "candidate",
        replace(
            SECOND_CANDIDATE,
            justification=replace(
                SECOND_WHY,
                entries=((SECOND_WHY.entries[0][0], None, bytes(64)), *SECOND_WHY.entries[1:]),
            ),
        ),
        "candidate header",
    ),
    "a new candidate despite a lock": (
        "candidate",
        FORGE.candidate(view=(0, 1), justification=closed((0, 0), LOCK)),
        "candidate: not the locked block",
    ),
    "a candidate again without a lock": (
        "candidate",
        FORGE.again(CANDIDATE, (0, 1), SECOND_WHY),
        "candidate: proposed again without a lock",
    ),
    "a candidate again by another hand": (
        "candidate",
        FORGE.again(CANDIDATE, (0, 1), closed((0, 0), LOCK), signer=BYSTANDER),
        "candidate header",
    ),
    "a candidate with a ticket less than its header names": (
        "candidate",
        replace(CANDIDATE, tickets=CANDIDATE.tickets[:-1]),
        "candidate header",
    ),
    "a candidate with a phantom's ticket": (
        "candidate",
        FORGE.candidate(
            tickets=(*CANDIDATE.tickets[:-1], replace(CANDIDATE.tickets[-1], proof=bytes(80)))
        ),
        "candidate header",
    ),
    "a candidate with too few tickets": (
        "candidate",
        FORGE.candidate(tickets=FORGE.tickets(range(4))),
        "candidate header",
    ),
    "a candidate whose updates were altered on the way": (
        "candidate",
        replace(CANDIDATE, updates=CANDIDATE.updates[:2]),
        "candidate header",
    ),
    # -- votes
    "a vote of nobody": ("vote", replace(A_VOTE, server=SERVERS), "vote by a stranger"),
    "a vote on another chain": (
        "vote",
        FORGE.vote(CANDIDATE, OTHERS[0], chain_id=bytes(32)),
        "vote by a stranger",
    ),
    "a vote without a seat": (
        "vote",
        FORGE.vote(CANDIDATE, BYSTANDER),
        "vote without a seat",
    ),
    "a vote far ahead": (
        "vote",
        FORGE.vote(CANDIDATE, OTHERS[0], attempt=ATTEMPTS_AHEAD + 1),
        "vote for another attempt",
    ),
    "a vote beyond MaxStep": (
        "vote",
        FORGE.vote(CANDIDATE, OTHERS[0], step=3),
        "vote beyond MaxStep",
    ),
    "a vote of the paper's": (
        "vote",
        FORGE.vote(CANDIDATE, OTHERS[0], "approve"),
        "vote of another protocol",
    ),
    "a vote in another's name": (
        "vote",
        FORGE.vote(CANDIDATE, OTHERS[0], signer=BYSTANDER),
        "vote signature",
    ),
    "a soft vote for a cert vote": ("vote", replace(A_VOTE, phase="cert"), "vote signature"),
    "a vote moved to another step": ("vote", replace(A_VOTE, step=1), "vote signature"),
    "a vote moved to another block": (
        "vote",
        replace(A_VOTE, block=file_cid(b"")),
        "vote signature",
    ),
    # -- timeouts
    "a timeout of nobody": ("timeout", replace(A_TIMEOUT, server=SERVERS), "timeout by a stranger"),
    "a timeout on another chain": (
        "timeout",
        replace(A_TIMEOUT, chain_id=bytes(32)),
        "timeout by a stranger",
    ),
    "a timeout far ahead": (
        "timeout",
        FORGE.timeout(OTHERS[0], FAR),
        "timeout of another attempt",
    ),
    "a timeout beyond MaxStep": (
        "timeout",
        FORGE.timeout(OTHERS[0], (0, 3)),
        "timeout beyond MaxStep",
    ),
    "everyone's timeout of a later step": (
        "timeout",
        FORGE.timeout(OTHERS[0], (0, 1), everyone=True),
        "timeout beyond MaxStep",
    ),
    "a timeout without a seat": (
        "timeout",
        FORGE.timeout(BYSTANDER),
        "timeout without a seat",
    ),
    "a timeout in another's name": (
        "timeout",
        FORGE.timeout(OTHERS[0], signer=BYSTANDER),
        "timeout signature",
    ),
    "a timeout turned into everyone's": (
        "timeout",
        replace(FORGE.timeout(OTHERS[0]), everyone=True),
        "timeout signature",
    ),
    "a timeout stripped of its lock": ("timeout", replace(A_TIMEOUT, lock=None), "timeout sig"),
    "a timeout with a lock of too few": (
        "timeout",
        FORGE.timeout(OTHERS[0], lock=narrow()),
        "timeout signature",
    ),
    "a timeout with a lock of a later view": (
        "timeout",
        FORGE.timeout(OTHERS[0], lock=FORGE.lock(SECOND_CANDIDATE)),
        "timeout signature",
    ),
    # -- closings and locks
    "a closing of too few": (
        "closure",
        FORGE.closing(servers=MEMBERS[:4]),
        "timeout certificate",
    ),
    "a closing of another chain": ("closure", OTHER.closing(), "timeout certificate"),
    "a closing by everyone, of too few": (
        "closure",
        FORGE.closing(servers=range(4), everyone=True),
        "timeout certificate",
    ),
    "a closing that leaves its lock out": (
        "closure",
        replace(closed((0, 0), LOCK), lock=None),
        "timeout certificate",
    ),
    "a closing beyond MaxStep": ("closure", FORGE.closing((0, 5)), "timeout certificate"),
    "a lock of too few": ("lock", narrow(), "lock"),
    "a decision for a lock": ("lock", FORGE.certificate(CANDIDATE), "lock"),
    "a lock moved to another block": ("lock", replace(LOCK, block=file_cid(b"")), "lock"),
    # -- blocks
    "a block with a damaged vote": (
        "block",
        replace(
            FORGE.block(),
            certificate=replace(
                FORGE.certificate(CANDIDATE),
                signatures=((MEMBERS[0], bytes(64)), *FORGE.certificate(CANDIDATE).signatures[1:]),
            ),
        ),
        "block",
    ),
    "a block of two thirds and no more": ("block", FORGE.block(signers=MEMBERS[:4]), "block"),
    "a block of another chain": ("block", OTHER.block(), "block"),
    "a block signed by another": ("block", FORGE.block(FORGE.candidate(signer=BYSTANDER)), "block"),
    "a block out of turn": ("block", FORGE.block(FORGE.candidate(aggregator=ORDER[1])), "block"),
    # -- what is not of its kind
    "bytes that are no record": ("vote", Malformed(b"\xff", "not DAG-CBOR"), "malformed vote"),
    "a vote that is a ticket": ("vote", A_TICKET, "malformed vote"),
    "a candidate that is a block": ("candidate", FORGE.block(), "malformed candidate"),
    "a lock that is a closing": ("lock", SECOND_WHY, "malformed lock"),
    "an update without its payload": ("update", UPDATES[0].record, "malformed update"),
    "a status that is nothing": ("status", None, "malformed status"),
    "a want that is text": ("want", "updates, please", "malformed want"),
    "a kind that nobody knows": ("gossip", A_VOTE, "unknown kind of message"),
}


def waiting() -> Bench:
    return Bench()


def voting() -> Bench:
    """It has voted softly, and others too."""
    candidate = FORGE.candidate(timestamp=1_500_000)
    others = [server for server in OTHERS if server != OTHERS[0]]
    return (
        Bench()
        .tickets(s for s in range(SERVERS) if s != LATE)
        .updates()
        .wake("tickets")
        .hear("candidate", candidate)
        .votes(candidate, others[:2])
    )


@pytest.mark.parametrize("stage", [waiting, voting])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_counted_and_changes_nothing(
    name: str, stage: Callable[[], Bench]
) -> None:
    kind, body, reason = REFUSED[name]
    bench = stage()
    if stage is voting and name == "a ticket for another server":
        body = replace(body, server=LATE, proof=FORGE.ticket(LEADER).proof)
    state, before = bench.part.state, snapshot(bench.server)
    sent, timers = list(bench.host.sent), list(bench.host.timers)
    assert bench.server.receive(kind, body, OTHERS[0]) is False, "not passed on"
    [(counted, times)] = bench.server.refused.items()
    assert counted.startswith(reason)
    assert times == 1
    assert bench.part.state is state
    assert snapshot(bench.server) == before
    assert (bench.host.sent, bench.host.timers) == (sent, timers)


@pytest.mark.parametrize("stage", [waiting, voting])
def test_an_unfit_update_is_counted_in_the_pool(stage: Callable[[], Bench]) -> None:
    bench = stage()
    state, before = bench.part.state, snapshot(bench.server)
    assert not bench.server.receive("update", TOY.update(0, value=3.0, samples=99), 0)
    assert bench.server.pool.rejected == {"sample count": 1}
    assert bench.part.state is state
    assert snapshot(bench.server) == before


def test_what_a_captured_committee_locks_out_of_turn_breaks_nobody() -> None:
    """Six colluding members lock and decide a block that was not its aggregator's to propose: no
    server takes it."""
    bastard = FORGE.candidate(aggregator=BYSTANDER)
    again = FORGE.again(bastard, (0, 1), closed((0, 0), FORGE.lock(bastard)))
    bench = Bench().ready()
    assert not bench.server.receive("candidate", again, ORDER[1])
    assert bench.server.refused == {"candidate: first proposed out of turn": 1}
    bench.votes(again, phase="cert")
    assert bench.server.chain.height == 0
    later = FORGE.candidate(view=(1, 0))
    early = FORGE.again(later, (0, 1), closed((0, 0), FORGE.lock(later, (0, 0))))
    bench = Bench().ready()
    assert not bench.server.receive("candidate", early, ORDER[1])
    assert bench.server.refused == {"candidate: first proposed out of turn": 1}


def test_a_captured_committee_cannot_decide_before_it_was_proposed() -> None:
    later = FORGE.candidate(view=(1, 0), justification=closed((0, 2)))
    bench = Bench().ready().hear("candidate", later).votes(later, OTHERS, "cert", (0, 0))
    assert bench.server.refused == {"decision": 1}
    assert bench.server.chain.height == 0
    bench.hear("block", FORGE.block())
    assert bench.server.chain.height == 1


# -- malicious servers -----------------------------------------------------------------------------


class Noisy(Behaviour):
    """Proposes another model, and approves of whatever others propose."""

    def contents(self, honest: Contents, generator: np.random.Generator) -> Contents:
        return Contents(generator.bytes(8))

    def verdict(self, honest: bool, generator: np.random.Generator) -> bool:
        return True


def test_a_malicious_leader_proposes_what_it_likes_and_its_allies_vote_for_it() -> None:
    bench = Bench(LEADER, behaviour=Noisy()).ready()
    [candidate] = bench.said("candidate")
    assert candidate.header.aggregate_cid != CANDIDATE.header.aggregate_cid
    assert candidate.updates == CANDIDATE.updates
    assert file_cid(bench.host.published[0].aggregate) == candidate.header.aggregate_cid
    honest = Bench().ready().hear("candidate", candidate)
    assert honest.said("vote") == []
    assert len(honest.said("timeout")) == 1
    ally = Bench(behaviour=Noisy()).ready().hear("candidate", candidate)
    assert ally.phases() == ["soft"]


class Mute(Behaviour):
    """Leads without a word, and hears no votes."""

    def proposes(self, server: Any, candidate: Candidate) -> Candidate | None:
        return None

    def hears(self, server: Any, kind: str, body: Any, sender: int) -> bool:
        return kind != "vote"


def test_a_malicious_leader_may_let_its_turn_pass() -> None:
    bench = Bench(LEADER, behaviour=Mute()).ready()
    assert bench.said("candidate") == []
    bench.hear("candidate", CANDIDATE).votes(CANDIDATE).votes(CANDIDATE, phase="cert")
    assert bench.host.blocks == []
    bench.hear("block", FORGE.block())
    assert len(bench.host.blocks) == 1


# -- any order -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_whatever_the_order_of_arrival_the_block_is_the_same(seed: int) -> None:
    """Updates, tickets, candidate and votes in any order around the deadlines."""
    draw = np.random.default_rng(seed)
    server = int(draw.integers(SERVERS))
    candidate = CANDIDATE
    bench = Bench(server)
    messages: list[tuple[str, Any]] = [("update", update) for update in UPDATES]
    messages += [("ticket", FORGE.ticket(s)) for s in range(SERVERS) if s != server]
    messages += [
        ("vote", FORGE.vote(candidate, member, phase))
        for member in MEMBERS
        for phase in ("soft", "cert")
        if member != server
    ]
    if server != LEADER:
        messages.append(("candidate", candidate))
    else:
        bench.ready()
        [candidate] = bench.said("candidate")
        messages = [
            ("vote", FORGE.vote(candidate, member, phase))
            for member in MEMBERS
            for phase in ("soft", "cert")
            if member != server
        ]
    for position in draw.permutation(len(messages)):
        bench.hear(*messages[position])
    bench.wake("tickets", (0, 0), height=1)
    [block] = bench.host.blocks
    assert block.header == candidate.header
    assert bench.server.refused == {}
    assert bench.server.evidence == {}


ANYTHING: list[tuple[str, Any]] = [
    *[(kind, body) for kind, body, _ in REFUSED.values()],
    *[("update", update) for update in TWICE],
    *[("ticket", FORGE.ticket(server)) for server in range(SERVERS)],
    *[("candidate", of) for of in (CANDIDATE, TWIN, SECOND_CANDIDATE, AGAIN, *WRONG.values())],
    *[
        ("vote", FORGE.vote(of, server, phase))
        for of in (CANDIDATE, TWIN, SECOND_CANDIDATE, AGAIN)
        for server in range(SERVERS)
        for phase in ("soft", "cert")
    ],
    *[
        ("timeout", FORGE.timeout(server, (0, 0) if everyone else view, everyone, lock))
        for server in range(SERVERS)
        for view in [(0, 0), (0, 1), (1, 0)]
        for everyone in (False, True)
        for lock in (None, LOCK)
    ],
    *[("closure", closed(view, lock)) for view in [(0, 0), (0, 1)] for lock in (None, LOCK)],
    ("lock", LOCK),
    ("lock", FORGE.lock(TWIN)),
]


def by(body: Any) -> set[int]:
    """Who signed a message, or is said to have."""
    if isinstance(body, Candidate):
        return {body.header.aggregator, body.proposer}
    return {getattr(body, "server", -1)}


@pytest.mark.parametrize("seed", range(40))
def test_no_sequence_of_messages_breaks_a_server(seed: int) -> None:
    """Right, wrong, forged and foreign messages, timers and crashes, in any order: nothing crashes,
    nothing is said twice, and what is appended has its proofs."""
    draw = np.random.default_rng([seed, 2])
    bench = Bench(int(draw.integers(SERVERS)))
    views = [(0, 0), (0, 1), (0, 2), (1, 0)]
    said: dict[tuple[str, int, int], bytes] = {}
    proposed: dict[View, bytes] = {}
    anything = [(kind, body) for kind, body in ANYTHING if bench.server.index not in by(body)]
    for position in draw.integers(len(anything) * 5 // 4, size=300).tolist():
        if position < len(anything):
            bench.hear(*anything[position], sender=0)
        elif position % 8:
            what = ("tickets", "updates", "view", "settle", "recovery", "want", "resend")
            bench.wake(what[position % 7], views[position % 4], height=1)
        elif not bench.host.blocks:
            bench.server.restart(0, bench.server.chain.height)
    for vote in bench.said("vote"):
        if vote.server == bench.server.index:
            key = (vote.phase, vote.attempt, vote.step)
            assert said.setdefault(key, vote.block) == vote.block
    for candidate in bench.said("candidate"):
        if candidate.proposer == bench.server.index:
            block = candidate.header.cid
            assert proposed.setdefault(candidate.view, block) == block
    for timeout in bench.said("timeout"):
        assert isinstance(timeout, Timeout)
    assert len(bench.host.blocks) <= 1
    for block in bench.host.blocks:
        assert isinstance(block, Block)
        chain_from(TOY.genesis).append(block)
    for found in bench.server.evidence.values():
        assert holds(TOY.genesis, found)
        assert found.server != bench.server.index
