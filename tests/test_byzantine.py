"""Malicious servers: the paper's two behaviours, their composition, and adding one."""

from __future__ import annotations

import numpy as np
import pytest

from consensus.application import Contents
from consensus.byzantine import BEHAVIOURS, Behaviour, Composed, behaviour

HONEST = Contents(np.arange(1000, dtype="<f4").tobytes(), b"snapshot")


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_base_is_honest() -> None:
    assert Behaviour().contents(HONEST, generator()) is HONEST
    assert [Behaviour().verdict(honest, generator()) for honest in (True, False)] == [True, False]


def test_gaussian_proposes_noise_of_the_right_size() -> None:
    proposed = Composed(["gaussian"]).contents(HONEST, generator())
    assert len(proposed.model) == len(HONEST.model)
    values = np.frombuffer(proposed.model, "<f4")
    assert np.isfinite(values).all()
    assert abs(values.mean()) < 0.15
    assert 0.9 < values.std() < 1.1
    assert proposed == Composed(["gaussian"]).contents(HONEST, generator())
    assert proposed != Composed(["gaussian"]).contents(HONEST, generator(1))


def test_inverted_votes_approve_what_is_wrong_and_reject_what_is_right() -> None:
    inverted = Composed(["invert_votes"])
    assert [inverted.verdict(honest, generator()) for honest in (True, False)] == [False, True]
    assert inverted.contents(HONEST, generator()) is HONEST


def test_behaviours_compose_in_order() -> None:
    both = Composed(["gaussian", "invert_votes"])
    assert both.contents(HONEST, generator()).model != HONEST.model
    assert both.verdict(True, generator()) is False
    assert Composed(["invert_votes", "invert_votes"]).verdict(True, generator()) is True
    assert Composed([]).contents(HONEST, generator()) is HONEST


def test_an_unknown_behaviour_is_told_with_those_known() -> None:
    with pytest.raises(ValueError, match=r"unknown behaviour 'lazy' \(known: gaussian, invert"):
        Composed(["gaussian", "lazy"])


def test_a_behaviour_is_added_by_registering_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consensus.byzantine.BEHAVIOURS", dict(BEHAVIOURS))

    @behaviour("lazy")
    class Lazy(Behaviour):
        def verdict(self, honest: bool, generator: np.random.Generator) -> bool:
            return True

    assert Composed(["lazy"]).verdict(False, generator()) is True
    with pytest.raises(ValueError, match="'lazy' is registered twice"):
        behaviour("lazy")(Lazy)
