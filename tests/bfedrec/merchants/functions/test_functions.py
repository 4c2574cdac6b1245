"""The four functions over HTTP: what they do, and every request that they refuse."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bfedrec.cli.main import main
from bfedrec.merchants.functions.signing import LARGEST_NONCE
from bfedrec.merchants.model import encode
from bfedrec.merchants.rounds.checks import Missing, Refused, identity
from bfedrec.merchants.rounds.services import ServiceError
from consensus.encoding.cid import cid_text
from consensus.ethereum.errors import NonceTaken
from consensus.ethereum.records import Model
from tests.bfedrec.merchants.functions.served import KINDS, ROOT, Served, served
from tests.helpers.ethereum import ACCOUNTS, serving
from tests.helpers.shops import NAMES, OWNERS

STRANGER = ACCOUNTS[9]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The functions of three shops; round 1 is closed, played through them."""
    with serving() as server:
        found = served(tmp_path_factory.mktemp("functions"), server.url)
        try:
            members = [found.shops.member(name, found.services(name)) for name in NAMES]
            for member in members:
                member.train()
                member.publish()
            for member in members[:2]:
                member.attest()
            yield found
        finally:
            for name in list(found.processes):
                found.kill(name)


def payload(scene: Served) -> bytes:
    """A model's bytes."""
    return scene.shops.agreement.initial_payload()


def test_a_round_through_the_functions_is_that_of_the_chain(scene: Served) -> None:
    assert scene.shops.registry.current_round() == 2
    round = scene.shops.registry.read_round(1)
    services = scene.services("shop-2")
    found = services.collect(1)
    assert [each.merchant for each in found.accepted] == list(NAMES)
    assert found.refused == {}
    aggregate = services.aggregate(1)
    assert (aggregate.model, aggregate.covered) == (round.aggregate, 3)
    assert identity(aggregate.payload) == aggregate.model
    assert not [step for _, step in scene.shops.steps if step.state in ("told", "failed")]


def test_what_a_block_holds_is_answered_again(scene: Served) -> None:
    """A merchant whose answer was lost sends the same operation once more."""
    registry, services = scene.shops.registry, scene.services("shop-0")
    parent = registry.read_round(2).parent
    assert parent is not None
    model = services.store(payload(scene))
    raw = registry.signed_publish(OWNERS["shop-0"], 2, parent.digest, model, 5)
    later = registry.signed_publish(OWNERS["shop-0"], 2, parent.digest, model, 6)
    sent = services.register(raw)
    assert services.register(raw) == sent
    assert len(registry.read_round(2).publications) == 1
    with pytest.raises(NonceTaken):
        services.register(later)


CHANGES: list[tuple[str, dict[str, Any], int, str]] = [
    ("another function", {"function": "register"}, 401, "not signed by"),
    ("another registry", {"registry": "0x" + "0" * 40}, 401, "not signed by"),
    ("another chain", {"chain_id": 1}, 401, "not signed by"),
    ("another body", {"body": b"other"}, 401, "not the one that was signed"),
    ("an old nonce", {"nonce": time.time_ns() - 3600 * 10**9}, 401, "s old"),
    ("a nonce of the future", {"nonce": LARGEST_NONCE}, 401, "s ahead"),
    ("a nonce beyond", {"nonce": LARGEST_NONCE + 1}, 401, "malformed"),
]


@pytest.mark.parametrize(("what", "changes", "status", "reason"), CHANGES)
def test_what_was_signed_for_something_else_is_refused(
    scene: Served, what: str, changes: dict[str, Any], status: int, reason: str
) -> None:
    body = payload(scene)
    before = sum(scene.counts("store").values())
    code, told = scene.post("store", body, scene.headers("store", body, **changes))
    assert (code, reason in told["reason"]) == (status, True), told
    assert sum(scene.counts("store").values()) == before + 1


