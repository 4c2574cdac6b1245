"""Questions to functions and their answers, in JSON: written by one side, checked by the other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from consensus.encoding.cid import EncodingError, cid_text, is_cid, parse_cid
from consensus.ethereum.bounded_json import parse
from consensus.ethereum.records import Model, Sent

MOST_ROUND: Final = 2**63 - 1
ROUND_BYTES: Final = 256
"""Bytes of the longest body that asks for a round."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_HASH: Final = re.compile(r"0x[0-9a-f]{64}")


def round_text(number: int) -> bytes:
    """The body that asks for a round."""
    return b'{"round": %d}' % number


def round_number(body: bytes) -> int:
    """The round that a body asks for. Raises ValueError, one line."""
    try:
        found = parse(body)
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None
    number = found.get("round") if isinstance(found, dict) and len(found) == 1 else None
    if type(number) is not int or not 1 <= number <= MOST_ROUND:
        raise ValueError('the body has to be {"round": N} with N of at least 1')
    return number


def model_told(model: Model) -> dict[str, str]:
    """A model's identity. A registry may hold any bytes as a CID: those of none are hexadecimal."""
    cid = cid_text(model.cid) if is_cid(model.cid) else f"0x{model.cid.hex()}"
    return {"cid": cid, "digest": model.digest.hex()}


def model_of(found: Mapping[str, Any]) -> Model:
    """The model that an answer names. Raises ValueError, KeyError or TypeError."""
    if not _DIGEST.fullmatch(found["digest"]):
        raise ValueError("a digest is malformed")
    try:
        return Model(parse_cid(found["cid"]), bytes.fromhex(found["digest"]))
    except EncodingError as error:
        raise ValueError(str(error)) from None


def sent_told(sent: Sent) -> dict[str, str | int]:
    """A transaction."""
    return {"transaction": sent.transaction, "block": sent.block, "gas": sent.gas}


def sent_of(found: Mapping[str, Any]) -> Sent:
    """The transaction that an answer names. Raises ValueError, KeyError or TypeError."""
    if not _HASH.fullmatch(found["transaction"]):
        raise ValueError("a transaction is malformed")
    return Sent(found["transaction"], whole(found["block"]), whole(found["gas"]))


def whole(value: Any) -> int:
    """A whole number of an answer. Raises ValueError."""
    if type(value) is not int or not 0 <= value <= MOST_ROUND:
        raise ValueError("a number is not whole")
    return value
