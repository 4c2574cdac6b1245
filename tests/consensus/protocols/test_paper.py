"""What Algorithm 2 as written leads to: each weakness shown under `paper`, and in the same setting
its absence under `bft`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from consensus.adversary.behaviour import Behaviour, Circle
from consensus.adversary.composed import Composed
from consensus.encoding.cid import digest
from consensus.faults.faults import Faults
from consensus.faults.kinds import Delay
from consensus.ledger.capture_odds import frequency_interval, malicious_seats, p_captured
from consensus.ledger.committee import Draw, may_sit
from consensus.ledger.validity import InvalidBlock
from consensus.protocols.bft.server import BftParticipant
from consensus.protocols.paper import vote as paper
from consensus.protocols.paper.server import PaperParticipant
from consensus.protocols.paper.validity import head_after
from consensus.protocols.paper.vote import Decide, HeightContext, State
from consensus.records.block import Candidate
from consensus.records.ticket import Ticket
from consensus.server.edge_server import EdgeServer
from consensus.server.hooks import Outgoing
from consensus.simulation.results import Arrival, Forked, HeightResult, Stalled
from tests.helpers.fake_host import FakeHost
from tests.helpers.forge import Forge
from tests.helpers.paper_rig import Bench, PaperForge
from tests.helpers.rules import chain_from, checks_of
from tests.helpers.toy import Toy

#: Simulated seconds that are more than enough for any height that ends at all.
PATIENCE = 400.0


def world(
    protocol: str,
    servers: int,
    size: int,
    malicious: Iterable[int] = (),
    behaviour: tuple[str, ...] = (),
    **more: Any,
) -> Toy:
    """A toy world in which these servers are one adversary."""
    circle = Circle(frozenset(malicious))
    return Toy(
        servers=servers,
        clients=4,
        committee_size=size,
        protocol=protocol,
        crypto="modelled",
        malicious={server: Composed(behaviour, circle=circle) for server in circle.members},
        **more,
    )


def outcome(toy: Toy, heights: int = 1, patience: float = PATIENCE) -> str:
    """What becomes of some heights."""
    try:
        results = [toy.play(patience) for _ in range(heights)]
    except (Stalled, Forked) as end:
        return type(end).__name__.lower()
    return "captured" if any(result.captured for result in results) else "decided"


# -- the committee formed anew is the same ---------------------------------------------------------


def test_a_blocked_committee_is_formed_again_for_ever() -> None:
    """Two of nine servers vote upside down; where both sit on a committee of four, it is blocked,
    and so is every one that follows it."""
    ends = {
        protocol: Counter(
            outcome(world(protocol, 9, 4, (0, 1), ("invert_votes",), seed=seed), 3, patience)
            for seed in range(12)
        )
        for protocol, patience in (("paper", 60.0), ("bft", PATIENCE))
    }
    assert 2 <= ends["paper"]["stalled"] <= 10
    assert ends["paper"]["stalled"] + ends["paper"]["decided"] == 12
    assert ends["bft"] == {"decided": 12}


def test_a_stalled_height_says_that_it_is_a_deadlock() -> None:
    toy = world("paper", 9, 6, (0, 1, 2), ("rush", "invert_votes"))
    with pytest.raises(Stalled, match=r"formed anew \d+ times from the same draws.* deadlock"):
        toy.play(60.0)
    for server in toy.world.servers[3:]:
        assert isinstance(server.participant, PaperParticipant)
        tried = server.participant.state.candidates.values()
        committees: dict[int, set[tuple[Ticket, ...]]] = {}
        for candidate in tried:
            committees.setdefault(candidate.header.aggregator, set()).add(candidate.tickets)
        assert len(tried) > 20
        assert all(len(named) == 1 for named in committees.values())
        assert all({0, 1, 2} < candidate.seated for candidate in tried)
    assert outcome(world("bft", 9, 6, (0, 1, 2), ("rush", "invert_votes"))) == "decided"


def test_too_few_winners_are_a_deadlock_without_any_malice() -> None:
    """Twenty servers, three seats and six winners expected; where they are two, nothing helps."""

    def winners(seed: int) -> int:
        return len(PaperForge(world("paper", 20, 3, seed=seed)).winners)

    seed = next(seed for seed in range(1000) if winners(seed) < 3)
    with pytest.raises(
        Stalled, match=r"only \d servers announced themselves for 3 seats.*deadlock"
    ):
        world("paper", 20, 3, seed=seed).play(PATIENCE)
    assert outcome(world("bft", 20, 3, seed=seed)) == "decided"


# -- who announces first sits ----------------------------------------------------------------------

SERVERS, MALICIOUS, SEATS = 100, 33, 20


def committees(candidates_per_seat: int, rush: bool, draws: int) -> Iterator[int]:
    """Malicious members of committees of 20 out of 100: sortition and announcements, no more."""
    toy = Toy(servers=SERVERS, clients=1, committee_size=SEATS, protocol="paper", crypto="modelled")
    generator = np.random.default_rng(0)
    for draw in range(draws):
        alpha = Ticket.alpha(toy.genesis.chain_id, digest(b"%d" % draw), 1)
        winners = [
            server
            for server, (_, prover) in enumerate(toy.keys)
            if may_sit(toy.genesis, Draw(server, prover.prove(alpha)[1]), candidates_per_seat)
        ]
        order = generator.permutation(winners).tolist()
        if rush:
            order.sort(key=lambda server: server >= MALICIOUS)
        yield sum(server < MALICIOUS for server in order[:SEATS])


def captured(seats: Iterable[int]) -> int:
    return sum(3 * malicious > 2 * SEATS for malicious in seats)


@pytest.mark.parametrize(("candidates_per_seat", "known"), [(1, 0.003), (2, 0.45)])
def test_who_rushes_captures_committees(candidates_per_seat: int, known: float) -> None:
    """Every malicious server that wins sits: a binomial number, whatever the seats are. That is
    one committee in 300 where as many win as there are seats, and 45 % where twice as many do."""
    draws = 1500
    low, high = frequency_interval(captured(committees(candidates_per_seat, True, draws)), draws)
    theory = stats.binom.sf(2 * SEATS // 3, MALICIOUS, candidates_per_seat * SEATS / SERVERS)
    assert theory == pytest.approx(known, rel=0.15)
    assert low <= theory <= high


def test_who_does_not_rush_or_cannot_captures_next_to_none() -> None:
    assert p_captured(SERVERS, MALICIOUS, SEATS) < 2e-4
    assert captured(committees(2, False, 1000)) <= 2
    assert captured(malicious_seats(SERVERS, MALICIOUS, SEATS, 1000, 0)) <= 2  # bft's draws


def test_rushing_servers_capture_a_real_committee() -> None:
    """Three of nine rush for three seats: with each other they decide whatever they like."""
    rushing = ("rush", "gaussian", "invert_votes")
    ends = Counter(
        outcome(world("paper", 9, 3, (0, 1, 2), rushing, seed=seed), 1, 30.0) for seed in range(20)
    )
    assert ends["captured"] >= 3
    assert ends["decided"] == 0
    ends = Counter(
        outcome(world("bft", 9, 3, (0, 1, 2), rushing, seed=seed), 1, 4000.0) for seed in range(20)
    )
    assert ends["decided"] >= 17
    assert ends["stalled"] == 0


def test_an_aggregator_names_whom_it_likes() -> None:
    """Nobody can prove who was first: winners that announced last, or never, approve all by
    themselves what they like, and everybody believes them."""
    toy = Toy(servers=12, clients=3, committee_size=3, protocol="paper", crypto="modelled")
    forge = PaperForge(toy)
    last = forge.winners[-3:]
    bench = Bench(forge.winners[0], toy).ready()
    named = {ticket.server for ticket in bench.part.state.committee(bench.part.context)}
    assert not named & set(last)
    block = forge.block(forge.candidate(tickets=forge.seats(last), aggregate_cid=toy.genesis.model))
    assert bench.server.receive("block", block, 0)
    assert bench.server.chain.head.cid == block.cid

    forge = Forge(Toy(servers=12, clients=3, committee_size=3, crypto="modelled"))
    outsiders = [server for server in range(12) if server not in forge.members()][:3]
    with pytest.raises(InvalidBlock, match="voted without a seat"):
        chain_from(forge.genesis).append(forge.block(signers=outsiders))


# -- the block is the seed -------------------------------------------------------------------------


def variants(candidate: Candidate, count: int) -> list[Any]:
    """Headers of the same block, a microsecond apart."""
    header = candidate.header
    return [replace(header, timestamp=header.timestamp + later) for later in range(count)]


def test_an_aggregator_grinds_the_next_committee() -> None:
    """Of 64 variants of its block, which differ by microseconds, it takes the one whose link lets
    most of its circle sit."""
    toy = Toy(servers=SERVERS, clients=1, committee_size=SEATS, protocol="paper", crypto="modelled")
    forge = PaperForge(toy)
    tried = []
    for header in variants(forge.candidate(), 64 * 8):
        head = head_after(header)
        winners = PaperForge(toy, head).winners
        malicious = sum(server < MALICIOUS for server in winners)
        tried.append((malicious, malicious / len(winners)))

    def best_of(count: int) -> tuple[float, float]:
        """Mean of the malicious share of the winners, and how often they alone could decide, being
        first."""
        chosen = [max(tried[at : at + count]) for at in range(0, len(tried), count)]
        share = float(np.mean([share for _, share in chosen]))
        return share, float(np.mean([3 * number > 2 * SEATS for number, _ in chosen]))

    (plain, plain_captured), (ground, ground_captured) = best_of(1), best_of(64)
    assert plain == pytest.approx(MALICIOUS / SERVERS, abs=0.02)
    assert plain_captured == pytest.approx(0.45, abs=0.07)
    assert ground > plain + 0.06
    assert ground_captured == 1.0


def test_under_bft_all_variants_of_a_block_lead_to_the_same_draws() -> None:
    forge = Forge(Toy(servers=9, clients=3, committee_size=6, crypto="modelled"))
    block = forge.block()
    draws = chain_from(forge.genesis, (), (forge.head,))
    draws.append(block)
    heads = [
        draws.protocol.head_after(forge.genesis, forge.head, header, draws.head.draws)
        for header in variants(forge.candidate(), 16)
    ]
    assert len({head.cid for head in heads}) == 16
    assert {(head.beacon, head.draws) for head in heads} == {(draws.head.beacon, draws.head.draws)}


def test_grinding_pays_in_a_real_run() -> None:
    """Malicious winners at the heights after a malicious aggregator's block, which rushed."""

    def mean(*behaviour: str) -> float:
        toy = world("paper", 20, 4, range(4), behaviour)
        found = []
        for _ in range(20):
            if toy.play().block.header.aggregator < 4:
                winners = PaperForge(toy, toy.world.head).winners
                found.append(sum(server < 4 for server in winners))
        assert len(found) > 15
        return float(np.mean(found))

    assert mean("rush") == pytest.approx(4 * 0.4, abs=0.6)
    assert mean("rush", "grind") > 3.0


