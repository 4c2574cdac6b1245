"""The `ledger` and `store` sections of an experiment: what the chain keeps, how its servers go from
height to height, and where it is stored."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from bfedrec.config.incentives import IncentiveSettings
from bfedrec.section import Section


class LedgerSettings(Section):
    """The retention of updates in the chain, its servers' pace, and how stake moves."""

    retain_updates: Literal["none", "window", "all"] = Field(
        default="window",
        description="updates whose bytes stay after their block: none (the paper's), those of "
        "the last heights, or all (an audit can then recompute every aggregate)",
    )
    window: int = Field(default=10, ge=1, description="window: heights whose updates stay")
    incentives: IncentiveSettings = Field(default_factory=IncentiveSettings)
    barrier: bool = Field(
        default=True,
        description="true: all servers begin a height together, when the last of them is done with "
        "the one before; false: each goes on as soon as it has decided, and its clients with it",
    )
    checkpoint_every: int = Field(
        default=50,
        ge=1,
        le=10_000,
        description="barrier: false: heights between two after which servers still wait for each "
        "other; a resumed run plays on from the last of them, once more up to where it was",
    )

    @property
    def meets_every(self) -> int:
        """Heights between two after which all servers wait for each other."""
        return 1 if self.barrier else self.checkpoint_every

    @model_validator(mode="after")
    def _needed(self) -> Self:
        """Refuse an interval that nothing reads."""
        if self.barrier:
            self.refuse_unread(["checkpoint_every"], "barrier is true")
        return self


class StoreSettings(Section):
    """The store of blocks and content during a run."""

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
