"""The merchants' market as pages see it: agreement, chain, store, workspaces and jobs.

The portal hosts several merchants' workspaces, each of which could be hosted apart: a job of one
reads chain and store, its own workspace, and nothing of another merchant.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np

from bfedrec.data.interactions import DataError
from bfedrec.merchants.functions.client import NAMES, RemoteServices
from bfedrec.merchants.rounds.agreement import Agreement, AgreementError
from bfedrec.merchants.rounds.audit import audit
from bfedrec.merchants.rounds.checks import Refused, fetch
from bfedrec.merchants.rounds.member import FAILURES, Disagreement, Member
from bfedrec.merchants.rounds.promotions import Promotion, promotions
from bfedrec.merchants.rounds.services import LocalServices, ServiceError, Services
from bfedrec.merchants.rounds.stores import Store, open_store
from bfedrec.merchants.rounds.workspace import Step, WorkspaceError
from bfedrec.web.portal.jobs import Jobs, Task, Tell, left_by_another_life
from bfedrec.web.portal.ledger import Ledger, LedgerReader
from bfedrec.web.portal.lineage import Mark, Marks
from bfedrec.web.portal.shop import Shop
from consensus.ethereum.bounded_json import parse
from consensus.ethereum.errors import EthereumError
from consensus.ethereum.node import Node
from consensus.ethereum.records import Round
from consensus.ethereum.registry import Registry
from consensus.storage.content import StoreError
from consensus.storage.regular import read_regular

TRAIN: Final = "train"
AGGREGATE: Final = "aggregate"
TITLES: Final = {TRAIN: "Training", AGGREGATE: "Aggregation"}
MOST_ROUNDS: Final = 30
"""Rounds whose models are shown, the latest."""
MOST_SETTINGS: Final = 2**16
"""Bytes of the longest file of settings."""

OUT_OF_REACH: Final = (EthereumError, StoreError, ServiceError, Refused)
"""Errors of chain, store and functions, each one line."""
PROBLEMS: Final = (*FAILURES, Disagreement, WorkspaceError, AgreementError, DataError)
"""Errors of a merchant's job that are one line for people."""


class SettingsError(ValueError):
    """Error: a file of settings that is none, in one line."""


UNUSABLE: Final = (AgreementError, SettingsError, WorkspaceError, StoreError)
"""Errors of a folder that no portal can serve."""


@dataclass(frozen=True)
class Settings:
    """The places of chain, store and functions; a file `settings.json`."""

    chain: str
    """URL of an Ethereum node."""
    store: str
    """The store, as `open_store` takes it."""
    functions: Mapping[str, str]
    """URLs of the functions by name; none, and they are done here."""

    @classmethod
    def load(cls, path: Path) -> Settings:
        """The settings in a file. Raises SettingsError."""
        try:
            found: Any = parse(read_regular(path, MOST_SETTINGS))
            chain, store, functions = found["chain"], found["store"], found.get("functions") or {}
            texts = [chain, store, *functions.values()]
            if not all(isinstance(each, str) for each in texts):
                raise TypeError
            if functions and not {*NAMES} <= {*functions}:
                raise KeyError
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SettingsError(f"{path}: names no chain, no store, or not all functions") from None
        return cls(chain, store, functions)


@dataclass(frozen=True)
class Now:
    """The open round."""

    number: int
    merchants: Sequence[str]
    published: Sequence[str]
    attested: Sequence[str]
    needed: int
    """Like attestations that close it."""


@dataclass(frozen=True)
class RefusedModel:
    """A published model that is not averaged."""

    round: int
    who: str
    reason: str


@dataclass(frozen=True)
class Verified:
    """Result of recomputing everything."""

    time: float
    height: int
    """Number of the latest block when it began; later ones may have been looked at in part."""
    last: tuple[int, bytes]
    """Number and hash of the latest block when it ended."""
    marks: Marks
    refused: Sequence[RefusedModel] = field(default=())

    @property
    def wrong(self) -> int:
        """Number of models that are not as they should be."""
        return sum(not each.sound for each in self.marks.values())

    @property
    def sound(self) -> bool:
        """True if all are as they should be."""
        return not self.wrong

    @property
    def aggregates(self) -> int:
        """Number of aggregates."""
        return sum(not who for _, who, _ in self.marks)

    @property
    def models(self) -> int:
        """Number of merchants' models."""
        return len(self.marks) - self.aggregates


