"""Verification on demand: of a whole chain, or of one block, told live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from sse_starlette import ServerSentEvent
from starlette.exceptions import HTTPException
from starlette.responses import Response

from bfedrec.web.explorer.chain import chain_of
from bfedrec.web.explorer.verifications import LOOK_SECONDS, Job, Key, Occupied
from bfedrec.web.explorer.visits import Visit
from bfedrec.web.live import told_fragment
from bfedrec.web.pages import render

REFRESH: Final = 3
"""Seconds after which a page without a script loads itself anew."""


def show(visit: Visit) -> Response:
    """The page of a verification, which begins if the address asks for one that has not been:
    ``height`` names a block, without it all are verified; ``go`` is the verification's number."""
    key, go = _key(visit), _number(visit.asked("go", 9))
    found, problem = visit.explorer.verifications.latest(key), ""
    if go:
        try:
            found = visit.explorer.verifications.ask(key, go)
        except Occupied as occupied:
            problem = str(occupied)
    values = {
        "height": key[1],
        "job": found,
        "problem": problem,
        "next": 1 + (found.number if found else 0),
        "refresh": REFRESH if found and found.running else 0,
    }
    return visit.page("verify.html", values, 429 if problem else 200)


def tell(visit: Visit) -> Response:
    """The latest verification as server-sent events. Raises HTTPException (404) without one."""
    job = visit.explorer.verifications.latest(_key(visit))
    if job is None:
        raise HTTPException(404)
    return visit.events(_told(visit, job))


async def _told(visit: Visit, job: Job) -> AsyncIterator[ServerSentEvent]:
    version = None
    with visit.explorer.verifications.watched(job):
        while job.running:
            if job.version != version:
                version = job.version
                yield told_fragment("verification", render("explorer/job.html", {"job": job}))
            await asyncio.sleep(LOOK_SECONDS)
        yield ServerSentEvent("", event="done")


def _key(visit: Visit) -> Key:
    asked = visit.asked("height", 9)
    height = _number(asked)
    if asked and not height:
        raise HTTPException(400, "height is a number from 1.")
    return chain_of(visit).path, height or None


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
