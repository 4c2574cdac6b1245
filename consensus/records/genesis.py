"""The record of height 0: the participants, the protocol's parameters, the initial model, and the
run that made the chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

from consensus.crypto.suites import SUITES, Suite, suite_named
from consensus.encoding.cid import EncodingError, digest, node_cid
from consensus.encoding.dag_cbor import encode
from consensus.encoding.fields import (
    DIGEST_BYTES,
    KEY_BYTES,
    MAX_INT,
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


MILLION = 1_000_000
"""The whole, of which the shares of `Incentives` are parts."""


@dataclass(frozen=True)
class Incentives:
    """The constants by which stake moves (`consensus.ledger.stakes`). Shares are parts per
    million."""

    treasury: int
    """Stake that belongs to nobody at first, out of which rewards are paid."""
    slash: int
    """Share of a server's stake that one piece of evidence takes, at least 1."""
    report: int
    """Share of what was taken that goes to the aggregator that brought the evidence."""
    reward: int
    """Share of the treasury that is paid out at a height."""
    propose: int
    """Share of what is paid out that goes to the aggregator."""
    leak: int
    """Share of its stake that a member of a committee loses where its signature is missing in spite
    of ``patience``."""
    patience: int
    """Number of missing signatures that cost nothing."""
    window: int
    """Number of heights for which evidence counts."""
    use: int = 0
    """Share of what is paid out that goes by the measured use of updates; 0, and no place in the
    encoding, where nothing does."""

    def to_node(self) -> Node:
        """The constants as DAG-CBOR data: a map by field name."""
        names = _INCENTIVES if self.use else _INCENTIVES - {"use"}
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_node(cls, node: Any) -> Self:
        """The constants that ``node`` describes; raises `MalformedRecord` if it describes none."""
        absent = {"use"} - node.keys() if isinstance(node, dict) else set()
        found = fields_of(node, "genesis.incentives", _INCENTIVES - absent)
        high = {"treasury": MAX_INT, "patience": MAX_INT, "window": MAX_INT}
        return cls(
            **{
                name: integer(
                    found[name],
                    f"genesis.incentives.{name}",
                    1 if name in ("slash", "window", "use") else 0,
                    high.get(name, MILLION),
                )
                for name in _INCENTIVES - absent
            }
        )


_INCENTIVES = names_of(Incentives)


RETENTIONS = ("none", "window", "all")
"""The policies of retention: updates whose bytes stay in the store after their block."""


@dataclass(frozen=True)
class Run:
    """The run that a chain records, as far as no block shows it: its config, and the updates whose
    bytes it keeps."""

    config: bytes
    """SHA-256 (32 bytes) of the config, computed by the application."""
    retain: str
    """One of `RETENTIONS`."""
    window: int = 0
    """``window``: the number of last heights whose updates stay; 0 under another policy."""

    @property
    def policy(self) -> str:
        """The policy of retention in words."""
        window = f"the updates of the last {self.window} heights"
        return {"none": "no updates", "window": window, "all": "all updates"}[self.retain]

    def keeps(self, height: int, last: int) -> bool:
        """True if the store of a chain of ``last`` blocks must hold the updates of ``height``."""
        return self.retain == "all" or height > last - self.window

    def to_node(self) -> Node:
        """The run as DAG-CBOR data: a map by field name."""
        return {name: getattr(self, name) for name in _RUN}

    @classmethod
    def from_node(cls, node: Any) -> Self:
        """The run that ``node`` describes; raises `MalformedRecord` if it describes none."""
        found = fields_of(node, "genesis.run", _RUN)
        retain = one_of(found["retain"], "genesis.run.retain", RETENTIONS)
        low, high = (1, MAX_INT) if retain == "window" else (0, 0)
        return cls(
            fixed_bytes(found["config"], "genesis.run.config", DIGEST_BYTES),
            retain,
            integer(found["window"], "genesis.run.window", low, high),
        )


_RUN = names_of(Run)


