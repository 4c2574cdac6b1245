"""Secure aggregation on MovieLens-1M with a third of the servers malicious and clients that break
the protocol: no wrong block, groups that are dropped and counted, and those named who can be."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bfedrec.config.load import load
from bfedrec.data.prepare import prepare
from bfedrec.federation.federation import Federation
from bfedrec.federation.round import Round
from bfedrec.privacy.secure.masks import Lanes
from tests.conftest import ROOT

SERVERS = '[{"behaviour": ["gaussian", "invert_votes"], "share": 0.33}]'
CLIENTS = (
    "[{attack: mask_violation, share: %(each)s, how: garbage},"
    "{attack: mask_violation, share: %(each)s, how: false_shares},"
    "{attack: mask_violation, share: %(each)s, how: false_dealing}]"
)


def played(cache: Path, rounds: int, share: float, *more: str) -> dict[str, float]:
    """So many rounds of secure.yaml with a third of the servers malicious and a ``share`` of
    clients for each violation, all checked; HR@10 and what was counted."""
    config = load(
        ROOT / "experiments/privacy/secure.yaml",
        [
            f"rounds={rounds}",
            f"servers.malicious={SERVERS}",
            f"clients.malicious={CLIENTS % {'each': share}}",
            *more,
        ],
    )
    federation = Federation(config, prepare(config.data, cache=cache))
    groups: Counter[str] = Counter()
    told: dict[int, str] = {}
    try:
        learner = federation.learner
        honest = set(np.flatnonzero(learner.adversary.honest).tolist())
        for _ in range(rounds):
            clear = _in_the_clear(federation)
            beacon, before = federation.world.head.beacon, learner.model.Q.copy()
            one = federation.play_round()
            assert not one.result.captured
            _check(federation, one, beacon, clear)
            assert np.array_equal(before, learner.model.Q) == (one.groups["opened"] == 0)
            groups.update(one.groups)
            told |= one.accused
        assert not set(told) & honest
        scores = learner.scoring().evaluate("test", 10, full=False).means()
    finally:
        federation.close()
    dropped = sum(count for name, count in groups.items() if name != "opened")
    return {**groups, "dropped": dropped, "accused": len(told), "hr": scores["hr@10"]}


def _in_the_clear(federation: Federation) -> dict[int, Lanes]:
    """The lanes of each client of the round to come, before they are masked."""
    learner, head = federation.learner, federation.world.head
    height = head.height + 1
    clients, task = learner.clients(height), learner.task(height, head.beacon)
    _, lanes = federation._train_lanes(
        height, head.beacon, task, clients, learner.P[clients].copy()
    )
    return dict(zip(clients.tolist(), lanes, strict=True))


def _check(federation: Federation, one: Round, beacon: bytes, clear: dict[int, Lanes]) -> None:
    """Opened groups have the sums of their members' integers, and the block their aggregate."""
    model, secure = federation.learner.model, federation.learner.model.secure
    assert secure is not None
    payloads = [update.payload for update in one.result.updates]
    for group in secure.opening(payloads, beacon).groups:
        total = Lanes.zero(secure.scheme).copy()
        for member in group.members:
            assert federation.learner.adversary.violation(one.height, member) != "garbage"
            total.add(clear[member])
        assert np.array_equal(group.levels, total.centred)
        assert np.array_equal(group.counts, total.counts)
    aggregate = secure.aggregate(model.exchange_at(one.height), payloads, beacon)
    assert aggregate == one.result.contents.aggregate


def test_a_third_of_servers_and_violators_on_real_data(data_folder: Path, prepared: Path) -> None:
    found = played(prepared, 2, 0.02)
    assert found["opened"] >= 2
    assert found["dropped"] >= 1
    assert found["accused"] >= 1


@pytest.mark.slow
def test_the_model_learns_beside_violators(data_folder: Path, prepared: Path) -> None:
    found = played(prepared, 120, 0.003)
    print(found)
    assert found["dropped"] > 10
    assert found["opened"] > 300
    assert found["hr"] > 0.55
