"""Every option of an experiment: one frozen pydantic model per part of the simulated world.

The text beside a field is its help (`bfedrec run --help`); the bounds beside it are what is
allowed. `bfedrec.config` reads these models from YAML and from `key=value` overrides. Symbols are
the paper's: M clients a round, d the dimension, r the rank, N items.
"""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from bfedrec.centralised_settings import CentralisedSettings, Method, check_read
from bfedrec.client_settings import AggregationSettings, ClientSettings
from bfedrec.compression_settings import CompressionSettings
from bfedrec.data_settings import DataSettings
from bfedrec.section import (
    MebibytesPerSecond,
    Milliseconds,
    Seconds,
    Section,
    flatten,
    setting_error,
)
from bfedrec.training import TrainingSettings
from consensus.byzantine import assign
from consensus.faults import fault_from_node

Stake = Annotated[int, Field(ge=1)]


class ModelSettings(Section):
    """Matrix factorisation with low-rank updates: Q (N x d) moves by B A (eq. 5)."""

    dimension: int = Field(default=64, ge=1, description="d, length of a factor")
    rank: int = Field(
        default=4, ge=1, description="r, transmitted size: rows of A (r x N); at most d"
    )
    basis: Literal["seeded", "svd", "fixed"] = Field(
        default="seeded",
        description="low_rank: B (d x r): drawn from each height's beacon, the top right singular "
        "vectors of Q, or drawn once",
    )
    init_scale: float = Field(
        default=0.5,
        gt=0.0,
        description="initial factors are normal with this deviation over sqrt(d)",
    )


