"""The specifications of `bft`: all states of each bound, and every rule taken out is noticed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.torture.model.across_views import AcrossViews
from consensus.torture.model.engine import Verdict, explore
from consensus.torture.model.models import BREAKS, MODELS
from consensus.torture.model.one_view import OneView

#: States, steps and depth of each model. An exploration that reaches fewer states has lost some.
QUICK = {
    "asynchrony": (5_585, 10_739, 22),
    "asynchrony-four": (50_978, 160_120, 21),
    "one-view": (719, 1_950, 11),
    "one-view-half": (10_430, 30_726, 17),
    "across-views": (16_059, 51_422, 21),
    "across-views-moved": (4_726, 14_329, 17),
    "recovery": (20_828, 91_276, 27),
}
SLOW = {
    "asynchrony-moved": (31_351, 87_535, 23),
    "across-views-change": (115_466, 445_148, 24),
    "across-views-slower": (33_036, 98_273, 27),
    "across-views-three": (444_245, 1_732_968, 17),
    "recovery-five": (374_499, 2_119_051, 34),
}

#: States explored until each rule, taken out, was noticed, and the steps of the counterexample.
FOUND = {
    "two-thirds-suffice": (50, 4),
    "votes-twice": (1_977, 8),
    "closure-without-lock": (10_481, 12),
    "closure-lower-lock": (27_256, 12),
    "timeout-names-last": (43_485, 20),
    "votes-after-leaving": (37_166, 12),
    "certifies-at-once": (53, 5),
    "fast-at-two-thirds": (53, 5),
    "votes-on-equivocation": (709, 9),
    "settle-below-two-delays": (2_222, 11),
    "settle-of-two-delays": (3_659, 12),
    "settle-of-two-delays-across": (2_492, 9),
    "decided-is-silent": (12_365, 15),
    "left-is-silent": (2_984, 11),
    "enters-silently": (9_462, 14),
    "votes-at-once": (2_171, 6),
    "ignores-higher-lock": (2_383, 10),
    "recovery-omits-lock": (7_686, 11),
    "decided-is-silent-in-recovery": (12_235, 17),
    "timeouts-said-once": (7_571, 15),
    "recovery-too-early": (13_628, 16),
    "block-held-back": (9_405, 13),
}


def counted(name: str) -> tuple[int, int, int]:
    """The states, steps and depth of a model, of which nothing is wrong."""
    model = MODELS[name]
    verdict = explore(model.spec, model.most)
    assert verdict.wrong == "", "\n".join(verdict.trace)
    assert verdict.complete is (model.most is None)
    return verdict.states, verdict.steps, verdict.depth


@pytest.mark.parametrize("name", QUICK)
def test_a_claim_holds_in_every_state_of_its_bound(name: str) -> None:
    assert counted(name) == QUICK[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_a_claim_holds_in_every_state_of_a_larger_bound(name: str) -> None:
    assert counted(name) == SLOW[name]


def test_every_model_and_break_is_counted() -> None:
    assert {name for name, model in MODELS.items() if model.quick} == QUICK.keys()
    assert MODELS.keys() == QUICK.keys() | SLOW.keys()
    assert BREAKS.keys() == FOUND.keys()


@pytest.mark.parametrize("name", FOUND)
def test_a_rule_taken_out_is_noticed(name: str) -> None:
    verdict = explore(BREAKS[name].spec)
    assert verdict.wrong
    assert (verdict.states, len(verdict.trace)) == FOUND[name]


@pytest.mark.parametrize(("honest", "malicious"), [(2, 2), (3, 2), (3, 3), (4, 3), (4, 4), (5, 5)])
@pytest.mark.parametrize(("delay", "settle", "holds"), [(1, 3, True), (2, 5, True), (2, 4, False)])
def test_one_lock_beside_a_certified_block_takes_less_than_two_delays(
    honest: int, malicious: int, delay: int, settle: int, holds: bool
) -> None:
    verdict = explore(OneView(honest, malicious, delay, settle))
    one_each = 3 * (malicious + honest // 2) > 2 * (honest + malicious)
    assert (verdict.wrong == "") == (holds or not one_each)


# -- the two forks, and how they read --------------------------------------------------------------


def test_the_silence_of_those_who_decided_is_a_fork() -> None:
    """An honest member decides alone, the other one leaves without the lock and decides, too."""
    verdict = explore(BREAKS["decided-is-silent"].spec)
    assert verdict.wrong == "A in view 0 and B in view 1 are both decided"
    assert "server 0 decides A in view 0" in verdict.trace
    assert "server 1 enters by a closure of view 0 that names no lock" in verdict.trace
    assert verdict.trace[-1] == "server 1 cert-votes B in view 1"


def test_the_silence_of_those_who_left_is_a_fork() -> None:
    """A closure with the lock comes to the member that certified, another one to the rest."""
    verdict = explore(BREAKS["left-is-silent"].spec)
    assert verdict.wrong == "A in view 0 and B in view 1 are both decided"
    assert "server 0 enters by a closure of view 0 that names A in view 0" in verdict.trace
    assert "server 1 enters by a closure of view 0 that names no lock" in verdict.trace
    assert "server 0 hears of a closure of view 0 that names no lock" in verdict.trace


def test_a_lower_lock_on_the_decided_block_is_no_excuse_for_silence() -> None:
    """A closure of view 2 with the lock of view 0 on the decided block lets a later lock on the
    other block justify a candidate; the state space of four views is too large to find it."""
    plot = """server 1 soft-votes A in view 0
        server 0 enters by a closure of view 0 that names no lock
        server 1 enters by a closure of view 0 that names no lock
        3 ticks
        server 1 soft-votes B in view 1
        server 0 enters by a closure of view 1 that names A in view 0
        server 1 enters by a closure of view 1 that names A in view 0
        3 ticks
        server 0 soft-votes A in view 2
        server 0 waits, having locked A in view 2
        3 ticks
        server 0 cert-votes A in view 2
        server 0 decides A in view 2
        server 1 enters by a closure of view 2 that names A in view 0
        server 0 hears of a closure of view 2 that names A in view 0
        3 ticks
        server 1 soft-votes B in view 3, justified by B in view 1
        server 1 cert-votes B in view 3"""
    spec = AcrossViews(((1, 1), (1, 1), (1, 1), (0, 2)), (2,) * 4, answers_lower=False)
    assert played(spec, plot).startswith("A in view 2 and B in view 3 are both decided")
    with pytest.raises(LookupError, match="server 0 hears"):
        played(replace(spec, answers_lower=True), plot)


def played(spec: AcrossViews, plot: str) -> str:
    """Take steps that begin as told, one a line; return what is wrong in the end."""
    state = spec.initial()
    for line in plot.splitlines():
        step = line.strip()
        for wanted in ["a tick passes"] * 3 if step == "3 ticks" else [step]:
            steps = spec.steps(state)
            found = [after for action, after in steps if spec.tell(action).startswith(wanted)]
            if not found:
                raise LookupError(step)
            state = found[0]
    return spec.wrong(state)


# -- the engine ------------------------------------------------------------------------------------


def test_an_exploration_ends_at_its_greatest_depth() -> None:
    spec = MODELS["one-view"].spec
    states = [explore(spec, most).states for most in range(13)]
    assert states == sorted(states)
    assert states[0] == 1
    assert states[11] == states[12] == QUICK["one-view"][0]
    assert not explore(spec, 10).complete
    assert explore(spec, 12).complete


def test_servers_that_are_alike_are_swapped_for_fewer_states() -> None:
    """Sorting changes the count of states, never the verdict."""

    class Unsorted(OneView):
        def canonical(self, state):  # type: ignore[no-untyped-def]
            return state

    plain: Verdict = explore(Unsorted(3, 3))
    assert (plain.states, plain.wrong) == (273, "")
    assert explore(OneView(3, 3)).states < plain.states
    assert explore(Unsorted(4, 3, settle=2)).wrong == explore(OneView(4, 3, settle=2)).wrong


def test_a_trace_names_the_same_server_from_beginning_to_end() -> None:
    """A member certifies what it soft-voted, though canonical states swap members."""
    verdict = explore(OneView(4, 3, settle=2))
    said = [step.split() for step in verdict.trace if step.startswith("member")]
    votes = {(words[1], words[-1]) for words in said if words[2] == "soft-votes"}
    assert len(votes) == len({server for server, _ in votes})
    assert all((words[1], words[-1]) in votes for words in said)
