"""Merchants, stores and services that lie: each refused in one line, and seen in the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bfedrec.merchants.averaging import Contribution, aggregate
from bfedrec.merchants.functions.client import _refusal
from bfedrec.merchants.interactions import Catalogue
from bfedrec.merchants.model import Shared, digest_of, encode
from bfedrec.merchants.rounds.audit import audit
from bfedrec.merchants.rounds.checks import (
    Aggregate,
    Missing,
    Refused,
    aggregated,
    collect,
    fetch,
    identity,
)
from bfedrec.merchants.rounds.playing import play_round
from bfedrec.merchants.rounds.services import LocalServices, ServiceError
from consensus.encoding.cid import PROTOBUF, make_cid, raw_cid
from consensus.encoding.unixfs import CHUNK_BYTES, LINKS_PER_NODE, _node, _Subtree, file_cid
from consensus.ethereum.errors import EthereumError, RegistryError
from consensus.ethereum.records import Model, Sent
from consensus.storage.content import ContentStore, MemoryStore, NotFound, Unavailable
from tests.helpers.ethereum import ACCOUNTS
from tests.helpers.shops import OPERATOR, OWNERS, Shops, shops

STRANGER = ACCOUNTS[9]
LIAR = "shop-1"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shops]:
    """Three merchants that have trained round 1, of which shop-0 has published."""
    with shops(tmp_path_factory.mktemp("hostile")) as made:
        for member in made.members:
            member.train()
        made.member("shop-0").publish()
        yield made


def bytes_of(scene: Shops) -> bytes:
    """A right model's bytes."""
    draft = scene.member(LIAR).workspace.draft(1)
    assert draft is not None
    return draft.payload


def numbers_changed(payload: bytes, value: float) -> bytes:
    """The bytes with another number in the middle."""
    raw = bytearray(payload)
    raw[-400:-396] = np.array([value], "<f4").tobytes()
    return bytes(raw)


def other_catalogue(scene: Shops) -> bytes:
    """A model of as many other products."""
    ids = scene.agreement.catalogue.ids + 1
    return encode(scene.agreement.initial(), Catalogue(ids))


BAD = {
    "a number is none": (lambda s: numbers_changed(bytes_of(s), np.nan), "not a finite number"),
    "a number without end": (lambda s: numbers_changed(bytes_of(s), np.inf), "not a finite"),
    "a huge number": (lambda s: numbers_changed(bytes_of(s), 1e30), "larger than 64"),
    "cut short": (lambda s: bytes_of(s)[:-4], "bytes instead of"),
    "longer": (lambda s: bytes_of(s) + b"\0", "more than"),
    "empty": (lambda s: b"", "bytes instead of"),
    "another magic": (lambda s: b"x" + bytes_of(s)[1:], "does not begin"),
    "another shape": (lambda s: bytes_of(s)[:12] + b"\x07" + bytes_of(s)[13:], "has shape"),
    "another catalogue": (other_catalogue, "is of another catalogue"),
}


@pytest.mark.parametrize("kind", list(BAD))
def test_what_is_no_model_is_refused(scene: Shops, kind: str) -> None:
    make, told = BAD[kind]
    payload = make(scene)
    scene.store.put(payload)
    with pytest.raises(Refused, match=told) as error:
        fetch(scene.store, identity(payload), scene.agreement)
    assert "\n" not in str(error.value)
    with pytest.raises(Refused):
        LocalServices(scene.agreement, scene.registry, scene.store).store(payload)


def test_addresses_of_nothing_and_of_something_else_are_refused(scene: Shops) -> None:
    payload = bytes_of(scene)
    scene.store.put(payload)
    absent = identity(payload + b"absent")
    with pytest.raises(Missing, match="nothing is stored"):
        fetch(scene.store, absent, scene.agreement)
    for model, told in (
        (Model(b"\x00" * 8, digest_of(payload)), "is no CID"),
        (Model(file_cid(payload), b"\x01" * 32), "another SHA-256 digest"),
        (Model(scene.store.put_node(b"\xa0"), digest_of(b"\xa0")), "cannot be used"),
    ):
        with pytest.raises(Refused, match=told):
            fetch(scene.store, model, scene.agreement)


