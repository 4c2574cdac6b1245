"""One edge server's handlers, without clock or network: Algorithm 2 told step by step."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from consensus.application import Contents
from consensus.byzantine import Behaviour, Composed
from consensus.chain import Chain
from consensus.checks import SharedChecks
from consensus.committee import form_committee
from consensus.edge_server import ATTEMPTS_AHEAD, EdgeServer, Timer
from consensus.encoding import file_cid
from consensus.records import Block, Candidate, Ticket, Vote
from consensus.updates import SignedUpdate
from tests.forge import Forge
from tests.toy import Toy

SERVERS, CLIENTS, SEATS = 7, 3, 5
TOY = Toy(servers=SERVERS, clients=CLIENTS, committee_size=SEATS)
FORGE = Forge(TOY)
ORDER = FORGE.order()
COMMITTEE = form_committee(TOY.genesis, FORGE.draws())
MEMBERS = [ticket.server for ticket in COMMITTEE.tickets]
UPDATES = FORGE.updates()
CANDIDATE = FORGE.candidate()


class FakeHost:
    """Writes down what a server asks of its world."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.charged: list[tuple[str, int, int]] = []
        self.sent: list[tuple[str, Any, int]] = []
        self.timers: list[tuple[int, Timer]] = []
        self.published: list[Contents] = []
        self.fetched: list[bytes] = []
        self.blocks: list[Block] = []

    def now_us(self) -> int:
        return self.now

    def charge(self, operation: str, size: int = 0, times: int = 1) -> None:
        self.charged.append((operation, size, times))

    def gossip(self, kind: str, body: object, size: int) -> None:
        self.sent.append((kind, body, size))

    def timer(self, microseconds: int, timer: Timer) -> None:
        self.timers.append((microseconds, timer))

    def publish(self, contents: Contents) -> None:
        self.published.append(contents)

    def fetch(self, link: bytes) -> None:
        self.fetched.append(link)

    def generator(self, *label: int) -> np.random.Generator:
        return np.random.default_rng(label)

    def appended(self, block: Block) -> None:
        self.blocks.append(block)

    def all(self, kind: str) -> list[Any]:
        """The bodies sent of one kind."""
        return [body for sent, body, _ in self.sent if sent == kind]


class Bench:
    """A server of the toy's genesis on a fake host, and what others send it."""

    def __init__(
        self, index: int, behaviour: Behaviour | None = None, toy: Toy = TOY, start: bool = True
    ) -> None:
        self.host = FakeHost()
        checks = SharedChecks(toy.genesis, toy.application)
        self.forge = Forge(toy)
        self.server = EdgeServer(
            index, *toy.keys[index], Chain(toy.genesis), checks, self.host, behaviour
        )
        if start:
            self.server.enter_height()

    def tickets(self, attempt: int = 0, missing: frozenset[int] = frozenset()) -> Bench:
        for draw in self.forge.draws(attempt):
            if draw.ticket.server != self.server.index and draw.ticket.server not in missing:
                assert self.server.on_ticket(draw.ticket)
        return self

    def updates(self, updates: list[SignedUpdate] | None = None) -> Bench:
        for update in UPDATES if updates is None else updates:
            assert self.server.on_update(update)
        return self

    def timeout(self, what: str, attempt: int = 0, step: int = -1, height: int = 1) -> Bench:
        self.server.on_timeout((what, height, attempt, step))
        return self

    def ready(self) -> Bench:
        """All tickets and updates are in and the committee is formed: step 0 begins."""
        return self.tickets().updates().timeout("tickets")

    def votes(
        self, approve: bool, count: int, candidate: Candidate = CANDIDATE, start: int = 0
    ) -> Bench:
        """Votes of ``count`` members other than this server."""
        tickets = candidate.committee
        others = [ticket.server for ticket in tickets if ticket.server != self.server.index]
        for member in others[start : start + count]:
            self.server.on_vote(self.forge.vote(candidate, member, approve))
        return self

    def state(self) -> dict[str, Any]:
        """Everything that the server and its pool remember, but its counters."""
        server = self.server
        left_out = {"refused", "pool", "chain", "genesis", "behaviour", "_checks", "_host"}
        state = {name: value for name, value in vars(server).items() if name not in left_out}
        state["pool"] = server.pool.ordered()
        state["head"] = server.chain.head
        state["blocks"] = server.chain.blocks
        state["_ballots"] = {slot: ballot.votes for slot, ballot in server._ballots.items()}
        return copy.deepcopy(state)


