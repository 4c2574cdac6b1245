"""The record of height 0: the participants, the protocol's parameters and the initial model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

from consensus.crypto.suites import SUITES, Suite, suite_named
from consensus.encoding.cid import digest, node_cid
from consensus.encoding.fields import (
    KEY_BYTES,
    MalformedRecord,
    Record,
    distinct,
    fields_of,
    fixed_bytes,
    integer,
    items_of,
    link,
    names_of,
    one_of,
    pair,
)
from consensus.encoding.node import Node


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

    protocol: str
    """The name of a protocol (`consensus.protocols.registry`); a record may name any, and who acts
    on it refuses one that is not known."""
    crypto: str
    """``real`` curves, or ``modelled`` by keyed hashes (`consensus.crypto.suites`)."""
    committee: str
    """``fixed``: the best ``committee_size`` draws, one seat each; ``weighted``: every draw
    counts with its sortition weight, ``committee_size`` being the expected total. A protocol may
    know only one of them (`consensus.ledger.protocol.Protocol.committees`)."""
    committee_size: int
    max_step: int
    """MaxStep: candidates that are tried before the committee is formed anew."""
    vote_us: int
    """MaxVoteDuration of one step, in microseconds; under ``bft`` half as much more with every
    further attempt."""
    ticket_us: int
    """Microseconds during which draws are collected. ``paper``: draws are announced in the first
    half of it, and after it fewer members than seats are enough."""
    update_us: int
    """Microseconds after the start of a height from which any updates at hand are sufficient."""
    quota: int
    """Number of updates that are sufficient at once."""
    settle_us: int
    """``bft``: microseconds during which a member that saw more than two thirds but no more than
    five sixths of the soft votes listens for another proposal of the view before it certifies."""
    recovery_us: int
    """``bft``: microseconds after which all servers together close an attempt, counted from the end
    of a view's time if nothing closed that view; 0: never."""
    resend_us: int
    """Microseconds without progress after which a server repeats its messages, and asks others."""

    def to_node(self) -> Node:
        """The parameters as DAG-CBOR data: a map by field name."""
        return {name: getattr(self, name) for name in _PARAMETERS}

    @classmethod
    def from_node(cls, node: Any) -> Self:
        """The parameters that ``node`` describes; raises `MalformedRecord` if it describes none."""
        values = dict(fields_of(node, "parameters", _PARAMETERS))
        for name, allowed in _WORDS.items():
            one_of(values[name], f"parameters.{name}", allowed)
        if type(values["protocol"]) is not str:
            raise MalformedRecord("parameters.protocol: expected a protocol's name")
        for name in _PARAMETERS - _WORDS.keys() - {"protocol"}:
            integer(values[name], f"parameters.{name}", 0 if name in _MAY_BE_ZERO else 1)
        return cls(**values)


_PARAMETERS = names_of(Parameters)
_WORDS = {
    "crypto": tuple(SUITES),
    "committee": ("fixed", "weighted"),
}
_MAY_BE_ZERO = {"settle_us", "recovery_us"}


@dataclass(frozen=True)
class Genesis(Record):
    """Height 0: the participants, the protocol's parameters and the initial model."""

    KIND: ClassVar[str] = "genesis"

    parameters: Parameters
    servers: tuple[Member, ...]
    clients: tuple[tuple[bytes, int], ...]
    """Each client's Ed25519 public key (32 bytes) and its registered sample count N_u, an upper
    bound on the count in its updates."""
    model: bytes
    """Link to the initial model Q(0)."""
    application: Mapping[str, Any]
    """The application's own parameters (names and integers), needed to recompute an aggregate."""
    timestamp: int = 0

    def to_node(self) -> Node:
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
        found = fields_of(node, "genesis", _GENESIS)
        integer(found["version"], "genesis.version (only 1 is known)", 1, 1)
        servers = []
        for entry in items_of(found["servers"], "genesis.servers"):
            if not isinstance(entry, list) or len(entry) != 3:
                raise MalformedRecord("genesis.servers: expected [signing key, VRF key, stake]")
            servers.append(
                Member(
                    fixed_bytes(entry[0], "genesis.servers.signing_key", KEY_BYTES),
                    fixed_bytes(entry[1], "genesis.servers.vrf_key", KEY_BYTES),
                    integer(entry[2], "genesis.servers.stake", 1),
                )
            )
        if not servers:
            raise MalformedRecord("genesis: no servers")
        distinct([server.signing_key for server in servers], "genesis.servers.signing_key")
        distinct([server.vrf_key for server in servers], "genesis.servers.vrf_key")
        clients = []
        for entry in items_of(found["clients"], "genesis.clients"):
            key, samples = pair(entry, "genesis.clients")
            clients.append(
                (
                    fixed_bytes(key, "genesis.clients.key", KEY_BYTES),
                    integer(samples, "genesis.clients.samples"),
                )
            )
        distinct([key for key, _ in clients], "genesis.clients.key")
        if not isinstance(found["application"], dict):
            raise MalformedRecord("genesis.application: expected a map")
        return cls(
            Parameters.from_node(found["parameters"]),
            tuple(servers),
            tuple(clients),
            link(found["model"], "genesis.model"),
            found["application"],
            integer(found["timestamp"], "genesis.timestamp"),
        )

    @cached_property
    def cid(self) -> bytes:
        """The link to the genesis, which is the ``parent`` of block 1."""
        return node_cid(self.encoded)

    @cached_property
    def chain_id(self) -> bytes:
        """32 bytes that identify this chain; every signature and proof made for it covers them."""
        return digest(self.encoded)

    @cached_property
    def suite(self) -> Suite:
        """The suite of cryptography that this chain's participants use."""
        return suite_named(self.parameters.crypto)

    @cached_property
    def stakes(self) -> tuple[int, ...]:
        """Every server's stake, by index."""
        return tuple(server.stake for server in self.servers)

    @cached_property
    def total_stake(self) -> int:
        """The sum of all stakes."""
        return sum(server.stake for server in self.servers)

    @cached_property
    def registered(self) -> dict[bytes, int]:
        """Registered sample count N_u by the client's public key."""
        return dict(self.clients)


_GENESIS = names_of(Genesis) | {"version"}
