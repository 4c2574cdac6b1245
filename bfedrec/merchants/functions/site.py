"""The things that a function works with, from its environment: agreement, registry, store, nonces.

BFEDREC_AGREEMENT   file of the agreement
BFEDREC_CHAIN       URL of an Ethereum node
BFEDREC_STORE       store of content, as file:PATH or ipfs:MULTIADDR
BFEDREC_NONCES      file of nonces and counts, shared by the functions of one place
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bfedrec.merchants.functions.nonces import NonceError, Nonces
from bfedrec.merchants.rounds.agreement import Agreement
from bfedrec.merchants.rounds.services import LocalServices
from bfedrec.merchants.rounds.stores import open_store
from consensus.ethereum.errors import EthereumError
from consensus.ethereum.node import Node
from consensus.ethereum.registry import Registry
from consensus.storage.content import StoreError

AGREEMENT: Final = "BFEDREC_AGREEMENT"
CHAIN: Final = "BFEDREC_CHAIN"
STORE: Final = "BFEDREC_STORE"
NONCES: Final = "BFEDREC_NONCES"
VARIABLES: Final = (AGREEMENT, CHAIN, STORE, NONCES)
CHAIN_SECONDS: Final = 20.0
"""Seconds that one answer of the node may take."""
SHORTEST_SECRET: Final = 8


class Site:
    """Everything that a function works with. It holds no key."""

    def __init__(
        self,
        agreement: Agreement,
        registry: Registry,
        services: LocalServices,
        nonces: Nonces,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``clock``: seconds since 1970."""
        self.agreement, self.registry, self.services = agreement, registry, services
        self.nonces, self.clock = nonces, clock

    def is_merchant(self, address: str) -> bool:
        """True for a merchant of the agreement that takes part in the open round or the next.

        Raises EthereumError where the node does not tell.
        """
        if address not in self.agreement.names:
            return False
        if address in self.registry.next_merchants():
            return True
        return address in self.registry.read_round(self.registry.current_round()).merchants


class SiteError(Exception):
    """Error: an environment that lacks a variable, or something it names that cannot be used."""


class Sites:
    """The site of this process: made for the first request that needs it, kept when it works."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._turn = threading.Lock()
        self._nonces: Nonces | None = None
        self._site: Site | None = None

    def nonces(self) -> Nonces:
        """The file of nonces. Raises SiteError."""
        with self._turn:
            if self._nonces is None:
                path = Path(self._value(NONCES))
                path.parent.mkdir(parents=True, exist_ok=True)
                self._nonces = Nonces(path)
            return self._nonces

    def site(self) -> Site:
        """The whole site. Raises SiteError, or EthereumError and StoreError where the chain or the
        store cannot be reached now; the next request tries again."""
        nonces = self.nonces()
        with self._turn:
            if self._site is None:
                self._site = self._made(nonces)
            return self._site

    def secrets(self) -> tuple[str, ...]:
        """Texts that no answer shows: the node's URL may hold a key of its provider, and libraries
        tell parts of it."""
        url = self._environment.get(CHAIN, "")
        parts = urlsplit(url)
        found = (url, url.partition("://")[2], parts.netloc, parts.path.strip("/"), parts.query)
        return tuple(each for each in found if len(each) >= SHORTEST_SECRET)

    def _made(self, nonces: Nonces) -> Site:
        try:
            agreement = Agreement.load(Path(self._value(AGREEMENT)))
        except (OSError, ValueError) as error:
            raise SiteError(f"{AGREEMENT}: {error}") from None
        node = Node(self._value(CHAIN), timeout=CHAIN_SECONDS)
        registry = Registry(node, agreement.registry, agreement.since)
        try:
            store = open_store(self._value(STORE))
        except ValueError as error:
            raise SiteError(f"{STORE}: {error}") from None
        return Site(agreement, registry, LocalServices(agreement, registry, store), nonces)

    def _value(self, name: str) -> str:
        value = self._environment.get(name, "")
        if not value:
            raise SiteError(f"the environment variable {name} is not set")
        return value


UNUSABLE: Final = (SiteError, NonceError, EthereumError, StoreError, OSError)
"""Errors of what a function works with: none of the caller's doing."""
