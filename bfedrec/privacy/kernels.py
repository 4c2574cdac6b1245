"""Compiled loops that compare an attack's scores with the truth, one client after the other."""

from __future__ import annotations

import numpy as np
from numba import njit

OTHER, MEMBER, LEFT_OUT = 0, 1, 2
"""The kinds of an item: none of the client's, one of its interactions, or not asked for."""
CELLS = 1024
"""Cells of scores in which a member's place is looked up."""


@njit(nogil=True, cache=True)
def _above(ranked, score):  # type: ignore[no-untyped-def]
    """The number of the ``ranked`` scores (descending) that are above ``score``."""
    low, high = 0, ranked.size
    while low < high:
        middle = (low + high) // 2
        if ranked[middle] > score:
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=True)
def _cells(ranked):  # type: ignore[no-untyped-def]
    """The number of ``ranked`` scores (descending) in the cells before each of `CELLS` equal ones
    between the first and the last; and the cells to a unit of score, 0 where they are of no use."""
    before = np.zeros(CELLS + 1, np.int64)
    width = np.float64(ranked[0]) - np.float64(ranked[-1]) if ranked.size else 0.0
    if not 0.0 < width < np.inf or not np.isfinite((CELLS - 1) / width):
        return before, 0.0
    scale = (CELLS - 1) / width
    for score in ranked:
        before[int((np.float64(ranked[0]) - score) * scale) + 1] += 1
    for cell in range(CELLS):
        before[cell + 1] += before[cell]
    return before, scale


@njit(nogil=True, cache=True)
def _above_by_cells(ranked, before, scale, score):  # type: ignore[no-untyped-def]
    """`_above` by `_cells`: a score's cell rises as the score falls, so that those in earlier cells
    are above it, and only those in its own are looked at."""
    if scale == 0.0:
        return _above(ranked, score)
    if not score < ranked[0]:
        return 0
    if score < ranked[-1]:
        return ranked.size
    first = before[int((np.float64(ranked[0]) - score) * scale)]
    while ranked[first] > score:
        first += 1
    return first


@njit(nogil=True, cache=True)
def _counts(scores, kinds, ranked, at_least, above):  # type: ignore[no-untyped-def]
    """For each member in descending order of scores (``ranked``) the numbers of others that score
    at least as much, and more; returns the others that are scored above 0, and all."""
    named, others = 0, 0
    before, scale = _cells(ranked)
    ends = np.empty(ranked.size, np.int64)  # of each member's group of equals, which may be all
    for k in range(ranked.size - 1, -1, -1):
        equal = k + 1 < ranked.size and ranked[k] == ranked[k + 1]
        ends[k] = ends[k + 1] if equal else k + 1
    at_least[:] = 0
    above[:] = 0
    for i in range(scores.size):
        if kinds[i] != OTHER:
            continue
        others += 1
        score = scores[i]
        if score > 0:
            named += 1
        first = _above_by_cells(ranked, before, scale, score)
        at_least[first] += 1
        tied = first < ranked.size and ranked[first] == score
        above[ends[first] if tied else first] += 1
    for k in range(1, ranked.size + 1):
        at_least[k] += at_least[k - 1]
        above[k] += above[k - 1]
    return named, others


@njit(nogil=True, cache=True)
def compare(scores, kinds, false_share, result):  # type: ignore[no-untyped-def]
    """Compare one client's scores (float32[N]) with the kinds of its items (uint8[N]).

    ``result`` (float64[5]) gets the area under the ROC curve, where equal scores count half; the
    precision and the recall of the items that are named: those scored above 0, at most the best n
    of them, n the client's members; F1 of the two; and the share of members that is found at
    ``false_share`` of the others. Where scores are equal it is the mean over all orders. Returns
    False, and NaN everywhere, for a client without members or without others.
    """
    count = 0
    for i in range(scores.size):
        if kinds[i] == MEMBER:
            count += 1
    ranked = np.empty(count, scores.dtype)
    count = 0
    for i in range(scores.size):
        if kinds[i] == MEMBER:
            ranked[count] = scores[i]
            count += 1
    ranked = np.sort(ranked)[::-1].copy()
    at_least = np.empty(count + 1, np.int64)
    above = np.empty(count + 1, np.int64)
    named_others, others = _counts(scores, kinds, ranked, at_least, above)
    if count == 0 or others == 0:
        result[:] = np.nan
        return False
    allowed = false_share * others
    area, hits, found = 0.0, 0.0, -1.0
    named_members = 0
    first = 0
    while first < count:
        last = first
        while last < count and ranked[last] == ranked[first]:
            last += 1
        # `above` of any member of a group of equals counts the others above all of them.
        more, equal, size = above[first], at_least[first] - above[first], last - first
        area += size * (others - more - 0.5 * equal)
        if ranked[first] > 0:
            named_members += size
            room = (count - first - more) / (equal + size)
            hits += size * min(1.0, max(0.0, room))
        if found < 0.0 and allowed < more + equal:
            inside = max(0.0, allowed - more)
            found = first + (size * inside / equal if equal > 0 else 0.0)
        first = last
    if found < 0.0:
        found = count
    named = min(count, named_others + named_members)
    result[0] = area / (count * others)
    result[1] = hits / named if named else 0.0
    result[2] = hits / count
    result[3] = 2.0 * hits / (named + count)
    result[4] = found / count
    return True


