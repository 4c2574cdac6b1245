"""The result of one federated round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from consensus.simulation.results import HeightResult


@dataclass(frozen=True)
class Round:
    """Result of one round."""

    height: int
    clients: np.ndarray
    """int64[m]: the clients that trained."""
    factors: np.ndarray
    """float32[m, d]: their new p_u, which stay with them."""
    loss: float
    """Mean training loss over the cohort."""
    result: HeightResult
    uplink_bytes: int
    downlink_bytes: dict[str, int]
    """Bytes the cohort fetched, under each account (`bfedrec.federation.downlink`)."""
    malicious: dict[str, int]
    """Number of updates that followed an attack, by its name."""
    malicious_aggregated: int
    """Number of these updates in the block."""
    behind: int
    """Number of honest servers without the block."""
    residuals: Mapping[int, bytes]
    """Residuals of honest clients under error feedback, by client: the part of their updates that
    the codec lost (`bfedrec.compression.error_feedback.pack`)."""
    groups: Mapping[str, int] = field(default_factory=dict)
    """Number of groups under secure aggregation by their end: ``opened``, or why they were dropped;
    empty without it."""
    accused: Mapping[int, str] = field(default_factory=dict)
    """False statements under secure aggregation that a client's own signed messages prove, by
    client."""
