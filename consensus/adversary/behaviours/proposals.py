"""Attacks on proposals: wrong models, two blocks at once, floods, and updates left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from consensus.adversary.behaviour import Behaviour, behaviour
from consensus.adversary.toolbox import half_of, halves, others, sign_vote, twin_of
from consensus.application import Contents
from consensus.encoding.unixfs import file_cid
from consensus.ledger.updates import updates_root
from consensus.records.block import Candidate, Header
from consensus.records.ticket import Ticket, tickets_digest
from consensus.records.view import View
from consensus.server.hooks import Outgoing

if TYPE_CHECKING:
    from consensus.server.edge_server import EdgeServer


#: Seconds by which an equivocating leader's circle gets its proposals before the others, and the
#: most by which the farther half of the others gets them before the nearer.
HEAD_START: Final = 0.08


@behaviour("gaussian", recorded=True)
class Gaussian(Behaviour):
    """Proposes random values as the aggregate (paper, IV.D): float32 standard normals."""

    decides_alone = True

    def contents(self, honest: Contents, generator: np.random.Generator) -> Contents:
        values = generator.standard_normal(len(honest.aggregate) // 4, dtype=np.float32)
        return replace(honest, aggregate=values.astype("<f4").tobytes())


@behaviour("equivocate_candidates", recorded=True)
class EquivocateCandidates(Behaviour):
    """Proposes two valid blocks in its turn, one to each half of the others.

    Its circle is told first; then the halves, of which the nearer may be told a little later, so
    that each half may hear its own votes before the other's. A locked block is proposed as it is,
    since any other would be refused.
    """

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        candidate = message.body
        if (
            message.kind != "candidate"
            or candidate.proposer != server.index
            or candidate.turn is not None
        ):
            return (message,)
        header = twin_of(candidate)
        twin = replace(candidate, header=header, signature=server.signer.sign(header.signed))
        allies = [
            ally
            for ally in sorted(self.colluders - {server.index})
            if message.to is None or ally in message.to
        ]
        parts = halves(self, server, candidate.view[0], message.to)
        start = message.delay + HEAD_START
        late = start + float(self.draws(server).uniform(0.0, HEAD_START))
        said = [replace(message, to=allies)]
        for body in (candidate, twin):
            to = parts[half_of(body.header)]
            delay = late if self._is_near(server, to) else start
            said.append(replace(message, body=body, to=to, delay=delay))
        return said

    def _is_near(self, server: EdgeServer, half: Sequence[int]) -> bool:
        regions = self.circle.regions
        if not regions:
            return False
        return 2 * sum(regions[index] == regions[server.index] for index in half) > len(half)


@behaviour("spam", recorded=True)
class Spam(Behaviour):
    """Floods the others: at the beginning of every attempt it proposes out of turn, in views of
    this attempt and of far ones, and votes for blocks that nobody has proposed, several in each
    view. Under ``paper`` it proposes in every step, without waiting, a block of updates that do not
    exist."""

    def entered(self, server: EdgeServer) -> None:
        attempt, step = server.stage()
        if step:
            return
        draws, steps = self.draws(server), server.parameters.max_step
        far = int(draws.integers(2**32))
        for view in ((attempt, 0), (attempt, steps), (attempt + 1, 0), (attempt + 3 + far, 0)):
            self.send(server, "candidate", self._candidate(server, view), others(server))
        for view in ((attempt, 0), (attempt + 1, steps - 1), (attempt + 3 + far, 0)):
            for phase in server.chain.protocol.phases:
                block = file_cid(draws.bytes(8))
                self.send(server, "vote", sign_vote(server, phase, view, block), others(server))

    def waits(self, server: EdgeServer, what: str, honest: float) -> float:
        return 0.0 if what == "propose" else honest

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        if server.chain.protocol.takes_turns:
            return candidate
        return self._candidate(server, candidate.view, candidate.tickets)

    def _candidate(
        self, server: EdgeServer, view: View, tickets: tuple[Ticket, ...] = ()
    ) -> Candidate:
        """A candidate of invented contents; only its signature and its tickets are valid."""
        head, update = server.chain.head, self.draws(server).bytes(32)
        header = Header(
            chain_id=server.genesis.chain_id,
            height=server.height,
            attempt=view[0],
            step=view[1],
            timestamp=max(server.host.now_us(), head.timestamp + 1),
            parent=head.cid,
            aggregator=server.index,
            tickets=tickets_digest(tickets),
            updates=updates_root((update,)),
            count=1,
            samples=1,
            aggregate_cid=file_cid(update),
            snapshot=None,
        )
        return Candidate(header, server.signer.sign(header.signed), tickets, (update,))


@behaviour("censor", recorded=True)
class Censor(Behaviour):
    """Takes no updates from clients, relays none, and leaves as many as possible out of its
    aggregates: all beyond the quota or, once the deadline has passed, all but one."""

    relays = False

    def takes(self, server: EdgeServer, client: bytes) -> bool:
        return False

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        updates = server.pool.pick(candidate.updates)
        quota = server.parameters.quota
        if candidate.turn is not None or updates is None:
            return candidate
        count = quota if len(updates) > quota else 1 if server.late else len(updates)
        if count == len(updates):
            return candidate
        self.act("left out updates")
        chosen = sorted(self.draws(server).choice(len(updates), count, replace=False).tolist())
        kept = [updates[place] for place in chosen]
        contents, settlement = server.contents.aggregate(kept), candidate.settlement
        header = server.contents.header_for(
            kept, contents, *candidate.view, candidate.header.tickets
        )
        if settlement is not None:
            settlement = replace(settlement, uses=contents.uses)
        return replace(
            candidate,
            header=header,
            signature=server.signer.sign(header.signed),
            updates=tuple(update.record.digest for update in kept),
            settlement=settlement,
        )
