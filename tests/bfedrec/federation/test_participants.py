"""The keys of clients: kept up to a number, and the same whether kept or made again."""

from __future__ import annotations

import numpy as np
import pytest

from bfedrec.config.load import load
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