def test_headers_that_are_missing_malformed_or_of_others_are_refused(scene: Served) -> None:
    body = payload(scene)
    right = scene.headers("store", body)
    for name in ("Bfedrec-Merchant", "Bfedrec-Nonce", "Bfedrec-Digest", "Bfedrec-Signature"):
        without = {key: value for key, value in right.items() if key != name}
        assert scene.post("store", body, without)[0] == 401
        for wrong in ("", "0x", "-1", "0x" + "f" * 130, "0x" + "0" * 130, "9" * 30):
            assert scene.post("store", body, {**right, name: wrong})[0] == 401
    other = {**right, "Bfedrec-Merchant": OWNERS["shop-1"].address}
    assert scene.post("store", body, other)[0] == 401
    lower = {**right, "Bfedrec-Merchant": right["Bfedrec-Merchant"].lower()}
    assert scene.post("store", body, lower)[0] == 200  # nothing before took the nonce


def test_a_stranger_is_refused(scene: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OWNERS, "stranger", STRANGER)
    for name, kind in KINDS.items():
        body = b'{"round": 1}' if kind == "application/json" else payload(scene)
        code, told = scene.post(name, body[:4096], scene.headers(name, body[:4096], "stranger"))
        assert (code, told["error"]) == (403, "foreign")


def test_a_replayed_or_overtaken_request_is_refused(scene: Served) -> None:
    body = b'{"round": 1}'
    first, second = scene.headers("collect", body), scene.headers("collect", body)
    assert scene.post("collect", body, second)[0] == 200
    for headers in (second, first):
        code, told = scene.post("collect", body, headers)
        assert (code, told["error"]) == (409, "replayed")
    others = scene.headers("collect", body, "shop-1", nonce=int(first["Bfedrec-Nonce"]))
    assert scene.post("collect", body, others)[0] == 200, "each merchant has its own nonces"


def test_a_nonce_is_remembered_over_a_kill(scene: Served) -> None:
    body = b'{"round": 1}'
    headers = scene.headers("collect", body)
    assert scene.post("collect", body, headers)[0] == 200
    before = scene.counts("collect")
    port = int(scene.urls["collect"].rpartition(":")[2])
    scene.kill("collect")
    scene.start("collect", port)
    assert scene.post("collect", body, headers)[0] == 409
    assert scene.counts("collect") == {**before, "replayed": before.get("replayed", 0) + 1}


def test_lengths_types_and_methods_are_checked_first(scene: Served) -> None:
    body = payload(scene)
    long = b"x" * (len(body) + 1)
    assert scene.post("store", long, scene.headers("store", long))[0] == 413
    assert scene.post("collect", b" " * 300, scene.headers("collect", b" " * 300))[0] == 413
    wrong = {**scene.headers("store", body), "Content-Type": "text/html"}
    assert scene.post("store", body, wrong)[0] == 415
    import requests

    for method, status in (("PUT", 405), ("DELETE", 405), ("GET", 200), ("TRACE", 405)):
        assert requests.request(method, scene.urls["store"], timeout=60).status_code == status
    pieces = requests.post(
        scene.urls["store"], data=iter([body]), headers=scene.headers("store", body), timeout=60
    )
    assert pieces.status_code == 411


def test_a_long_body_is_refused_before_it_is_sent(scene: Served) -> None:
    """A gigabyte is announced, and not one byte of it sent."""
    for length, status in ((2**30, b"413"), ("-1", b"400"), ("1" * 5000, b"400"), ("x", b"400")):
        host, _, port = scene.urls["store"].removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=60) as asking:
            asking.sendall(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
                b"Content-Length: %s\r\n\r\n" % str(length).encode()
            )
            assert asking.recv(1000).split(b" ")[1] == status


