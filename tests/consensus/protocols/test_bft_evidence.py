"""The evidence that one server under `bft` keeps of others' contradictions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consensus.encoding.unixfs import file_cid
from consensus.ledger.evidence import Evidence, holds
from consensus.records.block import Candidate
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
