"""The recorder of timelines: an observer that notes what happens at each height
(`consensus.simulation.timeline`).

It knows no protocol. Who proposed, voted and gave up it sees by the messages that servers send; a
message said again, or passed on for another server, is no new event. Messages that nobody is to
get (the vote of a committee's only member) are not sent, and not seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from math import inf
from typing import Any, Final

import numpy as np

from consensus.encoding.cid import cid_text, is_cid
from consensus.faults.faults import Faults
from consensus.faults.kinds import Cut
from consensus.records.block import Block, Candidate
from consensus.records.evidence import Evidence
from consensus.records.votes import Timeout, TimeoutCertificate, Vote
from consensus.server.message import BODIES
from consensus.simulation.observer import Observed, Observer
from consensus.simulation.pages import ALL, AttemptSeen, Page, Weights, attempts_of
from consensus.simulation.results import Forked, HeightResult, Stalled
from consensus.simulation.timeline import (
    MOST_ATTEMPTS,
    MOST_BLOCKS,
    MOST_OF_A_KIND,
    Event,
    HeightFigures,
    HeightTimeline,
    Named,
)

GREATEST_VIEW: Final = 2**31
"""Attempts and steps from here on are those of malicious servers' inventions."""
COUNTED: Final = frozenset({"proposed", "voted", "timed_out", "closed"})
"""The kinds of events that belong to an attempt."""


