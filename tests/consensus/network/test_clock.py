"""The simulated clock: the order of calls and events, and what it relies on in SimPy."""

from __future__ import annotations

import ast
from collections.abc import Generator, Iterator
from heapq import heappop, heappush
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simpy
from simpy.events import URGENT

from consensus.network.clock import NORMAL, Clock

ROOT = next(path for path in Path(__file__).parents if (path / "pyproject.toml").is_file())

Process = Generator[simpy.Event, Any, Any]


def clock(now: float = 0.0) -> Clock:
    """A clock without SimPy's own queue, counter and time: whatever reads them raises."""
    env = Clock(now)
    for name in ("_now", "_queue", "_eid"):
        delattr(env, name)
    return env


class Log(list[tuple[float, Any]]):
    """What happened, and when."""

    def __init__(self, env: simpy.Environment) -> None:
        super().__init__()
        self.env = env

    def note(self, what: Any) -> None:
        self.append((self.env.now, what))


# -- order ----------------------------------------------------------------------------------------


def test_calls_and_events_of_one_time_come_in_the_order_of_their_making() -> None:
    env = clock()
    log = Log(env)
    env.call_at(2.0, log.note, "late")
    env.call_at(1.0, log.note, "call")
    env.timeout(1.0).callbacks.append(lambda event: log.note("event"))
    heappush(env.queue, (1.0, NORMAL, next(env.numbers), log.note, "pushed"))
    env.call_at(1.0, log.note, "again")
    env.run()
    assert [what for _, what in log] == ["call", "event", "pushed", "again", "late"]
    assert [time for time, _ in log] == [1.0, 1.0, 1.0, 1.0, 2.0]
    assert next(env.numbers) == 5, "how many entries there were"


def test_arguments_are_not_compared() -> None:
    env = clock()
    log = Log(env)
    for argument in ({}, None, "text"):
        env.call_at(1.0, log.note, argument)
    env.run()
    assert [what for _, what in log] == [{}, None, "text"]


def test_a_process_begins_before_other_calls_of_its_time() -> None:
    env = clock()
    log = Log(env)

    def sleeper() -> Process:
        log.note("begun")
        yield env.timeout(0.0)
        log.note("woken")

    env.call_at(1.0, lambda _: env.process(sleeper()), None)
    env.call_at(1.0, log.note, "call")
    env.run()
    assert log == [(1.0, "begun"), (1.0, "call"), (1.0, "woken")]


def test_a_process_sleeps_beside_calls() -> None:
    env = clock()
    log = Log(env)

    def sleeper() -> Process:
        for second in range(3):
            yield env.timeout(1.0)
            log.note(second)
        return "slept"

    process = env.process(sleeper())
    for half in (0.5, 1.5, 2.5):
        env.call_at(half, log.note, "call")
    assert env.run(until=process) == "slept"
    assert log == [(0.5, "call"), (1.0, 0), (1.5, "call"), (2.0, 1), (2.5, "call"), (3.0, 2)]


def test_a_call_may_make_calls() -> None:
    env = clock()
    log = Log(env)

    def count_down(left: int) -> None:
        log.note(left)
        if left:
            env.call_at(env.now + 1.0, count_down, left - 1)

    env.call_at(1.0, count_down, 3)
    env.run()
    assert log == [(1.0, 3), (2.0, 2), (3.0, 1), (4.0, 0)]


def test_a_call_comes_at_its_very_time() -> None:
    """After a resume at 0.2, a call at 0.9 must not come at 0.2 + (0.9 - 0.2)."""
    env = clock(0.2)
    log = Log(env)
    assert 0.2 + (0.9 - 0.2) != 0.9
    env.call_at(0.9, log.note, "call")
    env.run()
    assert log == [(0.9, "call")]
    assert env.now == 0.9


