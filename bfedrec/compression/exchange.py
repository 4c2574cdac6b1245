"""The encoding of a round: an update as a client's payload, the aggregate as a block's contents.

An exchange is a codec and a rule of aggregation. A rule that goes by item needs the items that
a client touched. Most codecs' updates show them, by numbers other than 0. With the others a mask is
sent: the codec's bytes are followed by ceil(N/8) bytes, the lowest bit first, whose unused last
bits are 0; rows of untouched items are +0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bfedrec.aggregation.aggregator import Aggregator, DecodedUpdate
from bfedrec.compression.codec import FLOAT, Codec
from bfedrec.compression.codecs.dense import Dense
from bfedrec.compression.registry import codec_named
from bfedrec.learning.gradients import Unwritten
from bfedrec.learning.optimizer import Progress
from bfedrec.parts import array_of
from bfedrec.section import Tree

NOT_ASKED = np.empty(0, np.uint8)


@dataclass(frozen=True)
class Exchange:
    """The encoding, checking and aggregation of a run's updates, and the encoding of its
    aggregates."""

    rule: Aggregator
    up: Codec
    """Codec of updates."""
    down: Codec
    """Codec of aggregates."""

    @classmethod
    def named(
        cls,
        rule: Aggregator,
        kind: str,
        rows: int,
        items: int,
        size: int,
        downlink: str = "same",
        parameters: Mapping[str, int] | None = None,
    ) -> Exchange:
        """An exchange with the codec ``kind`` for updates float32[rows, items] at transmitted size
        ``size``. ``downlink`` is "same" or "dense"; ``parameters`` are the codec's (None: its
        defaults). Raises ValueError for unknown names and values out of range."""
        up = codec_named(kind, rows, items, size, parameters)
        if downlink not in ("same", "dense"):
            raise ValueError(f"downlink {downlink!r} is not one of same, dense")
        return cls(rule, up, up.of_aggregates() if downlink == "same" else Dense(rows, items, rows))

    @classmethod
    def low_rank(cls, rule: Aggregator, r: int, N: int) -> Exchange:
        """The paper's exchange: A (r x N), whole, in both directions."""
        return cls.named(rule, "low_rank", r, N, r)

    def at(self, progress: Progress) -> Exchange:
        """The exchange in one round of a run."""
        return replace(self, up=self.up.at(progress)) if self.up.scheduled else self

    @property
    def sends_mask(self) -> bool:
        """True if a mask travels with an update."""
        return self.rule.goes_by_item and not self.up.tells_touched

    @property
    def payload_size(self) -> int:
        """Bytes of one client's payload."""
        return self.up.byte_size + (self.up.items + 7) // 8 * self.sends_mask

    # -- updates ----------------------------------------------------------------------------------

    def encode(self, A: np.ndarray, touched: np.ndarray, beacon: bytes) -> bytes:
        """The payload of one client: its update (float32[r, N]) and its mask (bool[N]) at the
        height with this beacon."""
        if not self.rule.goes_by_item:
            return self.up.encoded(A, beacon)
        payload = self.up.encoded(np.where(touched, A, FLOAT.type(0)), beacon)
        if not self.sends_mask:
            return payload
        return payload + np.packbits(touched, bitorder="little").tobytes()

    def encode_unwritten(
        self, updates: Unwritten, beacon: bytes, threads: int | None = None
    ) -> list[bytes]:
        """The payloads of a cohort's updates, as `encode` gives them: all items are touched."""
        payloads = self.up.encoded_unwritten(updates, beacon, threads)
        if not self.sends_mask:
            return payloads
        mask = np.packbits(np.ones(self.up.items, np.bool_), bitorder="little").tobytes()
        return [payload + mask for payload in payloads]

    def check(self, payload: bytes) -> str | None:
        """Return the reason why an edge server must refuse ``payload``, or None."""
        if len(payload) != self.payload_size:
            return f"{len(payload)} bytes instead of {self.payload_size}"
        body = memoryview(payload)[: self.up.byte_size]
        reason = self.up.check(body)
        if reason is not None or not self.sends_mask:
            return reason
        if self.up.items % 8 and payload[-1] >> (self.up.items % 8):
            return "the mask has bits beyond the last item"
        from bfedrec.compression.masks import strays  # a config is read without a compiler

        # Compared as bits, so that -0 does not pass for +0: one update, one encoding.
        bits = self.up.decoded(body, b"").view("<u4")
        if strays(bits, np.frombuffer(payload, np.uint8, offset=self.up.byte_size)):
            return "an item outside the mask has an update"
        return None

    def decode(self, payload: bytes, beacon: bytes) -> DecodedUpdate:
        """The update and the mask in a payload that passed `check`."""
        A = self.up.decoded(memoryview(payload)[: self.up.byte_size], beacon)
        if not self.rule.goes_by_item:
            return DecodedUpdate(A, NOT_ASKED)
        return DecodedUpdate(
            A, self._mask(payload) if self.sends_mask else np.asarray(A.any(axis=0), np.uint8)
        )

    def _mask(self, payload: bytes) -> np.ndarray:
        packed = np.frombuffer(payload, np.uint8, offset=self.up.byte_size)
        return np.unpackbits(packed, count=self.up.items, bitorder="little")

    # -- aggregates -------------------------------------------------------------------------------

    def aggregate(
        self, payloads: Sequence[bytes], sample_counts: Sequence[int], beacon: bytes
    ) -> bytes:
        """The aggregate of a round, from payloads in an agreed order and their N_u.

        Sums run in float64 in the given order and are rounded once, element by element, with no
        operation whose order a library or processor could choose: whoever computes it gets the same
        bytes.

        Raises ValueError for no payloads, a malformed one, or sample counts that are negative or
        all 0.
        """
        if not payloads:
            raise ValueError("there is nothing to aggregate: no payload was given")
        if len(payloads) != len(sample_counts):
            raise ValueError(f"{len(payloads)} payloads but {len(sample_counts)} sample counts")
        if min(sample_counts) < 0 or sum(sample_counts) == 0:
            raise ValueError("sample counts must be 0 or more, and not all 0")
        for place, payload in enumerate(payloads):
            if len(payload) != self.payload_size:
                raise ValueError(f"payload {place}: {self.check(payload)}")
        mean = self._mean(payloads, sample_counts, beacon)
        return self.down.encoded(mean.astype(FLOAT), beacon)

    def _mean(
        self, payloads: Sequence[bytes], sample_counts: Sequence[int], beacon: bytes
    ) -> np.ndarray:
        """The rule's aggregate, float64[r, N], of payloads of the right length."""
        if self.rule.plain:
            bodies = [memoryview(payload)[: self.up.byte_size] for payload in payloads]
            return self.up.total(bodies, beacon) / len(bodies)
        updates: Iterator[DecodedUpdate] = (self.decode(payload, beacon) for payload in payloads)
        mean = self.rule.mean(updates, sample_counts, self.up.rows, self.up.items)
        return array_of(self.rule.method("mean"), mean, (self.up.rows, self.up.items))

    def decode_aggregate(self, aggregate: bytes, beacon: bytes) -> np.ndarray:
        """The update that everybody merges, float32[r, N], perhaps read-only.

        Bytes of the right length that are no encoding, which a captured committee may decide, move
        nothing. Raises ValueError on a wrong length.
        """
        down = self.down
        if len(aggregate) != down.byte_size:
            raise ValueError(
                f"an aggregate of {down.rows} x {down.items} has {down.byte_size} bytes, "
                f"not {len(aggregate)}"
            )
        if down.check(aggregate) is not None and not isinstance(down, Dense):
            return np.zeros((down.rows, down.items), np.float32)
        return down.decoded(aggregate, beacon)


# -- the description in the genesis ---------------------------------------------------------------


def describe(exchange: Exchange) -> Tree:
    """The description of an exchange in the genesis, beside its rule and shape; empty for low
    rank."""
    if exchange.up.name == "low_rank":
        return {}
    downlink = "same" if exchange.down == exchange.up.of_aggregates() else "dense"
    told: Tree = {
        "kind": exchange.up.name,
        "size": exchange.up.size,
        "downlink": downlink,
    }
    if exchange.up.parameters:
        told["parameters"] = exchange.up.parameters
    return {"compression": told}


def described(application: Mapping[str, Any], rule: Aggregator, rows: int, items: int) -> Exchange:
    """The exchange that a genesis describes. Raises ValueError for an invalid description."""
    if "compression" not in application:
        return Exchange.low_rank(rule, rows, items)
    told = application["compression"]
    try:
        kind, size, downlink = (told[key] for key in ("kind", "size", "downlink"))
        parameters = dict(told.get("parameters", {}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the genesis describes no compression: {error}") from None
    return Exchange.named(rule, kind, rows, items, size, downlink, parameters)
