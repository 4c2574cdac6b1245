"""Catching up: messages that come early or late, and what servers that lag ask of each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator
from itertools import chain
from typing import Any, Literal, Protocol

import numpy as np

from consensus.ledger.chain import Chain
from consensus.ledger.updates import UpdatePool
from consensus.records.genesis import Genesis, Parameters
from consensus.records.sync import Status, Want
from consensus.server.answers import Answers
from consensus.server.block_contents import BlockContents
from consensus.server.host import Host
from consensus.server.message import Kind
from consensus.server.participant import Participant

#: So many updates of the heights to come, and as many other messages, are kept from any one server,
#: so that clients, who may send updates by the thousand to an honest one, crowd out none of its
#: votes and locks, ...
EARLY_MESSAGES = 256
#: ... up to so many heights ahead: a server that others have left behind by a few heights is with
#: them again within a few messages, and is to know by then what they said meanwhile.
EARLY_HEIGHTS = 4
#: So many blocks are sent at a time to a server that is behind.
BLOCKS_AT_ONCE = 32
#: So often any one server is asked at one height, until things are said again.
QUESTIONS = 3
#: So many others are asked at a time by a server that makes no progress.
ASKED_AT_ONCE = 2
#: For so many resend times of a height that it has decided a server lets others ask it again.
LATE_RESENDS = 100


def most_wanted(parameters: Parameters) -> int:
    """The most updates that a server asks for, and sends, at once."""
    return 2 * parameters.quota


Answer = tuple[Kind, Hashable, Any]
"""A message that an asker may lack: (kind, name, body); of one name it is sent one."""


class Follower(Protocol):
    """The part of a server that catching up uses."""

    index: int
    height: int
    active: bool
    catching_up: bool
    chain: Chain
    genesis: Genesis
    parameters: Parameters
    pool: UpdatePool
    host: Host
    contents: BlockContents
    participant: Participant

    def say(self, kind: Kind, body: object, to: Collection[int] | None = None) -> None:
        """Send to some, or to all."""
        ...

    def receive(self, kind: str, body: Any, sender: int, gossiped: bool = False) -> bool:
        """Handle a message that ``sender`` began, for this server alone or ``gossiped``."""
        ...

    def refuse(self, reason: str) -> Literal[False]:
        """Count a message that is turned away."""
        ...

    def set_timer(self, what: str, microseconds: int) -> None:
        """Set a timer of the height in progress."""
        ...


class CatchUp:
    """Questions of one server to others, and its answers to theirs, so that none stays behind."""

    def __init__(self, server: Follower) -> None:
        self._server = server
        self.early: list[tuple[str, Any, int, bool]] = []
        """Messages of the heights to come: kind, body, sender, True if gossiped."""
        self._early_from: Counter[tuple[int, bool]] = Counter()
        """By sender, and True for updates: the number of these messages."""
        self._asked: Counter[tuple[int, int]] = Counter()
        """By server and height: the number of questions to it since the last resend time."""
        self.answers = Answers(server.index, server.genesis.chain_id, len(server.genesis.servers))
        self._progress: object = None
        self._corrected: set[tuple[int, int]] = set()
        """Servers that were shown a block which they had not decided, with its height."""

    def begin(self) -> None:
        """Begin a height: no progress in it is known."""
        self._progress = None
        if self._corrected:
            oldest = self._server.chain.height - EARLY_HEIGHTS
            self._corrected = {each for each in self._corrected if each[1] > oldest}
        self._asked.clear()
        self.answers.begin(anew=not self._server.catching_up)

    # -- what comes early or late -----------------------------------------------------------------

    def hear_early(self) -> None:
        """Take in what came before its height, which has begun."""
        if not self.early:
            return
        early, self.early = self.early, []
        self._early_from.clear()
        # What others said of a proposal first: its leader may have shown them another.
        early.sort(key=lambda each: each[0] == "candidate")
        for kind, body, sender, gossiped in early:
            self._server.receive(kind, body, sender, gossiped)

    def forget_early(self) -> None:
        """Drop messages that came before their height."""
        self.early.clear()
        self._early_from.clear()
        self._asked.clear()

    def forget_corrected(self) -> None:
        """Forget which servers were shown a block that they had not decided."""
        self._corrected.clear()

    def out_of_step(
        self, kind: str, body: Any, sender: int, height: int, gossiped: bool = False
    ) -> bool:
        """Take in a message of another height: of one to come it is kept, and says that this server
        is behind; one of a height that is decided may be answered with the block. Returns True if
        it is worth passing on."""
        server = self._server
        if height <= server.chain.height:
            if kind == "block" and body.cid == server.chain.head.cid:
                # Others behind may need the block: `Relaying` passes on this server's own copy,
                # for this one may have the right header and a certificate of nothing.
                server.participant.block_seen(body.cid)
            else:
                self._correct(kind, body, sender, height)
            return False
        ahead = height - (server.height if server.active else server.chain.height)
        if ahead > 1:
            self._ask(sender)
        if ahead > EARLY_HEIGHTS:
            return False
        lane = sender, kind == "update"
        if self._early_from[lane] >= EARLY_MESSAGES:
            return server.refuse("too early")
        self._early_from[lane] += 1
        self.early.append((kind, body, sender, gossiped))
        first = self._early_from[sender, True] + self._early_from[sender, False] == 1
        if ahead == 1 and server.active and first:
            self._ask(sender)  # it has a block that is not here
        return True

    def _correct(self, kind: str, body: Any, sender: int, height: int) -> None:
        """Show the block of a decided height to a server that may be about to decide another one
        there; once, as an answer to it alone."""
        server = self._server
        recent = height > max(0, server.chain.height - EARLY_HEIGHTS)
        if not recent or (sender, height) in self._corrected:
            return
        block = server.chain.blocks[height - 1]
        if server.participant.goes_on(kind, body, block):
            self._corrected.add((sender, height))
            server.say("block", block, [sender])

    # -- asking -----------------------------------------------------------------------------------

    def _ask(self, sender: int, helping: bool = False) -> bool:
        """Ask a server that is further for what is lacking here, unless its answers lead nowhere:
        whoever boasts gets no more than a few questions out of this server. Returns True if it is
        asked."""
        asked = self._asked[sender, self._server.chain.height]
        if asked >= QUESTIONS:
            return False
        if not self._spend(sender, "status", ("status", asked), self._status(), helping):
            return False
        self.ask([sender])
        return True

    def ask(self, to: Collection[int]) -> None:
        """Tell servers where this one stands: they answer with what it may lack. Each is asked a
        few times, until things are said again."""
        height = self._server.chain.height
        chosen = [other for other in to if self._asked[other, height] < QUESTIONS]
        self._asked.update((other, height) for other in chosen)
        self._server.say("status", self._status(), chosen)

    def and_a_helper(self, to: Collection[int]) -> list[int]:
        """``to``, and a helper of this server (`Answers.helps`) if it has some and none is there:
        the others may send it too little."""
        chosen = list(to)
        if self.answers.resends:
            helpers = self.answers.helpers(self._server.chain.height)
            if helpers and not set(helpers) & set(chosen):
                chosen.append(helpers[self.answers.resends % len(helpers)])
        return chosen

    def _status(self) -> Status:
        server = self._server
        height, stage = server.chain.height, server.participant.stage()
        if not server.active or server.catching_up:
            return Status(height, *stage)
        return Status(height, *stage, server.pool.digests(), server.participant.tickets_held())

    def on_resend(self) -> None:
        """Say again what was said, and ask others, if nothing has changed for a while."""
        server = self._server
        progress = server.height, len(server.pool), server.participant.progress()
        self._asked.clear()
        self.answers.renew()
        if progress == self._progress or server.catching_up:
            if not server.catching_up:
                server.participant.say_again()
            helpers = self.answers.helpers(server.chain.height)
            if helpers:
                generator = server.host.generator(server.height, server.host.now_us(), 9)
                count = min(ASKED_AT_ONCE, len(helpers))
                self.ask([helpers[at] for at in draw_distinct(generator, len(helpers), count)])
        self._progress = progress
        server.set_timer("resend", server.parameters.resend_us)

    def on_late_resend(self) -> None:
        """Let others ask again, and more of them, as a resend time has passed since this server
        decided: it has nothing to say, but one whose first providers are all malicious gets its
        aggregate from nobody else."""
        self.answers.renew()
        if self.answers.resends < LATE_RESENDS:
            self._server.set_timer("resend", self._server.parameters.resend_us)

    # -- answering --------------------------------------------------------------------------------

    def on_status(self, status: Status, sender: int) -> bool:
        """Answer a server that makes no progress: with blocks if it is behind; with a question if
        this one is; with what it may lack if they are at the same height."""
        server = self._server
        mine, theirs = server.chain.height, status.height
        self.answers.note(sender, len(status.encoded))
        if theirs > mine:
            if not self._ask(sender):
                server.refuse("asked too much")
        elif theirs < mine:
            helping = self.answers.helps(sender, theirs, behind=True)
            if self._answer(sender, self._blocks_after(theirs), helping):
                self._ask(sender, helping)
        elif server.active and not server.catching_up:
            helping = self.answers.helps(sender, mine, behind=False)
            said = ((kind, body.encoded, body) for kind, body in server.participant.help(status))
            held = set(status.updates)
            updates = (digest for digest in server.pool.digests() if digest not in held)
            self._answer(sender, chain(said, self._updates(updates)), helping)
        return False

    def on_want(self, want: Want, sender: int) -> bool:
        """Send a server the updates that it asks for: all that this server has listed in a
        candidate, and others as far as they may be sent."""
        server = self._server
        self.answers.note(sender, len(want.encoded))
        if server.active and want.height == server.height:
            wanted = want.updates[: most_wanted(server.parameters)]
            helping = all(map(server.contents.has_listed, wanted)) or self.answers.helps(
                sender, server.chain.height, behind=False
            )
            self._answer(sender, self._updates(wanted), helping)
        return False

    def _blocks_after(self, height: int) -> Iterator[Answer]:
        """Yield the next blocks of the chain: as many as have names, so no more until a resend
        time has passed."""
        blocks = self._server.chain.blocks[height : height + BLOCKS_AT_ONCE]
        for place, block in enumerate(blocks, height):
            yield "block", place % BLOCKS_AT_ONCE, block

    def _updates(self, digests: Iterable[bytes]) -> Iterator[Answer]:
        """Yield the updates with these digests, as far as they are here."""
        for digest in digests:
            for update in self._server.pool.pick([digest]) or ():
                yield "update", digest, update

    def _answer(self, asker: int, answers: Iterable[Answer], helping: bool) -> bool:
        """Send an asker what it was not sent lately, as far as it may get it now; returns True if
        there was anything. Less than all is one refusal."""
        any_sent, complete = False, True
        for kind, name, body in answers:
            if self.answers.was_sent(asker, name):
                complete = False
            elif self._spend(asker, kind, name, body, helping):
                any_sent = True
                self._server.say(kind, body, [asker])
            else:
                complete = False
                break
        if not complete:
            self._server.refuse("asked too much")
        return any_sent

    def _spend(
        self, asker: int, kind: Kind, name: Hashable, body: Any, helping: bool = False
    ) -> bool:
        size = body.wire_bytes if kind == "update" else len(body.encoded)
        return self.answers.spend(asker, name, size, helping)


def draw_distinct(generator: np.random.Generator, count: int, size: int) -> list[int]:
    """``size`` distinct numbers below ``count`` in random order, every choice as likely: what
    ``generator.choice(count, size, replace=False)`` gives, by its algorithm (Floyd's, then a
    shuffle), without the arrays that it makes, which for a few numbers take most of its time."""
    chosen: list[int] = []
    for last in range(count - size, count):
        drawn = int(generator.integers(last + 1))
        chosen.append(last if drawn in chosen else drawn)
    for place in range(size - 1, 0, -1):
        other = int(generator.integers(place + 1))
        chosen[place], chosen[other] = chosen[other], chosen[place]
    return chosen
