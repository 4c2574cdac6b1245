"""The registry in plain Python, written from its rules: what is tested is held against it."""

from __future__ import annotations

from dataclasses import dataclass, field

from consensus.ethereum.records import Attestation, Model, Publication, Round

MOST_MERCHANTS, MOST_CID, MOST_SAMPLES = 64, 64, 10**12


class Refused(Exception):
    """A call that the rules refuse: the name of the refusal and its arguments, in order."""

    def __init__(self, name: str, *arguments: object) -> None:
        super().__init__(name, *arguments)
        self.name, self.arguments = name, arguments


@dataclass
class OpenRound:
    """The round in progress; its attestations begin anew with every publication."""

    number: int
    parent: Model
    merchants: list[str]
    publications: list[Publication] = field(default_factory=list)
    attestations: dict[str, Attestation] = field(default_factory=dict)

    def frozen(self, aggregate: Model | None) -> Round:
        """The round as a reader sees it."""
        return Round(
            self.number,
            aggregate is not None,
            self.parent,
            tuple(self.merchants),
            tuple(self.publications),
            tuple(self.attestations.values()),
            aggregate,
        )


class Reference:
    """The rules, from deployment on; calls by whoever `sender` is."""

    def __init__(self, operator: str, initial: Model, founders: list[str]) -> None:
        self.operator = operator
        self.closed = [Round(0, True, None, (), (), (), initial)]
        self.next = list(founders)
        self.open = OpenRound(1, initial, list(founders))

    def admit(self, sender: str, merchant: str) -> None:
        self._only_operator(sender)
        if len(self.next) == MOST_MERCHANTS:
            raise Refused("TooManyMerchants", MOST_MERCHANTS)
        if int(merchant, 16) == 0:
            raise Refused("BadMerchant", merchant)
        if merchant in self.next:
            raise Refused("AlreadyMerchant", merchant)
        self.next.append(merchant)

    def retire(self, sender: str, merchant: str) -> None:
        self._only_operator(sender)
        if merchant not in self.next:
            raise Refused("NotMerchant", merchant)
        if self.next == [merchant]:
            raise Refused("LastMerchant", merchant)
        place = self.next.index(merchant)
        last = self.next.pop()  # it takes the place of the one that leaves
        if last != merchant:
            self.next[place] = last

    def publish(self, sender: str, number: int, parent: bytes, model: Model, samples: int) -> None:
        self._turn(sender, number)
        if parent != self.open.parent.digest:
            raise Refused("WrongParent", parent, self.open.parent.digest)
        if any(each.merchant == sender for each in self.open.publications):
            raise Refused("AlreadyPublished", sender, number)
        self._model(model)
        if not 0 < samples <= MOST_SAMPLES:
            raise Refused("BadSamples", samples, MOST_SAMPLES)
        self.open.publications.append(Publication(sender, model, samples))

    def attest(self, sender: str, number: int, covered: int, aggregate: Model) -> None:
        self._turn(sender, number)
        published = len(self.open.publications)
        if not published:
            raise Refused("NothingPublished", number)
        if covered != published:
            raise Refused("StaleAttestation", covered, published)
        self._model(aggregate)
        attestation = Attestation(sender, aggregate, covered)
        if self.open.attestations.get(sender) == attestation:
            raise Refused("AlreadyAttested", sender, number)
        self.open.attestations[sender] = attestation
        alike = [
            each
            for each in self.open.attestations.values()
            if each.covered == published and each.model == aggregate
        ]
        if len(alike) > len(self.open.merchants) / 2:
            self.closed.append(self.open.frozen(aggregate))
            self.open = OpenRound(number + 1, aggregate, list(self.next))

    def read(self, number: int) -> Round:
        """Round `number`, closed or open."""
        if number > self.open.number:
            raise Refused("UnknownRound", number, self.open.number)
        return [*self.closed, self.open.frozen(None)][number]

    def _only_operator(self, sender: str) -> None:
        if sender != self.operator:
            raise Refused("NotOperator", sender, self.operator)

    def _turn(self, sender: str, number: int) -> None:
        if number != self.open.number:
            raise Refused("WrongRound", number, self.open.number)
        if sender not in self.open.merchants:
            raise Refused("NotActive", sender, number)

    def _model(self, model: Model) -> None:
        if not 0 < len(model.cid) <= MOST_CID:
            raise Refused("BadCid", len(model.cid), MOST_CID)
        if not any(model.digest):
            raise Refused("BadDigest", model.digest)
