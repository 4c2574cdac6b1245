"""Encodings of edwards25519 points that nobody honest sends, for the tests of keys and proofs."""

from __future__ import annotations

FIELD = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493

IDENTITY = (1).to_bytes(32, "little")
_Y_OF_ORDER_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"


def _encode(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


_y = int.from_bytes(bytes.fromhex(_Y_OF_ORDER_8), "little")

SMALL_ORDER_POINTS = [
    IDENTITY,
    _encode(FIELD - 1),  # order 2
    _encode(0),  # order 4, twice
    _encode(0, 1),
    _encode(_y),  # order 8, four times
    _encode(_y, 1),
    _encode(FIELD - _y),
    _encode(FIELD - _y, 1),
]
"""The eight points whose order divides the cofactor."""

NON_CANONICAL_POINTS = [
    _encode(1, 1),  # x = 0 has no negative
    _encode(FIELD - 1, 1),
    *(_encode(FIELD + y, sign) for y in range(19) for sign in (0, 1)),
]
"""Encodings with y >= p or a signed zero."""

MALFORMED_POINTS = [_encode(2), _encode(2, 1), _encode(7), _encode(FIELD - 2)]
"""y without an x on the curve."""
