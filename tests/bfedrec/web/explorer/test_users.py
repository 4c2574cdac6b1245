"""The page of a run's users, without the process that scores them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
import pytest

from bfedrec.explorer.places import Places
from bfedrec.explorer.recommendations import READ, Library, Scored
from bfedrec.runs.folder import RunError
from bfedrec.runs.ranks import Ranks
from bfedrec.web.explorer import app
from bfedrec.web.explorer.state import Explorer
from tests.helpers.axe import serious_violations
from tests.helpers.browser import browsing, visitor
from tests.helpers.npm import Unavailable
from tests.helpers.web import Client, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = "<script>alert(1)</script>\u202e\"'"
USERS, ITEMS = 60, 30


class Shelf(Library):
    """Answers that a test puts in."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, Scored | RunError | None] = {}

    def ask(self, run: Path, patience: float) -> Scored | None:
        found = self.known[run.name]
        if isinstance(found, RunError):
            raise found
        return found


def answer(turn: int = 0, digest: str = "d" * 64) -> Scored:
    """Users u0, u1, ..., of whom the last is malicious, with the items of `turn` and its nine
    followers in the list of each."""
    told = {
        "digest": digest,
        "users": [HOSTILE, *(f"u{number}" for number in range(1, USERS))],
        "items": [f"i{number}" for number in range(ITEMS)],
        "titles": [HOSTILE, *(f"Title {number}" for number in range(1, ITEMS - 1)), ""],
        "targets": [turn + 1],
        "attacks": ["push"],
    }
    best = np.tile(np.arange(turn, turn + 10, dtype=np.int32), (USERS, 1))
    arrays = {
        "indptr": np.arange(0, 3 * USERS + 1, 3),
        "indices": np.tile(np.array([27, 28, 29], np.int32), USERS),
        "places": np.tile(np.array([2, 0, -1], np.int32), USERS),
        "validation": np.full(USERS, -1),
        "test": np.full(USERS, 9),
        "group": np.array([-1] * (USERS - 1) + [0], np.int16),
        "best": best,
        "scores": np.tile(np.linspace(1, 0.1, 10, dtype=np.float32), (USERS, 1)),
    }
    return Scored(told, arrays, 1000)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Answers about two runs in the folder "runs", the second with an attack."""
    found = Shelf()
    for number, name in enumerate(("clean", "attacked")):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        (run / "manifest.json").write_text(json.dumps({"data_digest": "d" * 64}))
        ranks = np.full(USERS, 9) + 3 * number * (np.arange(USERS) == 41)
        (run / "ranks.npz").write_bytes(Ranks(ranks, 2 * ranks).encode())
        found.known[name] = answer(3 * number)
    return found


@pytest.fixture
def client(shelf: Shelf, tmp_path: Path) -> Iterator[Client]:
    explorer = Explorer(Places(tmp_path / "runs"), library=shelf)
    with serving(app.application(explorer)) as port:
        yield Client(port)


def test_all_users_are_listed_with_their_ranks(client: Client) -> None:
    page = client.get("/users/clean")
    assert page.status == 200
    assert "60 users" in page.text
    assert page.text.count("<tr>") == 51
    assert 'value="attacked"' in page.text
    assert ">10</td>" in page.text
    assert ">19</td>" in page.text
    assert "rank there" not in page.text


def test_those_that_moved_most_stand_first(client: Client) -> None:
    page = client.get("/users/clean?with=attacked").text
    body = page[page.index("<tbody>") :]
    assert body.index(">u41<") < body.index("</tr>")
    assert ">+6</td>" in body
    assert 'href="/users/clean?user=u41&amp;with=attacked"' in body


def test_one_user_has_history_ranks_and_a_list(client: Client) -> None:
    page = client.get("/users/clean?user=u41").text
    assert "3 training interactions; held out: <bdi>Title 9</bdi>" in page
    history = page[page.index('id="history"') :]
    assert history.index("Title 28") < history.index("Title 27") < history.index("i29")
    assert "as far as their order is known" in history
    assert page.count("held out</span>") == 1
    assert page.count("target</span>") == 1
    assert "not there" not in page
    assert "1.0000" in page
    assert "its client is malicious" not in page
    assert "its client is malicious" in client.get("/users/clean?user=u59").text


def test_two_runs_side_by_side_mark_what_moved_in_and_out(client: Client) -> None:
    page = client.get("/users/clean?user=u41&with=attacked").text
    first, second = page.split('id="side-2"')
    first = first[first.index('id="side-1"') :]
    second = second[: second.index('id="history"')]
    assert first.count("not there") == second.count("not there") == 3
    assert [
        each for each in ("Title 1<", "Title 12<") if (each in first) is not (each in second)
    ] == ["Title 1<", "Title 12<"]
    assert "place 1</td>" in first
    assert "place 10</td>" in second
    assert ">19</dd>" in first
    assert ">25</dd>" in second


def test_runs_on_other_data_do_not_stand_beside(client: Client, shelf: Shelf) -> None:
    shelf.known["attacked"] = answer(0, "e" * 64)
    page = client.get("/users/clean?user=u41&with=attacked")
    assert page.status == 200
    assert "made on other data" in page.text
    assert 'id="side-2"' not in page.text


@pytest.mark.parametrize("other", ["nothing", "../clean", "/etc", "a\0b", HOSTILE])
def test_a_run_that_is_not_there_is_a_note(client: Client, other: str) -> None:
    page = client.get(f"/users/clean?user=u41&with={quote(other)}")
    assert page.status == 200
    assert "cannot stand beside this run" in page.text
    assert "<script>alert" not in page.text


def test_a_user_that_is_not_there_is_told_so(client: Client) -> None:
    page = client.get("/users/clean?user=nobody")
    assert page.status == 404
    assert "No user has the id <bdi>nobody</bdi>" in page.text


def test_hostile_ids_and_titles_are_escaped(client: Client, shelf: Shelf) -> None:
    page = client.get(f"/users/clean?user={quote(HOSTILE)}&with=attacked")
    assert page.status == 200
    for text in (page.text, client.get("/users/clean").text):
        assert "<script>alert" not in text
        assert "\u202e" not in text
        assert "&lt;script&gt;" in text


def test_a_page_that_cannot_wait_is_asked_for_again(client: Client, shelf: Shelf) -> None:
    shelf.known["clean"] = None
    page = client.get("/users/clean?user=u4&with=attacked")
    assert page.status == 200
    assert int(page.headers["Refresh"]) > 0
    assert 'href="/users/clean?user=u4&amp;with=attacked"' in page.text
    shelf.known["clean"], shelf.known["attacked"] = answer(), None
    assert "Refresh" in client.get("/users/clean?with=attacked").headers
    assert "Refresh" not in client.get("/users/clean").headers


def test_a_run_without_lists_says_why(client: Client, shelf: Shelf) -> None:
    found = answer()
    told = {**found.told, "unscored": "not a finished run: continue it with --resume"}
    arrays = {key: each for key, each in found.arrays.items() if key not in ("best", "scores")}
    shelf.known["clean"] = replace(found, told=told, arrays=arrays)
    page = client.get("/users/clean?user=u41").text
    assert "No list: <bdi>not a finished run" in page
    assert "Title 28" in page


def test_a_run_that_cannot_be_shown_is_one_line(client: Client, shelf: Shelf) -> None:
    shelf.known["clean"] = RunError("not a run folder: it has no config.yaml")
    page = client.get("/users/clean")
    assert page.status == 422
    assert "not a run folder" in page.text


def test_ranks_of_other_users_are_refused(client: Client, tmp_path: Path) -> None:
    few = Ranks(np.zeros(3, np.int64), None)
    (tmp_path / "runs" / "clean" / "ranks.npz").write_bytes(few.encode())
    assert client.get("/users/clean").status == 422


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize(("run", "status"), [("clean", 422), ("attacked", 200)])
def test_files_that_are_links_are_not_read(
    client: Client, tmp_path: Path, name: str, run: str, status: int
) -> None:
    place = tmp_path / "runs" / run / name
    place.unlink(missing_ok=True)
    place.symlink_to(tmp_path / "elsewhere")
    page = client.get("/users/clean?user=u41&with=attacked")
    assert f"{name}: a link to another place, which is not followed" in page.text
    assert page.status == status
    assert 'id="side-2"' not in page.text


def test_a_name_that_is_no_text_is_not_offered(client: Client, tmp_path: Path) -> None:
    odd = tmp_path / "runs" / os.fsdecode(b"odd\xff")
    odd.mkdir()
    (odd / "manifest.json").write_text(json.dumps({"data_digest": "d" * 64}))
    page = client.get("/users/clean?user=u41")
    assert page.status == 200
    assert ">attacked<" in page.text or 'value="attacked"' in page.text
    assert "odd" not in page.text


# -- in a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["", "?with=attacked", "?user=u41&with=attacked"])
def test_pages_are_readable_and_accessible(
    browser: Browser, client: Client, path: str, scheme: str
) -> None:
    size = {"width": 400, "height": 900}
    with visitor(browser, client.port, color_scheme=scheme, viewport=size) as page:
        page.goto(f"/users/clean{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        try:
            assert serious_violations(page) == []
        except Unavailable as error:
            pytest.skip(str(error))


def test_a_user_is_found_through_the_form(browser: Browser, client: Client) -> None:
    with visitor(browser, client.port) as page:
        page.goto("/users/clean")
        page.get_by_label("User, by its id").fill("u41")
        page.get_by_label("Beside the run").fill("attacked")
        page.get_by_role("button", name="Show").click()
        page.wait_for_url("**/users/clean?user=u41&with=attacked")
        assert page.get_by_text("not there").count() == 6
