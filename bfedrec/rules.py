"""Rules of aggregation: what a payload holds, when it is fit, and how payloads become one A.

A rule works on bytes: the ledger moves payloads without knowing what is in them. What a rule can
be told are integers, which the genesis records, so that an audit computes the same aggregate.
Here are the two that average; `bfedrec.robust` has those that withstand malicious clients.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

FLOAT = np.dtype("<f4")


@dataclass(frozen=True)
class Rule(ABC):
    """A way to encode, check and aggregate the updates A_u (float32[r, N]) of a round.

    A subclass's fields are its parameters: integers, each with its least and largest value.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, (least, most) = getattr(self, field.name), field.metadata["bounds"]
            if type(value) is not int or not least <= value <= most:
                raise ValueError(
                    f"aggregation rule {self.name!r}: {field.name} must be an integer from "
                    f"{least} to {most}, not {value!r}"
                )

    @property
    def parameters(self) -> dict[str, int]:
        """What the genesis records of the rule, beside its name."""
        return dataclasses.asdict(self)

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
        if not np.isfinite(update_of(payload, r, N)).all():
            return "not all numbers are finite"
        return None

    @abstractmethod
    def mean(
        self, payloads: Sequence[bytes], sample_counts: Sequence[int], r: int, N: int
    ) -> np.ndarray:
        """The aggregate, float64[r, N], of well-formed payloads, summed in the given order."""


@dataclass(frozen=True)
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
            np.multiply(update_of(payload, r, N), count, out=term, dtype=np.float64)
            total += term
        return total / sum(sample_counts)


@dataclass(frozen=True)
class Masked(Rule):
    """A rule whose payloads say which items their client touched.

    Payload: A_u as under `samples`, then a mask of the touched items, ceil(N/8) bytes, the
    lowest bit first. Rows of untouched items are +0, and so are the mask's last, unused bits.
    """

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
        if np.any(bits, axis=0)[mask_of(payload, r, N) == 0].any():
            return "an item outside the mask has an update"
        return None


@dataclass(frozen=True)
class PerItem(Masked):
    """Each item's row is the mean over the clients that touched the item; 0 where none did."""

    name = "per_item"
    meaning = "each item's mean over the clients that trained on it; sends a mask too"

    def mean(
        self, payloads: Sequence[bytes], sample_counts: Sequence[int], r: int, N: int
    ) -> np.ndarray:
        total = np.zeros((r, N), np.float64)
        clients = np.zeros(N, np.int64)
        for payload in payloads:
            total += update_of(payload, r, N)
            clients += mask_of(payload, r, N)
        return total / np.maximum(clients, 1)


def update_of(payload: bytes, r: int, N: int) -> np.ndarray:
    """A_u in a payload, read-only float32[r, N]."""
    return np.frombuffer(payload, FLOAT, r * N).reshape(r, N)


def mask_of(payload: bytes, r: int, N: int) -> np.ndarray:
    """The mask in a `Masked` payload as uint8[N] of 0 and 1."""
    packed = np.frombuffer(payload, np.uint8, offset=4 * r * N)
    return np.unpackbits(packed, count=N, bitorder="little")
