"""The whole merchants' system on one machine: servers, rounds, and a summary of what came out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from bfedrec.files import write_bytes
from bfedrec.merchants.demo.folder import DemoError, Plan, agreed, begun, owners, unfunded
from bfedrec.merchants.demo.processes import ProcessError, Processes
from bfedrec.merchants.functions.client import NAMES, RemoteServices
from bfedrec.merchants.functions.site import AGREEMENT, CHAIN, NONCES, STORE
from bfedrec.merchants.rounds.agreement import Agreement
from bfedrec.merchants.rounds.audit import audit
from bfedrec.merchants.rounds.checks import Refused
from bfedrec.merchants.rounds.learning import NoEvents
from bfedrec.merchants.rounds.member import Disagreement, Member
from bfedrec.merchants.rounds.services import ServiceError
from bfedrec.merchants.rounds.stores import Store, open_store
from bfedrec.merchants.rounds.workspace import Step, Workspace, WorkspaceError
from consensus.encoding.cid import cid_text
from consensus.ethereum.errors import EthereumError
from consensus.ethereum.node import Node
from consensus.ethereum.records import Entry
from consensus.ethereum.registry import Registry
from consensus.storage.content import StoreError

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

Told: TypeAlias = "str | int | float | bool | Sequence[Told] | Mapping[str, Told] | None"
"""Content of a summary."""

PATIENCE: Final = 120.0
"""Seconds in which a step that fails is tried again: a server that died is back in a few."""
WAIT_SECONDS: Final = 0.5
AGAIN = (EthereumError, Refused, ServiceError, StoreError, WorkspaceError, OSError)
"""Errors after which a round is played on: what is done is not done twice."""
FAILURES = (
    *(DemoError, Disagreement, EthereumError, NoEvents, ProcessError, Refused, ServiceError),
    *(ValueError, WorkspaceError),
)
"""Errors in which a demo ends, beside those of files, stores and training; each one line."""


@dataclass(frozen=True)
class Parts:
    """The parts that replace embedded ones."""

    ethereum: str = ""
    """URL of a node."""
    keys: Path | None = None
    """File of the operator's and the merchants' keys on that chain."""
    store: str = ""
    """Store as `open_store` takes it."""
    port: int = 0
    """The portal's port; 0 for a free one."""


