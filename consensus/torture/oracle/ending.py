"""Invariants of the end, checked once all faults have healed and the last height is decided."""

from __future__ import annotations

from math import inf

from consensus.protocols.bft.rotation import RotationParticipant
from consensus.protocols.bft.server import BftParticipant
from consensus.server.catching_up import EARLY_MESSAGES
from consensus.server.edge_server import EdgeServer
from consensus.torture.arena.scenario import Scenario
from consensus.torture.arena.world import TortureWorld
from consensus.torture.oracle.monitor import Monitor
from consensus.torture.oracle.violation import Violation

#: Seconds of work and of sending that a server may still have queued once faults are over.
BACKLOG = 10.0


def check_ending(scenario: Scenario, world: TortureWorld, monitor: Monitor, healed: float) -> None:
    """Check the invariants of the end; raises `Violation`."""
    honest = [server for server in world.servers if server.behaviour is None]
    heights = [server.chain.height for server in honest]
    if max(heights) - min(heights) > 1:
        raise Violation("heights within one", f"honest servers are at {sorted(heights)}")
    monitor.ledger.check_rebuilding()
    check_regardless(world, monitor)
    for server in honest:
        _check_queues(scenario, server)
    burdened = any("slow" in fault or "bandwidth" in fault for fault in scenario.faults)
    if not burdened and world.backlog() > BACKLOG:
        raise Violation("queues stay bounded", f"{world.backlog():.1f} s of work are waiting")
    _check_availability(world, monitor)
    _check_censorship(scenario, world, monitor, healed)


def check_regardless(world: TortureWorld, monitor: Monitor) -> None:
    """Check what nothing outside of the premise may violate; raises `Violation`."""
    monitor.ledger.check_stake()
    for server in world.servers:
        if server.behaviour is None:
            monitor.check_evidence(server)


def _check_availability(world: TortureWorld, monitor: Monitor) -> None:
    """Check that an honest server has every decided aggregate."""
    for decided in monitor.ledger.decided:
        header = decided.block.header
        if not world.holders(header.aggregate_cid) - set(monitor.bad):
            raise Violation(
                "content can be fetched",
                f"nobody honest has the model of height {header.height}",
                header.height,
            )


def _check_queues(scenario: Scenario, server: EdgeServer) -> None:
    """Check that the state of a server is bounded by the number of servers and clients and by the
    attempts of its height."""
    count = scenario.servers
    early = [kind == "update" for kind, *_ in server.catch_up.early]
    if max(sum(early), len(early) - sum(early)) > EARLY_MESSAGES * count:
        raise Violation("queues stay bounded", f"{len(early)} early messages")
    if len(server.pool.digests()) > 3 * scenario.clients:
        raise Violation("queues stay bounded", f"{len(server.pool.digests())} updates in a pool")
    part = server.participant
    if isinstance(part, BftParticipant):
        _check_sizes(server, *_sizes_of_views(scenario, part))
    elif isinstance(part, RotationParticipant):
        _check_sizes(server, *_sizes_of_rounds(scenario, part))


Sizes = dict[str, int]


def _check_sizes(server: EdgeServer, sizes: Sizes, bounds: Sizes) -> None:
    for what, size in sizes.items():
        if size > bounds[what]:
            raise Violation(
                "queues stay bounded", f"server {server.index} keeps {size} {what} ({bounds[what]})"
            )


def _sizes_of_rounds(scenario: Scenario, part: RotationParticipant) -> tuple[Sizes, Sizes]:
    """The sizes of a server's state where members lead in rotation, and their bounds."""
    count, rounds = scenario.servers, part.state.round + part.context.ahead + 1
    sizes = {
        "votes": len(part.votes),
        "tallies": len(part.state.votes),
        "proposals": len(part.state.proposals),
        "candidates": len(part.proposals.bodies),
        "tickets": len(part.tickets.held),
        "messages to be said again": len(part.said),
    }
    bounds = {
        "votes": 2 * rounds * count,
        "tallies": 4 * rounds * count,
        "proposals": rounds,
        "candidates": 4 * rounds,
        "tickets": count,
        "messages to be said again": 6,
    }
    return sizes, bounds


def _sizes_of_views(scenario: Scenario, part: BftParticipant) -> tuple[Sizes, Sizes]:
    """The sizes of a server's state under `bft`, and their bounds."""
    count, views = scenario.servers, scenario.max_step * (part.state.view[0] + 4)
    sizes = {
        "votes": len(part.first_votes),
        "tallies": len(part.state.votes) + len(part.state.timeouts),
        "candidates": len(part.proposals.bodies),
        "locks": len(part.state.promises.locks),
        "tickets": len(part.tickets.held),
        "messages to be said again": len(part.said),
    }
    bounds = {
        "votes": 2 * views * count,
        "tallies": 4 * views * count,
        "candidates": 3 * views,
        "locks": 2 * views,
        "tickets": count,
        "messages to be said again": 6,
    }
    return sizes, bounds


def _check_censorship(
    scenario: Scenario, world: TortureWorld, monitor: Monitor, healed: float
) -> None:
    """Check that no honest aggregator left out an update that an honest server had long before."""
    enough = 1.0 + 3 * scenario.resend / 1e3
    for decided in monitor.ledger.decided:
        header = decided.block.header
        if header.aggregator in monitor.bad:
            continue
        included = {update.record.digest for update in decided.updates}
        proposed = monitor.proposed.get(header.cid, 0.0)
        for digest, takers in world.clients.accepted.items():
            update = world.clients.by_digest[digest]
            since = min((at for who, at in takers.items() if who not in monitor.bad), default=inf)
            if (
                update.record.parent == header.parent
                and digest not in included
                and since >= healed
                and since + enough < proposed
            ):
                raise Violation(
                    "updates are not censored",
                    f"height {header.height}: one that was there {proposed - since:.1f} s before",
                )
