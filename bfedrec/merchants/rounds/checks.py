"""Models that others published: fetched within bounds and checked, or refused in one line."""

from __future__ import annotations

from dataclasses import dataclass

from bfedrec.merchants.averaging import Contribution, aggregate
from bfedrec.merchants.model import PayloadError, Shared, decode, digest_of, encode
from bfedrec.merchants.rounds.agreement import Agreement
from consensus.encoding.cid import is_cid
from consensus.encoding.unixfs import file_cid
from consensus.ethereum.records import Model, Round
from consensus.storage.content import ContentStore, NotFound, StoreError, Unavailable


class Refused(Exception):
    """A model that may not be used; the text is one line that says why."""


class Missing(Refused):
    """A model whose bytes are not there now; they may be later, or for others."""


@dataclass(frozen=True)
class Collection:
    """A round's models as one merchant found them."""

    round: Round
    parent: Shared
    accepted: tuple[Contribution, ...]
    """In the order of the merchants' names."""
    refused: dict[str, str]
    """The reason why a merchant's model is not used, by its address."""


@dataclass(frozen=True)
class Aggregate:
    """The aggregate of a round's models."""

    number: int
    covered: int
    """Number of publications that it was computed from, those that were refused included."""
    model: Model
    payload: bytes


def identity(payload: bytes) -> Model:
    """The address and digest by which a registry names a model with these bytes."""
    return Model(file_cid(payload), digest_of(payload))


def fetch(store: ContentStore, model: Model, agreement: Agreement) -> Shared:
    """The model that a registry names, from a store that need not be trusted.

    Nothing longer than a model is read. Raises Missing where the store does not hold it, and
    Refused where it is something else; passes on Unavailable where the store itself fails, since
    whoever averaged the other models then would attest another aggregate than everybody else.
    """
    if not is_cid(model.cid):
        raise Refused("its address is no CID")
    try:
        payload = store.get_at_most(model.cid, agreement.payload_size)
    except NotFound:
        raise Missing("nothing is stored at its address") from None
    except Unavailable:
        raise
    except StoreError as error:
        raise Refused(f"what is stored at its address cannot be used: {error}") from None
    if digest_of(payload) != model.digest:
        raise Refused("its bytes have another SHA-256 digest than was registered")
    try:
        return decode(payload, agreement.catalogue, agreement.dimension)
    except PayloadError as error:
        raise Refused(str(error)) from None


def collect(store: ContentStore, round: Round, agreement: Agreement) -> Collection:
    """A round's models, each fetched and checked. Raises Refused where the round's parent itself
    cannot be had: nothing can be computed without it."""
    assert round.parent is not None, "round 0 has no models"
    try:
        parent = fetch(store, round.parent, agreement)
    except Refused as error:
        raise type(error)(f"the parent of round {round.number}: {error}") from None
    accepted, refused = checked(store, round, agreement)
    return Collection(round, parent, accepted, refused)


def checked(
    store: ContentStore, round: Round, agreement: Agreement
) -> tuple[tuple[Contribution, ...], dict[str, str]]:
    """A round's models that can be used, and why each other one cannot, as in `Collection`."""
    accepted, refused = [], {}
    for each in round.publications:
        name = agreement.names.get(each.merchant)
        if name is None:
            refused[each.merchant] = "is not one of the agreement's merchants"
            continue
        try:
            shared = fetch(store, each.model, agreement)
        except Refused as error:
            refused[each.merchant] = str(error)
        else:
            accepted.append(Contribution(name, shared, each.samples))
    accepted.sort(key=lambda one: one.merchant.encode())
    return tuple(accepted), refused


def aggregated(found: Collection, agreement: Agreement) -> Aggregate:
    """The aggregate of the models of a round that were accepted.

    Everybody who finds the same models computes the same bytes. Raises Refused without any.
    """
    if not found.accepted:
        raise Refused(f"round {found.round.number} has no model that can be used")
    shared = aggregate(found.parent, found.accepted, agreement.rule)
    payload = encode(shared, agreement.catalogue)
    covered = len(found.round.publications)
    return Aggregate(found.round.number, covered, identity(payload), payload)
