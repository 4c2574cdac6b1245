"""The `servers`, `committee` and `costs` sections of an experiment."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, isfinite
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from bfedrec.section import (
    LONGEST,
    SHORTEST,
    MebibytesPerSecond,
    Milliseconds,
    Seconds,
    Section,
    Tree,
    setting_error,
)
from consensus.adversary.groups import assign
from consensus.network.round_trips import RoundTripError, RoundTrips

MODELLED_CRYPTO = "crypto is modelled: signatures and proofs show nothing"
"""The note on a run with ``crypto: modelled``, in its output and in an audit's."""


MOST_SERVERS = 100_000
"""Greatest number of servers; the world holds a latency for every pair of them, 80 GB."""
MOST_STAKE = 10**12
"""Greatest stake of a server; that of all together stays below 2**63."""

MOST_DEGREE = 1000
"""Greatest degree of a mesh."""
SHORTEST_HEARTBEAT = 10.0
"""Shortest time between two heartbeats in milliseconds; with less a simulation would do little
else."""

Stake = Annotated[int, Field(ge=1, le=MOST_STAKE)]


class ServerSettings(Section):
    """The edge servers: stake, topology, links, and which of them are malicious."""

    count: int = Field(default=30, ge=1, description="edge servers")
    stake: Literal["equal", "pareto"] | tuple[Stake, ...] = Field(
        default="equal", description="how stake is spread: equal, pareto, or a list, one per server"
    )
    stake_mean: int = Field(
        default=100,
        ge=1,
        le=MOST_STAKE,
        description="equal and pareto: mean stake of a server",
    )
    pareto_shape: float = Field(
        default=1.5, gt=1.0, description="pareto: the shape; smaller is more unequal"
    )
    regions: int = Field(default=4, ge=1, description="regions the servers are spread over")
    links_per_server: int = Field(default=4, ge=1, description="links each server opens to others")
    latency_ms_within: Milliseconds = Field(
        default=5.0, description="mean link latency within a region"
    )
    latency_ms_between: Milliseconds = Field(
        default=60.0, description="mean latency between two regions"
    )
    round_trips: tuple[Tree, ...] = Field(
        default=(),
        description="measured round-trip times between regions instead of drawn latencies: a CSV "
        "file with a header region,NAME,... and a row NAME,MS,... per region, or the name of a "
        "shipped one, as ibm-cloud-2024; saved as a list of {region, ms}",
    )
    placement: tuple[str, ...] = Field(
        default=(),
        description="round_trips: names of the regions that servers take in turns (default: all "
        "of them in order)",
    )
    jitter: float = Field(
        default=0.1, ge=0.0, le=1.0, description="share of a link's latency that varies per message"
    )
    bandwidth_mib_per_s: MebibytesPerSecond = Field(
        default=119.2, description="bandwidth of a server link (1 Gbit/s)"
    )
    gossip: Literal["tree", "mesh"] = Field(
        default="tree",
        description="how messages to all servers travel: tree, along shortest paths, each link "
        "once, with detours at once; mesh, pushed over a redundant mesh as in libp2p's gossipsub "
        "(docs/gossip.md), which is not compiled",
    )
    mesh_degree: int = Field(
        default=6,
        ge=1,
        le=MOST_DEGREE,
        description="mesh: peers that a server pushes to (D); it takes others from two thirds down "
        "and leaves some from twice as many up",
    )
    lazy_degree: int = Field(
        default=6,
        ge=0,
        le=MOST_DEGREE,
        description="mesh: servers outside of the mesh that hear at a heartbeat what one has "
        "(D_lazy)",
    )
    heartbeat_ms: float = Field(
        default=1000.0,
        ge=SHORTEST_HEARTBEAT,
        le=LONGEST,
        description="mesh: simulated time between two heartbeats of a server",
    )
    malicious: tuple[Tree, ...] = Field(
        default=(),
        description="groups of malicious servers, each {behaviour: [NAME, ...], share, servers, "
        "placement, from, until} (names: `bfedrec behaviours`; the rest: "
        "consensus/adversary/groups.py); in short NAME+NAME:SHARE, as silent:1/3; or a number or "
        "share of the servers, as 10 or 1/3, that follow gaussian+invert_votes as in the paper",
    )

    @field_validator("count")
    @classmethod
    def _not_too_many(cls, count: int) -> int:
        if count > MOST_SERVERS:
            need = f"the latencies of all pairs would need {8 * count**2 / 2**30:,.0f} GiB"
            raise setting_error("", f"int >= 1 <= {MOST_SERVERS}: {need}")
        return count

    @field_validator("round_trips", mode="before")
    @classmethod
    def _read_from_file(cls, value: Any) -> Any:
        """Replace the path or name of a matrix by its rows, so that a saved config has them."""
        if not isinstance(value, str):
            return tuple(value) if isinstance(value, list) else value
        read = RoundTrips.read(value)  # its error is told as it is, with the place in the file
        return tuple(
            {"region": region, "ms": list(row)}
            for region, row in zip(read.regions, read.milliseconds, strict=True)
        )

    @field_validator("round_trips")
    @classmethod
    def _a_matrix(cls, rows: tuple[Tree, ...]) -> tuple[Tree, ...]:
        if rows:
            round_trips_of(rows)
        return rows

    @model_validator(mode="after")
    def _placed(self) -> Self:
        """Refuse regions that were not measured, and what a measured matrix leaves unread."""
        if not self.round_trips:
            if self.placement:
                raise setting_error("placement", "none, as round_trips is not given")
            return self
        names = round_trips_of(self.round_trips).regions
        for name in self.placement:
            if name not in names:
                known = ", ".join(names[:MOST_TOLD]) + ", ..." * (len(names) > MOST_TOLD)
                raise setting_error("placement", f"regions of round_trips ({known}), not {name!r}")
        unread = ("regions", "latency_ms_between")
        self.refuse_unread(unread, "round_trips is given (see placement)")
        return self

    @model_validator(mode="after")
    def _meshed(self) -> Self:
        """Refuse settings of a mesh that is not there."""
        if self.gossip == "tree":
            self.refuse_unread(("mesh_degree", "lazy_degree", "heartbeat_ms"), "gossip is tree")
        return self

    @property
    def stake_expected(self) -> int:
        """The stake of all servers, on average where it is drawn."""
        return sum(self.stake) if isinstance(self.stake, tuple) else self.stake_mean * self.count

    def stakes(self, generator: np.random.Generator) -> list[int]:
        """Every server's stake, by ``generator`` where it is drawn."""
        if isinstance(self.stake, tuple):
            return list(self.stake)
        if self.stake == "equal":
            return [self.stake_mean] * self.count
        shape = self.pareto_shape
        draws = generator.pareto(shape, self.count) * (shape - 1)
        return [max(1, round(self.stake_mean * float(draw))) for draw in draws]

    @property
    def placed(self) -> tuple[str, ...]:
        """Names of the regions that servers take in turns: as many as servers at most."""
        if not self.round_trips:
            return tuple(f"region {each}" for each in range(self.regions))
        return (self.placement or round_trips_of(self.round_trips).regions)[: self.count]

    @field_validator("malicious", mode="before")
    @classmethod
    def _number_or_share(cls, value: Any, info: ValidationInfo) -> Any:
        """Replace a plain number or share of servers by the group of servers that it stands for."""
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return tuple(value) if isinstance(value, list) else value
        if value == 0:
            return ()
        names, share = list(PAPERS_ATTACK), value
        if isinstance(value, int):
            count = info.data.get("count", value)
            if not 0 <= value <= count:
                raise setting_error("", f"a number or share of servers, {count} of them at most")
            share = f"{value}/{count}"
        elif isinstance(value, str) and ":" in value:
            told, share = value.split(":", 1)
            names = told.split("+")
        return ({"behaviour": names, "share": share},)

    @field_validator("malicious")
    @classmethod
    def _known_behaviours(cls, nodes: tuple[Tree, ...], info: ValidationInfo) -> tuple[Tree, ...]:
        count = info.data.get("count")
        if count is not None:  # a bad count is told on its own
            try:
                assign(_finite(nodes), count, [1] * count, [0] * count, np.random.default_rng(0))
            except ValueError as error:
                raise ValueError(str(error).removeprefix("malicious").lstrip(".: ")) from None
        return nodes


