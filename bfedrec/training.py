"""The settings of a client's local training (Algorithm 1), shared by every implementation of it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TrainingSettings(BaseModel):
    """What a client does with its data in one round; symbols are those of the paper's III.C.

    `client.py`, `cohort.py` and `cohort_torch.py` read it and nothing else, so that the three
    compute the same update. Raises pydantic's `ValidationError` on an unknown key or a bad value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    local_epochs: int = Field(
        default=2,
        ge=1,
        description="Passes over the client's data in which A_u and p_u are trained (sets tau_u).",
    )
    user_epochs: int = Field(
        default=0,
        ge=0,
        description="Passes in which p_u alone is trained, before the first on A_u. They cost no "
        "bytes and refresh a p_u that is many rounds old; 0 is the paper's Algorithm 1.",
    )
    batch_size: int = Field(
        default=64,
        ge=1,
        description="Samples (positives and negatives together) in one gradient step.",
    )
    negatives: int = Field(
        default=6,
        ge=1,
        description="Items drawn for each positive, in every pass anew, from those that the "
        "client has not interacted with in training.",
    )
    item_step: float = Field(
        default=0.5,
        gt=0,
        allow_inf_nan=False,
        description="Step (eta) on A_u, times sqrt(r/d), along the gradient summed over a batch: "
        "an item is rarely twice in one, so the step means the same at any batch size.",
    )
    user_step: float = Field(
        default=0.5,
        gt=0,
        allow_inf_nan=False,
        description="Step (eta) on p_u, along the gradient averaged over a batch.",
    )
    l2: float = Field(
        default=0.01,
        ge=0,
        allow_inf_nan=False,
        description="Weight of the L2 term (lambda) on p_u and on the factors of a batch's items.",
    )
    final_step: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of both steps that is left in the last round; they fall linearly.",
    )

    def step_scale(self, height: int, rounds: int) -> float:
        """Factor on both steps in round `height` (1 ... `rounds`): from 1 down to `final_step`."""
        if not 1 <= height <= rounds:
            raise ValueError(f"round {height} is not one of the run's rounds, 1 to {rounds}")
        if rounds == 1:
            return 1.0
        return 1.0 - (1.0 - self.final_step) * (height - 1) / (rounds - 1)
