"""Every refusal of the contract, told by its name and arguments, and nothing changed by it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import rlp
from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes

from consensus.ethereum.artefact import artefact
from consensus.ethereum.errors import EthereumError, RegistryError
from consensus.ethereum.node import Node
from consensus.ethereum.records import Model
from consensus.ethereum.registry import Registry
from tests.consensus.ethereum.scene import (
    ANNA,
    BEN,
    CLEO,
    DORA,
    INITIAL,
    OPERATOR,
    STRANGER,
    Middle,
    deploy,
    middle,
    model,
)
from tests.helpers.ethereum import ACCOUNTS

ZERO = "0x" + "00" * 20
A, B, C, D, S, CHIEF = (each.address for each in (ANNA, BEN, CLEO, DORA, STRANGER, OPERATOR))
PARENT = model("aggregate 1").digest
NEW, SAME = model("ben 2"), model("aggregate 2")
LONG, NONE = Model(bytes(65), NEW.digest), Model(b"", NEW.digest)
NO_DIGEST = Model(NEW.cid, bytes(32))
MOST = 10**12
MANY = [each.address for each in ACCOUNTS[:65]]

Act = Callable[[Registry], object]
Case = tuple[str, Act, str, dict[str, Any]]


def publishing(
    who: Any, number: int = 2, parent: bytes = PARENT, what: Model = NEW, n: int = 1
) -> Act:
    return lambda registry: registry.publish(who, number, parent, what, n)


def attesting(who: Any, number: int = 2, covered: int = 1, what: Model = SAME) -> Act:
    return lambda registry: registry.attest(who, number, covered, what)


CASES: list[Case] = [
    ("a stranger admits", lambda r: r.admit(STRANGER, S), "NotOperator",
     {"caller": S, "operator": CHIEF}),
    ("a merchant retires", lambda r: r.retire(ANNA, B), "NotOperator",
     {"caller": A, "operator": CHIEF}),
    ("nobody is admitted", lambda r: r.admit(OPERATOR, ZERO), "BadMerchant", {"merchant": ZERO}),
    ("admitted twice", lambda r: r.admit(OPERATOR, A), "AlreadyMerchant", {"merchant": A}),
    ("admitted for the next round", lambda r: r.admit(OPERATOR, D), "AlreadyMerchant",
     {"merchant": D}),
    ("a stranger is retired", lambda r: r.retire(OPERATOR, S), "NotMerchant", {"merchant": S}),
    ("retired twice", lambda r: r.retire(OPERATOR, C), "NotMerchant", {"merchant": C}),
    ("a stranger publishes", publishing(STRANGER), "NotActive", {"merchant": S, "round": 2}),
    ("the operator publishes", publishing(OPERATOR), "NotActive", {"merchant": CHIEF, "round": 2}),
    ("published too early", publishing(DORA), "NotActive", {"merchant": D, "round": 2}),
    ("published late", publishing(BEN, 1), "WrongRound", {"given": 1, "current": 2}),
    ("published ahead", publishing(BEN, 3), "WrongRound", {"given": 3, "current": 2}),
    ("an old parent", publishing(BEN, parent=INITIAL.digest), "WrongParent",
     {"given": INITIAL.digest, "expected": PARENT}),
    ("published twice", publishing(ANNA), "AlreadyPublished", {"merchant": A, "round": 2}),
    ("no CID", publishing(BEN, what=NONE), "BadCid", {"length": 0, "most": 64}),
    ("a long CID", publishing(BEN, what=LONG), "BadCid", {"length": 65, "most": 64}),
    ("no digest", publishing(BEN, what=NO_DIGEST), "BadDigest", {"digest": bytes(32)}),
    ("no samples", publishing(BEN, n=0), "BadSamples", {"given": 0, "most": MOST}),
    ("many samples", publishing(BEN, n=MOST + 1), "BadSamples", {"given": MOST + 1, "most": MOST}),
    ("a stranger attests", attesting(STRANGER), "NotActive", {"merchant": S, "round": 2}),
    ("attested too early", attesting(DORA), "NotActive", {"merchant": D, "round": 2}),
    ("attested late", attesting(BEN, 1), "WrongRound", {"given": 1, "current": 2}),
    ("attested ahead", attesting(BEN, 3), "WrongRound", {"given": 3, "current": 2}),
    ("attested of fewer", attesting(BEN, covered=0), "StaleAttestation",
     {"covered": 0, "published": 1}),
    ("attested of more", attesting(BEN, covered=2), "StaleAttestation",
     {"covered": 2, "published": 1}),
    ("attested twice", attesting(ANNA), "AlreadyAttested", {"merchant": A, "round": 2}),
    ("an aggregate without a CID", attesting(BEN, what=NONE), "BadCid", {"length": 0, "most": 64}),
    ("an aggregate with a long CID", attesting(BEN, what=LONG), "BadCid",
     {"length": 65, "most": 64}),
    ("an aggregate without a digest", attesting(BEN, what=NO_DIGEST), "BadDigest",
     {"digest": bytes(32)}),
    ("a round to come is read", lambda r: r.read_round(3), "UnknownRound",
     {"given": 3, "current": 2}),
    ("a publication to come is read", lambda r: r.publication_of(A, 9), "UnknownRound",
     {"given": 9, "current": 2}),
    ("an attestation to come is read", lambda r: r.attestation_of(A, 9), "UnknownRound",
     {"given": 9, "current": 2}),
]  # fmt: skip
ELSEWHERE = {"BadFounders", "LastMerchant", "NothingPublished", "TooManyMerchants"}
"""Refusals that other states than the common one are needed for."""


@pytest.fixture(scope="module")
def scene(node: Node) -> Middle:
    """One registry for all cases: a refused call must not change it."""
    return middle(node)


def refusal(act: Callable[[], object]) -> RegistryError:
    with pytest.raises(RegistryError) as told:
        act()
    assert "\n" not in str(told.value)
    return told.value


@pytest.mark.parametrize(("act", "name", "arguments"), [case[1:] for case in CASES],
                         ids=[case[0] for case in CASES])  # fmt: skip
def test_a_call_is_refused_and_changes_nothing(
    scene: Middle, act: Act, name: str, arguments: dict[str, Any]
) -> None:
    registry = scene.registry
    eth = registry.node.web3.eth
    before = eth.block_number
    error = refusal(lambda: act(registry))
    assert (error.name, error.arguments) == (name, arguments)
    assert eth.block_number == before, "a refused call costs nothing: no block holds it"


def test_every_refusal_has_a_test() -> None:
    abi: list[Any] = list(artefact().abi)
    declared = {str(each["name"]) for each in abi if each["type"] == "error"}
    assert {name for _, _, name, _ in CASES} | ELSEWHERE == declared


def test_every_refusal_has_arguments() -> None:
    abi: list[Any] = list(artefact().abi)
    assert [each["name"] for each in abi if each["type"] == "error" and not each["inputs"]] == []


@pytest.mark.parametrize(
    ("founders", "initial", "name", "arguments"),
    [
        ([], INITIAL, "BadFounders", {"given": 0, "most": 64}),
        (
            [each.address for each in ACCOUNTS[:65]],
            INITIAL,
            "BadFounders",
            {"given": 65, "most": 64},
        ),
        ([A, B, A], INITIAL, "AlreadyMerchant", {"merchant": A}),
        ([A, ZERO], INITIAL, "BadMerchant", {"merchant": ZERO}),
        ([A], LONG, "BadCid", {"length": 65, "most": 64}),
        ([A], NONE, "BadCid", {"length": 0, "most": 64}),
        ([A], NO_DIGEST, "BadDigest", {"digest": bytes(32)}),
    ],
)
def test_a_deployment_is_refused(
    node: Node, founders: list[str], initial: Model, name: str, arguments: dict[str, Any]
) -> None:
    error = refusal(lambda: Registry.deploy(node, OPERATOR, initial, founders))
    assert (error.name, error.arguments) == (name, arguments)


def test_nothing_published_cannot_be_attested(node: Node) -> None:
    registry = deploy(node)
    for covered in (0, 1):
        error = refusal(lambda covered=covered: registry.attest(ANNA, 1, covered, SAME))
        assert (error.name, error.arguments) == ("NothingPublished", {"round": 1})


def test_the_last_merchant_stays(node: Node) -> None:
    registry = deploy(node, [ANNA, BEN])
    registry.retire(OPERATOR, A)
    error = refusal(lambda: registry.retire(OPERATOR, B))
    assert (error.name, error.arguments) == ("LastMerchant", {"merchant": B})
    registry.admit(OPERATOR, C)
    registry.retire(OPERATOR, B)
    assert registry.next_merchants() == (C,)


def test_there_is_room_for_64_merchants(node: Node) -> None:
    registry = deploy(node, list(ACCOUNTS[:64]))
    newcomer = ACCOUNTS[64].address
    error = refusal(lambda: registry.admit(OPERATOR, newcomer))
    assert (error.name, error.arguments) == ("TooManyMerchants", {"most": 64})
    registry.retire(OPERATOR, ACCOUNTS[0].address)
    registry.admit(OPERATOR, newcomer)
    assert len(registry.next_merchants()) == 64
    assert len(registry.read_round(1).merchants) == 64


def test_what_is_refused_in_a_block_is_told_as_well(node: Node) -> None:
    """Two publications of one merchant on their way at once: the second costs its gas."""
    scene = middle(node)
    raw = scene.registry.signed_publish(BEN, 2, PARENT, NEW, 3)
    scene.registry.publish(BEN, 2, PARENT, NEW, 3)
    fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    unsigned = {name: fields[name] for name in fields if name not in ("v", "r", "s")}
    again = BEN.sign_transaction({**unsigned, "nonce": fields["nonce"] + 1})
    error = refusal(lambda: scene.registry.deliver(bytes(again.raw_transaction)))
    assert (error.name, error.arguments) == ("AlreadyPublished", {"merchant": B, "round": 2})


@pytest.mark.parametrize("place", [0, 1, 4, 6])
def test_a_transaction_with_an_endless_number_is_none(node: Node, place: int) -> None:
    """Of chain, nonce, gas or value; it can be signed all the same."""
    scene = middle(node)
    raw = scene.registry.signed_publish(BEN, 2, PARENT, NEW, 3)
    fields = rlp.decode(raw[1:])
    fields[place] = b"\x7f" * 3000
    with pytest.raises(EthereumError, match=r"^not a signed transaction .*\(OverflowError\)$"):
        scene.registry.operation_of(raw[:1] + rlp.encode(fields))


def test_a_refusal_is_one_line_with_its_arguments() -> None:
    error = RegistryError("WrongParent", {"given": b"\x01", "expected": b"\x02", "n": 3})
    expected = "the registry refuses: WrongParent(given=0x01, expected=0x02, n=3)"
    assert re.fullmatch(re.escape(expected), str(error))
