"""The demo as a command: its summary, its servers killed one at a time, and itself."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from bfedrec.cli.main import main
from bfedrec.merchants.demo.folder import DemoError, Plan, agreed, locked, owners
from bfedrec.merchants.rounds.agreement import Agreement
from bfedrec.merchants.settings import StepSettings
from consensus.encoding.cid import cid_text
from consensus.ethereum.node import Node
from consensus.ethereum.registry import Registry
from consensus.storage.content import MemoryStore
from tests.bfedrec.merchants.demo.playing import SERVERS, SMALL, Playing, addresses
from tests.bfedrec.merchants.demo.test_processes import gone, until
from tests.helpers import npm
from tests.helpers.anvil_node import AnvilNode
from tests.helpers.ethereum import COUNT, PHRASE, serving
from tests.helpers.ipfs_node import IpfsNode
from tests.helpers.shops import NAMES, write_shops


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    """The summary of two rounds that nothing disturbs."""
    return Playing("--rounds", "2", "--exit").finished()


def test_the_summary_is_of_two_right_rounds(summary: dict[str, Any]) -> None:
    assert [one["round"] for one in summary["rounds"]] == [1, 2]
    assert all(set(one["models"]) == {"shop-0", "shop-1", "shop-2"} for one in summary["rounds"])
    assert len(set(addresses(summary))) == 8
    assert summary["audit"] == {"right": True, "problems": [], "refused": []}
    assert all(0 < one["gas"] < summary["gas"] for one in summary["rounds"])


def test_servers_that_are_killed_cost_nothing_but_time(
    summary: dict[str, Any], tmp_path: Path
) -> None:
    """Each server is killed once in the middle of a round; then the demo itself, without which no
    server stays; then it goes on in the same folder and serves, until Ctrl-C."""
    place = ("--rounds", "2", "--dir", str(tmp_path / "demo"))
    playing = Playing(*place, "--exit")
    pids: list[int] = []

    def end() -> None:
        pids.extend(playing.servers().values())
        playing.process.kill()

    playing.watch(
        {
            "round 1, shop-0: train done": lambda: playing.kill("store"),
            "round 1, shop-1: train done": lambda: playing.kill("register"),
            "round 1, shop-1: publish done": lambda: playing.kill("chain"),
            "round 1, shop-0: collect done": lambda: playing.kill("aggregate"),
            "round 1, shop-0: attest done": lambda: playing.kill("collect", "portal"),
            "round 2, shop-1: publish done": end,
        }
    )
    playing.process.wait(60)
    told = "\n".join(playing.lines)
    assert all(f"{name} ended with signal 9; it is started again" in told for name in SERVERS)
    assert len(pids) == len(SERVERS)
    for pid in pids:
        until(lambda pid=pid: gone(pid))  # type: ignore[misc]

    again = Playing(*place)
    assert again.process.stdout is not None
    shown = [again.process.stdout.readline() for _ in range(4)]
    pids = list(again.servers().values())
    assert rounds_of(tmp_path / "demo") == addresses(summary)
    assert requests.get(shown[0].split()[1], timeout=60).status_code == 200
    assert [line.split(":")[0].strip() for line in shown[1:]] == ["shop-0", "shop-1", "shop-2"]
    assert all("one-time password" in line for line in shown[1:])
    os.killpg(again.process.pid, signal.SIGINT)
    again.watch({})
    assert again.process.wait(60) != 0
    assert again.lines[-1] == "interrupted"
    assert not [line for line in again.lines if "started again" in line]
    assert all(gone(pid) for pid in pids)


def rounds_of(folder: Path) -> list[str]:
    """The CIDs of the models and aggregates of two rounds, as the chain of a demo has them."""
    settings = json.loads((folder / "settings.json").read_text())
    agreement = Agreement.load(folder / "agreement.json")
    registry = Registry(Node(settings["chain"]), agreement.registry, agreement.since)
    found = []
    for number in (1, 2):
        round = registry.read_round(number)
        assert round.aggregate is not None
        found += [cid_text(each.model.cid) for each in round.publications]
        found.append(cid_text(round.aggregate.cid))
    return found


@pytest.mark.slow
def test_a_real_chain_and_a_store_that_is_killed_give_the_same_addresses(
    summary: dict[str, Any], tmp_path: Path
) -> None:
    try:
        chain = AnvilNode(PHRASE, COUNT)
    except npm.Unavailable as error:
        pytest.skip(str(error))
    try:
        node = IpfsNode(tmp_path / "node")
        node.start()
    except npm.Unavailable as error:
        chain.stop()
        pytest.skip(str(error))

    def strike() -> None:
        node.kill()
        time.sleep(1)  # the next step finds it absent
        node.start()

    try:
        parts = ("--ethereum", chain.url, "--store", "ipfs", "--api", node.api)
        playing = Playing("--rounds", "2", "--exit", *parts)
        found = playing.finished({"round 1, shop-1: train done": strike})
    finally:
        node.kill()
        chain.stop()
    assert addresses(found) == addresses(summary)
    assert found["audit"]["right"]


def test_accounts_that_own_nothing_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "keys"
    poor = [f"{number:064x}" for number in range(1, 5)]
    with serving() as server:
        demo = ["merchants", "demo", "--exit", "--ethereum", server.url, "--keys", str(keys)]
        for lines, said in (
            (poor, "fund these accounts first, they own nothing: 0x7E5F4552091A69125d5DfCb7b8C2"),
            (poor[:3], "has to hold 4 different keys"),
            ([*poor[:3], poor[0]], "has to hold 4 different keys"),
            ([*poor[:3], "secret"], "not a private key"),
        ):
            keys.write_text("\n".join(lines))
            assert main(demo) == 2
            found = capsys.readouterr().err
            assert said in found
            assert "secret" not in found


def test_files_of_events_are_those_of_merchants_by_name(tmp_path: Path) -> None:
    write_shops(tmp_path / "from")
    source = [tmp_path / "from" / name / "events" / "events.csv" for name in NAMES]
    plan = Plan(files=tuple(map(str, source)), settings=StepSettings(epochs=1))
    with serving() as server:
        place = (tmp_path, plan, Node(server.url), MemoryStore(), owners(plan, None))
        agreement = agreed(*place)
        assert agreed(*place).registry == agreement.registry, "found once"
    assert list(agreement.merchants) == list(NAMES)
    for name, path in zip(NAMES, source, strict=True):
        copied = tmp_path / "merchants" / name / "events" / "events.csv"
        assert copied.read_bytes() == path.read_bytes()
    with (
        locked(tmp_path),
        pytest.raises(DemoError, match="another demo runs here"),
        locked(tmp_path),
    ):
        pass


def test_a_folder_of_something_else_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("kept")
    demo = ["merchants", "demo", "--exit", "--dir", str(tmp_path)]
    assert main(demo) == 2
    assert "holds other files than a demo's" in capsys.readouterr().err
    (tmp_path / "mine").unlink()
    plan = {"seed": 7, "shops": 3}
    (tmp_path / "demo.json").write_text(json.dumps(plan))
    assert main(demo) == 2
    assert "was begun with another choice of seed" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"demo.json", ".demo.lock"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rounds", "0"], "rounds are 1 to 10,000"),
        (["--seed", "-1"], "a seed is 0 to"),
        (["--shops", "65"], "there are 1 to 64 merchants"),
        (["--epochs", "0"], "epochs must be"),
        (["--events", "/dev/null"], "no folder of files of events"),
        (["--keys", "/dev/null"], "of a chain that --ethereum names"),
        (["--ethereum", "http://127.0.0.1:1"], "http://127.0.0.1:1"),
    ],
)
def test_what_no_demo_can_begin_with_is_told_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merchants", "demo", "--exit", *SMALL, *arguments]) == 2
    found = capsys.readouterr().err
    assert said in found
    assert found.count("\n") == 1
