"""The ledger's vocabulary: what servers and clients say to each other, as frozen records.

Every record has one canonical byte form (DAG-CBOR, `consensus.encoding`): what is signed, hashed,
counted on the wire and stored is that form and nothing else. ``from_node`` refuses whatever is
not exactly a record: unknown or missing fields, wrong types, lengths or ranges raise
`MalformedRecord` and nothing is built.

Links (content identifiers, CIDs) are 36-byte binary CIDv1; times are integer microseconds of
simulated time; nothing here is a float.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Self

from consensus.encoding import EncodingError, decode, digest, encode, is_cid, node_cid

PROOF_BYTES = 80
GAMMA_BYTES = 32
KEY_BYTES = 32
SIGNATURE_BYTES = 64
DIGEST_BYTES = 32
MAX_INT = 2**63 - 1


class MalformedRecord(ValueError):
    """Bytes or a node that is not the record it is taken for."""


def _names(record: type) -> frozenset[str]:
    return frozenset(field.name for field in fields(record))


def _fields(node: Any, record: str, names: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(node, dict):
        raise MalformedRecord(f"{record}: expected a map, got {type(node).__name__}")
    if node.keys() != names:
        odd = sorted(set(map(str, node.keys())) ^ names)
        raise MalformedRecord(f"{record}: missing or unknown fields {', '.join(odd)}")
    return node


def _integer(value: Any, what: str, low: int = 0, high: int = MAX_INT) -> int:
    if type(value) is not int or not low <= value <= high:
        raise MalformedRecord(f"{what}: expected an integer from {low} to {high}")
    return value


def _bytes(value: Any, what: str, length: int) -> bytes:
    if type(value) is not bytes or len(value) != length:
        raise MalformedRecord(f"{what}: expected {length} bytes")
    return value


def _link(value: Any, what: str) -> bytes:
    if type(value) is not bytes or not is_cid(value):
        raise MalformedRecord(f"{what}: expected a link (CIDv1, sha2-256)")
    return value


def _optional_link(value: Any, what: str) -> bytes | None:
    return None if value is None else _link(value, what)


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedRecord(f"{what}: expected a list")
    return value


def _distinct(keys: list[bytes], what: str) -> None:
    """A key that stands twice would give one holder two seats, or two sample counts."""
    if len(set(keys)) != len(keys):
        raise MalformedRecord(f"{what}: stands twice")


def _pair(value: Any, what: str) -> tuple[Any, Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise MalformedRecord(f"{what}: expected a pair")
    return value[0], value[1]


class Record:
    """A frozen record with one canonical byte form."""

    KIND: ClassVar[str]

    def to_node(self) -> Any:
        """The record as DAG-CBOR data (maps, lists, integers, bytes, links)."""
        raise NotImplementedError

    @classmethod
    def from_node(cls, node: Any) -> Self:
        """The record in ``node``; raises `MalformedRecord`."""
        raise NotImplementedError

    @cached_property
    def encoded(self) -> bytes:
        """The canonical bytes: what travels, is counted and is stored."""
        return encode(self.to_node())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The record in ``data``; raises `MalformedRecord`, also for a non-canonical encoding."""
        try:
            return cls.from_node(decode(data))
        except EncodingError as error:
            raise MalformedRecord(f"{cls.KIND}: {error}") from error


def _signing_digest(kind: str, fields: Sequence[Any]) -> bytes:
    """What is signed: the digest of the fields under a tag that names the kind of record, so
    that a signature given for one kind never serves as another."""
    return digest(encode([f"bfedrec/{kind}", *fields]))


@dataclass(frozen=True)
class Member:
    """An edge server as the genesis registers it."""

    signing_key: bytes
    """Ed25519 public key (32 bytes) for candidates and votes."""
    vrf_key: bytes
    """ECVRF-EDWARDS25519 public key (32 bytes) for sortition."""
    stake: int
    """Voting stake, a positive integer."""


@dataclass(frozen=True)
class Parameters:
    """The protocol's constants, fixed by the genesis (Algorithm 2's inputs and its gaps)."""

    committee: str
    """``fixed``: the best ``committee_size`` tickets, one seat each; ``weighted``: every ticket
    counts with its sortition weight, ``committee_size`` being the expected total."""
    committee_size: int
    max_step: int
    """MaxStep: candidates tried before the committee is formed anew."""
    vote_us: int
    """MaxVoteDuration of one step, in microseconds."""
    ticket_us: int
    """How long tickets of an attempt are collected, in microseconds."""
    update_us: int
    """After this long into a height the updates at hand are sufficient, in microseconds."""
    quota: int
    """So many updates are sufficient at once."""

    def to_node(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _PARAMETERS}

    @classmethod
    def from_node(cls, node: Any) -> Self:
        values = dict(_fields(node, "parameters", _PARAMETERS))
        if values["committee"] not in ("fixed", "weighted"):
            raise MalformedRecord("parameters: committee must be fixed or weighted")
        for name in _PARAMETERS - {"committee"}:
            _integer(values[name], f"parameters.{name}", 1)
        return cls(**values)


