"""`bfedrec torture`: what it finds when a rule is off, what it tells, and what it records."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from bfedrec.cli.main import main
from bfedrec.explorer.trace import read_trace
from bfedrec.sweeps.callers import Callers
from consensus.torture.arena.attackers import known_behaviours
from consensus.torture.arena.scenario import Scenario
from consensus.torture.campaign import Plan, conduct, cores, play
from consensus.torture.mutants.breaks import BREAKS
from consensus.torture.mutants.by_protocol import breaks_of
from consensus.torture.run import run

SMALL = '{"seed":1,"servers":4,"clients":1,"heights":1}'


# -- what it must find -----------------------------------------------------------------------------


FIRST = {
    "tickets-first": 900,
    "showing-decisions": 540,
    "showing-locks": 525,
    "abstaining": 423,
    "no-later-lock": 482,
    "highest-lock": 376,
    "lock-learned-last": 212,
    "locked-judged-anew": 195,
    "durable-votes": 36,
    "said-again-after-a-crash": 57,
    "one-timeout": 26,
    "empty-seats": 4,
    "update-signatures": 3,
    "parent": 6,
    "timestamps": 12,
    "chain-id": 17,
    "contents": 6,
    "availability": 11,
    "durable-proposals": 13,
    "durable-bodies": 2,
    "written-before-promised": 10,
}
"""A seed at which a rule that takes long to be found was found: it is tried first."""


@pytest.mark.parametrize("rule", BREAKS)
def test_a_rule_that_is_switched_off_is_found_out_within_a_thousand_seeds(rule: str) -> None:
    plan = Plan(rule=rule)
    first = [FIRST[rule]] if rule in FIRST else range(20)  # most need no second process
    tally = play(plan, first, stop_at_first=True)
    if not tally.found:
        with Callers(cores()) as workers:
            tally = conduct(plan, range(1000), workers, lambda tally: None, stop_at_first=True)
    assert tally.found, f"{rule}: not found in {tally.scenarios} scenarios"
    scenario = tally.found[0].scenario
    assert not run(scenario).violated, "nothing is wrong with the rule on"


def test_there_are_rules_of_every_kind() -> None:
    assert len(BREAKS) >= 12
    for biased in BREAKS.values():
        assert set(biased.bias.behaviours) <= set(known_behaviours()), biased.name
        assert biased.what
        assert biased.patches


def test_a_break_leaves_nothing_behind() -> None:
    before = [play(Plan(), range(3)).events]
    for rule in BREAKS:
        with BREAKS[rule].applied():
            pass
    assert [play(Plan(), range(3)).events] == before
    with pytest.raises(ZeroDivisionError), BREAKS["quorum"].applied():
        raise ZeroDivisionError
    assert [play(Plan(), range(3)).events] == before


def test_the_known_failures_of_paper_are_found_and_named() -> None:
    named = {
        "deadlock: the committee formed anew is the same": 18,
        "spam takes the steps": 12,
        "capture by rushing": 8,
        "a crash forgets the vote": 67,
    }  # each with a seed at which it was found: they are tried first
    tally = play(Plan("paper"), list(named.values()))
    if not tally.violations.keys() >= named.keys():
        with Callers(cores()) as workers:
            tally = conduct(Plan("paper"), range(100), workers, lambda tally: None)
    assert tally.violations.keys() >= named.keys()
    assert all(tally.violations[name] for name in named)


# -- the command -----------------------------------------------------------------------------------


def torture(*words: str) -> int:
    return main(["torture", *words])


def test_a_clean_campaign_tells_what_it_covered(capsys: pytest.CaptureFixture[str]) -> None:
    assert torture("--seeds", "0-39", "--servers", "4", "--jobs", "1") == 0
    out = capsys.readouterr().out
    assert "scenarios per second and core" in out
    figures = {
        line.rsplit(None, 1)[0].strip(): line.rsplit(None, 1)[1]
        for line in out.splitlines()
        if line.startswith("  ") and line.split()
    }
    assert figures["scenarios"] == "40"
    assert figures["violations"] == "0"
    for name in ("partition", "gaussian", "evidence found"):
        assert name in out


def test_one_seed_is_a_campaign(capsys: pytest.CaptureFixture[str]) -> None:
    assert torture("--seeds", "7") == 0
    assert "scenarios" in capsys.readouterr().out


def test_a_violation_is_a_line_and_the_command_that_replays_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert torture("--seeds", "0-99", "--break", "contents", "--jobs", "1") == 1
    out = capsys.readouterr().out.splitlines()
    [told] = [line for line in out if line.startswith("seed ")]
    [replay] = [line for line in out if line.startswith("  bfedrec torture")]
    words = shlex.split(replay)
    assert words[:4] == ["bfedrec", "torture", "--break", "contents"]
    small = Scenario.from_text(words[-1])
    assert (small.heights, small.faults) == (1, ())
    assert main(words[1:]) == 1
    assert told.split(": ", 1)[1].split(":")[0] in capsys.readouterr().out
    assert torture("--replay", words[-1]) == 0, "with the rule on it holds"
    assert "every invariant holds" in capsys.readouterr().out


def test_a_replay_is_the_same_every_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert torture("--replay", SMALL) == 0
    first = capsys.readouterr().out
    assert "trace " in first
    assert torture("--replay", SMALL) == 0
    assert capsys.readouterr().out == first


def test_a_replay_leaves_a_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "trace.json"
    assert torture("--replay", SMALL, "--trace", str(place)) == 0
    out = capsys.readouterr().out
    trace = read_trace(place)
    assert f"trace {trace.digest[:16]}" in out
    assert Scenario.from_text(trace.scenario) == Scenario.from_text(SMALL)
    assert (trace.violation, trace.rule) == (None, "")
    assert main(shlex.split(trace.command)[1:]) == 0
    assert f"trace {trace.digest[:16]}" in capsys.readouterr().out


def test_a_seeds_violation_is_shrunk_before_it_is_traced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "trace.json"
    assert torture("--replay", "0", "--break", "contents", "--trace", str(place)) == 1
    out = capsys.readouterr().out
    trace = read_trace(place)
    assert trace.violation is not None
    assert f"violated: {trace.violation.invariant}: {trace.violation.what}" in out
    assert trace.rule == "contents"
    drawn = Plan(rule="contents").scenario(0)
    assert len(trace.scenario) < len(drawn.text())
    assert main(shlex.split(trace.command)[1:]) == 1
    assert f"trace {trace.digest[:16]}" in capsys.readouterr().out
    text = place.read_text()
    assert torture("--replay", trace.scenario, "--break", "contents", "--trace", str(place)) == 1
    assert place.read_text() == text, "the same bytes every time"


def test_a_seed_is_replayed_as_a_campaign_plays_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert torture("--replay", "7", "--servers", "5") == 0
    first = capsys.readouterr().out
    assert torture("--replay", Plan(servers=5).scenario(7).text()) == 0
    assert capsys.readouterr().out == first


@pytest.mark.parametrize("protocol", ["bft", "hotstuff", "tendermint"])
def test_the_rules_can_be_listed(protocol: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert torture("--break", "list", "--protocol", protocol) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(breaks_of(protocol))


def test_a_break_of_another_protocol_is_replayed_under_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--break", "precommit-quorum", "--protocol", "tendermint"]
    assert torture("--seeds", "0", "--jobs", "1", *words) == 1
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "--replay" in line)
    assert "--protocol tendermint --break precommit-quorum" in line
    assert main(shlex.split(line)[1:]) == 1
    assert torture("--break", "precommit-quorum") == 2, "bft has no such rule"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "9-1"], "--seeds 9-1: expected A-B"),
        (["--seeds", "x"], "--seeds x: expected A-B"),
        (["--break", "nothing"], "expected list, all, quorum"),
        (["--servers", "3"], "--servers 3: expected int from 4 to 64"),
        (["--premise", "half", "--protocol", "tendermint"], "--premise half: a premise of bft"),
        (["--delays", "halves"], "--delays halves: only with --premise half"),
        (["--premise", "half", "--gossip", "mesh"], "--gossip mesh: with --premise half no serv"),
        (["--jobs", "0"], "--jobs 0: expected int >= 1"),
        (["--trace", "x.json"], "--trace x.json: only with --replay"),
        (["--replay", SMALL, "--trace", "/nowhere/x.json"], "No such file or directory"),
        (["--replay", "1" * 19], "--replay: a scenario is a JSON map"),
        (["--replay", "{"], "--replay: a scenario is a JSON map"),
        (["--replay", '{"seed":1,"servers":4,"malicious":[[0,["kind"]]]}'], "no behaviour 'kind'"),
        (["--replay", '{"seed":1,"servers":4,"faults":[{"flood":1}]}'], "--replay: "),
    ],
)
def test_bad_usage_is_told(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert torture(*words) == 2
    assert said in capsys.readouterr().err


# -- what is recorded ------------------------------------------------------------------------------


def test_a_campaign_is_recorded(tmp_path: Path) -> None:
    record = ["--record", str(tmp_path), "--servers", "4", "--jobs", "1"]
    assert torture("--seeds", "0-9", *record) == 0
    figures = json.loads((tmp_path / "torture-bft-4-0-9.json").read_text())
    assert figures["scenarios"] == 10
    assert figures["violations"] == 0
    assert figures["branches"]["attempt > 0"] > 0
    assert figures["behaviours"].keys() >= set(known_behaviours())
    assert {"command", "git", "versions", "machine"} <= figures.keys()
    assert "| scenarios | 10 |" in (tmp_path / "torture-bft-4-0-9.md").read_text()


def test_a_campaign_with_corruption_is_recorded_under_a_name_of_its_own(tmp_path: Path) -> None:
    record = ["--record", str(tmp_path), "--servers", "4", "--jobs", "1"]
    assert torture("--adaptive", "--seeds", "0-9", *record) == 0
    figures = json.loads((tmp_path / "torture-bft-4-adaptive-0-9.json").read_text())
    told = [name for name in figures["branches"] if name.startswith("a server corrupted")]
    assert told
    assert figures["violations"] == 0


def test_a_corrupted_servers_unknown_behaviour_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    text = '{"seed":1,"servers":4,"corruption":"voters","corrupts":1,"turncoats":["sillent"]}'
    assert torture("--replay", text) == 2
    assert "no behaviour 'sillent', only" in capsys.readouterr().err
    assert torture("--replay", text.replace("sillent", "silent")) == 0


def test_the_breaks_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bfedrec.cli import torture as torture_command
    from bfedrec.report import torture as torture_record

    few = {name: BREAKS[name] for name in ("contents", "locked-judged-anew")}
    for module in (torture_command, torture_record):
        monkeypatch.setattr(module, "breaks_of", lambda protocol: few)
    words = ["--break", "all", "--record", str(tmp_path), "--jobs", "1"]
    assert torture("--seeds", "0-4", *words) == 1, "one of them takes more seeds"
    rules = json.loads((tmp_path / "torture-breaks.json").read_text())["rules"]
    assert [(rule["rule"], rule["seed"]) for rule in rules] == [
        ("contents", 0),
        ("locked-judged-anew", None),
    ]
    assert rules[0]["invariant"] == "exact aggregate"
    assert main(shlex.split(rules[0]["replay"])[1:]) == 1
    assert "| contents |" in (tmp_path / "torture-breaks.md").read_text()


# -- specifications --------------------------------------------------------------------------------


def test_a_model_is_explored_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["torture", "--model", "one-view", "--record", str(tmp_path)]) == 0
    assert "one-view: 719 states" in capsys.readouterr().out
    (line,) = json.loads((tmp_path / "models-one-view.json").read_text())["models"]
    assert (line["states"], line["wrong"], line["trace"]) == (719, "", [])
    assert line["claims"] in (tmp_path / "models-one-view.md").read_text()


def test_a_model_without_a_rule_fails_and_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["torture", "--model", "all", "--break", "left-is-silent"]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0].endswith("A in view 0 and B in view 1 are both decided")
    assert told[1].strip() == "1. server 0 soft-votes A in view 0, justified as a new block"
    assert main(["torture", "--model", "one-view", "--break", "all"]) == 0
    assert "3 of 3 rules, taken out, were found out" in capsys.readouterr().out


def test_models_and_their_rules_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["torture", "--model", "list"]) == 0
    assert "across-views-moved" in capsys.readouterr().out
    assert main(["torture", "--model", "all", "--break", "list"]) == 0
    assert "decided-is-silent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "moon"], "--model moon: expected list, all, asynchrony"),
        (["--model", "one-view", "--break", "left-is-silent"], "--break left-is-silent: expected"),
    ],
)
def test_an_unknown_model_or_rule_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["torture", *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_twins_are_counted_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["torture", "--twins", "1", "--record", str(tmp_path)]) == 0
    assert "15 scenarios of 1 rounds, 0 violations" in capsys.readouterr().out
    figures = json.loads((tmp_path / "twins-1.json").read_text())
    assert (figures["scenarios"], figures["wrong"]) == (15, {})
    assert main(["torture", "--twins", "4"]) == 2
    assert "--twins 4: expected int from 1 to 3" in capsys.readouterr().err
