"""The uplink of a round: clients' signed messages, their edge servers, and their times of
arrival."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from bfedrec.config.schema import Config
from bfedrec.federation.client_links import ClientLinks
from bfedrec.federation.global_model import GlobalModel
from bfedrec.federation.participants import Participants
from bfedrec.learning.upload import Upload
from consensus.encoding.unixfs import file_cid
from consensus.ledger.updates import SignedUpdate
from consensus.ledger.validity import Head
from consensus.records.genesis import Genesis
from consensus.records.update import UpdateRecord
from consensus.simulation.results import Arrival

Sent = tuple[Upload, SignedUpdate]
"""A client's upload, before it is encoded, and the signed message."""


class Uplink:
    """Signing of uploads, and their way to the edge servers."""

    def __init__(
        self,
        config: Config,
        sample_counts: np.ndarray,
        participants: Participants,
        links: ClientLinks,
        genesis: Genesis,
        model: GlobalModel,
    ) -> None:
        """``sample_counts``: int64[M], the N_u by which the time of training is charged."""
        self._config = config
        self._sample_counts = sample_counts
        self._participants = participants
        self._links = links
        self._genesis = genesis
        self._model = model
        shape = (model.rank, model.items)
        payload = None if model.secure is None else model.secure.largest_payload
        typical = Upload(
            0, np.zeros(shape, np.float32), np.zeros(model.items, np.bool_), 1, payload
        )
        head = Head.of_genesis(genesis)
        typical = self.encoded(head.height + 1, head.beacon, typical)
        self.message_bytes = self.sign(head, typical).wire_bytes
        """Bytes of an update's message, known before training ends: two differ by the few bytes
        that their integers' digits take."""

    def encoded(self, height: int, beacon: bytes, upload: Upload) -> Upload:
        """``upload`` as it is sent in the round of ``height``, with this beacon: its payload and
        the address of that, without the update."""
        if upload.message is not None:
            return upload.without_update()
        payload = upload.payload
        if payload is None:
            exchange = self._model.exchange_at(height)
            payload = exchange.encode(upload.A, upload.touched, beacon)
        # Hashed once for all servers, in the thread of the training: hashing lets go of the
        # interpreter.
        return replace(upload.without_update(), payload=payload, link=file_cid(payload))

    def sign(self, head: Head, upload: Upload) -> SignedUpdate:
        """The message of an ``upload`` that is `encoded` for the round after ``head``."""
        if upload.message is not None:
            return upload.message
        key = self._participants.client_key(upload.client)
        chain_id, height = self._genesis.chain_id, head.height + 1 - upload.age
        payload, link, parent = upload.payload, upload.link, upload.parent or head.cid
        assert payload is not None
        assert link is not None
        signature = key.sign(
            UpdateRecord.signing_digest(chain_id, height, parent, key.public, upload.samples, link)
        )
        record = UpdateRecord(chain_id, height, parent, key.public, upload.samples, link, signature)
        return SignedUpdate.by_signer(record, payload)

    def signed_all(self, head: Head, uploads: Sequence[Upload]) -> list[Sent]:
        """Uploads that are `encoded` for the round after ``head``, with their messages."""
        return [(upload, self.sign(head, upload)) for upload in uploads]

    def signed(self, head: Head, client: int, payload: bytes) -> SignedUpdate:
        """The message of a payload that a client sends in the round after ``head``; it states the
        samples that the genesis registers."""
        nothing, nowhere = np.empty((0, 0), np.float32), np.empty(0, np.bool_)
        samples = self._genesis.clients[client][1]
        upload = Upload(client, nothing, nowhere, samples, payload)
        return self.sign(head, self.encoded(head.height + 1, head.beacon, upload))

    def times(self, now: float, clients: np.ndarray, fetched: np.ndarray) -> np.ndarray:
        """Simulated second at which each client's update reaches its server, float64[m]: it trains
        until `ready`, signs and sends."""
        ready = self.ready(now, clients, fetched)
        sending = self._links.upload_seconds(clients, self.message_bytes)
        return np.asarray(ready + self._config.costs.sign + sending)

    def ready(self, now: float, clients: np.ndarray, fetched: np.ndarray) -> np.ndarray:
        """Simulated second at which each client has trained, float64[m]: it fetches ``fetched``
        bytes (int64[m]) from ``now`` on, and trains."""
        config, training, costs = self._config, self._config.training, self._config.costs
        samples = training.chosen.samples(
            training, self._sample_counts[clients], self._model.items, config.model.dimension
        )
        serve = costs.store_get + costs.store_get_per_mib * fetched / 2**20
        return np.asarray(
            now
            + serve
            + self._links.download_seconds(clients, fetched)
            + config.clients.seconds_per_sample * samples
        )

    def arrivals(
        self, clients: np.ndarray, times: np.ndarray, sent: Callable[[int], Sent]
    ) -> list[Arrival]:
        """One arrival for each client; ``sent`` gives the message of the client at a place of the
        cohort, once it arrives."""
        return [
            Arrival(
                float(times[place]),
                int(self._links.server[client]),
                lambda place=place: sent(place)[1],  # type: ignore[misc]
            )
            for place, client in enumerate(clients)
        ]

    def arrivals_of(
        self, sent: list[Sent], clients: np.ndarray, times: np.ndarray
    ) -> list[Arrival]:
        """Arrivals of a round under attack, in which a client may send no message, or several: each
        to another server, from the nearest on. A message of a client outside of the cohort arrives
        with the first."""
        trained = dict(zip(clients.tolist(), times.tolist(), strict=True))
        begun = min(trained.values())
        count: Counter[int] = Counter()
        arrivals = []
        for upload, message in sent:
            client = upload.client
            server = int(self._links.server[client]) + count[client]
            arrivals.append(
                Arrival(
                    trained.get(client, begun),
                    server % self._config.servers.count,
                    lambda message=message: message,  # type: ignore[misc]
                )
            )
            count[client] += 1
        return arrivals
