"""The codecs that come with the package, and the lookup of a codec by its name.

Another codec is another class under `bfedrec.compression.codec.codec`: in a file of
`bfedrec.compression.codecs`, which is found there, or in a plugin.
"""

from __future__ import annotations

from collections.abc import Mapping

from bfedrec.compression.codec import CODECS, Codec
from bfedrec.parts import check_keys
from consensus.registry import import_parts

__all__ = ["CODECS", "codec_named"]

import_parts("bfedrec.compression.codecs")


def codec_named(
    name: str, rows: int, items: int, size: int, parameters: Mapping[str, int] | None = None
) -> Codec:
    """The codec called ``name`` for updates float32[rows, items], with all of its parameters, or
    None for its defaults.

    Raises ValueError for an unknown name, listing those known, for a size outside of 1 ... rows,
    for parameters that are not exactly the codec's, and for values out of range.
    """
    kind = CODECS.named(name)
    if type(size) is not int or not 1 <= size <= rows:
        raise ValueError(f"codec {name!r}: a transmitted size of 1 to {rows}, not {size!r}")
    if rows * items > 2**32:
        raise ValueError(f"codec {name!r}: {rows} x {items} numbers have no place of 32 bits")
    if parameters is None:
        return kind(rows, items, size)
    check_keys(kind, parameters)
    return kind(rows, items, size, **parameters)
