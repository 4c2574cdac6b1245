"""The machinery of the mutation campaign: it finds a change that matters, and no other."""

from __future__ import annotations

import itertools
import tomllib

import pytest

from tests.mutation import judging
from tests.mutation.task import ROOT, files_for, judged

VOTE = "consensus/protocols/bft/vote.py"
COUNTS = "state.decided is None and committee.approves(tally.weight)"


def changed(before: str, after: str) -> str:
    """The source of the vote with one change."""
    source = (ROOT / VOTE).read_text(encoding="utf-8")
    assert source.count(before) == 1
    return source.replace(before, after)


def verdict(text: str, seeds: int = 0, tests: tuple[str, ...] = ()) -> dict[str, object]:
    """The verdict of a few scenarios and the named tests of the vote on a changed file."""
    files = [f"{ROOT}/tests/consensus/protocols/test_bft_vote.py{name}" for name in tests]
    task = {"path": VOTE, "text": text, "first": [("third", 0, seeds)], "rest": [], "tests": files}
    return judged(task)


def test_torture_finds_a_block_that_is_decided_by_one_vote():
    found = verdict(changed(COUNTS, "state.decided is None"), seeds=3)
    assert found["killed"] == "torture"
    assert str(found["by"]).startswith("third 1: ")


def test_tests_find_it_too():
    found = verdict(changed(COUNTS, "state.decided is None"), tests=("",))
    assert found["killed"] == "test"
    assert "test_bft_vote.py::" in str(found["by"])


def test_the_same_program_written_otherwise_survives():
    same = changed(COUNTS, "committee.approves(tally.weight) and state.decided is None")
    found = verdict(same, seeds=3, tests=("",))
    assert (found["killed"], found["by"]) == ("", "")


def test_what_does_not_import_is_told_apart():
    assert verdict(changed("NEVER,\n", "NEVER_EVER,\n"))["killed"] == "import"


def test_an_endless_scenario_is_found_and_not_waited_for(monkeypatch):
    import consensus.torture.run as module

    monkeypatch.setattr(judging, "SCENARIO", 0.05)
    monkeypatch.setattr(module, "run", lambda scenario: next(i for i in itertools.count() if i < 0))
    assert judging.torture([("third", 7, 8)]) == "third 7: endless"


def test_every_reason_names_a_verdict():
    text = (ROOT / "tests/mutation/survivors.toml").read_text(encoding="utf-8")
    entries = tomllib.loads(text).get("survivor", [])
    assert len({entry["name"] for entry in entries}) == len(entries)
    assert all(entry["verdict"] in ("equivalent", "harmless", "gap") for entry in entries)
    assert all(entry["why"] for entry in entries)


def test_the_nearest_tests_come_first():
    assert files_for(VOTE)[0].endswith("test_bft_vote.py")
    assert files_for("consensus/ledger/sortition.py")[0].endswith("test_sortition.py")


SOURCE = """
def least(numbers: list[int] | None, most: int = 3) -> int:
    if numbers is None or not numbers:
        raise ValueError
    check(numbers)
    return min(numbers) if len(numbers) <= most else 0
"""


def test_a_seed_fixes_the_mutants_and_annotations_have_none():
    pytest.importorskip("cosmic_ray")
    from tests.mutation.generating import mutants

    drawn = list(mutants("a.py", SOURCE, "1"))
    assert [mutant.name for mutant in drawn] == [
        mutant.name for mutant in mutants("a.py", SOURCE, "1")
    ]
    assert {"DropCall", "DropOperand", "SkipBranch", "NumberReplacer"} <= {
        mutant.operator for mutant in drawn
    }
    assert all("list[int] | None" in mutant.text for mutant in drawn)
    later = {mutant.name for mutant in mutants("a.py", "import this\n" + SOURCE, "1")}
    assert {mutant.name for mutant in drawn} == later


def test_operators_do_what_their_examples_say():
    pytest.importorskip("cosmic_ray")
    from cosmic_ray.mutating import mutate_code

    from tests.mutation.operators import OWN

    for kind in OWN.values():
        for example in kind.examples():
            text = mutate_code(example.pre_mutation_code, kind(), example.occurrence)
            assert text == example.post_mutation_code
