"""The simulated world of the edge servers: one clock, the network, and charged costs.

`World.run_height` plays one height: every server enters it, updates arrive where clients send them,
and it is over when every server that can has appended the block and has its aggregate, which
clients get there. Messages still in flight are then dropped. Between heights the state of the world
is therefore a clock reading, a chain head, the servers that are behind it, and the queues that are
not empty, and a run can be resumed from there, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import simpy

from consensus.application import Contents
from consensus.faults.faults import Lifecycle
from consensus.ledger.validity import Head
from consensus.network.clock import Clock
from consensus.network.network import Network
from consensus.protocols.registry import protocol_of
from consensus.records.block import Block
from consensus.server.checks import SharedChecks
from consensus.server.edge_server import EdgeServer
from consensus.server.message import Kind, Message, sized
from consensus.simulation.accounts import (
    Spent,
    behind,
    bring_along,
    evidence_at,
    furthest,
    furthest_chain,
    kept,
    needed_after,
    refusals,
    stalled,
    updates_listed,
    weights_deciding,
    weights_foreseen,
    with_stakes,
)
from consensus.simulation.building import make_network, make_servers
from consensus.simulation.checkpoint import Standing, restore, standing_of
from consensus.simulation.content_providers import Providers
from consensus.simulation.host import WorldHost
from consensus.simulation.results import Arrival, Forked, HeightResult, Inquiry
from consensus.simulation.spec import WorldSpec
from consensus.simulation.submissions import Submissions

#: Under faults a height ends this many resend times after two thirds of the servers are done with
#: it; the others catch up during the next heights.
GRACE = 3


class World:
    """All edge servers on one simulated clock."""

    host_class: ClassVar[type[WorldHost]] = WorldHost
    """Class of the servers' hosts."""

    def __init__(
        self,
        spec: WorldSpec,
        *,
        now: float = 0.0,
        blocks: Sequence[Block] = (),
        heads: Sequence[Head] = (),
    ) -> None:
        """``now`` (simulated seconds), ``blocks`` and ``heads`` (`Chain`) continue an earlier run,
        with the state that `restore` then gets. Raises ValueError for a genesis of an unknown
        protocol."""
        genesis, behaviours, faults = spec.genesis, spec.behaviours, spec.faults
        self.genesis = genesis
        self.protocol = protocol_of(genesis)
        self.application = spec.application
        self.costs = spec.costs
        self.env = Clock(now)
        self.checks = SharedChecks(genesis, self.protocol, spec.application)
        self.faults = faults
        self.network = self.make_network(spec)
        self.observer, self.randomness = spec.observer, spec.randomness
        self.behaviours = behaviours
        self.messages = 0
        self._ahead = spec.ahead
        self._network_stream = spec.network_stream
        self.hosts = [self.host_class(self, index) for index in range(len(spec.keys))]
        self.servers = make_servers(self, spec, blocks, heads)
        latency, retry, ahead = spec.topology.latency, spec.retry_seconds, spec.ahead
        self._submissions = Submissions(
            self.env, self.network, self.servers, self.hosts, latency, retry, ahead
        )
        self.head = self.servers[0].chain.head
        """Head of the chain after the last height."""
        self._agreed = list(blocks)
        """The block of height h at index h - 1, with the one certificate that is kept of it."""
        self.providers = Providers()
        self._listed: dict[bytes, tuple[bytes, ...]] = {}
        self._appended: dict[int, float] = {}
        self._complete: dict[int, float] = {}
        """By server that has the block and its aggregate: the simulated second since when."""
        self._given_up: set[int] = set()
        """Attempts of this height that timeouts of all servers closed."""
        self._caught_up = 0
        self._waited_for: set[int] = set()
        """Honest servers that the height waits for."""
        self._first: Block | None = None
        self._over = self.env.event()
        self._closing = False
        self._before = self._traffic()
        if faults is not None:
            for event in faults.lifecycle(faults.healed_at + 1.0):
                if event.time <= now:
                    self._set_up(event.server, event.what == "restart")
                else:
                    self.at(event.time, partial(self._live_or_die, event))

    def make_network(self, spec: WorldSpec) -> Network:
        """The network between the servers."""
        return make_network(self, spec, self._receive)

    # -- a height ---------------------------------------------------------------------------------

    def run_height(
        self, arrivals: Sequence[Arrival | Inquiry], patience: float, attempts: int | None = None
    ) -> HeightResult:
        """Play one height to its end and commit it to the application.

        Raises `Stalled` if some server lacks the block after ``patience`` simulated seconds, or if
        none has it after ``attempts`` attempts, which may take almost no time each. Raises `Forked`
        as soon as two servers have different blocks, which a safe protocol rules out.
        """
        before, began = self.head, self.env.now
        height = before.height + 1
        bring_along(self.behaviours, self.servers, before.height)  # while checks are remembered
        self._forget(height)
        for index, server in enumerate(self.servers):
            if not self.hosts[index].up:  # it does not enter the height, and keeps what it has
                server.pool.take_in()
        self.network.begin(self._network_stream(height))
        self._before = self._traffic()
        self.observer.begin(self)
        self._enter_all()
        self._submissions.begin(height, arrivals)
        self._wait(began + patience, attempts)
        if not self._over.triggered:
            weigh = partial(weights_foreseen, self.checks, self.behaviours, self.head)
            done, waited = len(self._appended), self.env.now - began
            raise stalled(self.servers, height, waited, done, weigh)
        ended = max([*self._appended.values(), *self._complete.values()])
        if ended > self.env.now:
            self.env.run(until=ended)
        block = self._first
        assert block is not None
        contents = self.providers.published[block.header.aggregate_cid]
        listed = self._listed[block.cid]
        updates = updates_listed(self.servers, block, listed)
        (honest, _), spent = self.checks.aggregate(before, updates, listed), self.spent()
        self.application.commit(height, before.beacon, contents.aggregate)
        result = HeightResult(
            block=block,
            contents=contents,
            updates=updates,
            captured=contents.aggregate != honest.aggregate,
            began=began,
            ended=self.env.now,
            appended=dict(sorted(self._appended.items())),
            gossip_bytes=spent.bytes,
            gossip_messages=spent.messages,
            refused=spent.refused,
            evidence=evidence_at(self.servers, height),
            malicious_weight=weights_deciding(self.checks, self.behaviours, before, block),
            closed_by_all=sum(at < block.certificate.attempt for at in self._given_up),
            caught_up=self._caught_up,
        )
        self.head = furthest_chain(self.servers).chain.head
        self._agreed.append(block)
        return with_stakes(result, self.servers, self.head, self.behaviours)

    def _traffic(self) -> Spent:
        return Spent(self.network.bytes.copy(), self.messages, refusals(self.servers))

    def spent(self) -> Spent:
        """The messages of the height in progress so far."""
        return self._traffic().since(self._before)

    def _enter_all(self) -> None:
        """Every server that is up enters the height after the head."""
        self._prove_ahead(furthest_chain(self.servers))
        for index, behaviour in self.behaviours.items():
            behaviour.begins(self.servers[index])
            self.network.set_relaying(index, self.hosts[index].up and behaviour.relays)
        for server, host in zip(self.servers, self.hosts, strict=True):
            if host.up:
                host.lives += 1  # drops timers of the height before
                server.fetching.again()
                server.enter_height(catching_up=server.chain.height < self.head.height)
        self.env.drop(self.host_class.is_void)
        self._waited_for = {
            index
            for index, server in enumerate(self.servers)
            if server.behaviour is None and self.hosts[index].up and not server.catching_up
        }

    def _prove_ahead(self, server: EdgeServer) -> None:
        """Have the draws made that servers make when they enter the height after the head of
        ``server``."""
        alpha = server.participant.next_alpha()
        if self._ahead is not None and alpha is not None:
            self._ahead.prove(alpha)

    def _wait(self, deadline: float, attempts: int | None) -> None:
        """Advance the clock until the height is over or can no longer be decided."""
        pause = self.genesis.parameters.vote_us / 1e6
        while not self._over.triggered and self.env.now < deadline:
            hopeless = attempts is not None and furthest(self.servers).stage()[0] >= attempts
            if hopeless and self._first is None:
                return
            until = min(pause, deadline - self.env.now)
            self.env.run(until=self._over | self.env.timeout(until))

    def _forget(self, height: int) -> None:
        """Reset the state of the height before, but keep contents still asked for."""
        self.checks.begin_height()
        self._listed.clear()
        self._appended = {}
        self._complete = {}
        self._given_up.clear()
        self._caught_up = 0
        self._first = None
        self._closing = False
        self._over = self.env.event()
        for server in self.servers:
            server.forget_early()
        lacking = set().union(*(server.lacking for server in self.servers))
        self.providers.forget(self._needed_after(), lacking)

    def _needed_after(self) -> int:
        """The height after which some server may still need the aggregates of blocks."""
        return needed_after(self.servers, self.head.height, self.faults)

    def behind(self) -> dict[int, int]:
        """Heights of the honest servers that are behind the agreed chain, by server."""
        return behind(self.servers, self.head.height)

    def standing(self) -> Standing:
        """The state of the world between two heights, for `restore`."""
        after, faulty = self._needed_after(), self.faults is not None
        backlog = self.network.backlog()
        return standing_of(self.servers, self._agreed, self.providers, backlog, after, faulty)

    def restore(self, standing: Standing, content: Callable[[bytes], bytes]) -> None:
        """Restore the state of an earlier world; ``content`` maps an aggregate's link to its
        bytes."""
        self.network.restore(standing.backlog)
        restore(standing, self.servers, self._agreed, self.providers, content)

    # -- up and down ------------------------------------------------------------------------------

    def is_up(self, index: int) -> bool:
        """True if server ``index`` is running."""
        return self.hosts[index].up

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call ``call`` at ``time`` (simulated seconds), or now if that has passed."""
        self.env.call_at(max(time, self.env.now), _call, call)

    def _set_up(self, index: int, up: bool) -> None:
        host = self.hosts[index]
        host.up = up
        host.lives += 1
        behaviour = self.behaviours.get(index)
        self.network.set_relaying(index, up and (behaviour is None or behaviour.relays))

    def _live_or_die(self, event: Lifecycle) -> None:
        server, host = self.servers[event.server], self.hosts[event.server]
        if event.what == "crash":
            if event.promising:
                server.participant.strike = partial(self._crash, event)
            else:
                self._crash(event)
            return
        server.participant.strike = None
        if not host.up:
            self._set_up(event.server, True)
            host.busy_until = self.env.now
            self.observer.restarted(event.server, server.height, event.fault, self.env.now)
            self._restart(event)

    def _crash(self, event: Lifecycle) -> None:
        """Take a server down."""
        assert self.faults is not None
        server = self.servers[event.server]
        self._set_up(event.server, False)
        self.observer.crashed(event.server, server.height, event.fault, self.env.now)
        self.faults.fired.update(event.names)
        server.active, server.participant.strike = False, None
        if event.torn:
            server.participant.lose_promises()
        self._crashed(event.server)

    def _crashed(self, index: int) -> None:
        """Go on without a server that has gone down."""
        self._waited_for.discard(index)
        self._see_whether_over()

    def _restart(self, event: Lifecycle) -> None:
        """Let a server that is up again come back."""
        self.servers[event.server].restart(event.lost_tail, self.head.height)

    # -- deliveries -------------------------------------------------------------------------------

    def message(self, kind: Kind, body: Any) -> Message:
        """Return a message to be sent, its size in bytes included; count it."""
        self.messages += 1
        if kind == "candidate":
            # A malicious server may send it with another list of updates than its header names.
            if body.header.updates == self.checks.updates_root(body):
                self._listed[body.header.cid] = body.updates
            self._listed.setdefault(body.header.cid, body.updates)
        elif kind == "closure" and body.everyone and body.height == self.head.height + 1:
            self._given_up.add(body.attempt)
        return sized(kind, body)

    def _receive(self, server: int, message: Message, origin: int) -> float | None:
        """Hand a message to a server; return the time from which it may be passed on, or None."""
        host = self.hosts[server]
        if not host.up:
            return None
        self.network.heard(server)
        host.relay_from = None
        if not self.servers[server].receive(message.kind, message.body, origin, message.gossiped):
            host.pass_on_known(message, origin)
            return None
        if message.kind == "candidate":
            self.observer.took(server, message.kind, message.body, host.reached)
        ready = host.busy_until if host.relay_from is None else host.relay_from
        now = self.env.now
        return ready if ready > now else now

    def on_appended(self, index: int, block: Block, at: float) -> None:
        """Note that server ``index`` has appended ``block``; raise `Forked` if others' differ."""
        server = self.servers[index]
        if block.height <= self.head.height:  # it catches up
            agreed = self._agreed[block.height - 1]
            if block.cid != agreed.cid:
                raise Forked(block.height, agreed.cid, block.cid)
            server.chain.keep(agreed)
            self._caught_up += 1
            server.enter_height(catching_up=server.chain.height < self.head.height)
            if not server.catching_up and server.behaviour is None and index not in self._appended:
                self._waited_for.add(index)  # else it would be behind again after this height
            return
        if self._first is None:
            self._prove_ahead(server)
        self._first = kept(self._first, block, self.servers, self._appended, index)
        server.chain.keep(self._first)
        self._appended[index] = at
        self.on_kept(index, at)

    def on_kept(self, index: int, at: float) -> None:
        """Go on, as server ``index`` has appended the height's block or got an aggregate."""
        if index not in self._appended or index in self._complete or self._first is None:
            return
        if self._first.header.aggregate_cid not in self.servers[index].lacking:
            self._complete[index] = at
            self._waited_for.discard(index)
            self._see_whether_over()

    def _see_whether_over(self) -> None:
        """End the height once every honest server that is up, and was not behind, has its block and
        aggregate; under faults at the latest `GRACE` resend times after two thirds of them do."""
        if self._over.triggered or self._first is None:
            return
        if not self._waited_for:
            self._over.succeed()
        elif self.faults is not None and not self._closing:
            have = sum(self.servers[index].behaviour is None for index in self._complete)
            if have > 2 * len(self._waited_for):
                self._closing = True
                over = self._over
                grace = GRACE * self.genesis.parameters.resend_us / 1e6
                self.at(self.env.now + grace, lambda: None if over.triggered else _end(over))

    # -- contents ---------------------------------------------------------------------------------

    def hold(self, index: int, contents: Contents) -> None:
        """Note that server ``index`` has these contents."""
        self.providers.hold(index, contents, self.head.height + 1, self.checks.address)


def _call(call: Callable[[], None]) -> None:
    call()


def _end(over: simpy.Event) -> None:
    over.succeed()
