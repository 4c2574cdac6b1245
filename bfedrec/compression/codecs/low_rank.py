"""The codec ``low_rank``, the paper's: A (r x N) under the round's basis, as float32 numbers."""

from __future__ import annotations

from dataclasses import dataclass

from bfedrec.compression.codec import Codec, codec
from bfedrec.compression.codecs.dense import Dense
from bfedrec.section import setting_error


@codec("low_rank", place=2)
@dataclass(frozen=True)
class LowRank(Dense):
    """A of rank r = s, all of it, row after row: 4 r N bytes. It stands for Delta Q' = B A."""

    meaning = "A (r x N) under a basis, the paper's"
    under_basis = True

    @classmethod
    def size_for(cls, size: int | None, dimension: int, rank: int) -> int:
        if size not in (None, rank):
            raise setting_error(
                "compression.size",
                f"null or model.rank = {rank}, as compression.kind is {cls.name}",
            )
        return Codec.size_for(size, dimension, rank)