class Counting(MemoryStore):
    """A store that counts what is read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    def _block(self, cid: bytes) -> bytes:
        data = super()._block(cid)
        self.read += len(data)
        return data


def claimed(store: Counting, size: int) -> Model:
    """A root block that claims a file of about ``size`` bytes, put below its CID."""
    leaf = _Subtree(raw_cid(b"\0" * CHUNK_BYTES), CHUNK_BYTES, CHUNK_BYTES)
    level, root = [leaf] * LINKS_PER_NODE, b""
    while True:
        root = _node(level)
        content = sum(each.content for each in level)
        if content >= size:
            break
        stored = len(root) + sum(each.stored for each in level)
        store._blocks[make_cid(PROTOBUF, root)] = root
        level = [_Subtree(make_cid(PROTOBUF, root), content, stored)] * LINKS_PER_NODE
    store._blocks[make_cid(PROTOBUF, root)] = root
    return Model(make_cid(PROTOBUF, root), b"\x01" * 32)


def test_nothing_is_fetched_of_a_model_that_claims_a_gigabyte(scene: Shops) -> None:
    store = Counting()
    model = claimed(store, 10**9)
    with pytest.raises(Refused, match="claims to be a file of"):
        fetch(store, model, scene.agreement)
    assert store.read < 20_000, "its root block alone"
    store.put(b"\0" * CHUNK_BYTES)
    store.read = 0
    with pytest.raises(Refused, match="more than"):
        fetch(store, identity(b"\0" * CHUNK_BYTES), scene.agreement)
    assert store.read <= CHUNK_BYTES, "one block is the most that is read"


def test_who_is_no_merchant_registers_nothing(scene: Shops) -> None:
    services = LocalServices(scene.agreement, scene.registry, scene.store)
    model, parent = identity(bytes_of(scene)), scene.registry.read_round(1).parent
    assert parent is not None
    scene.store.put(bytes_of(scene))
    before = scene.registry.read_round(1)
    with pytest.raises(RegistryError, match="NotActive"):
        scene.registry.signed_publish(STRANGER, 1, parent.digest, model, 1)
    for refused, told in (
        (
            lambda: scene.registry.signed_publish(OWNERS["shop-0"], 1, parent.digest, model, 1),
            "AlreadyPublished",
        ),
        (
            lambda: scene.registry.signed_publish(OWNERS[LIAR], 1, b"\x01" * 32, model, 1),
            "WrongParent",
        ),
        (
            lambda: scene.registry.signed_publish(OWNERS[LIAR], 2, parent.digest, model, 1),
            "WrongRound",
        ),
        (
            lambda: scene.registry.signed_publish(OWNERS[LIAR], 1, parent.digest, model, 0),
            "BadSamples",
        ),
    ):
        with pytest.raises(RegistryError, match=told):
            refused()
    # What a node would refuse is signed all the same by somebody with a program of his own.
    raw = scene.registry.signed_publish(OWNERS[LIAR], 1, parent.digest, model, 1)
    call = scene.registry._contract.functions.admit(STRANGER.address)
    admitted = scene.registry.node.signed(OPERATOR, call)
    absent = scene.registry.signed_publish(OWNERS[LIAR], 1, parent.digest, identity(b"absent"), 1)
    for bad, told in (
        (b"", "not a signed transaction"),
        (raw[:-1], "not a signed transaction"),
        (b"\x02" * 100, "not a signed transaction"),
        (b"\0" * 10**6, "1,000,000 bytes"),
        (admitted, "no operation of a merchant"),
        (absent, "nothing is stored"),
    ):
        with pytest.raises((Refused, EthereumError), match=told) as error:
            services.register(bad)
        assert "\n" not in str(error.value)
    assert scene.registry.read_round(1) == before, "nothing has changed"


class Lying(LocalServices):
    """Services that say they did something."""

    def __init__(self, scene: Shops, lie: str) -> None:
        super().__init__(scene.agreement, scene.registry, scene.store)
        self.lie = lie

    def store(self, payload: bytes) -> Model:
        """Say another address, or keep nothing."""
        if self.lie == "address":
            return replace(super().store(payload), cid=file_cid(b"another"))
        if self.lie == "loss":
            return identity(payload)
        return super().store(payload)

    def register(self, raw: bytes) -> Sent:
        """Say that it is done."""
        return Sent("0x", 1, 1) if self.lie == "register" else super().register(raw)

    def aggregate(self, number: int) -> Aggregate:
        """Another aggregate."""
        found = super().aggregate(number)
        return replace(found, model=identity(b"mine")) if self.lie == "aggregate" else found


def test_services_that_lie_are_found_out(tmp_path: Path) -> None:
    with shops(tmp_path) as scene:
        for member in scene.members:
            member.train()
        for lie, told in (
            ("loss", "not"),
            ("address", "under another address"),
            ("register", "and did not"),
        ):
            with pytest.raises((ServiceError, NotFound), match=told):
                scene.member("shop-0", Lying(scene, lie)).publish()
        for name in ("shop-0", "shop-1", "shop-2"):
            scene.member(name).publish()
        scene.member("shop-0", Lying(scene, "aggregate")).attest()
        assert any("the service's aggregate is wrong" in told for told in scene.told("shop-0"))
        scene.member("shop-1").attest()
        assert audit(scene.registry, scene.store, scene.agreement).problems == ()


def test_one_of_three_can_neither_spoil_nor_stop_a_round(tmp_path: Path) -> None:
    """Round 1: garbage, and a wrong attestation. Round 2: silence. Round 3: bytes of nowhere."""
    with shops(tmp_path) as scene:
        honest = ("shop-0", "shop-2")
        lie = identity(b"an aggregate of my own")
        parent = scene.registry.read_round(1).parent
        assert parent is not None
        garbage = numbers_changed(scene.agreement.initial_payload(), np.nan)
        scene.store.put(garbage)
        for name in honest:
            scene.member(name).train()
            scene.member(name).publish()
        scene.registry.publish(OWNERS[LIAR], 1, parent.digest, identity(garbage), 10**9)
        scene.registry.attest(OWNERS[LIAR], 1, 3, lie)
        for name in honest:
            scene.member(name).attest()
        first = scene.registry.read_round(1)
        assert first.closed
        assert "shop-1: model: a factor is not a finite number" in scene.told("shop-0")
        found = collect(scene.store, first, scene.agreement)
        assert [one.merchant for one in found.accepted] == list(honest)
        assert aggregated(found, scene.agreement).model == first.aggregate

        play_round([scene.member(name) for name in honest])
        assert scene.registry.read_round(2).closed

        parent = scene.registry.read_round(3).parent
        assert parent is not None
        scene.registry.publish(OWNERS[LIAR], 3, parent.digest, identity(b"nowhere"), 1)
        play_round([scene.member(name) for name in honest])
        audited = audit(scene.registry, scene.store, scene.agreement)
        assert (audited.rounds, audited.problems) == (3, ())
        assert [(each.number, each.merchant, each.problem) for each in audited.refused] == [
            (1, "shop-1", "model: a factor is not a finite number"),
            (3, "shop-1", "nothing is stored at its address"),
        ]


def test_an_audit_names_what_a_majority_that_lies_did(tmp_path: Path) -> None:
    with shops(tmp_path) as scene:
        for member in scene.members:
            member.train()
            member.publish()
        wrong = encode(scene.agreement.initial(), scene.agreement.catalogue)
        wrong = numbers_changed(wrong, 0.125)
        scene.store.put(wrong)
        for name in ("shop-0", "shop-1"):
            scene.registry.attest(OWNERS[name], 1, 3, identity(wrong))
        [problem] = audit(scene.registry, scene.store, scene.agreement).problems
        assert problem == "round 1: the aggregate is not that of the round's models"
        # The third merchant goes on from it, as everybody can compute what it was made of.
        agreement = replace(scene.agreement, seed=5)
        found = audit(scene.registry, scene.store, agreement)
        assert found.problems[0] == "round 0: the initial model is not that of the agreement"


def test_a_weighted_rule_believes_what_merchants_say_of_their_samples() -> None:
    """Which is why the plain mean is the default: a number that nobody can check moves nothing."""
    parent = Shared(np.zeros((4, 2), np.float32), np.zeros(4, np.float32))
    ours = Shared(np.ones((4, 2), np.float32), np.ones(4, np.float32))
    theirs = Shared(-np.ones((4, 2), np.float32), -np.ones(4, np.float32))
    pair = [Contribution("a", ours, 100), Contribution("b", theirs, 10**9)]
    plain, weighted = (aggregate(parent, pair, rule) for rule in ("plain", "samples"))
    assert np.all(plain.factors == 0)
    assert np.all(weighted.factors < -0.99)


def test_a_merchant_that_comes_late_voids_no_vote_twice(tmp_path: Path) -> None:
    """An attestation before another's publication is refused as stale, and computed again."""
    with shops(tmp_path) as scene:
        for member in scene.members:
            member.train()
        for name in ("shop-0", "shop-1"):
            scene.member(name).publish()
        member = scene.member("shop-0")
        compute, late = member.aggregate, scene.member("shop-2")

        def slow() -> Any:
            ours = compute()
            late.publish()
            return ours

        member.aggregate = slow  # type: ignore[method-assign]
        assert member.attest() is not None
        assert scene.member("shop-1").attest() is not None
        assert len(scene.registry.read_round(1).publications) == 3
        assert scene.registry.read_round(1).closed


