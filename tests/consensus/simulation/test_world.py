"""The world of edge servers: whole heights on one clock, honest, malicious and with faults."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from consensus.adversary.behaviour import Behaviour
from consensus.adversary.composed import Composed
from consensus.crypto.ahead import Ahead
from consensus.ledger.updates import SignedUpdate
from consensus.ledger.validity import Head
from consensus.records.block import Candidate
from consensus.records.ticket import Ticket
from consensus.records.votes import Vote
from consensus.server.hooks import Outgoing
from consensus.server.message import Kind, Message
from consensus.simulation.results import Arrival, Forked, HeightResult, Stalled
from consensus.simulation.submissions import TRIES
from tests.helpers.forge import Forge
from tests.helpers.incentives import RULE
from tests.helpers.rules import chain_from
from tests.helpers.toy import COSTS, Toy
from tests.helpers.worlds import check_invariants, crash, struck

PAPER = ("gaussian", "invert_votes")


def colluding(count: int) -> dict[int, Behaviour]:
    """The paper's malicious servers, as the first ``count``."""
    return {server: Composed(PAPER) for server in range(count)}


def test_honest_servers_decide_each_height_at_the_first_attempt() -> None:
    toy = Toy(servers=7, clients=5)
    results = [toy.play() for _ in range(6)]
    check_invariants(toy, results)
    for result in results:
        assert result.block.header.view == result.block.certificate.view == (0, 0)
        assert len(result.updates) == 5
        assert len(result.block.tickets) == 7
        assert sorted(result.appended) == list(range(7))
        assert not result.captured
        assert result.refused == {}
        assert result.evidence == ()
        assert result.malicious_weight == ((0, 7),)
        assert 0.5 < result.ended - result.began < 2.0


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"malicious": colluding(2)},
        {"meets_every": 0},
        {"incentives": RULE, "stakes": [1000] * 7},
    ],
    ids=["honest", "colluding", "no barrier", "stakes that move"],
)
def test_what_a_height_leads_to_is_told_before_all_have_it(more: dict[str, Any]) -> None:
    """As soon as an honest server proposes it, when nobody has it, and by the first who has it."""
    told: dict[int, list[tuple[Head, bytes, int]]] = {}

    def foresee(head: Head, aggregate: bytes) -> None:
        lacking = sum(server.chain.height < head.height for server in toy.world.servers)
        told.setdefault(head.height, []).append((head, aggregate, lacking))

    toy = Toy(servers=7, clients=5, foresee=foresee, **more)
    results = [toy.play() for _ in range(5)]
    heads = max((server.chain.heads for server in toy.world.servers), key=len)
    for result in results:
        *proposed, decided = told[result.block.height]
        head = heads[result.block.height]
        assert head.cid == result.block.cid
        assert decided == (head, result.contents.aggregate, 6)
        if result.block.header.aggregator not in toy.world.behaviours:
            assert proposed == [(head, result.contents.aggregate, 7)]
    assert any(len(each) == 2 for each in told.values())
    unseen = Toy(servers=7, clients=5, **more)
    assert [unseen.play().block.cid for _ in range(5)] == [each.block.cid for each in results]


def test_what_malicious_servers_propose_is_not_foreseen() -> None:
    """Nor what names an aggregator that does not exist, or another block below it."""
    told: list[Head] = []
    toy = Toy(servers=7, clients=5, foresee=lambda head, _: told.append(head))
    toy.play()
    seen: list[Candidate] = []
    made = toy.world.message

    def noted(kind: Kind, body: Any) -> Message:
        if kind == "candidate" and not seen:
            seen.append(body)
            told.clear()
            unknown = replace(body, header=replace(body.header, aggregator=7))
            other = replace(body, header=replace(body.header, parent=body.header.cid))
            forged = replace(body, signature=bytes(64))
            for candidate in (unknown, other, forged):
                made(kind, candidate)
            assert told == []
            server = toy.world.servers[body.header.aggregator]
            server.behaviour = Composed(PAPER)
            made(kind, body)
            assert told == []
            server.behaviour = None
            made(kind, body)
        return made(kind, body)  # once more

    toy.world.message = noted  # type: ignore[method-assign]
    result = toy.play()
    assert [head.cid for head in told] == [result.block.cid] * 2