MOST_TOLD = 12
"""Most regions that an error names."""


def round_trips_of(rows: Iterable[Tree]) -> RoundTrips:
    """The matrix that the rows of a config are; raises `RoundTripError` for one that is none."""
    regions: list[str] = []
    milliseconds: list[tuple[float | None, ...]] = []
    for row in rows:
        region, times = row.get("region"), row.get("ms")
        if set(row) != {"region", "ms"} or not isinstance(region, str):
            raise RoundTripError("expected a list of {region: NAME, ms: [...]}")
        if not isinstance(times, list | tuple) or any(
            isinstance(each, bool) or not isinstance(each, int | float | None) for each in times
        ):
            raise RoundTripError(f"region {region!r}: ms: expected a list of numbers")
        regions.append(region)
        milliseconds.append(tuple(None if each is None else _number(each) for each in times))
    return RoundTrips(tuple(regions), tuple(milliseconds))


def _number(value: float) -> float:
    """The number in float64; infinite, which no round trip is, if it is too great for that."""
    try:
        return float(value)
    except OverflowError:
        return inf


PAPERS_ATTACK = ("gaussian", "invert_votes")
"""The behaviours of the malicious servers in the paper's section IV.D."""


def _finite(nodes: tuple[Tree, ...]) -> tuple[Tree, ...]:
    """Return the maps unchanged; raise ValueError if a number in them is not finite.

    A number that is not finite would not be read back from the saved config.
    """
    for node in nodes:
        for key, value in node.items():
            if isinstance(value, float) and not isfinite(value):
                hint = " (leave it out for what never ends)" if key == "until" else ""
                raise ValueError(f"{key}: expected a finite number, got {value}{hint}")
    return nodes


