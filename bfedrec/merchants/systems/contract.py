"""Rounds of the contract: merchants publish, recompute and attest on an embedded chain.

Honest merchants are `bfedrec.merchants.rounds.member.Member`; the liar acts with its own key and is
not held to any of their code.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

from bfedrec.learning.upload import Diverged
from bfedrec.merchants.rounds.checks import Aggregate, Refused, collect, identity
from bfedrec.merchants.rounds.founding import Terms, found
from bfedrec.merchants.rounds.member import Member
from bfedrec.merchants.rounds.services import LocalServices
from bfedrec.merchants.rounds.workspace import Draft, Step, Workspace
from bfedrec.merchants.systems.counting import CountingServer, CountingStore
from bfedrec.merchants.systems.record import Caught, Played, lies_in
from bfedrec.merchants.systems.shops import Result, Shops
from consensus.encoding.cid import cid_text
from consensus.ethereum.accounts import accounts, mnemonic
from consensus.ethereum.chain import SLOT_SECONDS
from consensus.ethereum.errors import RegistryError
from consensus.ethereum.node import Node
from consensus.ethereum.records import Round, Sent
from consensus.ethereum.registry import Registry


class Services(LocalServices):
    """The services in this process, run by the liar where it lies about the average."""

    false: bytes = b""
    """The false aggregate (payload) that it gives; empty where it gives the true one."""

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.raw: list[bytes] = []
        """The transactions that were sent."""

    def register(self, raw: bytes) -> Sent:
        """Send an operation, and remember it."""
        self.raw.append(raw)
        return super().register(raw)

    def aggregate(self, number: int) -> Aggregate:
        """The aggregate, or what the liar says it is."""
        truth = super().aggregate(number)
        if not self.false:
            return truth
        return Aggregate(number, truth.covered, identity(self.false), self.false)


class Contract:
    """A registry of some merchants of whom the last may lie."""

    def __init__(
        self, shops: Shops, lie: str, rule: str, server: CountingServer, folder: Path
    ) -> None:
        """``server``: a chain of `embedded_chain` with an account for the operator and each
        merchant; ``folder``: for the merchants' workspaces."""
        self._shops, self._lie, self._server = shops, lie, server
        self._node, self._store = Node(server.url), CountingStore()
        operator, *owners = accounts(mnemonic(shops.seed), len(shops.names) + 1)
        self._owners = dict(zip(shops.names, owners, strict=True))
        self._agreement = found(
            self._node,
            operator,
            self._store,
            {name: owner.address for name, owner in self._owners.items()},
            shops.catalogue,
            Terms(shops.seed, rule=rule, settings=shops.settings),
        )
        self._registry = Registry(self._node, self._agreement.registry, self._agreement.since)
        self._services = Services(self._agreement, self._registry, self._store)
        self._told: list[str] = []
        self._members = {name: self._member(folder / name) for name in shops.names}
        self._liar = self._members[shops.liar]
        self._models: tuple[bytes, ...] = (shops.initial,)
        self._replayed = b""

    def _member(self, folder: Path) -> Member:
        workspace = Workspace(folder)
        workspace.create(bytes(self._owners[folder.name].key))

        def tell(step: Step) -> None:
            if step.state == "told" and folder.name != self._shops.liar:
                self._told.append(re.sub(r" \(.*?\)", "", step.detail))

        return Member(workspace, self._agreement, self._registry, self._store, self._services, tell)

    def play(self, rounds: int) -> Result:
        """Play rounds until one does not end."""
        played: list[Played] = []
        stopped = ""
        for number in range(1, rounds + 1):
            try:
                self._train(number)
            except Diverged as error:
                stopped = f"diverged: {error}"
                break
            one = self._round(number)
            if one is None:
                stopped = f"round {number} stays open"
                break
            played.append(one)
        return Result(tuple(played), stopped, self._models)

    def _train(self, number: int) -> None:
        """Give every merchant what it trained, as `Member.train` would have kept it."""
        parent = identity(self._models[-1])
        for name, member in self._members.items():
            trained = self._shops.train(name, self._models)
            payload = trained.payload
            if self._lie == "garbage" and member is self._liar:
                payload = self._shops.garbage(number)
            draft = Draft(number, parent.digest, identity(payload), trained.samples, payload)
            member.workspace.keep(draft, trained.kept, [])

    def _round(self, number: int) -> Played | None:
        """One round; None where it is not closed when everybody has done what it would."""
        self._told.clear()
        before = self._counted()
        block = self._node.web3.eth.block_number + 1
        begun = time.perf_counter()
        caught: list[Caught] = []
        for member in self._members.values():
            if member is self._liar and self._lie != "none":
                caught += self._publish_lie(number)
            else:
                member.publish()
        if self._lie == "average":
            self._attest_lie(number)
        for member in self._members.values():
            lies = member is self._liar and self._lie in ("average", "silence")
            if not lies and self._registry.current_round() == number:
                member.attest()
        real = time.perf_counter() - begun
        counted = self._counted() - before
        round = self._registry.read_round(number)
        if round.aggregate is None:
            return None
        entries = self._registry.record(block)
        phases = {one.event for one in entries} & {"Published", "Attested"}
        gas = {one.transaction: one.gas for one in entries}
        found = collect(self._store, round, self._agreement)
        models = [
            (self._store.get(each.model.cid), each.samples)
            for each in round.publications
            if each.merchant not in found.refused
        ]
        right = self._shops.average(self._models[-1], models, self._agreement.rule)
        self._models += (self._store.get(round.aggregate.cid),)
        return Played(
            number=number,
            model=cid_text(round.aggregate.cid),
            right=identity(right) == round.aggregate,
            included=tuple(one.merchant for one in found.accepted),
            simulated_seconds=float(len(phases) * SLOT_SECONDS),
            real_seconds=real,
            bytes=dict(counted),
            gas=sum(gas.values()),
            attempts=1,
            lied=lies_in(self._lie, number),
            caught=tuple(dict.fromkeys([*caught, *self._caught(round)])),
        )

    def _counted(self) -> Counter[str]:
        return Counter(self._store.bytes) + Counter({"HTTP with the node": self._server.bytes})

    def _caught(self, round: Round) -> list[Caught]:
        """Observations that merchants told, and that anybody reads in the record."""
        found = [Caught("every honest merchant", told) for told in dict.fromkeys(self._told)]
        if any(each.model != round.aggregate for each in round.attestations):
            found.append(Caught("the chain's record", "another aggregate was attested"))
        if round.missing():
            found.append(Caught("the chain's record", "a merchant has published nothing"))
        return found

    # -- lies --------------------------------------------------------------------------------------

    def _publish_lie(self, number: int) -> list[Caught]:
        """Do what the liar does instead of publishing; return what is refused at once."""
        draft = self._liar.workspace.draft(number)
        assert draft is not None
        if self._lie == "silence":
            return []
        if self._lie == "malformed":
            return self._publish_malformed(draft)
        if self._lie == "replay" and number > 1:
            return self._replay(number)
        self._liar.publish()
        if self._lie == "replay":
            self._replayed = self._services.raw[-1]
        if self._lie == "average":
            self._services.false = draft.payload
        if self._lie == "twice":
            self._store.put(self._models[-1])
            return self._refused(number, draft.parent, self._models[-1], draft.samples)
        return []

    def _publish_malformed(self, draft: Draft) -> list[Caught]:
        """Have the service store a model with NaN; as it refuses, store and publish it alone."""
        payload = self._shops.malformed(draft.payload)
        caught = []
        try:
            self._services.store(payload)
        except Refused as error:
            caught.append(Caught("the store function", str(error)))
        self._store.put(payload)
        account, model = self._liar.account, identity(payload)
        self._registry.publish(account, draft.number, draft.parent, model, draft.samples)
        return caught

    def _replay(self, number: int) -> list[Caught]:
        """Send the transaction of round 1 again, and publish its model on its parent anew."""
        caught = []
        block = self._node.web3.eth.block_number
        if self._services.register(self._replayed).block <= block:
            caught.append(Caught("the chain", "the transaction is in a block already"))
        first = self._registry.publication_of(self._liar.account.address, 1)
        assert first is not None
        payload = self._store.get(first.model.cid)
        parent = identity(self._models[0]).digest
        return caught + self._refused(number, parent, payload, first.samples)

    def _refused(self, number: int, parent: bytes, payload: bytes, samples: int) -> list[Caught]:
        """Publish what the contract should refuse; return its refusal, if it does."""
        try:
            self._registry.publish(self._liar.account, number, parent, identity(payload), samples)
        except RegistryError as error:
            return [Caught("the contract", error.name)]
        return []

    def _attest_lie(self, number: int) -> None:
        """Attest the liar's own model as the aggregate, before anybody else attests."""
        covered = len(self._registry.read_round(number).publications)
        false = identity(self._services.false)
        self._registry.attest(self._liar.account, number, covered, false)
