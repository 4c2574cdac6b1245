"""The sizes of messages as the program encodes them: a payload and all that travels with it."""

from __future__ import annotations

from dataclasses import dataclass

from bfedrec.aggregation.registry import aggregator_named
from bfedrec.compression.exchange import Exchange
from bfedrec.config.schema import Config
from consensus.encoding.cid import digest, node_cid
from consensus.encoding.fields import KEY_BYTES, SIGNATURE_BYTES
from consensus.encoding.unixfs import file_cid
from consensus.records.block import Header
from consensus.records.update import UpdateRecord


@dataclass(frozen=True)
class Envelope:
    """Messages of a run's last round; its integers are the longest."""

    config: Config
    items: int
    """N."""
    samples: int
    """N_u of a client."""

    def _exchange(self, size: int, kind: str) -> Exchange:
        rows = size if kind == "low_rank" else self.config.model.dimension
        rule = aggregator_named(self.config.aggregation.rule)
        return Exchange.named(rule, kind, rows, self.items, size)

    def up(self, size: int, kind: str = "low_rank") -> int:
        """Bytes of one client's update: the signed record, what the codec ``kind`` makes of an
        update at the transmitted size ``size``, and the mask where the rule of aggregation needs
        one."""
        record = UpdateRecord(
            digest(b"chain"),
            self.config.rounds,
            node_cid(b"parent"),
            bytes(KEY_BYTES),
            self.samples,
            file_cid(b"payload"),
            bytes(SIGNATURE_BYTES),
        )
        return len(record.encoded) + self._exchange(size, kind).payload_size

    def down(self, size: int, kind: str = "low_rank") -> int:
        """Bytes of what a participant fetches: the block's header and the model."""
        clients = self.config.clients.per_round
        header = Header(
            chain_id=digest(b"chain"),
            height=self.config.rounds,
            attempt=0,
            step=0,
            timestamp=1_000_000 * self.config.rounds,  # a second a round
            parent=node_cid(b"parent"),
            aggregator=0,
            tickets=digest(b"tickets"),
            updates=digest(b"updates"),
            count=clients,
            samples=clients * self.samples,
            aggregate_cid=file_cid(b"aggregate"),
            snapshot=None,
        )
        return len(header.encoded) + self._exchange(size, kind).down.byte_size
