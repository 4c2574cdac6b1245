"""Messages with more signatures than there are servers: nobody sets about verifying them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consensus.records.settlement import Settlement
from tests.helpers.bft_rig import FORGE, LEADER, MEMBER, MEMBERS, SERVERS, Bench

CANDIDATE = FORGE.candidate()
LOCK = FORGE.lock(CANDIDATE)
CLOSED = FORGE.closing(locks={MEMBERS[0]: LOCK})
BLOCK = FORGE.block()


def inflated(more: int) -> dict[str, tuple[str, Any]]:
    """Messages with as many signatures, or draws, as there are servers, and so many more."""
    count = SERVERS + more
    many = ((LEADER, bytes(64)),) * count
    lock = replace(LOCK, signatures=many)
    entries = ((LEADER, None, bytes(64)),) * count
    closed = replace(CLOSED, entries=entries)
    opened = replace(CLOSED, entries=entries, lock=None)
    return {
        "lock": ("lock", lock),
        "closure": ("closure", closed),
        "its lock": ("closure", replace(CLOSED, lock=lock)),
        "timeout": ("timeout", FORGE.timeout(LEADER, lock=lock)),
        "justification": ("candidate", FORGE.candidate(view=(0, 1), justification=opened)),
        "draws": ("candidate", replace(CANDIDATE, tickets=FORGE.tickets([LEADER]) * count)),
        "settlement": ("candidate", replace(CANDIDATE, settlement=Settlement(lock))),
        "certificate": ("block", replace(BLOCK, certificate=lock)),
        "draws of a block": ("block", replace(BLOCK, tickets=BLOCK.tickets[:1] * count)),
        "settlement of a block": ("block", replace(BLOCK, settlement=Settlement(lock))),
    }


@pytest.mark.parametrize("what", list(inflated(1)))
def test_more_signers_than_servers_are_refused_before_any_work(what: str) -> None:
    for more in (0, 1):
        bench = Bench(MEMBER).ready()
        before = len(bench.host.charged)
        kind, body = inflated(more)[what]
        assert not bench.server.receive(kind, body, LEADER, True)
        assert bench.server.refused["more signers than servers"] == more
        if more:
            assert len(bench.host.charged) == before
