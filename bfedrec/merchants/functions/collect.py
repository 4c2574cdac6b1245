"""The function `collect`: fetch and check the models of a round.

Its body is `{"round": N}` (application/json). It answers with the models that can be used, each
with its merchant, address, digest and sample count, and with the reason for each that cannot:
`{"round": N, "closed": ..., "accepted": [...], "refused": {"0x...": "why"}}`.
"""

from __future__ import annotations

from functions_framework import aio
from starlette.requests import Request
from starlette.responses import Response

from bfedrec.merchants.functions.guard import JSON, Function, Refusal, Told
from bfedrec.merchants.functions.site import Site
from bfedrec.merchants.functions.wire import ROUND_BYTES, model_told, round_number


def _collected(site: Site, merchant: str, body: bytes) -> dict[str, Told]:
    try:
        number = round_number(body)
    except ValueError as error:
        raise Refusal(400, "body", str(error)) from None
    found = site.services.collect(number)
    models = {each.merchant: each.model for each in found.round.publications}
    return {
        "round": number,
        "closed": found.round.closed,
        "accepted": [
            {
                "merchant": each.merchant,
                "samples": each.samples,
                **model_told(models[site.agreement.merchants[each.merchant]]),
            }
            for each in found.accepted
        ],
        "refused": found.refused,
    }


FUNCTION = Function("collect", JSON, lambda site: ROUND_BYTES, _collected)


@aio.http
async def collect(request: Request) -> Response:
    """Fetch and check the models of the round in a request."""
    return await FUNCTION.serve(request)
