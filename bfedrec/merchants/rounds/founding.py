"""The beginning of a registry: the initial model is stored, the contract deployed, all agreed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bfedrec.merchants.averaging import PLAIN
from bfedrec.merchants.interactions import Catalogue
from bfedrec.merchants.model import DIMENSION
from bfedrec.merchants.rounds.agreement import Agreement
from bfedrec.merchants.rounds.checks import identity
from bfedrec.merchants.settings import StepSettings
from consensus.ethereum.node import Node
from consensus.ethereum.registry import Registry
from consensus.storage.content import ContentStore

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

NOWHERE = "0x" + "0" * 40


def found(
    node: Node,
    operator: LocalAccount,
    store: ContentStore,
    merchants: dict[str, str],
    catalogue: Catalogue,
    *,
    seed: int = 0,
    settings: StepSettings | None = None,
    rule: str = PLAIN,
    dimension: int = DIMENSION,
) -> Agreement:
    """Put the initial model of these merchants into the store, deploy their registry, and return
    what they agree on."""
    settings = settings or StepSettings()
    before = Agreement(seed, merchants, NOWHERE, 0, catalogue, dimension, rule, settings)
    payload = before.initial_payload()
    store.put(payload)
    registry = Registry.deploy(node, operator, identity(payload), list(merchants.values()))
    return Agreement(
        seed, merchants, registry.address, registry.since, catalogue, dimension, rule, settings
    )
