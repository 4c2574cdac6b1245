"""Clients of servers whose answers are slow, endless, huge or packed."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Iterator

import pytest
from requests import RequestException, Session

from consensus.answers import PIECE, Bounds
from consensus.encoding.unixfs import file_cid
from consensus.ethereum.errors import EthereumError
from consensus.ethereum.node import Node
from consensus.storage.content import Unavailable
from consensus.storage.ipfs import IpfsStore
from tests.helpers.answering import HEAD, Answer, endless, of, server_that

MOST = 1000
SECONDS = 0.4
SLOW = {
    "head": endless(HEAD, b"X"),
    "lines of the head": endless(HEAD, b"X-A: b\r\n"),
    "body": endless(HEAD + b"Content-Length: 900\r\n\r\n", b" "),
    "chunks": endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}
LONG = {
    "announced": lambda head: iter([HEAD + b"Content-Length: 100000000000\r\n\r\n"]),
    "endless": endless(HEAD + b"Connection: close\r\n\r\n", b" " * 65_536),
    "packed": lambda head: iter([of(gzip.compress(b" " * MOST), b"Content-Encoding: gzip\r\n")]),
}


@pytest.mark.parametrize("kind", list(SLOW))
def test_an_answer_piece_by_piece_has_its_time_once(kind: str) -> None:
    with (
        server_that(SLOW[kind], SECONDS / 20) as port,
        Bounds(MOST).hold(Session()) as session,
        pytest.raises(RequestException, match="timed out"),
    ):
        session.post(f"http://127.0.0.1:{port}/", timeout=SECONDS)


@pytest.mark.parametrize("kind", list(LONG))
def test_what_is_longer_or_may_become_so_is_not_read(kind: str) -> None:
    with (
        server_that(LONG[kind]) as port,
        Bounds(MOST).hold(Session()) as session,
        pytest.raises(RequestException, match=r"an answer (of|that is packed)"),
    ):
        session.post(f"http://127.0.0.1:{port}/", timeout=60.0)


def test_a_long_answer_has_more_time_and_a_thread_may_have_its_own_bound() -> None:
    whole = of(b"x" * (2 * PIECE))
    pieces = [whole[k : k + PIECE // 2] for k in range(0, len(whole), PIECE // 2)]
    bounds = Bounds(2 * PIECE)
    with (
        server_that(lambda head: iter(pieces), SECONDS / 3) as port,
        bounds.hold(Session()) as session,
    ):
        where = f"http://127.0.0.1:{port}/"
        for _ in range(2):  # on one connection
            assert len(session.post(where, timeout=SECONDS).content) == 2 * PIECE
        with bounds.at_most(MOST), pytest.raises(RequestException, match="at most 1,000"):
            session.post(where, timeout=SECONDS)
        assert len(session.post(where, timeout=SECONDS).content) == 2 * PIECE


def test_a_proxy_is_no_way_around() -> None:
    with server_that(LONG["endless"]) as port, Bounds(MOST).hold(Session()) as session:
        proxies = {"http": f"http://127.0.0.1:{port}"}
        with pytest.raises(RequestException, match="an answer of more than"):
            session.post("http://nowhere.invalid/", proxies=proxies, timeout=60.0)


@pytest.mark.parametrize("answer", [SLOW["head"], SLOW["body"], LONG["announced"]])
def test_an_ethereum_node_is_waited_for_in_bounds(answer: Answer) -> None:
    with server_that(answer, SECONDS / 20) as port, pytest.raises(EthereumError) as error:
        Node(f"http://127.0.0.1:{port}", timeout=SECONDS)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["slow", "endless"])
def test_an_ipfs_node_sends_no_more_of_a_block_than_a_block_has(kind: str) -> None:
    """Although it said that the block is short."""
    body = {"slow": SLOW["body"], "endless": LONG["endless"]}[kind]

    def answer(head: bytes) -> Iterator[bytes]:
        if b"/version" in head:
            return iter([of(b'{"Version": "0.30.0"}')])
        if b"/block/stat" in head:
            return iter([of(b'{"Key": "x", "Size": 5}')])
        return body(head)

    pause = SECONDS / 20 if kind == "slow" else 0.0
    with server_that(answer, pause) as port:
        api = f"/ip4/127.0.0.1/tcp/{port}"
        with (
            IpfsStore(api, timeout=SECONDS, retries=0) as store,
            pytest.raises(Unavailable, match="broke off") as error,
        ):
            store.get_at_most(file_cid(b"model"), MOST)
        assert "\n" not in str(error.value)


def test_an_ipfs_node_answers_no_question_with_a_file() -> None:
    """Lines of JSON are read into memory, and taken apart there."""

    def answer(head: bytes) -> Iterator[bytes]:
        if b"/version" in head:
            return iter([of(b'{"Version": "0.30.0"}')])
        return LONG["endless"](head)

    with (
        server_that(answer) as port,
        IpfsStore(f"/ip4/127.0.0.1/tcp/{port}", timeout=60.0, retries=0) as store,
    ):
        for ask in (lambda: store.has(file_cid(b"model")), lambda: store.put(b"model")):
            tracemalloc.start()
            with pytest.raises(Unavailable):
                ask()
            assert tracemalloc.get_traced_memory()[1] < 2**27
            tracemalloc.stop()


def test_no_answer_sends_its_client_elsewhere() -> None:
    """To another server of the client's machine, which trusts whoever is there."""
    asked: list[bytes] = []

    def other(head: bytes) -> Iterator[bytes]:
        asked.append(head)
        return iter([of(b'{"jsonrpc": "2.0", "id": 0, "result": "0x1", "Version": "0.30.0"}')])

    with server_that(other) as target:
        away = b"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:%d/api/v0/shutdown\r\n"
        answer = away % target + b"Content-Length: 0\r\n\r\n"
        with server_that(lambda head: iter([answer])) as port:
            with pytest.raises(EthereumError) as error:
                Node(f"http://127.0.0.1:{port}", timeout=SECONDS)
            assert "\n" not in str(error.value)
            with pytest.raises(Unavailable):
                IpfsStore(f"/ip4/127.0.0.1/tcp/{port}", timeout=SECONDS, retries=0)
    assert not asked
