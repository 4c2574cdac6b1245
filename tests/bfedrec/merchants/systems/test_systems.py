"""Both systems side by side: what small cases come to, and verdicts that can fail."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bfedrec.cli.main import main
from bfedrec.data.interactions import DataError
from bfedrec.merchants.market import MarketSettings
from bfedrec.merchants.settings import StepSettings
from bfedrec.merchants.systems.comparison import compare
from bfedrec.merchants.systems.ledger import Ledger
from bfedrec.merchants.systems.record import (
    LIES,
    Case,
    Caught,
    Comparison,
    Played,
    from_json,
    to_json,
)
from bfedrec.merchants.systems.shops import Shops
from bfedrec.report.artefact import Request
from bfedrec.report.tables import systems

MARKET = MarketSettings(3, 60, 40)
SETTINGS = StepSettings(epochs=2)
EVENTS = 300
CHOSEN = tuple((lie, "plain") for lie in LIES)


@pytest.fixture(scope="module")
def found() -> Comparison:
    """Every lie of one of three merchants, two rounds."""
    return compare((3,), 2, EVENTS, SETTINGS, 0, lambda line: None, MARKET, CHOSEN)


def case(found: Comparison, system: str, lie: str) -> Case:
    named = systems.named(found, system, 3, lie, "plain")
    assert named is not None
    return named


def test_honest_merchants_get_the_same_models_from_both_systems(found: Comparison) -> None:
    ledger, contract = case(found, "ledger", "none"), case(found, "contract", "none")
    assert [one.model for one in ledger.rounds] == [one.model for one in contract.rounds]
    assert len({one.model for one in ledger.rounds}) == len(ledger.rounds) == 2
    assert all(one.gas > 100_000 for one in contract.rounds)
    assert all(one.simulated_seconds == 24 for one in contract.rounds)
    assert contract.rounds[0].bytes["models put into the store"] == 7 * (48 + 84 * 40)
    assert all(one.bytes["HTTP with the node"] > 10_000 for one in contract.rounds)
    assert ledger.rounds[0].bytes["gossip: update"] > 6 * (48 + 84 * 40)  # three, to two others
    assert systems.wrong(found) == []


@pytest.mark.parametrize(
    ("system", "lie", "expected"),
    [
        ("ledger", "average", "stops in round 1, no fork"),
        ("ledger", "silence", "stops in round 1, no fork"),
        ("ledger", "twice", "stops in round 1, no fork"),
        ("ledger", "malformed", "caught each time; the others go on"),
        ("ledger", "replay", "caught each time; the others go on"),
        ("ledger", "garbage", "not caught; nobody can train in round 2"),
        ("contract", "average", "caught each time; the others go on"),
        ("contract", "silence", "caught each time; the others go on"),
        ("contract", "twice", "caught each time; the others go on"),
        ("contract", "malformed", "caught each time; the others go on"),
        ("contract", "replay", "caught each time; the others go on"),
        ("contract", "garbage", "not caught; nobody can train in round 2"),
    ],
)
def test_what_one_liar_of_three_comes_to(
    found: Comparison, system: str, lie: str, expected: str
) -> None:
    assert systems.verdict(case(found, system, lie)) == expected


def test_the_contracts_liar_moves_no_aggregate(found: Comparison) -> None:
    honest = case(found, "contract", "none").rounds
    for lie in ("average", "twice"):  # its own model is in, and nothing else of it
        assert [one.model for one in case(found, "contract", lie).rounds] == [
            one.model for one in honest
        ]
    for lie in ("malformed", "silence"):
        assert all(len(one.included) == 2 for one in case(found, "contract", lie).rounds)
    whats = {one.what for one in case(found, "contract", "replay").rounds[1].caught}
    assert {"the transaction is in a block already", "WrongParent"} <= whats


@pytest.mark.parametrize("lie", ["average", "silence", "twice"])
def test_a_ledger_of_four_goes_on_with_a_liar(lie: str) -> None:
    shops = Shops(replace(MARKET, shops=4), EVENTS, SETTINGS, 0)
    result = Ledger(shops, lie, "plain").play(2)
    assert (len(result.rounds), result.stopped) == (2, "")
    one = Case("ledger", 4, lie, "plain", result.rounds, "", (), 0.0)
    assert all(each.right for each in result.rounds)
    expected = {"caught each time; the others go on"}
    if lie == "average" and not any(each.lied for each in result.rounds):
        expected = {systems.NO_OCCASION}  # it was nobody's turn
    assert {systems.verdict(one)} == expected


# -- verdicts that fail ---------------------------------------------------------------------------

ROUND = Played(1, "a", True, ("x", "y"), 1.0, 1.0, {"gossip: vote": 5}, 0, 1, False, ())
LIED = replace(ROUND, lied=True)
TOLD = replace(LIED, caught=(Caught("somebody", "a lie"),))


def comparison(*cases: Case) -> Comparison:
    return Comparison(0, 1, EVENTS, cases)


def a_case(
    one: Played | None,
    lie: str = "none",
    system: str = "ledger",
    merchants: int = 4,
    stop: str = "",
) -> Case:
    return Case(system, merchants, lie, "plain", () if one is None else (one,), stop, (), 0.0)


HONEST = (a_case(ROUND), a_case(ROUND, system="contract"))


@pytest.mark.parametrize(
    ("cases", "told"),
    [
        ((a_case(replace(ROUND, right=False), "average"),), "a wrong aggregate was accepted"),
        ((a_case(TOLD), HONEST[1]), "nobody lies, plain: false alarm"),
        ((a_case(None, "twice", stop="forked: two blocks"),), "forks in round 1"),
        ((a_case(None, "silence", stop="stalled: no quorum"),), "silence, plain: stalled: no"),
        ((a_case(None, "silence", "contract", 3, "round 1 stays open"),), "round 1 stays open"),
        ((a_case(LIED, "malformed"),), "a lie is in no record"),
        ((HONEST[0], a_case(replace(ROUND, model="b"), system="contract")), "have other CIDs"),
        ((HONEST[0],), "the systems were not compared"),
    ],
)
def test_a_verdict_can_fail(cases: tuple[Case, ...], told: str) -> None:
    assert any(told in line for line in systems.wrong(comparison(*cases)))


def test_what_is_as_it_should_be_is_not_told() -> None:
    cases = (
        *HONEST,
        a_case(TOLD, "malformed"),
        a_case(LIED, "garbage"),
        a_case(ROUND, "average"),
        a_case(None, "silence", merchants=3, stop="stalled: outside of the premise"),
    )
    assert systems.wrong(comparison(*cases)) == []


# -- record and table -----------------------------------------------------------------------------


def test_the_table_is_printed_from_the_record(
    found: Comparison, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = systems.make(Request(records=tmp_path))
    assert f"bfedrec merchants systems --out {tmp_path}" in made.lacking
    (tmp_path / "merchants").mkdir()
    (tmp_path / "merchants" / "systems.json").write_text(to_json(found))
    made = systems.make(Request(records=tmp_path))
    assert (made.lacking, made.wrong) == ("", "")
    assert len(made.table.rows) == 2 * len(LIES)
    silent = [row for row in made.table.rows if row["lie"] == "silence"]
    assert [row["rounds"] for row in silent] == ["0 of 2", "2 of 2"]
    assert "gas" not in silent[0]
    assert isinstance(silent[1]["gas"], int)
    assert main(["table", "systems", "--from", str(tmp_path), "--out", str(tmp_path)]) == 0
    assert "With 3 servers one malicious one is outside" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [{"cases": [{}]}, {"rounds": -1}, {"market": {"shops": 0}}, {"cases": "none"}, {"seed": 0.5}],
)
def test_a_damaged_record_is_refused(change: dict[str, object]) -> None:
    text = to_json(comparison(*HONEST))
    assert from_json(text, "here") == comparison(*HONEST)
    with pytest.raises(DataError, match="here: no record of `bfedrec merchants systems`"):
        from_json(json.dumps(json.loads(text) | change), "here")
    twice = json.loads(text)
    twice["cases"] *= 2
    with pytest.raises(DataError, match="a case stands in it twice"):
        from_json(json.dumps(twice), "here")


@pytest.mark.parametrize(
    "words", [["--merchants", "1"], ["--merchants", "3;4"], ["--rounds", "1"], ["--epochs", "0"]]
)
def test_values_without_sense_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merchants", "systems", *words]) == 2
    assert capsys.readouterr().err.startswith("bfedrec: command line: ")
