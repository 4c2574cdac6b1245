"""Who acts in the tests, what they publish, and a registry in the middle of its second round."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount

from consensus.encoding.cid import raw_cid
from consensus.ethereum.node import Node
from consensus.ethereum.records import Model
from consensus.ethereum.registry import Registry
from tests.helpers.ethereum import ACCOUNTS

OPERATOR, ANNA, BEN, CLEO, DORA, STRANGER = ACCOUNTS[:6]
FOUNDERS = [ANNA, BEN, CLEO]


def model(name: str) -> Model:
    """The model whose bytes are a text."""
    data = name.encode()
    return Model(raw_cid(data), hashlib.sha256(data).digest())


INITIAL = model("initial")


def deploy(node: Node, founders: list[LocalAccount] = FOUNDERS) -> Registry:
    """A registry of some founders."""
    return Registry.deploy(node, OPERATOR, INITIAL, [each.address for each in founders])


def close_round(registry: Registry, voters: list[LocalAccount], aggregate: Model) -> None:
    """Have one merchant publish, and some attest."""
    number = registry.current_round()
    parent = registry.read_round(number).parent
    assert parent is not None
    registry.publish(voters[0], number, parent.digest, model(f"model {number}"), 5)
    for voter in voters:
        registry.attest(voter, number, 1, aggregate)


@dataclass
class Middle:
    """A registry in round 2 of Anna, Ben and Cleo: Dora is admitted and Cleo retired from round 3
    on; Anna has published `published` and attested `attested`."""

    registry: Registry
    parent: Model
    published: Model
    attested: Model


def middle(node: Node) -> Middle:
    """A registry in the middle of its second round."""
    registry = deploy(node)
    parent, published, attested = model("aggregate 1"), model("anna 2"), model("aggregate 2")
    close_round(registry, [ANNA, BEN], parent)
    registry.admit(OPERATOR, DORA.address)
    registry.retire(OPERATOR, CLEO.address)
    registry.publish(ANNA, 2, parent.digest, published, 7)
    registry.attest(ANNA, 2, 1, attested)
    return Middle(registry, parent, published, attested)
