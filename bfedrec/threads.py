"""Threads for compiled work, started for each call or context and ended with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def thread_count(limit: int | None = None) -> int:
    """Number of threads to use: the processors this process may run on, at most `limit`."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(available or 1, limit or available or 1))


def balanced(work: np.ndarray, parts: int) -> list[np.ndarray]:
    """Distribute indices of `work` (amounts) to at most `parts` parts of about the same total."""
    order = np.argsort(-np.asarray(work), kind="stable")
    totals = np.zeros(parts, np.int64)
    dealt: list[list[int]] = [[] for _ in range(parts)]
    for index in order.tolist():
        part = int(np.argmin(totals))
        dealt[part].append(index)
        totals[part] += int(work[index])
    return [np.array(sorted(part), np.int64) for part in dealt if part]


def in_threads(function: Callable[..., None], parts: Sequence[tuple[object, ...]]) -> None:
    """Call `function(*part)` for every part, each in a thread of its own, and wait for all.

    For functions that release the interpreter lock and write to separate places. Numba's own
    parallel loops are avoided: some of its threading layers end the process when two threads enter
    them at once, as in a run that evaluates while it trains. The first error is raised.
    """
    errors: list[BaseException] = []

    def call(part: tuple[object, ...]) -> None:
        try:
            function(*part)
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=call, args=(part,), daemon=True) for part in parts[1:]]
    for thread in threads:
        thread.start()
    if parts:
        call(parts[0])
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@contextmanager
def one_ahead(items: Generator[Item, None, None]) -> Iterator[Iterator[Item]]:
    """The items of a generator, each made by a thread while the one before it is in use.

    The generator's code runs in that thread alone, from its first line to its last, which it has
    come to when the context is left, early or not. An error that it raises is raised in the place
    of the next item.
    """
    made: SimpleQueue[tuple[Item] | BaseException | None] = SimpleQueue()
    wanted, left = Semaphore(1), Event()

    def make() -> None:
        end: BaseException | None = None
        try:
            with closing(items):
                while wanted.acquire() and not left.is_set():
                    made.put((next(items),))
        except StopIteration:
            pass
        except BaseException as error:
            end = error
        made.put(end)

    def taken() -> Iterator[Item]:
        while (found := made.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            wanted.release()
            yield found[0]

    thread = Thread(target=make, daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        left.set()
        wanted.release()
        thread.join()
