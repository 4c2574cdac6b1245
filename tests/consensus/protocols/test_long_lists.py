"""Blocks that list updates by the thousand which nobody has: members do not ask for all at once."""

from __future__ import annotations

from hashlib import sha256

import pytest

from consensus.adversary.behaviour import Behaviour
from consensus.adversary.toolbox import resigned
from consensus.ledger.updates import MOST_SLOTS, updates_root
from consensus.records.block import Candidate
from consensus.server.edge_server import EdgeServer
from tests.helpers.bft_rig import CLIENTS, FORGE, LEADER, Bench
from tests.helpers.toy import Toy


def digests(count: int) -> tuple[bytes, ...]:
    return tuple(sorted(sha256(bytes([n % 256, n // 256])).digest() for n in range(count)))


def listing(count: int) -> Candidate:
    listed = digests(count)
    candidate = FORGE.candidate(updates=updates_root(listed), count=count)
    return Candidate(candidate.header, candidate.signature, candidate.tickets, listed)


def test_no_more_is_wanted_than_anybody_sends_at_once() -> None:
    bench = Bench().ready()
    most = 2 * bench.server.parameters.quota
    bench.hear("candidate", listing(most + 50), sender=LEADER).wake("want").wake("want")
    assert [want.updates for want in bench.said("want")] == [digests(most + 50)[:most]] * 2


@pytest.mark.parametrize("more", [0, 1])
def test_a_block_lists_no_more_updates_than_its_clients_may_send(more: int) -> None:
    bench = Bench().ready().hear("candidate", listing(MOST_SLOTS * CLIENTS + more), sender=LEADER)
    assert bench.server.refused == ({"candidate header": 1} if more else {})


class Long(Behaviour):
    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        listed = digests(MOST_SLOTS)
        self.act()
        long = resigned(server, candidate, updates=updates_root(listed), count=len(listed))
        return Candidate(long.header, long.signature, long.tickets, listed)


@pytest.mark.parametrize("protocol", ["bft", "tendermint", "hotstuff"])
def test_a_long_list_costs_little_more_to_ask_for_than_to_send(protocol: str) -> None:
    for seed in range(20):
        malicious: dict[int, Behaviour] = {0: Long()}
        ledger = {"protocol": protocol, "crypto": "modelled", "ticket_us": 100_000}
        toy = Toy(10, 1, seed, malicious, **ledger)
        spent = toy.play(120.0).gossip_bytes
        if malicious[0].acted:
            assert 0 < spent["want"] < 3 * spent["candidate"], spent
            return
    raise AssertionError("it never led")
