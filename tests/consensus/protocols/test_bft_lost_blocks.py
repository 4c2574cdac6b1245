"""Servers that have decided a block, and lose it in a crash: they vote for no other one there.

Half of the committee is malicious, so that safety rests on time: whoever knows a decided block
shows it to each server that goes on without it, once. Nothing here is late: all that honest servers
say is taken in at once.
"""

from __future__ import annotations

import pytest

from consensus.records.block import Candidate
from tests.helpers.bft_rig import FORGE, Bench
from tests.helpers.forge import Forge
from tests.helpers.toy import Toy

SERVERS = 12


def half_malicious() -> tuple[Toy, list[int], list[int], list[int]]:
    """A federation in which all sit; the malicious, who lead the first two views, and two halves of
    the others."""
    toy = Toy(servers=SERVERS, clients=3, committee_size=SERVERS, crypto="modelled")
    order = Forge(toy).order()
    bad = sorted({*order[:2], *range(SERVERS)} - set(order[2:]), key=lambda s: s not in order)[:6]
    good = [server for server in range(SERVERS) if server not in bad]
    return toy, bad, good[:3], good[3:]


class World:
    """The honest servers, each of which takes in at once what another one says."""

    def __init__(self, toy: Toy, honest: list[int]) -> None:
        self.benches = {index: Bench(index, toy).ready() for index in honest}
        self._told = dict.fromkeys(honest, 0)

    def settle(self) -> None:
        """Deliver until nobody has anything to say."""
        moved = True
        while moved:
            moved = False
            for index, bench in self.benches.items():
                for kind, body, to in bench.host.sent[self._told[index] :]:
                    self._told[index] += 1
                    moved = True
                    for other, its in self.benches.items():
                        if other != index and (to is None or other in to):
                            its.server.receive(kind, body, index, to is None)

    def hear(self, indices: list[int], kind: str, *bodies: object) -> None:
        for index in indices:
            self.benches[index].hear(kind, *bodies)
        self.settle()

    def wake(self, indices: list[int], what: str) -> None:
        for index in indices:
            self.benches[index].wake(what)
        self.settle()


def votes(forge: Forge, candidate: Candidate, who: list[int], phase: str) -> list[object]:
    return [forge.vote(candidate, server, phase, candidate.view) for server in who]


@pytest.mark.parametrize("crash", [False, True])
def test_a_block_that_was_decided_and_lost_is_not_replaced(crash: bool) -> None:
    toy, bad, some, others = half_malicious()
    forge = Forge(toy)
    world = World(toy, some + others)
    world.settle()
    first = forge.candidate()
    world.hear(some, "candidate", first)
    world.hear(some, "vote", *votes(forge, first, bad, "soft"))
    world.wake(some, "settle")
    world.hear(some, "vote", *votes(forge, first, bad, "cert"))
    assert {world.benches[index].server.chain.height for index in some} == {1}
    for index in some:
        world.benches[index].server.enter_height()
    world.wake(others, "view")
    assert {world.benches[index].server.chain.height for index in others} == {1}, "it was shown"
    left = [world.benches[index].said("timeout") for index in others]
    assert [[timeout.lock for timeout in said] for said in left] == [[None]] * len(others)
    if crash:
        for index in others:
            world.benches[index].server.restart(1, 0)
            world.benches[index].ready()
    closed = forge.closing((0, 0), sorted(bad + others))  # with what they said before
    second = forge.candidate(
        forge.updates()[:2], view=(0, 1), justification=closed, timestamp=forge.head.timestamp + 5
    )
    world.hear(others, "candidate", second)
    world.wake(others, "updates")
    world.wake(others, "listen")
    world.hear(others, "vote", *votes(forge, second, bad, "soft"))
    world.wake(others, "settle")
    world.hear(others, "vote", *votes(forge, second, bad, "cert"))
    chains = [bench.server.chain.blocks for bench in world.benches.values()]
    assert {chain[0].cid for chain in chains if chain} == {first.header.cid}


def test_who_lost_a_block_votes_for_it_again() -> None:
    for candidate in (FORGE.candidate(), FORGE.candidate(FORGE.updates()[:2])):
        bench = Bench().ready().hear("block", FORGE.block())
        bench.server.enter_height()
        bench.server.restart(1, 0)
        bench.ready().wake("updates").hear("candidate", candidate)
        same = candidate.header.cid == FORGE.candidate().header.cid
        assert bench.phases() == (["soft"] if same else [])
        assert len(bench.said("timeout")) == (not same)
