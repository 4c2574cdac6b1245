"""The portal's pages as attackers use them: as nobody, as another merchant, with forged forms."""

from __future__ import annotations

import gzip
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser

import pytest
from starlette.routing import Route

from bfedrec.web.portal.app import PAGES, Access, application
from bfedrec.web.portal.state import AT_ONCE
from bfedrec.web.portal.uploads import MOST_BYTES
from tests.helpers.portal import ONE_TIME, OWN, Served, portals
from tests.helpers.web import PATIENCE, Answer, Client

OPEN = {"/login"}
#: What stands for the parts of a path that vary.
PARTS = {"number": "1", "digest": "0123456789abcdef", "name": "style.css"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with portals(tmp_path_factory.mktemp("attacks")) as found:
        yield found


@pytest.fixture(scope="module")
def owner(served: Served) -> Client:
    """The merchant that has something: an upload, number 1."""
    client = served.client("shop-0")
    client.get("/contribute")
    assert client.upload("/uploads", events(served)).where == "/uploads/1"
    return client


def events(served: Served) -> bytes:
    path = served.shops.folder / "shop-0" / "events" / "events.csv"
    return b"".join(path.read_bytes().splitlines(keepends=True)[:20])


def routes(served: Served) -> list[tuple[str, str]]:
    """Every route of the application: method and path, with `PARTS` in it."""
    found = []
    for route in application(served.portal).routes:
        assert isinstance(route, Route)
        assert route.methods
        path = re.sub(r"\{(.*?)\}", lambda part: PARTS[part[1]], route.path)
        found += [(method, path) for method in sorted(route.methods - {"HEAD"})]
    assert len(found) == len(PAGES) + 1
    return found


def asked(client: Client, method: str, path: str) -> Answer:
    if path == "/uploads":
        return client.upload(path, b"x")
    return client.get(path) if method == "GET" else client.post(path)


def state(served: Served) -> object:
    """Everything that a request could have changed."""
    folder = served.folder
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "store.sqlite" not in path.name
    }
    return files, served.shops.registry.node.web3.eth.block_number


def test_nobody_gets_to_log_in_and_nowhere_else(served: Served, owner: Client) -> None:
    before = state(served)
    for method, path in routes(served):
        client = Client(served.port)
        client.get("/login")  # with a token that is genuine for nobody
        answer = asked(client, method, path)
        if path.startswith("/static"):
            assert answer.status == 404
        elif path in OPEN:
            assert answer.status in (200, 403)
        else:
            assert (answer.status, answer.where) in ((303, "/login"), (401, ""))
            assert answer.body == b"" or b"shop-0" not in answer.body
    assert state(served) == before


def test_another_merchant_sees_and_changes_nothing(served: Served, owner: Client) -> None:
    before = state(served)
    name = "my secret file"
    owner.get("/contribute")
    place = owner.upload("/uploads", events(served), name).where
    mine = owner.get("/home").text
    tokens = {owner.token}
    other = served.client("shop-1")
    other.get("/contribute")
    for method, path in routes(served):
        if path in ("/train", "/aggregate", "/logout", "/password", "/login"):
            continue  # act for whoever is logged in: below, and in the tests of flows
        answer = asked(other, method, path.replace("/1", place.removeprefix("/uploads")))
        if "/uploads/" in path:
            assert answer.status == 404, path
        assert name not in answer.text
        assert not tokens & set(re.findall("[0-9a-f]{64}", answer.text))
    # Whatever names a merchant in a query, a form or a header is not looked at.
    for query in ("?merchant=shop-0", "?name=shop-0", "?user=shop-0"):
        page = other.ask("GET", f"/home{query}", headers={"X-Merchant": "shop-0"})
        assert "Good to see you, shop-1" in page.text
        assert page.text != mine
    number = place.rpartition("/")[2]
    owner.get(place)
    assert owner.post(f"/uploads/{number}/discard").status == 303
    assert state(served) == before