# -- candidates in order of arrival ----------------------------------------------------------------


def test_one_spammer_uses_up_every_step() -> None:
    toy = world("paper", 7, 5, (0,), ("spam",))
    with pytest.raises(Stalled):
        toy.play(60.0)
    for server in toy.world.servers[1:]:
        assert isinstance(server.participant, PaperParticipant)
        tried = [
            candidate.header.aggregator
            for candidate in server.participant.state.candidates.values()
        ]
        assert len(tried) > 20
        assert tried.count(0) > 0.9 * len(tried)
    for seed in range(5):  # whoever's turn it is
        assert outcome(world("bft", 7, 5, (0,), ("spam",), seed=seed)) == "decided"


def test_honest_servers_that_propose_at_the_same_time_lose_a_step() -> None:
    """The price of the race without any malice: now and then the votes are divided."""

    def steps(protocol: str) -> int:
        toy = world(protocol, 30, 20)
        return sum(toy.play().block.certificate.view != (0, 0) for _ in range(40))

    assert 1 <= steps("paper") <= 8
    assert steps("bft") == 0


# -- one vote, and no lock -------------------------------------------------------------------------


def test_a_certificate_that_is_formed_late_forks_with_one_of_another_step() -> None:
    """Four honest servers, whose votes take longer than MaxVoteDuration: only server 0 hears all
    approvals of the first candidate, the others none but their own, and go on to the second."""
    toy = Toy(servers=4, clients=2, committee_size=4, protocol="paper", crypto="modelled")
    forge = PaperForge(toy)
    one, other = forge.candidate(), forge.candidate(view=(0, 1), aggregator=1)
    decided: dict[int, bytes] = {}

    def server(
        index: int, *events: Callable[[HeightContext, State], paper.Step]
    ) -> tuple[State, list[paper.Effect]]:
        context, state, effects = HeightContext(index, 1, 4, 3), State(), []
        for event in events:
            state, more = event(context, state)
            effects += more
        for effect in effects:
            if isinstance(effect, Decide):
                decided[index] = effect.certificate.block
                chain = chain_from(toy.genesis)
                signers = [signer for signer, _ in effect.certificate.signatures]
                chain.append(forge.block(effect.candidate, signers))
        return state, effects

    def arrives(candidate: Candidate) -> Callable[[HeightContext, State], paper.Step]:
        return lambda context, state: paper.on_candidate(context, state, candidate)

    def judges(candidate: Candidate) -> Callable[[HeightContext, State], paper.Step]:
        return lambda context, state: paper.on_judged(context, state, candidate, True)

    def hears(
        candidate: Candidate, *servers: int
    ) -> list[Callable[[HeightContext, State], paper.Step]]:
        def hear(vote: Any) -> Callable[[HeightContext, State], paper.Step]:
            return lambda context, state: paper.on_vote(context, state, vote)

        return [hear(forge.vote(candidate, index)) for index in servers]

    def over(context: HeightContext, state: State) -> paper.Step:
        return paper.on_vote_timer(context, state, (0, 0))

    server(0, arrives(one), judges(one), *hears(one, 0, 1, 2))
    for index in (1, 2):
        server(
            index,
            arrives(one),
            judges(one),
            *hears(one, index),
            over,
            arrives(other),
            judges(other),
            *hears(other, 1, 2, 3),
        )
    server(3, arrives(other), judges(other), *hears(other, 1, 2, 3))
    assert decided == {
        0: one.header.cid,
        1: other.header.cid,
        2: other.header.cid,
        3: other.header.cid,
    }


