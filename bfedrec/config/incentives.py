"""The `ledger.incentives` section of an experiment: how stake moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from bfedrec.section import Section, setting_error
from consensus.ledger.settlement import KINDS
from consensus.protocols.registry import PROTOCOLS
from consensus.records.genesis import MILLION, Incentives

if TYPE_CHECKING:
    from bfedrec.config.servers import CommitteeSettings, ServerSettings


class IncentiveSettings(Section):
    """The rule by which stake moves from block to block; shares are kept to a millionth."""

    on: bool = Field(
        default=False,
        description="stake moves: evidence of contradicting signatures takes it, signatures earn "
        "it, and later committees are drawn by it (docs/incentives.md)",
    )
    treasury: float = Field(
        default=0.1,
        ge=0.0,
        le=10.0,
        description="stake that belongs to nobody at first and pays rewards, as a share of the "
        "servers' stake",
    )
    slash: float = Field(
        default=0.5,
        ge=1e-6,
        le=1.0,
        description="share of its stake that a server loses to the treasury for evidence of one "
        "height",
    )
    report: float = Field(
        default=0.05,
        ge=0.0,
        le=1.0,
        description="share of what is slashed that goes to the aggregator whose block has the "
        "evidence",
    )
    reward: float = Field(
        default=0.01, ge=0.0, le=1.0, description="share of the treasury that a block pays out"
    )
    propose: float = Field(
        default=0.125,
        ge=0.0,
        le=1.0,
        description="share of that for the aggregator, if it brings all signatures of the block "
        "before; the rest goes to the members that signed",
    )
    leak: float = Field(
        default=0.01,
        ge=0.0,
        le=1.0,
        description="share of its stake that an absent member of a committee loses to the treasury",
    )
    patience: int = Field(
        default=16,
        ge=0,
        le=MILLION,
        description="signatures that a member may miss before it counts as absent; each one that "
        "it gives makes up for two",
    )
    window: int = Field(
        default=100, ge=1, le=MILLION, description="heights after which evidence no longer counts"
    )
    use: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="share of what a block pays that goes by the use of its updates, to the home "
        "servers of the clients that sent them: by their agreement with the updates of the other "
        "servers' clients; not with aggregation.secure",
    )

    def check(
        self, protocol: str, committee: CommitteeSettings, servers: ServerSettings, stake: int
    ) -> None:
        """Refuse what does not go with a protocol, a committee and servers with so much ``stake``
        in all. Raises a validation error."""
        if not self.on:
            return
        if not PROTOCOLS[protocol].moves_stake:
            able = " | ".join(name for name, each in PROTOCOLS.items() if each.moves_stake)
            raise setting_error("protocol", f"{able}, as ledger.incentives.on is true")
        if committee.kind not in KINDS:
            raise setting_error(
                "committee.kind", f"{' | '.join(KINDS)}, as ledger.incentives.on is true"
            )
        rule = self.rule(stake)
        members = rule.treasury * rule.reward * (MILLION - rule.use) * (MILLION - rule.propose)
        if 0 < members < committee.size * MILLION**3:
            least = -(-committee.size * MILLION**3 * stake // (members * servers.count))
            raise setting_error(
                "servers.stake_mean",
                f"{least:,} or more, as ledger.incentives.on is true: the first reward of a seat "
                "would be less than one unit of stake",
            )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse a rule that nothing follows."""
        if not self.on:
            self.refuse_unread(type(self).model_fields, "ledger.incentives.on is false")
        return self

    def rule(self, stake: int) -> Incentives:
        """The rule as the genesis has it, of servers with so much ``stake`` in all."""
        return Incentives(
            treasury=round(self.treasury * stake),
            slash=_millionths(self.slash),
            report=_millionths(self.report),
            reward=_millionths(self.reward),
            propose=_millionths(self.propose),
            leak=_millionths(self.leak),
            patience=self.patience,
            window=self.window,
            use=_millionths(self.use),
        )


def _millionths(share: float) -> int:
    return round(share * MILLION)
