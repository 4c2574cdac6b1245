"""Compiled loops of `consensus.network.compiled`: gossip that nobody reacts to.

Each does, step for step and number for number, what `Network._arrive`, the world's receiver and
`Network._forward` do with such a message; a test holds both equal.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from consensus.network.arrays import (
    BUSY,
    CELL,
    CHILDREN,
    CLOCK,
    CREDIT,
    DELAYS,
    EGRESS,
    ENTRIES,
    GROUND_OF,
    INGRESS,
    LATEST,
    LOG,
    LOGGED,
    LOGGED_AT,
    NUMBERS,
    SEEN,
    STALE,
    STARTS,
    STRETCHES,
    TIMES,
    TREE_OF,
    bool_rows,
    bools,
    check_built_on,
    float_blocks,
    float_rows,
    floats,
    int_blocks,
    int_rows,
    ints,
)
from consensus.server.unheard import IGNORED, UPDATES

BUILT_ON: Final = "aa5c6d3cdc169ebb"
"""The `arrays.digest` of what is compiled into these loops from other files. Numba's cache on disk
goes by this file alone; whoever changes the others writes their digest here, or nothing starts."""
check_built_on(BUILT_ON, IGNORED, UPDATES)

#: What a loop stopped for. Whatever it stopped for has changed nothing yet, unless it says so.
DONE: Final = 0
"""Nothing is due before the limit; or the message has been passed on."""
RECEIVED: Final = 1
"""A message has passed the ingress queue of a server that is to hear it; taken off the heap."""
OUTDATED: Final = 2
"""A server's credits are to be asked for."""
JITTER: Final = 3
"""Too few factors of latencies are left."""
TREE: Final = 4
"""The tree of the message's origin is not at hand."""
ROOM: Final = 5
"""The heap is too small."""
DISTURBED: Final = 6
"""Faults of the network may strike what is to be passed on (`send` only)."""

#: Places in the integer cells that the loops share with their caller.
SIZE: Final = 0
"""Number of messages in the heap."""
LEFT: Final = 1
"""Number of factors of latencies that are left; the last is next."""
NUMBER: Final = 2
"""Number of the next entry of the clock."""
SERVER: Final = 3
"""The receiving server at which the loop stopped ..."""
SLOT: Final = 4
"""... the message ..."""
ONWARD: Final = 5
"""... and whether it is to be passed on."""
SENT: Final = 6
"""Bytes sent since the caller last looked, by lane, from here on."""

#: Places in the time cells.
NEXT: Final = 0
"""Time of the heap's first entry; infinity if it is empty."""
NOW: Final = 1
"""Time of what the loop stopped at."""

#: A heap entry: server << 32 | message << 2 | these bits.
WAITED: Final = 1
"""The message has passed the ingress queue."""
PASSED_ON: Final = 2
"""The message is to be passed on."""

MESSAGE: Final = np.dtype(
    [
        ("origin", np.int32),
        ("lane", np.int32),
        ("ground", np.int64),
        ("name", np.int64),
        ("weight", np.int64),
        ("size", np.int64),
        ("seconds", np.float64),
        ("said", np.float64),
    ]
)
"""A message: the server that began it; its lane, ground, name and weight
(`consensus.server.unheard.Fit`); its bytes, and the seconds that a server works on it; the second
at which it was said, infinity if its delay does not count (`Message.timed`)."""


@njit(cache=True)
def _heap(table):  # type: ignore[no-untyped-def]
    return floats(table, TIMES), ints(table, NUMBERS), ints(table, ENTRIES)


@njit(cache=True)
def _before(time, number, other_time, other_number):  # type: ignore[no-untyped-def]
    return time < other_time or (time == other_time and number < other_number)


@njit(cache=True)
def _push(times, numbers, entries, cells, time, entry):  # type: ignore[no-untyped-def]
    """Put an entry into the heap, under the clock's next number."""
    number = cells[NUMBER]
    cells[NUMBER] = number + 1
    place = cells[SIZE]
    cells[SIZE] = place + 1
    while place > 0:
        parent = (place - 1) >> 1
        if not _before(time, number, times[parent], numbers[parent]):
            break
        times[place], numbers[place] = times[parent], numbers[parent]
        entries[place] = entries[parent]
        place = parent
    times[place], numbers[place], entries[place] = time, number, entry


