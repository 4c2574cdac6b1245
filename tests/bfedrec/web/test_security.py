"""What every page is served with: headers, hosts, bounded bodies, patience; and static files."""

from __future__ import annotations

import gzip
import hashlib
import socket
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bfedrec.connections import PatientConnection
from bfedrec.plaintext import plain, size
from bfedrec.web import assets
from bfedrec.web.pages import short
from bfedrec.web.security import POLICY, BoundedBodies, OneHost, SafeHeaders
from tests.helpers.web import PATIENCE, Client, serving

MOST = 2000


async def length(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def refused(request: Request) -> Response:
    """An answer that does not wait for the body."""
    return PlainTextResponse("no", 403)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    app = Starlette(
        routes=[
            Route("/length", length, methods=["GET", "POST"]),
            Route("/refused", refused, methods=["POST"]),
            Route("/static/{digest}/{name}", assets.serve),
        ],
        middleware=[
            Middleware(SafeHeaders, https=True),
            Middleware(OneHost, hosts=["shops.test"], origins=["https://shops.test"]),
            Middleware(BoundedBodies, most=lambda path: MOST, piece_seconds=0.5, body_seconds=1.0),
        ],
    )
    with serving(app) as found:
        yield found


HOST = {"Host": "shops.test"}


def test_every_answer_has_the_headers(port: int) -> None:
    client = Client(port)
    for method, path in (("GET", "/length"), ("GET", "/none"), ("PUT", "/length")):
        headers = client.ask(method, path, headers=HOST).headers
        assert headers["Content-Security-Policy"] == POLICY
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "max-age" in headers["Strict-Transport-Security"]
        assert "Server" not in headers
    assert "unsafe" not in POLICY


@pytest.mark.parametrize(
    "host", ["evil.test", "shops.test.evil.test", "shops.test:1", "SHOPS.test."]
)
def test_other_names_are_not_answered(port: int, host: str) -> None:
    answer = Client(port).ask("GET", "/length", headers={"Host": host})
    assert answer.status == 421
    assert "Content-Security-Policy" in answer.headers


def test_forms_of_other_origins_are_refused(port: int) -> None:
    client = Client(port)
    for origin, status in (
        ("https://shops.test", 200),
        ("http://shops.test", 403),
        ("https://evil.test", 403),
        ("null", 403),
    ):
        headers = {**HOST, "Origin": origin}
        assert client.ask("POST", "/length", b"x", headers).status == status
    assert client.ask("POST", "/length", b"x", HOST).status == 200


def sent(port: int, content: bytes) -> bytes:
    """All that the server says to some bytes until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(content)
        told = b""
        while piece := connection.recv(65536):
            told += piece
    return told


HEAD = b"POST %s HTTP/1.1\r\nHost: shops.test\r\n"


def test_bodies_are_bounded(port: int) -> None:
    client = Client(port)
    assert client.ask("POST", "/length", b"x" * MOST, HOST).text == str(MOST)
    assert client.ask("POST", "/length", b"x" * (MOST + 1), HOST).status == 413
    chunk = b"%x\r\n%s\r\n" % (1500, b"x" * 1500)
    told = sent(port, HEAD % b"/length" + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 2)
    assert told.startswith(b"HTTP/1.1 413")
    for wrong in (b"99999999999999999999", b"2001"):
        told = sent(port, HEAD % b"/length" + b"Content-Length: %s\r\n\r\n" % wrong)
        assert told.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))


def test_a_body_that_does_not_come_is_given_up(port: int) -> None:
    told = sent(port, HEAD % b"/length" + b"Content-Length: 10\r\n\r\nxx")
    assert told.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in told.lower()


def test_connections_that_ask_nothing_are_closed(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatientConnection, "idle_seconds", 0.2)
    assert sent(port, b"") == b""
    assert sent(port, b"GET /length HTTP/1.1\r\nHost: sho") == b""
    # The answer has come, the body never does.
    told = sent(port, HEAD % b"/refused" + b"Content-Length: 1000\r\n\r\nxx")
    assert told.startswith(b"HTTP/1.1 403")


def test_long_heads_are_refused(port: int) -> None:
    told = sent(port, b"GET /length HTTP/1.1\r\nHost: shops.test\r\nX: " + b"x" * 40_000)
    assert told.startswith(b"HTTP/1.1 400")


def test_static_files_are_served_by_their_digest(port: int) -> None:
    client = Client(port)
    for name, asset in assets.assets().items():
        answer = client.ask("GET", asset.url, headers=HOST)
        assert answer.status == 200
        assert answer.body == asset.content
        assert hashlib.sha256(answer.body).hexdigest().startswith(asset.url.split("/")[2])
        assert "immutable" in answer.headers["Cache-Control"]
        kind = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
        assert answer.headers["Content-Type"].startswith(kind[name.rpartition(".")[2]])
    asset = assets.assets()[assets.PLOTLY]
    packed = client.ask("GET", asset.url, headers={**HOST, "Accept-Encoding": "gzip"})
    assert len(packed.body) < len(asset.content) / 2
    assert gzip.decompress(packed.body) == asset.content


@pytest.mark.parametrize(
    "path",
    [
        "/static/{}/../accounts.py",
        "/static/{}/..%2faccounts.py",
        "/static/{}/%2e%2e/accounts.py",
        "/static/{}/style.css%00",
        "/static/{}//etc/passwd",
        "/static/0000000000000000/style.css",
        "/static/../style.css",
        "/static/{}/",
        "/static/{}/mark.svg",
        "//static/{}/style.css",
    ],
)
def test_nothing_else_is_served(port: int, path: str) -> None:
    digest = assets.assets()["style.css"].digest
    assert Client(port).ask("GET", path.format(digest), headers=HOST).status == 404


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ok.csv", "ok.csv"),
        ("a\x00b\r\nc", "a�b��c"),
        ("evil\u202etxt.exe", "evil�txt.exe"),
        ("zero\u200bwidth", "zero�width"),
        ("x" * 81, "x" * 80 + "…"),
        ("", ""),
    ],
)
def test_foreign_texts_are_shown_plainly(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_numbers_and_names_for_people() -> None:
    assert [size(each) for each in (999, 1000, 2_500_000, 3 * 10**9)] == [
        "999 B",
        "1.0 KB",
        "2.5 MB",
        "3.0 GB",
    ]
    assert short("0x" + "1234567890" * 4) == "0x123456…567890"
    assert short("short") == "short"