class Demo:
    """One demo in its folder, while its processes run."""

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        parts: Parts,
        processes: Processes,
        tell: Callable[[str], None],
    ) -> None:
        """``tell`` gets lines about what goes on."""
        self.folder, self.plan, self.parts = folder.absolute(), plan, parts
        self.processes, self._tell = processes, tell
        self.spec = parts.store or f"file:{self.folder / 'store.sqlite'}"
        self._began = time.monotonic()

    def start(self) -> None:
        """Start chain and functions, and found the registry on the first call.

        Raises DemoError, ProcessError, EthereumError, StoreError or AgreementError, in one line.
        """
        begun(self.folder, self.plan)
        accounts = owners(self.plan, self.parts.keys)
        self.chain = self.parts.ethereum or self._embedded_chain()
        node = Node(self.chain)
        poor = unfunded(node, accounts)
        if poor:
            told = ", ".join(poor)
            raise DemoError(f"{self.chain}: fund these accounts first, they own nothing: {told}")
        if self.parts.ethereum and self.parts.keys is None:
            self._tell("the accounts are of the seed: anyone can spend what they own (see --keys)")
        self.store: Store = open_store(self.spec)
        self._begin_functions()  # they read the agreement at their first request
        self.agreement: Agreement = agreed(self.folder, self.plan, node, self.store, accounts)
        self.registry = Registry(node, self.agreement.registry, self.agreement.since)
        self._tell(f"registry {self.registry.address} on {self.chain}")
        self._settle()
        self._members = [self._member(name) for name in self.plan.names]

    def start_portal(self) -> None:
        """Start the portal; `Processes.url` tells where it is once it is ready."""
        self.processes.begin(
            "portal",
            lambda port: [
                *(sys.executable, "-m", "bfedrec.web.portal"),
                *("--market", str(self.folder), "--port", str(port)),
            ],
            port=self.parts.port,
        )

    def play(self, rounds: int) -> None:
        """Play until ``rounds`` rounds are closed, those of earlier calls included.

        A step that fails, as when a server was killed, is tried again; what was done by then is
        recognised and not done twice. Raises DemoError where a round does not go on.
        """
        failed_at, closed = None, -1
        while True:
            self.processes.check()
            try:
                now = self.registry.current_round() - 1
                if now != closed:
                    failed_at, closed = None, now
                if closed >= rounds:
                    return
                self._play_round(closed + 1)
            except AGAIN as error:
                failed_at = time.monotonic() if failed_at is None else failed_at
                told = " ".join(str(error).split())
                if time.monotonic() - failed_at > PATIENCE:
                    raise DemoError(f"round {closed + 1} does not go on: {told}") from None
                self._tell(f"round {closed + 1}: {told}; tried again")
                time.sleep(WAIT_SECONDS)

    def summary(self) -> dict[str, Told]:
        """The rounds as the chain has them, with the verdict of recomputing all of it."""
        verdict = audit(self.registry, self.store, self.agreement)
        entries = self.registry.record()
        gas = {each.transaction: each.gas for each in entries}
        names = self.agreement.names
        rounds = [self.registry.read_round(number) for number in range(1, verdict.rounds + 1)]
        return {
            "registry": self.registry.address,
            "seed": self.agreement.seed,
            "rounds": [
                {
                    "round": round.number,
                    "models": {
                        names.get(each.merchant, each.merchant): {
                            "cid": cid_text(each.model.cid),
                            "digest": each.model.digest.hex(),
                            "samples": each.samples,
                        }
                        for each in round.publications
                    },
                    "aggregate": None
                    if round.aggregate is None
                    else {
                        "cid": cid_text(round.aggregate.cid),
                        "digest": round.aggregate.digest.hex(),
                        "votes": round.votes(round.aggregate),
                    },
                    "gas": sum(_gas(entries, round.number).values()),
                }
                for round in rounds
            ],
            "events": len(entries),
            "gas": sum(gas.values()),
            "audit": {
                "right": not verdict.problems,
                "problems": list(verdict.problems),
                "refused": [f"{each.merchant}: {each.problem}" for each in verdict.refused],
            },
            "seconds": round(time.monotonic() - self._began, 1),
        }

    # -- parts -------------------------------------------------------------------------------------

    def _embedded_chain(self) -> str:
        self.processes.begin(
            "chain",
            lambda port: [
                *(sys.executable, "-m", "consensus.ethereum.embedded", "--real-time"),
                *("--state", str(self.folder / "chain.journal"), "--port", str(port)),
                *("--seed", str(self.plan.seed), "--accounts", str(1 + self.plan.shops)),
            ],
        )
        return self.processes.url("chain")

    def _begin_functions(self) -> None:
        environment = {
            AGREEMENT: str(self.folder / "agreement.json"),
            CHAIN: self.chain,
            STORE: self.spec,
            NONCES: str(self.folder / "nonces.sqlite"),
        }
        for name in NAMES:
            self.processes.begin(
                name,
                lambda port, name=name: [  # type: ignore[misc]
                    *(sys.executable, "-m", "bfedrec.merchants.functions"),
                    *("--target", name, "--port", str(port)),
                ],
                environment,
            )

    def _settle(self) -> None:
        """Note where everything is, for the portal and for people."""
        self.functions = {name: self.processes.url(name) for name in NAMES}
        settings = {"chain": self.chain, "store": self.spec, "functions": self.functions}
        write_bytes(self.folder / "settings.json", (json.dumps(settings, indent=1) + "\n").encode())

    def _member(self, name: str) -> Member:
        workspace = Workspace(self.folder / "merchants" / name)
        account: LocalAccount = workspace.account()
        services = RemoteServices(
            self.functions, account, self.agreement, self.registry, self.store
        )

        def tell(step: Step) -> None:
            if step.state != "begun":
                self._tell(f"round {step.number}, {name}: {step.name} {step.state}: {step.detail}")

        return Member(workspace, self.agreement, self.registry, self.store, services, tell)

    def _play_round(self, number: int) -> None:
        for member in self._members:
            with member.workspace.writing():
                member.train()
                member.publish()
        for member in self._members:
            if self.registry.current_round() == number:
                with member.workspace.writing():
                    member.attest()


def _gas(entries: Sequence[Entry], number: int) -> dict[str, int]:
    """The gas of a round's publications and attestations, by transaction."""
    return {
        each.transaction: each.gas
        for each in entries
        if each.event in ("Published", "Attested") and each.fields["round"] == number
    }
