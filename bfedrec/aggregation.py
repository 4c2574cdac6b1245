"""What a client uploads, encoded, and how edge servers turn the uploads into one A.

A rule of aggregation says what a payload holds and how payloads become the model, all of it on
bytes: the ledger moves payloads without knowing what is in them, and compares the digests of
results. So the bytes of a result depend on the payloads' bytes and order alone, not on who
computes it. Another rule is another entry of RULES.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

FLOAT = np.dtype("<f4")


class Rule(ABC):
    """A way to encode, check and aggregate the updates A_u (float32[r, N]) of a round."""

    name: str
    meaning: str

    def payload_size(self, r: int, N: int) -> int:
        """Bytes of one client's payload."""
        return 4 * r * N

    def encode(self, A: np.ndarray, touched: np.ndarray) -> bytes:
        """The payload of one client; `touched` is its mask, bool[N]."""
        return np.ascontiguousarray(A, FLOAT).tobytes()

    def check(self, payload: bytes, r: int, N: int) -> str | None:
        """The reason why a payload is malformed, or None."""
        size = self.payload_size(r, N)
        if len(payload) != size:
            return f"{len(payload)} bytes instead of {size}"
        if not np.isfinite(_update(payload, r, N)).all():
            return "not all numbers are finite"
        return None

    @abstractmethod
    def mean(
        self, payloads: Sequence[bytes], sample_counts: Sequence[int], r: int, N: int
    ) -> np.ndarray:
        """The aggregate, float64[r, N], of well-formed payloads, summed in the given order."""


class Samples(Rule):
    """Equation 5 and Algorithm 2, line 5: A = sum over u of (N_u / N) A_u.

    Payload: A_u, float32 little-endian, row after row; exactly 4 r N bytes.
    """

    name = "samples"
    meaning = "the mean weighted by sample counts, as in the paper"

    def mean(
        self, payloads: Sequence[bytes], sample_counts: Sequence[int], r: int, N: int
    ) -> np.ndarray:
        total = np.zeros((r, N), np.float64)
        term = np.empty((r, N), np.float64)
        for payload, count in zip(payloads, sample_counts, strict=True):
            # Without dtype the product would be rounded to float32 before it reaches `term`.
            np.multiply(_update(payload, r, N), count, out=term, dtype=np.float64)
            total += term
        return total / sum(sample_counts)


class PerItem(Rule):
    """Each item's row is the mean over the clients that touched the item; 0 where none did.

    Payload: A_u as under `samples`, then a mask of the touched items, ceil(N/8) bytes, the
    lowest bit first. Rows of untouched items are +0, and so are the mask's last, unused bits.
    """

    name = "per_item"
    meaning = "each item's mean over the clients that trained on it; sends a mask too"

    def payload_size(self, r: int, N: int) -> int:
        return 4 * r * N + (N + 7) // 8

    def encode(self, A: np.ndarray, touched: np.ndarray) -> bytes:
        rows = np.where(touched, A, FLOAT.type(0)).astype(FLOAT, copy=False)
        return rows.tobytes() + np.packbits(touched, bitorder="little").tobytes()

    def check(self, payload: bytes, r: int, N: int) -> str | None:
        reason = super().check(payload, r, N)
        if reason is not None:
            return reason
        if N % 8 and payload[-1] >> (N % 8):
            return "the mask has bits beyond the last item"
        # Compared as bits, so that -0 does not pass for +0: one update, one encoding.
        bits = np.frombuffer(payload, "<u4", r * N).reshape(r, N)
        if np.any(bits, axis=0)[_mask(payload, r, N) == 0].any():
            return "an item outside the mask has an update"
        return None

    def mean(
        self, payloads: Sequence[bytes], sample_counts: Sequence[int], r: int, N: int
    ) -> np.ndarray:
        total = np.zeros((r, N), np.float64)
        clients = np.zeros(N, np.int64)
        for payload in payloads:
            total += _update(payload, r, N)
            clients += _mask(payload, r, N)
        return total / np.maximum(clients, 1)


RULES: dict[str, Rule] = {rule.name: rule for rule in (Samples(), PerItem())}


def rule_named(name: str) -> Rule:
    """The rule of that name; ValueError lists the names there are."""
    try:
        return RULES[name]
    except KeyError:
        raise ValueError(f"aggregation rule {name!r} is not one of {', '.join(RULES)}") from None


def encode_update(A: np.ndarray, touched: np.ndarray, rule: str) -> bytes:
    """The payload of one client under `rule`, from A_u (float32[r, N]) and its mask (bool[N])."""
    return rule_named(rule).encode(A, touched)


def check_payload(payload: bytes, r: int, N: int, rule: str) -> str | None:
    """Why an edge server must not accept `payload` under `rule`; None if nothing speaks against."""
    return rule_named(rule).check(payload, r, N)


def aggregate(
    payloads: Sequence[bytes], sample_counts: Sequence[int], r: int, N: int, rule: str
) -> bytes:
    """The model of a round: float32 little-endian, r x N, from payloads in an agreed order.

    Sums run in float64 in the given order and are rounded once, element by element, with no
    operation whose order a library or processor could choose: whoever computes it gets the same
    bytes. `sample_counts` are the N_u, as long as `payloads`.

    Raises ValueError for no payloads, a malformed one, or sample counts that are negative or all 0.
    """
    chosen = rule_named(rule)
    if not payloads:
        raise ValueError("there is nothing to aggregate: no payload was given")
    if len(payloads) != len(sample_counts):
        raise ValueError(f"{len(payloads)} payloads but {len(sample_counts)} sample counts")
    if min(sample_counts) < 0 or sum(sample_counts) == 0:
        raise ValueError("sample counts must be 0 or more, and not all 0")
    for place, payload in enumerate(payloads):
        if len(payload) != chosen.payload_size(r, N):
            raise ValueError(f"payload {place}: {chosen.check(payload, r, N)}")
    return chosen.mean(payloads, sample_counts, r, N).astype(FLOAT).tobytes()


def decode_model(model: bytes, r: int, N: int) -> np.ndarray:
    """The A (read-only float32[r, N]) that `aggregate` encoded; ValueError on a wrong length."""
    if len(model) != 4 * r * N:
        raise ValueError(f"a model of {r} x {N} has {4 * r * N} bytes, not {len(model)}")
    return _update(model, r, N)


def _update(payload: bytes, r: int, N: int) -> np.ndarray:
    return np.frombuffer(payload, FLOAT, r * N).reshape(r, N)


def _mask(payload: bytes, r: int, N: int) -> np.ndarray:
    """The payload's mask as uint8[N] of 0 and 1."""
    packed = np.frombuffer(payload, np.uint8, offset=4 * r * N)
    return np.unpackbits(packed, count=N, bitorder="little")