class Recorder(Observer):
    """The timelines of a world's heights: of the height in progress where all servers begin it
    together (`World.run_height`), of all heights where each goes on by itself."""

    def __init__(
        self, servers: int, malicious: Collection[int] = (), faults: Faults | None = None
    ) -> None:
        """``servers``: their number; ``malicious``: those that are, at any height."""
        self._servers = servers
        self._malicious = frozenset(malicious)
        self._cuts = [each for each in faults.faults if isinstance(each, Cut)] if faults else []
        self._cut_off: dict[int, frozenset[int]] = {}
        """By place in the list of cuts: the servers that the cut keeps from most others."""
        self._pages: dict[int, Page] = {}
        self._current: Page | None = None
        """The height that all servers play together; None if each is at its own."""
        self._down: set[int] = set()
        self._notes: dict[str, Callable[[int, Any, int], None]] = {
            "candidate": self._candidate,
            "vote": self._vote,
            "timeout": self._timeout,
            "closure": self._closure,
        }

    # -- what is seen -----------------------------------------------------------------------------

    def begin(self, world: Observed) -> None:
        self._down = {index for index in range(self._servers) if not world.is_up(index)}
        page = Page(world.head.height + 1, _us(world.env.now), set(self._down))
        self._pages = {page.height: page}
        self._current = page

    def sent(self, server: int, kind: str, body: Any, at: float) -> None:
        note = self._notes.get(kind)
        if note is not None and type(body) is BODIES[kind]:
            note(server, body, _us(at))

    def took(self, server: int, kind: str, body: Any, at: float) -> None:
        page = self._page(body.header.height, _us(at))
        if page is not None:
            self._add(page, _us(at), "received", server, body.view, "", body.header.cid)

    def _candidate(self, server: int, body: Candidate, at: int) -> None:
        page = self._page(body.header.height, at)
        if page is not None and body.proposer == server:
            self._add(page, at, "proposed", server, body.view, "", body.header.cid)

    def _vote(self, server: int, body: Vote, at: int) -> None:
        page = self._page(body.height, at)
        if page is not None and body.server == server:
            view = (body.attempt, body.step)
            self._add(page, at, "voted", server, view, body.phase, body.block)

    def _timeout(self, server: int, body: Timeout, at: int) -> None:
        page = self._page(body.height, at)
        if page is not None and body.server == server:
            what = ALL if body.everyone else ""
            self._add(page, at, "timed_out", server, body.view, what, b"")

    def _closure(self, server: int, body: TimeoutCertificate, at: int) -> None:
        page = self._page(body.height, at)
        if page is not None:
            self._add(page, at, "closed", server, body.view, ALL if body.everyone else "", b"")

    def appended(self, server: int, block: Block, at: float) -> None:
        now = _us(at)
        page = self._page(block.height, now)
        if page is None:
            if self._current is not None:
                late = (now, "caught_up", server, None, None, f"height {block.height}", b"", None)
                self._note(self._current, late)
            return
        if page.block is None:
            page.block = block
        page.forked |= block.cid != page.block.cid
        page.ended = max(page.ended, now)
        self._add(page, now, "appended", server, block.certificate.view, "", block.cid)

    def accused(self, server: int, found: Evidence, at: float) -> None:
        page = self._page(found.height, _us(at))
        key = ("evidence", found.key)
        if page is None or server in self._malicious or key in page.seen:
            return
        page.seen.add(key)
        event = (_us(at), "evidence", server, *found.view, found.phase, b"", found.server)
        self._note(page, event)

    def crashed(self, server: int, height: int, fault: str, at: float) -> None:
        self._down.add(server)
        self._went(server, height, fault, at, "crashed")

    def restarted(self, server: int, height: int, fault: str, at: float) -> None:
        self._down.discard(server)
        self._went(server, height, fault, at, "restarted")

    def _went(self, server: int, height: int, fault: str, at: float, kind: str) -> None:
        page = self._current or self._page(height, _us(at))
        if page is not None:
            page.down.add(server)
            self._note(page, (_us(at), kind, server, None, None, fault, b"", None))

    # -- how it is noted --------------------------------------------------------------------------

    def _page(self, height: int, at: int) -> Page | None:
        """The page of a height; None for one that nobody can be at."""
        page = self._pages.get(height)
        if page is None and self._current is None and (height == 1 or height - 1 in self._pages):
            before = self._pages.get(height - 1)
            if before is None or before.block is not None:
                page = self._pages[height] = Page(height, at, set(self._down))
        return page

    def _add(
        self,
        page: Page,
        at: int,
        kind: str,
        server: int,
        view: tuple[int, int],
        what: str,
        block: bytes,
    ) -> None:
        """Note an event that comes once."""
        attempt, step = view
        key = (kind, server, attempt, step, what, block)
        if key in page.seen or not (0 <= attempt < GREATEST_VIEW and 0 <= step < GREATEST_VIEW):
            return
        page.seen.add(key)
        if kind in COUNTED:
            seen = page.attempts.get(attempt)
            if seen is None:
                seen = page.attempts[attempt] = AttemptSeen(at)
            seen.add(kind, at, step, what, block)
            if attempt > page.reached and server not in self._malicious:
                page.reached = attempt
        self._note(page, (at, kind, server, attempt, step, what, block, None))

    def _note(self, page: Page, event: tuple[Any, ...]) -> None:
        kind = event[1]
        page.counts[kind] += 1
        if page.counts[kind] <= MOST_OF_A_KIND:
            page.events.append(event)

    # -- what comes of it -------------------------------------------------------------------------

    def decided(self, result: HeightResult) -> HeightTimeline:
        """The timeline of the height in progress, which has ended with a block."""
        page = self._in_progress()
        last, weights = result.block.certificate.attempt, result.malicious_weight
        figures = HeightFigures(
            dict(sorted(result.gossip_bytes.items())),
            result.gossip_messages,
            dict(sorted(result.refused.items())),
            len(result.evidence),
            len(result.updates),
            result.captured,
            result.closed_by_all,
            result.caught_up,
        )
        return self._told(
            page, "decided", _us(result.ended), last, _by_attempt(weights, last), figures
        )

    def stopped(self, world: Observed, end: Stalled | Forked) -> HeightTimeline | None:
        """The timeline of the height in progress of ``world``, at which its servers cannot go on;
        None if it had not begun."""
        if self._current is None:
            return None
        page, spent = self._current, world.spent()
        outcome, last = "forked", page.reached
        weights: tuple[tuple[int, int], ...] = ()
        if isinstance(end, Stalled):
            outcome, last, weights = "stalled", end.attempts - 1, end.malicious_weight
        figures = HeightFigures(
            dict(sorted(spent.bytes.items())),
            spent.messages,
            dict(sorted(spent.refused.items())),
            page.counts["evidence"],
            0,
            False,
            sum(attempt.closed_by_all for attempt in page.attempts.values()),
            page.counts["caught_up"],
        )
        now = _us(world.env.now)
        return self._told(page, outcome, now, last, _by_attempt(weights, last), figures)

    def heights(self, now: float) -> list[HeightTimeline]:
        """The timelines of all heights that were begun by ``now``, in their order; events of the
        network stand at the last one that had begun."""
        pages = sorted(self._pages.values(), key=lambda page: page.height)
        found = []
        for page, later in zip(pages, [*pages[1:], None], strict=True):
            until = _us(now) + 1 if later is None else later.began
            if page.block is None:
                found.append(self._told(page, "open", _us(now), page.reached, {}, None, until))
            else:
                outcome = "forked" if page.forked else "decided"
                last = max(page.block.certificate.attempt, page.reached if page.forked else 0)
                found.append(self._told(page, outcome, page.ended, last, {}, None, until))
        return found

    def _in_progress(self) -> Page:
        assert self._current is not None, "begin() comes first"
        return self._current

    def _told(
        self,
        page: Page,
        outcome: str,
        ended: int,
        last: int,
        weights: Weights,
        figures: HeightFigures | None,
        until: int | None = None,
    ) -> HeightTimeline:
        """The timeline of a page whose last attempt is ``last``. Cuts that begin or cease from its
        beginning up to ``until`` (``ended``) are its events."""
        cuts = [
            (place, cut)
            for place, cut in enumerate(self._cuts)
            if _us(cut.from_) <= ended and _us(cut.until) > page.began
        ]
        network = self._turns(page.began, ended if until is None else until)
        counts = page.counts + Counter(event[1] for event in network)
        first_ones = [event for event in network if event[1] == "cut"][:MOST_OF_A_KIND]
        first_ones += [event for event in network if event[1] == "joined"][:MOST_OF_A_KIND]
        names = {b"": ""}
        events = []
        for event in sorted([*page.events, *first_ones], key=lambda event: event[0]):
            block = event[6]
            if block not in names:
                named = len(names) <= MOST_BLOCKS and is_cid(block)
                names[block] = cid_text(block) if named else ""
            events.append(Event._make((*event[:6], names[block], event[7])))
        began = min(page.began, events[0].at_us) if events else page.began
        first = max(0, last + 1 - MOST_ATTEMPTS)
        decided = page.block if outcome == "decided" else None
        off = frozenset[int]().union(*(self._kept_off(place) for place, _ in cuts))
        return HeightTimeline(
            page.height,
            outcome,
            began,
            max(ended, began),
            "" if decided is None else cid_text(decided.cid),
            tuple(events),
            {kind: n - MOST_OF_A_KIND for kind, n in sorted(counts.items()) if n > MOST_OF_A_KIND},
            tuple(attempts_of(page, range(first, last + 1), weights, outcome)),
            first,
            Named.of(page.down),
            Named.of(off),
            figures,
        )

    def _turns(self, begins: int, ends: int) -> list[tuple[Any, ...]]:
        """The fields of the events at which a cut begins or ceases from ``begins`` to before
        ``ends``."""
        turns = [(_us(cut.from_), "cut", cut.NAME) for cut in self._cuts]
        turns += [(_us(cut.until), "joined", cut.NAME) for cut in self._cuts]
        return [
            (at, kind, None, None, None, name, b"", None)
            for at, kind, name in sorted(turns)
            if begins <= at < ends
        ]

    def _kept_off(self, place: int) -> frozenset[int]:
        """The servers that a cut keeps, one way or both, from more than half of the others."""
        found = self._cut_off.get(place)
        if found is None:
            apart = self._cuts[place].pairs(self._servers)
            lost = np.count_nonzero(apart | apart.T, axis=1)
            servers = np.flatnonzero(2 * lost > self._servers - 1).tolist()
            found = self._cut_off[place] = frozenset(servers)
        return found


def _by_attempt(weights: Collection[tuple[int, int]], last: int) -> Weights:
    """Weights of committees by attempt: those given are of the last attempts, up to ``last``."""
    return dict(enumerate(weights, last + 1 - len(weights)))


def _us(seconds: float) -> int:
    return 2**62 if seconds == inf else round(seconds * 1e6)