def test_the_draws_of_the_next_height_are_proven_from_the_proposal_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[bytes, int]] = []
    prove = Ahead.prove

    def noted(self: Ahead, alpha: bytes) -> None:
        asked.append((alpha, max(server.chain.height for server in toy.world.servers)))
        prove(self, alpha)

    monkeypatch.setattr(Ahead, "prove", noted)
    toy = Toy(servers=7, clients=5, helped=True)
    results = [toy.play() for _ in range(3)]
    toy.ahead.close()
    beacons = [head.beacon for head in toy.world.servers[0].chain.heads]
    alphas = [Ticket.alpha(toy.genesis.chain_id, each, h + 2) for h, each in enumerate(beacons)]
    first = dict(reversed(asked))
    assert [first[alpha] for alpha in alphas] == [0, 0, 1, 2]
    unhelped = Toy(servers=7, clients=5)
    assert [unhelped.play().block.cid for _ in range(3)] == [each.block.cid for each in results]


def test_timers_of_heights_that_are_over_leave_the_queue() -> None:
    toy = Toy(servers=7, clients=5)
    toy.play()
    host = toy.world.hosts[3]
    host.timer(10**9, ("resend", 2, 0, 0))
    waiting = toy.world.env.queue[-1]
    assert waiting[3] == host._wake
    assert not host.is_void(waiting), "the server lives as it did when it was set"
    toy.play()
    assert host.is_void(waiting)
    assert waiting not in toy.world.env.queue
    assert any(entry[3] == host._wake for entry in toy.world.env.queue), "those of the height stay"


def test_one_server_is_a_world_too() -> None:
    toy = Toy(servers=1, clients=2)
    check_invariants(toy, [toy.play() for _ in range(3)])


def chain_of(seed: int, heights: int = 3, servers: int = 9) -> list[bytes]:
    toy = Toy(
        servers=servers,
        clients=4,
        seed=seed,
        committee_size=6,
        crypto="modelled",
        malicious=colluding(2),
    )
    return [toy.play().block.encoded for _ in range(heights)]


def test_the_same_seed_gives_the_same_chain_byte_for_byte() -> None:
    assert chain_of(3) == chain_of(3)


def test_another_seed_gives_another_chain() -> None:
    assert len({chain[-1] for chain in map(chain_of, range(4))}) == 4


def test_a_world_continues_from_its_chain_and_a_clock_reading() -> None:
    """What a resumed run relies on: nothing else of the past matters."""

    def make(**more: Any) -> Toy:
        return Toy(
            servers=9,
            clients=4,
            committee_size=6,
            crypto="modelled",
            malicious=colluding(2),
            **more,
        )

    toy = make()
    whole = [toy.play() for _ in range(5)]
    for stop in (1, 3, 4):
        first = make()
        for _ in range(stop):
            first.play()
        second = make(continues=first.world)
        rest = [second.play() for _ in range(5 - stop)]
        assert [r.block.encoded for r in rest] == [r.block.encoded for r in whole[stop:]]
        assert [r.appended for r in rest] == [r.appended for r in whole[stop:]]
        assert [r.gossip_bytes for r in rest] == [r.gossip_bytes for r in whole[stop:]]


def test_gossip_is_counted_by_the_encoded_bytes_of_every_hop() -> None:
    toy = Toy(servers=7, clients=5)
    tickets = Forge(toy).tickets()
    result = toy.play()
    smallest = sum(len(ticket.encoded) for ticket in tickets)
    assert result.gossip_bytes["ticket"] >= 6 * smallest
    assert result.gossip_bytes["update"] == 6 * sum(u.wire_bytes for u in result.updates)
    block = result.block
    vote = Vote(toy.genesis.chain_id, 1, 0, 0, "cert", block.cid, 0, bytes(64))
    assert result.gossip_bytes["vote"] >= 6 * 7 * len(vote.encoded)
    assert result.gossip_bytes["block"] >= 6 * (len(block.encoded) - 7 * 100)
    assert set(result.gossip_bytes) == {"ticket", "update", "candidate", "vote", "block"}
    assert result.gossip_messages == 7 + 5 + 1 + 2 * 7 + 1