def test_peek_tells_the_time_of_what_comes_next() -> None:
    env = clock(1.0)
    assert env.peek() == inf
    env.timeout(2.0)
    assert env.peek() == 3.0
    log = Log(env)
    env.call_at(2.5, lambda _: log.note(env.peek()), None)
    assert env.peek() == 2.5
    env.run()
    assert log == [(2.5, 3.0)]
    assert (env.now, env.peek()) == (3.0, inf)


# -- running until --------------------------------------------------------------------------------


def test_run_until_a_time_stops_before_what_comes_at_it() -> None:
    env = clock()
    log = Log(env)
    for time in (1.0, 2.0, 3.0):
        env.call_at(time, log.note, "call")
    env.run(until=2)
    assert (env.now, log) == (2.0, [(1.0, "call")])
    env.run(until=2.5)
    assert (env.now, log) == (2.5, [(1.0, "call"), (2.0, "call")])
    with pytest.raises(ValueError, match="until"):
        env.run(until=2.5)
    env.run()
    assert env.now == 3.0
    assert len(log) == 3


def test_run_until_a_time_ends_so_long_after_now() -> None:
    """As SimPy's does, by so little off the time that was asked for: recorded runs hang on it."""
    env = clock(0.2)
    env.run(until=0.9)
    assert env.now == 0.2 + (0.9 - 0.2)


def test_run_until_an_event_returns_its_value() -> None:
    env = clock()
    over = env.event()
    env.call_at(1.0, over.succeed, "over")
    env.call_at(2.0, lambda _: None, None)
    assert env.run(until=over) == "over"
    assert env.now == 1.0
    assert env.run(until=over) == "over", "already processed"
    assert env.now == 1.0


def test_run_until_an_event_that_never_comes_raises() -> None:
    env = clock()
    env.call_at(1.0, lambda _: None, None)
    with pytest.raises(RuntimeError, match="No scheduled events left"):
        env.run(until=env.event())
    assert env.now == 1.0


def test_other_callbacks_of_the_event_that_stopped_it_come_first_when_it_goes_on() -> None:
    env = clock()
    log = Log(env)
    over = env.event()
    over.callbacks.append(lambda event: log.note("before"))
    env.call_at(1.0, over.succeed, None)
    env.call_at(1.0, lambda _: over.callbacks.append(lambda event: log.note("after")), None)
    env.call_at(1.0, log.note, "call")
    env.run(until=over)
    assert log == [(1.0, "call"), (1.0, "before")]
    env.call_at(1.0, log.note, "another call")
    env.run()
    assert log[2:] == [(1.0, "after"), (1.0, "another call")]


def test_it_goes_on_after_a_call_that_raises() -> None:
    env = clock()
    log = Log(env)

    def fail(_: None) -> None:
        raise ArithmeticError

    env.call_at(1.0, fail, None)
    env.call_at(1.0, log.note, "call")
    with pytest.raises(ArithmeticError):
        env.run()
    env.run()
    assert log == [(1.0, "call")]


# -- events ---------------------------------------------------------------------------------------


class Refusal(Exception):
    """An exception that cannot be made again of its ``args``, as SimPy would do."""

    def __init__(self, server: int, *, reason: str) -> None:
        super().__init__(f"{server}: {reason}")
        self.reason = reason


def test_an_event_that_failed_raises_its_very_exception() -> None:
    env = clock()
    refusal = Refusal(3, reason="stale")
    env.event().fail(refusal)
    with pytest.raises(Refusal) as raised:
        env.run()
    assert raised.value is refusal


def test_a_process_that_fails_stops_the_simulation() -> None:
    env = clock()

    def failing() -> Process:
        yield env.timeout(1.0)
        raise Refusal(3, reason="stale")

    env.process(failing())
    with pytest.raises(Refusal, match="3: stale"):
        env.run()
    assert env.now == 1.0


def test_a_process_may_catch_what_an_event_failed_with() -> None:
    env = clock()
    log = Log(env)
    event = env.event()

    def catching() -> Process:
        try:
            yield event
        except ArithmeticError:
            log.note("caught")

    env.process(catching())
    env.call_at(1.0, event.fail, ArithmeticError())
    env.run()
    assert log == [(1.0, "caught")]


