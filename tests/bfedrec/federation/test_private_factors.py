"""Clients' private numbers on disk: the same rounds as in memory, and files that leave no trace."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.prepare import prepare
from bfedrec.federation import private_factors
from bfedrec.federation.private_factors import placed
from bfedrec.federation.unledgered import learner_alone, rounds_of
from tests.bfedrec.runs.test_simulation import SMALL

P = np.arange(12, dtype=np.float32).reshape(4, 3)


def is_mapped(array: np.ndarray) -> bool:
    return isinstance(array.base, np.memmap)


def test_few_numbers_stay_in_memory(tmp_path: Path) -> None:
    assert placed(P, tmp_path) is P


@pytest.mark.parametrize("reserves", [True, False])
def test_many_lie_in_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reserves: bool
) -> None:
    """Also where the system, as macOS, reserves no room for files."""
    monkeypatch.setattr(private_factors, "MAPPED_BYTES", P.nbytes)
    if not reserves:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    assert placed(P, None) is P
    found = placed(P, tmp_path)
    assert is_mapped(found)
    assert type(found) is np.ndarray  # compiled loops take no other
    assert np.array_equal(found, P)
    found[2] = 7.0
    assert P[2, 0] == 6.0
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(private_factors, "MAPPED_BYTES", 1)
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(ConfigError, match=r"no room for 0 MiB of .*: No space left on device"):
        placed(P, tmp_path)


def test_rounds_on_disk_are_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(None, [*SMALL, "rounds=4"])
    data = prepare(config.data)
    inside = learner_alone(config, data, folder=tmp_path)
    monkeypatch.setattr(private_factors, "MAPPED_BYTES", 1)
    outside = learner_alone(config, data, folder=tmp_path)
    assert is_mapped(outside.P)
    assert not is_mapped(inside.P)
    for _ in zip(rounds_of(inside), rounds_of(outside), strict=True):
        pass
    assert np.array_equal(inside.P, outside.P)
    assert np.array_equal(inside.Q, outside.Q)
    figures = [each.scoring().evaluate("test", 10, True).means() for each in (inside, outside)]
    assert figures[0] == figures[1]