def test_charged_work_takes_simulated_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def duration(operation: str, seconds: float) -> float:
        with monkeypatch.context() as patch:
            patch.setitem(COSTS.seconds, operation, seconds)
            return Toy(servers=7, clients=5).play().ended

    quick = Toy(servers=7, clients=5).play().ended
    # The leader signs its header, then members two votes each; the aggregate is put once.
    assert duration("sign", 0.1) > quick + 0.29
    assert duration("store_put", 0.3) > quick + 0.29
    assert duration("store_get", 0.3) == quick, "everyone has computed the aggregate"


# -- updates ---------------------------------------------------------------------------------------


def arrivals(toy: Toy, at: dict[int, float]) -> list[Arrival]:
    """An update of every client in ``at``, at its time, to a server of its own."""

    def make(client: int) -> Callable[[], SignedUpdate]:
        return lambda: toy.update(client)

    return [
        Arrival(time, client % len(toy.keys), make(client)) for client, time in sorted(at.items())
    ]


def test_the_quota_is_sufficient_at_once() -> None:
    toy = Toy(servers=5, clients=5, quota=3)
    result = toy.world.run_height(arrivals(toy, {0: 0.1, 1: 0.2, 2: 0.3, 3: 9.0, 4: 9.5}), 60.0)
    assert len(result.updates) == 3
    assert result.ended < 2.0


def test_below_the_quota_the_deadline_decides() -> None:
    toy = Toy(servers=5, clients=5, quota=5, update_us=3_000_000)
    result = toy.world.run_height(arrivals(toy, {0: 0.1, 1: 0.2}), 60.0)
    assert len(result.updates) == 2
    assert 3.0 < result.ended < 5.0
    check_invariants(toy, [result])


def test_without_updates_the_world_waits_for_the_first() -> None:
    toy = Toy(servers=5, clients=5, quota=5, update_us=1_000_000)
    result = toy.world.run_height(arrivals(toy, {3: 20.0}), 60.0)
    assert len(result.updates) == 1
    assert result.ended > 20.0
    with pytest.raises(Stalled, match=r"height 2: after 5 simulated seconds 0 of 5 servers"):
        toy.world.run_height([], 5.0)


def test_an_update_that_comes_after_its_height_is_not_asked_for() -> None:
    toy = Toy(servers=5, clients=3, quota=2)

    def never() -> SignedUpdate:
        raise AssertionError("the height was decided long ago")

    late = [*arrivals(toy, {0: 0.1, 1: 0.1}), Arrival(5.0, 2, never)]
    first = toy.world.run_height(late, 60.0)
    second = toy.world.run_height(arrivals(toy, {0: 10.0, 1: 10.0}), 60.0)
    check_invariants(toy, [first, second])


def test_unfit_updates_are_turned_away_where_they_arrive() -> None:
    toy = Toy(servers=5, clients=4, quota=3)
    bad = Arrival(0.05, 4, lambda: toy.update(3, samples=10**6))
    result = toy.world.run_height([bad, *arrivals(toy, {0: 0.1, 1: 0.1, 2: 0.1})], 60.0)
    assert result.refused == {"sample count": 1}
    assert len(result.updates) == 3
    assert toy.clients[3].public not in {update.record.client for update in result.updates}


def test_a_client_that_signs_for_an_earlier_height_is_refused() -> None:
    toy = Toy(servers=5, clients=4, quota=3)
    stale = toy.update(3)
    toy.play()
    now = toy.world.env.now
    bad = Arrival(now + 0.05, 4, lambda: stale)
    honest = arrivals(toy, dict.fromkeys((0, 1, 2), now + 0.1))
    assert toy.world.run_height([bad, *honest], 60.0).refused == {"stale": 1}


