"""Attacks on the draws: forged and replayed tickets, biased beacons, and seats taken by being
first."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from consensus.adversary.behaviour import Behaviour, behaviour
from consensus.adversary.toolbox import halves, others, with_tickets
from consensus.crypto.suites import Prover
from consensus.crypto.vrf import VrfKey
from consensus.encoding.fields import GAMMA_BYTES, PROOF_BYTES
from consensus.ledger.committee import Draw, enough_draws, next_beacon
from consensus.ledger.sortition import role_hash
from consensus.records.block import Candidate
from consensus.records.ticket import Ticket
from consensus.server.hooks import AT_ONCE, Outgoing

if TYPE_CHECKING:
    from consensus.server.edge_server import EdgeServer

#: Number of variants of a block that a grinder tries under ``paper``.
VARIANTS = 32


@behaviour("forge_tickets", recorded=True)
class ForgeTickets(Behaviour):
    """Sends forged tickets along with its own: a random proof, its own proof in the names of
    another server and of one that does not exist, and a proof whose Gamma is copied from
    another's."""

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        if kind == "ticket" and self.once(body.height, "copy"):
            rest = self.draws(server).bytes(PROOF_BYTES - GAMMA_BYTES)
            copy = Ticket(body.height, server.index, body.proof[:GAMMA_BYTES] + rest)
            self.send(server, "ticket", copy, others(server))
        return True

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        ticket = message.body
        if message.kind != "ticket" or ticket.server != server.index:
            return (message,)
        draws = self.draws(server)
        name = int(draws.choice(others(server) or [server.index]))
        forged = (
            replace(ticket, proof=draws.bytes(PROOF_BYTES)),
            replace(ticket, server=name),
            replace(ticket, server=len(server.genesis.servers) + name),
        )
        return (*(replace(message, body=body) for body in forged), message)


@behaviour("replay_tickets", recorded=True)
class ReplayTickets(Behaviour):
    """Sends tickets of earlier heights, its own and others', both unchanged and relabelled as
    tickets of the next height."""

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        ticket, blocks = message.body, server.chain.blocks
        if message.kind != "ticket" or ticket.server != server.index or not blocks:
            return (message,)
        draws = self.draws(server)
        block = blocks[int(draws.integers(max(0, len(blocks) - 5), len(blocks)))]
        old = [block.tickets[int(place)] for place in draws.integers(len(block.tickets), size=2)]
        old += [one for one in block.tickets if one.server == server.index]
        new = [replace(one, height=ticket.height) for one in old]
        # One that an earlier block recorded for this very height is the draw itself, no replay.
        new = [one for one in new if one not in block.tickets]
        return (*(replace(message, body=body) for body in (*old, *new)), message)


def another_proof(prover: Prover, alpha: bytes, salt: bytes) -> bytes:
    """Another valid proof of a prover's one draw on ``alpha``: the same Gamma, hence the same
    output, with another nonce (32 bytes of ``salt``)."""
    if isinstance(prover, VrfKey):
        return replace(prover, _nonce_prefix=salt).prove(alpha)[0]
    gamma = prover.prove(alpha)[0][:GAMMA_BYTES]
    return gamma + blake2b(b"c" + gamma + salt).digest()[:16] + salt


def without_rivals(server: EdgeServer, candidate: Candidate, allies: Collection[int]) -> Candidate:
    """``candidate`` without the tickets that are best for the next height's first committee and of
    none of the ``allies``, as many as a block may lack; itself if it may lack none."""
    genesis, beacon = server.genesis, server.chain.head.beacon
    electorate = server.chain.head.electorate(genesis)
    kept = list(candidate.tickets)
    rivals = [ticket for ticket in kept if ticket.server not in allies]
    rivals.sort(
        key=lambda ticket: role_hash(
            server.checks.ticket(genesis, beacon, ticket).beta, "committee/0"
        )
    )
    for rival in rivals:
        fewer = [ticket for ticket in kept if ticket is not rival]
        if not enough_draws(electorate, fewer):
            break
        kept = fewer
    return with_tickets(server, candidate, kept)


@behaviour("choose_draws")
class ChooseDraws(Behaviour):
    """Proposes as soon as it has updates, before all draws are in, and leaves out those that would
    seat others than its circle at the next height, as many as a block may lack.

    Members refuse such a block, which costs an attempt. Under ``paper``, whose blocks record no
    draws, it does nothing.
    """

    def waits(self, server: EdgeServer, what: str, honest: float) -> float:
        return 0.0 if what == "tickets" else honest

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        if candidate.turn is not None or not server.chain.protocol.committees_foreseen:
            return candidate
        fewer = without_rivals(server, candidate, self.colluders)
        if fewer is not candidate:
            self.act("left out tickets")
        return fewer