def test_a_process_may_be_interrupted() -> None:
    env = clock()
    log = Log(env)

    def sleeper() -> Process:
        assert env.active_process is process
        try:
            yield env.timeout(5.0)
        except simpy.Interrupt as interrupt:
            log.note(interrupt.cause)

    process = env.process(sleeper())
    env.call_at(2.0, process.interrupt, "crash")
    env.call_at(2.0, log.note, "call")
    env.run()
    assert log == [(2.0, "crash"), (2.0, "call")], "an interrupt is urgent"
    assert env.now == 5.0, "the timeout comes nevertheless"
    assert env.active_process is None


def test_conditions_wait_for_all_or_any() -> None:
    env = clock()
    first, second = env.timeout(1.0, "first"), env.timeout(2.0, "second")
    assert list(env.run(until=first | second).values()) == ["first"]
    assert env.now == 1.0
    assert list(env.run(until=first & second).values()) == ["first", "second"]
    assert env.now == 2.0
    assert list(env.run(until=env.all_of([])).values()) == []


# -- beside SimPy ---------------------------------------------------------------------------------


def play(env: simpy.Environment, seed: int) -> Log:
    """Processes that sleep, wait for one another, use a store and interrupt each other, drawn."""
    generator = np.random.default_rng(seed)
    log = Log(env)
    store = simpy.Store(env, capacity=3)
    processes: list[simpy.Process] = []

    def live(name: int) -> Process:
        for _ in range(20):
            delay = float(generator.integers(4)) / 4.0  # so that many things come at one time
            other = processes[int(generator.integers(len(processes)))]
            try:
                match generator.integers(6):
                    case 0:
                        yield env.timeout(delay)
                    case 1:
                        yield store.put(name) | env.timeout(delay)
                    case 2:
                        yield store.get() | env.timeout(delay)
                    case 3:
                        yield env.timeout(delay) & env.timeout(0.25)
                    case 4:
                        yield env.any_of([other, env.timeout(delay)])
                    case 5:
                        if other.is_alive and other is not env.active_process:
                            other.interrupt(name)
                        yield env.timeout(delay)
                log.note((name, env.peek()))
            except simpy.Interrupt as interrupt:
                log.note((name, interrupt.cause))
        return name

    processes.extend(env.process(live(name)) for name in range(5))
    for time in (1.0, 1.25, 4.0):
        env.run(until=time)
        log.note("paused")
    env.run(until=env.all_of(processes))
    return log


@pytest.mark.parametrize("seed", range(20))
def test_events_come_as_in_simpys_own_environment(seed: int) -> None:
    log = play(clock(), seed)
    assert log == play(simpy.Environment(), seed)
    assert len(log) == 5 * 20 + 3
    assert any(former == latter for (former, _), (latter, _) in pairwise(log))


# -- another source of calls ----------------------------------------------------------------------


class Source:
    """A feed whose calls are notes in a log; those of the names that `told` has stop it."""

    def __init__(self, env: Clock, log: Log, told: str = "") -> None:
        self.due = [inf]
        self.env, self.log, self.told = env, log, told
        self.calls: list[tuple[float, int, str]] = []
        self.asked: list[tuple[float, int]] = []
        env.feed = self

    def add(self, time: float, name: str) -> None:
        heappush(self.calls, (time, next(self.env.numbers), name))
        self.due[0] = self.calls[0][0]

    def advance(self, until: float, number: int) -> bool:
        self.asked.append((until, number))
        while self.calls and self.calls[0][:2] < (until, number):
            time, _, name = heappop(self.calls)
            self.due[0] = self.calls[0][0] if self.calls else inf
            self.log.append((time, name))
            if name in self.told:
                self.env.now = time
                self.env.call_at(time, self.log.note, f"after {name}")
                return True
        return False


