"""Clients' updates on their way to the edge servers, one of which takes each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from consensus.network.clock import Clock
from consensus.server.edge_server import EdgeServer
from consensus.simulation.host import WorldHost
from consensus.simulation.results import Arrival

#: A client whose update its edge server does not take tries this many servers in turn.
TRIES = 4


class _Try(NamedTuple):
    """One attempt of a client to hand its update in."""

    arrival: Arrival
    server: int
    """The server that it tries."""
    tries: int
    """The servers that it tried before."""
    height: int
    """The height that the update was sent for."""


class Submissions:
    """The updates that clients hand in, at the server they are sent to or the next nearest."""

    def __init__(
        self,
        env: Clock,
        servers: Sequence[EdgeServer],
        hosts: Sequence[WorldHost],
        latency: np.ndarray,
        retry_seconds: float,
    ) -> None:
        """``latency``: float[servers, servers], of the way between two servers; a client waits
        ``retry_seconds`` of simulated time before it tries another."""
        self._env = env
        self._servers = servers
        self._hosts = hosts
        self._latency = latency
        self._retry_seconds = retry_seconds
        self._height = 0
        """The height in progress."""

    def begin(self, height: int, arrivals: Sequence[Arrival]) -> None:
        """Send the updates of a height that begins."""
        self._height = height
        for arrival in arrivals:
            self._schedule(arrival.time, _Try(arrival, arrival.server, 0, height))

    def _schedule(self, time: float, each: _Try) -> None:
        self._env.call_at(max(time, self._env.now), self._submit, each)

    def _submit(self, each: _Try) -> None:
        """A client's update reaches an edge server, which passes it on if it is fit; a client
        whose server is down, behind, or turns it away goes to the next nearest. So does one whose
        server keeps it to itself, or alters it, as it sees when it asks another: one that has the
        update takes it for what it is, a copy."""
        arrival, index, tries, height = each
        server = self._servers[index]
        if self._height > height or server.chain.height >= height:
            return  # too late: the height is decided
        update = arrival.update()
        takes = self._hosts[index].up and not server.catching_up
        if takes and server.behaviour is not None:
            takes = server.behaviour.takes(server, update.record.client)
        if takes and update.record.height < height:
            # Among servers it may just have been long on its way; its client sent it only now.
            server.refuse("stale")
            return
        if takes and server.receive("update", update, index):
            server.say("update", update)
        if (not takes or server.behaviour is not None) and tries + 1 < TRIES:
            nearest = np.argsort(self._latency[arrival.server], kind="stable")
            others = [int(other) for other in nearest if other != arrival.server]
            if tries < len(others):
                time = self._env.now + self._retry_seconds
                self._schedule(time, _Try(arrival, others[tries], tries + 1, height))
