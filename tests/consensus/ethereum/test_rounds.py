"""Rounds from beginning to end, what is read of them, and the record of their events."""

from __future__ import annotations

import pytest

from consensus.ethereum.artefact import artefact
from consensus.ethereum.chain import GENESIS_TIME
from consensus.ethereum.errors import EthereumError, RegistryError
from consensus.ethereum.node import Node
from consensus.ethereum.records import Attestation, Model, Publication, Round
from consensus.ethereum.registry import Registry
from tests.consensus.ethereum.scene import (
    ANNA,
    BEN,
    CLEO,
    DORA,
    FOUNDERS,
    INITIAL,
    OPERATOR,
    STRANGER,
    close_round,
    deploy,
    middle,
    model,
)

A, B, C, D = (each.address for each in (ANNA, BEN, CLEO, DORA))
OURS, OTHER = model("ours"), model("another")


def test_a_registry_begins_with_its_founders_and_the_initial_model(node: Node) -> None:
    registry = deploy(node)
    assert registry.operator() == OPERATOR.address
    assert registry.current_round() == 1
    assert registry.read_round(0) == Round(0, True, None, (), (), (), INITIAL)
    assert registry.read_round(1) == Round(1, False, INITIAL, (A, B, C), (), (), None)
    assert registry.read_round(1).missing() == (A, B, C)
    assert registry.read_round(1).needed == 2


def test_a_round_is_read_whole(node: Node) -> None:
    scene = middle(node)
    registry = scene.registry
    assert registry.read_round(1) == Round(
        1,
        True,
        INITIAL,
        (A, B, C),
        (Publication(A, model("model 1"), 5),),
        (Attestation(A, scene.parent, 1), Attestation(B, scene.parent, 1)),
        scene.parent,
    )
    assert registry.read_round(2) == Round(
        2,
        False,
        scene.parent,
        (A, B, C),
        (Publication(A, scene.published, 7),),
        (Attestation(A, scene.attested, 1),),
        None,
    )
    assert registry.next_merchants() == (A, B, D)


def test_what_is_there_is_found_again_after_a_restart(node: Node) -> None:
    scene = middle(node)
    again = Registry(Node(node.url), scene.registry.address)
    assert again.publication_of(A, 2) == Publication(A, scene.published, 7)
    assert again.attestation_of(A, 2) == Attestation(A, scene.attested, 1)
    assert again.publication_of(B, 2) is None
    assert again.attestation_of(B, 2) is None
    assert again.publication_of(STRANGER.address, 1) is None


def test_a_round_closes_without_a_silent_merchant(node: Node) -> None:
    """Cleo neither publishes nor attests; one attestation of three is too few, two are enough."""
    registry = deploy(node)
    registry.publish(ANNA, 1, INITIAL.digest, OTHER, 1)
    registry.attest(ANNA, 1, 1, OURS)
    assert registry.current_round() == 1
    registry.attest(BEN, 1, 1, OURS)
    assert registry.current_round() == 2
    assert registry.read_round(2).parent == registry.read_round(1).aggregate == OURS


@pytest.mark.parametrize(("count", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3)])
def test_more_than_half_close_a_round(embedded: Node, count: int, needed: int) -> None:
    founders = [ANNA, BEN, CLEO, DORA][:count]
    registry = deploy(embedded, founders)
    assert registry.read_round(1).needed == needed
    registry.publish(ANNA, 1, INITIAL.digest, OTHER, 1)
    for place, voter in enumerate(founders[:needed], 1):
        assert registry.current_round() == 1
        registry.attest(voter, 1, 1, OURS)
        assert registry.current_round() == 1 + (place == needed)


def test_a_publication_voids_the_attestations_before_it(node: Node) -> None:
    registry = deploy(node)
    registry.publish(ANNA, 1, INITIAL.digest, OURS, 1)
    registry.attest(ANNA, 1, 1, OURS)
    registry.publish(BEN, 1, INITIAL.digest, OTHER, 1)
    assert registry.read_round(1).votes(OURS) == 0
    registry.attest(BEN, 1, 2, OURS)
    assert registry.current_round() == 1, "the attestation of one publication counts no more"
    registry.attest(ANNA, 1, 2, OURS)
    assert registry.current_round() == 2
    closed = registry.read_round(1)
    assert [each.covered for each in closed.attestations] == [2, 2]
    assert closed.votes(OURS) == closed.needed == 2


