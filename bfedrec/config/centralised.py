"""The options of the centralised methods, and the options that each method reads.

An option that a method does not read must have its default value, so that nobody believes that a
setting without an effect had one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from bfedrec.learning.settings import MOST_DRAWS
from bfedrec.section import Section, Tree, setting_error

Method = Literal[
    "federated", "gmf", "bpr", "popularity", "item_knn", "implicit_als", "implicit_bpr"
]


class CentralisedSettings(Section):
    """Methods that see all data at once: matrix factorisation (gmf, bpr), item_knn, and those of
    the library implicit."""

    epochs: int = Field(
        default=20,
        ge=1,
        le=1_000_000,
        description="gmf, bpr, implicit_als, implicit_bpr: passes over all training interactions",
    )
    step: float = Field(
        default=0.03,
        gt=0.0,
        description="gmf, bpr, implicit_bpr: step of stochastic gradient descent",
    )
    final_step: float = Field(
        default=1.0,
        ge=0.0,
        le=1.0,
        description="gmf, bpr: share of the step that is left in the last epoch; it falls linearly",
    )
    l2: float = Field(
        default=0.01,
        ge=0.0,
        description="gmf, bpr, implicit_bpr: weight of the L2 term on the factors (and biases) of "
        "every sample; implicit_als: on all factors",
    )
    negatives: int = Field(
        default=4,
        ge=1,
        le=MOST_DRAWS,
        description="gmf, bpr: items drawn for each interaction, in every epoch anew, from those "
        "that the user has not interacted with in training; in bpr each makes a triple",
    )
    output_weights: Literal["learned", "ones"] = Field(
        default="learned",
        description="gmf: the weights h of the factors' products; ones: plain matrix factorisation",
    )
    item_bias: bool = Field(default=False, description="gmf, bpr: whether every item has a bias")
    similar_items: int = Field(
        default=100,
        ge=1,
        description="item_knn: how many of the items most similar to it an item keeps",
    )
    shrink: float = Field(
        default=0.0,
        ge=0.0,
        description="item_knn: added to the denominator of a similarity, so that few users in "
        "common count for less",
    )
    asymmetry: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="item_knn: power of the scored item's number of users in the denominator, the "
        "rest being the other item's; 0.5 is the cosine, less favours popular items",
    )
    confidence: float = Field(
        default=10.0,
        gt=0.0,
        description="implicit_als: weight of an interaction, where an item that the user does not "
        "have weighs 1",
    )

    def step_at(self, epoch: int) -> float:
        """The step in `epoch` (1 ... `epochs`)."""
        fallen = (epoch - 1) / max(1, self.epochs - 1)
        return self.step * (1.0 - (1.0 - self.final_step) * fallen)


COMMON = (
    "method",
    "name",
    "seed",
    "loggers",
    "evaluation.every",
    "evaluation.k",
    "evaluation.full_ranking",
)
FACTORS = (
    "model.dimension",
    "model.init_scale",
    "centralised.epochs",
    "centralised.step",
    "centralised.final_step",
    "centralised.l2",
    "centralised.negatives",
    "centralised.item_bias",
)
READ: Mapping[str, tuple[str, ...]] = {
    "gmf": (*FACTORS, "centralised.output_weights"),
    "bpr": FACTORS,
    "popularity": (),
    "implicit_als": (
        "model.dimension",
        "centralised.epochs",
        "centralised.l2",
        "centralised.confidence",
    ),
    "implicit_bpr": (
        "model.dimension",
        "centralised.epochs",
        "centralised.l2",
        "centralised.step",
    ),
    "item_knn": ("centralised.similar_items", "centralised.shrink", "centralised.asymmetry"),
}
"""The options that each centralised method reads beside `COMMON` and the section `data`."""


def check_read(method: Method, options: Tree, defaults: Tree, first: Mapping[str, object]) -> None:
    """Raise a validation error for an option that differs from its default although `method` does
    not read it.

    `options`, `defaults` and `first` are values by dotted key, `first` those that defaults had
    once: recorded configs have them written out. The error is about the first such option.
    """
    for key, value in options.items():
        usual = (defaults.get(key), first.get(key, defaults.get(key)))
        if value not in usual and not reads(method, key):
            raise setting_error(key, f"{defaults.get(key)!r}, as method {method} does not read it")


def reads(method: Method, key: str) -> bool:
    """True if the option of this dotted key can affect what `method` does."""
    if method == "federated":
        return not key.startswith("centralised.")
    return key in COMMON or key.startswith("data.") or key in READ[method]
