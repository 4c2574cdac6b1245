"""The run in a genesis: what is refused, what covers it, and the updates that it keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.encoding.fields import MalformedRecord
from consensus.records.genesis import Genesis, Run
from tests.consensus.records.test_ledger_records import GENESIS, replaced

RUN = Run(bytes(range(32)), "window", 10)
WITH_RUN = replace(GENESIS, run=RUN)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("version",), 1, "version"),
        (("version",), 3, "version"),
        (("run",), None, "genesis.run: expected a map"),
        (("run",), {}, "genesis.run: missing or unknown fields"),
        (("run", "config"), bytes(31), "genesis.run.config: expected 32 bytes"),
        (("run", "retain"), "some", "one of none, window, all"),
        (("run", "retain"), None, "one of none, window, all"),
        (("run", "retain"), "all", "genesis.run.window: expected an integer from 0 to 0"),
        (("run", "window"), 0, "genesis.run.window: expected an integer from 1"),
        (("run", "window"), True, "genesis.run.window"),
        (("run", "window"), 2**63, "genesis.run.window"),
    ],
)
def test_a_genesis_whose_run_is_none_is_refused(
    path: tuple[Any, ...], value: Any, reason: str
) -> None:
    with pytest.raises(MalformedRecord, match=reason):
        Genesis.from_node(replaced(WITH_RUN.to_node(), path, value))


def test_a_run_is_in_the_link_to_the_genesis_and_not_in_the_chains_identity() -> None:
    assert Genesis.decode(WITH_RUN.encoded) == WITH_RUN
    for run in (RUN, replace(RUN, window=9), replace(RUN, config=bytes(32))):
        assert replace(GENESIS, run=run).chain_id == GENESIS.chain_id
    assert GENESIS.cid[-32:] == GENESIS.chain_id, "version 1 is covered as a whole"
    links = {replace(GENESIS, run=run).cid for run in (None, RUN, Run(RUN.config, "all"))}
    assert len(links) == 3


@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 40))
def test_a_window_keeps_the_last_heights(height: int, more: int, window: int) -> None:
    last = height + more
    assert Run(bytes(32), "window", window).keeps(height, last) == (more < window)
    assert Run(bytes(32), "all").keeps(height, last)
    assert not Run(bytes(32), "none").keeps(height, last)