#: Roles at step 0: the aggregator; a member and a bystander that are not the aggregator.
AGGREGATOR = ORDER[0]
MEMBER = next(server for server in MEMBERS if server != AGGREGATOR)
BYSTANDER = next(s for s in range(SERVERS) if s not in MEMBERS and s != AGGREGATOR)


# -- tickets and updates ---------------------------------------------------------------------------


def test_a_height_begins_with_a_ticket_and_two_deadlines() -> None:
    bench = Bench(MEMBER)
    assert bench.host.all("ticket") == [FORGE.draw(MEMBER).ticket]
    assert bench.host.timers == [
        (20_000_000, ("updates", 1, 0, -1)),
        (500_000, ("tickets", 1, 0, -1)),
    ]
    assert bench.host.charged == [("vrf_prove", 0, 1)]


def test_what_is_sent_weighs_its_encoding() -> None:
    bench = Bench(AGGREGATOR).ready()
    assert {kind for kind, _, _ in bench.host.sent} >= {"ticket", "candidate"}
    for _, body, size in bench.host.sent:
        assert size == len(body.encoded)


def test_nothing_starts_before_tickets_and_updates_are_in() -> None:
    bench = Bench(AGGREGATOR).tickets().updates()
    assert bench.server.step == -1
    bench.timeout("tickets")
    assert bench.server.step == 0
    other = Bench(AGGREGATOR).tickets().timeout("tickets").updates(UPDATES[:2])
    assert other.server.step == -1
    other.updates(UPDATES[2:])
    assert other.server.step == 0


def test_updates_are_sufficient_after_their_deadline_however_few() -> None:
    bench = Bench(AGGREGATOR).tickets().timeout("tickets").updates(UPDATES[:1])
    assert bench.server.step == -1
    bench.timeout("updates")
    assert bench.server.step == 0
    assert bench.host.all("candidate")[0].header.count == 1


def test_no_update_at_all_is_never_sufficient() -> None:
    bench = Bench(AGGREGATOR).tickets().timeout("tickets").timeout("updates")
    assert bench.server.step == -1
    bench.updates(UPDATES[:1])
    assert bench.server.step == 0


def test_a_ticket_after_the_deadline_seats_nobody_but_is_passed_on() -> None:
    late = next(server for server in MEMBERS if server != AGGREGATOR)
    bench = Bench(AGGREGATOR).tickets(missing=frozenset([late])).updates().timeout("tickets")
    assert late not in [t.server for t in bench.host.all("candidate")[0].committee]
    before = bench.state()
    assert bench.server.on_ticket(FORGE.draw(late).ticket)
    assert bench.server.refused == {"late ticket": 1}
    assert bench.state() == before


def test_the_committee_is_formed_once() -> None:
    bench = Bench(MEMBER).ready()
    before = bench.state()
    bench.timeout("tickets")
    assert bench.state() == before


# -- proposing -------------------------------------------------------------------------------------


def test_the_aggregator_proposes_the_aggregate_of_all_it_has() -> None:
    bench = Bench(AGGREGATOR).ready()
    [candidate] = bench.host.all("candidate")
    expected = FORGE.candidate(timestamp=bench.host.now)
    assert candidate == expected
    assert [file_cid(contents.model) for contents in bench.host.published] == [
        candidate.header.model
    ]
    assert ("store_put", 8, 1) in bench.host.charged
    assert (len(bench.host.all("vote")) == 1) == (AGGREGATOR in MEMBERS)


def test_two_updates_of_a_client_are_passed_on_but_not_aggregated() -> None:
    bench = Bench(AGGREGATOR).tickets()
    for update in TWICE:
        assert bench.server.on_update(update)
    bench.timeout("tickets")
    assert bench.server.step == -1, "the quota is not reached"
    bench.timeout("updates")
    [candidate] = bench.host.all("candidate")
    assert candidate.updates == tuple(update.record.digest for update in FORGE.updates([1, 2]))


