"""Stake-weighted sortition: the seats that a VRF output wins, the same on every platform.

Two kinds of committee (see `consensus.ledger.committee`): of variable size, where a ticket's weight
is its binomial number of seats (Algorand, `weight`); and of fixed size, where the stake-weighted
race of `race_key` draws members without replacement. Both use integers only: no rounding mode,
library or processor can make two servers disagree about the members.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from math import gcd
from typing import Final

from consensus.encoding.cid import digest

__all__ = ["MOST_BITS", "bits_of_weights", "race_key", "role_hash", "weight"]

_HASH_BYTES: Final = 32
_HASH_MAX: Final = 2**256 - 1


@lru_cache(maxsize=1 << 12)  # every server asks for those of all
def role_hash(beta: bytes, role: str) -> bytes:
    """A hash of the VRF output `beta` for one role, 32 bytes.

    It is independent (as of a random oracle) of the hashes for other roles, so that one proof
    serves every role that its holder may have.
    """
    return digest(_role_tag(role) + beta)


@lru_cache(maxsize=1 << 8)
def _role_tag(role: str) -> bytes:
    name = role.encode()
    return b"bfedrec/role" + bytes((len(name),)) + name


# --- Committees of expected size --------------------------------------------------------------

MOST_BITS: Final = 2**20
"""Greatest `bits_of_weights` with which a draw takes no longer than a signature check or so."""


def bits_of_weights(stakes: Sequence[int], expected_size: int) -> int:
    """Bits of the greatest number with which `weight` computes: powers of the stake of all."""
    total = sum(stakes)
    return 0 if expected_size >= total else max(stakes) * total.bit_length()


def weight(beta: bytes, stake: int, total_stake: int, expected_size: int) -> int:
    """The number of seats, 0 to `stake`, that a ticket wins.

    It is the exact quantile of the binomial distribution of `stake` trials with success probability
    expected_size / total_stake, at the point in [0, 1] that the first 32 bytes of `beta` (a VRF
    output or a hash of one) mark. Raises ValueError for input out of range.
    """
    if len(beta) < _HASH_BYTES:
        raise ValueError(f"sortition takes {_HASH_BYTES} bytes or more of a VRF output")
    if not 0 <= stake <= total_stake or total_stake < 1 or expected_size < 1:
        raise ValueError(
            f"stake {stake} of {total_stake}, expected size {expected_size}: "
            "stakes are in range 0 <= stake <= total, total and size are at least 1"
        )
    if expected_size >= total_stake:
        return stake
    return _binomial(stake, total_stake, expected_size).quantile(
        int.from_bytes(beta[:_HASH_BYTES], "big")
    )


class _Binomial:
    """The cumulative distribution of Binomial(w, a / W), scaled to 256 bits, computed on demand.

    With b = W - a, seat j's term is C(w, j) a^j b^(w-j), and h / M <= acc_j / W^w exactly when
    h <= floor(acc_j M / W^w). Those floors are kept, so that a draw is a search among them.
    """

    def __init__(self, stake: int, total_stake: int, expected_size: int) -> None:
        shared = gcd(expected_size, total_stake)
        self._w, self._a = stake, expected_size // shared
        self._b = (total_stake - expected_size) // shared
        self._term = self._sum = self._b**stake
        self._whole = (self._a + self._b) ** stake
        self._floors = [self._sum * _HASH_MAX // self._whole]

    def quantile(self, h: int) -> int:
        """The least j with h / M <= P(seats <= j)."""
        floors = self._floors
        while floors[-1] < h:
            j = len(floors)
            self._term = self._term * (self._w - j + 1) * self._a // (j * self._b)
            self._sum += self._term
            floors.append(self._sum * _HASH_MAX // self._whole)
        return bisect_left(floors, h)


# Holders of the same stake share a table. It only ever grows by exact values, so which draws
# came before cannot show in a result.
@lru_cache(maxsize=1 << 10)
def _binomial(stake: int, total_stake: int, expected_size: int) -> _Binomial:
    return _Binomial(stake, total_stake, expected_size)


# --- Committees of fixed size -----------------------------------------------------------------

_FRACTION_BITS: Final = 64
_MANTISSA_BITS: Final = 128


# Every server orders the same tickets.
@lru_cache(maxsize=1 << 14)
def race_key(beta: bytes, stake: int) -> tuple[int, bytes]:
    """The time at which a ticket finishes its race, and `beta`, which settles ties; the smallest
    keys win.

    In this exponential race the finishing time is -ln(u) / stake. That draws without replacement,
    each time with a probability in proportion to the stake among those left. u = 1 - h / 2**256
    with h the first 32 bytes of `beta`, so that among equal stakes the lowest betas win. The time
    is an integer, in units of ln 2 / 2**128. Raises ValueError for a stake
    below 1 or fewer than 32 bytes.
    """
    if stake < 1:
        raise ValueError(f"only a stake of at least 1 takes part in the race, not {stake}")
    if len(beta) < _HASH_BYTES:
        raise ValueError(f"sortition takes {_HASH_BYTES} bytes or more of a VRF output")
    remaining = 2**256 - int.from_bytes(beta[:_HASH_BYTES], "big")
    time = (256 << _FRACTION_BITS) - _log2(remaining)
    return (time << 64) // stake, beta


def _log2(value: int) -> int:
    """log2(value) for 1 <= value <= 2**256, in units of 2**-64, rounded down; never decreasing.

    The definition is `_log2_by_squaring`; this gives the same in a fifth of the time, by the series
    log2(m / s) = 2 / ln 2 (z + z**3 / 3 + z**5 / 5 + ...), z = (m - s) / (m + s), for the mantissa
    m and s, its first eight bits. The series is off by less than 2**-96, so only where the bits
    below the result are (nearly) all zeros or all ones could it give another integer.
    """
    exponent = value.bit_length() - 1
    mantissa = (value << _SERIES_BITS) >> exponent
    start = mantissa >> (_SERIES_BITS - 7) << (_SERIES_BITS - 7)
    z = ((mantissa - start) << _SERIES_BITS) // (mantissa + start)
    square = z * z >> _SERIES_BITS
    series = power = z
    for odd in (3, 5, 7, 9, 11, 13):
        power = power * square >> _SERIES_BITS
        series += power // odd
    result = _log2_of(start >> (_SERIES_BITS - 7)) + (series * _TWO_PER_LN2 >> _SERIES_BITS)
    below = result & ((1 << _BELOW_BITS) - 1)
    if _UNSURE < below < (1 << _BELOW_BITS) - _UNSURE:
        return (exponent << _FRACTION_BITS) + (result >> _BELOW_BITS)
    return _log2_by_squaring(value, _FRACTION_BITS, _MANTISSA_BITS)


_SERIES_BITS: Final = 104
_BELOW_BITS: Final = _SERIES_BITS - _FRACTION_BITS
_UNSURE: Final = 1 << (_SERIES_BITS - 96)
_TWO_PER_LN2: Final = 58522663504933901518150490079652  # 2 / ln 2 in units of 2**-104


@lru_cache(maxsize=128)
def _log2_of(bits: int) -> int:
    """log2(bits / 128) for 128 <= bits < 256, in units of 2**-104."""
    return _log2_by_squaring(bits, _SERIES_BITS, 192) - (7 << _SERIES_BITS)


def _log2_by_squaring(value: int, fraction_bits: int, mantissa_bits: int) -> int:
    """log2(value), in units of 2**-fraction_bits, rounded down; never decreasing.

    One bit of the result per squaring. Truncating the mantissa each time costs the result less
    than 2**(3 - mantissa_bits) in all.
    """
    exponent = value.bit_length() - 1
    mantissa = (value << mantissa_bits) >> exponent
    two = 2 << mantissa_bits
    result = exponent
    for _ in range(fraction_bits):
        mantissa = mantissa * mantissa >> mantissa_bits
        result += result
        if mantissa >= two:
            mantissa >>= 1
            result += 1
    return result
