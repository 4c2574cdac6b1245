"""The account of what one server has taken in, and along whose trees it has passed it on.

A gossiped message travels along the tree of shortest paths from its origin, and a server that has
no use for it would stop it there. But it may know what the message says from elsewhere: from a
message to it alone, which nobody passes on; by the gossip of another origin, whose tree leads
elsewhere, and of which a malicious server may have shown it to a part only; or wrapped into a
message of another kind. Those behind it must not miss it for that. So a server passes on once for
every origin whatever it has, to those children in the origin's tree that did not get it from this
server before (`consensus.network.network.Network.pass_on`): over each link at most once each way.

What came is not checked again, and may be a forgery under a known name. What is passed on in its
place is the server's own copy, which was checked when it was taken in: nothing is checked twice,
and forgeries get no further than before.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Final

from consensus.records.votes import Timeout, TimeoutCertificate
from consensus.server.message import Kind


def _lock_of(body: Timeout | TimeoutCertificate) -> Hashable:
    return None if body.lock is None else body.lock.name


NAMES: Final[Mapping[str, Callable[[Any], Hashable]]] = {
    "update": lambda update: update.record.digest,
    "ticket": lambda ticket: (ticket.height, ticket.server),
    "candidate": lambda candidate: (candidate.view, candidate.header.cid),
    "timeout": lambda timeout: (timeout.view, timeout.everyone, timeout.server, _lock_of(timeout)),
    "closure": lambda closure: (closure.view, closure.everyone, _lock_of(closure)),
    "lock": lambda lock: lock.name,
    "block": lambda block: block.cid,
}
"""By kind: the name of what a message of one height says, the same for all valid messages that say
it. Other kinds are not gossiped."""

Again = tuple[Kind, Any, tuple[int, ...]]
"""A message that is passed on in place of another: kind, body, and the origins along whose trees
this server has passed it on before."""


class Relaying:
    """The account of what one server has of a height, and along which trees it has passed it on.

    It holds only what the server's handlers have checked and found worth passing on, so no more
    than they keep, and for each no more origins than there are servers.
    """

    def __init__(self, index: int) -> None:
        """``index``: of the server."""
        self._index = index
        self._new: dict[str, list[tuple[Any, int | None]]] = {kind: [] for kind in NAMES}
        """By kind: the messages taken in since `again` was asked for one of that kind; most heights
        never ask for an update."""
        self.took: Final = {kind: new.append for kind, new in self._new.items()}
        """By kind: note a checked message that is new here, as a pair of its body and the origin
        along whose tree it is being passed on, or None."""
        self._held: dict[str, dict[Hashable, tuple[Any, list[int]]]] = {kind: {} for kind in NAMES}
        """By kind, and by name: the body, and the origins for which it was passed on."""

    def begin(self, oldest: int) -> None:
        """Begin a height: of those before only the blocks from height ``oldest`` are remembered."""
        self._sort("block")
        for new in self._new.values():
            if new:
                new.clear()
        for kind, held in self._held.items():
            if kind != "block" and held:
                held.clear()
        blocks = self._held["block"]
        for cid in [cid for cid, (block, _) in blocks.items() if block.height < oldest]:
            del blocks[cid]

    def take_in(self, kind: Kind, new: Iterable[tuple[Any, int | None]]) -> None:
        """Note many checked messages that are new here (`took`)."""
        self._new[kind].extend(new)

    def _sort(self, kind: str) -> None:
        new = self._new[kind]
        if new:
            name, held = NAMES[kind], self._held[kind]
            for body, origin in new:
                held[name(body)] = body, [] if origin is None else [origin]
            new.clear()

    def again(
        self, kind: Kind, body: Any, origin: int, known: tuple[Kind, Any] | None
    ) -> Again | None:
        """The copy to pass on where ``origin`` gossips a message that is no news here: what was
        noted under its name, or what is ``known`` otherwise, which makes it needless. None if there
        is neither, or it was passed on for this origin before."""
        name = NAMES.get(kind)
        if name is None:
            return None
        self._sort(kind)
        held = self._held[kind].get(name(body))
        if held is None:
            if known is None:
                return None
            kind, body = known
            self._sort(kind)
            held = self._held[kind].setdefault(NAMES[kind](body), (body, []))
        body, origins = held
        if origin in origins or self._index in origins:
            return None  # what it has gossiped itself went to all that it is linked to
        before = tuple(origins)
        origins.append(origin)
        return kind, body, before
