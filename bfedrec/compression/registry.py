"""The codecs by their names, which are those of `compression.kind`."""

from __future__ import annotations

from bfedrec.compression.codec import Codec
from bfedrec.compression.dense import Dense, LowRank
from bfedrec.compression.quantised import Quantised
from bfedrec.compression.sparse import Random, TopK
from bfedrec.compression.svd import Svd

CODECS: dict[str, type[Codec]] = {
    codec.name: codec for codec in (LowRank, Quantised, Dense, Random, TopK, Svd)
}


def codec_named(name: str, rows: int, items: int, size: int) -> Codec:
    """The codec of that name for updates float32[rows, items].

    Raises ValueError for an unknown name, which lists the names there are, and for a size outside
    1 ... rows.
    """
    if name not in CODECS:
        raise ValueError(f"codec {name!r} is not one of {', '.join(CODECS)}")
    if type(size) is not int or not 1 <= size <= rows:
        raise ValueError(f"codec {name!r}: a transmitted size of 1 to {rows}, not {size!r}")
    if rows * items > 2**32:
        raise ValueError(f"codec {name!r}: {rows} x {items} numbers have no place of 32 bits")
    return CODECS[name](rows, items, size)