def test_an_aggregator_left_without_enough_updates_waits() -> None:
    """A second update takes a client's first away after the steps have begun."""
    bench = Bench(ORDER[1]).ready()
    assert bench.server.on_update(SECOND)
    bench.timeout("vote", step=0)
    assert (bench.server.step, bench.host.all("candidate")) == (1, [])


def test_a_candidate_with_one_of_two_updates_is_still_verified() -> None:
    """Its aggregator had not seen the other; this member saw it first."""
    bench = Bench(MEMBER).tickets().timeout("tickets").updates([SECOND, *UPDATES])
    bench.timeout("updates")
    bench.server.on_candidate(CANDIDATE)
    assert bench.host.all("vote") == [FORGE.vote(CANDIDATE, MEMBER)]


def test_the_clock_never_sets_a_block_back() -> None:
    bench = Bench(AGGREGATOR, start=False)
    bench.host.now = -5
    bench.server.enter_height()
    bench.ready()
    assert bench.host.all("candidate")[0].header.timestamp == FORGE.head.timestamp + 1


def test_only_the_aggregator_of_the_step_proposes() -> None:
    for server in range(SERVERS):
        bench = Bench(server).ready()
        assert bool(bench.host.all("candidate")) == (server == AGGREGATOR)


def test_the_next_step_is_the_next_aggregators() -> None:
    bench = Bench(ORDER[1]).ready()
    assert bench.host.all("candidate") == []
    bench.timeout("vote", step=0)
    assert bench.host.all("candidate")[0].header.step == 1


# -- voting ----------------------------------------------------------------------------------------


def test_a_member_recomputes_and_approves_what_is_right() -> None:
    bench = Bench(MEMBER).ready()
    assert bench.server.on_candidate(CANDIDATE)
    assert bench.host.all("vote") == [FORGE.vote(CANDIDATE, MEMBER)]
    assert ("aggregate", 8 * CLIENTS, 1) in bench.host.charged


def test_who_has_no_seat_does_not_vote() -> None:
    bench = Bench(BYSTANDER).ready()
    assert bench.server.on_candidate(CANDIDATE)
    assert bench.host.all("vote") == []


OTHER_COMMITTEE = form_committee(
    TOY.genesis, FORGE.draws(0, [server for server in range(SERVERS) if server != MEMBERS[0]])
).tickets
SECOND = TOY.update(0, value=7.0)
"""Client 0's second, different update."""
TWICE = sorted([*UPDATES, SECOND], key=lambda update: update.record.digest)
WRONG_CANDIDATES: dict[str, Candidate] = {
    "another model": FORGE.candidate(model=file_cid(b"noise")),
    "a snapshot where none belongs": FORGE.candidate(snapshot=file_cid(b"state")),
    "too few updates": FORGE.candidate(FORGE.updates([0, 1])),
    "updates in another order": FORGE.candidate(list(reversed(UPDATES))),
    "an update twice": FORGE.candidate([UPDATES[0], *UPDATES]),
    "a client twice": FORGE.candidate(TWICE),
    "another count": FORGE.candidate(count=CLIENTS + 1),
    "another N": FORGE.candidate(samples=1),
    "another root": FORGE.candidate(updates=bytes(32)),
    "a time far ahead": FORGE.candidate(timestamp=3_000_001),
    "a committee of its choice": FORGE.candidate(committee=OTHER_COMMITTEE),
}


@pytest.mark.parametrize("name", WRONG_CANDIDATES)
def test_a_member_rejects_what_is_wrong(name: str) -> None:
    bench = Bench(MEMBER).ready()
    assert bench.server.on_update(SECOND)
    candidate = WRONG_CANDIDATES[name]
    assert bench.server.on_candidate(candidate)
    assert bench.host.all("vote") == [FORGE.vote(candidate, MEMBER, approve=False)]


def test_clocks_may_differ_by_a_voting_time() -> None:
    bench = Bench(MEMBER).ready()
    bench.server.on_candidate(FORGE.candidate(timestamp=3_000_000))
    assert bench.host.all("vote")[0].approve


