"""The simulated world of the edge servers: one clock, the network, and charged costs.

`World.run_height` plays one height up to its result. Where servers meet after it
(`WorldSpec.meets_every`), that is when every server that can has appended the block and has its
aggregate; messages still in flight are then dropped. The state of the world is then a clock
reading, a chain head, the servers that are behind it, and the queues that are not empty, and a run
can be resumed from there, byte for byte. All servers begin the next height together.

At any other height the result is there as soon as the first honest server has the block. Every
server goes on to the next height by itself, at once; messages, timers and what it has heard stay.
Clients' rounds start where their servers are (`consensus.simulation.starts`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

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
    furthest,
    furthest_chain,
    needed_after,
    spent_so_far,
    stalled,
    weights_deciding,
    weights_foreseen,
    with_stakes,
)
from consensus.simulation.building import make_network, make_servers
from consensus.simulation.checkpoint import Standing, restore, standing_of
from consensus.simulation.content_providers import Providers
from consensus.simulation.decisions import Decisions
from consensus.simulation.foresight import Foresight
from consensus.simulation.height_end import HeightEnd
from consensus.simulation.host import WorldHost
from consensus.simulation.paces import Together, pace_of
from consensus.simulation.results import Arrival, Forked, HeightResult, Inquiry
from consensus.simulation.spec import WorldSpec
from consensus.simulation.submissions import Submissions


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
        self._network_stream = spec.network_stream
        self.hosts = [self.host_class(self, index) for index in range(len(spec.keys))]
        self.servers = make_servers(self, spec, blocks, heads)
        latency, retry, ahead = spec.topology.latency, spec.retry_seconds, spec.ahead
        submissions = Submissions(
            self.env, self.network, self.servers, self.hosts, latency, retry, ahead
        )
        self.head = self.servers[0].chain.head
        """Head of the chain after the last height."""
        self._agreed = list(blocks)
        """The block of height h at index h - 1, with the one certificate that is kept of it."""
        self.providers = Providers()
        self._foresight = Foresight(spec, self.checks, self.providers)
        self._decisions = Decisions(self.checks, self.servers)
        self._given_up: set[int] = set()
        """Attempts of this height that timeouts of all servers closed."""
        self._caught_up = 0
        self._end = HeightEnd(self)
        self._pace = self.make_pace(spec, submissions)
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

    @property
    def begins_together(self) -> bool:
        """True if all servers begin the height after the head together."""
        return self._pace.meets(self.head.height)

    def beacon_expected(self, head: Head) -> bytes | None:
        """The beacon after the block after ``head``, if that is as expected; None where nothing is
        (`consensus.simulation.foresight.Foresight.beacon_expected`)."""
        return self._foresight.beacon_expected(head, self.behaviours)

    def make_pace(self, spec: WorldSpec, submissions: Submissions) -> Together:
        """The pace at which servers go from height to height."""
        return pace_of(spec, self, submissions, self._end)

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
        height, together = before.height + 1, self.begins_together
        if together:
            bring_along(self.behaviours, self.servers, before.height)  # while checks are remembered
        self._forget(together)
        if together:
            for server, host in zip(self.servers, self.hosts, strict=True):
                if not host.up:  # it does not enter the height, and keeps what it has
                    server.pool.take_in()
            self.network.begin(self._network_stream(height))
        self.observer.begin(self)
        self._before = self._traffic()
        if together:
            self._enter_all()
        self._await_servers(height)
        self._pace.begin(height, arrivals)
        self._wait(began + patience, attempts)
        if not self._end.over.triggered:
            weigh = partial(weights_foreseen, self.checks, self.behaviours, self.head)
            done, waited = len(self._end.appended), self.env.now - began
            raise stalled(self._pace.playing(height), height, waited, done, weigh)
        if self._end.at > self.env.now:
            self.env.run(until=self._end.at)
        return self._commit(began)

    def _commit(self, began: float) -> HeightResult:
        """Commit the block of the height that ``began`` then; return the height's result."""
        before, height = self.head, self.head.height + 1
        block = self._decisions.block(height)
        contents = self.providers.published[height, block.header.aggregate_cid]
        listed, updates = self._decisions.digests(block), self._decisions.updates(block)
        (honest, _), spent = self.checks.aggregate(before, updates, listed), self.spent()
        self._pace.committing()
        self.application.commit(height, before.beacon, contents.aggregate)
        result = HeightResult(
            block=block,
            contents=contents,
            updates=updates,
            captured=contents.aggregate != honest.aggregate,
            began=began,
            ended=self.env.now,
            appended=self._end.in_time(),
            gossip_bytes=spent.bytes,
            gossip_messages=spent.messages,
            refused=spent.refused,
            evidence=self._pace.evidence(height),
            malicious_weight=weights_deciding(self.checks, self.behaviours, before, block),
            closed_by_all=sum(at < block.certificate.attempt for at in self._given_up),
            caught_up=self._caught_up,
            greatest_delay=spent.delay,
            apart=self._pace.apart(height),
            duplicates=spent.duplicates,
        )
        self.head = next(
            server.chain.heads[height] for server in self.servers if server.chain.height >= height
        )
        self._agreed.append(block)
        return with_stakes(result, self.servers, self.head, self.behaviours)

    def _await_servers(self, height: int) -> None:
        """Note the servers that a height waits for, and those that have its block already."""
        ahead = [server for server in self.servers if server.chain.height >= height]
        for server in self.servers:
            honest, up = server.behaviour is None, self.is_up(server.index)
            if honest and up and not server.catching_up and server not in ahead:
                self._end.waits_for(server.index)
        for server in ahead:
            self._end.has_block(server.index, server.chain.blocks[height - 1], self.env.now)

    def _traffic(self) -> Spent:
        return spent_so_far(self.network, self.messages, self.servers)

    def spent(self) -> Spent:
        """The messages of the height in progress so far."""
        return self._traffic().since(self._before)

    def _enter_all(self) -> None:
        """Every server that is up enters the height after the head."""
        self._foresight.prove(furthest_chain(self.servers).chain.head)
        for index, behaviour in self.behaviours.items():
            behaviour.begins(self.servers[index])
            self.network.set_relaying(index, self.hosts[index].up and behaviour.relays)
        for server, host in zip(self.servers, self.hosts, strict=True):
            if host.up:
                host.lives += 1  # drops timers of the height before
                server.fetching.again()
                server.enter_height(catching_up=server.chain.height < self.head.height)
                self.on_entered(server)
        self.env.drop(self.host_class.is_void)
        self._foresight.entered(self.head, self.behaviours)

    def _wait(self, deadline: float, attempts: int | None) -> None:
        """Advance the clock until the height is over or can no longer be decided."""
        pause = self.genesis.parameters.vote_us / 1e6
        over, height = self._end.over, self.head.height + 1
        while not over.triggered and self.env.now < deadline:
            ahead = furthest(self._pace.playing(height)).stage()[0]
            if attempts is not None and ahead >= attempts and self._decisions.get(height) is None:
                return
            until = min(pause, deadline - self.env.now)
            self.env.run(until=over | self.env.timeout(until))

    def _forget(self, together: bool) -> None:
        """Reset the state of the height before, but keep contents still asked for; ``together``:
        all servers begin the next one."""
        head, needed_after = self.head.height, self._needed_after()
        self.checks.begin_height()
        self._given_up.clear()
        self._caught_up = 0
        self._decisions.forget(head)
        self._foresight.begin()
        self._end.begin(self._pace.meets(head + 1))
        if together:
            for server in self.servers:
                server.forget_early()
        self._pace.forget(needed_after)
        lacking = set().union(*(server.lacking for server in self.servers))
        self.providers.forget(needed_after, lacking, head)

    def _needed_after(self) -> int:
        """The height after which some server may still need the aggregates of blocks."""
        return needed_after(self.servers, self.head.height, self.faults)

    def behind(self) -> dict[int, int]:
        """Heights of the honest servers that are behind the agreed chain, by server; where servers
        have not met, those that lack more than its last block."""
        head = self.head.height
        return behind(self.servers, head if self._pace.meets(head) else head - 1)

    def standing(self) -> Standing:
        """The state of the world between two heights, for `restore`; empty where servers have not
        met, as the world can only be resumed where they have."""
        if not self._pace.meets(self.head.height):
            return Standing()
        after, faulty = self._needed_after(), self.faults is not None
        return standing_of(self.servers, self._agreed, self.providers, self.network, after, faulty)

    def restore(self, standing: Standing, content: Callable[[bytes], bytes]) -> None:
        """Restore the state of an earlier world; ``content`` maps an aggregate's link to its
        bytes."""
        self.network.restore(standing.backlog, standing.meshes)
        restore(standing, self.servers, self._agreed, self.providers, content)

    # -- up and down ------------------------------------------------------------------------------

    def is_up(self, index: int) -> bool:
        """True if server ``index`` is running."""
        return self.hosts[index].up

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call ``call`` at ``time`` (simulated seconds), or now if that has passed."""
        self.env.call_at(max(time, self.env.now), operator.call, call)

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
        self._pace.crashed(server)
        self.go_on_without(event.server)

    def go_on_without(self, index: int) -> None:
        """Wait no longer for a server that has gone down, or has been corrupted."""
        self._end.without(index, self._decisions.get(self.head.height + 1))

    def _restart(self, event: Lifecycle) -> None:
        """Let a server that is up again come back."""
        self._pace.restart(self.servers[event.server], event)

    # -- deliveries -------------------------------------------------------------------------------

    def message(self, kind: Kind, body: Any) -> Message:
        """Return a message to be sent, its size in bytes included; count it."""
        self.messages += 1
        if kind == "candidate":
            self._decisions.listed(body)
            self._foresight.proposed(self.servers, body)
        elif kind == "closure" and body.everyone and body.height == self.head.height + 1:
            self._given_up.add(body.attempt)
        return sized(kind, body)

    def _receive(self, server: int, message: Message, origin: int) -> float | None:
        """Hand a message to a server; return the time from which it may be passed on, or None."""
        host = self.hosts[server]
        if not host.up:
            return None
        network, now = self.network, self.env.now
        network.heard(server)
        busy_until = network.busy_until
        host.relay_from, begins = None, max(busy_until[server], now)
        news = self.servers[server].receive(message.kind, message.body, origin, message.gossiped)
        if message.timed:
            network.took_in(server, message, host.relay_from or begins)
        if not news:
            host.pass_on_known(message, origin)
            return None
        if message.kind == "candidate":
            self.observer.took(server, message.kind, message.body, host.reached)
        ready = busy_until[server] if host.relay_from is None else host.relay_from
        return ready if ready > now else now

    def on_appended(self, index: int, block: Block, at: float) -> None:
        """Note that server ``index`` has appended ``block``; raise `Forked` if others' differ."""
        server, height, pace = self.servers[index], block.height, self._pace
        if height <= self.head.height:
            agreed = self._agreed[height - 1]
            if block.cid != agreed.cid:
                raise Forked(height, agreed.cid, block.cid)
            self._caught_up += pace.is_late(server, block)
        else:
            if self._decisions.first(index, block, at_once=not pace.meets(height)):
                self._foresight.decided(server, block)
            agreed = self._decisions.block(height)
        server.chain.keep(agreed)
        if height == self.head.height + 1:
            self._end.has_block(index, agreed, at)
        pace.decided(server, agreed, at)

    def on_kept(self, index: int, at: float) -> None:
        """Go on, as server ``index`` has got an aggregate."""
        self._end.kept(index, self._decisions.get(self.head.height + 1), at)
        self._pace.kept(self.servers[index], at)

    def on_entered(self, server: EdgeServer) -> None:
        """Go on, as a server has entered a height."""
        self._pace.entered(server)

    # -- contents ---------------------------------------------------------------------------------

    def hold(self, index: int, contents: Contents) -> None:
        """Note that server ``index`` has these contents."""
        self.providers.hold(index, contents, self.servers[index].height, self.checks.address)
