"""Named random streams of one seed: one for each part of the simulation and each occasion.

Every draw names its part and its place (height, client, server, ...), and gets a generator of its
own. So no generator's state has to be saved for a resume, a draw that is added in one part changes
no other part's, and the order in which parts run does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PARTS = {
    "initial": 0,  # p_u and Q before the first round
    "sampling": 1,  # which clients train in a round
    "training": 2,  # batches and negatives of a cohort
    "keys": 3,  # signing and VRF keys of servers and clients
    "stake": 4,
    "topology": 5,  # regions, links and latencies of the edge servers
    "client_links": 6,  # nearest server, speeds and latency of each client
    "latency": 7,  # jitter of messages
    "malicious": 8,  # which servers are malicious
    "gaussian": 9,  # what servers draw: random aggregates of malicious ones, whom to ask
    "malicious_clients": 10,  # which clients are malicious
    "attacks": 11,  # what malicious clients draw
    "faults": 12,  # which servers a share of a fault strikes
    "masks": 13,  # secrets of clients under secure aggregation
    "gossip": 17,  # the mesh between servers: who grafts whom, when heartbeats fall, who is told
    "dropout": 20,  # which clients of a round are away
    "scored": 21,  # which users are scored, where not all are
    "corruption": 70,  # what an adversary draws that corrupts servers
    "delays": 71,  # what an adversary draws that chooses when messages are received
    "market": 30,  # a generated market, and the events of its shops
    "shop_split": 31,  # which pairs of a merchant are test pairs
    "shop_initial": 32,  # a merchants' model before its first round: what is shared, what is not
    "shop_training": 33,  # orders and negatives of a merchant's epochs
    "storage_order": 34,  # the order in which stores and sizes are measured
    "dp_noise": 60,  # the noise of a client's update under differential privacy
    "decoys": 61,  # the items that a client shows instead of its own
    # 50 drew users for a bootstrap over users
    "tuning": 51,  # the points that a study tries; no run has a part in it
}
"""The number of each part. It enters every result, so a number is never changed or used again."""


@dataclass(frozen=True)
class Streams:
    """The streams of one seed (>= 0). Unknown parts raise KeyError, negative places ValueError."""

    seed: int

    def sequence(self, part: str, *place: int) -> np.random.SeedSequence:
        """The seed sequence of a part at a place, which is given by integers >= 0."""
        # Two words for each number, whatever its size: else 2**32 and (0, 1) would share a stream.
        words = [(int(number) >> 32, int(number) & 0xFFFFFFFF) for number in place]
        if any(
            int(number) < 0 or high >> 32 for number, (high, _) in zip(place, words, strict=True)
        ):
            raise ValueError(f"a place is made of integers from 0 to 2**64 - 1, got {place}")
        key = (PARTS[part], len(place), *(word for pair in words for word in pair))
        return np.random.SeedSequence(self.seed, spawn_key=key)

    def generator(self, part: str, *place: int) -> np.random.Generator:
        """A fresh generator (PCG64) for a part at a place."""
        return np.random.Generator(np.random.PCG64(self.sequence(part, *place)))

    def integer(self, part: str, *place: int) -> int:
        """An integer of 63 bits, for code that seeds a counter-based generator of its own."""
        return int(self.sequence(part, *place).generate_state(1, np.uint64)[0]) >> 1

    def bytes(self, part: str, *place: int, length: int = 32) -> bytes:
        """`length` bytes, for seeds of keys and beacons; the same on every platform."""
        words = self.sequence(part, *place).generate_state(-(-length // 4), np.uint32)
        return words.astype("<u4").tobytes()[:length]