@njit(cache=True)
def _sift_down(times, numbers, entries, size, time, number, entry):  # type: ignore[no-untyped-def]
    """Put an entry in the place of the heap's first one."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and _before(
            times[child + 1], numbers[child + 1], times[child], numbers[child]
        ):
            child += 1
        if not _before(times[child], numbers[child], time, number):
            break
        times[place], numbers[place] = times[child], numbers[child]
        entries[place] = entries[child]
        place = child
    times[place], numbers[place], entries[place] = time, number, entry


@njit(cache=True)
def _pop(times, numbers, entries, cells):  # type: ignore[no-untyped-def]
    size = cells[SIZE] - 1
    cells[SIZE] = size
    if size > 0:
        _sift_down(times, numbers, entries, size, times[size], numbers[size], entries[size])


@njit(cache=True)
def _due(times, cells):  # type: ignore[no-untyped-def]
    return times[0] if cells[SIZE] > 0 else np.inf


@njit(cache=True)
def _lacks(times, cells, receivers):  # type: ignore[no-untyped-def]
    """The lack that keeps a message from being sent to so many: `DONE` for none."""
    if cells[LEFT] < receivers:
        return JITTER
    if cells[SIZE] + receivers > times.size:
        return ROOM
    return DONE


@njit(cache=True)
def _calm(calm_until, leave, transmission, delays, stretches, left):  # type: ignore[no-untyped-def]
    """True if all arrivals come before ``calm_until``."""
    for place in range(delays.size):
        leave += transmission
        left -= 1
        if leave + delays[place] * stretches[left] >= calm_until:
            return False
    return True


@njit(cache=True)
def _pass_on(  # type: ignore[no-untyped-def]
    heap, cells, egress, stretches, children, delays, slot, message, per_byte, server, leave
):
    """Pass a message on to a server's children, leaving at ``leave`` seconds."""
    if children.size == 0:
        return
    times, numbers, entries = heap
    transmission = message.size * per_byte
    for place in range(children.size):
        leave += transmission
        left = cells[LEFT] - 1
        cells[LEFT] = left
        arrive = leave + delays[place] * stretches[left]
        entry = np.int64(children[place]) << 32 | np.int64(slot) << 2 | PASSED_ON
        _push(times, numbers, entries, cells, arrive, entry)
    egress[server] = leave
    cells[SENT + message.lane] += message.size * children.size


@njit(cache=True)
def forward(table, messages, slot, per_byte, calm_until, server, leave):  # type: ignore[no-untyped-def]
    """Pass message ``slot`` on from a server whose egress queue is free at ``leave``."""
    heap, cells, stretches = _heap(table), ints(table, CELL), floats(table, STRETCHES)
    message = messages[slot]
    tree = ints(table, TREE_OF)[message.origin]
    if tree < 0:
        return TREE
    starts = int_rows(table, STARTS)
    first, last = starts[tree, server], starts[tree, server + 1]
    lacks = _lacks(heap[0], cells, last - first)
    if lacks != DONE:
        return lacks
    onward = int_rows(table, CHILDREN)[tree, first:last]
    seconds = float_rows(table, DELAYS)[tree, first:last]
    transmission = message.size * per_byte
    if calm_until < np.inf and not _calm(
        calm_until, leave, transmission, seconds, stretches, cells[LEFT]
    ):
        return DISTURBED
    egress = floats(table, EGRESS)
    _pass_on(
        heap, cells, egress, stretches, onward, seconds, slot, message, per_byte, server, leave
    )
    floats(table, CLOCK)[NEXT] = _due(heap[0], cells)
    return DONE


@njit(cache=True)
def send(table, messages, slot, per_byte, calm_until, leave, seconds, hops, recipients):  # type: ignore[no-untyped-def]
    """Send message ``slot`` to ``recipients`` one after the other, over paths of these ``seconds``
    and ``hops``, from a server whose egress queue is free at ``leave``."""
    heap, cells, stretches = _heap(table), ints(table, CELL), floats(table, STRETCHES)
    times, numbers, entries = heap
    lacks = _lacks(times, cells, recipients.size)
    if lacks != DONE:
        return lacks
    message = messages[slot]
    transmission = message.size * per_byte
    leaves, left, links = leave, cells[LEFT], 0
    for sending in range(2 if calm_until < np.inf else 1, 0, -1):  # 2: to see whether it is calm
        leaves, left, links = leave, cells[LEFT], 0
        for to in recipients:
            away = hops[to]
            if away == 0:
                if to != message.origin:
                    return DISTURBED
                continue
            links += away
            leaves += transmission
            left -= 1
            arrive = leaves + seconds[to] * stretches[left]
            if away > 1:
                arrive += (away - 1) * transmission
            if sending == 1:
                entry = np.int64(to) << 32 | np.int64(slot) << 2
                _push(times, numbers, entries, cells, arrive, entry)
            elif arrive >= calm_until:
                return DISTURBED
    cells[LEFT] = left
    floats(table, EGRESS)[message.origin] = leaves
    cells[SENT + message.lane] += message.size * links
    floats(table, CLOCK)[NEXT] = _due(times, cells)
    return DONE


