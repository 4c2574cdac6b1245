"""The pages of the chain explorer: blocks, search and verification."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bfedrec.explorer.places import Places
from bfedrec.web.explorer import verifications
from bfedrec.web.explorer.app import application
from bfedrec.web.explorer.chain import PER_PAGE
from bfedrec.web.explorer.state import Explorer
from consensus.storage.content import Busy
from tests.helpers.audited import RESULTS, TOY, Keeper
from tests.helpers.shown import play
from tests.helpers.tiny import TINY
from tests.helpers.web import Answer, Client, serving

HEIGHTS = 3
ODD = "a <run> & \N{RIGHT-TO-LEFT OVERRIDE}?"
"""A hostile name of a run's folder."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, a copy of it under a hostile name, and folders that are no runs or broken ones."""
    folder = tmp_path_factory.mktemp("runs")
    play(folder / "run", text=f"{TINY}rounds: {HEIGHTS}\n")
    shutil.copytree(folder / "run", folder / ODD)
    chain = folder / "run" / "chain.sqlite"
    for name in ("broken", "linked", "empty", "torn", "foreign", "folder"):
        (folder / name).mkdir()
    (folder / "broken" / "chain.sqlite").write_bytes(b"no chain" * 1000)
    (folder / "linked" / "chain.sqlite").symlink_to(chain)
    (folder / "torn" / "chain.sqlite").write_bytes(chain.read_bytes()[:50_000])
    (folder / "folder" / "chain.sqlite").mkdir()
    with sqlite3.connect(folder / "foreign" / "chain.sqlite") as foreign:
        foreign.execute("CREATE TABLE notes (text)")
    foreign.close()
    return folder


@pytest.fixture
def explorer(folder: Path) -> Explorer:
    return Explorer(Places(folder))


@pytest.fixture
def client(explorer: Explorer) -> Iterator[Client]:
    with serving(application(explorer)) as port:
        yield Client(port)


def words(answer: Answer) -> str:
    """The text of a page's main part."""
    return " ".join(re.sub(r"<[^>]*>", " ", answer.text.partition("<main")[2]).split())


def test_the_chain_is_listed_from_its_head(client: Client) -> None:
    page = client.get("/chain/run")
    assert page.status == 200
    heights = re.findall(r'<td class="number"><a href="/block/(\d+)/run">', page.text)
    assert heights == ["3", "2", "1"]
    assert "not the block below" not in page.text
    assert 'href="/verify/run?go=1"' in page.text
    assert re.findall(r"/block/(\d+)/run", client.get("/chain/run?from=1").text) == ["0", "1"]
    for odd in ("x", "-1", "9" * 50, "%00", "1.5"):
        assert client.get(f"/chain/run?from={odd}").status == 200


def test_blocks_have_permanent_addresses(client: Client) -> None:
    for height in range(1, HEIGHTS + 1):
        page = client.get(f"/block/{height}/run")
        assert page.status == 200
        assert "Verified here: header and parent" in page.text
        assert 'class="note bad"' not in page.text
        assert "||ΔQ|| = " in page.text
    assert client.get("/block/0/run").status == 200
    assert client.get("/block/4/run").status == 404
    assert client.get(f"/block/{'9' * 30}/run").status == 404
    assert client.get("/block/x/run").status == 404


def test_everything_of_a_block_is_on_its_page(client: Client) -> None:
    text = words(client.get("/block/3/run"))
    for told in (
        "Phase cert of attempt 0, step 0: weight ",
        " of 4 signed; more than two thirds decide, which is 3 or more.",
        "What the chain tells: the attempts and steps up to the one that decided, of which some",
        "The committee: 4 servers",
        "4 draws for the committees of this height",
        "4 of 4 updates, in the block's order",
        "ipfs dag get bafyrei",
        "As they were seen while the height was played",
        "No honest server holds any against another",
    ):
        assert told in text


def test_links_lead_to_the_gateway_that_was_named(folder: Path) -> None:
    named = Explorer(Places(folder), gateway="http://127.0.0.1:8080")
    with serving(application(named)) as port:
        for path in ("/chain/run", "/block/2/run"):
            page = Client(port).get(path)
            assert 'href="http://127.0.0.1:8080/ipfs/baf' in page.text


def test_search_has_a_page(client: Client) -> None:
    assert "2 found" not in client.get("/search/run").text
    page = client.get("/search/run?q=server+1")
    assert page.status == 200
    assert "/block/" in page.text
    hostile = client.get("/search/run?q=%3Cscript%3E")
    assert hostile.status == 200
    assert "<script>" not in hostile.text
    assert "&lt;script&gt;" in hostile.text


def test_hostile_names_are_escaped(client: Client) -> None:
    from bfedrec.web.explorer.visits import address

    for page in ("chain", "block/1", "block/0", "search", "verify"):
        answer = client.get(address(page, ODD))
        assert answer.status == 200, page
        assert "<run>" not in answer.text
        assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in words(answer)