class Market:
    """The market in a folder, as `bfedrec merchants demo` makes it."""

    def __init__(self, folder: Path) -> None:
        """Read the folder. Raises one of `UNUSABLE`, one line."""
        try:
            self.agreement = Agreement.load(folder / "agreement.json")
        except OSError as error:
            raise AgreementError(f"{folder / 'agreement.json'}: {error.strerror}") from None
        self.settings = Settings.load(folder / "settings.json")
        self.merchants: Sequence[str] = tuple(self.agreement.merchants)
        self.names: Mapping[str, str] = self.agreement.names
        self.catalogue: np.ndarray = self.agreement.catalogue.ids
        self.verified: Verified | None = None
        self.jobs = Jobs(len(self.merchants))
        self._shops = {name: Shop(folder / "merchants" / name) for name in self.merchants}
        # Each is held for its own thing alone: a slow store holds up no page that needs none.
        self._connecting, self._opening = threading.Lock(), threading.Lock()
        self._advising = threading.Lock()
        self._verifying = threading.Lock()
        self._reader: LedgerReader | None = None
        self._store: Store | None = None
        self._advisers = ThreadPoolExecutor(1, thread_name_prefix="adviser")
        self._advice: dict[str, tuple[object, Future[list[Promotion]]]] = {}

    def close(self) -> None:
        """Wait for running jobs, and begin no other."""
        self.jobs.close()
        self._advisers.shutdown(cancel_futures=True)

    def shop(self, name: str) -> Shop:
        """A merchant's side."""
        return self._shops[name]

    # -- jobs --------------------------------------------------------------------------------------

    def start(self, name: str, kind: str) -> None:
        """Begin a merchant's job. Raises Busy."""
        shop = self._shops[name]

        def play(tell: Tell) -> None:
            with shop.workspace.writing():
                member = self._member(shop, tell)
                if kind == TRAIN:
                    shop.live = []
                    try:
                        member.train(shop.live.append)
                    finally:
                        shop.live = None
                    member.publish()
                else:
                    member.attest()

        task = Task(TITLES[kind], play, PROBLEMS, self.discreet)
        self.jobs.start(name, shop.workspace.path, kind, task)

    def resume(self) -> None:
        """Begin again what a killed portal left."""
        for name, shop in self._shops.items():
            kind = left_by_another_life(shop.workspace.path)
            if kind in TITLES:
                self.start(name, kind)

    def _member(self, shop: Shop, tell: Tell) -> Member:
        def told(step: Step) -> None:
            tell(f"{step.name}, round {step.number}", step.state, self.discreet(step.detail))

        registry, store = self._registry(), self._opened()
        services: Services = LocalServices(self.agreement, registry, store)
        if self.settings.functions:
            account, urls = shop.workspace.account(), self.settings.functions
            services = RemoteServices(urls, account, self.agreement, registry, store)
        return Member(shop.workspace, self.agreement, registry, store, services, told)

    # -- chain and store ---------------------------------------------------------------------------

    def look(self) -> tuple[Now | None, str]:
        """The open round, or why it cannot be told."""
        try:
            registry = self._registry()
            round = registry.read_round(registry.current_round())
        except EthereumError as error:
            return None, self.discreet(error)
        covered = len(round.publications)
        attested = [each.merchant for each in round.attestations if each.covered == covered]
        published = [each.merchant for each in round.publications]
        return Now(
            round.number,
            self._named(round.merchants),
            self._named(published),
            self._named(attested),
            round.needed,
        ), ""

    def ledger(self) -> Ledger:
        """Every transaction to the registry. Raises EthereumError."""
        self._registry()
        assert self._reader is not None
        return self._reader.read()

    def rounds(self) -> list[Round]:
        """The latest rounds, in order. Raises EthereumError."""
        registry = self._registry()
        last = registry.current_round()
        return [registry.read_round(each) for each in range(max(0, last - MOST_ROUNDS), last + 1)]

    def verify(self) -> None:
        """Recompute every model and aggregate here. Raises one of `OUT_OF_REACH`."""
        with self._verifying:
            registry, addresses = self._registry(), self.agreement.merchants
            begun = registry.node.latest()
            found = audit(registry, self._opened(), self.agreement)
            last = registry.node.latest()
            if not registry.node.holds(*begun):
                raise EthereumError("the chain changed while it was read; please try again")
            marks = {
                (each.number, addresses.get(each.merchant, each.merchant), each.model): Mark(
                    not each.problem, each.problem
                )
                for each in (*found.aggregates, *found.models)
            }
            refused = [
                RefusedModel(each.number, each.merchant, each.problem) for each in found.refused
            ]
            self.verified = Verified(time.time(), begun[0], last, marks, refused)

    def recomputed(self) -> Verified | None:
        """The result of `verify`, while the chain still holds the blocks that it looked at. Raises
        EthereumError."""
        found = self.verified
        if found is None or self._registry().node.holds(*found.last):
            return found
        self.verified = None
        return None

    def promotions(self, name: str) -> tuple[int, Future[list[Promotion]]] | None:
        """The latest aggregate's round, and what it would have the merchant promote, which may take
        some seconds; None before a round is closed. Raises one of `OUT_OF_REACH`."""
        shop, registry = self._shops[name], self._registry()
        number = registry.current_round() - 1
        model = registry.read_round(number).aggregate
        if not number or model is None:
            return None
        store = self._opened()
        key = (number, model, tuple(shop.files()), tuple(shop.workspace.trained_rounds()))
        with self._advising:
            known = self._advice.get(name)
        if known is not None and known[0] == key:
            return number, known[1]
        shared = fetch(store, model, self.agreement)
        with self._advising:
            known = self._advice.get(name)
            if known is None or known[0] != key:
                top = len(self.catalogue)
                future = self._advisers.submit(
                    promotions, shop.workspace, self.agreement, shared, number, top
                )
                known = self._advice[name] = (key, future)
        return number, known[1]

    def _registry(self) -> Registry:
        with self._connecting:
            if self._reader is None:
                node = Node(self.settings.chain)
                registry = Registry(node, self.agreement.registry, self.agreement.since)
                self._reader = LedgerReader(registry)
            return self._reader.registry

    def _opened(self) -> Store:
        with self._opening:
            if self._store is None:
                try:
                    self._store = open_store(self.settings.store)
                except ValueError as error:
                    raise StoreError(str(error)) from None
            return self._store

    def discreet(self, error: object) -> str:
        """The text of an error without the node's URL, which may hold a key of its provider."""
        told, url = str(error), self.settings.chain
        for part in (url, urlsplit(url).netloc, url.partition("://")[2].partition("/")[2]):
            told = told.replace(part, "the chain") if part else told
        return told

    def _named(self, addresses: Sequence[str]) -> list[str]:
        return [self.names.get(each, each) for each in addresses]
