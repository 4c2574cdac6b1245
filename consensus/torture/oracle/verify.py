"""An independent implementation of the rules for valid blocks, apart from the tested code.

It shares the primitives (hashes, signatures, the race for one seat), which have tests and vectors
of their own. The forming of committees from draws, the conditions on a certificate and those on an
aggregate are written here a second time. A function named ``*_fault`` returns the fault as a text,
or None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256, sha512
from itertools import pairwise
from typing import Any

from consensus.encoding.dag_cbor import encode
from consensus.ledger.sortition import race_key, role_hash, weight
from consensus.ledger.updates import SignedUpdate
from consensus.records.block import Block, Header
from consensus.records.genesis import Genesis
from consensus.records.votes import Certificate, TimeoutCertificate
from consensus.torture.arena.rig import weighted_mean

Betas = dict[int, bytes]
"""VRF outputs by server: the draws that the block before a height recorded."""

#: Number of attempts for which every draw that may win is announced.
FORESEEN = 4
#: Attempts with committees of their own where a third of the stake might capture one.
DISTINCT = 32


@dataclass(frozen=True)
class Seats:
    """The voters of an attempt with their weights, the total weight, and the order of turns."""

    weights: dict[int, int]
    total: int
    order: tuple[int, ...]
    """The server whose turn it is, by step."""

    def stepped(self, max_step: int) -> Seats:
        """The same seats with so many turns."""
        return replace(self, order=self.order[:max_step])

    def rotated(self, attempt: int) -> Seats:
        """The same seats with the turn of one attempt: members take turns, attempt by attempt."""
        turns = [server for server in self.order if server in self.weights]
        return replace(self, order=(turns[attempt % len(turns)],))

    def of(self, servers: set[int]) -> int:
        """The summed weight of ``servers``."""
        return sum(self.weights.get(server, 0) for server in servers)


@lru_cache(maxsize=256)  # many members sign the same digest
def signed(kind: str, *fields: Any) -> bytes:
    """The digest that a signature of this kind signs; ``fields`` are encoded with tuples as
    lists."""
    listed = [list(field) if type(field) is tuple else field for field in fields]
    return sha256(encode([f"bfedrec/{kind}", *listed])).digest()


# -- draws ----------------------------------------------------------------------------------------


def first_betas(genesis: Genesis) -> Betas:
    """The public draws of height 1."""
    return {
        index: sha512(b"bfedrec/first draw" + genesis.chain_id + member.vrf_key).digest()
        for index, member in enumerate(genesis.servers)
    }


def first_beacon(genesis: Genesis) -> bytes:
    """The beacon of height 1."""
    return sha256(b"bfedrec/beacon" + genesis.chain_id).digest()


def next_beacon(beacon: bytes, beta: bytes) -> bytes:
    """The beacon after ``beacon``, given the VRF output of the block's aggregator."""
    return sha256(b"bfedrec/beacon" + beacon + role_hash(beta, "beacon")).digest()


def spare_beta(genesis: Genesis, beacon: bytes, server: int) -> bytes:
    """The public draw of a server without a ticket in the block before."""
    return sha512(b"bfedrec/spare draw" + beacon + genesis.servers[server].vrf_key).digest()


def most_seats(stakes: Sequence[int]) -> int:
    """The greatest number of servers that have at most a third of the stake together."""
    left, held = sum(stakes), 0
    for count, stake in enumerate(sorted(filter(None, stakes))):
        held += stake
        if 3 * held > left:
            return count
    return 0


def seats(
    genesis: Genesis, beacon: bytes, betas: Betas, attempt: int, stakes: Sequence[int]
) -> Seats:
    """The committee of an attempt, from a height's beacon and recorded draws, and all servers in
    the order of their turns; without those that have no stake left, unless none has."""
    parameters = genesis.parameters
    if not any(stakes):
        stakes = [member.stake for member in genesis.servers]
    staked = [server for server, stake in enumerate(stakes) if stake]
    public = attempt >= FORESEEN and not betas.keys() >= set(staked)
    every = {
        server: spare_beta(genesis, beacon, server)
        if public or server not in betas
        else betas[server]
        for server in staked
    }
    alike = len({stakes[server] for server in staked}) == 1

    def finish(server: int, role: str) -> Any:
        hashed = role_hash(every[server], role)
        return hashed if alike else race_key(hashed, stakes[server])

    def raced(role: str) -> list[int]:
        late = attempt >= FORESEEN
        keys = {
            server: (not late and server not in betas, finish(server, role)) for server in every
        }
        return sorted(keys, key=keys.__getitem__)

    size = parameters.committee_size
    if len(staked) < len(stakes):
        size = min(size, len(staked))
    number, fixed = attempt, parameters.committee == "fixed"
    if attempt >= DISTINCT and not (fixed and most_seats(stakes) * 3 <= size * 2):
        number = FORESEEN + (attempt - DISTINCT) % (DISTINCT - FORESEEN)
    role = f"committee/{number}"
    if parameters.committee == "fixed":
        weights = dict.fromkeys(raced(role)[:size], 1)
    else:
        total = sum(stakes)
        weights = {}
        for server in raced(role):
            if server in betas or attempt >= FORESEEN:
                drawn = role_hash(every[server], role)
                weights[server] = weight(drawn, stakes[server], total, size)
        weights = {server: count for server, count in weights.items() if count}
    order = tuple(raced(f"aggregator/{attempt}"))
    return Seats(weights, max(size, sum(weights.values())), order)