_PARAMETERS = _names(Parameters)


@dataclass(frozen=True)
class Genesis(Record):
    """Height 0: who takes part, under which rules, from which initial model."""

    KIND: ClassVar[str] = "genesis"

    parameters: Parameters
    servers: tuple[Member, ...]
    clients: tuple[tuple[bytes, int], ...]
    """Each client's Ed25519 public key and its registered sample count N_u, an upper bound on
    what its updates may claim."""
    model: bytes
    """Link to the initial model Q(0)."""
    application: Mapping[str, Any]
    """What the application needs to recompute an aggregate (names and integers)."""
    timestamp: int = 0

    def to_node(self) -> dict[str, Any]:
        return {
            "version": 1,
            "parameters": self.parameters.to_node(),
            "servers": [[s.signing_key, s.vrf_key, s.stake] for s in self.servers],
            "clients": [[key, samples] for key, samples in self.clients],
            "model": self.model,
            "application": dict(self.application),
            "timestamp": self.timestamp,
        }

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = _fields(node, "genesis", _GENESIS)
        _integer(found["version"], "genesis.version (only 1 is known)", 1, 1)
        servers = []
        for entry in _list(found["servers"], "genesis.servers"):
            if not isinstance(entry, list) or len(entry) != 3:
                raise MalformedRecord("genesis.servers: expected [signing key, VRF key, stake]")
            servers.append(
                Member(
                    _bytes(entry[0], "genesis.servers.signing_key", KEY_BYTES),
                    _bytes(entry[1], "genesis.servers.vrf_key", KEY_BYTES),
                    _integer(entry[2], "genesis.servers.stake", 1),
                )
            )
        if not servers:
            raise MalformedRecord("genesis: no servers")
        _distinct([server.signing_key for server in servers], "genesis.servers.signing_key")
        _distinct([server.vrf_key for server in servers], "genesis.servers.vrf_key")
        clients = []
        for entry in _list(found["clients"], "genesis.clients"):
            key, samples = _pair(entry, "genesis.clients")
            clients.append(
                (
                    _bytes(key, "genesis.clients.key", KEY_BYTES),
                    _integer(samples, "genesis.clients.samples"),
                )
            )
        _distinct([key for key, _ in clients], "genesis.clients.key")
        if not isinstance(found["application"], dict):
            raise MalformedRecord("genesis.application: expected a map")
        return cls(
            Parameters.from_node(found["parameters"]),
            tuple(servers),
            tuple(clients),
            _link(found["model"], "genesis.model"),
            found["application"],
            _integer(found["timestamp"], "genesis.timestamp"),
        )

    @cached_property
    def cid(self) -> bytes:
        """The link that block 1 has as its parent."""
        return node_cid(self.encoded)

    @cached_property
    def chain_id(self) -> bytes:
        """32 bytes that every signature and proof of this chain covers."""
        return digest(self.encoded)

    @cached_property
    def total_stake(self) -> int:
        return sum(server.stake for server in self.servers)

    @cached_property
    def registered(self) -> dict[bytes, int]:
        """Sample count by client key."""
        return dict(self.clients)


_GENESIS = _names(Genesis) | {"version"}


