"""The capabilities by which the rest tells protocols apart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.encoding.fields import MalformedRecord
from consensus.ledger.protocol import Protocol
from consensus.protocols.registry import PROTOCOLS
from consensus.records.genesis import Genesis
from tests.helpers.toy import Toy

CAPABILITIES = (
    "committees_foreseen",
    "takes_turns",
    "has_locks",
    "recovers",
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
        "bft": {"committees_foreseen", "takes_turns", "has_locks", "recovers", "timers_grow"},
        "hotstuff": {"committees_foreseen", "takes_turns", "has_locks", "timers_grow"},
        "paper": {"draws_on_links"},
        "tendermint": {"committees_foreseen", "takes_turns", "timers_grow"},
    }


def test_a_genesis_of_which_no_weight_can_be_computed_is_refused() -> None:
    protocol = PROTOCOLS["bft"]
    toy = Toy(servers=4, clients=2, committee="weighted", committee_size=12, crypto="modelled")
    for stakes, good in (([1, 2, 3, 9], True), ([1, 2, 3, 10**12], False)):
        servers = zip(toy.genesis.servers, stakes, strict=True)
        moved = tuple(replace(server, stake=stake) for server, stake in servers)
        genesis = Genesis.decode(replace(toy.genesis, servers=moved).encoded)
        fixed = replace(genesis.parameters, committee="fixed")
        protocol.check_genesis(replace(genesis, parameters=fixed))
        if good:
            protocol.check_genesis(genesis)
        else:
            with pytest.raises(MalformedRecord, match="too great for a weighted committee"):
                protocol.check_genesis(genesis)
