"""The guards around every page of the explorer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bfedrec.explorer.places import Places
from bfedrec.runs.folder import RunError
from bfedrec.web.explorer import app
from bfedrec.web.explorer.state import LISTENERS, Explorer
from bfedrec.web.explorer.visits import Visit, address
from tests.helpers import shown
from tests.helpers.web import Client, serving


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with serving(app.application(Explorer(Places(tmp_path)))) as port:
        yield Client(port)


def test_pages_have_safe_headers_and_nothing_from_elsewhere(client: Client) -> None:
    page = client.get("/")
    assert page.status == 200
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert "http://" not in page.text
    assert "https://" not in page.text


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:9000", 200),  # a tunnel has a port of its own
        ("127.0.0.1:1", 200),
        ("[::1]:9000", 200),
        ("evil.example", 421),
        ("localhost.evil.example:80", 421),
        ("localhost:80:80", 421),
        ("localhost:x", 421),
    ],
)
def test_only_names_of_this_machine_are_answered(client: Client, host: str, status: int) -> None:
    assert client.ask("GET", "/", headers={"Host": host}).status == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_sent(client: Client, method: str) -> None:
    assert client.ask(method, "/").status == 405


@pytest.mark.parametrize("path", ["/nothing", "/run/", "/static/0/../../etc/passwd", "/%00"])
def test_what_does_not_exist_is_a_page_that_says_so(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status == 404
    assert "no such page" in answer.text


def test_a_broken_folder_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(visit: Visit) -> None:
        raise RunError("run: <b>broken</b>")

    monkeypatch.setattr(app, "PAGES", (app.Page("/", broken),))
    with serving(app.application(Explorer(Places(tmp_path)))) as port:
        answer = Client(port).get("/")
    assert answer.status == 422
    assert "run: &lt;b&gt;broken&lt;/b&gt;" in answer.text


def test_an_error_of_ours_tells_the_visitor_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(visit: Visit) -> None:
        raise KeyError("a secret")

    monkeypatch.setattr(app, "PAGES", (app.Page("/", broken),))
    with serving(app.application(Explorer(Places(tmp_path)))) as port:
        answer = Client(port).get("/")
    assert answer.status == 500
    assert "secret" not in answer.text
    assert "a secret" in capfd.readouterr().err


def test_listeners_are_counted() -> None:
    explorer = Explorer(Places(Path(".")))
    held = [explorer.listening() for _ in range(LISTENERS)]
    for each in held:
        each.__enter__()
    with pytest.raises(Exception, match="429"), explorer.listening():
        pass
    held[0].__exit__(None, None, None)
    with explorer.listening():
        pass


def test_addresses_are_quoted() -> None:
    assert address("block/7", "a run/<s>?#") == "/block/7/a%20run/%3Cs%3E%3F%23"
    assert address("users", "r", user="a&b", top=3) == "/users/r?user=a%26b&top=3"


def test_half_a_character_is_shown_as_a_mark(tmp_path: Path) -> None:
    half = '"\\ud800"'
    shown.write_run(tmp_path / "run", end=shown.summary())
    place = tmp_path / "run" / "summary.json"
    place.write_text(
        place.read_text().replace('"bafyhead"', half).replace("full_hr@10", "\\ud800@10")
    )
    shown.write_run(tmp_path / "more")
    place = tmp_path / "more" / "metrics.jsonl"
    place.write_text(place.read_text().replace("ndcg@10", "\\ud800@10"))
    compact = tmp_path / "compact"
    compact.mkdir()
    (compact / "runs.jsonl").write_text(f'{{"overrides": [{half}], "rounds": {half}}}\n')
    paths = ("/run/run", "/run/more", "/curves/more", "/curves?run=more", "/sweep/compact", "/")
    with serving(app.application(Explorer(Places(tmp_path)))) as port:
        answers = {path: Client(port).get(path) for path in paths}
    assert {path: answer.status for path, answer in answers.items()} == dict.fromkeys(paths, 200)
    answers["/sweep/compact"].body.decode()