def test_two_committees_of_one_slot_decide_two_blocks() -> None:
    """Who was first is a matter of hearing: where two aggregators name committees that share few
    members, both find their approvals, and nobody votes twice."""
    toy = Toy(servers=12, clients=3, committee_size=3, protocol="paper", crypto="modelled")
    forge = PaperForge(toy)
    assert len(forge.winners) >= 6
    blocks = []
    for aggregator, members in enumerate((forge.winners[:3], forge.winners[-3:])):
        candidate = forge.candidate(aggregator=aggregator, tickets=forge.seats(members))
        blocks.append(forge.block(candidate))
        chain_from(toy.genesis).append(blocks[-1])
    assert blocks[0].cid != blocks[1].cid
    voted = [{server for server, _ in block.certificate.signatures} for block in blocks]
    assert not voted[0] & voted[1]

    drawn = Forge(Toy(servers=12, clients=3, committee_size=3, crypto="modelled"))
    with pytest.raises(InvalidBlock, match="voted without a seat"):
        chain_from(drawn.genesis).append(
            drawn.block(signers=[server for server in range(12) if server not in drawn.members()])
        )


def test_honest_servers_fork_where_messages_take_longer_than_a_vote() -> None:
    def slow(protocol: str, seed: int) -> Toy:
        faults = Faults([Delay(seconds=1.0)], 4, np.random.default_rng(seed))
        return world(protocol, 4, 4, seed=seed, vote_us=500_000, faults=faults)

    ends = Counter(outcome(slow("paper", seed), 3) for seed in range(12))
    assert ends["forked"] >= 2
    assert Counter(outcome(slow("bft", seed), 3) for seed in range(12)) == {"decided": 12}


