"""The `compression` section of an experiment: the format of updates and aggregates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from bfedrec.compression.codec import Codec
from bfedrec.compression.registry import CODECS
from bfedrec.parts import PartSection
from bfedrec.section import setting_error


class CompressionSettings(PartSection):
    """The encoding of updates and aggregates as bytes (bfedrec/compression/codecs has a
    file for each format)."""

    choice: ClassVar[str] = "kind"

    kind: str = "low_rank"
    size: int | None = Field(
        default=None,
        ge=1,
        description="s, transmitted size, at most d; null for model.rank (dense: always d)",
    )
    downlink: Literal["same", "dense"] = Field(
        default="same",
        description="encoding of the aggregate: same as that of an update, which may lose some of "
        "it, or dense, the whole",
    )
    error_feedback: bool = Field(
        default=False,
        description="a client keeps what the codec lost of its update, and adds it to its next one",
    )

    @classmethod
    def parts(cls) -> tuple[type[Codec], ...]:
        return tuple(CODECS.values())

    @classmethod
    def readers(cls) -> Mapping[str, tuple[str, ...]]:
        lossy = [codec for codec in cls.parts() if not codec.lossless]
        fed_back = [codec for codec in cls.parts() if codec.refuses_feedback() is None]
        return {
            "downlink": tuple(codec.name for codec in lossy),
            "error_feedback": tuple(codec.name for codec in fed_back),
        }

    @model_validator(mode="after")
    def _agree(self) -> CompressionSettings:
        """Refuse a parameter that the chosen codec does not read."""
        self.check_parameters()
        return self

    def size_for(self, dimension: int, rank: int) -> int:
        """The transmitted size s for a model of this dimension and rank; raises a validation error
        where they do not fit."""
        codec = CODECS[self.kind]
        if codec.lossless and self.downlink != "same":
            raise setting_error("compression.downlink", f"same, as compression.kind is {self.kind}")
        reason = codec.refuses_feedback()
        if self.error_feedback and reason is not None:
            raise setting_error(
                "compression.error_feedback", f"false, as compression.kind is {self.kind}, {reason}"
            )
        size = codec.size_for(self.size, dimension, rank)
        key, rows = ("rank", rank) if codec.under_basis else ("dimension", dimension)
        if size > rows:
            raise setting_error("compression.size", f"at most model.{key} = {rows}")
        try:
            codec(rows, 1, size, **self.parameters)
        except ValueError as error:
            raise setting_error("compression.size", f"more: {error}") from None
        return size
