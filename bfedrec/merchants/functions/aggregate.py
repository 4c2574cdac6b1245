"""The function `aggregate`: compute the aggregate of a round's models as they are now, and keep it.

Its body is `{"round": N}` (application/json). It answers `{"round": N, "covered": ..., "cid": ...,
"digest": ...}`: what a merchant is to attest if it comes to the same. `covered` counts the round's
publications, those included whose models cannot be used.
"""

from __future__ import annotations

from functions_framework import aio
from starlette.requests import Request
from starlette.responses import Response

from bfedrec.merchants.functions.guard import JSON, Function, Refusal, Told
from bfedrec.merchants.functions.site import Site
from bfedrec.merchants.functions.wire import ROUND_BYTES, model_told, round_number


def _aggregated(site: Site, merchant: str, body: bytes) -> dict[str, Told]:
    try:
        number = round_number(body)
    except ValueError as error:
        raise Refusal(400, "body", str(error)) from None
    found = site.services.aggregate(number)
    return {"round": number, "covered": found.covered, **model_told(found.model)}


FUNCTION = Function("aggregate", JSON, lambda site: ROUND_BYTES, _aggregated)


@aio.http
async def aggregate(request: Request) -> Response:
    """Compute the aggregate of the round in a request."""
    return await FUNCTION.serve(request)