class Happened(simpy.Event):
    """An event that may be scheduled as it is."""

    ok = True


def test_calls_of_a_feed_and_of_the_clock_come_in_one_order() -> None:
    """By time, then by number, across both; an urgent event is first of its time."""
    env = clock()
    log = Log(env)
    feed = Source(env, log, told="bd")
    feed.add(1.0, "a")
    env.call_at(1.0, log.note, "one")
    feed.add(1.0, "b")
    env.call_at(1.0, log.note, "two")
    feed.add(2.0, "c")
    env.call_at(3.0, log.note, "three")
    feed.add(3.0, "d")
    feed.add(0.5, "e")
    urgent = Happened(env)
    urgent.callbacks.append(lambda event: log.note("urgent"))
    env.schedule(urgent, URGENT, 1.0)
    assert env.peek() == 0.5
    env.run()
    order = "e, urgent, a, one, b, two, after b, c, three, d, after d"
    assert ", ".join(what for _, what in log) == order
    assert env.now == 3.0
    assert env.peek() == inf


def test_a_feed_is_asked_only_when_one_of_its_calls_is_due() -> None:
    env = clock()
    log = Log(env)
    feed = Source(env, log)
    for time in (1.0, 2.0, 3.0):
        env.call_at(time, log.note, time)
    feed.add(2.5, "a")
    env.run()
    assert [what for _, what in log] == [1.0, 2.0, "a", 3.0]
    assert feed.asked == [(3.0, 2)]


def test_a_run_until_a_time_leaves_what_a_feed_has_later() -> None:
    env = clock()
    log = Log(env)
    feed = Source(env, log)
    for time in (1.0, 2.0, 3.0):
        feed.add(time, f"at {time}")
    env.run(until=2.0)
    assert [what for _, what in log] == ["at 1.0"], "what ends the run comes first at its time"
    assert env.now == 2.0
    assert env.peek() == 2.0
    env.run(until=2.5)
    assert [what for _, what in log] == ["at 1.0", "at 2.0"]
    env.run()
    assert [what for _, what in log] == ["at 1.0", "at 2.0", "at 3.0"]


def test_a_clock_is_due_when_its_feed_or_its_queue_is() -> None:
    env = clock()
    feed = Source(env, Log(env))
    assert env.peek() == inf
    feed.add(4.0, "a")
    assert env.peek() == 4.0
    env.call_at(3.0, print, None)
    assert env.peek() == 3.0


# -- what is SimPy's own --------------------------------------------------------------------------

PRIVATE = {
    name for name in vars(simpy.Environment()) | simpy.Event.__annotations__ if name.startswith("_")
}


def private_to_simpy(source: str) -> Iterator[str]:
    """The attributes of other objects in a file whose names are private in SimPy."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(ast.Name("self")):
                continue
            case ast.Attribute(attr=name) if name in PRIVATE:
                yield f"{node.lineno}: {ast.unparse(node)}"


def test_nothing_touches_what_is_private_in_simpy() -> None:
    assert {"_now", "_queue", "_eid", "_active_proc", "_ok", "_value", "_defused"} <= PRIVATE
    assert list(private_to_simpy("world.env._now = self._now")) == ["1: world.env._now"]
    found = [
        f"{path.relative_to(ROOT)}:{place}"
        for package in ("bfedrec", "consensus", "tests")
        for path in sorted((ROOT / package).rglob("*.py"))
        for place in private_to_simpy(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_calls_that_would_do_nothing_are_dropped_and_the_others_keep_their_order() -> None:
    env, made = clock(), list[int]()
    times = np.random.default_rng(0).integers(0, 20, 60).astype(float).tolist()
    for number, time in enumerate(times):
        env.call_at(time, made.append, number)
    queue = env.queue
    env.drop(lambda entry: entry[4] % 3 == 0)
    assert env.queue is queue
    env.run()
    assert made == sorted((n for n in range(60) if n % 3), key=lambda n: (times[n], n))
