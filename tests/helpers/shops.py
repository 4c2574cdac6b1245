"""Three small shops with generated events, an embedded chain, and members that play rounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bfedrec.merchants.events import EventReader
from bfedrec.merchants.generator import shop_events, write_events
from bfedrec.merchants.interactions import Catalogue, history_of
from bfedrec.merchants.market import MarketSettings, market_of
from bfedrec.merchants.rounds.agreement import Agreement
from bfedrec.merchants.rounds.founding import Terms, found
from bfedrec.merchants.rounds.member import Member
from bfedrec.merchants.rounds.services import LocalServices, Services
from bfedrec.merchants.rounds.workspace import Step, Workspace
from bfedrec.merchants.settings import StepSettings
from bfedrec.streams import Streams
from consensus.ethereum.node import Node
from consensus.ethereum.registry import Registry
from consensus.storage.content import ContentStore, MemoryStore
from tests.helpers.ethereum import ACCOUNTS, serving

SHOPS = 3
NAMES = tuple(f"shop-{shop}" for shop in range(SHOPS))
OPERATOR = ACCOUNTS[0]
OWNERS = dict(zip(NAMES, ACCOUNTS[1 : SHOPS + 1], strict=True))
SETTINGS = StepSettings(epochs=2)
EVENTS = 300


def write_shops(folder: Path, events: int = EVENTS, seed: int = 0) -> Catalogue:
    """Make the workspaces of all shops below ``folder``, each with its key and events; the
    catalogue of what they sell."""
    streams = Streams(seed)
    market = market_of(MarketSettings(SHOPS, 60, 40), streams)
    sold = []
    for shop, name in enumerate(NAMES):
        workspace = Workspace(folder / name)
        workspace.create(bytes(OWNERS[name].key))
        path = workspace.path / "events" / "events.csv"
        with path.open("wb") as file:
            write_events(file, market, shop, shop_events(market, shop, events, streams), streams)
        sold.append(np.unique(history_of(EventReader(path)).products))
    return Catalogue.of(*sold)


@dataclass
class Shops:
    """A registry of three merchants, with their folders and one store."""

    folder: Path
    agreement: Agreement
    registry: Registry
    store: ContentStore
    steps: list[tuple[str, Step]]

    def member(self, name: str, services: Services | None = None) -> Member:
        """A merchant, as after a restart of its process."""
        return Member(
            Workspace(self.folder / name),
            self.agreement,
            self.registry,
            self.store,
            services or LocalServices(self.agreement, self.registry, self.store),
            lambda step: self.steps.append((name, step)),
        )

    @property
    def members(self) -> list[Member]:
        """All merchants."""
        return [self.member(name) for name in NAMES]

    def told(self, name: str) -> list[str]:
        """What a merchant's steps told beside being begun and done."""
        return [step.detail for who, step in self.steps if who == name and step.state == "told"]


def founded(folder: Path, node: Node, store: ContentStore, **changes: object) -> Shops:
    """Shops in ``folder`` with a new registry on a node."""
    catalogue = write_shops(folder)
    addresses = {name: owner.address for name, owner in OWNERS.items()}
    terms = replace(Terms(settings=SETTINGS), **changes)  # type: ignore[arg-type]
    agreement = found(node, OPERATOR, store, addresses, catalogue, terms)
    registry = Registry(node, agreement.registry, agreement.since)
    return Shops(folder, agreement, registry, store, [])


@contextmanager
def shops(folder: Path, **changes: object) -> Iterator[Shops]:
    """Shops on an embedded chain of their own, with a store in memory."""
    with serving() as server:
        yield founded(folder, Node(server.url), MemoryStore(), **changes)
