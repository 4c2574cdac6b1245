"""Three merchants play rounds: what the chain, the store and the folders then hold."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bfedrec.cli.main import main
from bfedrec.cli.status import BAD_INPUT, CHECK_FAILED
from bfedrec.merchants.averaging import Contribution, aggregate
from bfedrec.merchants.model import decode, encode
from bfedrec.merchants.rounds.agreement import Agreement, AgreementError
from bfedrec.merchants.rounds.audit import audit
from bfedrec.merchants.rounds.checks import Refused, fetch, identity
from bfedrec.merchants.rounds.member import Disagreement
from bfedrec.merchants.rounds.playing import play_round
from bfedrec.merchants.rounds.promotions import promotions
from bfedrec.merchants.rounds.stores import open_store
from bfedrec.merchants.rounds.workspace import Step, Workspace, WorkspaceError
from consensus.encoding.unixfs import CHUNK_BYTES
from consensus.ethereum.node import Node
from consensus.ethereum.records import Model
from consensus.storage.content import MemoryStore
from consensus.storage.shared import SharedStore
from tests.helpers import npm
from tests.helpers.anvil_node import AnvilNode
from tests.helpers.ethereum import COUNT, PHRASE, serving
from tests.helpers.ipfs_node import IpfsNode
from tests.helpers.shops import NAMES, OWNERS, Shops, founded, shops


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shops]:
    """Two rounds of three merchants."""
    with shops(tmp_path_factory.mktemp("played")) as scene:
        for _ in range(2):
            play_round(scene.members)
        yield scene


def cids(scene: Shops) -> list[bytes]:
    """The addresses of all models and aggregates of two rounds."""
    rounds = [scene.registry.read_round(number) for number in (0, 1, 2)]
    models = [each.model.cid for round in rounds for each in round.publications]
    return [*models, *(round.aggregate.cid for round in rounds if round.aggregate)]


def test_the_record_the_addresses_and_the_aggregates_agree(played: Shops) -> None:
    agreement = played.agreement
    parent = agreement.initial()
    for number in (1, 2):
        round = played.registry.read_round(number)
        assert round.closed
        assert [each.merchant for each in round.publications] == list(agreement.merchants.values())
        models = [
            Contribution(
                agreement.names[each.merchant],
                decode(played.store.get(each.model.cid), agreement.catalogue),
                each.samples,
            )
            for each in round.publications
        ]
        mean = np.mean([one.shared.factors for one in models], axis=0, dtype=np.float64)
        expected = aggregate(parent, models)
        assert np.allclose(expected.factors, mean, atol=1e-6)
        assert round.aggregate == identity(encode(expected, agreement.catalogue))
        parent = expected
    events = [entry.event for entry in played.registry.record()]
    assert events.count("Published") == 6
    assert events.count("RoundClosed") == 2


def test_an_audit_finds_everything_right(played: Shops) -> None:
    found = audit(played.registry, played.store, played.agreement)
    assert (found.rounds, found.problems, found.refused) == (2, (), ())
    assert [each.number for each in found.aggregates] == [0, 1, 2]
    assert len(found.models) == 6
    assert [each.votes for each in found.aggregates] == [0, 2, 2]


def test_the_same_seed_gives_the_same_addresses(played: Shops, tmp_path: Path) -> None:
    with serving() as server, SharedStore(tmp_path / "store.sqlite") as store:
        again = founded(tmp_path, Node(server.url), store)
        for _ in range(2):
            play_round(again.members)
        assert cids(again) == cids(played)
    with shops(tmp_path / "other", seed=1) as other:
        play_round(other.members)
        assert not set(cids(other)) & set(cids(played))


def test_a_real_node_gives_the_same_addresses(played: Shops, tmp_path: Path) -> None:
    try:
        node = AnvilNode(PHRASE, COUNT)
    except npm.Unavailable as error:
        pytest.skip(str(error))
    try:
        real = founded(tmp_path, Node(node.url), MemoryStore())
        for _ in range(2):
            play_round(real.members)
        assert cids(real) == cids(played)
        assert audit(real.registry, real.store, real.agreement).problems == ()
    finally:
        node.stop()


def test_an_ipfs_node_gives_the_same_addresses(played: Shops, tmp_path: Path) -> None:
    try:
        node = IpfsNode(tmp_path / "node")
        node.start()
    except npm.Unavailable as error:
        pytest.skip(str(error))
    try:
        with serving() as server, open_store(f"ipfs:{node.api}") as store:
            real = founded(tmp_path, Node(server.url), store)
            for _ in range(2):
                play_round(real.members)
            assert cids(real) == cids(played)
            huge = store.put(b"\0" * (CHUNK_BYTES + 1))
            with pytest.raises(Refused, match="claims to be a file of"):
                fetch(store, Model(huge, b"\1" * 32), real.agreement)
    finally:
        node.stop()


def test_acts_that_are_done_are_not_done_again(played: Shops) -> None:
    member = played.member("shop-1")
    draft = member.train()
    assert member.publish() is not None
    before = played.registry.record()
    again = played.member("shop-1")
    assert again.train() == draft
    assert again.publish() is None
    assert played.registry.record() == before
    standing = again.standing()
    assert (standing.number, standing.trained, standing.published) == (3, True, True)
    assert set(standing.missing) == {"shop-0", "shop-2"}
    assert (standing.attested, standing.votes, standing.needed) == (False, 0, 2)


def test_what_was_trained_elsewhere_in_its_name_is_told(tmp_path: Path) -> None:
    with shops(tmp_path) as scene:
        scene.member("shop-0").train()
        scene.member("shop-0").publish()
        folder = scene.folder / "shop-0" / "rounds" / "1"
        folder.rename(scene.folder / "gone")
        with pytest.raises(Disagreement, match="is its key used elsewhere"):
            scene.member("shop-0").publish()
        (scene.folder / "shop-2" / "key.json").write_bytes(
            (scene.folder / "shop-1" / "key.json").read_bytes()
        )
        with pytest.raises(Disagreement, match="is not shop-2's"):
            scene.member("shop-2")


def test_losses_and_steps_are_kept(played: Shops) -> None:
    workspace = Workspace(played.folder / "shop-0")
    lines = workspace.losses(1).splitlines()
    assert lines[0] == "epoch,training,test,constant_training,constant_test"
    assert len(lines) == 1 + played.agreement.settings.epochs
    done = [step.name for step in workspace.steps() if step.state == "done" and step.number == 1]
    assert done == ["train", "publish", "collect", "aggregate", "attest"]
    assert workspace.trained_rounds()[:2] == [1, 2]


def test_products_to_promote_are_told_beside_those_of_the_shop_alone(played: Shops) -> None:
    workspace = Workspace(played.folder / "shop-0")
    aggregate = played.registry.read_round(2).aggregate
    assert aggregate is not None
    shared = decode(played.store.get(aggregate.cid), played.agreement.catalogue)
    found = promotions(workspace, played.agreement, shared, 2, top=5)
    assert [each.rank for each in found] == [1, 2, 3, 4, 5]
    assert sorted((each.score for each in found), reverse=True) == [each.score for each in found]
    assert found == promotions(workspace, played.agreement, shared, 2, top=5), "kept or not"
    assert {each.rank for each in found} != {each.alone_rank for each in found}


def test_the_command_recomputes_all_rounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "store.sqlite"
    with serving() as server, SharedStore(place) as store:
        scene = founded(tmp_path, Node(server.url), store)
        play_round(scene.members)
        agreement = tmp_path / "agreement.json"
        scene.agreement.save(agreement)
        command = ["merchants", "audit", str(agreement), "--ethereum", server.url]
        assert main([*command, "--store", f"file:{place}"]) == 0
        said = capsys.readouterr().out.splitlines()
        assert said[-1] == "1 rounds, 3 models: all as the chain says"
        folder = [str(tmp_path) if word == str(agreement) else word for word in command]
        assert main([*folder, "--store", f"file:{place}"]) == 0
        capsys.readouterr()
        replace(scene.agreement, seed=7).save(agreement)
        assert main([*command, "--store", f"file:{place}"]) == CHECK_FAILED
        assert "not that of the agreement" in capsys.readouterr().out
        assert main([*command, "--store", "here"]) == BAD_INPUT
        assert "expected file:PATH" in capsys.readouterr().err


# -- what is killed --------------------------------------------------------------------------------


def act_until(folder: Path, agreement: Path, url: str, store: Path, at: int) -> None:
    """Play shop-0's part of a round, and be killed when the step ``at`` is told, or within its
    writing."""
    from bfedrec import files
    from bfedrec.merchants.rounds.member import Member
    from bfedrec.merchants.rounds.services import LocalServices
    from consensus.ethereum.registry import Registry

    found = Agreement.load(agreement)
    registry = Registry(Node(url), found.registry, found.since)
    content = SharedStore(store)
    count = 0

    def die(step: object) -> None:
        nonlocal count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

    if at < 0:  # in the middle of writing a round's folder, after so many of its files
        write, written = files.write_bytes, 0

        def cut(path: Path, content: bytes) -> None:
            nonlocal written
            written += 1
            if written == -at:
                path.write_bytes(content[: len(content) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            write(path, content)

        files.write_bytes = cut
    member = Member(
        Workspace(folder), found, registry, content, LocalServices(found, registry, content), die
    )
    member.train()
    member.publish()
    member.attest()


def test_a_killed_merchant_goes_on_where_it_was(played: Shops, tmp_path: Path) -> None:
    """Killed within each write of its folder and at each step, one after the other: the round ends
    as if it had not been."""
    spawn = multiprocessing.get_context("fork")
    with serving() as server, SharedStore(tmp_path / "store.sqlite") as store:
        scene = founded(tmp_path, Node(server.url), store)
        scene.agreement.save(tmp_path / "agreement.json")
        place = (tmp_path / "shop-0", tmp_path / "agreement.json", server.url)
        for name in NAMES[1:]:
            scene.member(name).train()
        codes = []
        for at in [-1, -2, -4, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]:
            process = spawn.Process(target=act_until, args=(*place, tmp_path / "store.sqlite", at))
            process.start()
            process.join()
            codes.append(process.exitcode)
        assert -signal.SIGKILL in codes
        for name in NAMES[1:]:
            scene.member(name).publish()
        play_round(scene.members)
        first = scene.registry.read_round(1)
        assert first.closed
        # Published in another order than by `played`; the aggregate is the same.
        assert {each.model for each in first.publications} == {
            each.model for each in played.registry.read_round(1).publications
        }
        assert first.aggregate == played.registry.read_round(1).aggregate
        events = [
            entry.event
            for entry in scene.registry.record()
            if entry.sender == OWNERS["shop-0"].address
        ]
        assert events.count("Published") == 1, "nothing is counted twice"


# -- files -----------------------------------------------------------------------------------------


def test_an_agreement_is_read_as_it_was_written(played: Shops, tmp_path: Path) -> None:
    path = tmp_path / "agreement.json"
    played.agreement.save(path)
    again = Agreement.load(path)
    assert again.initial_payload() == played.agreement.initial_payload()
    assert (again.merchants, again.registry) == (
        played.agreement.merchants,
        played.agreement.registry,
    )


@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_addresses_may_be_written_in_one_case(
    played: Shops, tmp_path: Path, case: Callable[[str], str]
) -> None:
    path = tmp_path / "agreement.json"
    agreement = played.agreement

    def written(address: str) -> str:
        return f"0x{case(address[2:])}"

    merchants = {name: written(one) for name, one in agreement.merchants.items()}
    replace(agreement, merchants=merchants, registry=written(agreement.registry)).save(path)
    again = Agreement.load(path)
    assert (again.merchants, again.registry) == (agreement.merchants, agreement.registry)
    assert audit(played.registry, played.store, again).problems == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 2}, "not an agreement of version 1"),
        ({"seed": -1}, "seed and since"),
        ({"seed": True}, "seed is not of type int"),
        ({"rule": "best"}, "rule 'best'"),
        ({"dimension": 10**9}, "dimension must be"),
        ({"catalogue": [2, 1]}, "ascending"),
        ({"catalogue": []}, "at least one product"),
        ({"catalogue": [10**30]}, "products' ids"),
        ({"merchants": {"../x": "0x" + "1" * 40}}, "not a merchant with an address"),
        ({"merchants": {"a": "0x" + "1" * 40, "b": "0x" + "1" * 40}}, "an address of its own"),
        (
            {"merchants": {"a": "0x" + "A" * 40, "b": "0x" + "a" * 40}},
            "an address of its own",
        ),
        ({"registry": "0x12"}, "not the address of a registry"),
        ({"registry": "0x" + "Aa" * 20}, "its checksum is wrong"),
        ({"settings": {"epochs": 1}}, "settings are"),
        ({"more": 1}, "unknown ones: 'more'"),
    ],
)
def test_a_bad_agreement_is_one_line(
    played: Shops, tmp_path: Path, change: dict[str, object], told: str
) -> None:
    path = tmp_path / "agreement.json"
    played.agreement.save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(AgreementError, match=told) as error:
        Agreement.load(path)
    assert "\n" not in str(error.value)
    path.write_bytes(b"[" * 100_000)
    with pytest.raises(AgreementError):
        Agreement.load(path)


def test_a_damaged_folder_is_one_line(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "shop-0")
    with pytest.raises(WorkspaceError, match=r"key\.json"):
        workspace.account()
    workspace.create(b"\x01" * 32)
    assert (workspace.path / "key.json").stat().st_mode & 0o077 == 0
    busy = pytest.raises(WorkspaceError, match="another process")
    with workspace.writing(), busy, workspace.writing():
        pass
    folder = workspace.path / "rounds" / "1"
    folder.mkdir()
    (folder / "draft.json").write_text("{}")
    with pytest.raises(WorkspaceError, match="no draft can be read"):
        workspace.draft(1)
    (folder / "home.safetensors").write_bytes(b"no")
    with pytest.raises(WorkspaceError, match="no model can be read"):
        workspace.kept(2)
    workspace.tell(Step(1, "train", "begun", ""))
    with (workspace.path / "journal.jsonl").open("ab") as file:
        file.write(b'{"number": 1, "na')
    workspace.tell(Step(1, "train", "done", ""))
    assert [step.state for step in workspace.steps()] == ["begun", "done"]
    (workspace.path / "events" / ".hidden").touch()
    (workspace.path / "events" / "a.csv").touch()
    assert [each.name for each in workspace.event_files()] == ["a.csv"]


def test_a_chain_that_counts_far_is_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node may tell any number of rounds; the folder tells which there are."""
    looked: list[Path] = []

    def exists(path: Path) -> bool:
        looked.append(path)
        assert len(looked) < 100
        return False

    monkeypatch.setattr(Path, "exists", exists)
    assert Workspace(tmp_path).kept(2**63) is None