def test_few_updates_are_right_once_they_are_late() -> None:
    bench = Bench(MEMBER).ready().timeout("updates")
    bench.server.on_candidate(FORGE.candidate(FORGE.updates([0, 1])))
    assert bench.host.all("vote")[0].approve


def test_a_vote_waits_for_an_update_that_is_still_on_its_way() -> None:
    bench = Bench(MEMBER).tickets().timeout("updates").updates(UPDATES[:2]).timeout("tickets")
    bench.server.on_candidate(CANDIDATE)
    assert bench.server.step == 0
    assert bench.host.all("vote") == []
    bench.updates(UPDATES[2:])
    assert bench.host.all("vote") == [FORGE.vote(CANDIDATE, MEMBER)]


def test_a_candidate_waits_for_the_committee() -> None:
    bench = Bench(MEMBER).tickets().updates()
    assert bench.server.on_candidate(CANDIDATE)
    assert bench.host.all("vote") == []
    bench.timeout("tickets")
    assert bench.host.all("vote") == [FORGE.vote(CANDIDATE, MEMBER)]


def test_a_candidate_waits_for_its_step() -> None:
    bench = Bench(MEMBER).ready()
    second = FORGE.candidate(step=1)
    assert bench.server.on_candidate(second)
    assert bench.host.all("vote") == []
    bench.timeout("vote", step=0)
    if ORDER[1] != MEMBER:
        assert bench.host.all("vote") == [FORGE.vote(second, MEMBER)]


def test_a_member_votes_once_in_a_slot() -> None:
    bench = Bench(MEMBER).ready()
    bench.server.on_candidate(CANDIDATE)
    assert not bench.server.on_candidate(CANDIDATE)
    assert not bench.server.on_candidate(FORGE.candidate(timestamp=2_000_000))
    bench.server.on_update(TOY.update(0, value=5.0))
    assert len(bench.host.all("vote")) == 1


@pytest.mark.parametrize("early", [True, False], ids=["before the committee", "after"])
def test_a_candidate_out_of_turn_takes_nobodys_place(early: bool) -> None:
    """Else a malicious server could fill every slot before its aggregator proposes."""
    bench = Bench(MEMBER).tickets().updates()
    if not early:
        bench.timeout("tickets")
    for spammer in ORDER[1:]:
        if spammer != MEMBER:
            assert bench.server.on_candidate(FORGE.candidate(aggregator=spammer))
    bench.timeout("tickets")
    assert bench.host.all("vote") == []
    assert bench.server.on_candidate(CANDIDATE)
    assert bench.host.all("vote") == [FORGE.vote(CANDIDATE, MEMBER)]


# -- outcomes --------------------------------------------------------------------------------------


def test_more_than_two_thirds_make_the_block() -> None:
    bench = Bench(BYSTANDER).ready()
    bench.server.on_candidate(CANDIDATE)
    bench.votes(True, 3)
    assert bench.host.blocks == []
    bench.votes(True, 1, start=3)
    [block] = bench.host.blocks
    assert block.header == CANDIDATE.header
    assert len(block.certificate) == 4
    assert bench.server.chain.height == 1
    assert bench.host.all("block") == [], "its aggregator shares it"


def test_the_aggregator_shares_the_block() -> None:
    bench = Bench(AGGREGATOR).ready()
    [candidate] = bench.host.all("candidate")
    bench.votes(True, SEATS, candidate)
    assert bench.host.all("block") == bench.host.blocks
    Chain(TOY.genesis).append(bench.host.blocks[0])


def test_votes_may_come_before_their_candidate() -> None:
    bench = Bench(BYSTANDER).ready()
    bench.votes(True, SEATS)
    assert bench.host.blocks == []
    bench.server.on_candidate(CANDIDATE)
    assert len(bench.host.blocks) == 1


def test_everything_may_come_before_the_committee() -> None:
    bench = Bench(BYSTANDER)
    bench.votes(True, SEATS)
    bench.server.on_candidate(CANDIDATE)
    bench.tickets()
    assert bench.host.blocks == []
    bench.timeout("tickets")
    assert len(bench.host.blocks) == 1


