"""The beginning of a registry: the initial model is stored, the contract deployed, all agreed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True)
class Terms:
    """The choices of an agreement that have defaults (`Agreement` says what each is)."""

    seed: int = 0
    dimension: int = DIMENSION
    rule: str = PLAIN
    settings: StepSettings = field(default_factory=StepSettings)


def found(
    node: Node,
    operator: LocalAccount,
    store: ContentStore,
    merchants: dict[str, str],
    catalogue: Catalogue,
    terms: Terms | None = None,
) -> Agreement:
    """Put the initial model of these merchants into the store, deploy their registry, and return
    what they agree on."""
    terms = terms or Terms()
    before = Agreement(
        merchants=merchants, registry=NOWHERE, since=0, catalogue=catalogue, **vars(terms)
    )
    payload = before.initial_payload()
    store.put(payload)
    registry = Registry.deploy(node, operator, identity(payload), list(merchants.values()))
    return replace(before, registry=registry.address, since=registry.since)
