"""The odds that malicious servers block or capture a committee: by theory, and by our sortition.

Of N servers with equal stake f are malicious, and n of the N are drawn for a committee, in which
strictly more than two thirds of the seats decide. The malicious *block* it when the others cannot
reach that without them, and *capture* it when they reach it alone; a captured committee is blocked
too. The seats they get are hypergeometric (sampling without replacement), and the committees that
tickets, role hashes and the race for seats give have to agree with that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from scipy import stats

from consensus.crypto.keys import derive_seed
from consensus.crypto.suites import MODELLED, Suite
from consensus.ledger.sortition import role_hash

__all__ = [
    "blocked_and_captured",
    "first_of_equal_stake",
    "frequency_interval",
    "malicious_seats",
    "p_blocked",
    "p_captured",
    "seats_to_block",
    "seats_to_decide",
]


def seats_to_decide(size: int) -> int:
    """The least number of seats that is more than two thirds of `size`."""
    return 2 * size // 3 + 1


def seats_to_block(size: int) -> int:
    """The least number of seats without which the others of `size` cannot decide."""
    return size - seats_to_decide(size) + 1


# --- By theory --------------------------------------------------------------------------------


def p_blocked(servers: int, malicious: int, size: int) -> float:
    """P(a committee of `size` is blocked), of `servers` with `malicious` among them. Raises
    ValueError unless 0 <= malicious <= servers and 1 <= size <= servers."""
    return _p_at_least(seats_to_block(size), servers, malicious, size)


def p_captured(servers: int, malicious: int, size: int) -> float:
    """P(a committee of `size` is captured); arguments and errors as in `p_blocked`."""
    return _p_at_least(seats_to_decide(size), servers, malicious, size)


def _p_at_least(seats: int, servers: int, malicious: int, size: int) -> float:
    _check(servers, malicious, size)
    return float(stats.hypergeom.sf(seats - 1, servers, malicious, size))


def _check(servers: int, malicious: int, size: int) -> None:
    if not (0 <= malicious <= servers and 1 <= size <= servers):
        raise ValueError(
            f"{malicious} malicious of {servers} servers, committee of {size}: needs "
            "0 <= malicious <= servers and 1 <= size <= servers"
        )


# --- By our sortition -------------------------------------------------------------------------

_ATTEMPTS: Final = 16
"""Committees that the campaign forms from the same tickets, one an attempt, as the ledger does
when committees fail; their independence is part of what is measured."""


def blocked_and_captured(
    servers: int, malicious: int, size: int, draws: int, seed: int, suite: Suite = MODELLED
) -> tuple[int, int]:
    """The numbers of committees, of `draws`, that the malicious block and that they capture.

    The committees, arguments and errors are those of `malicious_seats`.
    """
    block, decide = seats_to_block(size), seats_to_decide(size)
    blocked = captured = 0
    for seats in malicious_seats(servers, malicious, size, draws, seed, suite):
        blocked += seats >= block
        captured += seats >= decide
    return blocked, captured


def malicious_seats(
    servers: int, malicious: int, size: int, draws: int, seed: int, suite: Suite = MODELLED
) -> Iterator[int]:
    """The seats that the malicious get in each of `draws` committees of `size`.

    Servers have equal stake and committees a fixed size. Every server draws a ticket for each
    height, and the committees of 16 attempts are formed from its output. `seed` in [0, 2**64)
    and the suite fix everything. About 1 us per server and committee (`REAL`: 20 us). Raises
    ValueError for arguments out of range, as `p_blocked` does, and for fewer than one draw.
    """
    _check(servers, malicious, size)
    if draws < 1:
        raise ValueError(f"at least one committee is drawn, not {draws}")
    provers = [
        suite.vrf_key(derive_seed(b"frequencies", seed, "server", server))
        for server in range(servers)
    ]
    betas: list[bytes] = []
    for draw in range(draws):
        height, attempt = divmod(draw, _ATTEMPTS)
        if attempt == 0:
            alpha = derive_seed(b"frequencies", seed, "height", height)
            betas = [prover.prove(alpha)[1] for prover in provers]
        role = f"committee/{attempt}"
        seated = first_of_equal_stake([role_hash(beta, role) for beta in betas], size)
        yield sum(server < malicious for server in seated)


def first_of_equal_stake(hashes: list[bytes], size: int) -> list[int]:
    """The indices of the first `size` finishers of the race, in order, when all stakes are equal.

    That is their order by `sortition.race_key`: the time in the key never decreases as the hash of
    32 bytes grows, and of equal times the hash decides. So the hashes alone give the same order, at
    a hundredth of the cost.
    """
    return sorted(range(len(hashes)), key=hashes.__getitem__)[:size]


# --- Both together ----------------------------------------------------------------------------


def frequency_interval(hits: int, draws: int, confidence: float = 0.99) -> tuple[float, float]:
    """The exact interval (Clopper and Pearson) of a probability that showed in `hits` of `draws`.

    Over many campaigns at least `confidence` of such intervals hold the true value. Raises
    ValueError for input out of range.
    """
    interval = stats.binomtest(hits, draws).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)
