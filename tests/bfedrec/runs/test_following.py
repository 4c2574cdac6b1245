"""Blocks are followed by the same heads as a ledger's own, and what is no block is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bfedrec.runs.following import after, lazy_draws, recorded_draws, skim
from consensus.encoding.dag_cbor import encode
from consensus.encoding.fields import MalformedRecord
from consensus.ledger.committee import check_ticket
from consensus.protocols.registry import protocol_of
from tests.helpers.audited import RESULTS, TOY

GENESIS = TOY.genesis
PROTOCOL = protocol_of(GENESIS)
FIRST = RESULTS[0].block


def test_heads_are_those_of_the_ledger() -> None:
    ours = theirs = PROTOCOL.first_head(GENESIS)
    for result in RESULTS:
        block = result.block
        ours, kept = after(GENESIS, PROTOCOL, ours, skim(block.height, block.encoded))
        theirs = PROTOCOL.check_block(GENESIS, theirs, block)
        assert (ours.height, ours.cid, ours.timestamp, ours.beacon) == (
            *(theirs.height, theirs.cid, theirs.timestamp, theirs.beacon),
        )
        assert [(each.server, each.beta) for each in ours.draws] == [
            (each.server, each.beta) for each in theirs.draws
        ]
        assert kept.head(block.height, ours.draws) == ours
        voters = {server for server in range(99) if kept.voters >> server & 1}
        assert voters == {server for server, _ in block.certificate.signatures}
        assert (kept.aggregator, kept.model) == (
            *(block.header.aggregator, block.header.aggregate_cid),
        )


def test_a_draw_is_computed_when_it_is_asked_for() -> None:
    bad = [[1, 0, b"short"], [0, 1, bytes(80)]]
    draws = lazy_draws(GENESIS, b"seed", bad)
    assert [each.server for each in draws] == [0, 1]
    for each in draws:
        with pytest.raises(MalformedRecord):
            _ = each.beta
        with pytest.raises(AttributeError):
            _ = each.gamma  # type: ignore[attr-defined]
    seed = PROTOCOL.drawn_from(PROTOCOL.first_head(GENESIS))[1]
    for claimed, ticket in zip(recorded_draws(GENESIS, seed, FIRST), FIRST.tickets, strict=True):
        assert (claimed.server, claimed.beta) == (
            *(ticket.server, check_ticket(GENESIS, seed, ticket).beta),
        )


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The first block after a change of its record."""
    node: dict[str, Any] = FIRST.to_node()
    change(node)
    return encode(node)


@pytest.mark.parametrize(
    ("encoded", "told"),
    [
        (b"", "height 1: block: not DAG-CBOR"),
        (b"\xa0", "height 1: block: missing or unknown fields"),
        (b"\x81" * 90 + b"\x80", "height 1: block: "),
        (changed(lambda node: node.pop("signature")), "unknown fields signature"),
        (changed(lambda node: node["header"].pop("count")), "header: missing or unknown fields"),
        (changed(lambda node: node["header"].update(samples=0)), "header.samples"),
        (changed(lambda node: node["header"].update(height=2)), "holds a block of height 2"),
        (changed(lambda node: node.update(tickets=3)), "tickets: expected a list"),
        (changed(lambda node: node.update(certificate=None)), "certificate: expected a map"),
        (changed(lambda node: node["header"].update(parent=FIRST.cid)), "its parent is not"),
        (changed(lambda node: node["header"].update(aggregator=99)), "server 99 is not known"),
        (changed(lambda node: node["tickets"].append(7)), r"expected \[height, server, proof\]"),
        (changed(lambda node: node["tickets"].append([1, True, b""])), "expected"),
        (changed(lambda node: node["tickets"].append([1, 99, b""])), "99, which is not regist"),
        (changed(lambda node: node["tickets"].append([1, -1, b""])), "-1, which is not regist"),
        (changed(lambda node: node["certificate"]["signatures"].append(7)), "expected a pair"),
        (changed(lambda node: node["certificate"]["signatures"].append([-1, b""])), "integer"),
    ],
)
def test_what_is_no_block_is_refused(encoded: bytes, told: str) -> None:
    with pytest.raises(MalformedRecord, match=told):
        after(GENESIS, PROTOCOL, PROTOCOL.first_head(GENESIS), skim(1, encoded))
