"""One merchant in the open round: train, publish, collect, aggregate, attest.

Every act may be repeated, also after the process was killed in the middle of it: what is done is
recognised by the chain, the store and the merchant's folder. Nothing that a service or the store
says is believed: addresses and digests are computed here, models are verified, and the aggregate is
recomputed before it is attested.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bfedrec.learning.upload import Diverged
from bfedrec.merchants.model import encode
from bfedrec.merchants.rounds.agreement import Agreement
from bfedrec.merchants.rounds.checks import (
    Aggregate,
    Collection,
    Refused,
    aggregated,
    collect,
    fetch,
    identity,
)
from bfedrec.merchants.rounds.learning import Learner, NoEvents, read_events
from bfedrec.merchants.rounds.services import ServiceError, Services
from bfedrec.merchants.rounds.workspace import Draft, Kept, Step, Workspace
from bfedrec.merchants.training import EpochLosses
from consensus.encoding.cid import cid_text
from consensus.ethereum.errors import EthereumError, NonceTaken
from consensus.ethereum.records import Model, Publication, Sent
from consensus.ethereum.registry import Registry
from consensus.storage.content import ContentStore, StoreError

TRIES: Final = 5
"""Tries of an operation whose nonce, or whose round's publications, another one changed."""

Tell = Callable[[Step], None]
Watch = Callable[[EpochLosses], None]

FAILURES = (Diverged, EthereumError, NoEvents, Refused, ServiceError, StoreError)
"""The errors that an act of a merchant ends in; the text of each is one line for people."""


class Disagreement(Exception):
    """Error: the chain holds something in this merchant's name that it did not do."""


@dataclass(frozen=True)
class Standing:
    """The state of a merchant in the open round."""

    number: int
    trained: bool
    published: bool
    attested: bool
    """Its attestation covers all publications that there are."""
    missing: tuple[str, ...]
    """Names (or addresses) of the merchants that have not published."""
    votes: int
    """Number of attestations of the most attested aggregate of all publications."""
    needed: int
    """Number of them that closes the round."""


