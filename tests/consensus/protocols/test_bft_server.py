"""One server under `bft`, without clock or network: a height decided step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from consensus.ledger.evidence import holds
from consensus.records.block import Block, Candidate
from consensus.records.view import View
from consensus.records.votes import Timeout
from tests.helpers.bft_rig import (
    BYSTANDER,
    CLIENTS,
    FORGE,
    LEADER,
    MEMBER,
    MEMBERS,
    SEATS,
    SERVERS,
    TOY,
    Bench,
    snapshot,
)
from tests.helpers.bft_scene import (
    CANDIDATE,
    LOCK,
    OTHERS,
    REFUSED,
    SECOND_CANDIDATE,
    TWICE,
    TWIN,
    UPDATES,
    WRONG,
    closed,
    own_vote,
)
from tests.helpers.forge import Forge
from tests.helpers.rules import chain_from
from tests.helpers.toy import Toy

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


def test_others_say_it_again_only_if_they_do_not_see_it_go_round() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE).votes(CANDIDATE)
    bench.votes(CANDIDATE, phase="cert")
    rank = 1 + list(FORGE.sortition().committee.weights).index(MEMBER)
    assert bench.fired("relay") == [(rank * 500_000, (0, 0))], "one after the other"
    assert bench.said("block") == []
    bench.wake("relay", (0, 0), height=1)
    assert bench.said("block") == bench.host.blocks
    bench = Bench().ready().hear("candidate", CANDIDATE).votes(CANDIDATE)
    bench.votes(CANDIDATE, phase="cert")
    assert not bench.server.receive("block", bench.host.blocks[0], LEADER)
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


def test_a_decided_height_is_over() -> None:
    bench = Bench().ready().hear("block", FORGE.block())
    before, sent = snapshot(bench.server), len(bench.host.sent)
    for kind, body in [
        ("update", UPDATES[0]),
        ("ticket", FORGE.ticket(BYSTANDER)),
        ("candidate", CANDIDATE),
        ("vote", FORGE.vote(CANDIDATE, LEADER)),
        ("timeout", FORGE.timeout(LEADER, lock=LOCK)),
        ("closure", closed(lock=LOCK)),
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


AGAIN = FORGE.again(CANDIDATE, (0, 1), closed((0, 0), LOCK))


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
