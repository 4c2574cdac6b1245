"""The four functions as processes, for three small shops."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from bfedrec.merchants.functions.client import NAMES, RemoteServices
from bfedrec.merchants.functions.guard import BINARY, JSON
from bfedrec.merchants.functions.signing import request_of
from consensus.ethereum.node import Node
from consensus.storage.shared import SharedStore
from tests.helpers.shops import OWNERS, Shops, founded

ROOT = Path(__file__).resolve().parents[4]
KINDS = {"store": BINARY, "register": BINARY, "collect": JSON, "aggregate": JSON}


@dataclass
class Served:
    """Shops, and the processes of their functions."""

    shops: Shops
    environment: Mapping[str, str]
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)

    def start(self, name: str, port: int = 0) -> None:
        """Start a function."""
        command = [sys.executable, "-m", "bfedrec.merchants.functions"]
        process = subprocess.Popen(
            [*command, "--target", name, "--port", str(port)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **self.environment},
        )
        assert process.stdout is not None
        self.processes[name] = process
        self.urls[name] = process.stdout.readline().strip()

    def kill(self, name: str) -> None:
        """End a function as `kill -9` does."""
        process = self.processes.pop(name)
        process.kill()
        process.communicate()

    def headers(
        self, name: str, body: bytes, owner: str = "shop-0", /, **changes: Any
    ) -> dict[str, str]:
        """The headers of a request as a merchant signs them; ``changes``: what it signs instead."""
        registry = self.shops.registry
        signed = {
            "function": name,
            "registry": registry.address,
            "chain_id": registry.node.chain_id,
            "nonce": time.time_ns(),
            "body": body,
            **changes,
        }
        request = request_of(**signed)  # type: ignore[arg-type]
        return {**request.signed(OWNERS[owner]), "Content-Type": KINDS[name]}

    def post(
        self, name: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, Any]]:
        """Status and content of an answer, which has to be one line of JSON."""
        answer = requests.post(self.urls[name], data=body, headers=headers, timeout=60)
        assert answer.headers["Content-Type"] == JSON
        assert answer.text.endswith("}\n")
        assert answer.text.count("\n") == 1
        found = answer.json()
        assert "Traceback" not in answer.text
        return answer.status_code, found

    def counts(self, name: str) -> dict[str, int]:
        """The counts that a function tells."""
        found: dict[str, int] = requests.get(self.urls[name], timeout=60).json()["answers"]
        return found

    def services(self, owner: str) -> RemoteServices:
        """The functions as a merchant calls them."""
        shops = self.shops
        return RemoteServices(
            self.urls, OWNERS[owner], shops.agreement, shops.registry, shops.store
        )


def served(folder: Path, url: str) -> Served:
    """Shops on a chain, with all functions running; end them by `kill`."""
    store = folder / "store.sqlite"
    shops = founded(folder / "merchants", Node(url), SharedStore(store))
    shops.agreement.save(folder / "agreement.json")
    environment = {
        "BFEDREC_AGREEMENT": str(folder / "agreement.json"),
        "BFEDREC_CHAIN": url,
        "BFEDREC_STORE": f"file:{store}",
        "BFEDREC_NONCES": str(folder / "nonces.sqlite"),
    }
    found = Served(shops, environment)
    for name in NAMES:
        found.start(name)
    return found