def test_a_job_is_that_of_who_is_logged_in(served: Served) -> None:
    client = served.client("shop-1")
    client.get("/contribute")
    assert client.post("/train", merchant="shop-0", name="shop-0").status == 303
    told = client.get("/live").text
    assert "done" in told
    # The other's page tells nothing of it, nor does its live page.
    other = served.client("shop-0")
    assert "event: losses\r\ndata: {&quot;epoch" not in other.get("/live").text
    assert served.portal.market.jobs.progress("shop-0").kind == ""
    assert served.portal.market.jobs.progress("shop-1").kind == "Training"
    assert not served.portal.market.shop("shop-0").workspace.trained_rounds()


def posts(served: Served) -> list[str]:
    return [path for method, path in routes(served) if method == "POST"]


def test_forms_without_their_token_are_refused(served: Served, owner: Client) -> None:
    before = state(served)
    stolen = served.client("shop-1")
    for path in posts(served):
        for token in ("", "0" * 64, stolen.token, owner.token[:-1], "ö", "x" * 5000):
            client = Client(served.port, dict(owner.cookies), token)
            answer = asked(client, "POST", path)
            assert answer.status == 403, (path, token)
            assert "no longer valid" in answer.text
        # Neither in the address nor as another kind of body.
        kept = owner.token
        bare = Client(served.port, dict(owner.cookies))
        assert bare.ask("POST", f"{path}?token={kept}").status == 403
        headers = {"Content-Type": "application/json"}
        body = f'{{"token": "{kept}"}}'.encode()
        assert bare.ask("POST", path, body, headers).status == 403
        headers = {"Content-Type": "text/plain"}
        assert bare.ask("POST", path, f"token={kept}".encode(), headers).status == 403
    assert state(served) == before
    assert owner.get("/home").status == 200


def test_forms_of_other_pages_are_refused(served: Served, owner: Client) -> None:
    owner.get("/home")
    for origin in ("null", "http://evil.test", f"https://127.0.0.1:{served.port}"):
        headers = {
            "Origin": origin,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        answer = owner.ask("POST", "/logout", f"token={owner.token}".encode(), headers)
        assert answer.status == 403
    assert owner.get("/home").status == 200


def test_other_names_of_the_server_are_not_answered(served: Served, owner: Client) -> None:
    for host in ("evil.test", f"evil.test:{served.port}", "127.0.0.1", f"[::1]:{served.port}"):
        answer = owner.ask("GET", "/home", headers={"Host": host})
        assert answer.status == 421
    named = owner.ask(
        "GET", "/", headers={"X-Forwarded-Host": "evil.test", "Forwarded": "host=evil.test"}
    )
    assert named.where == "/home"
    assert owner.ask("GET", "/home", headers={"Host": f"localhost:{served.port}"}).status == 200


def test_a_session_cannot_be_chosen_by_others(served: Served) -> None:
    fixed = "a-cookie-of-the-attacker"
    for name in ("session", "stranger", "__Host-session"):
        client = Client(served.port, {name: fixed})
        client.get("/login")
        client.post("/login", merchant="shop-2", password=OWN["shop-2"])
        assert client.cookies["session"] != fixed
        assert client.get("/home").status == 200
        assert Client(served.port, {"session": fixed}).get("/home").status == 303
    # A second log-in has a new cookie, too; log-out ends the session at the server.
    first = dict(client.cookies)
    client.log_in("shop-2", OWN["shop-2"])
    again = served.client("shop-2")
    assert again.cookies["session"] != first["session"]
    again.post("/logout")
    assert (
        Client(served.port, {"session": again.cookies.get("session", "")}).get("/home").status
        == 303
    )


@pytest.mark.parametrize(
    "cookie", ["", "x", "../../../etc/passwd", "%00", "é", "x" * 8000, '"; session="y', "\u2028"]
)
def test_odd_cookies_are_nobodys(served: Served, cookie: str) -> None:
    headers = {"Cookie": f"session={cookie}".encode().decode("latin-1")}
    answer = Client(served.port).ask("GET", "/home", headers=headers)
    assert (answer.status, answer.where) == (303, "/login")


# -- injection ------------------------------------------------------------------------------------

MARKS = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}", "javascript:x"]
NAMES = [
    *MARKS,
    "../../../../etc/passwd",
    "..\\..\\key.json",
    "a\x00b.csv",
    "x" * 5000,
    "\u202efdp.csv",
    "\u2028\ufeff\u200b",
    "CON",
    "",
    ".",
    "..",
    "key.json",
    ".lock",
    "con\r\nSet-Cookie: session=x",
]


