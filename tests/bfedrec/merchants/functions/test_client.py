"""A merchant's calls of functions that lie, are silent, or make no sense."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bfedrec.merchants.functions import client
from bfedrec.merchants.functions.client import NAMES, RemoteServices
from bfedrec.merchants.rounds.checks import Missing, Refused, identity
from bfedrec.merchants.rounds.services import ServiceError
from consensus.encoding.cid import cid_text
from consensus.ethereum.errors import EthereumError, NonceTaken
from tests.helpers.answering import HEAD, endless, server_that
from tests.helpers.shops import OWNERS, Shops, shops


class Liar(ThreadingHTTPServer):
    """A server that answers all requests as it is told, one answer after the other; the last one
    for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, bytes]] = []
        self.nonces: list[int] = []


class _Handler(BaseHTTPRequestHandler):
    server: Liar

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.nonces.append(int(self.headers["Bfedrec-Nonce"]))
        answers = self.server.answers
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        if status in (301, 307):
            self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Write no log."""


@pytest.fixture(scope="module")
def liar() -> Iterator[Liar]:
    """A server."""
    server = Liar()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shops]:
    """Three shops before their first round."""
    with shops(tmp_path_factory.mktemp("shops")) as found:
        yield found


@pytest.fixture
def services(scene: Shops, liar: Liar, monkeypatch: pytest.MonkeyPatch) -> RemoteServices:
    """The liar as four functions."""
    monkeypatch.setattr(client, "WAIT_SECONDS", 0.001)
    liar.nonces.clear()
    urls = dict.fromkeys(NAMES, f"http://127.0.0.1:{liar.server_port}")
    return RemoteServices(urls, OWNERS["shop-0"], scene.agreement, scene.registry, scene.store)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"{}",
        b"[" * 100_000,
        b'{"cid": "x", "digest": "y"}',
        b'{"cid": 1, "digest": 2}',
        b'{"cid": "bafkreiftv6g7lz7bwglgrtnemdimxge2nip2uc4lwdgobiclb7yq74y44q", "digest": "x"}',
        b" " * (client.LONGEST_ANSWER + 2),
    ],
)
def test_an_answer_without_sense_is_told_in_one_line(
    services: RemoteServices, liar: Liar, body: bytes
) -> None:
    liar.answers = [(200, body)]
    for call in (
        lambda: services.store(b"x"),
        lambda: services.register(b"x"),
        lambda: services.collect(1),
        lambda: services.aggregate(1),
    ):
        with pytest.raises(ServiceError) as error:
            call()
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 300


@pytest.mark.parametrize("status", [301, 307])
def test_nobody_is_sent_elsewhere(services: RemoteServices, liar: Liar, status: int) -> None:
    liar.answers, before = [(status, b"")], len(liar.nonces)
    with pytest.raises(ServiceError, match=r"^store: http://\S+ names another address, which is"):
        services.store(b"x")
    assert len(liar.nonces) == before + 1


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("missing", Missing),
        ("refused", Refused),
        ("nonce-taken", NonceTaken),
        ("registry", EthereumError),
        ("chain", EthereumError),
        ("signature", ServiceError),
        ("unheard of", ServiceError),
    ],
)
def test_a_refusal_is_what_it_says(
    services: RemoteServices, liar: Liar, kind: str, error: type[Exception]
) -> None:
    liar.answers = [(400, json.dumps({"error": kind, "reason": "why\nnot" * 500}).encode())]
    with pytest.raises(error, match="400: why not") as found:
        services.register(b"x")
    assert type(found.value) is error
    assert len(str(found.value)) <= 400


def test_an_overtaken_request_is_signed_again(services: RemoteServices, liar: Liar) -> None:
    model = identity(b"x")
    told = {"cid": cid_text(model.cid), "digest": model.digest.hex()}
    again = (409, b'{"error": "replayed", "reason": "overtaken"}')
    liar.answers = [again, again, (200, json.dumps(told).encode())]
    assert services.store(b"x") == model
    assert len(liar.nonces) == 3
    assert sorted(set(liar.nonces)) == liar.nonces
    liar.answers = [again]
    with pytest.raises(ServiceError, match="overtaken"):
        services.store(b"x")


def test_models_that_are_not_published_are_not_collected(
    scene: Shops, services: RemoteServices, liar: Liar
) -> None:
    model = identity(scene.agreement.initial_payload())
    told = {"merchant": "shop-1", "cid": cid_text(model.cid), "digest": model.digest.hex()}
    liar.answers = [(200, json.dumps({"accepted": [told], "refused": {}}).encode())]
    with pytest.raises(ServiceError, match="is not published"):
        services.collect(1)


def test_a_wrong_aggregate_is_not_attested(
    scene: Shops, services: RemoteServices, liar: Liar
) -> None:
    """The function names the round's parent as its aggregate; stored it is."""
    for name in ("shop-0", "shop-1"):
        member = scene.member(name)
        member.train()
        member.publish()
    parent = identity(scene.agreement.initial_payload())
    told = {"cid": cid_text(parent.cid), "digest": parent.digest.hex(), "covered": 2}
    liar.answers = [(200, json.dumps(told).encode())]
    assert services.aggregate(1).model == parent

    from bfedrec.merchants.rounds.services import LocalServices

    ours = LocalServices(scene.agreement, scene.registry, scene.store)
    ours.aggregate = services.aggregate  # type: ignore[method-assign]
    scene.member("shop-0", ours).attest()
    found = scene.registry.attestation_of(OWNERS["shop-0"].address, 1)
    assert found is not None
    assert found.model != parent
    assert any("the service's aggregate is wrong" in line for line in scene.told("shop-0"))
    liar.answers = [(200, json.dumps({**told, "digest": "0" * 64}).encode())]
    with pytest.raises(ServiceError, match="another digest"):
        services.aggregate(1)


def test_an_absent_function_is_told(scene: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WAIT_SECONDS", 0.001)
    with pytest.raises(ValueError, match="no URL of the function aggregate"):
        RemoteServices(
            dict.fromkeys(NAMES[:3], ""),
            OWNERS["shop-0"],
            scene.agreement,
            scene.registry,
            scene.store,
        )
    nowhere = RemoteServices(
        dict.fromkeys(NAMES, "http://127.0.0.1:1/"),
        OWNERS["shop-0"],
        scene.agreement,
        scene.registry,
        scene.store,
    )
    with pytest.raises(ServiceError, match=r"store: no answer from http://127.0.0.1:1/"):
        nowhere.store(b"x")


def test_a_function_that_answers_letter_by_letter_is_given_up(
    scene: Shops, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WAIT_SECONDS", 0.001), ("ANSWER_SECONDS", 0.2), ("TRIES", 2)):
        monkeypatch.setattr(client, name, value)
    with server_that(endless(HEAD, b"X"), 0.01) as port:
        urls = dict.fromkeys(NAMES, f"http://127.0.0.1:{port}/")
        services = RemoteServices(
            urls, OWNERS["shop-0"], scene.agreement, scene.registry, scene.store
        )
        with pytest.raises(ServiceError, match=r"no answer .*Timeout"):
            services.store(b"x")