@dataclass(frozen=True)
class ModelUpdate(Record):
    """A client's signed claim: from N_u samples, at this height, this payload (its A_u)."""

    KIND: ClassVar[str] = "update"

    chain_id: bytes
    height: int
    parent: bytes
    """The block the client trained on: an update is good for one height of one chain."""
    client: bytes
    """The client's Ed25519 public key."""
    samples: int
    """N_u."""
    payload: bytes
    """Link to the payload; the payload itself travels next to this record."""
    signature: bytes

    def to_node(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _UPDATE}

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = _fields(node, "update", _UPDATE)
        return cls(
            _bytes(found["chain_id"], "update.chain_id", DIGEST_BYTES),
            _integer(found["height"], "update.height", 1),
            _link(found["parent"], "update.parent"),
            _bytes(found["client"], "update.client", KEY_BYTES),
            _integer(found["samples"], "update.samples"),
            _link(found["payload"], "update.payload"),
            _bytes(found["signature"], "update.signature", SIGNATURE_BYTES),
        )

    @staticmethod
    def signing_digest(
        chain_id: bytes, height: int, parent: bytes, client: bytes, samples: int, payload: bytes
    ) -> bytes:
        return _signing_digest("update", [chain_id, height, parent, client, samples, payload])

    @cached_property
    def signed(self) -> bytes:
        """The digest that ``signature`` signs."""
        return self.signing_digest(
            self.chain_id, self.height, self.parent, self.client, self.samples, self.payload
        )

    @cached_property
    def digest(self) -> bytes:
        """The update's name in candidates and in the Merkle tree of a block."""
        return digest(self.encoded)


_UPDATE = _names(ModelUpdate)


@dataclass(frozen=True)
class Ticket(Record):
    """A server's draw in the sortition of (height, attempt), proven by its VRF.

    It needs no signature: nobody else could have made the proof.
    """

    KIND: ClassVar[str] = "ticket"

    height: int
    attempt: int
    server: int
    """Index of the server in the genesis."""
    proof: bytes

    def to_node(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _TICKET}

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = _fields(node, "ticket", _TICKET)
        return cls(
            _integer(found["height"], "ticket.height", 1),
            _integer(found["attempt"], "ticket.attempt"),
            _integer(found["server"], "ticket.server"),
            _bytes(found["proof"], "ticket.proof", PROOF_BYTES),
        )

    @staticmethod
    @lru_cache(maxsize=64)
    def alpha(chain_id: bytes, beacon: bytes, height: int, attempt: int) -> bytes:
        """The VRF input. It holds the attempt, so that a committee formed anew differs from the
        one that failed (the paper's input, the latest block, gives the same one again)."""
        return encode(["bfedrec/ticket", chain_id, beacon, height, attempt])


_TICKET = _names(Ticket)


@dataclass(frozen=True)
class Header(Record):
    """What a block says; its link is the block's identity and the next block's parent."""

    KIND: ClassVar[str] = "header"

    chain_id: bytes
    height: int
    attempt: int
    step: int
    timestamp: int
    parent: bytes
    aggregator: int
    """Index of the server that proposed the block."""
    proof: bytes
    """The aggregator's VRF proof in this attempt; the next beacon derives from its output."""
    committee: bytes
    """Digest of the committee's draws (`committee_digest`)."""
    updates: bytes
    """Merkle root of the digests of the aggregated updates, in their order."""
    count: int
    """How many updates were aggregated."""
    samples: int
    """N, the sum of their sample counts."""
    model: bytes
    """Link (IPFS address) to the aggregated model A."""
    snapshot: bytes | None
    """Link to the whole item matrix Q after this block, at the heights that have one."""

    def to_node(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _HEADER}

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = _fields(node, "header", _HEADER)
        return cls(
            _bytes(found["chain_id"], "header.chain_id", DIGEST_BYTES),
            _integer(found["height"], "header.height", 1),
            _integer(found["attempt"], "header.attempt"),
            _integer(found["step"], "header.step"),
            _integer(found["timestamp"], "header.timestamp"),
            _link(found["parent"], "header.parent"),
            _integer(found["aggregator"], "header.aggregator"),
            _bytes(found["proof"], "header.proof", PROOF_BYTES),
            _bytes(found["committee"], "header.committee", DIGEST_BYTES),
            _bytes(found["updates"], "header.updates", DIGEST_BYTES),
            _integer(found["count"], "header.count", 1),
            _integer(found["samples"], "header.samples", 1),
            _link(found["model"], "header.model"),
            _optional_link(found["snapshot"], "header.snapshot"),
        )

    @cached_property
    def cid(self) -> bytes:
        return node_cid(self.encoded)

    @cached_property
    def signed(self) -> bytes:
        """The digest that the aggregator signs."""
        return _signing_digest("candidate", [self.cid])


_HEADER = _names(Header)