class CommitteeSettings(Section):
    """The committee that votes, and Algorithm 2's limits."""

    kind: Literal["fixed", "weighted"] = Field(
        default="fixed",
        description="fixed: the first `size` tickets, drawn by stake without replacement; "
        "weighted: every ticket counts with its weight (Algorand), `size` expected",
    )
    size: int = Field(
        default=20, ge=1, le=10**9, description="seats (fixed), or expected weight (weighted)"
    )
    max_step: int = Field(
        default=3,
        ge=1,
        le=1_000_000,
        description="MaxStep: candidates tried before the committee is formed anew",
    )
    vote_seconds: float = Field(
        default=5.0,
        ge=SHORTEST,
        le=LONGEST,
        description="MaxVoteDuration: simulated seconds a candidate may be voted on (bft: half as "
        "long again with every attempt)",
    )
    ticket_seconds: float = Field(
        default=0.5,
        ge=SHORTEST,
        le=LONGEST,
        description="simulated seconds during which tickets are collected",
    )
    update_seconds: float = Field(
        default=30.0,
        ge=SHORTEST,
        le=LONGEST,
        description="simulated seconds after which a height proceeds without more",
    )
    update_quota: float = Field(
        default=1.0, gt=0.0, le=1.0, description="share of the cohort's updates that is sufficient"
    )
    settle_seconds: Seconds = Field(
        default=0.5,
        description="bft: how long a member that saw two thirds but no more than five sixths of "
        "the soft votes looks out for another proposal, and one in a later view for others' locks; "
        "at least twice the time a message takes",
    )
    recovery_seconds: Seconds = Field(
        default=10.0,
        description="bft: so long after MaxVoteDuration all servers together give up a committee "
        "that cannot give up itself; 0: never",
    )
    resend_seconds: float = Field(
        default=5.0,
        ge=SHORTEST,
        le=LONGEST,
        description="bft: after so long without progress a server says again what it said, and "
        "asks others",
    )


class CostSettings(Section):
    """Simulated seconds charged for each operation: unit costs measured on one core."""

    sign: Seconds = Field(default=4.5e-5, description="one Ed25519 signature")
    verify: Seconds = Field(default=1.05e-4, description="one signature check")
    vrf_prove: Seconds = Field(default=5.5e-4, description="one VRF proof")
    vrf_verify: Seconds = Field(default=8.0e-4, description="one VRF proof check")
    hash_per_mib: Seconds = Field(default=2.0e-3, description="hashing, per MiB")
    aggregate_per_mib: Seconds = Field(
        default=1.0e-3, description="aggregating, per MiB of payloads"
    )
    store_put: Seconds = Field(default=5.0e-3, description="adding one file to the content store")
    store_get: Seconds = Field(
        default=5.0e-3, description="fetching one file from the content store"
    )
    store_put_per_mib: Seconds = Field(default=1.0e-2, description="adding, more per MiB")
    store_get_per_mib: Seconds = Field(default=1.0e-2, description="fetching, more per MiB")
