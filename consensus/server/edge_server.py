"""One edge server: what it holds, checks, sends and keeps, whichever protocol it follows.

Messages come in through `EdgeServer.receive`. Its handlers (``on_update``, ``on_block``) and those
of its parts look at the server's state, change it, and say through the `Host` what to send and
when to be woken: the protocol is its `Participant` (`consensus.protocols.bft.server`,
`consensus.protocols.paper.server`), `BlockContents` makes and recomputes what blocks contain, and
`CatchUp` keeps it in step with others. They know no clock, no latency and no other server's state;
a handler that refuses its input changes nothing but a counter. Each returns True if the message
is worth passing on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final, Literal

from consensus.crypto.suites import Prover, Signer
from consensus.ledger.chain import Chain
from consensus.ledger.updates import SignedUpdate, UpdatePool
from consensus.ledger.validity import InvalidBlock
from consensus.records.block import Block
from consensus.records.evidence import Evidence
from consensus.records.view import View
from consensus.server.block_contents import BlockContents
from consensus.server.catching_up import EARLY_HEIGHTS, CatchUp
from consensus.server.checks import SharedChecks
from consensus.server.fetching import Fetching
from consensus.server.gathering import Gathering
from consensus.server.hooks import Hooks, Outgoing
from consensus.server.host import Host, Timer
from consensus.server.message import BODIES, SIGNED_BY_MANY, Kind, is_overlong
from consensus.server.participant import Participant
from consensus.server.relaying import NAMES, Again, Relaying
from consensus.server.unheard import UPDATES, Credit, Fit, Inbox, NoInbox, Taken

HEIGHT_OF: Final[dict[str, Callable[[Any], int]]] = {
    "update": attrgetter("record.height"),
    "candidate": attrgetter("header.height"),
    "block": attrgetter("header.height"),
    **dict.fromkeys(("ticket", "vote", "timeout", "closure", "lock"), attrgetter("height")),
}
"""By kind: the height that a message names."""


class EdgeServer:
    """One server's chain, pool and keys, what every protocol does with them, and its parts."""

    def __init__(
        self,
        index: int,
        signer: Signer,
        prover: Prover,
        chain: Chain,
        checks: SharedChecks,
        host: Host,
        participant: Callable[[EdgeServer], Participant],
        behaviour: Hooks[Any] | None = None,
    ) -> None:
        """Make its parts; ``participant`` makes the one in its protocol."""
        self.index = index
        self.chain = chain
        self.genesis = chain.genesis
        self.parameters = chain.genesis.parameters
        self.checks = checks
        self.host = host
        self.signer = signer
        self.prover = prover
        self.behaviour = behaviour
        """None for an honest server."""
        self.refused: Counter[str] = Counter()
        """Messages turned away, by reason."""
        self.evidence: dict[tuple[str, int, int], Evidence] = {}
        """Proof that a server said two things at once, by kind, height and server."""
        self.pool = UpdatePool(checks.update, checks.slot)
        self.inbox: Inbox = NoInbox()
        """The updates that it takes in without hearing of them."""
        self.height = chain.height
        """The height in progress, or the last one."""
        self.active = False
        """True if a height is in progress."""
        self.catching_up = False
        """True if it follows the height without voting: the others have decided it long ago."""
        self.late = False
        """True if the deadline for updates has passed: what is at hand is then sufficient."""
        self.gathering = Gathering(self)
        self.contents = BlockContents(self)
        self.catch_up = CatchUp(self)
        self.fetching = Fetching(self)
        self.relaying = Relaying(index)
        self._ignored: Any = None
        """The body of the last message that a malicious server would not hear."""
        self.participant = participant(self)
        self.height_of = {**HEIGHT_OF, **self.participant.HEIGHT_OF}
        """By kind: the height during which a message is of use."""
        handlers: dict[str, Callable[[Any], bool]] = {
            "update": self.on_update,
            "block": self.on_block,
            **self.participant.handlers(),
        }
        took = self.relaying.took
        self._handlers = {kind: (handler, took.get(kind)) for kind, handler in handlers.items()}
        """By kind: what handles a message of the height in progress, and notes that it was new."""

    # -- a height begins and ends -----------------------------------------------------------------

    def enter_height(self, catching_up: bool = False) -> None:
        """Begin the height after the chain's head (Algorithm 2, lines 1-3)."""
        self.height = self.chain.height + 1
        self.active, self.catching_up = True, catching_up
        self.late = False
        self.contents.begin()
        self.pool.clear()
        self.catch_up.begin()
        self.relaying.begin(self.height - EARLY_HEIGHTS)
        self.set_timer("updates", self.parameters.update_us)
        self.set_timer("resend", self.parameters.resend_us)
        self.participant.begin()
        self.catch_up.hear_early()

    def restart(self, lost_tail: int, known_height: int) -> None:
        """Come back after a crash: what was in memory is gone, and of the blocks that were not
        certain to be on the disk the last ``lost_tail``; promises are not, nor which blocks those
        were. ``known_height``: that of the last block which is settled for all."""
        kept = max(self.written_height(), self.chain.height - lost_tail)
        self.participant.lose_blocks(self.chain.blocks[kept:])
        self.chain.cut(kept)
        self.active = False
        self.forget_early()
        self.evidence.clear()
        self.fetching.again()
        behind = self.chain.height < known_height
        self.enter_height(catching_up=self.participant.abstains(self.chain.height + 1) or behind)

    def resume(self, height: int, written: int, lacking: dict[bytes, int]) -> None:
        """Stand where this server of an earlier process stood between two heights: with blocks up
        to ``height``, of which a crash takes none up to ``written``, without the aggregates at the
        links ``lacking`` of blocks of these heights. (Unless told, it has everything.)"""
        self.chain.cut(height)
        self.fetching.resume(lacking)
        self.participant.resume(written)

    def forget_early(self) -> None:
        """Drop messages that came before their height."""
        self.catch_up.forget_early()

    def written_height(self) -> int:
        """The height up to which blocks are on the disk for certain, whatever a crash takes."""
        return self.participant.written_height()

    def stage(self) -> View:
        """The attempt and step it is in, for people and for others' help."""
        return self.participant.stage()

    def predicament(self) -> str:
        """One clause on what keeps the height from ever ending, if the protocol has no way out of
        it; else nothing."""
        return self.participant.predicament()

    # -- what it need not hear of -----------------------------------------------------------------

    def hear_through(self, inbox: Inbox) -> None:
        """Take in through ``inbox`` what it need not hear of."""
        self.inbox = inbox
        self.pool.fill_from(inbox, partial(self.relaying.take_in, "update"))

    def fit(self, kind: str, body: Any) -> Fit | None:
        """Say how servers at this one's height may take in a message unheard; None: not at all."""
        if type(body) is not BODIES.get(kind):
            return None
        if kind != "update":
            return self.participant.fit(kind, body) if self.active else None
        if not self.checks.found_fit(body):
            return None
        record = body.record
        size = len(body.payload)
        name = self.checks.slot(body)
        return Fit(UPDATES, record.parent, name, 1, "check_update", size)

    def credits(self) -> Sequence[Credit]:
        """List what it need not hear of, by lane, until it does something; nothing in a lane that
        is left out. Most malicious servers hear everything: others of their circle may act in their
        name, and change what they wait for."""
        if self.behaviour is not None and self.behaviour.hears_all:
            return ()
        if self.active:
            updates = Credit(UPDATES, self.chain.head.cid, self.participant.unheard_updates())
            return [updates, *self.participant.credits()]
        if self.chain.blocks and not self.gathering.on:
            return self.participant.ignored(self.chain.blocks[-1])
        return ()

    def take_in(self, taken: Iterable[Taken]) -> None:
        """Count what was taken in unheard, in the order of arrival; updates come by the inbox."""
        self.participant.take_in(taken)

    # -- messages ---------------------------------------------------------------------------------

    def receive(self, kind: str, body: Any, sender: int, gossiped: bool = False) -> bool:
        """Handle a message that ``sender`` began, for this server alone or ``gossiped`` to all;
        returns True if it is worth passing on."""
        if type(body) is not BODIES.get(kind):
            known = kind in BODIES
            return self.refuse(f"malformed {kind}" if known else "unknown kind of message")
        if self.behaviour is not None and not self.behaviour.hears(self, kind, body, sender):
            self._ignored = body
            return False
        handling = self._handlers.get(kind)
        if handling is not None:
            height = self.height_of[kind](body)
            if height == self.height and self.active:
                if kind in SIGNED_BY_MANY and is_overlong(body, len(self.genesis.servers)):
                    return self.refuse("more signers than servers")
                handler, took = handling
                news = handler(body)
                if news and took is not None:
                    took((body, sender if gossiped else None))
                return news
            if kind == "vote" and self.gathering.on and height == self.chain.height:
                self.gathering.hear(body)
            return self.catch_up.out_of_step(kind, body, sender, height, gossiped)
        if kind == "status":
            return self.catch_up.on_status(body, sender)
        if kind == "want":
            return self.catch_up.on_want(body, sender)
        if kind == "fetch":
            return self.fetching.on_fetch(body, sender)
        if kind == "model":
            return self.fetching.on_delivery(body, sender)
        return self.refuse("unknown kind of message")

    def passes_on(self, kind: Kind, body: Any, sender: int) -> Again | None:
        """Return a copy to pass on in place of a message that ``sender`` gossips and that is no
        news here: others behind this server may lack what it knows (`Relaying`). None for none."""
        if type(body) is not BODIES.get(kind) or body is self._ignored:
            return None
        if kind == "update":
            self.pool.take_in()  # which notes it in `relaying`
        known = self._known(kind, body)
        return self.relaying.again(kind, body, sender, known)

    def _known(self, kind: str, body: Any) -> tuple[Kind, Any] | None:
        """A checked message that makes one needless here, though it may not have come as such."""
        if kind not in self.height_of:
            return None
        height, last = self.height_of[kind](body), self.chain.height
        if height > last:
            if not self.active or height != self.height:
                return None
            if kind == "update":
                updates = self.pool.pick([body.record.digest])
                return None if updates is None else ("update", updates[0])
            return self.participant.known(kind, body, None)
        if height <= max(0, last - EARLY_HEIGHTS):
            return None
        block = self.chain.blocks[height - 1]
        if kind == "block":
            return ("block", block) if body.cid == block.cid else None
        return self.participant.known(kind, body, block)

    def say(self, kind: Kind, body: Any, to: Collection[int] | None = None) -> None:
        """Send to some, or to all; a malicious server may send something else, or later."""
        if self.behaviour is None:
            if to is None:
                if kind in NAMES:
                    self.relaying.took[kind]((body, self.index))
                self.host.gossip(kind, body)
            elif to:
                self.host.send(to, kind, body)
            return
        for out in self.behaviour.outgoing(self, Outgoing(kind, body, to)):
            if out.to is None:
                self.host.gossip(out.kind, out.body, out.delay)
            elif out.to:
                self.host.send(out.to, out.kind, out.body, out.delay)

    def refuse(self, reason: str) -> Literal[False]:
        """Count a message that is turned away."""
        self.refused[reason] += 1
        return False

    def accuse(self, found: Evidence) -> None:
        """Keep evidence against a server, the first of its kind, height and server."""
        if self.evidence.setdefault(found.key, found) is found:
            self.host.accused(found)

    # -- timers -----------------------------------------------------------------------------------

    def set_timer(self, what: str, microseconds: int, view: View | None = None) -> None:
        """Set a timer of the height in progress and of a view (the one in progress)."""
        at = self.stage() if view is None else view
        self.host.timer(microseconds, (what, self.height, *at))

    def on_timer(self, timer: Timer) -> None:
        """Handle a deadline; a timer set for what is already over does nothing."""
        what, height, attempt, step = timer
        if what == "fetch":
            self.fetching.on_timer(height, attempt)
        elif what == "resend" and not self.active and height == self.height:
            self.catch_up.on_late_resend()
        elif not self.active or height != self.height:
            self.participant.on_late_timer(what, height)
        elif what == "resend":
            self.catch_up.on_resend()
        elif what == "updates":
            self.late = True
            self.participant.updates_changed()
        else:
            self.participant.on_timer(what, (attempt, step))

    # -- updates ----------------------------------------------------------------------------------

    def on_update(self, update: SignedUpdate) -> bool:
        """Check and pool a client's update (lines 2-3)."""
        self.host.charge("check_update", len(update.payload))
        if not self.pool.add(update, self.chain.head):
            return False
        self.participant.updates_changed()
        return True

    def sufficient(self, count: int) -> bool:
        """True for the quota, or whatever is there once the deadline has passed (line 4)."""
        return count >= self.parameters.quota or (self.late and count > 0)

    def updates_missing(self) -> int:
        """The number of updates that are missing for `sufficient`."""
        return max(0, (1 if self.late else self.parameters.quota) - len(self.pool))

    # -- blocks -----------------------------------------------------------------------------------

    def decide(self, block: Block) -> None:
        """Append the validated block, and fetch its aggregate if it is not here; the height is over
        here. Raises `InvalidBlock` and then changes nothing."""
        self.chain.append(block, self.checks.block)
        self.active = False
        if self.gathering.on:
            self.gathering.decided(block, self.participant.votes_heard)
        self.fetching.note(block)
        self.host.appended(block)
        self.fetching.follow(block)

    def on_block(self, block: Block) -> bool:
        """Verify a validated block's signatures and add it to the chain (paper, III.D)."""
        more = 0 if block.settlement is None else block.settlement.signature_count
        self.host.charge("verify", times=len(block.certificate.signatures) + 1 + more)
        self.host.may_relay()
        self.host.charge("vrf_verify", times=self.participant.draws_to_check(block))
        try:
            self.decide(block)
        except InvalidBlock:
            return self.refuse("block")
        self.participant.block_seen(block.cid)
        return True

    @property
    def lacking(self) -> Collection[bytes]:
        """Links of aggregates of the chain that this server has not got yet."""
        return self.fetching.lacking

    def builds_on_less(self) -> bool:
        """True if it must not vote or propose, as it lacks an aggregate on which the contents of
        the height in progress build. (A malicious server does not mind.)"""
        return bool(self.fetching.lacking) and self.behaviour is None