class ServerSettings(Section):
    """The edge servers: stake, topology, links, and which of them are malicious."""

    count: int = Field(default=30, ge=1, description="edge servers")
    stake: Literal["equal", "pareto"] | tuple[Stake, ...] = Field(
        default="equal", description="how stake is spread: equal, pareto, or a list, one per server"
    )
    stake_mean: int = Field(
        default=100, ge=1, description="equal and pareto: mean stake of a server"
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
    jitter: float = Field(
        default=0.1, ge=0.0, le=1.0, description="share of a link's latency that varies per message"
    )
    bandwidth_mib_per_s: MebibytesPerSecond = Field(
        default=119.2, description="bandwidth of a server link (1 Gbit/s)"
    )
    malicious: tuple[dict[str, Any], ...] = Field(
        default=(),
        description="groups of malicious servers, each {behaviour: [NAME, ...], share, servers, "
        "placement, from, until} (consensus/byzantine.py says what they mean); in short "
        "NAME+NAME:SHARE, as silent:1/3; or a number or share of the servers, as 10 or 1/3, that "
        "follow gaussian+invert_votes as in the paper",
    )

    @field_validator("malicious", mode="before")
    @classmethod
    def _number_or_share(cls, value: Any, info: ValidationInfo) -> Any:
        """Replace what is said in short by the group it means."""
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
    def _known_behaviours(
        cls, nodes: tuple[dict[str, Any], ...], info: ValidationInfo
    ) -> tuple[dict[str, Any], ...]:
        count = info.data.get("count")
        if count is not None:  # a bad count is told on its own
            try:
                assign(_finite(nodes), count, [1] * count, [0] * count, np.random.default_rng(0))
            except ValueError as error:
                raise ValueError(str(error).removeprefix("malicious").lstrip(".: ")) from None
        return nodes


PAPERS_ATTACK = ("gaussian", "invert_votes")
"""What the malicious servers of the paper's section IV.D do."""


def _finite(nodes: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    """The maps as they are; raises ValueError for a number in them that is not finite, as it would
    not be read back from the saved config."""
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
    size: int = Field(default=20, ge=1, description="seats (fixed), or expected weight (weighted)")
    max_step: int = Field(
        default=3, ge=1, description="MaxStep: candidates tried before the committee is formed anew"
    )
    vote_seconds: float = Field(
        default=5.0,
        gt=0.0,
        description="MaxVoteDuration: simulated seconds a candidate may be voted on (bft: half as "
        "long again with every attempt)",
    )
    ticket_seconds: float = Field(
        default=0.5, gt=0.0, description="simulated seconds during which tickets are collected"
    )
    update_seconds: float = Field(
        default=30.0,
        gt=0.0,
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
        gt=0.0,
        description="bft: after so long without progress a server says again what it said, and "
        "asks others",
    )


class LedgerSettings(Section):
    """What the chain keeps."""

    retain_updates: Literal["none", "window", "all"] = Field(
        default="window",
        description="updates whose bytes stay after their block: none (the paper's), those of "
        "the last heights, or all (an audit can then recompute every aggregate)",
    )
    window: int = Field(default=10, ge=1, description="window: heights whose updates stay")


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


class EvaluationSettings(Section):
    """When and how the model is scored. The test item is scored once, at the end."""

    every: int = Field(
        default=10,
        ge=1,
        description="rounds (or epochs) between two scorings of the validation items",
    )
    k: int = Field(default=10, ge=1, le=99, description="K of HR@K and NDCG@K")
    full_ranking: bool = Field(
        default=True, description="also rank the test item among all items its user never touched"
    )
    targets: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(),
        description="items whose exposure is reported (ER@K: the share of users without the item "
        "in whose list it is), by their number from 0; those of a push attack are reported anyway",
    )


class StoreSettings(Section):
    """Where blocks and content are kept while a run goes on."""

    kind: Literal["sqlite", "memory", "ipfs"] = Field(
        default="sqlite",
        description="sqlite: RUN/chain.sqlite; ipfs: there, and on a running IPFS node under the "
        "same addresses; memory: nothing to resume or audit",
    )
    api: str = Field(
        default="/ip4/127.0.0.1/tcp/5001",
        pattern=r"^/(ip4|ip6|dns|dns4|dns6)/[^/]+/tcp/[0-9]+(/https?)?$",
        description="ipfs: the node's RPC API, a multiaddr",
    )
    timeout: float = Field(
        default=30.0, gt=0.0, le=3600.0, description="ipfs: seconds that one answer may take"
    )
    retries: int = Field(
        default=6,
        ge=0,
        le=100,
        description="ipfs: tries after one that failed, as when the node restarts, up to 8 s apart",
    )
    collect: bool = Field(
        default=False,
        description="ipfs: have the node delete what is pinned no longer, every ledger.window "
        "heights and at the end; other users' unpinned content goes too",
    )


class Config(Section):
    """Everything that defines a run."""

    name: str = Field(
        default="run",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=80,
        description="names the run folder; no effect on results",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="fixes every draw of the run")
    method: Method = Field(
        default="federated",
        description="what learns: the federation and its ledger, or a yardstick that sees all data "
        "at once and leaves no chain: matrix factorisation by cross-entropy (gmf) or by pairs "
        "(bpr), the items' popularity, or similar items (item_knn). Each refuses options that it "
        "does not read",
    )
    rounds: int = Field(
        default=1000, ge=1, lt=2**31, description="federated rounds, one height each"
    )
    device: str = Field(
        default="cpu",
        pattern=r"^(cpu|cuda(:[0-9]+)?|mps)$",
        description="what trains the cohort: cpu (compiled), or a torch device as cuda or cuda:0",
    )
    protocol: Literal["bft", "paper"] = Field(
        default="bft",
        description="how servers agree: bft (two phases, locks), or Algorithm 2 as it is written",
    )
    crypto: Literal["real", "modelled"] = Field(
        default="real",
        description="real curves, or modelled by keyed hashes: the same messages and charges, for "
        "large sweeps; proves nothing to an audit",
    )
    faults: tuple[dict[str, Any], ...] = Field(
        default=(),
        description="what goes wrong with the network and the servers, each {NAME: value, from, "
        "until, ...} in simulated seconds (consensus/faults.py lists them)",
    )
    data: DataSettings = Field(default_factory=DataSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    aggregation: AggregationSettings = Field(default_factory=AggregationSettings)
    centralised: CentralisedSettings = Field(default_factory=CentralisedSettings)
    compression: CompressionSettings = Field(default_factory=CompressionSettings)
    clients: ClientSettings = Field(default_factory=ClientSettings)
    servers: ServerSettings = Field(default_factory=ServerSettings)
    committee: CommitteeSettings = Field(default_factory=CommitteeSettings)
    ledger: LedgerSettings = Field(default_factory=LedgerSettings)
    costs: CostSettings = Field(default_factory=CostSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)

    @field_validator("faults")
    @classmethod
    def _known_faults(cls, nodes: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        for node in _finite(nodes):
            fault_from_node(node)
        return nodes

    @model_validator(mode="after")
    def _agree(self) -> Config:
        """Refuse settings that are each allowed and together are not."""
        servers, committee = self.servers, self.committee
        if self.method != "federated" or self.centralised != CentralisedSettings():
            check_read(self.method, flatten(self), flatten(Config()))
        if self.method == "federated":
            self.compression.size_for(self.model.dimension, self.model.rank)
        if isinstance(servers.stake, tuple) and len(servers.stake) != servers.count:
            raise setting_error("servers.stake", f"as many as servers.count = {servers.count}")
        if servers.regions > servers.count:
            raise setting_error("servers.regions", f"at most servers.count = {servers.count}")
        if self.protocol == "paper" and committee.kind != "fixed":
            raise setting_error("committee.kind", "fixed, as protocol is paper")
        if committee.kind == "fixed" and committee.size > servers.count:
            raise setting_error("committee.size", f"at most servers.count = {servers.count}")
        if self.data.dataset == "csv" and self.data.csv.path is None:
            raise setting_error("data.csv.path", "the path of a file, as data.dataset is csv")
        for node in self.faults:
            try:
                fault_from_node(node).placed(servers.count, np.random.default_rng(0))
            except ValueError as error:
                raise setting_error("faults", f"servers that there are: {error}") from None
        return self
