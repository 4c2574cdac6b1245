"""The records of a chain's and a block's facts, which `bfedrec.explorer.chain` and `block` find."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ChainSummary:
    """A chain as its genesis describes it, and how far it has come."""

    height: int
    head: str
    """The CID of the last block's header; at height 0 the genesis'."""
    head_named: bool
    """True if it is the head that the file names."""
    timestamp_us: int
    """Simulated microseconds of the last block."""
    genesis: str
    chain_id: str
    protocol: str
    modelled: bool
    """True if signatures and proofs are keyed hashes, which show nothing."""
    servers: int
    clients: int
    committee: str
    committee_size: int
    policy: str
    """The updates that the run keeps, in words."""
    kept: tuple[int, int] | None
    """The first and the last height whose updates are there; None if none are."""
    file_bytes: int


@dataclass(frozen=True)
class BlockLine:
    """A block as a line of the list of blocks."""

    height: int
    cid: str
    parent: str
    linked: bool
    """True if its parent is the block below."""
    aggregator: int
    attempt: int
    step: int
    decided_attempt: int
    decided_step: int
    timestamp_us: int
    updates: int
    samples: int
    votes: int
    model: str
    snapshot: str


@dataclass(frozen=True)
class Seat:
    """A member of the committee that decided a block, or a voter without a seat."""

    server: int
    weight: int
    """Voting weight; 0 for a voter without a seat."""
    stake: int
    """Stake before the block."""
    voted: bool
    valid: bool
    """True if its vote's signature is valid."""


@dataclass(frozen=True)
class DrawFact:
    """A draw for the committees of a height."""

    server: int
    output: str
    """beta, hexadecimal: what the proof shows, or claims where it does not hold."""
    proof: str
    """pi, hexadecimal; empty for a draw that is a public hash."""
    valid: bool
    told: str
    """The reason if it is not valid; empty if it is."""
    weight: int
    """The weight that its server had in the committee that decided; 0: it won no seat there."""


@dataclass(frozen=True)
class Attempt:
    """A view of the vote, as far as a chain tells of it."""

    attempt: int
    step: int
    leader: int | None
    """The server whose turn it was; None where servers race."""
    told: str


@dataclass(frozen=True)
class UpdateFact:
    """An update whose bytes the run kept."""

    position: int
    client: int | None
    """The client's place in the genesis; None for a key that is not registered."""
    key: str
    """The client's public key, hexadecimal."""
    samples: int
    registered: int
    """The sample count of the genesis, its upper bound."""
    digest: str
    payload: str
    """The CID of the payload."""
    bytes: int | None
    """Length of the payload; None if it is not there."""
    valid: bool
    told: str


@dataclass(frozen=True)
class Content:
    """Content that a block points to."""

    cid: str
    bytes: int | None
    """Its length; None if it is not there, or is not what its address says."""
    told: str


@dataclass(frozen=True)
class BlockFacts:
    """Everything that a chain tells of a height."""

    height: int
    last: int
    """The chain's last height."""
    cid: str
    parent: str
    encoded_bytes: int
    chain_id: str
    timestamp_us: int
    took_us: int
    """Simulated microseconds since the block before."""
    aggregator: int
    attempt: int
    step: int
    samples: int
    count: int
    updates_root: str
    tickets_digest: str
    signature: str
    protocol: str
    phase: str
    decided_attempt: int
    decided_step: int
    weight: int
    total: int
    needed: int
    """The least weight that decides."""
    seats: tuple[Seat, ...]
    moves_stake: bool
    """True if blocks of this chain move stake."""
    draws: tuple[DrawFact, ...]
    draws_in: int | None
    """The height whose block carries the draws; None where they are public hashes."""
    draws_seed: str
    carried: int
    """The number of draws that this block carries."""
    carried_for: int
    """The height that they are for."""
    attempts: tuple[Attempt, ...]
    updates: tuple[UpdateFact, ...]
    """Empty where the run keeps none of this height."""
    model: Content
    snapshot: Content | None
    modelled: bool
    problems: tuple[str, ...]
    """Lines about all that does not hold; empty for a sound block."""
    checked: tuple[str, ...]
    """The things that were verified in place, in words."""