class Failing(MemoryStore):
    """A store that is out of reach whenever it is asked for one block, and lacks another."""

    def __init__(self, store: ContentStore, failing: bytes = b"", absent: bytes = b"") -> None:
        super().__init__()
        self.store, self.failing, self.absent = store, failing, absent

    def put(self, data: bytes) -> bytes:
        """Store a file."""
        return self.store.put(data)

    def _block(self, cid: bytes) -> bytes:
        if cid == self.failing:
            raise Unavailable("the node did not answer")
        if cid == self.absent:
            raise NotFound("not in this store")
        return self.store.block_bytes(cid)


def test_a_store_that_fails_is_no_reason_to_leave_a_model_out(tmp_path: Path) -> None:
    """Else its merchant attests another aggregate than all others, and an audit accuses them."""
    with shops(tmp_path) as scene:
        for member in scene.members:
            member.train()
            member.publish()
        published = scene.registry.read_round(1).publications
        failing = Failing(scene.store, failing=published[1].model.cid)
        member = scene.member("shop-0")
        member.content = failing
        with pytest.raises(Unavailable, match="did not answer"):
            member.attest()
        assert scene.registry.read_round(1).attestations == ()
        scene.member("shop-0").attest()
        scene.member("shop-1").attest()
        assert scene.registry.read_round(1).closed
        with pytest.raises(Unavailable):
            audit(scene.registry, failing, scene.agreement)


