"""The memory that a run is told to need before it takes any."""

from __future__ import annotations

import pytest

from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.prepare import prepare
from bfedrec.federation import round_training
from bfedrec.runs import memory
from bfedrec.runs.memory import check_memory
from tests.bfedrec.runs.test_simulation import SMALL


def test_updates_need_what_is_written_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cohort's where malicious clients may act together, else a part's."""
    honest = load(None, [*SMALL, "clients.per_round=60", "servers.count=4", "committee.size=4"])
    data = prepare(honest.data)
    one = data.items * (4 * honest.model.rank + 1)
    monkeypatch.setattr(memory, "available", lambda: 30 * one)
    with pytest.raises(ConfigError, match=r"clients\.per_round: 60: the updates of a round"):
        check_memory(honest, data)
    monkeypatch.setattr(round_training, "PART_BYTES", 20 * one)
    check_memory(honest, data)
    attacked = load(
        None,
        [
            *SMALL,
            "clients.per_round=60",
            "servers.count=4",
            "committee.size=4",
            "clients.malicious=[{attack: sign_flip, share: 0.2}]",
        ],
    )
    with pytest.raises(ConfigError, match=r"clients\.per_round: 60"):
        check_memory(attacked, data)
