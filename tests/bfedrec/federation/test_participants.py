"""The keys of clients, kept up to a number and the same whether kept or made again; and the helper
process that a run's participants ask for."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from bfedrec.config.load import load
from bfedrec.config.schema import Config
from bfedrec.federation import participants
from bfedrec.federation.participants import Participants
from bfedrec.streams import Streams
from tests.bfedrec.runs.test_simulation import SMALL


@pytest.mark.parametrize("crypto", ["real", "modelled"])
def test_keys_that_are_not_kept_are_the_same(crypto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(None, [*SMALL, f"crypto={crypto}"])
    kept = Participants(config, Streams(3))
    monkeypatch.setattr(participants, "KEPT_KEYS", 5)
    few = Participants(config, Streams(3))
    for client in np.random.default_rng(0).integers(0, 20, 60).tolist():
        digest = bytes(32)
        one, two = kept.client_key(client), few.client_key(client)
        assert one.public == two.public
        assert one.sign(digest) == two.sign(digest)
    assert len(few._client_keys) == 5


def made(crypto: str = "real") -> Participants:
    sizes = {"servers": {"count": 4}, "committee": {"size": 4}}
    return Participants(Config.model_validate({"crypto": crypto} | sizes), Streams(1))


@pytest.fixture
def processors(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of processors, which a test may change."""
    number = [2]
    monkeypatch.setattr(participants, "thread_count", lambda: number[0])
    return number


def test_a_helper_proves_with_the_servers_keys(processors: list[int]) -> None:
    of = made()
    helper = of.helper()
    assert helper is not None
    try:
        helper.prove(b"alpha")
        for index, (_, prover) in enumerate(of.server_keys):
            assert helper.proof(index, b"alpha") == prover.prove(b"alpha")
    finally:
        helper.close()


def test_where_there_is_no_processor_for_it_there_is_no_helper(processors: list[int]) -> None:
    processors[0] = 1
    assert made().helper() is None


def test_what_takes_no_time_needs_no_helper(processors: list[int]) -> None:
    assert made("modelled").helper() is None


def test_a_helper_that_cannot_be_started_is_done_without(
    processors: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    assert made().helper() is None