def test_what_is_no_model_is_refused(scene: Served) -> None:
    right = payload(scene)
    services = scene.services("shop-0")
    broken = np.frombuffer(right, np.uint8).copy()
    broken[-4:] = 0xFF  # not a number
    for body in (b"", right[:-1], b"x" * len(right), broken.tobytes()):
        with pytest.raises(Refused):
            services.store(body)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"round": 0}', b'{"round": true}', b"[" * 200]
)
def test_what_names_no_round_is_refused(scene: Served, body: bytes) -> None:
    for name in ("collect", "aggregate"):
        code, told = scene.post(name, body, scene.headers(name, body))
        assert (code, told["error"]) == (400, "body")


def test_a_round_that_is_not_there_is_refused(scene: Served) -> None:
    for name in ("collect", "aggregate"):
        body = b'{"round": 99}'
        assert scene.post(name, body, scene.headers(name, body))[0] in (409, 422)


def test_what_is_no_operation_of_the_merchant_is_refused(scene: Served) -> None:
    registry = scene.shops.registry
    agreement = scene.shops.agreement
    shared = agreement.initial()
    shared.biases[0] = 1.25
    absent = identity(encode(shared, agreement.catalogue))
    parent = registry.read_round(2).parent
    assert parent is not None
    stored = identity(payload(scene))
    signed = registry.signed_publish
    services = scene.services("shop-1")
    with pytest.raises(Missing):
        services.register(signed(OWNERS["shop-1"], 2, parent.digest, absent, 5))
    other = Model(stored.cid, b"x" * 32)
    with pytest.raises(Refused, match="another SHA-256 digest"):
        services.register(signed(OWNERS["shop-1"], 2, parent.digest, other, 5))
    with pytest.raises(ServiceError, match="not of"):
        services.register(signed(OWNERS["shop-2"], 2, parent.digest, stored, 5))
    raw = signed(OWNERS["shop-1"], 2, parent.digest, stored, 5)
    for broken in (b"", b"\x02", raw[:-1], raw + b"x", b"\xff" * 500):
        with pytest.raises((Refused, ServiceError)):
            services.register(broken)
    assert [each.merchant for each in registry.read_round(2).publications] in (
        [],
        [OWNERS["shop-0"].address],
    )


def test_curl_calls_a_function_with_what_the_command_prints(
    scene: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    body, key = tmp_path / "body", scene.shops.folder / "shop-1" / "key.json"
    body.write_bytes(payload(scene))
    agreement = scene.environment["BFEDREC_AGREEMENT"]
    chain = scene.environment["BFEDREC_CHAIN"]
    command = ["merchants", "sign", "--key", str(key), "--agreement", agreement, "--chain", chain]
    assert main([*command, "--function", "store", "--body", str(body)]) == 0
    headers = tmp_path / "headers"
    headers.write_text(capsys.readouterr().out)
    asked = [curl, "-sS", "-H", f"@{headers}", "--data-binary", f"@{body}", scene.urls["store"]]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True)
    found = json.loads(done.stdout)
    assert found["cid"] == cid_text(identity(payload(scene)).cid)
    again = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(again.stdout)["error"] == "replayed"


def test_the_program_that_clouds_use_serves_a_function(scene: Served, tmp_path: Path) -> None:
    """The same file under `functions-framework`, as a container starts it."""
    import os
    import sys

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    source = ROOT / "bfedrec" / "merchants" / "functions" / "collect.py"
    program = Path(sys.executable).with_name("functions-framework")
    place = ["--source", source, "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [program, "--target", "collect", *place],
        cwd=ROOT,
        env={**os.environ, **scene.environment, "PYTHONPATH": str(ROOT)},
    )
    ours, before = scene.urls["collect"], time.monotonic()
    try:
        while time.monotonic() < before + 120:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            time.sleep(0.1)
        body = b'{"round": 1}'
        headers = scene.headers("collect", body)
        scene.urls["collect"] = f"http://127.0.0.1:{port}"
        assert scene.post("collect", body, headers)[0] == 200
        scene.urls["collect"] = ours
        assert scene.post("collect", body, headers)[0] == 409, "one file of nonces for both"
    finally:
        scene.urls["collect"] = ours
        process.terminate()
        process.wait(60)
