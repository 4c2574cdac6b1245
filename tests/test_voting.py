"""Ballots: where a vote stands, whatever came in whatever order."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.committee import Committee, form_committee
from consensus.encoding import file_cid
from consensus.records import Vote
from consensus.voting import Ballot, Outcome
from tests.forge import Forge
from tests.toy import Toy

TOY = Toy(servers=9, clients=2, committee_size=6)
FORGE = Forge(TOY)
COMMITTEE = form_committee(TOY.genesis, FORGE.draws())
CANDIDATE = FORGE.candidate()
MEMBERS = sorted(COMMITTEE.weights)
OUTSIDERS = [server for server in range(9) if server not in COMMITTEE.weights]


def ballot_of(*votes: Vote) -> Ballot:
    ballot = Ballot()
    for vote in votes:
        assert ballot.add(vote)
    return ballot


def votes(approving: int, rejecting: int = 0) -> list[Vote]:
    return [
        FORGE.vote(CANDIDATE, member, approve=position < approving)
        for position, member in enumerate(MEMBERS[: approving + rejecting])
    ]


@pytest.mark.parametrize(
    ("approving", "rejecting", "outcome"),
    [
        (0, 0, Outcome.OPEN),
        (4, 0, Outcome.OPEN),
        (4, 1, Outcome.OPEN),
        (5, 0, Outcome.APPROVED),
        (5, 1, Outcome.APPROVED),
        (6, 0, Outcome.APPROVED),
        (0, 1, Outcome.OPEN),
        (0, 2, Outcome.FAILED),
        (4, 2, Outcome.FAILED),
        (0, 6, Outcome.FAILED),
    ],
)
def test_the_outcome_of_six_seats(approving: int, rejecting: int, outcome: Outcome) -> None:
    assert ballot_of(*votes(approving, rejecting)).outcome(COMMITTEE, CANDIDATE) is outcome


def test_the_outcome_does_not_depend_on_the_order_of_votes() -> None:
    for order in list(permutations(votes(4, 2)))[::37]:
        assert ballot_of(*order).outcome(COMMITTEE, CANDIDATE) is Outcome.FAILED


def test_only_seats_count() -> None:
    outside = [FORGE.vote(CANDIDATE, server) for server in OUTSIDERS]
    ballot = ballot_of(*votes(4), *outside)
    assert ballot.outcome(COMMITTEE, CANDIDATE) is Outcome.OPEN
    against = [FORGE.vote(CANDIDATE, server, approve=False) for server in OUTSIDERS]
    assert ballot_of(*votes(4), *against).outcome(COMMITTEE, CANDIDATE) is Outcome.OPEN


def test_an_approval_of_something_else_is_no_approval() -> None:
    other = [FORGE.vote(CANDIDATE, member, block=file_cid(b"other")) for member in MEMBERS[:2]]
    assert ballot_of(*other).outcome(COMMITTEE, CANDIDATE) is Outcome.FAILED
    assert ballot_of(*other).certificate(COMMITTEE, CANDIDATE) == ()


def test_the_first_vote_of_a_server_stands() -> None:
    ballot = ballot_of(*votes(1))
    assert not ballot.add(FORGE.vote(CANDIDATE, MEMBERS[0], approve=False))
    assert not ballot.add(FORGE.vote(CANDIDATE, MEMBERS[0]))
    assert ballot.votes[MEMBERS[0]].approve


def test_a_certificate_lists_the_members_approvals_in_order() -> None:
    outside = [FORGE.vote(CANDIDATE, server) for server in OUTSIDERS]
    ballot = ballot_of(*reversed(votes(5, 1)), *outside)
    certificate = ballot.certificate(COMMITTEE, CANDIDATE)
    assert certificate == tuple((vote.server, vote.signature) for vote in votes(5))
    assert certificate == FORGE.block(CANDIDATE, MEMBERS[:5]).certificate


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["yes", "no", "silent"])), min_size=1),
    st.integers(1, 30),
)
def test_weights_decide(seats: list[tuple[int, str]], size: int) -> None:
    weights = {server: weight for server, (weight, _) in enumerate(seats)}
    committee = Committee((), weights, max(size, sum(weights.values())))
    ballot = Ballot()
    for server, (_, verdict) in enumerate(seats):
        if verdict != "silent":
            header = CANDIDATE.header
            ballot.add(
                Vote(header.chain_id, 1, 0, 0, header.cid, verdict == "yes", server, bytes(64))
            )
    yes = sum(weight for weight, verdict in seats if verdict == "yes")
    no = sum(weight for weight, verdict in seats if verdict == "no")
    outcome = ballot.outcome(committee, CANDIDATE)
    if 3 * yes > 2 * committee.total:
        assert outcome is Outcome.APPROVED
    elif 3 * (sum(weights.values()) - no) <= 2 * committee.total:
        assert outcome is Outcome.FAILED
    else:
        assert outcome is Outcome.OPEN