def test_a_fork_names_the_height_and_both_blocks() -> None:
    error = Forked(7, b"\x01\x71\x12\x20" + bytes(32), b"\x01\x71\x12\x20" + bytes([1] * 32))
    assert str(error).startswith("height 7: servers appended different blocks (a fork): bafyrei")
    assert str(error).count("bafyrei") == 2
    assert (error.height, len(set(error.blocks))) == (7, 2)


def test_a_restarted_server_has_forgotten_its_vote() -> None:
    """It may vote twice in one slot; `bft` writes down what it promised."""
    toy = Toy(servers=12, clients=3, committee_size=3, protocol="paper", crypto="modelled")
    forge = PaperForge(toy)
    member = forge.winners[0]
    one, other = forge.candidate(), forge.candidate(aggregator=1)
    bench = Bench(member, toy).ready().hear("candidate", one)
    bench.server.restart(0, 0)
    bench.ready().hear("candidate", other)
    votes = [vote for vote in bench.host.all("vote") if vote.server == member]
    assert [(vote.attempt, vote.step, vote.block) for vote in votes] == [
        (0, 0, one.header.cid),
        (0, 0, other.header.cid),
    ]

    toy = Toy(servers=12, clients=3, committee_size=3, crypto="modelled")
    drawn = Forge(toy)
    one = drawn.candidate()
    other = drawn.candidate(timestamp=one.header.timestamp + 1)
    host, member = FakeHost(), drawn.members()[0]
    server = EdgeServer(
        member,
        *toy.keys[member],
        chain_from(toy.genesis),
        checks_of(toy.genesis, toy.application),
        host,
        BftParticipant,
    )
    server.enter_height()
    for candidate in (one, other):
        for update in drawn.updates():
            server.receive("update", update, 0)
        server.receive("candidate", candidate, one.header.aggregator)
        server.on_timer(("tickets", 1, 0, 0))
        server.restart(0, 0)
    assert {vote.block for vote in host.all("vote") if vote.server == member} == {one.header.cid}


