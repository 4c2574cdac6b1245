"""The recorder of timelines: what it sees of a height, and that nothing changes by its looking."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from consensus.adversary.behaviour import Circle
from consensus.adversary.composed import Composed
from consensus.encoding.cid import cid_text
from consensus.faults.faults import Faults, fault_from_node
from consensus.records.votes import Timeout
from consensus.simulation.recorder import Recorder
from consensus.simulation.results import Forked, Stalled
from consensus.simulation.timeline import (
    MOST_ATTEMPTS,
    MOST_OF_A_KIND,
    Event,
    HeightTimeline,
    Named,
)
from tests.helpers.toy import Toy


def faults_of(*nodes: Any, servers: int = 7) -> Faults:
    return Faults([fault_from_node(node) for node in nodes], servers, np.random.default_rng(0))


def malicious(names: tuple[str, ...], *servers: int) -> dict[int, Any]:
    circle = Circle(frozenset(servers))
    return {server: Composed(names, circle=circle) for server in servers}


def watched(
    names: tuple[str, ...] = (), bad: tuple[int, ...] = (), nodes: tuple[Any, ...] = (), **more: Any
) -> tuple[Toy, Recorder]:
    faults = faults_of(*nodes) if nodes else None
    recorder = Recorder(7, bad, faults)
    behaviours = malicious(names, *bad)
    toy = Toy(
        malicious=behaviours, faults=faults, observer=recorder, **{"crypto": "modelled", **more}
    )
    return toy, recorder


def of_kind(timeline: HeightTimeline, *kinds: str) -> list[Event]:
    return [event for event in timeline.events if event.kind in kinds]


def test_who_proposed_voted_and_appended_and_when() -> None:
    toy, recorder = watched()
    toy.play()
    result = toy.play()
    found = recorder.decided(result)
    block, certificate = cid_text(result.block.cid), result.block.certificate
    assert (found.height, found.outcome, found.block) == (2, "decided", block)
    assert found.began_us == round(result.began * 1e6)
    assert found.ended_us == round(result.ended * 1e6)
    (proposed,) = of_kind(found, "proposed")
    assert proposed.server == result.block.header.aggregator
    received = {event.server for event in of_kind(found, "received")}
    assert received == set(range(7)) - {proposed.server}
    for phase in ("soft", "cert"):
        votes = [event for event in of_kind(found, "voted") if event.what == phase]
        voters = [event.server for event in votes]
        assert sorted(voters) == sorted(set(voters)), "each votes once"
        if phase == certificate.phase:
            assert set(voters) >= {server for server, _ in certificate.signatures}
        assert {event.block for event in votes} == {block}
    appended = {event.server: event.at_us for event in of_kind(found, "appended")}
    assert appended == {server: round(at * 1e6) for server, at in result.appended.items()}
    assert [event.at_us for event in found.events] == sorted(event.at_us for event in found.events)
    assert all(found.began_us <= event.at_us for event in found.events)
    (attempt,) = found.attempts
    assert (attempt.ended, attempt.steps, attempt.candidates) == ("decided", 1, 1)
    assert (attempt.malicious, attempt.weight) == result.malicious_weight[0]
    assert attempt.votes == Counter(event.what for event in of_kind(found, "voted"))
    figures = found.figures
    assert figures is not None
    assert figures.bytes == result.gossip_bytes
    assert (figures.messages, figures.updates) == (result.gossip_messages, len(result.updates))
    assert HeightTimeline.from_line(found.line()) == found


def chain_of(observed: bool, nodes: tuple[Any, ...], **parameters: Any) -> list[tuple[Any, ...]]:
    names, bad = ("equivocate_candidates", "equivocate_votes"), (2, 5)
    faults = faults_of(*nodes)
    recorder = Recorder(7, bad, faults)
    more = {"observer": recorder} if observed else {}
    toy = Toy(malicious=malicious(names, *bad), faults=faults, **more, **parameters)
    found = []
    for _ in range(5):
        result = toy.play()
        spent = (result.gossip_messages, result.gossip_bytes, result.refused)
        found.append((result.block.cid, result.ended, toy.world.env.numbers, *spent))
        if observed:
            assert recorder.decided(result).events
    return [(*each[:2], *each[3:]) for each in found] + [(next(toy.world.env.numbers),)]


@pytest.mark.parametrize("protocol", ["bft", "hotstuff", "paper", "tendermint"])
def test_looking_changes_nothing(protocol: str) -> None:
    nodes = (
        {"crash": [1], "from": 0.3, "until": 4.0, "lost_tail": 1},
        {"loss": 0.05, "until": 9.0},
        {"partition": [[0], [3]], "from": 5.0, "until": 9.0},
    )
    parameters = {"protocol": protocol, "crypto": "modelled", "quota": 2, "update_us": 2_000_000}
    seen = chain_of(True, nodes, **parameters)
    assert seen == chain_of(False, nodes, **parameters)


def test_an_equivocating_leader_its_two_blocks_and_the_evidence() -> None:
    toy, recorder = watched(("equivocate_candidates", "equivocate_votes"), (2, 5))
    evidence = []
    for _ in range(6):
        found = recorder.decided(toy.play())
        assert found.figures is not None
        twice = Counter(
            (event.server, event.attempt, event.step) for event in of_kind(found, "proposed")
        )
        assert all(server in (2, 5) for (server, *_), n in twice.items() if n > 1)
        proofs = of_kind(found, "evidence")
        assert len(proofs) == found.figures.evidence
        assert all(proof.about in (2, 5) and proof.server not in (2, 5) for proof in proofs)
        evidence += proofs
        for attempt in found.attempts:
            events = [e for e in of_kind(found, "proposed") if e.attempt == attempt.attempt]
            assert attempt.candidates == len({event.block for event in events})
    assert evidence


def test_attempts_that_timed_out_or_were_closed_by_all() -> None:
    toy, recorder = watched(
        ("silent",), (0, 1), committee_size=3, max_step=1, recovery_us=2_000_000, seed=3
    )
    ends: Counter[str] = Counter()
    for _ in range(8):
        result = toy.play()
        found = recorder.decided(result)
        assert len(found.attempts) == result.block.certificate.attempt + 1
        assert [each.ended for each in found.attempts][-1] == "decided"
        ends.update(each.ended for each in found.attempts)
        by_all = sum(each.ended == "closed by all" for each in found.attempts)
        assert by_all == result.closed_by_all
        for each in found.attempts[:-1]:
            closed = [e for e in of_kind(found, "closed") if e.attempt == each.attempt]
            assert closed, "a certificate told the others"
            assert each.timeouts == sum(
                event.attempt == each.attempt for event in of_kind(found, "timed_out")
            )
        weights = [(each.malicious, each.weight) for each in found.attempts]
        assert weights == list(result.malicious_weight)
    assert ends["closed by all"]
    assert ends["no candidate"] + ends["timed out"]


def test_a_rejected_attempt_and_a_height_that_stalls() -> None:
    toy, recorder = watched(
        ("invert_votes",), (0, 1, 2), protocol="paper", vote_us=500_000, max_step=1
    )
    with pytest.raises(Stalled) as stall:
        toy.play(patience=20.0)
    found = recorder.stopped(toy.world, stall.value)
    assert (found.outcome, found.height, found.block) == ("stalled", 1, "")
    assert len(found.attempts) == min(stall.value.attempts, MOST_ATTEMPTS)
    assert found.attempts_left_out == max(0, stall.value.attempts - MOST_ATTEMPTS)
    assert {each.ended for each in found.attempts[:-1]} >= {"rejected"}
    assert found.attempts[-1].ended == "open"
    rejected = next(each for each in found.attempts if each.ended == "rejected")
    assert rejected.votes["reject"]
    assert found.figures is not None
    assert found.figures.messages == toy.world.messages
    assert found.ended_us == round(toy.world.env.now * 1e6)
    assert HeightTimeline.from_line(found.line()) == found


def test_a_blocked_committee() -> None:
    toy, recorder = watched(("silent",), (0, 1, 2), max_step=1, vote_us=300_000, recovery_us=0)
    with pytest.raises(Stalled) as stall:
        toy.play(patience=10.0)
    found = recorder.stopped(toy.world, stall.value)
    weighed = found.attempts[-1]
    assert (weighed.malicious, weighed.weight) == (3, 7)
    assert weighed.ended == "open"


def test_servers_that_crash_and_come_back_or_are_cut_off() -> None:
    toy, recorder = watched(
        (),
        (),
        (
            {"crash": [1], "from": 0.3, "until": 1.9},
            {"partition": [[3]], "from": 0.2, "until": 6.0},
            {"partition": [[5]], "from": 700.0, "until": 701.0},
        ),
        update_us=600_000,
        quota=2,
        resend_us=500_000,
    )
    told = [recorder.decided(toy.play()) for _ in range(9)]
    (crashed,) = [event for each in told for event in of_kind(each, "crashed")]
    (restarted,) = [event for each in told for event in of_kind(each, "restarted")]
    assert (crashed.server, crashed.at_us, crashed.what) == (1, 300_000, "crash")
    assert (restarted.server, restarted.at_us) == (1, 1_900_000)
    for each in told:
        assert each.down == Named.of([1] if each.began_us < 1_900_000 else [])
        assert each.cut_off == Named.of([3] if each.began_us < 6_000_000 else [])
    assert told[-1].began_us > 6_000_000
    (cut,) = [event for each in told for event in of_kind(each, "cut")]
    (joined,) = [event for each in told for event in of_kind(each, "joined")]
    assert (cut.at_us, cut.server, cut.what) == (200_000, None, "partition")
    assert (joined.at_us, joined.server) == (6_000_000, None)
    caught = [event for each in told for event in of_kind(each, "caught_up")]
    assert [event.what for event in caught if event.server == 3] == [
        f"height {height}" for height in range(1, len(caught))
    ]
    assert {event.server for event in caught} == {1, 3}
    assert sum(each.figures.caught_up for each in told if each.figures) == len(caught)


def test_a_server_that_is_down_from_the_beginning_is_named() -> None:
    toy, recorder = watched((), (), ({"crash": [4], "from": 0.1, "until": 500.0},))
    recorder.decided(toy.play())
    found = recorder.decided(toy.play())
    assert found.down == Named(1, (4,))
    assert not of_kind(found, "crashed")


def test_a_fork_is_told() -> None:
    toy, recorder = watched()
    toy.play()
    recorder.begin(toy.world)
    end = Forked(2, toy.world.head.cid, toy.world.head.cid)
    found = recorder.stopped(toy.world, end)
    assert (found.outcome, found.height, found.block) == ("forked", 2, "")
    assert [each.ended for each in found.attempts] == ["open"]


def test_heights_that_servers_go_through_one_by_one() -> None:
    """Without a beginning for all: each server is at a height of its own."""
    first = Toy(crypto="modelled").play().block
    other = replace(first, header=replace(first.header, timestamp=first.header.timestamp + 1))
    second = replace(first, header=replace(first.header, height=2))
    recorder = Recorder(7, (), faults_of({"partition": [[3]], "from": 1.5, "until": 2.5}))
    recorder.appended(0, second, 0.5)  # nobody can be there yet
    recorder.crashed(6, 1, "crash", 0.7)
    recorder.appended(0, first, 1.0)
    recorder.appended(0, second, 2.0)
    recorder.appended(1, first, 2.2)
    recorder.restarted(6, 1, "crash", 2.4)
    one, two = recorder.heights(3.0)
    assert (one.outcome, two.outcome) == ("decided", "decided")
    assert (one.began_us, one.ended_us) == (700_000, 2_200_000)
    assert (two.began_us, two.ended_us) == (2_000_000, 2_000_000)
    assert one.down == two.down == Named(1, (6,))
    assert [(event.at_us, event.kind) for event in of_kind(one, "cut")] == [(1_500_000, "cut")]
    assert [(event.at_us, event.kind) for event in of_kind(two, "joined")] == [
        (2_500_000, "joined")
    ]
    third = replace(first, header=replace(first.header, height=3))
    recorder.appended(0, third, 2.45)
    assert recorder.heights(3.0)[2].down == Named(0, ()), "it has come back before"
    recorder.appended(2, other, 2.6)
    one, two, _ = recorder.heights(3.0)
    assert (one.outcome, one.block, two.outcome) == ("forked", "", "decided")
    assert len({event.block for event in of_kind(one, "appended")}) == 2


def test_weights_are_those_of_the_last_attempts() -> None:
    """Where committees are not known beforehand, only that of the last attempt is."""
    toy, recorder = watched()
    result = toy.play()
    late = replace(result.block, certificate=replace(result.block.certificate, attempt=2))
    found = recorder.decided(replace(result, block=late, malicious_weight=((1, 7),)))
    assert [(each.malicious, each.weight) for each in found.attempts] == [
        (None, None),
        (None, None),
        (1, 7),
    ]


def test_a_block_that_no_link_can_name_is_left_unnamed() -> None:
    toy, recorder = watched()
    result = toy.play()
    (page,) = recorder._pages.values()
    recorder._add(page, 1, "voted", 3, (0, 0), "soft", b"no link")
    found = recorder.decided(result)
    assert found.events[0].block == ""
    assert HeightTimeline.from_line(found.line()) == found


def test_events_of_a_kind_are_kept_up_to_a_number() -> None:
    toy, recorder = watched()
    result = toy.play()
    vote = recorder.decided(result).events
    assert not recorder.decided(result).left_out
    (page,) = recorder._pages.values()
    for step in range(MOST_OF_A_KIND + 7):
        recorder._add(page, 5, "timed_out", 3, (0, step), "", b"")
    found = recorder.decided(result)
    assert len(of_kind(found, "timed_out")) == MOST_OF_A_KIND
    assert found.left_out == {"timed_out": 7}
    assert found.attempts[0].timeouts == MOST_OF_A_KIND + 7, "the attempt counts all"
    assert len(of_kind(found, "voted")) == sum(event.kind == "voted" for event in vote)


def test_what_is_said_again_for_others_or_of_other_heights_is_no_event() -> None:
    toy, recorder = watched()
    result = toy.play()
    before = recorder.decided(result)
    candidate = next(
        body
        for server in toy.world.servers
        for kind, body, _ in server.participant.said  # type: ignore[attr-defined]
        if kind == "candidate"
    )
    vote = next(
        body
        for server in toy.world.servers
        for kind, body, _ in server.participant.said  # type: ignore[attr-defined]
        if kind == "vote"
    )
    stranger = (candidate.proposer + 1) % 7
    recorder.sent(candidate.proposer, "candidate", candidate, 1.0)
    recorder.sent(stranger, "candidate", candidate, 1.0)
    other = (vote.server + 1) % 7
    left = Timeout(vote.chain_id, 1, 0, 0, False, vote.server, bytes(64), None)
    recorder.sent(other, "vote", replace(vote, attempt=3), 1.0)
    recorder.sent(other, "timeout", left, 1.0)
    recorder.sent(vote.server, "vote", vote, 1.0)
    recorder.sent(vote.server, "vote", replace(vote, height=9), 1.0)
    recorder.sent(vote.server, "vote", replace(vote, attempt=2**40), 1.0)
    recorder.sent(vote.server, "vote", replace(vote, attempt=-1), 1.0)
    recorder.sent(vote.server, "vote", candidate, 1.0)
    recorder.sent(vote.server, "ticket", vote, 1.0)
    assert recorder.decided(result) == before
    recorder.sent(vote.server, "vote", replace(vote, attempt=5), 1.0)
    recorder.sent(vote.server, "timeout", left, 1.1)
    more = [event for event in recorder.decided(result).events if event not in before.events]
    assert [(event.kind, event.server, event.attempt) for event in more] == [
        ("voted", vote.server, 5),
        ("timed_out", vote.server, 0),
    ]
