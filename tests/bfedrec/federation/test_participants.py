"""The helper process that a run's participants ask for."""

from __future__ import annotations

import sys

import pytest

from bfedrec.config.schema import Config
from bfedrec.federation import participants
from bfedrec.federation.participants import Participants
from bfedrec.streams import Streams


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
