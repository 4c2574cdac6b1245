"""A third protocol: one class and its server, and everything else takes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bfedrec.config.help import help_text
from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from consensus.application import Application
from consensus.audit import AuditFailure, audit
from consensus.ledger import protocol as interface
from consensus.ledger.committee import Committee
from consensus.ledger.validity import Head, InvalidBlock, SortitionOf
from consensus.protocols.paper.protocol import Paper
from consensus.protocols.paper.server import PaperParticipant
from consensus.protocols.registry import PROTOCOLS, protocol_named, protocol_of
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.storage.sqlite import SqliteStore
from consensus.torture.arena.drawing import draw
from consensus.torture.arena.scenario import BadScenario, Scenario
from consensus.torture.run import run
from tests.helpers.toy import Toy, ToyApplication


class Full(Paper):
    """`paper`, but that a block whose committee has an empty seat is none."""

    meaning = "no seat stays empty"
    title = ""
    invitations = ()

    def voters(
        self, genesis: Genesis, head: Head, block: Block, sortition: SortitionOf | None = None
    ) -> Committee:
        committee = super().voters(genesis, head, block, sortition)
        if len(committee.weights) < genesis.parameters.committee_size:
            raise InvalidBlock("a seat is empty")
        return committee

    def participant_class(self) -> type[PaperParticipant]:
        return FullParticipant


class FullParticipant(PaperParticipant):
    """A part of a class of its own."""


@contextmanager
def registered() -> Iterator[None]:
    """A context in which the protocol is registered."""
    with PROTOCOLS.restored():
        interface.protocol("full")(Full)
        yield


@pytest.fixture
def full() -> Iterator[None]:
    """The protocol, for one test."""
    with registered():
        yield


def toy() -> Toy:
    return Toy(servers=5, clients=2, committee_size=3, protocol="full", crypto="modelled")


def build(genesis: Genesis, initial: bytes) -> Application:
    return ToyApplication()


def stored(path: Path, world: Toy, blocks: int) -> None:
    """Write a toy's chain after ``blocks`` heights."""
    with SqliteStore(path) as store, store.transaction():
        store.put(b"initial")
        store.put_block(0, world.genesis.encoded)
        store.set_meta("head", world.genesis.cid)
        for height in range(1, blocks + 1):
            result = world.play()
            store.put(result.contents.aggregate)
            store.put_block(height, result.block.encoded)
            store.set_meta("head", result.block.cid)


@pytest.mark.usefixtures("full")
def test_a_world_of_it_decides_and_its_chain_is_audited(tmp_path: Path) -> None:
    world = toy()
    assert isinstance(world.world.servers[0].participant, FullParticipant)
    stored(tmp_path / "chain.sqlite", world, 3)
    with SqliteStore(tmp_path / "chain.sqlite", read_only=True) as store:
        assert audit(store, build).blocks == 3


@pytest.mark.usefixtures("full")
def test_its_own_rule_decides() -> None:
    """Of four seats three are taken: `paper` is content, the other protocol not."""
    world = Toy(servers=3, clients=2, committee_size=4, protocol="paper", crypto="modelled")
    block = world.play().block
    head = protocol_of(world.genesis).first_head(world.genesis)
    protocol_of(world.genesis).check_block(world.genesis, head, block)
    with pytest.raises(InvalidBlock, match="a seat is empty"):
        protocol_named("full").check_block(world.genesis, head, block)


@pytest.mark.usefixtures("full")
def test_configs_and_their_help_know_it() -> None:
    assert load(None, ["protocol=full"]).protocol == "full"
    assert "full (no seat stays empty)" in help_text(10_000)
    with pytest.raises(ConfigError, match=r"committee\.kind: .*fixed, as protocol is full"):
        load(None, ["protocol=full", "committee.kind=weighted"])


@pytest.mark.usefixtures("full")
def test_torture_plays_it() -> None:
    outcome = run(Scenario(seed=3, servers=4, protocol="full"))
    assert (outcome.heights, outcome.what) == (3, "")
    assert draw(3, "full").protocol == "full"


@pytest.mark.usefixtures("full")
def test_one_without_a_title_is_called_by_its_name() -> None:
    assert protocol_named("full").title == "full"


@pytest.mark.usefixtures("full")
def test_a_name_is_taken_once() -> None:
    told = f"protocol 'full' is registered twice, by {__name__} and by {__name__}"
    with pytest.raises(ValueError, match=told):
        interface.protocol("full")(Full)


@pytest.mark.usefixtures("full")
def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(
        ValueError, match="one of bft, hotstuff, paper, tendermint, full; did you mean 'full'"
    ):
        protocol_named("ful")
    with pytest.raises(ConfigError, match=r"\| tendermint \| full; did you mean 'full'"):
        load(None, ["protocol=ful"])


def test_an_unknown_name_is_one_line(tmp_path: Path) -> None:
    """In a config, a scenario, a genesis that a world is made of, and a chain that is audited."""
    with registered():
        world = toy()
        stored(tmp_path / "chain.sqlite", world, 1)
    told = "protocol 'full' is not one of bft, hotstuff, paper, tendermint"
    with pytest.raises(ConfigError, match=r"protocol: 'full': expected bft \| hotstuff \| paper"):
        load(None, ["protocol=full"])
    with pytest.raises(
        BadScenario, match="expected one of bft, hotstuff, paper, tendermint, got 'full'"
    ):
        Scenario.from_text('{"seed":1,"servers":4,"protocol":"full"}')
    with pytest.raises(ValueError, match=told):
        toy()
    store = SqliteStore(tmp_path / "chain.sqlite", read_only=True)
    with store, pytest.raises(AuditFailure, match=f"^height 0: {told}$"):
        audit(store, build)
