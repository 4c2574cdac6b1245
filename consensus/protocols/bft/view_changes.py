"""The timeouts, closures and locks by which one server under `bft` changes views.

The vote itself is in `consensus.protocols.bft.vote` and `consensus.protocols.bft.server`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Literal, Protocol

from consensus.crypto.suites import Signer
from consensus.ledger.chain import Chain
from consensus.ledger.validity import InvalidBlock
from consensus.protocols.bft import vote as bft
from consensus.protocols.bft.state import HeightContext, State
from consensus.protocols.bft.unheard import name_of_timeout
from consensus.records.evidence import LEFT, Evidence
from consensus.records.genesis import Genesis
from consensus.records.view import View
from consensus.records.votes import Certificate, LockName, Timeout, TimeoutCertificate
from consensus.server.checks import SharedChecks
from consensus.server.host import Host
from consensus.server.message import Kind
from consensus.server.unheard import Inbox


class Leaver(Protocol):
    """The part of a server that changing views uses."""

    index: int
    height: int
    chain: Chain
    genesis: Genesis
    checks: SharedChecks
    host: Host
    inbox: Inbox
    signer: Signer

    def say(self, kind: Kind, body: object, to: Collection[int] | None = None) -> None:
        """Send to some, or to all."""
        ...

    def refuse(self, reason: str) -> Literal[False]:
        """Count a message that is turned away."""
        ...

    def accuse(self, found: Evidence) -> None:
        """Keep evidence against a server."""
        ...


class Viewing(Protocol):
    """The part of the vote (`consensus.protocols.bft.server.BftParticipant`) that changing views
    uses."""

    context: HeightContext
    state: State

    def apply(self, step: bft.Step) -> bool:
        """Take over a state of the vote and do what follows from it."""
        ...

    def tell(self, kind: Kind, body: object, to: Collection[int] | None = None) -> None:
        """Send something of this view, and remember to say it again if need be."""
        ...


class ViewChanges:
    """The timeouts, closures and locks of one height at one server."""

    def __init__(self, server: Leaver, vote: Viewing) -> None:
        self._server = server
        self._vote = vote
        self.last_height = -1
        """The last height at which somebody left a view, so far as is known here."""
        self.begin()

    def begin(self) -> None:
        """Begin a height: nobody has left a view yet."""
        self._told: set[View] = set()
        """Views of which it has passed on how they could be entered."""
        self._first: dict[tuple[View, bool, int], tuple[LockName | None, bytes]] = {}
        """By view, True for all of its attempt, and server: the lock that its first timeout named,
        and the signature."""

    def handlers(self) -> dict[str, Callable[[Any], bool]]:
        """The handlers of messages, by kind."""
        return {"timeout": self.on_timeout, "closure": self.on_closure, "lock": self.on_lock}

    # -- leaving ----------------------------------------------------------------------------------

    def leave(self, view: View, everyone: bool) -> None:
        """Sign and send a timeout of a view, or of its attempt."""
        server, vote = self._server, self._vote
        lock = vote.state.promises.named_lock(view, everyone)
        signed = Timeout.signing_digest(
            server.genesis.chain_id,
            server.height,
            view,
            everyone,
            None if lock is None else lock.name,
        )
        server.host.charge("sign")
        signature = server.signer.sign(signed)
        timeout = Timeout(
            server.genesis.chain_id, server.height, *view, everyone, server.index, signature, lock
        )
        server.inbox.note(name_of_timeout(timeout))  # it may come back
        vote.tell("timeout", timeout)
        vote.apply(bft.on_timeout(vote.context, vote.state, timeout))

    def on_timeout(self, timeout: Timeout) -> bool:
        """Check and count a timeout of a view, or of an attempt."""
        server, vote = self._server, self._vote
        if (
            timeout.server >= len(server.genesis.servers)
            or timeout.chain_id != server.genesis.chain_id
        ):
            return server.refuse("timeout by a stranger")
        if timeout.attempt > vote.state.view[0] + bft.ATTEMPTS_AHEAD:
            return server.refuse("timeout of another attempt")
        if vote.context.leader(timeout.view) is None or (timeout.everyone and timeout.step):
            return server.refuse("timeout beyond MaxStep")
        if not timeout.everyone and not vote.context.weight(timeout.attempt, timeout.server):
            return server.refuse("timeout without a seat")
        server.host.charge("verify", times=timeout.signature_count)
        if not server.checks.timeout(server.chain.head, timeout):
            return server.refuse("timeout signature")
        server.inbox.note(name_of_timeout(timeout))
        self.note_all([timeout])
        return vote.apply(bft.on_timeout(vote.context, vote.state, timeout))

    def note_all(self, timeouts: Iterable[Timeout]) -> None:
        """Remember checked timeouts."""
        self.last_height = self._server.height
        for timeout in timeouts:
            name = None if timeout.lock is None else timeout.lock.name
            self._note(timeout.view, timeout.everyone, [(timeout.server, name, timeout.signature)])

    def _note(
        self, view: View, everyone: bool, entries: Iterable[tuple[int, LockName | None, bytes]]
    ) -> None:
        """Remember who left a view with which lock; a second lock is evidence."""
        for who, name, signature in entries:
            first = self._first.setdefault((view, everyone, who), (name, signature))
            if first[0] != name:
                said, signatures = (first[0], name), (first[1], signature)
                height = self._server.height
                self._server.accuse(Evidence(who, height, view, LEFT[everyone], said, signatures))

    # -- what closes a view -----------------------------------------------------------------------

    def tell(self, certificate: TimeoutCertificate) -> None:
        """Pass on how a view could be entered, once for each view."""
        view = self._vote.context.next_view(certificate)
        if view not in self._told:
            self._told.add(view)
            self._server.say("closure", certificate)

    def on_closure(self, certificate: TimeoutCertificate) -> bool:
        """Check what closes a view. That may be over; a lock that it carries is news, and one that
        it lacks is shown."""
        server, vote = self._server, self._vote
        if not certificate.entries:  # else anybody could have committees of all attempts formed
            return server.refuse("timeout certificate")
        # Of one that is far ahead, no committee is formed before it is known to be right.
        if not vote.state.is_far_ahead(certificate.attempt):
            view = vote.context.next_view(certificate)
            news = certificate.lock is not None and not self._knows(certificate.lock)
            lacks = bft.lacking(vote.context, vote.state, certificate) is not None
            if view <= vote.state.view and not news and not lacks:
                return False
        server.host.charge("verify", times=certificate.signature_count)
        try:
            server.checks.closed(server.chain.head, certificate)
        except InvalidBlock:
            return server.refuse("timeout certificate")
        self.note(certificate)
        return vote.apply(bft.on_closed(vote.context, vote.state, certificate))

    def note(self, certificate: TimeoutCertificate) -> None:
        """Remember the timeouts that a checked certificate consists of."""
        self._note(certificate.view, certificate.everyone, certificate.entries)

    # -- locks ------------------------------------------------------------------------------------

    def on_lock(self, lock: Certificate) -> bool:
        """Check a lock that somebody shows."""
        server, vote = self._server, self._vote
        if self._knows(lock):
            return False
        server.host.charge("verify", times=len(lock.signatures))
        try:
            server.checks.lock(server.chain.head, lock)
        except InvalidBlock:
            return server.refuse("lock")
        return vote.apply(bft.on_lock(vote.context, vote.state, lock))

    def _knows(self, lock: Certificate) -> bool:
        return any(known.name == lock.name for known in self._vote.state.promises.locks)

    # -- for those behind this server -------------------------------------------------------------

    def known(self, kind: str, body: Any) -> tuple[Kind, Any] | None:
        """The checked message that makes another needless here, which has not been checked: the
        lock or candidate itself, or what closed a later view."""
        state = self._vote.state
        if kind == "lock":
            locks = (lock for lock in state.promises.locks if lock.name == body.name)
            lock = next(locks, None)
            return None if lock is None else ("lock", lock)
        if kind == "candidate":
            same = state.candidates.get(body.view)
            if same is not None and same.header.cid == body.header.cid:
                return "candidate", same
        everyone = kind != "candidate" and body.everyone
        over = body.view[0] < state.view[0] if everyone else body.view < state.view
        return ("closure", state.justification) if over and state.justification else None
