"""Algorithm 1, line by line: pure functions, so no keys, no clock and no network."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.protocols.tendermint.state import (
    NEVER,
    PRECOMMIT,
    PREVOTE,
    PROPOSE,
    CastVote,
    Decide,
    Promises,
    Schedule,
    ShowProof,
    StartRound,
    Validate,
)
from consensus.protocols.tendermint.vote import begin, follows, on_proposing
from consensus.records.votes import NIL
from tests.helpers.tendermint_run import (
    BYSTANDER,
    CONTEXT,
    HEIGHT,
    Run,
    again,
    context_of,
    proof,
    proposal,
    sortition,
)

V = proposal()
W = proposal(salt=1)
ID, OTHER = V.header.cid, W.header.cid


def locked(value: object = V) -> Run:
    """A server that has locked V in round 0 and is in round 1."""
    run = Run().hear(V).votes((0, 1, 2), V)
    assert run.state.promises.locked == (0, ID)
    run.votes((0, 1, 2), NIL, phase="precommit").timer("precommit")
    assert run.state.round == 1
    return run


# -- 10-21: StartRound ----------------------------------------------------------------------------


def test_lines_10_to_21_a_height_begins_in_round_0_in_the_step_propose() -> None:
    run = Run()
    assert run.effects == [StartRound(0), Schedule("propose", 0)]
    assert (run.state.round, run.state.step) == (0, PROPOSE)
    assert run.state.promises == Promises(HEIGHT)
    assert (run.state.promises.locked, run.state.promises.valid_round) == (NEVER, -1)


def test_lines_14_to_19_members_propose_in_rotation_and_once() -> None:
    proposers = [CONTEXT.proposer(round) for round in range(8)]
    assert proposers == [0, 1, 2, 3, 0, 1, 2, 3]
    assert on_proposing(Run().state).promises.proposed == 0


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (V, None),
        (again(V, 1, 0), None),
        (again(V, 4, 0), None),
        (proposal(aggregator=1), "not its turn"),
        (again(V, 1, 0, by=2), "not its turn"),
        (replace(V, proof=proof(V, 0)), "a proof of a new value"),
        (replace(again(V, 1, 0), proof=None), "proposed again without a proof"),
        (again(V, 1, 1), "proof of another round"),
        (again(proposal(2), 5, 1), "proof of another round"),
        (replace(again(V, 1, 0), proof=proof(W, 0)), "proof of another value"),
        (again(proposal(aggregator=2), 1, 0), "first proposed out of turn"),
    ],
)
def test_a_proposal_is_of_its_round_and_proves_its_valid_round(value: object, reason: str) -> None:
    assert follows(CONTEXT, value) == reason  # type: ignore[arg-type]


# -- 22-33: prevotes ------------------------------------------------------------------------------


def test_line_24_a_new_valid_value_is_prevoted_once_it_is_judged() -> None:
    run = Run().hear(V, valid=None)
    assert run.last == (Validate(V, False),)
    run.judged(V)
    assert run.last == (CastVote("prevote", 0, ID),)
    assert run.state.step == PREVOTE
    assert run.state.promises.prevote == (0, ID)


@pytest.mark.parametrize(("valid", "timely"), [(False, True), (True, False)])
def test_line_26_another_value_is_prevoted_nil(valid: bool, timely: bool) -> None:
    run = Run().hear(V, valid, timely)
    assert run.did(CastVote) == [CastVote("prevote", 0, NIL)]
    assert run.state.step == PREVOTE


def test_line_23_a_lock_on_another_value_is_a_nil_prevote_and_the_same_value_is_none() -> None:
    other = proposal(1)
    run = locked().hear(other, valid=None)
    assert run.last == (CastVote("prevote", 1, NIL),), "whether or not it is valid"
    state = Run().state
    same = Run(promises=replace(state.promises, locked=(0, ID)))
    assert same.hear(V).did(CastVote) == [CastVote("prevote", 0, ID)]


def test_the_first_of_two_proposals_is_prevoted() -> None:
    run = Run().hear(V).hear(W)
    assert run.did(CastVote) == [CastVote("prevote", 0, ID)]


def test_line_28_waits_for_the_prevotes_of_the_valid_round() -> None:
    run = Run().reach(1)
    value = again(V, 1, 0)
    run._take(_on_proposal(run, value)).votes((0, 1), V)
    assert run.did(CastVote)[-1].round == 0
    run.votes((2,), V).judged(value)
    assert run.last[0] == CastVote("prevote", 1, ID)


def _on_proposal(run: Run, value: object) -> object:
    from consensus.protocols.tendermint.vote import on_proposal

    return on_proposal(run.context, run.state, value)  # type: ignore[arg-type]


def test_line_29_a_proof_as_new_as_the_lock_unlocks() -> None:
    """Locked on V since round 0: W with the 2f + 1 prevotes of round 1 is prevoted in round 2."""
    other = proposal(1)
    run = locked().hear(other).votes((0, 1, 2), NIL, 1).votes((0, 1, 2), NIL, 1, "precommit")
    run.timer("precommit").hear(again(other, 2, 1))
    assert run.did(CastVote)[-1] == CastVote("prevote", 2, other.header.cid)
    assert run.state.promises.locked == (0, ID), "only line 38 changes the lock"


def test_line_29_an_older_proof_does_not_unlock() -> None:
    """Locked since round 1: W with a proof of round 0 is prevoted nil."""
    run = Run().timer("propose").votes((0, 1, 2), NIL).votes((0, 1, 2), NIL, phase="precommit")
    value = proposal(1)
    run.timer("precommit").hear(value).votes((0, 1, 2), value, 1)
    assert run.state.promises.locked == (1, value.header.cid)
    run.votes((0, 1, 2), NIL, 1, "precommit").timer("precommit").hear(again(W, 2, 0))
    assert run.did(CastVote)[-1] == CastVote("prevote", 2, NIL)


def test_line_29_the_locked_value_needs_no_newer_proof() -> None:
    run = locked().hear(again(V, 1, 0))
    assert run.did(CastVote)[-1] == CastVote("prevote", 1, ID)


def test_line_32_an_invalid_value_is_prevoted_nil_with_any_proof() -> None:
    run = Run().reach(1).hear(again(V, 1, 0), valid=False)
    assert run.did(CastVote)[-1] == CastVote("prevote", 1, NIL)


# -- 34-46: precommits ----------------------------------------------------------------------------


def test_line_34_two_thirds_of_any_prevotes_start_the_timer_once() -> None:
    run = Run().hear(V).votes((3, 0), V)
    assert Schedule("prevote", 0) not in run.effects
    run.votes((1,), NIL).votes((2,), W)
    assert run.did(Schedule).count(Schedule("prevote", 0)) == 1


def test_line_34_waits_for_the_step_prevote() -> None:
    run = Run().votes((0, 1, 2), NIL)
    assert Schedule("prevote", 0) not in run.effects
    run.timer("propose")
    assert run.did(CastVote) == [CastVote("prevote", 0, NIL), CastVote("precommit", 0, NIL)]


def test_lines_36_to_43_lock_and_precommit_what_has_a_quorum() -> None:
    run = Run().hear(V).votes((3, 0), V)
    assert len(run.did(CastVote)) == 1
    run.votes((1,), V)
    assert run.did(CastVote)[1:] == [CastVote("precommit", 0, ID)]
    promises = run.state.promises
    assert promises.locked == promises.precommit == (0, ID)
    assert promises.valid == proof(V, 0, (0, 1, 3))
    assert run.state.step == PRECOMMIT


def test_line_36_waits_for_the_proposal_and_its_validity() -> None:
    run = Run().timer("propose").votes((0, 1, 2), V)
    assert run.did(CastVote) == [CastVote("prevote", 0, NIL)]
    run.hear(V, valid=None)
    assert run.last == (Validate(V, True),)
    run.judged(V)
    assert run.did(CastVote)[1:] == [CastVote("precommit", 0, ID)]


def test_line_36_waits_for_the_step_prevote() -> None:
    run = Run().votes((0, 1, 2), V).hear(V, valid=None)
    assert run.last == (Validate(V, False),), "as a new value, whatever the others say"
    run.judged(V)
    assert run.last[:2] == (CastVote("prevote", 0, ID), Schedule("prevote", 0))
    assert run.state.promises.locked == (0, ID)


def test_line_36_ignores_what_is_not_valid_whatever_its_quorum() -> None:
    run = Run().hear(V, valid=False).votes((0, 1, 2), V)
    assert run.did(CastVote) == [CastVote("prevote", 0, NIL)]
    assert run.state.promises.valid is None


def test_line_36_takes_a_block_that_came_too_late_to_be_proposed_if_a_quorum_did() -> None:
    run = Run().hear(V, timely=False).votes((0, 1, 2), V)
    assert run.did(CastVote) == [CastVote("prevote", 0, NIL), CastVote("precommit", 0, ID)]


def test_lines_42_43_in_the_step_precommit_the_value_is_valid_but_not_locked() -> None:
    run = Run().hear(V).timer("prevote").votes((0, 1, 2), V)
    assert run.did(CastVote)[1:] == [CastVote("precommit", 0, NIL)]
    assert run.state.promises.locked == NEVER
    assert run.state.promises.valid_round == 0


def test_prevotes_of_several_rounds_are_no_quorum() -> None:
    run = Run().reach(1).hear(again(V, 1, 0))
    assert run.state.promises.valid_round == 0, "the proof's"
    run.votes((0,), V, 1).votes((1, 2), V, 0)
    assert run.did(CastVote)[-1] == CastVote("prevote", 1, ID)


def test_a_proof_of_an_earlier_round_makes_a_value_valid_but_locks_nothing() -> None:
    run = Run().hear(V).reach(1).votes((0, 1, 2), V, 0)
    assert (run.state.promises.valid_round, run.state.promises.locked) == (0, NEVER)


def test_line_44_nil_prevotes_are_precommitted() -> None:
    run = Run().hear(V).votes((0, 1), NIL)
    assert len(run.did(CastVote)) == 1
    run.votes((2,), NIL)
    assert run.did(CastVote)[1:] == [CastVote("precommit", 0, NIL)]
    assert run.state.promises.locked == NEVER


# -- 47-56: deciding, and going on ----------------------------------------------------------------


def test_line_47_two_thirds_of_any_precommits_start_the_timer_once() -> None:
    run = Run().votes((0,), V, phase="precommit").votes((1, 2), NIL, phase="precommit")
    assert run.did(Schedule).count(Schedule("precommit", 0)) == 1
    run.votes((3,), NIL, phase="precommit")
    assert run.did(Schedule).count(Schedule("precommit", 0)) == 1


def test_line_49_a_quorum_of_precommits_decides_in_any_round() -> None:
    run = Run().hear(V).reach(2).votes((0, 1), V, 0, "precommit")
    assert run.did(Decide) == []
    run.votes((3,), V, 0, "precommit")
    (decide,) = run.did(Decide)
    assert decide.certificate.view == (0, 0)
    assert decide.certificate.block == ID
    assert [server for server, _ in decide.certificate.signatures] == [0, 1, 3]
    before = run.effects.copy()
    run.votes((0, 1, 2), NIL, 2).timer("precommit", 2)
    assert run.effects == before, "the height is over"


def test_a_bystander_sees_what_is_decided_and_says_nothing() -> None:
    run = Run(context_of(BYSTANDER)).hear(V).votes((0, 1, 2), V)
    run.votes((0, 1, 2), V, phase="precommit")
    assert run.did(CastVote) == []
    assert len(run.did(Decide)) == 1


def test_line_55_f_plus_1_of_a_later_round_are_followed() -> None:
    run = Run().votes((0,), NIL, 3).votes((0,), NIL, 2, "precommit")
    assert run.state.round == 0, "one member, however often it says so"
    run.votes((1,), NIL, 2)
    assert run.state.round == 2, "the latest that two are in or past"
    assert run.last[:2] == (StartRound(2), Schedule("propose", 2))


def test_line_55_what_is_too_far_ahead_is_followed_and_not_kept() -> None:
    far = CONTEXT.ahead + 1
    run = Run().votes((0, 1), NIL, far)
    assert run.state.round == far
    assert run.state.votes == {}


def test_line_55_counts_proposals() -> None:
    run = Run().hear(proposal(1), valid=None).votes((0,), NIL, 1)
    assert run.state.round == 1


# -- 57-67: timers --------------------------------------------------------------------------------


def test_lines_57_to_60_no_proposal_in_time_is_a_nil_prevote() -> None:
    run = Run().timer("propose")
    assert run.last == (CastVote("prevote", 0, NIL),)
    assert Run().hear(V).timer("propose").last == (), "it has prevoted"


def test_lines_61_to_64_no_quorum_in_time_is_a_nil_precommit() -> None:
    run = Run().hear(V).timer("prevote")
    assert run.last == (CastVote("precommit", 0, NIL),)
    assert Run().timer("prevote").last == (), "it is in the step propose"


def test_lines_65_to_67_no_decision_in_time_is_another_round() -> None:
    run = Run().timer("precommit")
    assert run.last == (StartRound(1), Schedule("propose", 1))
    assert run.timer("precommit", 0).last == (), "that round is over"


def test_a_proof_is_shown_to_those_that_may_lack_it_as_the_round_fails() -> None:
    run = Run().hear(V).votes((0, 1, 2), V).votes((0,), V, phase="precommit")
    run.votes((1, 2), NIL, phase="precommit").timer("precommit")
    (shown,) = run.did(ShowProof)
    assert (shown.proof.attempt, shown.proof.block, shown.to) == (0, ID, (1, 2))
    run.timer("precommit")
    assert len(run.did(ShowProof)) == 1, "once"


# -- crashes --------------------------------------------------------------------------------------


def test_a_restarted_server_says_the_same_again_and_nothing_else() -> None:
    before = Run().hear(V).votes((0, 1, 2), V)
    run = Run(promises=before.state.promises)
    assert run.did(CastVote) == [CastVote("prevote", 0, ID), CastVote("precommit", 0, ID)]
    run.hear(W).timer("propose").timer("prevote").votes((0, 1, 2), NIL)
    assert len(run.did(CastVote)) == 2
    assert run.state.promises.locked == (0, ID)


def test_a_restarted_server_comes_back_in_its_round_with_its_lock() -> None:
    before = locked()
    run = Run(promises=before.state.promises)
    assert (run.state.round, run.state.step) == (1, PROPOSE)
    run.hear(proposal(1), valid=None)
    assert run.last == (CastVote("prevote", 1, NIL),)


def test_a_restarted_server_says_its_votes_of_earlier_rounds_again() -> None:
    """Others may wait for them in such a round, and nobody else need have them."""
    run = Run(promises=Run().reach(2).state.promises)
    said = [(phase, round) for round in (0, 1) for phase in ("prevote", "precommit")]
    assert run.did(CastVote) == [CastVote(*each, NIL) for each in said]


def test_promises_of_another_height_do_not_bind() -> None:
    run = Run(promises=replace(locked().state.promises, height=HEIGHT - 1))
    assert run.state.promises == Promises(HEIGHT)


def test_a_server_that_catches_up_says_nothing() -> None:
    run = Run()
    run.state, effects = begin(CONTEXT, Promises(HEIGHT), catching_up=True)
    assert effects == ()
    run.effects.clear()
    run.hear(V).votes((0, 1, 2), V).votes((0, 1, 2), V, phase="precommit")
    assert run.did(CastVote) == run.did(ShowProof) == []
    assert len(run.did(Decide)) == 1


def test_a_third_proposal_is_kept_only_with_a_quorum() -> None:
    third = proposal(salt=2)
    run = Run().hear(V).hear(W)
    assert run.hear(third, valid=None).state.proposals[0] == (V, W)
    run.votes((0, 1, 2), third)
    assert run.hear(third, valid=None).state.proposals[0] == (V, W, third)


def test_what_is_known_changes_nothing() -> None:
    run = Run().hear(V).votes((0,), V)
    state = run.state
    run.hear(V, valid=None).votes((0,), V).timer("propose", 1)
    assert run.state is state


def test_the_committee_is_the_same_in_every_round() -> None:
    assert sortition(0).committee is sortition(9).committee
