"""The settings of a client's local training (Algorithm 1), shared by every implementation of it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from bfedrec.learning.basis import BASES, Basis
from bfedrec.parts import PartSection
from bfedrec.section import Section, setting_error

MOST_PASSES = 10_000
"""Greatest number of passes over a client's data in one round; published ones are at most 20."""
MOST_DRAWS = 10_000
"""Greatest number of items that are drawn for an interaction; a client trains on each of them in
every pass."""
MOST_FACTORS = 65_536
"""Greatest d; the matrix B of a basis has up to d x d float32, 16 GiB."""


class TrainingSettings(Section):
    """The settings of a client's training in one round; symbols are those of the paper's III.C.

    `client.py`, `cohort.py` and `cohort_torch.py` read nothing else of the config, so that the
    three compute the same update. Raises pydantic's `ValidationError` on an unknown key or a bad
    value.
    """

    method: str = Field(default="sgd", description="how a client trains in a round")
    loss: Literal["bce", "softmax"] = Field(
        default="bce",
        description="bce: binary cross-entropy of every sample, the paper's (eq. 2); softmax: the "
        "cross-entropy of every positive against its own negatives (sampled softmax)",
    )
    local_epochs: int = Field(
        default=2,
        ge=1,
        le=MOST_PASSES,
        description="Passes over the client's data in which A_u and p_u are trained (sets tau_u).",
    )
    user_epochs: int = Field(
        default=0,
        ge=0,
        le=MOST_PASSES,
        description="Passes in which p_u alone is trained, before the first on A_u. They cost no "
        "bytes and refresh a p_u that is many rounds old; 0 is the paper's Algorithm 1.",
    )
    batch_size: int = Field(
        default=64,
        ge=1,
        le=2**20,
        description="Samples (positives and negatives together) in one gradient step. softmax: "
        "rounded down to whole positives with their negatives, one at least.",
    )
    negatives: int = Field(
        default=6,
        ge=1,
        le=MOST_DRAWS,
        description="Items drawn for each positive, in every pass anew, from those that the "
        "client has not interacted with in training.",
    )
    negatives_exclude: Literal["train", "all"] = Field(
        default="train",
        description="items that are never drawn as negatives (nor as virtual items): train: the "
        "client's training items; all: its held-out items as well, as some published figures have "
        "it, which is not honest: the model is told that what is never a negative may be a test "
        "item",
    )
    item_step: float = Field(
        default=0.5,
        gt=0,
        allow_inf_nan=False,
        description="Step (eta) on A_u, times sqrt(r/d), along the gradient summed over a batch: "
        "an item is rarely twice in one, so the step means the same at any batch size.",
    )
    item_gradient: Literal["sum", "mean"] = Field(
        default="sum",
        description="what item_step multiplies. sum: that sum; mean: the same divided by the "
        "client's number of training interactions, which N_u/N then multiplies again: under rule "
        "samples all interactions count alike, where by the sum they count N_u times",
    )
    user_step: float = Field(
        default=0.5,
        gt=0,
        allow_inf_nan=False,
        description="Step (eta) on p_u, along the gradient averaged over a batch's samples "
        "(softmax: its positives).",
    )
    l2: float = Field(
        default=0.01,
        ge=0,
        allow_inf_nan=False,
        description="Weight of the L2 term (lambda) on p_u and on the factors of a batch's items.",
    )
    unobserved: float = Field(
        default=0.1,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="Weight (alpha) of the squared error of every item in the catalogue, beside "
        "the weight 1 of each of the client's interactions.",
    )
    network_step: float = Field(
        default=0.05,
        gt=0,
        allow_inf_nan=False,
        description="Step on the weights of the network, along the gradient averaged over a batch.",
    )
    private_step: float = Field(
        default=0.05,
        gt=0,
        allow_inf_nan=False,
        description="Step on a client's own view of the items, along the gradient summed over a "
        "batch. What it learns of drawn negatives stays, so that a large one forgets nothing.",
    )
    difference: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Weight (lambda) of the term that drives a client's own view of a batch's "
        "items from the shared one; it grows over the rounds as tanh(10 t / rounds).",
    )
    sparsity: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Weight (mu) of the L1 norm of the shared view of a batch's items; it grows "
        "likewise.",
    )
    final_step: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of both steps that is left in the last round; they fall linearly.",
    )
    virtual_share: float = Field(
        default=0.0,
        ge=0,
        le=MOST_DRAWS,
        allow_inf_nan=False,
        description="FedRec's rho: virtual items for each training interaction, drawn once a round "
        "from those that the client has not interacted with in training; 0: none. The passes that "
        "train A_u hold them as well, so that an update does not tell what a client's sample was.",
    )
    virtual_mean_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of the rounds, from the first, in which the label of virtual items is "
        "the mean label of the client's sample, 1 / (1 + negatives); later it is what the client "
        "predicts. 0.1 as FedRec has it (10 of 100); 1: the mean throughout (user averaging).",
    )

    chunk_mib: int = Field(
        default=1024,
        ge=1,
        le=2**20,
        description="On a torch device: MiB of its memory that a cohort's arrays take at most; a "
        "larger cohort trains in chunks of clients of like length. No result depends on it but for "
        "the order of sums.",
    )

    @model_validator(mode="after")
    def _agree(self) -> TrainingSettings:
        """Refuse an option that would have no effect."""
        if self.virtual_share and self.loss != "bce":
            raise setting_error("virtual_share", f"0, as training.loss is {self.loss}")
        if self.virtual_share == 0:
            why = "training.virtual_share is 0: no item is virtual"
            self.refuse_unread(["virtual_mean_share"], why)
        return self

    @property
    def step_samples(self) -> int:
        """Samples in one gradient step: `batch_size`, under softmax rounded down to whole
        groups."""
        if self.loss == "bce":
            return self.batch_size
        group = 1 + self.negatives
        return max(1, self.batch_size // group) * group

    def item_share(self, interactions: int) -> float:
        """Factor on the step on A_u of a client with so many training interactions: 1 under
        `item_gradient` sum, 1 / interactions under mean."""
        return 1.0 / max(interactions, 1) if self.item_gradient == "mean" else 1.0

    @property
    def mean_label(self) -> float:
        """The mean label of a client's sample: of each positive and its negatives."""
        return 1.0 / (1 + self.negatives)

    def step_scale(self, height: int, rounds: int) -> float:
        """Factor on both steps in round `height` (1 ... `rounds`): from 1 down to `final_step`.
        Raises ValueError for a height outside of the run."""
        if not 1 <= height <= rounds:
            raise ValueError(f"round {height} is not one of the run's rounds, 1 to {rounds}")
        if rounds == 1:
            return 1.0
        return 1.0 - (1.0 - self.final_step) * (height - 1) / (rounds - 1)

    def predicts(self, height: int, rounds: int) -> bool:
        """True if virtual items are labelled by predictions in round `height` of `rounds`."""
        return height > round(self.virtual_mean_share * rounds)


class ModelSettings(PartSection):
    """Matrix factorisation with low-rank updates: Q (N x d) moves by B A (eq. 5)."""

    choice: ClassVar[str] = "basis"
    about: ClassVar[str] = "B (d x r), for codecs under a basis: "

    dimension: int = Field(default=64, ge=1, description="d, length of a factor")

    @field_validator("dimension")
    @classmethod
    def _not_too_long(cls, dimension: int) -> int:
        if dimension > MOST_FACTORS:
            need = f"the factors of every 1,000 items would need {4e3 * dimension / 2**30:,.0f} GiB"
            raise setting_error("", f"int >= 1 <= {MOST_FACTORS}: {need}")
        return dimension

    rank: int = Field(
        default=4, ge=1, description="r, transmitted size: rows of A (r x N); at most d"
    )
    basis: str = "seeded"
    init_scale: float = Field(
        default=0.5,
        gt=0.0,
        description="initial factors are normal with this deviation over sqrt(d)",
    )

    @classmethod
    def parts(cls) -> tuple[type[Basis], ...]:
        return tuple(BASES.values())
