"""JSON of bounded depth, from whoever sends it.

The standard parser recurses, and relies on Python's limit to stop; py-evm raises that limit beyond
what a thread's stack holds. A hundred thousand brackets would then end the process.
"""

from __future__ import annotations

import json
import re
from typing import Final

__all__ = ["parse"]

DEEPEST: Final = 16
"""The most lists and objects within each other; what is asked of a chain has five."""

_BRACKETS: Final = re.compile(rb"[\[\]{}]")


def parse(data: bytes) -> object:
    """The value that `data` is in JSON. Raises ValueError.

    Brackets within texts count as well: what a chain is asked has none.
    """
    depth = 0
    for found in _BRACKETS.finditer(data):
        depth += 1 if found[0] in b"[{" else -1
        if depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} lists and objects within each other")
    return json.loads(data)