def test_a_merchant_that_attests_twice_is_counted_once(node: Node) -> None:
    registry = deploy(node)
    registry.publish(ANNA, 1, INITIAL.digest, OTHER, 1)
    registry.attest(ANNA, 1, 1, OURS)
    registry.attest(BEN, 1, 1, OTHER)
    registry.attest(ANNA, 1, 1, model("a third"))
    registry.attest(CLEO, 1, 1, OURS)
    # Cleo's and Anna's first would be two: but Anna has moved.
    assert registry.current_round() == 1
    assert registry.read_round(1).votes(OURS) == 1
    registry.attest(ANNA, 1, 1, OURS)
    assert registry.read_round(1).aggregate == OURS
    told = [each.fields["digest"] for each in registry.record() if each.event == "Attested"]
    assert len(told) == 5, "every word is in the record"


def test_a_cid_of_the_same_digest_is_another_aggregate(node: Node) -> None:
    registry = deploy(node)
    registry.publish(ANNA, 1, INITIAL.digest, OTHER, 1)
    registry.attest(ANNA, 1, 1, OURS)
    registry.attest(BEN, 1, 1, Model(OTHER.cid, OURS.digest))
    assert registry.current_round() == 1


def test_merchants_come_and_go_with_the_next_round(node: Node) -> None:
    scene = middle(node)
    registry = scene.registry
    # Cleo is retired, and still has her rights in round 2.
    registry.publish(CLEO, 2, scene.parent.digest, OTHER, 2)
    registry.attest(CLEO, 2, 2, OURS)
    registry.attest(BEN, 2, 2, OURS)
    assert registry.read_round(3).merchants == (A, B, D)
    assert registry.read_round(2).merchants == (A, B, C)
    with pytest.raises(RegistryError, match="NotActive"):
        registry.publish(CLEO, 3, OURS.digest, OTHER, 2)
    registry.publish(DORA, 3, OURS.digest, OTHER, 2)
    # Who was away for some rounds may come back, and who is to leave may stay.
    registry.admit(OPERATOR, C)
    registry.retire(OPERATOR, A)
    registry.admit(OPERATOR, A)
    registry.attest(ANNA, 3, 1, OURS)
    registry.attest(DORA, 3, 1, OURS)
    assert sorted(registry.read_round(4).merchants) == sorted([A, B, C, D])
    registry.publish(CLEO, 4, OURS.digest, OTHER, 2)
    registry.publish(ANNA, 4, OURS.digest, OTHER, 2)


def test_admitted_and_retired_before_it_began_a_merchant_never_was_one(embedded: Node) -> None:
    registry = deploy(embedded)
    registry.admit(OPERATOR, D)
    registry.retire(OPERATOR, D)
    close_round(registry, [ANNA, BEN], OURS)
    assert registry.read_round(2).merchants == (A, B, C)
    with pytest.raises(RegistryError, match="NotActive"):
        registry.publish(DORA, 2, OURS.digest, OTHER, 2)


def test_a_closed_round_does_not_change(node: Node) -> None:
    registry = deploy(node)
    close_round(registry, [ANNA, BEN], OURS)
    before = registry.read_round(1)
    for act in (
        lambda: registry.publish(CLEO, 1, INITIAL.digest, OTHER, 1),
        lambda: registry.attest(CLEO, 1, 1, OURS),
        lambda: registry.attest(ANNA, 1, 1, OTHER),
    ):
        with pytest.raises(RegistryError, match="WrongRound"):
            act()
    close_round(registry, [ANNA, CLEO], OTHER)
    assert registry.read_round(1) == before


