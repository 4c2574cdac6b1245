"""The function `register`: pass a merchant's signed operation on to the registry.

Its body is a signed Ethereum transaction as bytes (application/octet-stream): a publication or an
attestation, signed by the merchant that asks, of a model whose bytes the store holds. It answers
`{"transaction": ..., "block": ..., "gas": ...}`. What a block holds already is not sent again.
"""

from __future__ import annotations

from typing import Final

from functions_framework import aio
from starlette.requests import Request
from starlette.responses import Response

from bfedrec.merchants.functions.guard import BINARY, Function, Refusal, Told
from bfedrec.merchants.functions.site import Site
from bfedrec.merchants.functions.wire import sent_told
from consensus.ethereum.errors import EthereumError

LONGEST: Final = 4096
"""Bytes of the longest transaction; a publication has 400."""


def _sent(site: Site, merchant: str, body: bytes) -> dict[str, Told]:
    try:
        operation = site.registry.operation_of(body)
    except EthereumError as error:
        raise Refusal(422, "refused", str(error)) from None
    if operation.sender != merchant:
        raise Refusal(403, "foreign", f"the operation is of {operation.sender}, not of {merchant}")
    return {**sent_told(site.services.register(body))}


FUNCTION = Function("register", BINARY, lambda site: LONGEST, _sent)


@aio.http
async def register(request: Request) -> Response:
    """Pass on the operation in a request."""
    return await FUNCTION.serve(request)