def test_enough_rejections_end_the_step() -> None:
    bench = Bench(BYSTANDER).ready()
    bench.server.on_candidate(CANDIDATE)
    bench.votes(False, 1)
    assert bench.server.step == 0
    bench.votes(False, 1, start=1)
    assert bench.server.step == 1
    assert bench.host.timers[-1] == (2_000_000, ("vote", 1, 0, 1))


def test_maxstep_failures_form_the_committee_anew() -> None:
    bench = Bench(MEMBER).ready()
    for step in range(3):
        assert (bench.server.attempt, bench.server.step) == (0, step)
        bench.timeout("vote", step=step)
    assert (bench.server.attempt, bench.server.step) == (1, -1)
    assert bench.host.all("ticket")[-1] == FORGE.draw(MEMBER, attempt=1).ticket
    assert bench.host.timers[-1] == (500_000, ("tickets", 1, 1, -1))
    bench.tickets(attempt=1).timeout("tickets", attempt=1)
    assert (bench.server.attempt, bench.server.step) == (1, 0)
    candidate = FORGE.candidate(attempt=1)
    if candidate.header.aggregator != MEMBER:
        bench.server.on_candidate(candidate)
        seated = MEMBER in [ticket.server for ticket in candidate.committee]
        assert (FORGE.vote(candidate, MEMBER) in bench.host.all("vote")) == seated


def test_fewer_aggregators_than_maxstep_take_one_turn_each() -> None:
    """With only two tickets there are two aggregators; nobody gets a second step."""
    bench = Bench(MEMBER).updates()
    other = next(server for server in range(SERVERS) if server != MEMBER)
    bench.tickets(missing=frozenset(range(SERVERS)) - {other}).timeout("tickets")
    bench.timeout("vote", step=0).timeout("vote", step=1)
    assert (bench.server.attempt, bench.server.step) == (1, -1)
    assert len(bench.host.all("candidate")) == 1


def test_a_certificate_of_an_earlier_step_still_counts() -> None:
    """Votes that were slower than the clock: what more than two thirds approved is the block."""
    bench = Bench(BYSTANDER).ready()
    bench.server.on_candidate(CANDIDATE)
    bench.timeout("vote", step=0)
    bench.votes(True, SEATS)
    assert bench.host.blocks[0].header == CANDIDATE.header


@pytest.mark.parametrize(
    "timer",
    [
        ("vote", 2, 0, 0),
        ("vote", 1, 1, 0),
        ("vote", 1, 0, 1),
        ("vote", 1, 0, -1),
        ("tickets", 1, 0, -1),
        ("tickets", 1, 1, -1),
        ("updates", 2, 0, -1),
    ],
)
def test_a_stale_timeout_does_nothing(timer: Timer) -> None:
    bench = Bench(MEMBER).ready()
    before = bench.state()
    bench.server.on_timeout(timer)
    assert bench.state() == before


# -- blocks ----------------------------------------------------------------------------------------


def test_a_block_is_enough() -> None:
    """A server that missed everything else verifies the block's proofs and appends it."""
    bench = Bench(MEMBER)
    block = FORGE.block(signers=sorted(MEMBERS)[:4])
    assert bench.server.on_block(block)
    assert bench.host.blocks == [block]
    assert bench.host.charged[-2:] == [("vrf_verify", 0, SEATS), ("verify", 0, 5)]


def test_who_did_not_compute_a_model_fetches_it() -> None:
    for server in range(SERVERS):
        bench = Bench(server).ready()
        if server != AGGREGATOR:
            bench.server.on_candidate(CANDIDATE)
            bench.votes(True, SEATS)
        else:
            bench.server.on_block(FORGE.block())
        computed = server == AGGREGATOR or server in MEMBERS
        assert bench.host.fetched == ([] if computed else [CANDIDATE.header.model])


def test_a_block_that_is_here_already_is_passed_on_and_nothing_more() -> None:
    bench = Bench(MEMBER)
    bench.server.on_block(FORGE.block())
    before = bench.state()
    assert bench.server.on_block(FORGE.block(signers=sorted(MEMBERS)[:4]))
    assert not bench.server.on_block(FORGE.block(FORGE.candidate(step=1)))
    assert bench.state() == before
    assert len(bench.host.blocks) == 1


