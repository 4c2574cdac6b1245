"""A codec in a file outside the package: chosen in a config, with its own parameter, its bytes
counted; and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bfedrec.aggregation.registry import aggregator_named
from bfedrec.cli.audit import audit_command
from bfedrec.compression.codec import CODECS, Codec, codec, parameter
from bfedrec.compression.exchange import Exchange, describe, described
from bfedrec.compression.registry import codec_named
from bfedrec.config.help import help_text
from bfedrec.config.load import ConfigError, config_hash, dump, load, parse
from consensus.records.genesis import Genesis
from consensus.records.update import UpdateRecord
from consensus.storage.sqlite import SqliteStore
from tests.bfedrec.runs.test_simulation import play
from tests.helpers.plugin import imported

N, D = 60, 8  # items and dimension of the small experiment

CHOSEN = ["compression.kind=shifted", "compression.shift=12"]


@pytest.fixture
def shifted(tmp_path: Path) -> Iterator[None]:
    with CODECS.restored():
        imported(tmp_path, "codec")
        yield


def test_a_codec_is_one_file(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    usual = config_hash(load(None))
    with pytest.raises(ConfigError, match=r"compression\.shift: unknown key"):
        load(None, CHOSEN[1:])
    request.getfixturevalue("shifted")
    config = load(None, CHOSEN)
    assert parse(dump(config), "dumped") == config
    assert config.compression.parameters == {"shift": 12}
    assert config_hash(load(None)) == usual  # what nobody asks for changes no recorded hash
    shown = " ".join(help_text().split())
    assert "shifted: integers in units of 2^-shift" in shown
    assert "compression.shift  (int >= 0 <= 30; default 16)" in help_text()
    assert "random, svd, top_k, shifted: a client keeps what the codec lost" in shown


@pytest.mark.usefixtures("shifted")
def test_a_run_with_it_is_counted_and_audited(tmp_path: Path) -> None:
    run = tmp_path / "run"
    summary = play(run, *CHOSEN, "crypto=modelled", "ledger.retain_updates=all")
    with SqliteStore(run / "chain.sqlite", read_only=True) as store:
        records = [data for height in store.update_heights() for data in store.updates(height)]
        application = Genesis.decode(store.block(0)).application
        payloads = [store.get(UpdateRecord.decode(data).payload) for data in records]
    assert application["compression"]["parameters"] == {"shift": 12}
    assert {len(payload) for payload in payloads} == {4 * D * N}
    assert summary["uplink_bytes"] == sum(map(len, records)) + len(records) * 4 * D * N
    numbers = np.frombuffer(payloads[0], "<i4")
    assert 0 < np.abs(numbers).max() < 100 * 2**12
    assert audit_command(run) == 0


@pytest.mark.usefixtures("shifted")
def test_the_genesis_records_its_parameter() -> None:
    rule = aggregator_named("samples")
    exchange = Exchange.named(rule, "shifted", 4, 5, 2, "same", {"shift": 3})
    told = describe(exchange)
    assert told["compression"]["parameters"] == {"shift": 3}
    assert described(told, rule, 4, 5) == exchange
    assert "parameters" not in describe(Exchange.named(rule, "top_k", 4, 5, 2))["compression"]
    with pytest.raises(ValueError, match="codec 'top_k' takes no parameters, not shift"):
        codec_named("top_k", 4, 5, 2, {"shift": 3})
    with pytest.raises(ValueError, match="shift must be an integer from 0 to 30, not 31"):
        codec_named("shifted", 4, 5, 2, {"shift": 31})


@pytest.mark.usefixtures("shifted")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compression.kind=shiftd"], "'shiftd': expected dense | low_rank | quantised | random"),
        (["compression.kind=shiftd"], "did you mean 'shifted'?"),
        (["compression.kind=top_k", CHOSEN[1]], "compression.shift: 12: expected 16, as"),
        (["compression.kind=shifted", "compression.shift=31"], "31: expected int >= 0 <= 30"),
        (["compression.kind=shifted", "compression.shft=3"], "did you mean 'compression.shift'?"),
    ],
)
def test_what_is_refused_is_said(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        load(None, words)


@pytest.mark.usefixtures("shifted")
def test_a_name_stands_for_one_codec_and_a_key_for_one_option() -> None:
    @dataclass(frozen=True)
    class Other(Codec):
        shift: int = parameter(3, 0, 30, "another")

    @dataclass(frozen=True)
    class Taken(Codec):
        downlink: int = parameter(1, 1, 2, "a key that is taken")

    for name, kind, said in (
        ("shifted", Other, "codec 'shifted' is registered twice"),
        ("other", Other, "shift is another parameter than that of 'shifted'"),
        ("taken", Taken, "a parameter cannot be named 'downlink'"),
    ):
        with pytest.raises(ValueError, match=said):
            codec(name)(kind)
    with pytest.raises(ValueError, match=r"is not one of .*; did you mean 'shifted'"):
        codec_named("shfted", 4, 5, 2)
