"""The options of clients, honest and malicious, and of how their updates are aggregated."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from pydantic import Field, field_validator
from pydantic.fields import FieldInfo

from bfedrec.attacks.attack import catalogue
from bfedrec.attacks.settings import MaliciousClients
from bfedrec.section import (
    LONGEST,
    SHORTEST,
    MebibytesPerSecond,
    Seconds,
    Section,
)


class ClientSettings(Section):
    """The clients of a round, their links and what their computing is charged."""

    per_round: int = Field(default=60, ge=1, description="M, clients sampled a round")
    dropout: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="share of a round's clients that are away: another draw every round, rounded "
        "to whole clients, of whom one remains. They fetch, train and send nothing. Without an "
        "equally smaller committee.update_quota every height waits for committee.update_seconds",
    )
    download_mib_per_s: MebibytesPerSecond = Field(
        default=0.75, description="median downlink speed"
    )
    upload_mib_per_s: MebibytesPerSecond = Field(default=0.25, description="median uplink speed")
    latency_ms: float = Field(
        default=20.0,
        ge=0.0,
        le=LONGEST,
        description="mean latency to the nearest edge server; 0 for none",
    )
    spread: float = Field(
        default=0.0,
        ge=0.0,
        le=3.0,
        description="log-normal sigma of link speed and latency over clients",
    )
    seconds_per_sample: Seconds = Field(
        default=5e-6,
        description="simulated seconds charged for one training sample in one local epoch; about "
        "fifty times what the compiled kernel takes on one core (tests/bench)",
    )
    downlink: Literal["broadcast", "catch_up"] = Field(
        default="broadcast",
        description="what a participant fetches: one A (the paper's account), or the cheaper of "
        "all missed A's and a snapshot of Q",
    )
    retry_seconds: float = Field(
        default=2.0,
        ge=SHORTEST,
        le=LONGEST,
        description="after so long a client whose update its edge server did not take tries the "
        "next nearest",
    )
    snapshot_every: int = Field(
        default=50, ge=1, description="catch_up: rounds between two stored snapshots of Q"
    )
    malicious: tuple[MaliciousClients, ...] = Field(
        default=(),
        description="groups of malicious clients, each {attack, share (of all clients, as 0.2 or "
        "1/5), homes (servers: a share of the clients whose home servers they are), from, until "
        "(its first and last round; the whole run)} and the attack's own options",
    )

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """The options, with the registered attacks in the help of the groups."""
        groups = cls.model_fields["malicious"]
        listed = f"{groups.description}. Attacks: {catalogue()}"
        told = FieldInfo.merge_field_infos(groups, description=listed)
        return {**cls.model_fields, "malicious": told}

    @property
    def present(self) -> int:
        """Number of a round's clients that take part in it."""
        return self.per_round - min(round(self.dropout * self.per_round), self.per_round - 1)

    @field_validator("malicious")
    @classmethod
    def _one_group_each(cls, groups: tuple[MaliciousClients, ...]) -> tuple[MaliciousClients, ...]:
        if sum(Fraction(str(group.share)) for group in groups) > 1:
            raise ValueError("expected shares of 1 at most, together: a client has one attack")
        return groups