def test_no_model_is_right_that_nobody_looked_at(tmp_path: Path) -> None:
    """Models are checked where their round's parent cannot be had, too."""
    with shops(tmp_path) as scene:
        honest = [scene.member("shop-0"), scene.member("shop-2")]
        for member in honest:
            member.train()
            member.publish()
        parent = scene.registry.read_round(1).parent
        assert parent is not None
        scene.registry.publish(OWNERS[LIAR], 1, parent.digest, identity(b"nowhere"), 1)
        found = audit(scene.registry, Failing(scene.store, absent=parent.cid), scene.agreement)
        assert [(each.merchant, each.problem) for each in found.models] == [
            ("shop-0", ""),
            ("shop-2", ""),
            ("shop-1", "nothing is stored at its address"),
        ]
        assert found.problems == ("round 0: nothing is stored at its address",)


class Overtaken(LocalServices):
    """Services elsewhere, before whose first delivery something else comes into a block."""

    def __init__(self, scene: Shops, other: Callable[[], object]) -> None:
        super().__init__(scene.agreement, scene.registry, scene.store)
        self.other: Callable[[], object] | None = other

    def register(self, raw: bytes) -> Sent:
        """Let the other come first; what the contract then refuses is told in words alone."""
        if self.other is not None:
            other, self.other = self.other, None
            other()
        try:
            return super().register(raw)
        except RegistryError as error:
            told = {"error": "registry", "reason": str(error)}
            raise _refusal("register", 409, told) from None


def test_who_attests_through_a_service_may_be_overtaken(tmp_path: Path) -> None:
    """By a publication, after which it attests anew, and by the end of the round."""
    with shops(tmp_path) as scene:
        for member in scene.members:
            member.train()
        for name in ("shop-0", "shop-1"):
            scene.member(name).publish()
        services = Overtaken(scene, scene.member("shop-2").publish)
        assert scene.member("shop-0", services).attest() is not None
        assert scene.registry.read_round(1).attestations[0].covered == 3
        services = Overtaken(scene, scene.member("shop-1").attest)
        assert scene.member("shop-2", services).attest() is None
        assert scene.registry.current_round() == 2
        # Words of a service that say so change nothing.
        play_round(scene.members[:1])
        lying = LocalServices(scene.agreement, scene.registry, scene.store)

        def lie(raw: bytes) -> Sent:
            raise RegistryError("WrongRound", {"given": 2, "current": 3})

        lying.register = lie  # type: ignore[method-assign]
        with pytest.raises(RegistryError, match="WrongRound"):
            scene.member("shop-1", lying).attest()


def test_what_an_earlier_try_sent_may_come_into_a_block_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Publishing and attesting are then done: a killed process had sent a transaction that waits,
    and that the node counts in the account's nonce."""
    with shops(tmp_path) as scene:
        scene.member("shop-0").train()
        eth = scene.registry.node.web3.eth
        counted = eth.get_transaction_count
        for act in ("publish", "attest"):

            def mined(act: str = act) -> None:
                monkeypatch.setattr(eth, "get_transaction_count", counted)
                getattr(scene.member("shop-0"), act)()

            monkeypatch.setattr(eth, "get_transaction_count", lambda *asked: counted(*asked) + 1)
            assert getattr(scene.member("shop-0", Overtaken(scene, mined)), act)() is None
        round = scene.registry.read_round(1)
        assert (len(round.publications), len(round.attestations)) == (1, 1)