class Member:
    """A merchant that takes part in rounds.

    Acts raise one of `FAILURES`, or Disagreement, each in one line; the step is told as failed
    first. Two processes do not act for one merchant at once (`Workspace.writing`).
    """

    def __init__(
        self,
        workspace: Workspace,
        agreement: Agreement,
        registry: Registry,
        store: ContentStore,
        services: Services,
        tell: Tell | None = None,
    ) -> None:
        """``tell`` gets every step, which is written into the journal as well.

        Raises AgreementError, WorkspaceError or Disagreement where the folder's key is not that of
        the merchant of its name.
        """
        self.workspace, self.agreement, self.registry = workspace, agreement, registry
        self.content, self.services, self._listener = store, services, tell
        self.account = workspace.account()
        agreement.number(workspace.name)
        if self.account.address != agreement.merchants[workspace.name]:
            raise Disagreement(f"{workspace.path}: its key is not {workspace.name}'s")

    # -- acts --------------------------------------------------------------------------------------

    def train(self, watch: Watch | None = None) -> Draft:
        """Train on the files of events from the open round's parent; once a round.

        ``watch`` gets the losses of each epoch.
        """
        number = self.registry.current_round()
        with self._step(number, "train") as step:
            round = self.registry.read_round(number)
            assert round.parent is not None
            draft = self.workspace.draft(number)
            if draft is not None and draft.parent == round.parent.digest:
                step.done("was trained already")
                return draft
            start = fetch(self.content, round.parent, self.agreement)
            events = read_events(self.workspace.event_files(), self.agreement)
            if events.unknown:
                step.told(f"{events.unknown:,} events of products outside of the catalogue")
            if events.bad_rows:
                step.told(f"{events.bad_rows:,} rows are no events")
            learner = Learner(events, self.agreement, self.workspace.name)
            losses: list[EpochLosses] = []

            def note(one: EpochLosses) -> None:
                losses.append(one)
                if watch is not None:
                    watch(one)

            trained = learner.train(start, number, self.workspace.kept(number), note)
            payload = encode(trained.shared, self.agreement.catalogue)
            draft = Draft(number, round.parent.digest, identity(payload), learner.samples, payload)
            self.workspace.keep(draft, Kept(trained.home, learner.users), losses)
            step.done(f"{learner.samples:,} pairs, {len(losses)} epochs")
            return draft

    def publish(self) -> Sent | None:
        """Publish what was trained in the open round; None if that is done already."""
        number = self.registry.current_round()
        with self._step(number, "publish") as step:
            found = self.registry.publication_of(self.account.address, number)
            if found is not None:
                self._check_ours(found, number)
                step.done("was published already")
                return None
            draft = self.workspace.draft(number)
            if draft is None:
                raise Refused(f"nothing was trained in round {number} yet")
            self._put(draft.payload, draft.model)
            try:
                sent = self._register(
                    lambda: self.registry.signed_publish(
                        self.account, number, draft.parent, draft.model, draft.samples
                    )
                )
            except EthereumError:  # perhaps since what an earlier try sent came first
                found = self.registry.publication_of(self.account.address, number)
                if found is None:
                    raise
                self._check_ours(found, number)
                step.done("was published already")
                return None
            there = self.registry.publication_of(self.account.address, number)
            if there is None or there.model != draft.model:
                raise ServiceError("the service says that it registered a model, and did not")
            step.done(f"{cid_text(draft.model.cid)} in transaction {sent.transaction}")
            return sent

    def collect(self, number: int | None = None) -> Collection:
        """A round's models (the open one's), each fetched and checked by this merchant itself."""
        number = self.registry.current_round() if number is None else number
        with self._step(number, "collect") as step:
            found = collect(self.content, self.registry.read_round(number), self.agreement)
            for address, why in found.refused.items():
                step.told(f"{self._name(address)}: {why}")
            step.done(f"{len(found.accepted)} models of {len(found.round.publications)}")
            return found

    def aggregate(self) -> Aggregate:
        """The aggregate of the open round's models, computed here and put into the store.

        The service's own is asked for as well; where it is another one, that is told.
        """
        found = self.collect()
        with self._step(found.round.number, "aggregate") as step:
            ours = aggregated(found, self.agreement)
            try:
                theirs = self.services.aggregate(found.round.number)
            except (ServiceError, Refused, EthereumError, StoreError) as error:
                step.told(f"no aggregate from the service: {error}")
            else:
                if theirs.covered == ours.covered and theirs.model != ours.model:
                    told = cid_text(theirs.model.cid)
                    step.told(f"the service's aggregate is wrong ({told}); ours is attested")
            self._put(ours.payload, ours.model)
            step.done(f"{cid_text(ours.model.cid)} of {ours.covered} models")
            return ours

    def attest(self) -> Sent | None:
        """Attest the open round's aggregate as it follows from all publications; None if that is
        done already, or the round was closed by others meanwhile."""
        number = self.registry.current_round()
        for attempt in range(TRIES):
            ours = self.aggregate()
            if ours.number != number:
                return None
            try:
                return self._attest(ours)
            except EthereumError:
                # Why is told by the chain, and by no service that passes a refusal on.
                now = self.registry.read_round(number)
                if now.closed:
                    return None
                if len(now.publications) == ours.covered or attempt + 1 == TRIES:
                    raise
        raise AssertionError("the last try returns or raises")

    def _attest(self, ours: Aggregate) -> Sent | None:
        with self._step(ours.number, "attest") as step:
            if self._attested(ours):
                step.done("was attested already")
                return None
            try:
                sent = self._register(
                    lambda: self.registry.signed_attest(
                        self.account, ours.number, ours.covered, ours.model
                    )
                )
            except EthereumError:  # perhaps since what an earlier try sent came first
                if not self._attested(ours):
                    raise
                step.done("was attested already")
                return None
            there = self.registry.attestation_of(self.account.address, ours.number)
            if there is None or there.model != ours.model:
                raise ServiceError("the service says that it attested an aggregate, and did not")
            step.done(f"{cid_text(ours.model.cid)} in transaction {sent.transaction}")
            return sent

    # -- standing ----------------------------------------------------------------------------------

    def standing(self) -> Standing:
        """The state of a merchant in the open round."""
        number = self.registry.current_round()
        round = self.registry.read_round(number)
        assert round.parent is not None
        draft = self.workspace.draft(number)
        address, covered = self.account.address, len(round.publications)
        return Standing(
            number=number,
            trained=draft is not None and draft.parent == round.parent.digest,
            published=any(each.merchant == address for each in round.publications),
            attested=any(
                (each.merchant, each.covered) == (address, covered) for each in round.attestations
            ),
            missing=tuple(map(self._name, round.missing())),
            votes=max((round.votes(each.model) for each in round.attestations), default=0),
            needed=round.needed,
        )

    # -- parts -------------------------------------------------------------------------------------

    def _put(self, payload: bytes, model: Model) -> None:
        """Have bytes stored, and see that they are there."""
        said = self.services.store(payload)
        if said != model:
            raise ServiceError(
                f"the service stored {cid_text(model.cid)} under another address or digest"
            )
        if self.content.get_at_most(model.cid, len(payload)) != payload:
            raise ServiceError(f"{cid_text(model.cid)} is not in the store after it was put there")

    def _register(self, sign: Callable[[], bytes]) -> Sent:
        for attempt in range(TRIES):
            try:
                return self.services.register(sign())
            except NonceTaken:
                if attempt + 1 == TRIES:
                    raise
        raise AssertionError("the last try returns or raises")

    def _attested(self, ours: Aggregate) -> bool:
        """True if this is what the chain has as this merchant's attestation."""
        found = self.registry.attestation_of(self.account.address, ours.number)
        return found is not None and (found.model, found.covered) == (ours.model, ours.covered)

    def _check_ours(self, found: Publication, number: int) -> None:
        draft = self.workspace.draft(number)
        if draft is None or draft.model != found.model:
            raise Disagreement(
                f"round {number}: the chain has a model in the name of {self.workspace.name} that "
                "is not in its folder; is its key used elsewhere?"
            )

    def _name(self, address: str) -> str:
        return self.agreement.names.get(address, address)

    def _step(self, number: int, name: str) -> _Telling:
        return _Telling(self._tell, number, name)

    def _tell(self, step: Step) -> None:
        self.workspace.tell(step)
        if self._listener is not None:
            self._listener(step)


class _Telling:
    """A step within a ``with`` block: begun, perhaps something told, and done or failed."""

    def __init__(self, tell: Tell, number: int, name: str) -> None:
        self._tell, self._number, self._name = tell, number, name

    def __enter__(self) -> _Telling:
        self._say("begun", "")
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self._say("failed", " ".join(str(error).split()) or type(error).__name__)

    def told(self, detail: str) -> None:
        """Something to know."""
        self._say("told", detail)

    def done(self, detail: str) -> None:
        """The step's end."""
        self._say("done", detail)

    def _say(self, state: str, detail: str) -> None:
        self._tell(Step(self._number, self._name, state, detail))
