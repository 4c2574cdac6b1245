"""The options of clients, honest and malicious, and of how their updates are aggregated."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_serializer, model_validator
from pydantic_core import PydanticCustomError

import bfedrec.forgeries
import bfedrec.poisoning  # noqa: F401 - the attacks register themselves
from bfedrec.attacks import ATTACKS, Attack, catalogue
from bfedrec.section import MebibytesPerSecond, Milliseconds, Seconds, Section, share_of


class AggregationSettings(Section):
    """How a round's updates become one A."""

    rule: Literal[
        "samples",
        "per_item",
        "clip",
        "clip_items",
        "median",
        "trimmed_mean",
        "krum",
        "multi_krum",
        "geometric_median",
    ] = Field(
        default="per_item",
        description="samples: weight N_u/N (the paper's); per_item: divide each item's row by the "
        "clients that touched it (sends a mask of touched items as well). The others withstand "
        "malicious clients, also item by item: per_item of updates whose norm (clip) or of rows "
        "whose norm (clip_items) is cut, the median or the trimmed mean of each number, the "
        "update nearest to its neighbours (krum) or the mean of those that are (multi_krum), and "
        "the point nearest to all updates (geometric_median)",
    )
    malicious_permille: int = Field(
        default=333,
        ge=0,
        le=499,
        description="trimmed_mean, krum, multi_krum: the share of a round's updates to withstand, "
        "in thousandths (rounded up to whole updates). Whoever takes part in a round is drawn: a "
        "round may have many more malicious clients than their share",
    )
    norm_permille: int = Field(
        default=0,
        ge=0,
        le=2**31,
        description="clip: the bound on an update's norm in thousandths; 0: the median of the "
        "round's norms",
    )
    iterations: int = Field(
        default=8, ge=1, le=1000, description="geometric_median: Weiszfeld iterations"
    )


class MaliciousClients(Section):
    """A share of the clients that follow one attack for a time.

    In a config: the four below and, beside them, the attack's own options.
    """

    attack: str
    share: float | str
    """Of all clients, as 0.2 or 1/5; a draw of its own says which."""
    since: int = Field(default=1, ge=1, alias="from")
    """The first round of the attack."""
    until: int | None = Field(default=None, ge=1)
    """The last one; None for the run's."""
    plan: Attack
    """The attack with its options."""

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: Any) -> Any:
        """Tell the attack's own options from the rest, and say in words what is wrong."""
        if isinstance(value, cls):
            return value
        name = value.get("attack") if isinstance(value, dict) else None
        if not isinstance(name, str) or name not in ATTACKS:
            raise ValueError(f"attack: {name!r} is not one of {', '.join(ATTACKS)}")
        common = ("attack", "share", "from", "until")
        own = {key: option for key, option in value.items() if key not in common}
        unknown = own.keys() - ATTACKS[name].model_fields
        if unknown:
            known = ", ".join([*common, *ATTACKS[name].model_fields])
            raise ValueError(f"{name}: unknown key {min(unknown)!r}; known there: {known}")
        try:
            share_of(value.get("share", "none"), 0)
            plan = ATTACKS[name].model_validate_json(json.dumps(own), strict=True)
            found = handler({key: value[key] for key in common if key in value} | {"plan": plan})
        except ValidationError as error:
            details = error.errors(include_url=False)[0]
            key = ".".join(map(str, details["loc"]))
            raise ValueError(f"{name}: {key}: {details['msg'].lower()}") from None
        except PydanticCustomError:
            raise ValueError(f"{name}: share: expected a share as 0.2 or 1/5") from None
        if found.until is not None and found.until < found.since:
            raise ValueError(f"{name}: until: expected {found.since} (its `from`) or more")
        return found

    @model_serializer(mode="plain")
    def _write(self) -> dict[str, Any]:
        """As it stands in a config, every option written out."""
        common = {
            "attack": self.attack,
            "share": self.share,
            "from": self.since,
            "until": self.until,
        }
        return common | self.plan.model_dump(mode="json")


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
    latency_ms: Milliseconds = Field(
        default=20.0, description="mean latency to the nearest edge server"
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
        gt=0.0,
        description="after so long a client whose update its edge server did not take tries the "
        "next nearest",
    )
    snapshot_every: int = Field(
        default=50, ge=1, description="catch_up: rounds between two stored snapshots of Q"
    )
    malicious: tuple[MaliciousClients, ...] = Field(
        default=(),
        description="groups of malicious clients, each {attack, share (of all clients, as 0.2 or "
        "1/5), from, until (its first and last round; the whole run)} and the attack's own "
        f"options. Attacks: {catalogue()}",
    )

    @property
    def present(self) -> int:
        """How many of a round's clients take part in it."""
        return self.per_round - min(round(self.dropout * self.per_round), self.per_round - 1)

    @field_validator("malicious")
    @classmethod
    def _one_group_each(cls, groups: tuple[MaliciousClients, ...]) -> tuple[MaliciousClients, ...]:
        if sum(Fraction(str(group.share)) for group in groups) > 1:
            raise ValueError("expected shares of 1 at most, together: a client has one attack")
        return groups
