"""Fetching: the aggregates of blocks that one server lacks, and its answers to those that lack one.

A server that appends a block has its aggregate if it made or recomputed it; else it asks another
server for it, and the bytes come as a message like any other: over the same links, through the
same queues, struck by the same faults. Until they are here it does everything but vote and
propose: the contents of the next blocks build on them.

Those who signed the block's certificate have its aggregate, as they have recomputed it; where they
are malicious, its aggregator has. `providers` gives the order in which one server asks the others,
which all can compute. It asks one at a time: the next when one says that it has nothing, or when
no answer has come for a while, twice as long every time, up to a resend time. A server answers
those among whose first providers it is, each once in a resend time, with no more aggregates than
blocks. The number of first providers grows as that of helpers (`consensus.server.answers`), also
while a server that has decided waits for others, and by one with every height that has passed
since. So nobody gets the bytes from all servers at once, and nobody is left to malicious ones.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from consensus.ledger.chain import Chain
from consensus.records.block import Block
from consensus.records.genesis import Genesis, Parameters
from consensus.records.sync import Delivery, Fetch
from consensus.server.answers import rota
from consensus.server.block_contents import BlockContents
from consensus.server.catching_up import BLOCKS_AT_ONCE, CatchUp
from consensus.server.checks import SharedChecks
from consensus.server.hooks import Hooks
from consensus.server.host import Host
from consensus.server.message import Kind
from consensus.server.participant import Participant


def providers(genesis: Genesis, block: Block, asker: int) -> tuple[int, ...]:
    """All servers but ``asker`` in the order in which it asks them for the aggregate of ``block``:
    those that signed the certificate come first, in another order at every height and for everyone;
    the aggregator is the second, in case that malicious members signed what they have not got."""
    order = rota(genesis.chain_id, len(genesis.servers), asker, block.height)
    signers = {server for server, _ in block.certificate.signatures}
    maker = block.header.aggregator
    ranked = sorted((other for other in order if other != maker), key=lambda s: s not in signers)
    if maker != asker:
        ranked.insert(1, maker)
    return tuple(ranked)


class Fetcher(Protocol):
    """The part of a server that fetching uses."""

    index: int
    active: bool
    chain: Chain
    genesis: Genesis
    parameters: Parameters
    checks: SharedChecks
    host: Host
    behaviour: Hooks[Any] | None
    catch_up: CatchUp
    contents: BlockContents
    participant: Participant

    def say(self, kind: Kind, body: object, to: Collection[int] | None = None) -> None:
        """Send to some, or to all."""
        ...

    def refuse(self, reason: str) -> Literal[False]:
        """Count a message that is turned away."""
        ...


@dataclass
class Lack:
    """An aggregate that is not here."""

    height: int
    """Height of the block that it is of."""
    requests: int = 0
    """Number of requests for it: the place of the next provider, counted round and round."""
    waits: int = 0
    """Number of times that its timer was set."""
    denied: int = 0
    """Number of servers that had nothing since the timer was set."""
    asked: set[int] = field(default_factory=set)
    """Servers that were asked and have not answered."""


class Fetching:
    """The aggregates that one server lacks, and the requests of others that wait for its block."""

    def __init__(self, server: Fetcher) -> None:
        self._server = server
        self.lacking: dict[bytes, Lack] = {}
        """By link: the aggregates of blocks of the chain that are not here."""
        self._early: dict[int, Fetch] = {}
        """By server: its request for the aggregate of a block that is not here yet."""
        self._slower: set[tuple[int, bytes]] = set()
        """Servers that were asked for an aggregate which another one gave first, with its link."""

    def resume(self, lacking: dict[bytes, int]) -> None:
        """Lack these aggregates: the height of each by its link."""
        self.lacking.update((link, Lack(height)) for link, height in lacking.items())

    def again(self) -> None:
        """Forget all requests, of others and to others, and ask anew for all that is lacking: after
        a crash, or where a height begins for all servers together, which drops what is under
        way."""
        self._early.clear()
        self._slower.clear()
        self._server.catch_up.answers.begin(anew=True)
        height = self._server.chain.height  # a crash may have taken blocks
        self.lacking = {
            link: Lack(lack.height, requests=height - lack.height)
            for link, lack in self.lacking.items()
            if lack.height <= height
        }
        for link, lack in self.lacking.items():
            self._ask(link, lack)
            self._wait(lack)

    # -- asking -----------------------------------------------------------------------------------

    def note(self, block: Block) -> None:
        """Note that the aggregate of a block that was appended is lacking, unless it is here."""
        server, link = self._server, block.header.aggregate_cid
        if server.contents.has(link) or link in self.lacking:
            return
        if server.host.stored(link) is None:
            self.lacking[link] = Lack(block.height)

    def follow(self, block: Block) -> None:
        """Ask for the aggregate of a block that was appended, if it is lacking, and answer those
        that had the block before this server."""
        link = block.header.aggregate_cid
        lack = self.lacking.get(link)
        if lack is not None and not lack.waits:
            self._ask(link, lack)
            self._wait(lack)
        early, self._early = self._early, {}
        for asker, fetch in early.items():
            self.on_fetch(fetch, asker)

    def _reach(self, height: int) -> int:
        """The number of first providers that may be asked now for the aggregate of a block."""
        return self._server.catch_up.answers.reach + self._server.chain.height - height

    def _ask(self, link: bytes, lack: Lack) -> None:
        """Ask the next provider."""
        server = self._server
        block = server.chain.blocks[lack.height - 1]
        order = providers(server.genesis, block, server.index)[: self._reach(lack.height)]
        if order:
            provider = order[lack.requests % len(order)]
            lack.requests += 1
            lack.asked.add(provider)
            server.say("fetch", Fetch(lack.height, link), [provider])

    def _wait(self, lack: Lack) -> None:
        """Set the timer after which another provider is asked."""
        server, parameters = self._server, self._server.parameters
        lack.denied = 0
        lack.waits += 1
        after = min(parameters.ticket_us << min(lack.waits - 1, 32), parameters.resend_us)
        server.host.timer(after, ("fetch", lack.height, lack.waits, 0))

    def on_timer(self, height: int, waits: int) -> None:
        """Ask another provider, if no answer has come since a timer was set."""
        for link, lack in self.lacking.items():
            if (lack.height, lack.waits) == (height, waits):
                self._ask(link, lack)
                self._wait(lack)

    def on_delivery(self, delivery: Delivery, sender: int) -> bool:
        """Take in an aggregate, if it is one that ``sender`` was asked for; what follows from the
        blocks that build on it can then be judged."""
        server, link = self._server, delivery.link
        lack = self.lacking.get(link)
        if lack is None and (sender, link) in self._slower:
            self._slower.discard((sender, link))
            return False
        if lack is None or sender not in lack.asked:
            return server.refuse("content not asked for")
        lack.asked.discard(sender)
        if delivery.data:
            server.host.charge("hash", len(delivery.data))
            if server.checks.address(delivery.data) == link:
                del self.lacking[link]
                self._slower.update((other, link) for other in lack.asked)
                server.host.charge("store_put", len(delivery.data))
                server.host.keep(lack.height, link, delivery.data)
                if server.active:
                    server.participant.updates_changed()
                return False
            server.refuse("content")
        lack.denied += 1
        if lack.denied < self._reach(lack.height):  # else all have nothing yet: later
            self._ask(link, lack)
        return False

    # -- answering --------------------------------------------------------------------------------

    def on_fetch(self, fetch: Fetch, sender: int) -> bool:
        """Send an asker the aggregate that it lacks, if it may get it from this server, or say that
        there is nothing."""
        server, answers = self._server, self._server.catch_up.answers
        if fetch.height > server.chain.height:
            if server.active and fetch.height == server.chain.height + 1:
                self._early[sender] = fetch  # it has a block that will be here in a moment
            return False
        block = server.chain.blocks[fetch.height - 1]
        if block.header.aggregate_cid != fetch.link:
            return server.refuse("content unknown")
        first = providers(server.genesis, block, sender)[: self._reach(fetch.height)]
        name = ("model", fetch.height % BLOCKS_AT_ONCE)
        if server.index not in first or answers.was_sent(sender, name):
            return server.refuse("content asked too much")
        if server.behaviour is not None and not server.behaviour.provides:
            return False
        data = server.host.stored(fetch.link)
        if data is not None:
            answers.spend(sender, name, 0, helping=True)
            server.host.charge("store_get", len(data))
        server.say("model", Delivery(fetch.link, data or b""), [sender])
        return False
