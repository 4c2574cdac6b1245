"""Submission of clients' updates to edge servers, with retries at the next nearest server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from consensus.crypto.ahead import Ahead
from consensus.network.clock import Clock
from consensus.network.network import Network
from consensus.server.edge_server import EdgeServer
from consensus.simulation.host import WorldHost
from consensus.simulation.results import Arrival, Inquiry

#: Number of servers that a client tries in turn until one takes its update.
TRIES = 4


class _Try(NamedTuple):
    """One attempt of a client to submit its update, or to ask."""

    arrival: Arrival | Inquiry
    server: int
    """The server that it tries."""
    tries: int
    """Number of servers tried before."""
    height: int
    """The height that the update is for."""


class Submissions:
    """The submission of a height's updates: each to its client's edge server or, if that refuses
    it, to the next nearest."""

    def __init__(
        self,
        env: Clock,
        network: Network,
        servers: Sequence[EdgeServer],
        hosts: Sequence[WorldHost],
        latency: np.ndarray,
        retry_seconds: float,
        ahead: Ahead | None = None,
    ) -> None:
        """``latency``: float[servers, servers], one-way seconds between two servers;
        ``retry_seconds``: simulated seconds that a client waits before it tries another
        server; ``ahead``: what may have checked an update's signature already."""
        self._ahead = ahead
        self._env = env
        self._network = network
        self._servers = servers
        self._hosts = hosts
        self._latency = latency
        self._retry_seconds = retry_seconds
        self._height = 0
        """The height in progress."""

    def begin(self, height: int, arrivals: Sequence[Arrival | Inquiry]) -> None:
        """Schedule the submission of ``arrivals`` at ``height``, which begins."""
        self._height = height
        for arrival in arrivals:
            self.schedule(arrival.time, arrival, height)

    def schedule(self, time: float, arrival: Arrival | Inquiry, height: int) -> None:
        """Schedule a submission at ``height`` for ``time`` (simulated seconds), or now if that has
        passed."""
        self._schedule(time, _Try(arrival, arrival.server, 0, height))

    def _schedule(self, time: float, each: _Try) -> None:
        self._env.call_at(max(time, self._env.now), self._submit, each)

    def _submit(self, each: _Try) -> None:
        """Submit a client's update to an edge server, which passes it on if it is valid.

        A client tries the next nearest server if this one is down, behind, or refuses the update.
        It also does so if this one is malicious, as that may drop or alter the update; an honest
        server that has the update already takes the second one for a copy.
        """
        arrival, index, _, height = each
        server = self._servers[index]
        if self._height > height or server.chain.height >= height:
            return  # too late: the height is decided
        if isinstance(arrival, Inquiry):
            self._ask(each, arrival)
            return
        update = arrival.update()
        takes = self._hosts[index].up and not server.catching_up
        if takes and server.behaviour is not None:
            takes = server.behaviour.takes(server, update.record.client)
        if takes and update.record.height < height:
            # Not `receive`, which forgives updates that were long on their way between servers.
            server.refuse("stale")
            return
        if self._ahead is not None:
            record = update.record
            self._ahead.expect((record.client, record.signed, record.signature))
        self._network.heard(index)
        if takes and server.receive("update", update, index, gossiped=True):
            server.say("update", update)
        if not takes or server.behaviour is not None:
            self._try_next(each)

    def _ask(self, each: _Try, inquiry: Inquiry) -> None:
        """Put a client's question to an edge server, or to the next nearest if this one is down,
        behind, or malicious: what that says of others' updates cannot be relied on."""
        index, height = each.server, each.height
        server = self._servers[index]
        if not self._hosts[index].up or server.catching_up or server.behaviour is not None:
            self._try_next(each)
            return
        self._network.heard(index)
        for following in inquiry.answered(self._hosts[index].reached, server.pool.has):
            self.schedule(following.time, following, height)

    def _try_next(self, each: _Try) -> None:
        """Schedule another try at the next nearest server."""
        arrival, _, tries, height = each
        if tries + 1 < TRIES:
            nearest = np.argsort(self._latency[arrival.server], kind="stable")
            others = [int(other) for other in nearest if other != arrival.server]
            if tries < len(others):
                time = self._env.now + self._retry_seconds
                self._schedule(time, _Try(arrival, others[tries], tries + 1, height))
