"""A function whose chain, store or settings fail: what it answers, and what it does not tell."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.requests import Request
from starlette.types import Message

from bfedrec.merchants.functions import guard
from bfedrec.merchants.functions.guard import BINARY, Function
from bfedrec.merchants.functions.site import Site, Sites
from bfedrec.merchants.interactions import Catalogue
from bfedrec.merchants.rounds.agreement import Agreement

KEY = "a-key-of-the-provider"


def function(environment: dict[str, str]) -> Function:
    """A function that is never worked on."""

    def work(site: Site, merchant: str, body: bytes) -> dict[str, Any]:
        raise AssertionError

    return Function("store", BINARY, lambda site: 100, work, Sites(environment))


def asked(target: Function, method: str = "POST") -> tuple[int, dict[str, Any]]:
    """The answer to a request without a signature."""
    headers = {"content-type": BINARY, "content-length": "3"}

    async def receive() -> Message:
        raise AssertionError("the body is read")

    scope = {
        "type": "http",
        "method": method,
        "path": "/",
        "query_string": b"",
        "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
    }
    answer = asyncio.run(target.serve(Request(scope, receive)))
    body = bytes(answer.body)
    assert body.endswith(b"}\n")
    return answer.status_code, json.loads(body)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a function, whose node is absent."""
    agreement = Agreement(
        0, {"shop-0": "0x" + "1" * 40}, "0x" + "2" * 40, 0, Catalogue(np.arange(3, dtype=np.int64))
    )
    agreement.save(tmp_path / "agreement.json")
    return {
        "BFEDREC_AGREEMENT": str(tmp_path / "agreement.json"),
        "BFEDREC_CHAIN": f"http://127.0.0.1:1/v3/{KEY}",
        "BFEDREC_STORE": f"file:{tmp_path / 'store.sqlite'}",
        "BFEDREC_NONCES": str(tmp_path / "nonces.sqlite"),
    }


def test_an_absent_node_is_told_without_its_key(environment: dict[str, str]) -> None:
    target = function(environment)
    status, told = asked(target)
    assert (status, told["error"]) == (502, "chain")
    assert KEY not in json.dumps(told)
    assert asked(target, "GET") == (200, {"function": "store", "answers": {"chain": 1}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BFEDREC_AGREEMENT", ""),
        ("BFEDREC_AGREEMENT", "/nowhere"),
        ("BFEDREC_NONCES", ""),
        ("BFEDREC_NONCES", "/dev/null/nonces"),
    ],
)
def test_settings_that_cannot_be_used_are_told_to_the_log_alone(
    environment: dict[str, str], name: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = asked(function({**environment, name: value}))
    assert (status, told["error"]) == (503, "unusable")
    assert "nowhere" not in told["reason"]
    assert capsys.readouterr().err.startswith("store: ")


def test_an_error_that_nobody_expected_stays_here(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(sites: Sites) -> Site:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(Sites, "site", fail)
    status, told = asked(function(environment))
    assert (status, told["error"]) == (500, "error")
    assert "secret" not in json.dumps(told)
    assert "ZeroDivisionError: a secret" in capsys.readouterr().err


def test_too_many_requests_at_once_are_refused(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MOST_WAITING", 0)
    assert asked(function(environment))[1]["error"] == "busy"
