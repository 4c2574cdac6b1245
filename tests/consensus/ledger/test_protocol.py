"""The capabilities by which the rest tells protocols apart."""

from __future__ import annotations

import pytest

from consensus.ledger.protocol import Protocol
from consensus.protocols.registry import PROTOCOLS

CAPABILITIES = (
    "committees_foreseen",
    "takes_turns",
    "has_locks",
    "timers_grow",
    "draws_on_links",
)


@pytest.mark.parametrize("name", CAPABILITIES)
def test_a_protocol_has_no_capability_that_it_does_not_name(name: str) -> None:
    assert getattr(Protocol, name) is False


def test_the_protocols_name_theirs() -> None:
    named = {
        name: {each for each in CAPABILITIES if getattr(kind, each)}
        for name, kind in PROTOCOLS.items()
    }
    assert named == {
        "bft": {"committees_foreseen", "takes_turns", "has_locks", "timers_grow"},
        "hotstuff": {"committees_foreseen", "takes_turns", "has_locks", "timers_grow"},
        "paper": {"draws_on_links"},
        "tendermint": {"committees_foreseen", "takes_turns", "timers_grow"},
    }