@pytest.mark.parametrize(
    ("run", "status", "told"),
    [
        ("broken", 422, "no SQLite file"),
        ("torn", 422, "the file is damaged"),
        ("foreign", 422, "its journal is of another kind"),
        ("folder", 422, "Is a directory"),
        ("linked", 422, "a link to another place"),
        ("empty", 422, "there is no chain here"),
        ("none", 404, "there is no such run here"),
        ("../run", 404, ""),
        ("run/chain.sqlite", 404, ""),
    ],
)
def test_what_is_no_chain_is_one_line(client: Client, run: str, status: int, told: str) -> None:
    for page in ("chain", "block/1", "search"):
        answer = client.get(f"/{page}/{run}?q=server+1")
        assert answer.status == status, words(answer)
        assert told in words(answer)


def test_a_writer_in_the_way_is_said(
    client: Client, explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*arguments: object) -> None:
        raise Busy("busy")

    monkeypatch.setattr("bfedrec.explorer.chain.read_live", busy)
    for page in ("chain", "block/1", "search"):
        answer = client.get(f"/{page}/run?q=3")
        assert answer.status == 503
        assert "Please load the page again" in answer.text


def test_many_blocks_are_paged(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    keeper = Keeper(tmp_path / "run" / "chain.sqlite", TOY.genesis)
    keeper.write_all(RESULTS)
    explorer = Explorer(Places(tmp_path))
    with serving(application(explorer)) as port:
        client = Client(port)
        page = client.get("/chain/run?from=2")
        assert re.findall(r'rel="prev" href="([^"]*)"', page.text) == ["/chain/run?from=5"]
        assert PER_PAGE > 2
        assert 'rel="next"' not in page.text
        block = client.get("/block/5/run")
        assert "not shown: the genesis describes no global model" in words(block)


def test_pages_change_no_file(folder: Path, client: Client) -> None:
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in (folder / "run").iterdir()}
    for page in ("chain/run", "block/2/run", "search/run?q=server+1", "verify/run?go=1"):
        client.get(f"/{page}")
    assert waited(client, "/verify/run")
    after = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in (folder / "run").iterdir()}
    assert after == before


def test_pages_load_no_library_of_training(client: Client) -> None:
    """Nor does a block's move of Q; a process of its own shows it."""
    code = (
        "import sys, bfedrec.web.explorer.app\n"
        "print([m for m in ('torch', 'numba', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    assert os.popen(f'{sys.executable} -c "{code}"').read() == "[]\n"


# -- verification ----------------------------------------------------------------------------------


def waited(client: Client, path: str) -> str:
    """The words of a verification's page once there is a result."""
    for _ in range(600):
        page = client.get(path)
        if "Verifying:" not in page.text:
            return words(page)
        time.sleep(0.05)
    raise AssertionError("it does not end")


def test_a_block_and_a_chain_are_verified_on_demand(client: Client) -> None:
    assert "Not verified yet" in words(client.get("/verify/run?height=2"))
    # An address that somebody made up does not use up all numbers.
    odd = client.get("/verify/run?height=2&go=999999999")
    assert "Not verified yet" in words(odd)
    assert "go=1" in odd.text
    begun = client.get("/verify/run?height=2&go=1")
    assert "Verifying" in begun.text
    assert 'data-live="/verifying/run?height=2"' in begun.text
    assert '<noscript><meta http-equiv="refresh"' in begun.text
    text = waited(client, "/verify/run?height=2&go=1")  # not begun again
    assert "height 2: header, parent and timestamp" in text
    assert "go=2" in client.get("/verify/run?height=2").text
    client.get("/verify/run?go=1")
    assert "3 blocks, 12 VRF proofs" in waited(client, "/verify/run?go=1")
    assert client.get("/verify/run?height=x").status == 400


def test_progress_is_told_live(client: Client) -> None:
    assert client.get("/verifying/run?height=3").status == 404
    client.get("/verify/run?height=3&go=1")
    told = client.get("/verifying/run?height=3").text
    assert told.rstrip().endswith("event: done\r\ndata:")
    assert "height 3: " in words(client.get("/verify/run?height=3"))


def test_what_is_wrong_with_a_chain_is_told(client: Client, folder: Path) -> None:
    client.get("/verify/torn?go=1")
    assert "cannot be verified: " in waited(client, "/verify/torn?go=1")


def test_one_verification_of_a_run_at_a_time_and_few_in_all(
    client: Client, explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = [sys.executable, "-c", "import time; time.sleep(600)"]
    begin = verifications.subprocess.Popen

    def slow(command: list[str], **options: object) -> object:
        return begin(endless, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(verifications.subprocess, "Popen", slow)
    monkeypatch.setattr(verifications, "PATIENCE", 1e9)
    assert client.get("/verify/run?height=1&go=1").status == 200
    assert client.get("/verify/run?height=1&go=1").status == 200
    other = client.get("/verify/run?height=2&go=1")
    assert (other.status, "Another verification of this run" in other.text) == (429, True)
    assert client.get("/verify/broken?go=1").status == 200
    assert client.get("/verify/torn?go=1").status == 429
    jobs = list(explorer.verifications._jobs.values())
    assert [job.running for job in jobs] == [True, True]
    monkeypatch.setattr(verifications, "PATIENCE", -1.0)  # nobody waits any more
    for job in jobs:
        assert job.process.wait(60) != 0
    assert "given up" in waited(client, "/verify/run?height=1")