@dataclass(frozen=True)
class Genesis(Record):
    """Height 0: the participants, the protocol's parameters, the initial model and the run.

    A chain that no run keeps, as torture's, has no ``run``: its genesis is of version 1, one with a
    run of version 2.
    """

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
    run: Run | None = None
    incentives: Incentives | None = None
    """The rule by which stake moves; None, and no place in the encoding, where it does not."""

    def to_node(self) -> Node:
        node = self._protocol_node()
        return node if self.run is None else node | {"version": 2, "run": self.run.to_node()}

    def _protocol_node(self) -> Node:
        """The genesis without its run."""
        node: Node = {
            "version": 1,
            "parameters": self.parameters.to_node(),
            "servers": [[s.signing_key, s.vrf_key, s.stake] for s in self.servers],
            "clients": [[key, samples] for key, samples in self.clients],
            "model": self.model,
            "application": dict(self.application),
            "timestamp": self.timestamp,
        }
        incentives = self.incentives
        return node if incentives is None else node | {"incentives": incentives.to_node()}

    @classmethod
    def from_node(cls, node: Any) -> Self:
        optional = {"run", "incentives"} - (node.keys() if isinstance(node, dict) else set())
        found = fields_of(node, "genesis", _GENESIS - optional)
        runs = "run" not in optional
        version = 2 if runs else 1
        integer(found["version"], "genesis.version (1, or 2 with a run)", version, version)
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
        try:
            encode(found["application"])
        except EncodingError as error:
            raise MalformedRecord(f"genesis.application: {error}") from error
        return cls(
            Parameters.from_node(found["parameters"]),
            tuple(servers),
            tuple(clients),
            link(found["model"], "genesis.model"),
            found["application"],
            integer(found["timestamp"], "genesis.timestamp"),
            Run.from_node(found["run"]) if runs else None,
            None if "incentives" in optional else Incentives.from_node(found["incentives"]),
        )

    def with_stakes(self, stakes: tuple[int, ...]) -> Genesis:
        """The servers as sortition sees them once stake has moved to ``stakes``: without those that
        have lost all of it there may be fewer seats. Nothing is signed or linked by this record.
        Where nobody has any stake left, the genesis itself."""
        if not any(stakes):
            return self
        known = self._moved.get(stakes)
        if known is None:
            if len(self._moved) >= MOVED_KEPT:
                self._moved.clear()
            seats = min(self.parameters.committee_size, sum(stake > 0 for stake in stakes))
            servers = zip(self.servers, stakes, strict=True)
            known = self._moved[stakes] = replace(
                self,
                parameters=replace(self.parameters, committee_size=seats),
                servers=tuple(replace(server, stake=stake) for server, stake in servers),
            )
        return known

    @cached_property
    def _moved(self) -> dict[tuple[int, ...], Genesis]:
        """By stakes: what `with_stakes` gave for the last ones."""
        return {}

    @cached_property
    def cid(self) -> bytes:
        """The link to the genesis, which is the ``parent`` of block 1. It covers all fields, and so
        do the links to all later blocks."""
        return node_cid(self.encoded)

    @cached_property
    def chain_id(self) -> bytes:
        """32 bytes that identify this chain; every signature and proof made for it covers them.

        They do not cover ``run``: what a run keeps on disk, or how often it is scored, may not
        decide who sits in a committee, and draws and beacons are made with these bytes. (``paper``
        seeds its draws with links of blocks, which do cover it.) Signatures of updates, proposals,
        votes and locks are over such links as well. A timeout without a lock is not, so the same
        keys may not serve two chains whose genesis records differ in their run alone.
        """
        return digest(encode(self._protocol_node()))

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
    def client_numbers(self) -> dict[bytes, int]:
        """Each client's number, its place in ``clients``, by its public key."""
        return {key: number for number, (key, _) in enumerate(self.clients)}

    @cached_property
    def registered(self) -> dict[bytes, int]:
        """Registered sample count N_u by the client's public key."""
        return dict(self.clients)


_GENESIS = names_of(Genesis) | {"version"}
MOVED_KEPT = 8
"""Stakes of so many heights are kept by `Genesis.with_stakes`."""