def betas_of(genesis: Genesis, seed: bytes, height: int, block: Block) -> Betas | str:
    """The outputs of a block's draws, made from ``seed`` for ``height``; a text if one is
    invalid."""
    betas: Betas = {}
    alpha = encode(["bfedrec/ticket", genesis.chain_id, seed, height])
    for ticket in block.tickets:
        if ticket.height != height or ticket.server in betas:
            return f"the ticket of server {ticket.server}"
        try:
            key = genesis.servers[ticket.server].vrf_key
            betas[ticket.server] = genesis.suite.vrf_verify(key, alpha, ticket.proof)
        except (IndexError, ValueError):
            return f"the ticket of server {ticket.server} proves nothing"
    named = [[ticket.server, ticket.proof[:32]] for ticket in block.tickets]
    if sha256(encode(named)).digest() != block.header.tickets:
        return "its tickets are not those of its header"
    return betas


# -- certificates ---------------------------------------------------------------------------------


def certificate_fault(
    genesis: Genesis, certificate: Certificate, phase: str, seats: Seats
) -> str | None:
    """The fault of a certificate for votes in ``phase``; None if it is valid."""
    if certificate.phase != phase:
        return f"it is of the {certificate.phase} phase"
    if certificate.step >= len(seats.order):
        return "it is of a step that there is not"
    digest = signed(
        "vote",
        genesis.chain_id,
        certificate.height,
        certificate.attempt,
        certificate.step,
        phase,
        certificate.block,
    )
    signers = set()
    for server, signature in certificate.signatures:
        if server in signers:
            return f"server {server} signed twice"
        signers.add(server)
        if server not in seats.weights:
            return f"server {server} has no seat"
        if not genesis.suite.verify(genesis.servers[server].signing_key, digest, signature):
            return f"server {server}'s signature"
    if not seats.of(signers) * 3 > seats.total * 2:
        return f"{seats.of(signers)} of {seats.total} is not more than two thirds"
    return None


def closing_fault(
    genesis: Genesis, closed: TimeoutCertificate, seats: Seats, stakes: Sequence[int]
) -> str | None:
    """The fault of a timeout certificate, apart from its lock's signatures; None if it is valid.
    ``stakes``: those by which its height's committees are drawn."""
    signers, locks = set(), []
    for server, lock, signature in closed.entries:
        if server in signers:
            return f"server {server} signed twice"
        signers.add(server)
        if not closed.everyone and server not in seats.weights:
            return f"server {server} has no seat"
        digest = signed(
            "timeout",
            genesis.chain_id,
            closed.height,
            closed.attempt,
            closed.step,
            closed.everyone,
            lock,
        )
        if not genesis.suite.verify(genesis.servers[server].signing_key, digest, signature):
            return f"server {server}'s signature"
        if lock is not None:
            locks.append(lock)
    if closed.everyone:
        whole = sum(stakes)
        stake = sum(stakes[server] for server in signers)
        if not stake * 3 >= whole * 2:
            return f"{stake} of {whole} is less than two thirds of all stake"
    elif not seats.of(signers) * 3 > seats.total * 2:
        return f"{seats.of(signers)} of {seats.total} is not more than two thirds"
    if closed.lock is None:
        return "it hides a lock" if locks else None
    if closed.lock.view != max((lock[:2] for lock in locks), default=None):
        return "its lock is not the highest"
    if closed.lock.view >= (closed.attempt + 1, 0) or (
        not closed.everyone and closed.lock.view > closed.view
    ):
        return "its lock is of a later view"
    return None


# -- contents -------------------------------------------------------------------------------------


def update_fault(genesis: Genesis, header: Header, update: SignedUpdate) -> str | None:
    """The fault of an update that a block aggregates; None if it is valid."""
    record = update.record
    if record.chain_id != genesis.chain_id:
        return "of another chain"
    if record.height != header.height or record.parent != header.parent:
        return "for another block"
    known = dict(genesis.clients).get(record.client)
    if known is None:
        return "of an unknown client"
    if not 0 < record.samples <= known:
        return f"with N_u = {record.samples} of {known}"
    if record.payload[4:] != sha256(update.payload).digest():
        return "with another payload"
    digest = signed(
        "update",
        record.chain_id,
        record.height,
        record.parent,
        record.client,
        record.samples,
        record.payload,
    )
    if not genesis.suite.verify(record.client, digest, record.signature):
        return "with a bad signature"
    return None


def aggregate_fault(header: Header, updates: Sequence[SignedUpdate]) -> str | None:
    """The fault of a header's claims about its (valid) updates; None if they are right."""
    digests = [sha256(update.record.encoded).digest() for update in updates]
    if any(a >= b for a, b in pairwise(digests)):
        return "its updates are not in ascending order"
    if len({update.record.client for update in updates}) < len(updates):
        return "it has two updates of one client"
    if header.count != len(updates):
        return "it states another count"
    if header.samples != sum(update.record.samples for update in updates):
        return "it states another N"
    aggregate = weighted_mean(
        [update.payload for update in updates], [update.record.samples for update in updates]
    )
    if header.aggregate_cid != b"\x01\x55\x12\x20" + sha256(aggregate).digest():
        return "its model is not the aggregate of its updates"
    return None


def merkle(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of RFC 6962, written as in its definition."""
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    if not leaves:
        return sha256(b"").digest()
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return sha256(b"\x01" + merkle(leaves[:split]) + merkle(leaves[split:])).digest()