@njit(cache=True)
def _waits(heap, cells, ingress, now, entry, server, transmission):  # type: ignore[no-untyped-def]
    """True if the heap's first message has to wait in the ingress queue: it is then in the heap
    anew. (After that, or if it need not, it has passed the queue.)"""
    times, numbers, entries = heap
    ready = ingress[server] + transmission
    if ready > now:
        ingress[server] = ready
        number = cells[NUMBER]
        cells[NUMBER] = number + 1
        size = cells[SIZE]
        _sift_down(times, numbers, entries, size, ready, number, entry | WAITED)
        return True
    ingress[server] = now
    entries[0] = entry | WAITED
    return False


@njit(cache=True)
def _note_delay(table, server, now, said):  # type: ignore[no-untyped-def]
    """Note how long after ``said`` a server comes to a message that it gets now."""
    latest = floats(table, LATEST)
    latest[server] = max(latest[server], max(floats(table, BUSY)[server], now) - said)


@njit(cache=True)
def _take_in(table, heap, cells, now, server, slot, message, onward, per_byte, calm_until):  # type: ignore[no-untyped-def]
    """Let a server take in the heap's first message, and pass it on: `DONE`. Else what is lacking,
    or `RECEIVED` if faults may strike what is passed on."""
    times, numbers, entries = heap
    stretches = floats(table, STRETCHES)
    children, delays = int_rows(table, CHILDREN), float_rows(table, DELAYS)
    egress, busy = floats(table, EGRESS), floats(table, BUSY)
    first = last = tree = np.int64(0)
    if onward:
        tree = ints(table, TREE_OF)[message.origin]
        if tree < 0:
            return TREE
        starts = int_rows(table, STARTS)
        first, last = starts[tree, server], starts[tree, server + 1]
        lacks = _lacks(times, cells, last - first)
        if lacks != DONE:
            return lacks
    onto, seconds = children[tree, first:last], delays[tree, first:last]
    free = max(busy[server], now) + message.seconds
    leave, transmission = max(egress[server], free), message.size * per_byte
    if calm_until < np.inf and not _calm(
        calm_until, leave, transmission, seconds, stretches, cells[LEFT]
    ):
        return RECEIVED
    _pop(times, numbers, entries, cells)
    _note_delay(table, server, now, message.said)
    busy[server] = free
    int_rows(table, CREDIT)[server, message.lane] -= message.weight
    bool_rows(table, SEEN)[server, message.name] = True
    logged = int_rows(table, LOGGED)
    book = 1 if message.lane > UPDATES else 0
    place = logged[book, server]
    int_blocks(table, LOG)[book, server, place] = slot
    float_blocks(table, LOGGED_AT)[book, server, place] = free
    logged[book, server] = place + 1
    _pass_on(heap, cells, egress, stretches, onto, seconds, slot, message, per_byte, server, leave)
    return DONE


@njit(cache=True)
def advance(table, messages, per_byte, calm_until, until, until_number):  # type: ignore[no-untyped-def]
    """Deliver messages, in the order of their arrival, until something else is due (``until``, its
    time, and its number) or one of them is to be heard."""
    heap, cells, clock = _heap(table), ints(table, CELL), floats(table, CLOCK)
    times, numbers, entries = heap
    ingress, stale, seen = floats(table, INGRESS), bools(table, STALE), bool_rows(table, SEEN)
    ground_of, credit = int_rows(table, GROUND_OF), int_rows(table, CREDIT)
    status = DONE
    while status == DONE and cells[SIZE] > 0:
        now, number, entry = times[0], numbers[0], entries[0]
        if not _before(now, number, until, until_number):
            break
        server, slot, onward = entry >> 32, (entry & 0xFFFFFFFF) >> 2, entry & PASSED_ON
        message = messages[slot]
        # No fault can strike an arrival: a message is put here only if it arrives before
        # `calm_until`, which moves on once the clock has reached it, when all those are out.
        if not entry & WAITED and _waits(
            heap, cells, ingress, now, entry, server, message.size * per_byte
        ):
            continue
        left = credit[server, message.lane]
        if stale[server]:
            status = OUTDATED
        elif ground_of[server, message.lane] != message.ground:
            status = RECEIVED
        elif left == IGNORED:
            _pop(times, numbers, entries, cells)
            _note_delay(table, server, now, message.said)
        elif left < message.weight or seen[server, message.name]:
            status = RECEIVED
        else:
            status = _take_in(
                table, heap, cells, now, server, slot, message, onward, per_byte, calm_until
            )
        if status != DONE:
            clock[NOW] = now
            cells[SERVER], cells[SLOT], cells[ONWARD] = server, slot, onward
        if status == RECEIVED:
            _pop(times, numbers, entries, cells)
    clock[NEXT] = _due(times, cells)
    return status
