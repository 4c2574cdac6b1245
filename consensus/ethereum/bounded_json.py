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

_TOKENS: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
"""Texts, the last of which may have no end, and the brackets outside of them."""


def parse(data: bytes) -> object:
    """The value that `data` is in JSON (UTF-8). Raises ValueError.

    Brackets within texts do not count: a closing one there would make room for one that opens.
    """
    text = data.decode()
    depth = 0
    for found in _TOKENS.finditer(text):
        match found[0][0]:
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth -= 1
        if not 0 <= depth <= DEEPEST:
            raise ValueError(f"not JSON of at most {DEEPEST} lists and objects within each other")
    return json.loads(text)