def test_a_decided_height_is_over() -> None:
    bench = Bench(MEMBER).ready()
    bench.server.on_block(FORGE.block())
    before, sent = bench.state(), len(bench.host.sent)
    assert not bench.server.on_update(UPDATES[0])
    assert not bench.server.on_ticket(FORGE.draw(BYSTANDER).ticket)
    assert not bench.server.on_candidate(CANDIDATE)
    assert not bench.server.on_vote(FORGE.vote(CANDIDATE, AGGREGATOR))
    bench.timeout("vote", step=0).timeout("updates")
    assert bench.state() == before
    assert len(bench.host.sent) == sent


def test_a_block_of_another_committee_waits_for_the_block_itself() -> None:
    """This server missed a member's ticket: it cannot certify what the others agreed on."""
    bench = Bench(BYSTANDER).tickets(missing=frozenset([MEMBERS[0]])).updates().timeout("tickets")
    order = bench.server._committees[0][1]
    assert order[0] in (AGGREGATOR, ORDER[1])
    bench.server.on_candidate(CANDIDATE)
    bench.votes(True, SEATS)
    assert bench.host.blocks == []
    assert bench.server.on_block(FORGE.block())
    assert len(bench.host.blocks) == 1


# -- the next height -------------------------------------------------------------------------------


def test_the_next_height_starts_from_nothing() -> None:
    toy = Toy(servers=SERVERS, clients=CLIENTS, committee_size=SEATS)
    bench = Bench(MEMBER, toy=toy).ready()
    bench.server.on_block(FORGE.block())
    bench.server.enter_height()
    server = bench.server
    assert (server.height, server.attempt, server.step, server.late) == (2, 0, -1, False)
    assert len(server.pool) == 0
    assert bench.host.all("ticket")[-1].height == 2
    assert not server.on_update(UPDATES[0])
    assert server.pool.rejected == {"stale": 1}
    assert not server.on_ticket(FORGE.draw(AGGREGATOR).ticket)
    assert not server.on_vote(FORGE.vote(CANDIDATE, AGGREGATOR))
    assert not server.on_candidate(CANDIDATE)
    assert server.refused == {}, "what the height before left in flight is no offence"


# -- what is refused -------------------------------------------------------------------------------


