"""Faults of toy worlds, and what must hold in every world."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from consensus.encoding.unixfs import file_cid
from consensus.faults.faults import Faults, fault_from_node
from consensus.ledger.evidence import holds
from consensus.simulation.results import HeightResult
from tests.helpers.rules import chain_from
from tests.helpers.toy import Toy


def struck(servers: int, *faults: dict[str, Any]) -> Faults:
    """Faults as a config describes them."""
    return Faults(list(map(fault_from_node, faults)), servers, np.random.default_rng(0))


def crash(*servers: int, from_: float = 0.0, until: float = 1000.0, **more: int) -> dict[str, Any]:
    return {"crash": list(servers), "from": from_, "until": until, **more}


def cut(*servers: int, until: float = 1000.0) -> dict[str, Any]:
    """These apart from the others."""
    return {"partition": [list(servers)], "until": until}


#: Faults that are about, and do nothing.
NOTHING = {"loss": 1e-9, "until": 1000.0}


def check_invariants(toy: Toy, results: list[HeightResult], apart: int = 0) -> None:
    """Safety, of what the servers hold and of what was reported; servers that are not behind may
    lack so many blocks as they may be ``apart``."""
    replay = chain_from(toy.genesis)
    seen: set[tuple[int, bytes]] = set()
    for result in results:
        before = replay.head
        replay.append(result.block)  # every proof, checked afresh
        header = result.block.header
        assert header.parent == before.cid
        assert header.height == before.height + 1
        assert header.timestamp > before.timestamp
        assert file_cid(result.contents.aggregate) == header.aggregate_cid
        digests = [update.record.digest for update in result.updates]
        assert digests == sorted(set(digests))
        assert header.count == len(digests)
        assert header.samples == sum(update.record.samples for update in result.updates)
        for update in result.updates:
            assert update.record.height == header.height
            assert (header.height, update.record.client) not in seen
            seen.add((header.height, update.record.client))
        exact = toy.application.aggregate(
            [update.payload for update in result.updates],
            [update.record.samples for update in result.updates],
        )
        assert result.captured == (exact != result.contents.aggregate)
        assert result.began < min(result.appended.values())
        for server, at in result.appended.items():
            assert at <= result.ended or toy.world.servers[server].behaviour is not None
        for found in result.evidence:
            assert holds(toy.genesis, found)
            assert toy.world.servers[found.server].behaviour is not None
    for server in toy.world.servers:
        mine = [block.cid for block in server.chain.blocks]
        assert mine == [result.block.cid for result in results][: len(mine)]
        if server.index not in toy.world.behind() and server.behaviour is None:
            assert server.chain.height >= replay.head.height - apart
        again = chain_from(toy.genesis)
        for block in server.chain.blocks:
            again.append(block)
    assert toy.application.committed == [result.contents.aggregate for result in results]
    for one, other in pairwise(results):
        assert one.ended == other.began
