"""The starts of clients' rounds where each server goes on by itself.

A client's round begins once its edge server has the block before, with its aggregate. If that takes
too long, as the server is down or far behind, the client goes to the nearest server that is ready.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from consensus.network.clock import Clock
from consensus.simulation.results import Arrival, Inquiry
from consensus.simulation.submissions import Submissions


class Starts:
    """The clients of a height that wait for their edge servers to begin it."""

    def __init__(
        self, env: Clock, submissions: Submissions, latency: np.ndarray, retry_seconds: float
    ) -> None:
        """``latency``: float[servers, servers], one-way seconds between two servers;
        ``retry_seconds``: simulated seconds that a client waits for its server, from when the
        first server is ready."""
        self._env = env
        self._submissions = submissions
        self._latency = latency
        self._retry_seconds = retry_seconds
        self._ready: dict[int, tuple[int, float]] = {}
        """By server: the height that it is at with all before, and the simulated second since
        when."""
        self._height = 0
        self._waiting: dict[int, list[tuple[float, Arrival | Inquiry]]] = {}
        """By server: the clients of the height that wait for it, each with the simulated seconds
        from the start of its round to its message."""

    def begin(self, height: int, arrivals: Sequence[Arrival | Inquiry]) -> None:
        """Begin a height, from now on. ``arrivals``: what its clients send, at the times of a round
        that begins now; each comes as much later as its server is ready later."""
        now = self._env.now
        self._submissions.begin(height, ())
        self._height, self._waiting = height, {}
        for arrival in arrivals:
            self._waiting.setdefault(arrival.server, []).append((arrival.time - now, arrival))
        for server in sorted(self._waiting):
            self._start(server, server)
        self._look_later(height)

    def ready(self, server: int, height: int, at: float) -> None:
        """Note that a server, which begins ``height``, has all blocks and aggregates before it, at
        simulated second ``at``."""
        if self._ready.get(server, (0, 0.0))[0] != height:
            self._ready[server] = (height, at)
            self._start(server, server)

    def stop(self, server: int) -> None:
        """Note that a server has gone down."""
        self._ready.pop(server, None)

    def _start(self, waiting_for: int, server: int) -> None:
        """Start the rounds of those who wait for one server at ``server``, if it is ready."""
        height, at = self._ready.get(server, (0, 0.0))
        if height < self._height or waiting_for not in self._waiting:
            return
        if waiting_for != server:
            at = self._env.now
        for delay, arrival in self._waiting.pop(waiting_for):
            self._submissions.schedule(at + delay, replace(arrival, server=server), self._height)

    def _look_later(self, height: int) -> None:
        """Let those who still wait look for another server, after a while."""
        if self._waiting:
            self._env.call_at(self._env.now + self._retry_seconds, self._look, height)

    def _look(self, height: int) -> None:
        """Let those who still wait go to the nearest server that is ready."""
        if height != self._height:
            return
        for server in sorted(self._waiting):
            for other in np.argsort(self._latency[server], kind="stable").tolist():
                if self._ready.get(other, (0, 0.0))[0] >= height:
                    self._start(server, other)
                    break
        self._look_later(height)