@dataclass(frozen=True)
class Vote(Record):
    """A committee member's signed verdict on one candidate."""

    KIND: ClassVar[str] = "vote"

    chain_id: bytes
    height: int
    attempt: int
    step: int
    block: bytes
    """Link to the candidate's header."""
    approve: bool
    server: int
    signature: bytes

    def to_node(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _VOTE}

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = _fields(node, "vote", _VOTE)
        if type(found["approve"]) is not bool:
            raise MalformedRecord("vote.approve: expected a boolean")
        return cls(
            _bytes(found["chain_id"], "vote.chain_id", DIGEST_BYTES),
            _integer(found["height"], "vote.height", 1),
            _integer(found["attempt"], "vote.attempt"),
            _integer(found["step"], "vote.step"),
            _link(found["block"], "vote.block"),
            found["approve"],
            _integer(found["server"], "vote.server"),
            _bytes(found["signature"], "vote.signature", SIGNATURE_BYTES),
        )

    @staticmethod
    def signing_digest(
        chain_id: bytes, height: int, attempt: int, step: int, block: bytes, approve: bool
    ) -> bytes:
        return _signing_digest("vote", [chain_id, height, attempt, step, block, approve])

    @cached_property
    def signed(self) -> bytes:
        """The digest that ``signature`` signs."""
        return self.signing_digest(
            self.chain_id, self.height, self.attempt, self.step, self.block, self.approve
        )


_VOTE = _names(Vote)


def _tickets_to_node(tickets: tuple[Ticket, ...]) -> list[list[Any]]:
    return [[ticket.server, ticket.proof] for ticket in tickets]


def _tickets_from_node(node: Any, header: Header) -> tuple[Ticket, ...]:
    tickets = []
    for entry in _list(node, "committee"):
        server, proof = _pair(entry, "committee")
        tickets.append(
            Ticket(
                header.height,
                header.attempt,
                _integer(server, "committee.server"),
                _bytes(proof, "committee.proof", PROOF_BYTES),
            )
        )
    return tuple(tickets)


def committee_digest(tickets: tuple[Ticket, ...]) -> bytes:
    """What ``Header.committee`` holds: the members and their draws, in their order.

    Of a proof only Gamma counts, its first 32 bytes, which fixes the output beta. The rest may be
    made anew at will by the key's holder, who could else show every server another proof of the
    same draw and have them disagree about a committee on which they agree.
    """
    return digest(encode([[ticket.server, ticket.proof[:GAMMA_BYTES]] for ticket in tickets]))


@dataclass(frozen=True)
class Candidate(Record):
    """A proposed block: its header, signed by the aggregator, with the committee it is for and
    the digests of the updates it aggregates."""

    KIND: ClassVar[str] = "candidate"

    header: Header
    signature: bytes
    committee: tuple[Ticket, ...]
    updates: tuple[bytes, ...]

    def to_node(self) -> dict[str, Any]:
        return {
            "header": self.header.to_node(),
            "signature": self.signature,
            "committee": _tickets_to_node(self.committee),
            "updates": list(self.updates),
        }

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = _fields(
            node, "candidate", frozenset(("header", "signature", "committee", "updates"))
        )
        header = Header.from_node(found["header"])
        return cls(
            header,
            _bytes(found["signature"], "candidate.signature", SIGNATURE_BYTES),
            _tickets_from_node(found["committee"], header),
            tuple(
                _bytes(entry, "candidate.updates", DIGEST_BYTES)
                for entry in _list(found["updates"], "candidate.updates")
            ),
        )


@dataclass(frozen=True)
class Block(Record):
    """A validated block: the updates are gone, the address of the model and the signatures of
    more than two thirds of the committee stay (paper, III.D)."""

    KIND: ClassVar[str] = "block"

    header: Header
    signature: bytes
    committee: tuple[Ticket, ...]
    certificate: tuple[tuple[int, bytes], ...]
    """The approving members and their vote signatures, by ascending server index."""

    def to_node(self) -> dict[str, Any]:
        return {
            "header": self.header.to_node(),
            "signature": self.signature,
            "committee": _tickets_to_node(self.committee),
            "certificate": [[server, signature] for server, signature in self.certificate],
        }

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = _fields(
            node, "block", frozenset(("header", "signature", "committee", "certificate"))
        )
        header = Header.from_node(found["header"])
        certificate = []
        for entry in _list(found["certificate"], "block.certificate"):
            server, signature = _pair(entry, "block.certificate")
            certificate.append(
                (
                    _integer(server, "block.certificate.server"),
                    _bytes(signature, "block.certificate.signature", SIGNATURE_BYTES),
                )
            )
        return cls(
            header,
            _bytes(found["signature"], "block.signature", SIGNATURE_BYTES),
            _tickets_from_node(found["committee"], header),
            tuple(certificate),
        )

    @property
    def height(self) -> int:
        return self.header.height

    @property
    def cid(self) -> bytes:
        """The link to the block's header: its identity, and the next block's parent."""
        return self.header.cid
