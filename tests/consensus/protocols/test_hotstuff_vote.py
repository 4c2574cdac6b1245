"""Algorithm 2, phase by phase: pure functions, so no keys, no clock and no network."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.protocols.bft.standing import MOST_PROPOSALS
from consensus.protocols.hotstuff.state import (
    COMMIT,
    PRECOMMIT,
    PREPARE,
    CastVote,
    Decide,
    EnterRound,
    Leave,
    Promises,
    Show,
    Validate,
)
from consensus.protocols.hotstuff.vote import (
    begin,
    follows,
    highest,
    is_proven,
    is_safe,
    on_proposing,
)
from tests.helpers.hotstuff_run import (
    QUORUM,
    Run,
    again,
    certificate,
    new_views,
    proposal,
)
from tests.helpers.tendermint_run import BYSTANDER, CONTEXT, HEIGHT, context_of

V = proposal()
W = proposal(salt=1)
ID = V.header.cid
LEADER = context_of(0)


def locked() -> Run:
    """A server that is locked on V since view 0, and has gone on to view 1."""
    run = Run().hear(V).shown(V).shown(V, phase=PRECOMMIT)
    assert run.state.promises.locked == certificate(V, phase=PRECOMMIT)
    return run.timer()


# -- a view of a replica --------------------------------------------------------------------------


def test_a_height_begins_in_view_0() -> None:
    run = Run()
    assert run.effects == [EnterRound(0)]
    assert run.state.promises == Promises(HEIGHT)


def test_members_lead_in_rotation_and_propose_once() -> None:
    assert [CONTEXT.proposer(round) for round in range(5)] == [0, 1, 2, 3, 0]
    assert on_proposing(Run().state).promises.proposed == 0


def test_a_replica_votes_once_in_each_of_the_three_phases() -> None:
    run = Run().hear(V, valid=None)
    assert run.last == (Validate(V, False),)
    run.judged(V)
    assert run.last == (CastVote(PREPARE, 0, ID),)
    assert run.state.promises.prepared is None, "a vote to prepare is no prepareQC"
    run.shown(V)
    assert run.last == (CastVote(PRECOMMIT, 0, ID),)
    assert run.state.promises.prepared == certificate(V)
    assert run.state.promises.locked is None, "a prepareQC is no lock"
    run.shown(V, phase=PRECOMMIT)
    assert run.last == (CastVote(COMMIT, 0, ID),)
    assert run.state.promises.locked == certificate(V, phase=PRECOMMIT)
    again = run.shown(V).shown(V, phase=PRECOMMIT).hear(W)
    assert len(again.did(CastVote)) == 3


@pytest.mark.parametrize(("valid", "timely"), [(False, True), (True, False)])
def test_another_block_gets_no_vote(valid: bool, timely: bool) -> None:
    assert not Run().hear(V, valid, timely).did(CastVote)


def test_the_first_of_two_proposals_is_prepared() -> None:
    assert Run().hear(V).hear(W).did(CastVote) == [CastVote(PREPARE, 0, ID)]


def test_no_more_proposals_of_a_view_are_kept_than_are_evidence() -> None:
    run = Run()
    for salt in range(5):
        run.hear(proposal(salt=salt), valid=None)
    assert len(run.state.proposals[0]) == MOST_PROPOSALS
    proven = proposal(salt=9)
    run.shown(proven)
    assert is_proven(run.context, run.state, proven.header.cid)
    assert len(run.hear(proven, valid=None).state.proposals[0]) == MOST_PROPOSALS + 1


def test_a_replica_precommits_what_n_f_prepared_whether_or_not_it_did() -> None:
    assert Run().hear(W).shown(V).did(CastVote)[-1] == CastVote(PRECOMMIT, 0, ID)


def test_a_precommitqc_that_comes_first_waits_for_the_prepareqc() -> None:
    run = Run().shown(V, phase=PRECOMMIT)
    assert not run.did(CastVote)
    assert run.state.promises.locked is None
    assert run.shown(V).did(CastVote) == [CastVote(PRECOMMIT, 0, ID), CastVote(COMMIT, 0, ID)]


def test_a_bystander_says_nothing() -> None:
    run = Run(context_of(BYSTANDER)).hear(V).shown(V).shown(V, phase=PRECOMMIT).timer()
    assert not run.did(CastVote)
    assert not run.did(Leave)
    assert run.state.round == 1


def test_who_catches_up_says_nothing() -> None:
    state, effects = begin(CONTEXT, Promises(), catching_up=True)
    run = Run()
    run.state, run.effects = state, list(effects)
    run.hear(V).shown(V).timer()
    assert run.effects == [Validate(V, False)] or not run.did(CastVote)
    assert not run.did(Leave)
    assert run.state.round == 0


# -- a view of its leader -------------------------------------------------------------------------


def test_a_leader_shows_what_n_f_votes_amount_to_and_decides_by_the_third() -> None:
    run = Run(LEADER).hear(V).votes((0, 1), V)
    assert not run.did(Show)
    run.votes((2,), V)
    assert run.last == (Show(certificate(V)), CastVote(PRECOMMIT, 0, ID))
    run.votes(QUORUM, V, phase=PRECOMMIT)
    assert run.last == (Show(certificate(V, phase=PRECOMMIT)), CastVote(COMMIT, 0, ID))
    run.votes((0, 1), V, phase=COMMIT)
    assert not run.did(Decide)
    run.votes((3,), V, phase=COMMIT)
    assert run.did(Decide) == [Decide(certificate(V, 0, COMMIT, (0, 1, 3)))]
    assert run.timer().last == (), "the height is over"


def test_a_vote_that_is_said_twice_counts_once() -> None:
    assert not Run(LEADER).hear(V).votes((1, 1, 1, 2), V).did(Show)


def test_votes_for_different_blocks_or_views_make_no_certificate() -> None:
    assert not Run(LEADER).hear(V).votes((0, 1), V).votes((2, 3), W).did(Show)
    assert not Run(LEADER).votes((0, 1), V).votes((2,), V, 4).did(Show)


def test_commit_votes_decide_whenever_they_come_and_others_in_their_view_alone() -> None:
    run = Run(LEADER).hear(V).votes((0, 1), V, phase=COMMIT).votes((0, 1), V).timer()
    assert run.state.round == 1
    assert not run.votes((2,), V).did(Show)
    assert run.votes((2,), V, phase=COMMIT).did(Decide)


def test_votes_of_far_views_are_not_kept() -> None:
    run = Run(LEADER).votes(QUORUM, V, 4 + LEADER.ahead)
    assert not run.state.votes


# -- safeNode -------------------------------------------------------------------------------------


def test_a_lock_forbids_a_new_block() -> None:
    run = locked().hear(proposal(1), valid=None)
    assert not run.did(Validate)[1:], "whether or not it is valid"
    assert [each.round for each in run.did(CastVote)] == [0, 0, 0]


def test_the_locked_block_is_prepared_again_with_whatever_certificate() -> None:
    run = locked().hear(again(V, 1, certificate(V)))
    assert run.did(CastVote)[-1] == CastVote(PREPARE, 1, ID)
    assert run.did(Validate)[-1] == Validate(V, False), "it was found valid before"


def test_a_later_certificate_unlocks_and_one_as_old_as_the_lock_does_not() -> None:
    other = proposal(1)
    run = locked().timer().hear(again(other, 2, certificate(other, 1)))
    assert run.did(CastVote)[-1] == CastVote(PREPARE, 2, other.header.cid)
    assert run.state.promises.locked == certificate(V, phase=PRECOMMIT), "COMMIT alone locks"
    run = locked().timer().hear(again(W, 2, certificate(W, 0)), valid=None)
    assert [each.round for each in run.did(CastVote)] == [0, 0, 0]


@given(
    st.one_of(st.none(), st.integers(0, 5)), st.one_of(st.none(), st.integers(0, 5)), st.booleans()
)
def test_safenode_is_either_of_the_papers_two_rules(
    lock: int | None, proof: int | None, same: bool
) -> None:
    held = None if lock is None else certificate(V if same else W, lock, PRECOMMIT)
    value = V if proof is None else replace(V, proof=certificate(V, proof))
    extends = lock is None or same
    newer = lock is not None and proof is not None and proof > lock
    assert is_safe(Promises(HEIGHT, locked=held), value) == (extends or newer)


def test_a_block_with_a_certificate_is_judged_for_its_contents_alone() -> None:
    run = Run().hear(V, timely=False).timer().hear(again(V, 1, certificate(V)), valid=None)
    assert run.did(CastVote) == [CastVote(PREPARE, 1, ID)]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (V, None),
        (proposal(1), None),
        (again(V, 1, certificate(V)), None),
        (again(V, 6, certificate(V, 3)), None),
        (proposal(by=1), "not its turn"),
        (again(V, 1, certificate(V), by=2), "not its turn"),
        (replace(proposal(1), justification=None), "not what begins its view"),
        (replace(proposal(1), justification=new_views(1)), "not what begins its view"),
        (replace(V, justification=new_views(0)), "not what begins its view"),
        (replace(V, proof=certificate(V)), "a proof of a new value"),
        (replace(again(V, 1, certificate(V)), proof=None), "proposed again without a proof"),
        (again(V, 1, certificate(V, 1)), "proof of another view"),
        (again(V, 1, certificate(V, 0, PRECOMMIT)), "proof of another view"),
        (again(proposal(2), 5, certificate(proposal(2), 1)), "proof of another view"),
        (again(V, 1, certificate(W)), "proof of another value"),
        (again(proposal(by=2), 1, certificate(proposal(by=2))), "first proposed out of turn"),
    ],
)
def test_a_proposal_extends_what_justifies_it(value: object, reason: str | None) -> None:
    assert follows(CONTEXT, value) == reason  # type: ignore[arg-type]


# -- the pacemaker --------------------------------------------------------------------------------


def test_who_leaves_a_view_tells_the_next_leader_of_its_prepareqc() -> None:
    run = Run().hear(V).shown(V).timer()
    assert run.last == (EnterRound(1), Leave(0, certificate(V)))
    assert run.state.promises.left == (0, certificate(V))
    assert run.timer(0).last == (), "it has left view 0"


def test_nobody_votes_in_a_view_that_it_has_left() -> None:
    run = Run().timer().hear(V).shown(V).shown(V, phase=PRECOMMIT)
    assert not run.did(CastVote)
    assert run.state.promises.prepared == certificate(V), "the next leader is told of it, though"


def test_a_leader_begins_with_n_f_new_view_messages_and_the_highest_certificate() -> None:
    run = Run(context_of(2)).left((0, 1), 1)
    assert run.state.round == 0
    run.left((3,), 1, certificate(V))
    assert run.last == (EnterRound(2),)
    assert run.state.closed is not None
    assert run.state.closed.view == (1, 0)
    assert highest(run.state) == certificate(V)
    run.shown(V, 1)
    assert highest(run.state) == certificate(V, 1), "its own, if that is higher"


def test_new_view_messages_of_one_member_count_once() -> None:
    assert Run(context_of(2)).left((0, 0, 0, 1), 1).state.round == 0


def test_a_view_is_entered_by_its_proposal_its_new_view_messages_or_a_certificate_of_it() -> None:
    assert Run().hear(proposal(3)).did(CastVote)[-1].round == 3
    assert Run().closed(2).state.round == 3
    run = Run().shown(V, 2)
    assert run.last == (EnterRound(2), CastVote(PRECOMMIT, 2, ID))
    assert run.closed(0).state.round == 2, "nobody goes back"


def test_state_is_forgotten_with_its_view() -> None:
    run = Run(LEADER).hear(V).votes((1, 2), V).votes((1,), V, phase=COMMIT)
    run.left((1,), 3).timer().timer().closed(3)
    assert set(run.state.votes) == {(COMMIT, 0, ID)}
    assert set(run.state.timeouts) == {3}
    assert not run.state.certificates
    assert run.state.promises.said == ()


# -- a crash --------------------------------------------------------------------------------------


def test_after_a_crash_it_is_in_the_same_view_and_says_the_same_again() -> None:
    before = Run().hear(V).shown(V).timer().hear(again(V, 1, certificate(V)))
    promises = before.state.promises
    after = Run(promises=promises)
    assert after.effects == [EnterRound(1), Leave(0, certificate(V)), CastVote(PREPARE, 1, ID)]
    assert not after.hear(again(W, 1, certificate(W))).did(CastVote)[1:]


def test_after_a_crash_it_names_what_it_named_before() -> None:
    """A higher prepareQC that it learns in the next view is not of the view that it left."""
    promises = Run().timer().shown(V, 1).state.promises
    assert promises.prepared == certificate(V, 1)
    assert Run(promises=promises).did(Leave) == [Leave(0, None)]


def test_what_was_promised_at_another_height_is_no_promise() -> None:
    old = Promises(HEIGHT - 1, 5, 5, ((PREPARE, 5, ID),), certificate(V, 4))
    assert Run(promises=old).state.promises == Promises(HEIGHT)


def test_blocks_of_its_certificates_and_its_vote_must_be_had() -> None:
    promises = locked().hear(again(V, 1, certificate(V))).state.promises
    assert {each.phase for each in promises.locks} == {PREPARE, PRECOMMIT}
    assert promises.voted == ID
