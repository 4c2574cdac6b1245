"""The evidence that one server under `bft` keeps of others' contradictions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consensus.encoding.unixfs import file_cid
from consensus.ledger.evidence import holds
from consensus.records.block import Candidate
from consensus.records.evidence import Evidence
from tests.helpers.bft_rig import (
    FORGE,
    LEADER,
    MEMBER,
    SERVERS,
    TOY,
    Bench,
)
from tests.helpers.bft_scene import (
    BLOCK,
    CANDIDATE,
    OTHERS,
    TWIN,
    own_vote,
)
from tests.helpers.forge import flipped
from tests.helpers.toy import Toy

# -- evidence --------------------------------------------------------------------------------------


def assert_proves(bench: Bench, server: int, phase: str) -> Evidence:
    [found] = bench.server.evidence.values()
    assert (found.server, found.phase, found.height) == (server, phase, 1)
    assert set(found.said) == {BLOCK, TWIN.header.cid}
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
    """A malicious voter cannot make it look as if an honest leader equivocated."""
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


LOCK = FORGE.lock(CANDIDATE)
LEAVINGS: dict[str, tuple[bool, Any, Any]] = {
    "of a view": (False, None, LOCK),
    "of a view, the other way round": (False, LOCK, None),
    "of a view, two locks": (False, LOCK, FORGE.lock(TWIN)),
    "of an attempt": (True, None, LOCK),
}


@pytest.mark.parametrize("what", LEAVINGS)
def test_two_timeouts_with_different_locks_are_evidence(what: str) -> None:
    everyone, one, other = LEAVINGS[what]
    liar, bench = OTHERS[0], Bench().ready()
    bench.hear("timeout", FORGE.timeout(liar, everyone=everyone, lock=one))
    bench.hear("timeout", FORGE.timeout(liar, everyone=everyone, lock=one))
    bench.hear("timeout", FORGE.timeout(liar, everyone=not everyone, lock=other))
    bench.hear("timeout", FORGE.timeout(liar, (0, 1), lock=other))
    assert bench.server.evidence == {}, "the same twice, and two that close different things"
    bench.hear("timeout", FORGE.timeout(liar, everyone=everyone, lock=other))
    [(key, found)] = bench.server.evidence.items()
    assert key == ("timeout", 1, liar)
    assert (found.phase, found.view) == ("recovery" if everyone else "timeout", (0, 0))
    assert found.said == tuple(None if lock is None else lock.name for lock in (one, other))
    assert holds(TOY.genesis, found)
    for change in [
        {"phase": "timeout" if everyone else "recovery"},
        {"said": tuple(reversed(found.said))},
        {"view": (0, 1)},
        {"server": OTHERS[1]},
        {"said": (found.said[0],) * 2, "signatures": (found.signatures[0],) * 2},
    ]:
        assert not holds(TOY.genesis, replace(found, **change)), change  # type: ignore[arg-type]


@pytest.mark.parametrize("carried", ["closure", "candidate"])
def test_two_certificates_that_close_a_view_show_who_left_it_twice(carried: str) -> None:
    bench = Bench().ready().hear("closure", FORGE.closing(locks={OTHERS[0]: LOCK}))
    assert bench.server.evidence == {}
    closure: Any = FORGE.closing()
    if carried == "candidate":
        closure = FORGE.candidate(view=(0, 1), justification=closure)
    bench.hear(carried, closure)
    assert [found.server for found in bench.server.evidence.values()] == [OTHERS[0]]
    assert all(holds(TOY.genesis, found) for found in bench.server.evidence.values())


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
        {"said": (BLOCK, BLOCK), "signatures": (CANDIDATE.signature,) * 2},
        {"said": (real.said[0], file_cid(b"other"))},
        {"said": tuple(reversed(real.said))},
        {"signatures": (one, flipped(other))},
        {"signatures": (one, one)},
        {"signatures": (other, one)},
    ]
    for change in altered:
        assert not holds(TOY.genesis, replace(real, **change)), change
    assert not holds(Toy(servers=SERVERS, crypto="modelled", seed=99).genesis, real)
    turned = replace(
        real, said=tuple(reversed(real.said)), signatures=tuple(reversed(real.signatures))
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
