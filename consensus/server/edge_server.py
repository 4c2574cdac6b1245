"""One edge server: what it holds, checks, sends and keeps, whichever protocol it follows.

Messages come in through `EdgeServer.receive`; the handlers (``on_update``, ``on_block``, ... here,
``on_candidate``, ``on_vote``, ... in `consensus.protocols.bft.server` and
`consensus.protocols.paper.server`) look at the server's state, change it, and say through the
`Host` what to send and when to be woken. They know no clock, no latency and no other server's
state; a handler that refuses its input changes nothing but a counter. Each returns whether the
message is worth passing on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Any, ClassVar, Literal

from consensus.application import Contents
from consensus.crypto.suites import Prover, Signer
from consensus.ledger.chain import Chain
from consensus.ledger.evidence import Evidence
from consensus.ledger.updates import SignedUpdate, UpdatePool, updates_root
from consensus.ledger.validity import InvalidBlock
from consensus.records.block import Block, Candidate, Header
from consensus.records.sync import Status, Want
from consensus.records.votes import Vote
from consensus.server.checks import SharedChecks
from consensus.server.distinct import draw_distinct
from consensus.server.hooks import Hooks, Outgoing
from consensus.server.host import Host, Timer
from consensus.server.message import BODIES, Kind

#: So many messages of the height to come are kept from any one server.
EARLY_MESSAGES = 256
#: So many blocks are sent at a time to a server that is behind.
BLOCKS_AT_ONCE = 32
#: So often any one server is asked for the blocks after the last one here, until things are said
#: again.
QUESTIONS = 3
#: So many others are asked at a time by a server that makes no progress.
ASKED_AT_ONCE = 2


class EdgeServer(ABC):
    """One server's chain, pool and keys, and what every protocol does with them."""

    HEIGHT_OF: ClassVar[dict[str, Callable[[Any], int]]] = {
        "update": attrgetter("record.height"),
        "candidate": attrgetter("header.height"),
        "block": attrgetter("header.height"),
        **dict.fromkeys(("ticket", "vote", "timeout", "closure", "lock"), attrgetter("height")),
    }
    """By kind: the height during which a message is of use."""

    def __init__(
        self,
        index: int,
        signer: Signer,
        prover: Prover,
        chain: Chain,
        checks: SharedChecks,
        host: Host,
        behaviour: Hooks[Any] | None = None,
    ) -> None:
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
        self.pool = UpdatePool(checks.update)
        self.height = chain.height
        """The height in progress, or the last one."""
        self.active = False
        """Whether a height is in progress."""
        self.passive = False
        """Whether it only catches up: the others have decided this height long ago."""
        self.lacking: set[bytes] = set()
        """Links of models of the chain that this server has not got yet."""
        self._models: set[bytes] = set()
        self._early: list[tuple[str, Any, int]] = []
        self._early_from: Counter[int] = Counter()
        self._asked: Counter[tuple[int, int]] = Counter()
        """By server: how often it was asked since the last resend time."""
        self._progress: object = None
        self._handlers: dict[str, Callable[[Any], bool]] = {
            "update": self.on_update,
            "ticket": self.on_ticket,
            "candidate": self.on_candidate,
            "vote": self.on_vote,
            "block": self.on_block,
        }

    # -- a height begins and ends -----------------------------------------------------------------

    def enter_height(self, passive: bool = False) -> None:
        """Begin the height after the chain's head (Algorithm 2, lines 1-3)."""
        self.height = self.chain.height + 1
        self.active, self.passive = True, passive
        self.late = False
        """Whether the deadline for updates has passed: what is at hand is then sufficient."""
        self._models = set()
        self.pool.clear()
        self._progress = None
        self.set_timer("updates", self.parameters.update_us)
        self.set_timer("resend", self.parameters.resend_us)
        self._fetch_lacking()
        self.begin()
        early, self._early = self._early, []
        self._early_from.clear()
        for kind, body, sender in early:
            self.receive(kind, body, sender)

    def restart(self, lost_tail: int, known_height: int) -> None:
        """Come back after a crash: what was in memory is gone, and of the blocks that were not
        certain to be on the disk the last ``lost_tail``; promises are not. ``known_height``: that
        of the last block which is settled for all."""
        self.chain.cut(max(self.written_height(), self.chain.height - lost_tail))
        self.active = False
        self.forget_early()
        self.evidence.clear()
        self.enter_height(passive=self.chain.height < known_height)

    def resume(self, height: int, written: int, lacking: Collection[bytes]) -> None:
        """Stand where this server of an earlier process stood between two heights: with blocks up
        to ``height``, of which a crash takes none up to ``written``, without the models at
        ``lacking``. (Unless told, it has everything.)"""
        self.chain.cut(height)
        self.lacking.update(lacking)

    def forget_early(self) -> None:
        """Drop messages that came before their height."""
        self._early.clear()
        self._early_from.clear()
        self._asked.clear()

    def written_height(self) -> int:
        """The height up to which blocks are on the disk for certain, whatever a crash takes."""
        return 0

    @abstractmethod
    def begin(self) -> None:
        """Begin the protocol of the height."""

    @abstractmethod
    def on_timer(self, timer: Timer) -> None:
        """A deadline has passed; a timer set for what is already over does nothing."""

    @abstractmethod
    def on_ticket(self, ticket: Any) -> bool:
        """Check another server's draw and keep it."""

    @abstractmethod
    def on_candidate(self, candidate: Candidate) -> bool:
        """Check a proposed block and vote on it in its turn."""

    @abstractmethod
    def on_vote(self, vote: Vote) -> bool:
        """Check and count a member's vote."""

    @abstractmethod
    def updates_changed(self) -> None:
        """The pool has grown, or the deadline for updates has passed."""

    @abstractmethod
    def help(self, status: Status, sender: int) -> None:
        """Send what a server at the same height may lack."""

    @abstractmethod
    def say_again(self) -> None:
        """Repeat what this server said, as it makes no progress."""

    @abstractmethod
    def stage(self) -> tuple[int, int]:
        """The attempt and step it is in, for people and for others' help."""

    def predicament(self) -> str:
        """What, in one clause, keeps the height from ever ending, if the protocol has no way out of
        it; else nothing."""
        return ""

    # -- messages ---------------------------------------------------------------------------------

    def receive(self, kind: str, body: Any, sender: int) -> bool:
        """Hand over a message that ``sender`` began; whether it is worth passing on."""
        if type(body) is not BODIES.get(kind):
            known = kind in BODIES
            return self.refuse(f"malformed {kind}" if known else "unknown kind of message")
        if self.behaviour is not None and not self.behaviour.hears(self, kind, body, sender):
            return False
        handler = self._handlers.get(kind)
        if handler is not None:
            height = self.HEIGHT_OF[kind](body)
            if height == self.height and self.active:
                return handler(body)
            return self._out_of_step(kind, body, sender, height)
        if kind == "status":
            return self.on_status(body, sender)
        if kind == "want":
            return self.on_want(body, sender)
        return self.refuse("unknown kind of message")

    def _out_of_step(self, kind: str, body: Any, sender: int, height: int) -> bool:
        """A message of another height: of the next one it is kept, of a later one it says that
        this server is behind."""
        if height <= self.chain.height:
            # Others downstream may still need the block that this server already has.
            return kind == "block" and body.cid == self.chain.head.cid and self.block_seen()
        if height > (self.height if self.active else self.chain.height) + 1:
            self._ask(sender)
            return False
        if self._early_from[sender] >= EARLY_MESSAGES:
            return self.refuse("too early")
        self._early_from[sender] += 1
        self._early.append((kind, body, sender))
        if self.active and self._early_from[sender] == 1:
            self._ask(sender)  # it has a block that is not here
        return True

    def _ask(self, sender: int) -> None:
        """Ask a server that is further for what is lacking here, unless its answers lead nowhere:
        whoever boasts gets no more than a few questions out of this server."""
        key = (sender, self.chain.height)
        if self._asked[key] < QUESTIONS:
            self._asked[key] += 1
            self.say("status", self._status(), [sender])

    def block_seen(self) -> bool:
        """A block that this server already has goes round; returns True."""
        return True

    def say(self, kind: Kind, body: Any, to: Collection[int] | None = None) -> None:
        """Send to some, or to all; a malicious server may send something else, or later."""
        if self.behaviour is None:
            if to is None:
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

    def set_timer(self, what: str, microseconds: int) -> None:
        self.host.timer(microseconds, (what, self.height, *self.stage()))

    # -- updates ----------------------------------------------------------------------------------

    def on_update(self, update: SignedUpdate) -> bool:
        """Check and pool a client's update (lines 2-3)."""
        self.host.charge("check_update", len(update.payload))
        if not self.pool.add(update, self.chain.head):
            return False
        self.updates_changed()
        return True

    def sufficient(self, count: int) -> bool:
        """Line 4: the quota, or whatever is there once the deadline has passed."""
        return count >= self.parameters.quota or (self.late and count > 0)

    # -- contents ---------------------------------------------------------------------------------

    def aggregate(self, updates: Sequence[SignedUpdate]) -> Contents:
        """Line 5: what these updates come to."""
        self.host.charge("aggregate", sum(len(update.payload) for update in updates))
        return self.checks.aggregate(self.chain.head, updates)

    def propose_header(
        self, updates: Sequence[SignedUpdate], attempt: int, step: int, tickets: bytes
    ) -> Header:
        """Aggregate, publish, and describe the block (lines 4-6)."""
        contents = self.aggregate(updates)
        if self.behaviour is not None:
            contents = self.behaviour.contents(
                contents, self.host.generator(self.height, attempt, step, 0)
            )
        return self.header_for(updates, contents, attempt, step, tickets)

    def header_for(
        self,
        updates: Sequence[SignedUpdate],
        contents: Contents,
        attempt: int,
        step: int,
        tickets: bytes,
    ) -> Header:
        """The header of a block of these updates with these contents, which are published."""
        head = self.chain.head
        snapshot = contents.snapshot
        model = self._publish(contents)
        return Header(
            chain_id=self.genesis.chain_id,
            height=self.height,
            attempt=attempt,
            step=step,
            timestamp=max(self.host.now_us(), head.timestamp + 1),
            parent=head.cid,
            aggregator=self.index,
            tickets=tickets,
            updates=updates_root([update.record.digest for update in updates]),
            count=len(updates),
            samples=sum(update.record.samples for update in updates),
            model=model,
            snapshot=None if snapshot is None else self.checks.address(snapshot),
        )

    def _publish(self, contents: Contents) -> bytes:
        self.host.publish(contents)
        self.host.charge("store_put", len(contents.model))
        model = self.checks.address(contents.model)
        self._models.add(model)
        return model

    def is_correct(self, candidate: Candidate, updates: Sequence[SignedUpdate]) -> bool:
        """Whether an honest member approves of a candidate that it sees for the first time."""
        return self.is_timely(candidate.header) and self.recomputes(candidate, updates)

    def is_timely(self, header: Header) -> bool:
        """Whether a block's time is not far ahead of this server's clock: another server, or a
        later one, may come to another opinion. (The least time that there may be after the block
        before is right in any case: many clocks may have been ahead when that was made.)"""
        latest = self.host.now_us() + self.parameters.vote_us
        return header.timestamp <= max(latest, self.chain.head.timestamp + 1)

    def recomputes(self, candidate: Candidate, updates: Sequence[SignedUpdate]) -> bool:
        """Whether a candidate's contents are right, at whatever time and whoever asks: its updates
        in their order, and, recomputed from them, the very bytes that the addresses name. Those
        bytes this server then has, and provides: what it approves can be fetched."""
        header, digests = candidate.header, candidate.updates
        if (
            header.count != len(digests)
            or any(a >= b for a, b in pairwise(digests))
            or len({update.record.client for update in updates}) != len(updates)
            or header.updates != self.checks.updates_root(candidate)
            or header.samples != sum(update.record.samples for update in updates)
        ):
            return False
        contents = self.aggregate(updates)
        self.host.charge("hash", len(contents.model))
        self._models.add(self.checks.address(contents.model))
        self.host.publish(contents)
        return header.model == self.checks.address(contents.model) and header.snapshot == (
            None if contents.snapshot is None else self.checks.address(contents.snapshot)
        )

    def on_want(self, want: Want, sender: int) -> bool:
        """Send a server the updates that it asks for."""
        if self.active and want.height == self.height:
            for digest in want.updates[: 2 * self.parameters.quota]:
                self._send_update(digest, sender)
        return False

    def _send_update(self, digest: bytes, to: int) -> None:
        found = self.pool.pick([digest])
        if found:
            self.say("update", found[0], [to])

    # -- blocks -----------------------------------------------------------------------------------

    def decide(self, block: Block) -> None:
        """Append the validated block and have its model at hand; the height is over here. Raises
        `InvalidBlock` and then changes nothing."""
        self.chain.append(block, self.checks.block)
        self.active = False
        model = block.header.model
        if model not in self._models and self.host.fetch(model) is None:
            self.lacking.add(model)
        self.host.appended(block)

    def on_block(self, block: Block) -> bool:
        """Verify a validated block's signatures and add it to the chain (paper, III.D)."""
        self.host.charge("verify", times=len(block.certificate.signatures) + 1)
        self.host.may_relay()
        self.host.charge("vrf_verify", times=self.draws_to_check(block))
        try:
            self.decide(block)
        except InvalidBlock:
            return self.refuse("block")
        return True

    def draws_to_check(self, block: Block) -> int:
        """How many of the draws that a block carries this server has not checked before."""
        return len(block.tickets)

    # -- staying in step --------------------------------------------------------------------------

    def _status(self) -> Status:
        if not self.active or self.passive:
            return Status(self.chain.height, *self.stage())
        return Status(self.chain.height, *self.stage(), self.pool.digests(), self.tickets_held())

    @abstractmethod
    def tickets_held(self) -> tuple[int, ...]:
        """The servers whose tickets are here."""

    def on_status(self, status: Status, sender: int) -> bool:
        """Answer a server that makes no progress: with blocks if it is behind; with a question if
        this one is; with what it may lack if they are at the same height."""
        mine = self.chain.height
        if status.height > mine:
            self._ask(sender)
        elif status.height < mine:
            for block in self.chain.blocks[status.height : status.height + BLOCKS_AT_ONCE]:
                self.say("block", block, [sender])
            self.say("status", self._status(), [sender])
        elif self.active and not self.passive:
            self.help(status, sender)
            for digest in self.pool.digests():
                if digest not in status.updates:
                    self._send_update(digest, sender)
        return False

    def progress(self) -> object:
        """What changes for as long as the height gets on."""
        return self.height, self.stage(), len(self.pool)

    def _fetch_lacking(self) -> None:
        """Try again to get the models of blocks which could not be had with them."""
        for link in sorted(self.lacking):
            if self.host.fetch(link) is not None:
                self.lacking.discard(link)

    def on_resend(self) -> None:
        """A while has passed: if nothing has changed, say again what was said, and ask others."""
        self._fetch_lacking()
        progress = self.progress()
        if progress == self._progress or self.passive:
            if not self.passive:
                self.say_again()
            others = len(self.genesis.servers) - 1
            if others:
                generator = self.host.generator(self.height, self.host.now_us(), 9)
                chosen = draw_distinct(generator, others, min(ASKED_AT_ONCE, others))
                self.say(
                    "status", self._status(), [other + (other >= self.index) for other in chosen]
                )
        self._progress = progress
        self._asked.clear()
        self.set_timer("resend", self.parameters.resend_us)
