"""The thread that makes the next item while the one before it is in use."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from bfedrec.threads import one_ahead


def test_items_come_in_their_order_and_all_from_one_other_thread() -> None:
    threads = set()

    def items() -> Generator[int, None, None]:
        for item in range(50):
            threads.add(threading.get_ident())
            yield item
        threads.add(threading.get_ident())

    with one_ahead(items()) as found:
        assert list(found) == list(range(50))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_an_item_is_made_while_the_one_before_it_is_in_use_and_no_other() -> None:
    begun = [threading.Event() for _ in range(4)]

    def items() -> Generator[int, None, None]:
        for place, event in enumerate(begun):
            event.set()
            yield place

    with one_ahead(items()) as found:
        assert next(found) == 0
        assert begun[1].wait(30)  # without being asked for
        assert not begun[2].is_set()
        assert next(found) == 1
        assert begun[2].wait(30)
        assert not begun[3].is_set()


def test_an_error_stands_in_the_place_of_the_next_item() -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        raise ValueError("damaged")

    with one_ahead(items()) as found:
        assert next(found) == 1
        with pytest.raises(ValueError, match="damaged"):
            next(found)


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_the_generator_is_closed_in_its_own_thread_where_the_context_is_left_early(
    taken: int,
) -> None:
    opened, closed = [], []

    def items() -> Generator[int, None, None]:
        opened.append(threading.get_ident())
        try:
            yield from range(1000)
        finally:
            closed.append(threading.get_ident())

    def leave() -> None:
        with one_ahead(items()) as found:
            for _ in range(taken):
                next(found)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert closed == opened  # neither, if the thread had not come to its first item
    assert threading.get_ident() not in closed
