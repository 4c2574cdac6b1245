"""The function `store`: keep a model for good.

Its body is the model's bytes (application/octet-stream); they have to be a model of the agreement's
catalogue. It answers `{"cid": ..., "digest": ...}`: what the registry is to hold of the model.
"""

from __future__ import annotations

from functions_framework import aio
from starlette.requests import Request
from starlette.responses import Response

from bfedrec.merchants.functions.guard import BINARY, Function, Told
from bfedrec.merchants.functions.site import Site
from bfedrec.merchants.functions.wire import model_told


def _kept(site: Site, merchant: str, body: bytes) -> dict[str, Told]:
    return {**model_told(site.services.store(body))}


FUNCTION = Function("store", BINARY, lambda site: site.agreement.payload_size, _kept)


@aio.http
async def store(request: Request) -> Response:
    """Keep the model in a request."""
    return await FUNCTION.serve(request)
