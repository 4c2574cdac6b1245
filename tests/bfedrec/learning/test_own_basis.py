"""A basis in a file outside the package, chosen in a config; and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bfedrec.cli.audit import audit_command
from bfedrec.config.help import help_text
from bfedrec.config.load import ConfigError, dump, load, parse
from bfedrec.learning.basis import BASES, Seeded, basis, register_basis
from bfedrec.runs.folder import read_metrics
from consensus.records.genesis import Genesis
from consensus.storage.sqlite import SqliteStore
from tests.bfedrec.runs.test_simulation import play
from tests.helpers.plugin import imported


@pytest.fixture
def leading(tmp_path: Path) -> Iterator[None]:
    with BASES.restored():
        imported(tmp_path, "basis")
        yield


@pytest.mark.usefixtures("leading")
def test_a_basis_is_one_file(tmp_path: Path) -> None:
    config = load(None, ["model.basis=leading"])
    assert parse(dump(config), "dumped") == config
    assert "model.dimension); leading: the first r coordinates" in " ".join(help_text().split())
    B = basis("leading", 8, 2, b"")
    assert np.array_equal(B, np.eye(8, dtype=np.float32)[:, :2] * np.float32(2))

    run = tmp_path / "run"
    play(run, "model.basis=leading", "rounds=3", "crypto=modelled", "ledger.retain_updates=all")
    assert audit_command(run) == 0
    with SqliteStore(run / "chain.sqlite", read_only=True) as store:
        assert Genesis.decode(store.block(0)).application["basis"] == "leading"
    usual = tmp_path / "usual"
    play(usual, "rounds=3", "crypto=modelled", "ledger.retain_updates=all")
    assert read_metrics(run)[-1]["loss"] != read_metrics(usual)[-1]["loss"]


@pytest.mark.usefixtures("leading")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.basis=leding"], "fixed | hadamard | identity | leading; did you mean 'leading'"),
        (["model.bass=leading"], "did you mean 'model.basis'?"),
    ],
)
def test_what_is_refused_is_said(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        load(None, words)


@pytest.mark.usefixtures("leading")
def test_a_name_stands_for_one_basis() -> None:
    with pytest.raises(ValueError, match="basis 'leading' is registered twice"):
        register_basis("leading")(Seeded)
    with pytest.raises(ValueError, match="a name is a small letter"):
        register_basis("Leading")
    with pytest.raises(ValueError, match="did you mean 'leading'"):
        basis("leadin", 8, 2, b"")
    with pytest.raises(ValueError, match="the identity basis has no rank 2 in 8 dimensions"):
        basis("identity", 8, 2, b"")
