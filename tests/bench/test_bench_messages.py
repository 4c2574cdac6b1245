"""The copies of consensus messages that a block takes under each protocol, over the seats of its
committee, and the exponent of a power law fitted to them.

    pytest -o addopts= -s tests/bench/test_bench_messages.py

All servers sit, all are honest, and every block is decided in its first view. A copy is one message
to one server: gossip to all others is as many copies as there are others, by whatever tree. Votes
and certificates are counted, proposals and blocks, and all that closes views; updates and tickets
are not, as they are the same under every protocol.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import pytest

from bfedrec.report.figures.scale import exponent
from consensus.protocols.registry import PROTOCOLS, protocol_named
from consensus.simulation.host import WorldHost
from tests.helpers.toy import Toy

SEATS = (4, 7, 13, 25, 49)
BLOCKS = 3
LEFT_OUT = {"update", "ticket", "status", "want"}


def copies(protocol: str, seats: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Copies per block by kind."""
    found: Counter[str] = Counter()
    gossip, send = WorldHost.gossip, WorldHost.send

    def gossiped(self: Any, kind: Any, body: Any, delay: float = 0.0) -> None:
        found[kind] += seats - 1
        gossip(self, kind, body, delay)

    def sent(self: Any, to: Collection[int], kind: Any, body: Any, delay: float = 0.0) -> None:
        found[kind] += len(to)
        send(self, to, kind, body, delay)

    with monkeypatch.context() as patched:
        patched.setattr(WorldHost, "gossip", gossiped)
        patched.setattr(WorldHost, "send", sent)
        toy = Toy(
            servers=seats, clients=3, committee_size=seats, protocol=protocol, crypto="modelled"
        )
        for _ in range(BLOCKS):
            assert toy.play().block.certificate.view == (0, 0)
    return Counter({kind: count // BLOCKS for kind, count in found.items()})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_copies_of_messages_grow_as_the_textbook_says(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under those with the exponent 2, n (n - 1) copies in each phase, and n - 1 each of the
    proposal and of the block."""
    totals = []
    for seats in SEATS:
        counted = copies(protocol, seats, monkeypatch)
        of_all = {kind: count for kind, count in counted.items() if kind not in LEFT_OUT}
        totals.append((seats, sum(of_all.values())))
        told = ", ".join(f"{kind} {count:,}" for kind, count in sorted(of_all.items()))
        print(f"{protocol}: {seats} seats, {totals[-1][1]:,} copies a block: {told}")
    fitted = exponent(totals[1:])
    assert fitted is not None
    print(f"{protocol}: exponent {fitted:.2f}")
    assert abs(fitted - protocol_named(protocol).message_exponent) < 0.15
