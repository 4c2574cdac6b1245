"""The client of an IPFS node against servers that answer wrongly, late or not at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from consensus.encoding.cid import cid_text, node_cid
from consensus.encoding.dag_cbor import encode
from consensus.encoding.unixfs import file_cid
from consensus.storage.content import StoreError, Unavailable
from consensus.storage.ipfs import IpfsStore
from tests.helpers.ipfs_node import PATIENCE

CHUNK = 262_144

Answer = Callable[[str], tuple[int, bytes]]


@contextmanager
def node_that(answer: Answer) -> Iterator[str]:
    """Something that speaks HTTP; the multiaddr at which it does."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = answer(urlsplit(self.path).path.removeprefix("/api/v0"))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"/ip4/127.0.0.1/tcp/{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def version(text: str = "0.30.0") -> tuple[int, bytes]:
    return 200, json.dumps({"Version": text}).encode()


def refusal(message: str) -> tuple[int, bytes]:
    return 500, json.dumps({"Message": message, "Code": 0, "Type": "error"}).encode()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (version("0.4.23"), "has version 0.4.23; 0.10 or newer is needed"),
        (version("tomorrow"), "does not tell its version"),
        ((200, b"[]"), "does not tell its version|broke off"),
        ((200, b"<html>not here</html>"), "broke off or is none"),
        ((200, b"[" * 100_000), "broke off or is none"),
        (version("9" * 5000 + ".1"), "does not tell its version"),
        (version("0.4\n" * 1000), r"has version 0\.4 0\.4"),
        ((404, b"404 page not found"), r"does not answer as .*HTTP status 404"),
        ((403, b"403 - Forbidden"), r"HTTP status 403"),
    ],
)
def test_what_is_no_node_that_we_can_use_is_told(answer: tuple[int, bytes], reason: str) -> None:
    with node_that(lambda path: answer) as api, pytest.raises(StoreError, match=reason) as error:
        IpfsStore(api, timeout=PATIENCE, retries=0)
    assert str(error.value).startswith(api)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["0.10.0", "0.18.1", "0.30.0-dev", "1.2.3"])
def test_every_newer_version_is_taken(text: str) -> None:
    with node_that(lambda path: version(text)) as api, IpfsStore(api, PATIENCE) as store:
        assert store.version == text


@pytest.mark.parametrize(
    "message", ["ENOSPC: no space left on device, write", "write /blocks/X: Disk quota exceeded"]
)
def test_a_full_node_is_told_at_once(message: str) -> None:
    def answer(path: str) -> tuple[int, bytes]:
        return version() if path == "/version" else refusal(message)

    with (
        node_that(answer) as api,
        IpfsStore(api, PATIENCE, retries=9) as store,
        pytest.raises(StoreError, match="the IPFS node is full"),
    ):
        store.put(b"model")


def test_another_address_is_an_error() -> None:
    other = cid_text(file_cid(b"something else"))

    def answer(path: str) -> tuple[int, bytes]:
        if path == "/version":
            return version()
        return 200, json.dumps({"Name": "x", "Hash": other, "Key": other, "Size": "5"}).encode()

    with node_that(answer) as api, IpfsStore(api, PATIENCE) as store:
        with pytest.raises(StoreError, match=f"gives the address {other} to what is"):
            store.put(b"model")
        with pytest.raises(StoreError, match=f"gives the address {other} to what is"):
            store.put_node(encode({"a": 1}))


def test_other_bytes_are_an_error() -> None:
    def answer(path: str) -> tuple[int, bytes]:
        sized = json.dumps({"Key": "x", "Size": 5}).encode()
        return {"/version": version(), "/block/stat": (200, sized)}.get(path, (200, b"forged"))

    with node_that(answer) as api, IpfsStore(api, PATIENCE) as store:
        for cid in (file_cid(b"model"), file_cid(bytes(2 * CHUNK)), node_cid(b"\xf6")):
            with pytest.raises(StoreError, match="another hash"):
                store.get(cid)


def test_a_silent_node_is_given_up_after_the_tries_agreed() -> None:
    asked = []
    given_up = threading.Event()

    def answer(path: str) -> tuple[int, bytes]:
        if path == "/version":
            return version()
        asked.append(path)
        given_up.wait(PATIENCE)
        return refusal("too late")

    with node_that(answer) as api, IpfsStore(api, timeout=2.0, retries=1) as store:
        with pytest.raises(Unavailable, match=r"did not answer within 2 s, 2 times"):
            store.put(b"model")
        assert not given_up.is_set()
        given_up.set()
        assert asked == ["/add", "/add"]
        assert store.interruptions == 2


def test_what_was_cut_off_is_asked_again() -> None:
    cid = file_cid(b"model")
    answers = [(200, b""), (200, b'{"Name": "x", "Ha'), (200, b'{"Hash": "%b"}')]

    def answer(path: str) -> tuple[int, bytes]:
        if path == "/version":
            return version()
        status, body = answers.pop(0)
        return status, body.replace(b"%b", cid_text(cid).encode())

    with node_that(answer) as api, IpfsStore(api, PATIENCE, retries=2) as store:
        assert store.put(b"model") == cid
        assert store.interruptions == 2


@pytest.mark.parametrize("api", ["", "127.0.0.1:5001", "/ip4/127.0.0.1", "/ip4/x/tcp/1", "/udp/1"])
def test_what_is_no_address_is_told(api: str) -> None:
    with pytest.raises(StoreError, match="not the address of an IPFS node"):
        IpfsStore(api)


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"Size": ' * 50_000,
        b"[]",
        b"null",
        b"{}",
        b'{"Size": "x", "Keys": 5, "Key": 7, "Hash": "\\n"}',
        b'{"Size": null, "Keys": [1], "Key": [], "Hash": {}}',
        b'{"Size": 1e999, "Keys": {"a": 5}}',
        b'{"Size": %s}' % (b"9" * 5000),
    ],
    ids=lambda body: body[:12].decode(),
)
def test_answers_of_any_form_are_an_error_of_the_store(body: bytes, status: int) -> None:
    def answer(path: str) -> tuple[int, bytes]:
        return version() if path == "/version" else (status, body)

    cid = file_cid(b"model")
    with node_that(answer) as api, IpfsStore(api, timeout=PATIENCE, retries=0) as store:
        acts: list[Callable[[], object]] = [
            lambda: store.get(cid),
            lambda: store.get_at_most(cid, 100),
            lambda: store.put(b"model"),
            lambda: store.put_files([b"a", b"b"]),
            lambda: store.put_nodes([encode({})]),
            lambda: store.remove(cid),
        ]
        for act in acts:
            with pytest.raises(StoreError) as error:
                act()
            assert "\n" not in str(error.value)
        with suppress(StoreError):  # none, if the answer can be taken for that
            store.pins()