@behaviour("split_tickets")
class SplitTickets(Behaviour):
    """Shows its draw to half of the others alone, who would refuse a block that leaves it out. An
    honest leader that lacks it asks for it. (Under ``paper``, whose blocks record no draws, it
    does nothing.)"""

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        ticket = message.body
        foreseen = server.chain.protocol.committees_foreseen
        if message.kind != "ticket" or ticket.server != server.index or not foreseen:
            return (message,)
        shown, _ = halves(self, server, server.stage()[0], message.to)
        return (replace(message, to=shown),)


@behaviour("grind", recorded=True)
class Grind(Behaviour):
    """Biases the next draws in its circle's favour.

    It shows each half of the others a different proof of its draw. Under ``bft``, in its turn, it
    lets the turn pass if the beacon that its block would produce gives its circle fewer seats than
    its share of the stake; otherwise, every other time, it leaves the best tickets from outside the
    circle out of its candidate, as many as a block may lack. Under ``paper`` it tries variants of
    its block, whose link seeds the next draws, and proposes the one that seats most of its circle.
    """

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        ticket = message.body
        if message.kind != "ticket" or ticket.server != server.index:
            return (message,)
        _, seed = server.chain.protocol.drawn_from(server.chain.head)
        alpha = Ticket.alpha(server.genesis.chain_id, seed, ticket.height)
        proof = another_proof(server.prover, alpha, self.draws(server).bytes(32))
        first, second = halves(self, server, server.stage()[0], message.to)
        self.act("another proof")
        return (
            replace(message, to=[*first, *sorted(self.colluders - {server.index})]),
            replace(message, body=replace(ticket, proof=proof), to=second),
        )

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        if candidate.turn is not None:
            return candidate
        if server.chain.protocol.draws_on_links:
            return self._best_variant(server, candidate)
        if self._is_bad(server):
            self.act("withheld its beacon")
            return None
        if self.draws(server).integers(2):
            fewer = without_rivals(server, candidate, {each.index for each in self._allies(server)})
            if fewer is not candidate:
                self.act("left out tickets")
            return fewer
        return candidate

    def _allies(self, server: EdgeServer) -> list[EdgeServer]:
        return list({server.index: server, **self.circle.servers}.values())

    def _is_bad(self, server: EdgeServer) -> bool:
        """True if its circle draws badly from the beacon that its own output would produce."""
        head = server.chain.head
        genesis = head.electorate(server.genesis)
        mine = [draw.beta for draw in head.draws if draw.server == server.index]
        if not mine:
            return False
        beacon = next_beacon(head.beacon, mine[0])
        alpha = Ticket.alpha(server.genesis.chain_id, beacon, server.height + 2)
        seats, expected = 0, 0.0
        for ally in self._allies(server):
            server.host.charge("vrf_prove")
            hashed = role_hash(ally.prover.prove(alpha)[1], "committee/0")
            stake = genesis.servers[ally.index].stake
            share = genesis.parameters.committee_size * stake / genesis.total_stake
            seats += int.from_bytes(hashed, "big") < min(1.0, share) * 2.0**256
            expected += min(1.0, share)
        return seats < expected - 0.5

    def _best_variant(self, server: EdgeServer, candidate: Candidate) -> Candidate:
        genesis, protocol = server.genesis, server.chain.protocol
        best, most = candidate.header, -1
        for later in range(VARIANTS):
            header = replace(candidate.header, timestamp=candidate.header.timestamp + later)
            alpha = Ticket.alpha(genesis.chain_id, header.cid, header.height + 1)
            server.host.charge("vrf_prove")  # its allies compute theirs themselves
            seats = sum(
                protocol.may_sit(genesis, Draw(ally.index, ally.prover.prove(alpha)[1]))
                for ally in self._allies(server)
            )
            if seats > most:
                best, most = header, seats
        self.act("tried variants")
        if best is candidate.header:
            return candidate
        return replace(candidate, header=best, signature=server.signer.sign(best.signed))


@behaviour("rush", recorded=True)
class Rush(Behaviour):
    """Announces, proposes and votes at once, before its other work is done, and directly to each
    server, its own circle first. Where the first servers to announce become members, the circle
    takes the seats."""

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        if message.kind not in ("ticket", "candidate", "vote"):
            return (message,)
        to = others(server) if message.to is None else message.to
        first = sorted(to, key=lambda index: index not in self.colluders)
        return (replace(message, to=first, delay=AT_ONCE),)

    def waits(self, server: EdgeServer, what: str, honest: float) -> float:
        if what == "tickets":
            return honest  # a block that lacks what others have would be refused
        if what == "propose" and server.index != min(self.colluders, default=server.index):
            return honest  # one of the circle will do: several would divide its votes
        return 0.0
