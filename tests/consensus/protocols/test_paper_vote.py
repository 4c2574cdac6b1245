"""The vote of one height under `paper`: pure functions, without keys, clock or network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.protocols.paper import vote as paper
from consensus.protocols.paper.vote import Decide, HeightContext, Say, State, Try, Wait
from consensus.records.block import Candidate
from consensus.records.votes import Vote
from tests.helpers.paper_scene import (
    FIRST,
    FORGE,
    LOSERS,
    MEMBER,
    SEATED,
    SEATS,
    SECOND,
)

CONTEXT = HeightContext(MEMBER, 1, SEATS, 3)


# -- the vote, as pure functions -------------------------------------------------------------------


def fold(state: State, *steps: Callable[[State], paper.Step]) -> tuple[State, list[paper.Effect]]:
    effects: list[paper.Effect] = []
    for step in steps:
        state, more = step(state)
        effects += more
    return state, effects


def arrives(candidate: Candidate) -> Callable[[State], paper.Step]:
    return lambda state: paper.on_candidate(CONTEXT, state, candidate)


def cast(
    candidate: Candidate, servers: Iterable[int], phase: str = "approve"
) -> list[Callable[[State], paper.Step]]:
    votes = [FORGE.vote(candidate, server, phase) for server in servers]

    def hears(vote: Vote) -> Callable[[State], paper.Step]:
        return lambda state: paper.on_vote(CONTEXT, state, vote)

    return [hears(vote) for vote in votes]


def over(slot: tuple[int, int]) -> Callable[[State], paper.Step]:
    return lambda state: paper.on_vote_timer(CONTEXT, state, slot)


def test_a_height_begins_with_a_race() -> None:
    assert paper.begin() == (State(), (Wait((0, 0)),))


def test_after_max_step_candidates_comes_the_next_attempt() -> None:
    slots = [(0, 0)]
    for _ in range(6):
        slots.append(CONTEXT.after(slots[-1]))
    assert slots == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]
    assert HeightContext(0, 1, 3, 1).after((4, 0)) == (5, 0)


@pytest.mark.parametrize(("size", "needed"), [(1, 1), (2, 2), (3, 3), (4, 3), (6, 5), (20, 14)])
def test_more_than_two_thirds_of_the_seats_agree(size: int, needed: int) -> None:
    context = HeightContext(0, 1, size, 3)
    assert [context.agree(count) for count in (needed - 1, needed)] == [False, True]


def test_the_first_candidate_has_its_slot() -> None:
    state, effects = fold(State(), arrives(FIRST), arrives(SECOND))
    assert effects == [Try(FIRST)]
    assert state.trying is FIRST
    assert state.candidates == {(0, 0): FIRST}


def test_the_next_slot_begins_when_max_vote_duration_is_over_and_not_before() -> None:
    state, _ = fold(State(), arrives(FIRST), over((0, 1)))
    assert state.trying is FIRST
    state, effects = fold(state, over((0, 0)))
    assert (state.slot, state.trying, effects) == ((0, 1), None, [Wait((0, 1))])
    assert fold(state, over((0, 0)), over((0, 1))) == (state, [])  # nothing is voted on


def test_a_candidate_of_a_later_slot_waits_for_its_turn() -> None:
    later = [FORGE.candidate(view=view) for view in ((1, 0), (0, 2))]
    state, effects = fold(State(), arrives(FIRST), *map(arrives, later))
    assert effects == [Try(FIRST)]
    state, effects = fold(state, over((0, 0)))
    assert (state.slot, effects) == ((0, 2), [Try(later[1])])
    state, effects = fold(state, over((0, 2)))
    assert (state.slot, effects) == ((1, 0), [Try(later[0])])


def test_who_waits_for_a_candidate_follows_those_who_have_moved_on() -> None:
    later = FORGE.candidate(view=(7, 1))
    state, effects = fold(State(), arrives(later))
    assert (state.slot, effects) == ((7, 1), [Try(later)])
    state, effects = fold(state, arrives(FIRST), over((7, 1)))
    assert (state.slot, effects) == ((7, 2), [Wait((7, 2))])


@pytest.mark.parametrize(("valid", "phase"), [(True, "approve"), (False, "reject")])
def test_a_member_votes_once_in_a_slot(valid: bool, phase: str) -> None:
    def judged(candidate: Candidate) -> Callable[[State], paper.Step]:
        return lambda state: paper.on_judged(CONTEXT, state, candidate, valid)

    state, effects = fold(State(), arrives(FIRST), judged(FIRST), judged(FIRST), judged(SECOND))
    assert effects == [Try(FIRST), Say(phase, FIRST)]
    assert state.voted == (0, 0)
    state, effects = fold(state, over((0, 0)), judged(FIRST))
    assert effects == [Wait((0, 1))]


def test_only_members_vote() -> None:
    stranger = replace(CONTEXT, index=LOSERS[0])
    state, _ = paper.on_candidate(stranger, State(), FIRST)
    assert paper.on_judged(stranger, state, FIRST, True) == (state, ())


def test_two_thirds_of_the_seats_decide() -> None:
    state, effects = fold(State(), arrives(FIRST), *cast(FIRST, SEATED[:-1]))
    assert effects == [Try(FIRST)]
    state, effects = fold(state, *cast(FIRST, SEATED[-1:]))
    assert [type(effect) for effect in effects] == [Decide]
    decided = effects[0]
    assert isinstance(decided, Decide)
    assert decided.candidate is FIRST
    assert decided.certificate == FORGE.block(FIRST).certificate
    assert fold(state, over((0, 0)), arrives(FORGE.candidate(view=(0, 1))))[1] == []


def test_what_is_no_approval_of_a_member_does_not_count() -> None:
    votes = [
        *cast(FIRST, SEATED[:1], "reject"),
        *cast(FIRST, SEATED[1:]),
        *cast(FIRST, LOSERS),
        *cast(SECOND, FORGE.winners[SEATS:]),
        *cast(FIRST, SEATED[:1]),  # a second vote
    ]
    assert fold(State(), arrives(FIRST), *votes)[1] == [Try(FIRST)]


@settings(deadline=None)
@given(st.permutations(range(4)), st.integers(0, 4))
def test_the_order_of_votes_and_their_candidate_does_not_matter(
    order: list[int], passed: int
) -> None:
    """Not even if the slot is over: an approval counts for as long as the height lasts."""
    happen = [arrives(FIRST), *cast(FIRST, SEATED)]
    steps = [happen[place] for place in order]
    steps.insert(passed, over((0, 0)))
    state, _ = fold(State(), *steps)
    assert state.decided == FORGE.block(FIRST).certificate


def test_the_committee_is_who_announced_first_and_stays_so() -> None:
    order = [5, 2, 9, 0, 7]
    state = State()
    for server in [*order, 2, 9]:
        state, _ = paper.on_ticket(state, FORGE.ticket(server))
    assert [ticket.server for ticket in state.announced] == order
    first = state.committee(CONTEXT)
    assert [ticket.server for ticket in first] == order[:SEATS]
    for attempt in range(3):
        for step in range(CONTEXT.max_step):
            slot = (attempt, step)
            state, _ = fold(state, arrives(FORGE.candidate(view=slot)), over(slot))
    assert state.slot == (3, 0)
    assert state.committee(CONTEXT) == first
