"""The `evaluation` section of an experiment: when and how the model is scored."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic.fields import FieldInfo

from bfedrec.evaluation.metrics import METRICS
from bfedrec.section import Section


class EvaluationSettings(Section):
    """When and how the model is scored. The test item is scored once, at the end, unless `select`
    asks for more."""

    every: int = Field(
        default=10,
        ge=1,
        description="rounds (or epochs) between two scorings of the validation items",
    )
    k: int = Field(default=10, ge=1, le=99, description="K of the metrics, as in HR@K")
    full_ranking: bool = Field(
        default=True, description="also rank the test item among all items its user never touched"
    )
    select: Literal["last", "validation", "test"] = Field(
        default="last",
        description="the round whose test figures the summary has: the last; the one with the best "
        "NDCG of the validation items; or the one with the best NDCG of the test items, as some "
        "published figures are, which is chosen on test items: not honest. The last two score the "
        "test items at every scoring, under names that begin with test_",
    )
    patience: int = Field(
        default=0,
        ge=0,
        description="end the run when so many evaluations in a row have brought no better NDCG of "
        "the validation items; 0: play all rounds",
    )
    users: int = Field(
        default=0,
        ge=0,
        description="score a sample of so many users, drawn from the seed, the same in every "
        "round, instead of all (0): with a million of them, all would take longer than the rounds",
    )
    targets: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(),
        description="items whose exposure is reported (ER@K: the share of users without the item "
        "in whose list it is), by their number from 0; those of a push attack are reported anyway",
    )

    unobserved: float | None = Field(
        default=None,
        gt=0.0,
        description="training.method ials: weight of every item in the catalogue where users are "
        "solved to be scored; null: training.unobserved, as where updates are made",
    )
    l2: float | None = Field(
        default=None,
        ge=0.0,
        description="training.method ials: weight of the L2 term there; null: training.l2",
    )
    norm: float = Field(
        default=0.0,
        ge=-1.0,
        le=1.0,
        description="training.method ials: an item's score is divided by the length of its "
        "factors, |q_i|, to this power; as |q_i| grows with popularity, rarer items rank higher "
        "above 0, and popular ones below",
    )

    neighbours: float = Field(
        default=0.0,
        ge=0.0,
        le=1e6,
        allow_inf_nan=False,
        description="what an item's likeness to a user's own items adds to its score, by item "
        "factors alone: so many times the sum of their cosines over the root of the number of "
        "these items (bfedrec/evaluation/neighbours.py has the formula); 0: nothing",
    )
    neighbours_power: int = Field(
        default=4,
        ge=1,
        le=64,
        description="neighbours: the power of a cosine; a greater one leaves the nearest alone",
    )

    recency: bool = Field(
        default=False,
        description="training.method ials: also score users with factors that weigh their "
        "interactions by recency, where the data know the order; these figures stand beside the "
        "others, as ordered_hr@10",
    )
    recency_weight: float = Field(
        default=50.0,
        ge=0.0,
        description="recency: an interaction weighs 1 + recency_weight exp(-k / recency_places), "
        "k = 0 for the latest; 1 where the order is not known",
    )
    recency_places: float = Field(
        default=5.0, gt=0.0, description="recency: places after which the weight is at 1/e"
    )
    recency_power: float = Field(
        default=0.0,
        ge=0.0,
        description="recency: above 0, an interaction weighs 1 + recency_weight "
        "(1 + k / recency_places)^-recency_power instead, which falls more slowly in the end",
    )
    recency_unobserved: float = Field(
        default=2.0, gt=0.0, description="recency: weight of every item in the catalogue"
    )
    recency_l2: float = Field(
        default=0.014, ge=0.0, description="recency: weight of the L2 term on the factors"
    )
    recency_norm: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="recency: what norm is to the scores that are blind to order",
    )

    @property
    def solves(self) -> dict[str, float]:
        """The constants with which users are solved to be scored, where they differ from those of
        `training`, by their names there."""
        given = {"unobserved": self.unobserved, "l2": self.l2}
        return {key: value for key, value in given.items() if value is not None}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse what nothing reads without recency or neighbours."""
        if not self.neighbours:
            self.refuse_unread(["neighbours_power"], "evaluation.neighbours is 0")
        if not self.recency:
            weights = [key for key in type(self).model_fields if key.startswith("recency_")]
            self.refuse_unread(weights, "evaluation.recency is false")
        return self

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """The options, with the registered metrics in the help of K."""
        k = cls.model_fields["k"]
        listed = "; ".join(f"{kind.label}: {kind.meaning}" for kind in METRICS.values())
        told = FieldInfo.merge_field_infos(k, description=f"{k.description}. {listed}")
        return {**cls.model_fields, "k": told}