@njit(nogil=True, cache=True)
def _set_kinds(kinds, left_out, members, out, member):  # type: ignore[no-untyped-def]
    """Set the kinds (uint8[N]) of the items left out (-1 for none) to ``out``, and then those of
    members to ``member``."""
    for j in range(left_out.size):
        if left_out[j] >= 0:
            kinds[left_out[j]] = out
    for k in range(members.size):
        kinds[members[k]] = member


@njit(nogil=True, cache=True)
def compare_rows(scores, clients, indptr, members, left_out, false_share, results):  # type: ignore[no-untyped-def]
    """`compare` for every row of ``scores`` (float32[m, N]), of these ``clients`` (int64[m]).

    The members of client u are ``members[indptr[u]:indptr[u + 1]]``; its ``left_out`` (int64[M, k],
    -1 for none) are not asked for, unless they are members. ``results``: float64[m, 5].
    """
    kinds = np.zeros(scores.shape[1], np.uint8)
    for row in range(clients.size):
        u = clients[row]
        _set_kinds(kinds, left_out[u], members[indptr[u] : indptr[u + 1]], LEFT_OUT, MEMBER)
        compare(scores[row], kinds, false_share, results[row])
        _set_kinds(kinds, left_out[u], members[indptr[u] : indptr[u + 1]], OTHER, OTHER)


@njit(nogil=True, cache=True)
def areas_inside(scores, touched, clients, indptr, members, left_out, areas):  # type: ignore[no-untyped-def]
    """The area under the ROC curve of each row among the items that it ``touched`` (bool[m, N])
    alone, float64[m]; arguments as for `compare_rows`."""
    kinds = np.empty(scores.shape[1], np.uint8)
    result = np.empty(5)
    for row in range(clients.size):
        u = clients[row]
        for i in range(kinds.size):
            kinds[i] = OTHER if touched[row, i] else LEFT_OUT
        for j in range(left_out.shape[1]):
            if left_out[u, j] >= 0:
                kinds[left_out[u, j]] = LEFT_OUT
        for k in range(indptr[u], indptr[u + 1]):
            if touched[row, members[k]]:
                kinds[members[k]] = MEMBER
        compare(scores[row], kinds, 0.01, result)
        areas[row] = result[0]


@njit(nogil=True, cache=True)
def areas_matched(scores, order, reach, clients, indptr, members, left_out, areas):  # type: ignore[no-untyped-def]
    """The area of each row beyond popularity, float64[m]: the mean over the client's members of the
    share of others of like popularity that score lower, equal scores counting half.

    ``order`` (int64[N]): the items by popularity. Of like popularity are the others at most
    ``reach`` places away, as many places on either side: fewer near the ends, and members at the
    very ends, and those with members alone beside them, are left out. NaN where none is left. The
    other arguments are as for `compare_rows`.
    """
    items = order.size
    kinds = np.zeros(items, np.uint8)
    places = np.empty(items, np.int64)
    for place in range(items):
        places[order[place]] = place
    along, kind_along = np.empty(items, scores.dtype), np.empty(items, np.uint8)
    for row in range(clients.size):
        u = clients[row]
        _set_kinds(kinds, left_out[u], members[indptr[u] : indptr[u + 1]], LEFT_OUT, MEMBER)
        for place in range(items):
            along[place] = scores[row, order[place]]
            kind_along[place] = kinds[order[place]]
        total, compared = 0.0, 0
        for k in range(indptr[u], indptr[u + 1]):
            place = places[members[k]]
            score, lower, others = along[place], 0.0, 0
            beside = min(reach, place, items - 1 - place)
            for other in range(place - beside, place + beside + 1):
                if kind_along[other] == OTHER:
                    others += 1
                    lower += (along[other] < score) + 0.5 * (along[other] == score)
            if others:
                total += lower / others
                compared += 1
        areas[row] = total / compared if compared else np.nan
        _set_kinds(kinds, left_out[u], members[indptr[u] : indptr[u + 1]], OTHER, OTHER)
