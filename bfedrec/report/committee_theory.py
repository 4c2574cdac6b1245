"""The power of malicious servers by theory: attempts that a height takes, blocks they capture.

Of N servers with equal stake f are malicious; a committee of n is drawn anew for every attempt, and
MaxStep aggregators in turn, all independently. An attempt decides when the committee is not blocked
and any of its aggregators is honest, or when it is captured and any of them is malicious: then the
block is theirs. Everything arrives in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, inf

from consensus.ledger.capture_odds import p_blocked, p_captured


@dataclass(frozen=True)
class Expected:
    """The expected figures of one setting."""

    blocked: float
    """P(a committee is blocked)."""
    captured: float
    """P(a committee is captured)."""
    attempts: float
    """Committees per block; infinite where none ever decides."""
    captured_blocks: float
    """Share of the blocks whose model the malicious made up; 0 where there are no blocks."""


def expected(servers: int, malicious: int, size: int, max_step: int) -> Expected:
    """Of a committee of ``size`` among ``servers``. Raises ValueError for numbers out of range."""
    blocked, captured = (p(servers, malicious, size) for p in (p_blocked, p_captured))
    turns = min(max_step, servers)
    all_malicious = comb(malicious, turns) / comb(servers, turns)
    all_honest = comb(servers - malicious, turns) / comb(servers, turns)
    theirs = captured * (1.0 - all_honest)
    decides = (1.0 - blocked) * (1.0 - all_malicious) + theirs
    if decides == 0.0:
        return Expected(blocked, captured, inf, 0.0)
    return Expected(blocked, captured, 1.0 / decides, theirs / decides)