@pytest.mark.parametrize("variants", [2, 3, 5])
def test_a_client_that_tells_every_server_something_else_stops_nobody(variants: int) -> None:
    """Half the pools would hold what the other half lacks, and no candidate be verifiable."""
    toy = Toy(servers=10, clients=4, quota=4, update_us=3_000_000, crypto="modelled")

    def make(value: float) -> Callable[[], SignedUpdate]:
        return lambda: toy.update(0, value=value)

    for _ in range(3):
        now = toy.world.env.now
        honest = arrivals(toy, dict.fromkeys((1, 2, 3), now + 0.1))
        two_faced = [Arrival(now + 0.1, 2 * v, make(float(v))) for v in range(variants)]
        result = toy.world.run_height([*honest, *two_faced], 100.0)
        clients = [update.record.client for update in result.updates]
        assert len(set(clients)) == len(clients) >= 3
        assert result.refused["second update"] >= 9
        assert result.ended - result.began < 6.0


class Deaf(Behaviour):
    """Takes no client's update."""

    def takes(self, server: Any, client: bytes) -> bool:
        return False


def nearest(toy: Toy, server: int) -> list[int]:
    latency = toy.world.network.topology.latency[server]
    return [int(other) for other in np.argsort(latency, kind="stable") if other != server]


def test_a_client_goes_to_the_next_nearest_server_when_its_own_takes_nothing() -> None:
    home = nearest(Toy(servers=7, clients=1, crypto="modelled"), 0)
    for deaf in range(TRIES + 1):
        unwilling: dict[int, Behaviour] = {server: Deaf() for server in [0, *home][:deaf]}
        toy = Toy(
            servers=7,
            clients=1,
            crypto="modelled",
            update_us=1_000_000,
            malicious=unwilling,
        )
        arrival = Arrival(0.1, 0, lambda toy=toy: toy.update(0))
        if deaf < TRIES:
            result = toy.world.run_height([arrival], 60.0)
            assert result.began + 0.1 + 2.0 * deaf < result.ended
            assert result.ended < 4.0 + 2.0 * deaf
        else:
            with pytest.raises(Stalled):
                toy.world.run_height([arrival], 60.0)


def test_a_client_whose_server_is_down_goes_to_the_next() -> None:
    toy = Toy(servers=7, clients=1, crypto="modelled", faults=struck(7, crash(0, until=100.0)))
    result = toy.world.run_height([Arrival(0.1, 0, lambda: toy.update(0))], 60.0)
    assert 2.0 < result.ended < 6.0
    assert 0 not in result.appended


# -- malicious servers -----------------------------------------------------------------------------


def test_ten_malicious_of_thirty_delay_but_never_capture_twenty_seats() -> None:
    """The paper's setting: 14 of 20 seats are out of reach of ten; blocked committees are left
    together, and every height commits the honest aggregate."""
    toy = Toy(servers=30, clients=3, committee_size=20, crypto="modelled", malicious=colluding(10))
    results = [toy.play(400.0) for _ in range(6)]
    check_invariants(toy, results)
    assert not any(result.captured for result in results)
    assert any(result.block.certificate.attempt > 0 for result in results), "none was blocked"
    assert all(result.block.header.aggregator >= 10 for result in results)
    for result in results:
        assert len(result.malicious_weight) == result.block.certificate.attempt + 1
        assert {total for _, total in result.malicious_weight} == {20}
        assert 3 * (20 - result.malicious_weight[-1][0]) > 40, "the last one was not blocked"


class Silent(Behaviour):
    """Sits and says nothing."""

    def outgoing(self, server: Any, message: Outgoing) -> Iterable[Outgoing]:
        return () if message.kind in ("vote", "timeout", "candidate") else (message,)


def test_a_committee_blocked_by_silence_is_given_up_by_all() -> None:
    toy = Toy(
        servers=12,
        clients=2,
        committee_size=6,
        crypto="modelled",
        malicious={server: Silent() for server in range(4)},
    )
    results = [toy.play(1000.0) for _ in range(5)]
    check_invariants(toy, results)
    assert sum(result.closed_by_all for result in results) > 0
    for result in results:
        # With one silent member of two, who hears it all, the others close a view.
        assert result.closed_by_all == sum(weight > 2 for weight, _ in result.malicious_weight)


