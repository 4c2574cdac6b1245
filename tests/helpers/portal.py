"""A portal of three merchants within a test's process, on an embedded chain of its own."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bfedrec.merchants.settings import StepSettings
from bfedrec.web import accounts
from bfedrec.web.portal.app import application
from bfedrec.web.portal.market import Market
from bfedrec.web.portal.state import ACCOUNTS, Portal
from consensus.ethereum.node import Node
from consensus.storage.shared import SharedStore
from tests.helpers.ethereum import serving as chain
from tests.helpers.shops import NAMES, Shops, founded
from tests.helpers.web import Client, serving

ONE_TIME = {name: f"one time words of {name}" for name in NAMES}
OWN = {name: f"own words of {name}" for name in NAMES}


@dataclass
class Served:
    """A portal, and what it stands on."""

    folder: Path
    shops: Shops
    portal: Portal
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, name: str) -> Client:
        """A merchant that is logged in, with a password of its own."""
        client = Client(self.port)
        client.log_in(name, OWN[name])
        assert client.get("/home").status == 200
        return client


def made(folder: Path, url: str, **changes: object) -> Shops:
    """Make a market's folder, with one-time passwords, on the chain at a URL."""
    spec = folder / "store.sqlite"
    shops = founded(folder / "merchants", Node(url), SharedStore(spec), **changes)
    shops.agreement.save(folder / "agreement.json")
    settings = {"chain": url, "store": f"file:{spec}", "functions": {}}
    (folder / "settings.json").write_text(json.dumps(settings))
    for name, password in ONE_TIME.items():
        accounts.create(folder / ACCOUNTS, name, password)
    return shops


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def portal_of(folder: Path, shops: Shops) -> Iterator[Served]:
    """A portal on a market's folder."""
    port = free_port()
    market = Market(folder)
    portal = Portal(market, folder, port)
    market.resume()
    try:
        with serving(application(portal), port):
            yield Served(folder, shops, portal, port)
    finally:
        market.close()


@contextmanager
def portals(folder: Path, *, changed: bool = True, epochs: int = 3) -> Iterator[Served]:
    """A portal on a new market; ``changed``: merchants have passwords of their own (`OWN`)."""
    with chain() as server:
        shops = made(folder, server.url, settings=StepSettings(epochs=epochs))
        with portal_of(folder, shops) as served:
            for name in NAMES if changed else ():
                served.portal.accounts.change(name, ONE_TIME[name], OWN[name])
            yield served