class Elements(HTMLParser):
    """The elements of a page, and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


def harmless(text: str) -> None:
    """No element or attribute of a page comes from a text."""
    for tag, attributes in Elements(text).found:
        assert not any(name.startswith("on") for name in attributes)
        assert "style" not in attributes
        assert tag != "img" or "onerror" not in attributes
        assert tag != "script" or "src" in attributes
    assert "49" not in re.findall(r"\b49\b", text) or "{{7*7}}" in text


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files_are_texts(served: Served, name: str) -> None:
    client = served.client("shop-2")
    client.get("/contribute")
    quoted = name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
    before = {path for path in served.folder.rglob("*") if "shop-2" not in path.parts}
    answer = client.upload("/uploads", events(served), quoted)
    if answer.status == 400:  # a header that is none, as one with NUL
        return
    assert answer.status == 303
    for path in (answer.where, "/contribute"):
        page = client.get(path)
        assert page.status == 200
        harmless(page.text)
        assert "<script>alert" not in page.text
        assert "\u202e" not in page.text
        assert "Set-Cookie" not in page.headers
    assert len(client.get(answer.where).text) < 60_000
    client.get("/contribute")
    assert client.post(f"{answer.where}/keep").status == 303
    harmless(client.get("/contribute").text)
    folder = served.shops.folder / "shop-2" / "events"
    kept = sorted(folder.iterdir())[-1]
    assert kept.name.startswith("upload-")
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,90}", kept.name)
    assert kept in served.portal.market.shop("shop-2").workspace.event_files()
    assert {path for path in served.folder.rglob("*") if "shop-2" not in path.parts} == before
    kept.unlink()


def test_brands_and_categories_are_texts(served: Served) -> None:
    client = served.client("shop-2")
    shop = served.portal.market.shop("shop-2")
    head, *rows = events(served).splitlines(keepends=True)
    rows = []
    for place, mark in enumerate(MARKS):
        quoted = mark.replace('"', '""')
        rows.append(
            f'2019-10-01 00:00:07 UTC,view,{place},1,"{quoted}","{quoted}",1.0,7,{place}\n'.encode()
        )
    rows.append('2019-10-01 00:00:07 UTC,view,5,1,a,"b\u202ec",1.0,7,s\n'.encode())
    client.get("/contribute")
    answer = client.upload("/uploads", head + b"".join(rows))
    page = client.get(answer.where)
    harmless(page.text)
    assert "&lt;script&gt;" in page.text
    assert "\u202e" not in page.text
    assert "not in the merchants' catalogue" in page.text
    # They are featured, if nothing else is on the shelf.
    own = shop.workspace.event_files()
    beside = [path.rename(path.with_suffix(".away")) for path in own]
    moved = [path.rename(served.folder / path.name) for path in beside]
    try:
        client.post(f"{answer.where}/keep")
        page = client.get("/home")
        assert page.status == 200
        harmless(page.text)
        assert "alert(1)" in page.text or "{{7*7}}" in page.text
    finally:
        for path in shop.workspace.event_files():
            path.unlink()
        for path, before in zip(moved, own, strict=True):
            path.rename(before)


@pytest.mark.parametrize("text", [*MARKS, "x" * 5000, "\u202eshop-0", "shop-0\x00", "é" * 400])
def test_texts_at_log_in_are_texts(served: Served, text: str) -> None:
    served.portal.by_address.forget("127.0.0.1")
    answer = Client(served.port).log_in(text, text)
    assert answer.status == 403
    harmless(answer.text)
    assert len(answer.text) < 6_000


# -- paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/uploads/..%2f..%2fkey.json",
        "/uploads/../../key.json",
        "/uploads/1/../../../key.json",
        "/uploads/%2e%2e/key.json",
        "/uploads/1%00/bad.csv",
        "/uploads/1/bad.csv/../../../key.json",
        "/uploads/-1",
        "/uploads/01e5",
        "/uploads/99999999999999999999999999",
        "/uploads/" + "9" * 5000,
        "/uploads/1/key.json",
        "/static/../key.json",
        "/accounts.json",
        "/merchants/shop-0/key.json",
        "//etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/login/",
        "/record/verify",
    ],
)
def test_paths_lead_nowhere(served: Served, owner: Client, path: str) -> None:
    answer = owner.ask("GET", path)
    assert answer.status in (404, 405, 307)
    assert b"key" not in answer.body.replace(b"keyboard", b"")
    assert "0x" not in answer.text
    if answer.status == 307:
        assert answer.where.startswith(f"http://127.0.0.1:{served.port}/")


@pytest.mark.parametrize(
    "query", ["page=-1", "page=x", "page=" + "9" * 5000, "page=%00", "page=%D9%A3"]
)
def test_odd_pages_of_the_record_are_the_nearest(served: Served, owner: Client, query: str) -> None:
    answer = owner.get(f"/record?{query}")
    assert answer.status == 200
    assert "Transactions" in answer.text


# -- bounds ---------------------------------------------------------------------------------------


def raw(served: Served, client: Client, path: str, headers: str, body: bytes = b"") -> bytes:
    """The answer to a request that is written by hand."""
    cookie = "; ".join(f"{k}={v}" for k, v in client.cookies.items())
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nCookie: {cookie}\r\n{headers}"
    address = ("127.0.0.1", served.port)
    with closing(socket.create_connection(address, timeout=PATIENCE)) as connection:
        connection.sendall(head.encode() + b"\r\n" + body)
        return connection.recv(65536)


def test_long_bodies_are_refused_before_they_come(served: Served, owner: Client) -> None:
    kind = "Content-Type: multipart/form-data; boundary=x\r\n"
    long = f"{kind}Content-Length: {MOST_BYTES + 10**6}\r\n"
    assert raw(served, owner, "/uploads", long).startswith(b"HTTP/1.1 413")
    for path in posts(served):
        if path != "/uploads":
            told = raw(served, owner, path, f"{kind}Content-Length: 20000\r\n")
            assert told.startswith(b"HTTP/1.1 413")
    # Nobody's upload is not read at all.
    nobody = Client(served.port)
    assert raw(served, nobody, "/uploads", f"{kind}Content-Length: 60000000\r\n").startswith(
        b"HTTP/1.1 303"
    )


def test_odd_forms_are_refused(served: Served, owner: Client) -> None:
    owner.get("/contribute")
    folder = served.portal.market.shop("shop-0").uploads.folder
    before = sorted(folder.rglob("*"))
    edge = "multipart/form-data; boundary=x"
    part = b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    token = part % (b"token", b"", owner.token.encode())
    file = part % (b"file", b'; filename="a.csv"', b"x")
    for kind, body, statuses in (
        (edge, token + file + file + b"--x--\r\n", (400,)),
        (edge, token + part % (b"a", b"", b"x") * 20 + b"--x--\r\n", (400,)),
        (edge, token + part % (b"a", b"", b"x" * 20_000) + b"--x--\r\n", (400,)),
        (edge, part % (b"token", b'; filename="a"', owner.token.encode()) + b"--x--\r\n", (403,)),
        (edge, b"rubbish", (400, 403)),
        (edge, token + file[:-20], (400, 403, 422)),
        ("multipart/form-data", token, (400,)),
        ("application/x-www-form-urlencoded", b"&" * 10_000, (400, 403)),
        ("application/x-www-form-urlencoded", b"a=1&" * 2_000, (400, 403)),
    ):
        path = "/uploads" if kind == edge else "/logout"
        answer = owner.ask("POST", path, body, {"Content-Type": kind})
        assert answer.status in statuses, (kind, body[:80], answer.status)
    assert sorted(folder.rglob("*")) == before
    assert owner.get("/home").status == 200


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_only_a_form_with_files_may_be_long(served: Served, owner: Client, kind: str) -> None:
    """Not every version of the parser of other forms stops at a number of fields."""
    owner.get("/contribute")
    body = f"token={owner.token}&".encode() + b"ab&" * 6000
    answer = owner.ask("POST", "/uploads", body, {"Content-Type": kind})
    assert answer.status == 413
    body = b"1000\r\n" + b"a" * 4096 + b"\r\n"
    chunked = {"Content-Type": kind, "Transfer-Encoding": "chunked"}
    answer = owner.ask("POST", "/uploads", body * 5 + b"0\r\n\r\n", chunked)
    assert answer.status == (413 if "form" in kind else 403)  # a body of no form is not read
    assert owner.get("/home").status == 200


@pytest.mark.parametrize(
    ("encoding", "text", "statuses"),
    [
        ("utf-7", b"+2AA-", (400,)),
        ("punycode", b"\xff", (400,)),
        ("undefined", b"\xff", (400,)),
        ("hex", b"\xff", (400, 403)),
    ],
)
def test_odd_encodings_of_forms_are_refused(
    served: Served, encoding: str, text: bytes, statuses: tuple[int, ...]
) -> None:
    client = Client(served.port)
    client.get("/login")
    part = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    body = part % (b"token", client.token.encode()) + part % (b"merchant", b"shop-0")
    body += part % (b"password", text) + b"--x--\r\n"
    kind = {"Content-Type": f"multipart/form-data; boundary=x; charset={encoding}"}
    assert client.ask("POST", "/login", body, kind).status in statuses
    assert client.get("/login").status == 200


def test_a_bomb_is_refused(served: Served) -> None:
    client = served.client("shop-1")
    client.get("/contribute")
    head = events(served).splitlines(keepends=True)[0]
    for content, told in (
        (gzip.compress(head + b"\n" * 2**18, 9), "more than 100,000 rows cannot be used"),
        (gzip.compress(head + b"x" * 2**23, 9), "does not end within"),
    ):
        answer = client.upload("/uploads", content, "bomb.gz")
        assert answer.status == 422
        assert told in answer.text
    assert list(served.portal.market.shop("shop-1").uploads.folder.iterdir()) == []


def test_guesses_of_passwords_end_for_an_address_too(served: Served) -> None:
    served.portal.by_address.forget("127.0.0.1")
    try:
        statuses = []
        for place in range(served.portal.by_address.most + 2):
            client = Client(served.port)
            # Neither another name nor a header makes it another address.
            client.get("/login")
            body = f"token={client.token}&merchant=shop-{place}&password=x".encode()
            headers = {
                "Content-Type": "application/x-www-form-urlencoded",
                "X-Forwarded-For": f"10.0.0.{place}",
            }
            statuses.append(client.ask("POST", "/login", body, headers).status)
        assert statuses[-2:] == [429, 429]
        assert set(statuses[:-2]) == {403}
    finally:
        served.portal.by_address.forget("127.0.0.1")


def test_every_page_says_who_may_see_it() -> None:
    open_pages = {page.path for page in PAGES if page.access is Access.ANYONE}
    assert open_pages == OPEN
    assert {page.path for page in PAGES if page.access is Access.NEW} == {"/password", "/logout"}
    assert ONE_TIME.keys() == OWN.keys()


def test_a_merchant_cannot_have_all_threads(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, other = served.client("shop-0"), served.client("shop-1")
    monkeypatch.setitem(served.portal.at_work, "shop-0", AT_ONCE)
    assert client.get("/home").status == 429
    assert other.get("/home").status == 200
    monkeypatch.setitem(served.portal.at_work, "shop-0", AT_ONCE - 1)
    assert client.get("/home").status == 200
