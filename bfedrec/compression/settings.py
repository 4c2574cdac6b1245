"""The `compression` section of an experiment: what of an update travels, and as which bytes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bfedrec.section import Section, setting_error

STEP_BITS, MIN_BITS, MAX_BITS = 16, 2, 8
"""quantised: bits of the step that an item's numbers share, and the fewest and most of a number."""

WITHOUT_FEEDBACK = {
    "low_rank": "which loses nothing",
    "dense": "which loses nothing",
    "quantised": "whose losses lie in a basis that is gone when a client returns",
}
"""Kinds with which there is nothing to keep for the next update, and why."""


def quantised_bits(r: int, s: int) -> int:
    """b, bits of a number, where r of them and their step take the bytes of s float32 at most."""
    return min((32 * s - STEP_BITS) // r, MAX_BITS)


class CompressionSettings(Section):
    """How updates and models become bytes (bfedrec/compression/codec.py has every format)."""

    kind: Literal["low_rank", "quantised", "dense", "random", "top_k", "svd"] = Field(
        default="low_rank",
        description="low_rank: A (r x N) under a basis, the paper's; quantised: the same in "
        "numbers of a few bits, as many as fit. The others train Delta Q "
        "(d x N) itself and send all of it (dense: FedMF, with model.dimension at the transmitted "
        "size), s N numbers at places drawn from the height's beacon (random), its s N largest "
        "with their 32-bit places (top_k), or its s largest singular triples (svd)",
    )
    size: int | None = Field(
        default=None,
        ge=1,
        description="s, transmitted size, at most d; null for model.rank (dense: always d). "
        "quantised: an item's numbers and their step take the bytes of s numbers of 32 bits at "
        "most, so that model.rank = 28 at s = 4 leaves 4 bits for each",
    )
    downlink: Literal["same", "dense"] = Field(
        default="same",
        description="quantised, random, top_k, svd: what comes down: the aggregate encoded like an "
        "update, which may lose some of it, or all of it",
    )
    error_feedback: bool = Field(
        default=False,
        description="random, top_k, svd: a client keeps what the codec lost of its update, and "
        "adds it to its next one",
    )

    def size_for(self, dimension: int, rank: int) -> int:
        """s, for a model of this dimension and rank; a validation error where they do not fit."""
        if self.kind == "low_rank" and self.size not in (None, rank):
            raise setting_error(
                "compression.size", f"null or model.rank = {rank}, as compression.kind is low_rank"
            )
        if self.kind == "dense" and self.size not in (None, dimension):
            raise setting_error(
                "compression.size",
                f"null or model.dimension = {dimension}, as compression.kind is dense",
            )
        if self.kind in ("low_rank", "dense") and self.downlink != "same":
            raise setting_error("compression.downlink", f"same, as compression.kind is {self.kind}")
        if self.error_feedback and self.kind in WITHOUT_FEEDBACK:
            reason = WITHOUT_FEEDBACK[self.kind]
            raise setting_error(
                "compression.error_feedback", f"false, as compression.kind is {self.kind}, {reason}"
            )
        if self.kind == "dense":
            return dimension
        if (self.size or rank) > dimension:
            key = "compression.size" if self.size else "model.rank"
            raise setting_error(key, f"at most model.dimension = {dimension}")
        if self.kind == "quantised" and rank > dimension:
            raise setting_error("model.rank", f"at most model.dimension = {dimension}")
        size = self.size or rank
        if self.kind == "quantised" and quantised_bits(rank, size) < MIN_BITS:
            raise setting_error(
                "model.rank",
                f"at most {(32 * size - STEP_BITS) // MIN_BITS}, so that numbers of {MIN_BITS} "
                f"bits fit in compression.size = {size}",
            )
        return size
