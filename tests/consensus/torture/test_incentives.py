"""Torture where stake moves: no violation, and every rule of it that is broken is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from consensus.ledger import protocol, settlement, stakes, use
from consensus.ledger.stakes import Stakes
from consensus.ledger.validity import InvalidBlock
from consensus.records.genesis import MILLION
from consensus.server.block_contents import BlockContents
from consensus.torture.arena.drawing import draw
from consensus.torture.arena.rig import genesis_of, incentives_of
from consensus.torture.arena.scenario import BadScenario, Scenario
from consensus.torture.campaign import HEIGHTS, Plan
from consensus.torture.run import run

PLAN = Plan(incentives=True)


def violations(plan: Plan, seeds: Sequence[int]) -> set[str]:
    return {run(plan.scenario(seed)).invariant for seed in seeds} - {""}


@pytest.mark.parametrize("protocol", ["bft", "tendermint"])
def test_stake_is_conserved_and_nobody_honest_is_slashed(protocol: str) -> None:
    slashed = useful = 0
    for seed in range(25):
        outcome = run(replace(PLAN, protocol=protocol).scenario(seed))
        assert not outcome.violated, f"seed {seed}: {outcome.what}"
        slashed += outcome.branches["evidence that took stake"]
        useful += outcome.branches["use that was paid"]
    assert slashed > 0
    assert useful > 20


def test_a_plan_with_incentives_draws_what_it_draws_without_and_attacks_stake() -> None:
    seen = set()
    for seed in range(60):
        plain, moving = draw(seed), PLAN.scenario(seed)
        assert moving.faults == plain.faults
        assert moving.servers == plain.servers
        assert (moving.committee, moving.heights) == ("fixed", HEIGHTS)
        assert Plan().scenario(seed) == plain
        assert Scenario.from_text(moving.text()) == moving
        seen |= {name for _, names in moving.malicious for name in names}
    assert {"frame", "starve"} <= seen


def test_rules_of_scenarios_differ_and_fit_a_genesis() -> None:
    rules = {incentives_of(seed, 10_000) for seed in range(40)}
    assert len(rules) > 30
    for rule in rules:
        assert type(rule).from_node(rule.to_node()) == rule
    assert genesis_of(Scenario(seed=1, servers=4)).incentives is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"protocol": "paper"}, "paper moves no stake"),
        ({"committee": "weighted"}, "with incentives one of fixed"),
        ({"incentives": 1}, "expected true or false"),
    ],
)
def test_a_scenario_that_cannot_move_stake_is_refused(change: dict[str, Any], reason: str) -> None:
    text = replace(Scenario(seed=1, servers=4, incentives=True), **change).text()
    with pytest.raises(BadScenario, match=reason):
        Scenario.from_text(text)


@pytest.mark.parametrize("incentives", [True, False])
def test_a_slow_server_may_vote_a_while_after_it_judged(incentives: bool) -> None:
    """Seed 1997: between both a ticket came to be due, as a vote takes a hundred times as long."""
    outcome = run(replace(PLAN.scenario(1997), incentives=incentives))
    assert not outcome.violated, outcome.what
    assert outcome.heights == HEIGHTS


# -- broken rules ---------------------------------------------------------------------------------

Patch = Callable[[pytest.MonkeyPatch], None]


def _moved_by(change: Callable[..., Stakes]) -> Patch:
    """A rule that moves stake otherwise, for all that compute it."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        original = stakes.moved
        monkeypatch.setattr(settlement, "moved", lambda *a: change(original(*a), *a))

    return patch


def _minted(after: Stakes, *_: Any) -> Stakes:
    return replace(after, treasury=after.treasury + 1)


def _burnt(after: Stakes, before: Stakes, *_: Any) -> Stakes:
    lost = [min(old, new) for old, new in zip(before.held, after.held, strict=True)]
    return replace(after, held=tuple(lost))


def _forgetful(after: Stakes, *_: Any) -> Stakes:
    return replace(after, offences=())


def _paid_by_use_again(after: Stakes, before: Stakes, *moves: Any) -> Stakes:
    held, uses = list(after.held), moves[-1]
    for server, _ in uses[:1]:
        held[server] += 1
    return replace(after, held=tuple(held), treasury=after.treasury - len(uses[:1]))


def _unbound(after: Stakes, *_: Any) -> Stakes:
    return replace(after, uses=())


def _unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "holds", lambda *_: True)


def _anything_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Stakes, "is_punishable", lambda self, found, *_: found.server < len(self.held)
    )


def _any_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "check_certificate", lambda *_: None)


def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stakes, "seated", property(lambda self: self.held))


def _stated_at_will(monkeypatch: pytest.MonkeyPatch) -> None:
    original = settlement.check_settlement

    def check(*checked: Any) -> Any:
        genesis, head, header, facts, sortition, _ = checked
        try:
            return original(*checked)
        except InvalidBlock as error:
            if "stakes that it states" not in str(error):
                raise
        who = header.aggregator
        return settlement.stakes_after(genesis, head, who, facts, sortition)

    monkeypatch.setattr(protocol, "check_settlement", check)


def _any_use(monkeypatch: pytest.MonkeyPatch) -> None:
    original = BlockContents.recomputes

    def recomputes(self: Any, candidate: Any, updates: Any) -> bool:
        told = candidate.settlement
        if told is not None:
            uses = self.aggregate(updates, candidate.updates).uses
            candidate = replace(candidate, settlement=replace(told, uses=uses))
        return original(self, candidate, updates)

    monkeypatch.setattr(BlockContents, "recomputes", recomputes)


def _one_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use, "home", lambda client, servers: 0)


def _full_without_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (use, settlement):
        monkeypatch.setattr(module, "most_use", lambda genesis, count: MILLION)


BROKEN: dict[str, Patch] = {
    "stake out of nothing": _moved_by(_minted),
    "stake that vanishes": _moved_by(_burnt),
    "offences are forgotten": _moved_by(_forgetful),
    "evidence is believed": _unchecked,
    "evidence counts at any time, and again": _anything_counts,
    "anybody took part": _any_certificate,
    "stake counts at once": _at_once,
    "a header states any stake": _stated_at_will,
    "a proposer states any use": _any_use,
    "use is paid twice": _moved_by(_paid_by_use_again),
    "a header says nothing of use": _moved_by(_unbound),
    "all use is one server's": _one_home,
    "few updates are of as much use": _full_without_quota,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BROKEN[name](monkeypatch)
    found = set()
    for seed in range(150):
        found = violations(PLAN, [seed])
        if found:
            break
    assert found & {"stake is conserved", "evidence", "certificates", "turns", "use"}, found
