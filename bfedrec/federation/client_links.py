"""Clients' links: each client's nearest edge server, and the seconds that bytes take to it and
back.

Medians and spread come from the config; 0.75 MiB/s down and 0.25 MiB/s up are the speeds that
reproduce the paper's Table III.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bfedrec.config.clients import ClientSettings
from bfedrec.streams import Streams

MIB = 2**20


@dataclass(frozen=True)
class ClientLinks:
    """Every client's link to its nearest edge server; arrays over all M clients."""

    server: np.ndarray
    """int64[M]: the server with the lowest latency."""
    latency: np.ndarray
    """float64[M]: one-way seconds to it."""
    download: np.ndarray
    """float64[M]: bytes per second."""
    upload: np.ndarray
    """float64[M]: bytes per second."""

    @classmethod
    def draw(
        cls, settings: ClientSettings, clients: int, regions: np.ndarray, streams: Streams
    ) -> ClientLinks:
        """Spread clients evenly over the servers' regions (int64[servers]) and draw their links.

        A client is nearest to one of its region's servers, each with the same probability. Speeds
        and latency are log-normal around their medians with deviation ``settings.spread``.
        """
        generator = streams.generator("client_links")
        region = generator.integers(0, int(regions.max()) + 1, clients)
        rank = generator.random(clients)
        server = np.empty(clients, np.int64)
        for which in range(int(regions.max()) + 1):
            local = np.flatnonzero(regions == which)
            here = region == which
            server[here] = local[(rank[here] * len(local)).astype(np.int64)]
        speed, latency = np.exp(settings.spread * generator.standard_normal((2, clients)))
        return cls(
            server,
            settings.latency_ms / 1000.0 * latency,
            settings.download_mib_per_s * MIB * speed,
            settings.upload_mib_per_s * MIB * speed,
        )

    def download_seconds(self, clients: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Seconds from each client's request until it has ``size`` bytes (int64[m]), float64[m]."""
        return 2 * self.latency[clients] + size / self.download[clients]

    def upload_seconds(self, clients: np.ndarray, size: int) -> np.ndarray:
        """Seconds until ``size`` bytes of each client have reached its server, float64[m]."""
        return self.latency[clients] + size / self.upload[clients]