def test_malicious_proposals_are_voted_down() -> None:
    """Of eight heights of a committee that cannot be blocked, some leaders were malicious: their
    view is lost, not the height."""
    toy = Toy(servers=10, clients=3, committee_size=10, crypto="modelled", malicious=colluding(3))
    results = [toy.play() for _ in range(8)]
    check_invariants(toy, results)
    assert all(result.block.header.attempt == 0 for result in results)
    assert any(result.block.header.step > 0 for result in results)
    assert all(result.block.header.aggregator >= 3 for result in results)


def test_exactly_a_third_on_a_committee_of_all_stalls() -> None:
    """Twenty votes of thirty are not more than two thirds, however often it is tried."""
    toy = Toy(
        servers=30,
        clients=2,
        committee_size=30,
        crypto="modelled",
        recovery_us=100_000,
        malicious=colluding(10),
    )
    with pytest.raises(Stalled, match=r"0 of 30 servers have a block \(attempt \d+, ") as stalled:
        toy.play(patience=25.0)
    assert stalled.value.height == 1
    assert stalled.value.attempts > 3, "but they do not stop trying"
    assert all(server.chain.height == 0 for server in toy.world.servers)


def test_hope_is_given_up_after_so_many_attempts() -> None:
    toy = Toy(servers=6, clients=1, crypto="modelled", recovery_us=100_000, malicious=colluding(2))
    arrival = Arrival(0.1, 5, lambda: toy.update(0))
    with pytest.raises(Stalled) as stalled:
        toy.world.run_height([arrival], patience=10_000.0, attempts=4)
    assert stalled.value.attempts >= 5
    assert toy.world.env.now < 1_000.0


def test_one_less_than_a_third_is_live() -> None:
    toy = Toy(servers=30, clients=2, committee_size=30, crypto="modelled", malicious=colluding(9))
    check_invariants(toy, [toy.play() for _ in range(3)])


def first_capture() -> tuple[Toy, list[HeightResult]]:
    """The first of many small committees that three malicious servers of nine captured."""
    for seed in range(60):
        toy = Toy(
            servers=9,
            clients=2,
            seed=seed,
            committee_size=4,
            crypto="modelled",
            malicious=colluding(3),
        )
        results = []
        for _ in range(4):
            results.append(toy.play(400.0))
            if results[-1].captured:
                return toy, results
    raise AssertionError("no committee of four was captured in 240 heights")


def test_a_small_committee_is_captured_now_and_then_and_that_is_told() -> None:
    toy, results = first_capture()
    check_invariants(toy, results)
    block = results[-1].block
    assert block.header.aggregator < 3
    assert {server for server, _ in block.certificate.signatures} <= {0, 1, 2}
    weight, total = results[-1].malicious_weight[-1]
    assert 3 * weight > 2 * total
    chain = chain_from(toy.genesis)
    for earlier in results[:-1]:
        chain.append(earlier.block)
    committee = Forge(toy, chain.head).sortition(block.certificate.attempt).committee
    assert committee.approves(committee.weight_of([0, 1, 2]))


class TwoFaced(Behaviour):
    """Tells half of the others another proposal, with votes for both."""

    def outgoing(self, server: Any, message: Outgoing) -> Iterable[Outgoing]:
        if message.kind != "candidate" or message.body.turn is not None:
            yield message
            return
        header = replace(message.body.header, timestamp=message.body.header.timestamp + 1)
        other = replace(message.body, header=header, signature=server.signer.sign(header.signed))
        others = [index for index in range(len(server.genesis.servers)) if index != server.index]
        yield replace(message, to=others[::2])
        yield replace(message, body=other, to=others[1::2])