def test_sixty_four_merchants_make_a_round(embedded: Node) -> None:
    """The largest round there can be is read in one call."""
    from tests.helpers.ethereum import ACCOUNTS

    founders = list(ACCOUNTS[:64])
    registry = deploy(embedded, founders)
    for place in (0, 63):
        longest = Model(bytes([1 + place]) * 64, OURS.digest)
        registry.publish(founders[place], 1, INITIAL.digest, longest, 10**12)
    found = registry.read_round(1)
    assert len(found.merchants) == 64
    assert found.needed == 33
    assert [each.samples for each in found.publications] == [10**12] * 2


# --- the record -----------------------------------------------------------------------------------


def test_the_record_tells_every_event(node: Node) -> None:
    registry = deploy(node)
    registry.admit(OPERATOR, D)
    sent = registry.publish(ANNA, 1, INITIAL.digest, OTHER, 9)
    registry.retire(OPERATOR, C)
    registry.attest(ANNA, 1, 1, OURS)
    closing = registry.attest(BEN, 1, 1, OURS)
    record = registry.record()
    operator = OPERATOR.address
    vote = {"round": 1, "digest": OURS.digest, "cid": OURS.cid, "covered": 1}
    closed = {"round": 1, "digest": OURS.digest, "cid": OURS.cid, "publications": 1, "votes": 2}
    published = {"digest": OTHER.digest, "parent": INITIAL.digest, "cid": OTHER.cid, "samples": 9}
    opened = {"parent": INITIAL.digest, "cid": INITIAL.cid, "merchants": 3}
    following = {"round": 2, "parent": OURS.digest, "cid": OURS.cid, "merchants": 3}
    assert [(each.event, each.sender, dict(each.fields)) for each in record] == [
        *(("Admitted", operator, {"merchant": who, "fromRound": 1}) for who in (A, B, C)),
        ("RoundOpened", operator, {"round": 1, **opened}),
        ("Admitted", operator, {"merchant": D, "fromRound": 2}),
        ("Published", A, {"round": 1, "merchant": A, **published}),
        ("Retired", operator, {"merchant": C, "fromRound": 2}),
        ("Attested", A, {"merchant": A, "votes": 1, **vote}),
        ("Attested", B, {"merchant": B, "votes": 2, **vote}),
        ("RoundClosed", B, closed),
        ("RoundOpened", B, following),
    ]
    one = record[5]
    assert (one.transaction, one.block, one.gas) == (sent.transaction, sent.block, sent.gas)
    assert {each.transaction for each in record[-3:]} == {closing.transaction}
    blocks = [(each.block, each.position) for each in record]
    assert blocks == sorted(set(blocks))
    assert all(each.time >= GENESIS_TIME for each in record)  # Anvil: in its first second
    assert registry.record(since=sent.block, until=sent.block) == [one]
    assert {each.event for each in record} == {
        str(each["name"]) for each in artefact().abi if each["type"] == "event"
    }


def test_a_long_record_is_asked_for_in_parts(
    embedded: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = middle(embedded).registry
    whole = registry.record()
    monkeypatch.setattr("consensus.ethereum.registry.BLOCKS_PER_REQUEST", 2)
    assert registry.record() == whole


# --- what is no registry --------------------------------------------------------------------------


def test_an_address_without_a_registry_is_refused(node: Node) -> None:
    with pytest.raises(EthereumError, match=r"no contract at 0x\w{40}, where a registry"):
        Registry(node, A)
    with pytest.raises(EthereumError, match="not an Ethereum address"):
        Registry(node, "0x12")


def test_another_contract_is_no_registry(embedded: Node) -> None:
    """One that answers as its deployer likes: its code is another's."""
    # PUSH1 1, PUSH1 0, RETURN: a contract whose code is one byte.
    kind = embedded.web3.eth.contract(abi=[], bytecode="0x60016000f3")
    receipt = embedded.transact(STRANGER, kind.constructor())
    with pytest.raises(EthereumError, match="another contract at"):
        Registry(embedded, str(receipt["contractAddress"]))


def test_founders_are_addresses(embedded: Node) -> None:
    with pytest.raises(EthereumError, match="not an Ethereum address"):
        Registry.deploy(embedded, OPERATOR, INITIAL, [*(each.address for each in FOUNDERS), "me"])
