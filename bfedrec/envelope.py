"""What travels with a payload: the sizes of low-rank messages, as the program encodes them."""

from __future__ import annotations

from dataclasses import dataclass

from bfedrec.aggregation import rule_named
from bfedrec.settings import Config
from consensus.encoding import digest, file_cid, node_cid
from consensus.fields import KEY_BYTES, SIGNATURE_BYTES
from consensus.records import Header, ModelUpdate


@dataclass(frozen=True)
class Envelope:
    """Messages of a run's last round; its integers are the longest."""

    config: Config
    items: int
    """N."""
    samples: int
    """N_u of a client."""

    def up(self, size: int) -> int:
        """Bytes of one client's update: the signed record, A of `size` x N, and the mask where the
        rule of aggregation needs one."""
        record = ModelUpdate(
            digest(b"chain"),
            self.config.rounds,
            node_cid(b"parent"),
            bytes(KEY_BYTES),
            self.samples,
            file_cid(b"payload"),
            bytes(SIGNATURE_BYTES),
        )
        return len(record.encoded) + rule_named(self.config.aggregation.rule).payload_size(
            size, self.items
        )

    def down(self, size: int) -> int:
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
            model=file_cid(b"model"),
            snapshot=None,
        )
        return len(header.encoded) + rule_named("samples").payload_size(size, self.items)
