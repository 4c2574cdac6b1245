"""Verification of all rounds from the chain and the store: anyone can do it, and need trust nobody.

Every model is fetched and checked, every closed round's aggregate recomputed, and every link from a
round to its parent compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from bfedrec.merchants.rounds.agreement import Agreement
from bfedrec.merchants.rounds.checks import Refused, aggregated, checked, collect, fetch, identity
from consensus.ethereum.records import Model, Round
from consensus.ethereum.registry import Registry
from consensus.storage.content import ContentStore


@dataclass(frozen=True)
class Verdict:
    """The finding on one model."""

    number: int
    """Its round; of an aggregate, the round that it closed (0: the initial model)."""
    merchant: str
    """Name of the merchant that published it; "" for an aggregate."""
    model: Model
    parent: Model | None
    """The model that it says it comes from: of an aggregate, the round's parent."""
    problem: str
    """The reason why it is not used, or wrong; "" if it is right."""
    votes: int = 0
    """Of an aggregate: merchants that attested it."""


@dataclass(frozen=True)
class Audited:
    """The result of an audit."""

    rounds: int
    """Number of closed rounds that were recomputed."""
    aggregates: tuple[Verdict, ...]
    """The initial model and each closed round's aggregate, in order."""
    models: tuple[Verdict, ...]
    """Every published model, those of the open round included."""

    @property
    def problems(self) -> tuple[str, ...]:
        """The differences between the record and what follows from its models.

        A model that everybody refused is none: it has no part in any aggregate.
        """
        return tuple(
            f"round {each.number}: {each.problem}" for each in self.aggregates if each.problem
        )

    @property
    def refused(self) -> tuple[Verdict, ...]:
        """The models that have no part in their round's aggregate."""
        return tuple(each for each in self.models if each.problem)


def audit(registry: Registry, store: ContentStore, agreement: Agreement) -> Audited:
    """Verify every round. Raises EthereumError or StoreError where node or store fail."""
    open_round = registry.current_round()
    rounds = [registry.read_round(number) for number in range(open_round + 1)]
    aggregates, models = [_initial(rounds[0], store, agreement)], []
    for before, round in pairwise(rounds):
        found, published = _verified(before, round, store, agreement)
        models += published
        if found is not None:
            aggregates.append(found)
    return Audited(open_round - 1, tuple(aggregates), tuple(models))


def _initial(round: Round, store: ContentStore, agreement: Agreement) -> Verdict:
    """The verdict on the initial model, which follows from the agreement and lies in the store."""
    assert round.aggregate is not None
    problem = ""
    if identity(agreement.initial_payload()) != round.aggregate:
        problem = "the initial model is not that of the agreement"
    else:
        try:
            fetch(store, round.aggregate, agreement)
        except Refused as error:
            problem = str(error)
    return Verdict(0, "", round.aggregate, None, problem)


def _verified(
    before: Round, round: Round, store: ContentStore, agreement: Agreement
) -> tuple[Verdict | None, list[Verdict]]:
    """The verdicts on a round's aggregate (None while it is open) and on its models."""
    problem = "" if round.parent == before.aggregate else "its parent is not the last aggregate"
    try:
        found = collect(store, round, agreement)
    except Refused as error:  # its parent's: models can be checked without
        models = _models(round, checked(store, round, agreement)[1], agreement)
        return _closed(round, problem or str(error)), models
    models = _models(round, found.refused, agreement)
    if round.aggregate is None:
        return None, models
    try:
        ours = aggregated(found, agreement)
        fetch(store, round.aggregate, agreement)
    except Refused as error:
        return _closed(round, problem or str(error)), models
    if not problem and ours.model != round.aggregate:
        problem = "the aggregate is not that of the round's models"
    return _closed(round, problem), models


def _models(round: Round, refused: Mapping[str, str], agreement: Agreement) -> list[Verdict]:
    """The verdicts on a round's models; ``refused``: reasons by the merchants' addresses."""
    return [
        Verdict(
            round.number,
            agreement.names.get(each.merchant, each.merchant),
            each.model,
            round.parent,
            refused.get(each.merchant, ""),
        )
        for each in round.publications
    ]


def _closed(round: Round, problem: str) -> Verdict | None:
    if round.aggregate is None:
        return None
    votes = round.votes(round.aggregate)
    return Verdict(round.number, "", round.aggregate, round.parent, problem, votes)