# -- "sufficient" updates --------------------------------------------------------------------------


class KeepsUpdates(Behaviour):
    """Takes updates but passes none on, and is always the first to propose."""

    def waits(self, server: Any, what: str, honest: float) -> float:
        return 0.0

    def outgoing(self, server: Any, message: Outgoing) -> Iterable[Outgoing]:
        return () if message.kind == "update" and message.to is None else (message,)


def test_nobody_asks_for_updates_that_only_the_aggregator_has() -> None:
    """Pools differ, and a member that lacks what a candidate lists can only wait: the step is
    lost. Under `bft` the members ask for it, and the first proposal is the block."""

    def first(protocol: str) -> HeightResult:
        first = Forge(Toy(servers=7, clients=4, committee_size=5, crypto="modelled")).order()[0]
        toy = Toy(
            servers=7,
            clients=4,
            committee_size=5,
            quota=2,
            vote_us=1_000_000,
            protocol=protocol,
            crypto="modelled",
            malicious={first: KeepsUpdates()},
        )
        arrivals = world_arrivals(toy, first)
        return toy.world.run_height(arrivals, PATIENCE)

    assert first("paper").block.header.view > (0, 0)
    assert first("bft").block.header.view == (0, 0)


def world_arrivals(toy: Toy, server: int) -> list[Arrival]:
    """All updates but one are handed in at ``server``, the last one elsewhere."""
    updates = [toy.update(client) for client in range(4)]
    places = [server, server, server, (server + 1) % 7]
    return [
        Arrival(0.1 + 0.01 * at, place, lambda update=update: update)
        for at, (place, update) in enumerate(zip(places, updates, strict=True))
    ]


def test_what_is_sufficient_each_decides_by_its_own_clock() -> None:
    """A candidate below the quota is right for whoever's deadline has passed, and wrong for a
    member that came to the height later."""
    toy = Toy(servers=12, clients=3, committee_size=3, protocol="paper", crypto="modelled")
    forge = PaperForge(toy)
    few = forge.candidate(forge.updates([0, 1]))
    for waited, phase in ((True, "approve"), (False, "reject")):
        bench = Bench(forge.winners[0], toy).ready()
        if waited:
            bench.wake("updates")
        bench.hear("candidate", few)
        assert [vote.phase for vote in bench.host.all("vote")] == [phase]
