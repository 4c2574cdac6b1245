"""The demo's folder: what it was begun with, the merchants' workspaces, and the agreement.

demo.json          seed, events and chain that it was begun with
agreement.json     what the merchants share
settings.json      where chain, store and functions are now
accounts.json      the portal's accounts
merchants/NAME/    a merchant's workspace
chain.journal, store.sqlite, nonces.sqlite, logs/
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bfedrec.files import write_bytes
from bfedrec.merchants.events import EventReader
from bfedrec.merchants.generator import shop_events, write_events
from bfedrec.merchants.interactions import Catalogue, history_of
from bfedrec.merchants.market import MarketSettings, market_of
from bfedrec.merchants.rounds.agreement import Agreement
from bfedrec.merchants.rounds.founding import Terms, found
from bfedrec.merchants.rounds.workspace import Workspace
from bfedrec.merchants.settings import StepSettings
from bfedrec.streams import Streams
from consensus.ethereum.accounts import accounts, from_key, mnemonic
from consensus.ethereum.bounded_json import parse
from consensus.ethereum.node import Node
from consensus.storage.content import ContentStore
from consensus.storage.regular import read_regular

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

MOST_SHOPS: Final = 64
"""Merchants that a registry has room for."""
MOST_KEYS: Final = 2**16
MOST_PLAN: Final = 2**16


class DemoError(Exception):
    """Error: a folder, files or accounts that no demo can begin with, or rounds that do not end;
    one line."""


@dataclass(frozen=True)
class Plan:
    """The choices that a demo is begun with; a folder goes on with the same alone."""

    seed: int = 0
    shops: int = 3
    events: int = 10_000
    """Of each generated shop."""
    files: tuple[str, ...] = ()
    """Files of events, one a merchant, instead of generated ones."""
    chain: str = "embedded"
    """embedded or ethereum; a node's URL may change, and may hold a key of its provider."""
    store: str = "embedded"
    """embedded or ipfs."""
    settings: StepSettings = field(default_factory=StepSettings)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise DemoError(f"a seed is 0 to 2**63 - 1, not {self.seed}")
        if not 1 <= self.shops <= MOST_SHOPS:
            raise DemoError(f"there are 1 to {MOST_SHOPS} merchants, not {self.shops}")

    @property
    def names(self) -> tuple[str, ...]:
        """The merchants' names."""
        return tuple(f"shop-{shop}" for shop in range(self.shops))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have a folder for one demo alone. Raises DemoError where another one runs in it."""
    folder.mkdir(0o700, parents=True, exist_ok=True)
    with (folder / ".demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoError(f"{folder}: another demo runs here") from None
        yield


def begun(folder: Path, plan: Plan) -> None:
    """Note what a folder is begun with. Raises DemoError where it was begun with something else."""
    place = folder / "demo.json"
    wanted: Any = json.loads(json.dumps(asdict(plan)))
    try:
        there: Any = parse(read_regular(place, MOST_PLAN))
    except FileNotFoundError:
        strange = [each.name for each in folder.iterdir() if each.name != ".demo.lock"]
        if strange:
            raise DemoError(f"{folder}: holds other files than a demo's ({strange[0]!a})") from None
        return write_bytes(place, json.dumps(wanted).encode())
    except ValueError:
        raise DemoError(f"{place}: not of a demo") from None
    if there != wanted:
        parts = [
            name
            for name in wanted
            if not isinstance(there, dict) or there.get(name) != wanted[name]
        ]
        raise DemoError(f"{folder}: was begun with another choice of {', '.join(parts)}")
    return None


def owners(plan: Plan, keys: Path | None) -> Sequence[LocalAccount]:
    """The accounts of the operator and of the merchants, in their order.

    They are those of the seed, or of the keys in a file, one a line. Raises DemoError.
    """
    if keys is None:
        return accounts(mnemonic(plan.seed), 1 + plan.shops)
    lines = read_regular(keys, MOST_KEYS).decode("ascii", "replace").split()
    if len(lines) != 1 + plan.shops or len(set(lines)) != len(lines):
        raise DemoError(
            f"{keys}: has to hold {1 + plan.shops} different keys, the operator's first"
        )
    try:
        return [from_key(line) for line in lines]
    except ValueError as error:
        raise DemoError(f"{keys}: {error}") from None


def unfunded(node: Node, accounts: Sequence[LocalAccount]) -> list[str]:
    """The addresses of accounts that own nothing on a chain, and so can pay for no transaction."""
    balance = node.web3.eth.get_balance
    return [
        each.address
        for each in accounts
        if not node.ask(lambda who=each: balance(who.address))  # type: ignore[misc]
    ]


def agreed(
    folder: Path, plan: Plan, node: Node, store: ContentStore, accounts: Sequence[LocalAccount]
) -> Agreement:
    """The agreement of a demo; on the first call workspaces, events and registry are made.

    A call that was killed before its end is done again from the beginning, with another registry.
    """
    place = folder / "agreement.json"
    if place.exists():
        return Agreement.load(place)
    operator, *merchants = accounts
    sold = []
    for shop, (name, account) in enumerate(zip(plan.names, merchants, strict=True)):
        workspace = Workspace(folder / "merchants" / name)
        workspace.create(bytes(account.key))
        path = workspace.path / "events" / "events.csv"
        if plan.files:
            path = path.with_name("".join(["events", *Path(plan.files[shop]).suffixes[-2:]]))
            shutil.copyfile(plan.files[shop], path)
        else:
            _generate(path, plan, shop)
        products = history_of(EventReader(path)).products
        if not len(products):
            raise DemoError(f"{path.name}: holds no event")
        sold.append(np.unique(products))
    addresses: dict[str, str] = {
        name: account.address for name, account in zip(plan.names, merchants, strict=True)
    }
    terms = Terms(seed=plan.seed, settings=plan.settings)
    agreement = found(node, operator, store, addresses, Catalogue.of(*sold), terms)
    agreement.save(place)
    return agreement


def _generate(path: Path, plan: Plan, shop: int) -> None:
    streams = Streams(plan.seed)
    market = market_of(MarketSettings(shops=plan.shops), streams)
    with path.open("wb") as file:
        write_events(file, market, shop, shop_events(market, shop, plan.events, streams), streams)
