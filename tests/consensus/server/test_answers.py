"""The limit of what a server sends because others ask: the account itself, whatever is asked."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.server.answers import (
    ALLOWANCE,
    FIRST_HELPERS,
    MORE_HELPERS,
    RATIO,
    STRETCH,
    Answers,
    rota,
)

CHAIN = bytes(range(32))
ASKERS = st.integers(0, 3)
SIZES = st.one_of(st.integers(1, 400), st.integers(1_000, 3 * ALLOWANCE))


def answers(index: int = 9, servers: int = 10, resends: int = 0) -> Answers:
    made = Answers(index, CHAIN, servers)
    for _ in range(resends):
        made.renew()
    return made


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("asks"), ASKERS, st.integers(1, 5_000), st.just(0)),
            st.tuples(st.just("gets"), ASKERS, SIZES, st.integers(0, 30)),
            st.tuples(st.just("renew"), st.just(0), st.just(0), st.just(0)),
        ),
        max_size=120,
    )
)
def test_nobody_gets_more_than_its_budget_whatever_is_asked(
    events: list[tuple[str, int, int, int]],
) -> None:
    account = answers()
    asked, spent, longest = Counter[int](), Counter[int](), Counter[int]()
    sent: set[tuple[int, int]] = set()
    for what, asker, size, key in events:
        if what == "renew":
            account.renew()
            asked.clear(), spent.clear(), longest.clear(), sent.clear()
        elif what == "asks":
            account.note(asker, size)
            asked[asker] += size
        elif account.spend(asker, key, size):
            assert (asker, key) not in sent, "sent twice"
            sent.add((asker, key))
            spent[asker] += size
            longest[asker] = max(longest[asker], size)
            assert spent[asker] <= max(ALLOWANCE, RATIO * asked[asker], longest[asker])
        else:
            assert (asker, key) in sent or (
                spent[asker] and spent[asker] + size > max(ALLOWANCE, RATIO * asked[asker])
            ), "refused without need"
        assert +account.spent == +spent
        assert sum(map(len, account._sent.values())) == len(sent), "it remembers nothing else"


@given(st.lists(SIZES, min_size=1, max_size=50))
def test_a_helper_sends_all_that_is_lacking_once(sizes: list[int]) -> None:
    account = answers()
    for _ in range(2):
        assert all(account.spend(1, key, size, True) for key, size in enumerate(sizes))
        assert not any(account.spend(1, key, size, True) for key, size in enumerate(sizes))
        account.renew()


@given(st.integers(1, 10 * ALLOWANCE), st.lists(st.integers(1, ALLOWANCE // 8), max_size=8))
def test_what_is_small_or_alone_is_had_from_anybody(alone: int, small: list[int]) -> None:
    assert answers().spend(1, "alone", alone)
    account = answers()
    assert all(account.spend(1, key, size) for key, size in enumerate(small))


def test_one_asker_takes_nothing_from_another() -> None:
    account = answers()
    assert account.spend(1, "a", ALLOWANCE)
    assert not account.spend(1, "b", 1)
    assert account.spend(2, "a", ALLOWANCE)


def test_a_height_begins_with_an_empty_account_unless_its_server_catches_up() -> None:
    account = answers(resends=4)
    account.spend(1, "a", ALLOWANCE)
    account.begin(anew=False)
    assert account.resends == 0
    assert account.was_sent(1, "a")
    account.begin(anew=True)
    assert account.spend(1, "a", ALLOWANCE)


@given(st.integers(2, 40), st.integers(0, 100), st.integers(0, 25))
def test_askers_and_helpers_agree_on_who_helps(servers: int, height: int, resends: int) -> None:
    all_ = [answers(index, servers, resends) for index in range(servers)]
    for asker, mine in enumerate(all_):
        others = [other for other in range(servers) if other != asker]
        assert sorted(rota(CHAIN, servers, asker, height // STRETCH)) == others
        same = [other for other in others if all_[other].helps(asker, height, behind=False)]
        late = [other for other in others if all_[other].helps(asker, height, behind=True)]
        if resends:
            assert mine.helpers(height) == same
        assert len(same) == min(
            servers - 1, FIRST_HELPERS + MORE_HELPERS * (resends - 1) if resends else 0
        )
        assert len(late) == min(servers - 1, FIRST_HELPERS + MORE_HELPERS * resends)
        assert set(mine.helpers(height)) <= set(late), "who is behind asks those that may help it"


def test_everybody_helps_in_the_end_and_the_order_is_everyones_own() -> None:
    assert len(answers(0, 30, 15).helpers(7)) == 29
    orders = {rota(CHAIN, 30, asker, stretch)[:3] for asker in range(30) for stretch in range(4)}
    assert len(orders) > 100
    firsts = [rota(CHAIN, 30, asker, stretch)[0] for asker in range(30) for stretch in range(40)]
    assert max(Counter(firsts).values()) < 80, "of 1,200: nobody is asked by all"


@pytest.mark.parametrize("size", [0, 1, ALLOWANCE - 1, ALLOWANCE, ALLOWANCE + 1])
def test_requests_count_beyond_the_allowance_alone(size: int) -> None:
    account = answers()
    account.note(1, size)
    assert account.spend(1, "a", ALLOWANCE)
    assert account.spend(1, "b", 1) == (RATIO * size > ALLOWANCE)