def damaged(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


A_TICKET = FORGE.draw(AGGREGATOR, attempt=1).ticket
A_VOTE = FORGE.vote(CANDIDATE, AGGREGATOR)
OTHER_TOY = Forge(Toy(servers=SERVERS, clients=CLIENTS, committee_size=SEATS, seed=5))

REFUSED: dict[str, tuple[str, Any, str]] = {
    "a ticket far ahead": (
        "ticket",
        FORGE.draw(AGGREGATOR, attempt=ATTEMPTS_AHEAD + 1).ticket,
        "ticket for another attempt",
    ),
    "a forged ticket": ("ticket", replace(A_TICKET, proof=bytes(80)), "ticket proof"),
    "a ticket of another chain": ("ticket", OTHER_TOY.draw(1, attempt=1).ticket, "ticket proof"),
    "a ticket for another server": (
        "ticket",
        replace(A_TICKET, server=(AGGREGATOR + 1) % SERVERS),
        "ticket proof",
    ),
    "a ticket replayed in another attempt": (
        "ticket",
        replace(FORGE.draw(AGGREGATOR).ticket, attempt=2),
        "ticket proof",
    ),
    "a ticket of nobody": ("ticket", replace(A_TICKET, server=SERVERS), "ticket proof"),
    "a candidate far ahead": (
        "candidate",
        FORGE.candidate(attempt=ATTEMPTS_AHEAD + 1),
        "candidate for another attempt",
    ),
    "a candidate of another chain": ("candidate", OTHER_TOY.candidate(), "candidate header"),
    "a candidate on another parent": (
        "candidate",
        FORGE.candidate(parent=file_cid(b"")),
        "candidate header",
    ),
    "a candidate beyond MaxStep": (
        "candidate",
        FORGE.candidate(step=3, aggregator=AGGREGATOR),
        "candidate header",
    ),
    "a candidate signed by another": (
        "candidate",
        FORGE.candidate(signer=BYSTANDER),
        "candidate header",
    ),
    "a candidate without its ticket": (
        "candidate",
        FORGE.candidate(proof=bytes(80)),
        "candidate header",
    ),
    "a candidate of nobody": (
        "candidate",
        replace(CANDIDATE, header=replace(CANDIDATE.header, aggregator=SERVERS)),
        "candidate header",
    ),
    "a candidate of the past": (
        "candidate",
        FORGE.candidate(timestamp=0),
        "candidate header",
    ),
    "a candidate with a phantom member": (
        "candidate",
        FORGE.candidate(
            committee=(*COMMITTEE.tickets[:-1], replace(COMMITTEE.tickets[-1], proof=bytes(80)))
        ),
        "candidate header",
    ),
    "a vote of nobody": ("vote", replace(A_VOTE, server=SERVERS), "vote by a stranger"),
    "a vote on another chain": (
        "vote",
        FORGE.vote(CANDIDATE, AGGREGATOR, chain_id=bytes(32)),
        "vote by a stranger",
    ),
    "a vote far ahead": (
        "vote",
        FORGE.vote(CANDIDATE, AGGREGATOR, attempt=ATTEMPTS_AHEAD + 1),
        "vote for another attempt",
    ),
    "a vote beyond MaxStep": ("vote", FORGE.vote(CANDIDATE, AGGREGATOR, step=3), "vote beyond"),
    "a vote in another's name": (
        "vote",
        FORGE.vote(CANDIDATE, AGGREGATOR, signer=BYSTANDER),
        "vote signature",
    ),
    "a vote turned round": ("vote", replace(A_VOTE, approve=False), "vote signature"),
    "a vote moved to another step": ("vote", replace(A_VOTE, step=1), "vote signature"),
    "a vote moved to another attempt": ("vote", replace(A_VOTE, attempt=1), "vote signature"),
    "a vote moved to another block": (
        "vote",
        replace(A_VOTE, block=file_cid(b"")),
        "vote signature",
    ),
    "a block with a damaged vote": (
        "block",
        replace(
            FORGE.block(),
            certificate=((sorted(MEMBERS)[0], bytes(64)), *FORGE.block().certificate[1:]),
        ),
        "block",
    ),
    "a block of two thirds and no more": (
        "block",
        FORGE.block(signers=sorted(MEMBERS)[:3]),
        "block",
    ),
    "a block of another chain": ("block", OTHER_TOY.block(), "block"),
    "a block signed by another": (
        "block",
        FORGE.block(FORGE.candidate(signer=BYSTANDER)),
        "block",
    ),
}


@pytest.mark.parametrize("formed", [False, True], ids=["collecting", "voting"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_counted_and_changes_nothing(name: str, formed: bool) -> None:
    kind, message, reason = REFUSED[name]
    bench = Bench(MEMBER)
    if formed:
        bench.ready()
    before, sent, timers = bench.state(), list(bench.host.sent), list(bench.host.timers)
    handler = getattr(bench.server, f"on_{kind}")
    assert not handler(message), "not passed on"
    [(counted, times)] = bench.server.refused.items()
    assert counted.startswith(reason)
    assert times == 1
    assert bench.state() == before
    assert (bench.host.sent, bench.host.timers) == (sent, timers)


def test_a_second_vote_is_counted_and_changes_nothing() -> None:
    bench = Bench(BYSTANDER).ready().votes(True, 1)
    before = bench.state()
    bench.votes(False, 1)
    assert bench.server.refused == {"second vote": 1}
    assert bench.state() == before


def test_an_unfit_update_is_counted_in_the_pool() -> None:
    bench = Bench(MEMBER).tickets()
    before = bench.state()
    assert not bench.server.on_update(TOY.update(0, samples=99))
    assert bench.server.pool.rejected == {"sample count": 1}
    assert bench.state() == before


def test_a_ticket_of_a_past_attempt_is_refused() -> None:
    bench = Bench(MEMBER).ready()
    for step in range(3):
        bench.timeout("vote", step=step)
    before = bench.state()
    assert not bench.server.on_ticket(FORGE.draw(AGGREGATOR).ticket)
    assert bench.server.refused == {"ticket for another attempt": 1}
    assert bench.state() == before


# -- malicious servers -----------------------------------------------------------------------------


def test_a_gaussian_aggregator_proposes_noise() -> None:
    bench = Bench(AGGREGATOR, Composed(["gaussian"])).ready()
    [candidate] = bench.host.all("candidate")
    assert candidate.header.model != CANDIDATE.header.model
    assert candidate.updates == CANDIDATE.updates
    assert file_cid(bench.host.published[0].model) == candidate.header.model
    honest = Bench(MEMBER).ready()
    honest.server.on_candidate(candidate)
    assert [vote.approve for vote in honest.host.all("vote")] == [False]
    ally = Bench(MEMBER, Composed(["gaussian", "invert_votes"])).ready()
    ally.server.on_candidate(candidate)
    assert [vote.approve for vote in ally.host.all("vote")] == [True]


def test_an_inverting_member_rejects_what_is_right() -> None:
    bench = Bench(MEMBER, Composed(["invert_votes"])).ready()
    bench.server.on_candidate(CANDIDATE)
    assert bench.host.all("vote") == [FORGE.vote(CANDIDATE, MEMBER, approve=False)]


# -- any order -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_whatever_the_order_of_arrival_the_block_is_the_same(seed: int) -> None:
    """Updates, candidate and votes in any order around the two deadlines."""
    server = int(np.random.default_rng(seed).integers(SERVERS))
    bench = Bench(server)
    bench.tickets()
    messages: list[tuple[str, Any]] = [("update", update) for update in UPDATES]
    messages += [("vote", FORGE.vote(CANDIDATE, m)) for m in MEMBERS if m != server]
    if server != AGGREGATOR:
        messages.append(("candidate", CANDIDATE))
    messages.append(("timeout", ("tickets", 1, 0, -1)))
    for position in np.random.default_rng([seed, 1]).permutation(len(messages)):
        kind, body = messages[position]
        getattr(bench.server, f"on_{kind}")(body)
    [block] = bench.host.blocks
    assert block.header == CANDIDATE.header
    assert all(
        isinstance(body, Ticket | Candidate | Vote | Block) for _, body, _ in bench.host.sent
    )


@pytest.mark.parametrize("seed", range(50))
def test_no_sequence_of_messages_breaks_a_server(seed: int) -> None:
    """Right, wrong, forged and foreign messages and timeouts of several attempts, in any order:
    nothing crashes, no attempt or step is skipped, and what is appended has its proofs."""
    generator = np.random.default_rng([seed, 2])
    bench = Bench(int(generator.integers(SERVERS)))
    candidates = [FORGE.candidate(attempt=a, step=s) for a in range(3) for s in range(2)]
    candidates += list(WRONG_CANDIDATES.values())
    messages: list[tuple[str, Any]] = [(kind, body) for kind, body, _ in REFUSED.values()]
    messages += [("update", update) for update in TWICE]
    messages += [("candidate", candidate) for candidate in candidates]
    messages += [("ticket", draw.ticket) for a in range(4) for draw in FORGE.draws(a)]
    for candidate in candidates:
        voters = generator.choice(SERVERS, 3, replace=False).tolist()
        messages += [
            ("vote", FORGE.vote(candidate, voter, bool(generator.integers(2)))) for voter in voters
        ]
    for attempt in range(3):
        messages.append(("timeout", ("tickets", 1, attempt, -1)))
        messages += [("timeout", ("vote", 1, attempt, step)) for step in range(3)]
    messages.append(("timeout", ("updates", 1, 0, -1)))
    slots = [(0, -1)]
    for position in generator.permutation(len(messages) * 2) % len(messages):
        kind, body = messages[position]
        getattr(bench.server, f"on_{kind}")(body)
        slot = (bench.server.attempt, bench.server.step)
        if slot != slots[-1]:
            assert slot > slots[-1]
            slots.append(slot)
    votes = bench.host.all("vote")
    assert len({(vote.attempt, vote.step) for vote in votes}) == len(votes), "one vote in a slot"
    assert len(bench.host.blocks) <= 1
    for block in bench.host.blocks:
        Chain(TOY.genesis).append(block)