def test_a_leader_that_equivocates_is_found_out_and_named() -> None:
    toy = Toy(servers=7, clients=2, crypto="modelled", malicious={0: TwoFaced(), 1: TwoFaced()})
    results = [toy.play() for _ in range(8)]
    check_invariants(toy, results)
    found = [evidence for result in results for evidence in result.evidence]
    assert {evidence.server for evidence in found} == {0, 1}
    assert {evidence.phase for evidence in found} == {"proposal"}
    for result in results:
        assert [evidence.height for evidence in result.evidence] == [
            result.block.height for _ in result.evidence
        ]


class Garbling(Behaviour):
    """Passes an honest leader's candidate on with other updates."""

    def hears(self, server: Any, kind: str, body: Any, sender: int) -> bool:
        if kind == "candidate" and self.once(body.header.cid):
            for updates in (body.updates[:1], tuple(reversed(body.updates)), ()):
                self.send(server, "candidate", replace(body, updates=updates))
        return True


def test_nobody_spoils_a_candidate_on_its_way() -> None:
    toy = Toy(servers=7, clients=3, crypto="modelled", malicious={0: Garbling(), 1: Garbling()})
    results = [toy.play() for _ in range(5)]
    check_invariants(toy, results)
    assert sum(result.refused["candidate header"] for result in results) > 0
    assert all(result.block.certificate.view == (0, 0) for result in results)
    assert all(len(result.updates) == 3 for result in results)


# -- many worlds -----------------------------------------------------------------------------------

TICKET, VOTE, UPDATE, RECOVERY, STEPS = 0.5, 2.0, 20.0, 10.0, 3


def bound(result: HeightResult) -> float:
    """How long a height may take: updates, then whole attempts of timed-out views, each of which
    all servers together may have to give up."""
    attempts = result.block.certificate.attempt + 1
    views = sum(STEPS * VOTE * (2 + attempt) / 2 for attempt in range(attempts))
    return UPDATE + TICKET + views + attempts * RECOVERY + 1.0


@pytest.mark.parametrize("seed", range(40))
def test_safety_and_liveness_over_many_worlds(seed: int) -> None:
    generator = np.random.default_rng(seed)
    servers = int(generator.integers(4, 13))
    bad = int(generator.integers(0, (servers - 1) // 3 + 1))
    kind = str(generator.choice(["fixed", "weighted"]))
    stakes = [int(stake) for stake in generator.integers(1, 6, servers)]
    if 3 * sum(stakes[:bad]) >= sum(stakes):
        bad = 0
    if kind == "fixed":
        size = int(generator.integers(max(3, servers // 2), servers + 1))
    else:
        size = max(4, 3 * sum(stakes) // 4)
    behaviours: list[tuple[str, ...]] = [("gaussian",), ("invert_votes",), PAPER]
    names = behaviours[int(generator.integers(3))]
    toy = Toy(
        servers=servers,
        clients=int(generator.integers(1, 5)),
        seed=seed,
        malicious={server: Composed(names) for server in range(bad)},
        stakes=stakes,
        committee=kind,
        committee_size=size,
        crypto="modelled" if seed % 8 else "real",
    )
    results = [toy.play(2000.0) for _ in range(4)]
    check_invariants(toy, results)
    for result in results:
        assert result.ended - result.began < bound(result)


def test_a_fork_would_be_noticed() -> None:
    """The harness' own eye: two blocks at one height end the run."""
    toy = Toy(servers=4, clients=1)
    forge = Forge(toy)
    blocks = [forge.block(), forge.block(forge.candidate(view=(0, 1)))]
    for server, block in zip(toy.world.servers, blocks, strict=False):
        server.chain.append(block)
    toy.world.on_appended(0, blocks[0], 1.0)
    with pytest.raises(Forked, match="height 1: servers appended different blocks") as forked:
        toy.world.on_appended(1, blocks[1], 1.0)
    assert forked.value.height == 1
    assert len(set(forked.value.blocks)) == 2


def test_a_fork_below_the_head_would_be_noticed() -> None:
    toy = Toy(servers=4, clients=1)
    toy.play()
    toy.play()
    old = Forge(toy, toy.world.servers[0].chain.heads[0])
    with pytest.raises(Forked, match="height 1"):
        toy.world.on_appended(1, old.block(old.candidate([old.update(0, value=9.0)])), 1.0)
