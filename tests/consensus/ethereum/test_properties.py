"""Random sequences of calls, by anyone, right and wrong: the contract does what the rules say.

Hundreds of sequences on revm, which takes a millisecond a call; one long one on each chain.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.ethereum.node import Node
from consensus.ethereum.records import Model
from tests.consensus.ethereum.reference import Refused
from tests.consensus.ethereum.scene import FOUNDERS, INITIAL, OPERATOR, deploy, model
from tests.consensus.ethereum.targets import OfBinding, OfMachine, OfRules, Target
from tests.helpers.ethereum import ACCOUNTS

WHO = [each.address for each in ACCOUNTS[:6]]
ZERO = "0x" + "00" * 20
GOOD = [model("model 0"), model("model 1"), Model(model("model 1").cid, model("model 0").digest)]
BAD = [Model(b"", GOOD[0].digest), Model(bytes(65), GOOD[0].digest), Model(b"x", bytes(32))]
SAMPLES = [1, 10**12, 0, 10**12 + 1, 2**64 - 1]


KINDS = ["publish"] * 2 + ["attest"] * 7 + ["admit", "retire", "retire"]
WHAT = [0, 0, 0, 0, 0, 0, 1, 2]
"""Mostly the same aggregate, so that rounds close."""


@dataclass(frozen=True)
class Step:
    """One call, told by what it has right and wrong about the state in which it is made."""

    kind: str
    sender: int
    whom: int
    what: int
    off: int
    """What is wrong with it: 0 to 4 nothing, else one thing each."""


def steps() -> st.SearchStrategy[Step]:
    numbers = st.integers(0, 5), st.integers(0, 5), st.sampled_from(WHAT), st.integers(0, 9)
    return st.builds(Step, st.sampled_from(KINDS), *numbers)


def made(step: Step, rules: OfRules) -> tuple[str, str, list[Any]]:
    """Method, sender and arguments of a step."""
    now = rules.rules.open
    if step.kind in ("admit", "retire"):
        sender = WHO[step.sender] if step.off == 9 else OPERATOR.address
        return step.kind, sender, [ZERO if step.off == 8 else WHO[step.whom]]
    number = now.number + {5: 1, 6: -1}.get(step.off, 0)
    what = BAD[step.what] if step.off == 7 else GOOD[step.what]
    sender = now.merchants[step.sender % len(now.merchants)] if step.off < 4 else WHO[step.sender]
    if step.kind == "publish":
        parent = GOOD[step.what].digest if step.off == 8 else now.parent.digest
        samples = SAMPLES[step.whom % 5] if step.off == 9 else 1 + step.whom
        return "publish", sender, [max(number, 0), parent, what, samples]
    covered = max(len(now.publications) + {8: 1, 9: -1}.get(step.off, 0), 0)
    return "attest", sender, [max(number, 0), covered, what]


def outcome(target: Target, name: str, sender: str, arguments: list[Any]) -> tuple[Any, ...]:
    try:
        target.call(name, sender, *arguments)
    except Refused as refusal:
        return refusal.name, *refusal.arguments
    return ()


def compare(rules: OfRules, target: Target, sequence: list[Step]) -> Counter[str]:
    """Make the calls on both, hold each answer and then all rounds against each other; return how
    often each thing happened."""
    seen: Counter[str] = Counter()
    for step in sequence:
        name, sender, arguments = made(step, rules)
        expected = outcome(rules, name, sender, arguments)
        assert outcome(target, name, sender, arguments) == expected, step
        seen[expected[0] if expected else name] += 1
    seen["closed"] = rules.rules.open.number - 1
    for number in range(rules.rules.open.number + 1):
        assert target.read(number) == rules.read(number)
    assert target.next() == rules.next()
    with pytest.raises(Refused, match="UnknownRound"):
        target.read(rules.rules.open.number + 1)
    return seen


def begin() -> tuple[OfRules, OfMachine]:
    arguments = OPERATOR.address, INITIAL, [each.address for each in FOUNDERS]
    return OfRules(*arguments), OfMachine(*arguments)


@settings(max_examples=60)
@given(st.lists(steps(), max_size=30))
def test_random_calls_do_what_the_rules_say(sequence: list[Step]) -> None:
    rules, machine = begin()
    seen = compare(rules, machine, sequence)
    # Every accepted call is one event, and a closed round two more.
    told = Counter(machine.events)
    assert told["Published"] == seen["publish"]
    assert told["Attested"] == seen["attest"]
    assert told["Admitted"] == seen["admit"] + len(FOUNDERS)
    assert told["Retired"] == seen["retire"]
    assert told["RoundClosed"] == told["RoundOpened"] - 1 == seen["closed"]


def drawn(seed: int, count: int) -> list[Step]:
    """Steps of a seed, as many as one likes."""
    draw = random.Random(seed)
    numbers = range(6), range(6), WHAT, range(10)
    return [
        Step(draw.choice(KINDS), *(draw.choice(several) for several in numbers))
        for _ in range(count)
    ]


def test_long_sequences_reach_every_refusal_and_many_rounds() -> None:
    seen: Counter[str] = Counter()
    for seed in range(2):
        seen += compare(*begin(), drawn(seed, 400))
    assert seen["closed"] > 20
    reached = {"NotOperator", "BadMerchant", "AlreadyMerchant", "NotMerchant", "LastMerchant"}
    reached |= {"NotActive", "WrongRound", "WrongParent", "AlreadyPublished", "NothingPublished"}
    reached |= {"StaleAttestation", "AlreadyAttested", "BadCid", "BadDigest", "BadSamples"}
    assert reached <= set(seen)


def test_a_chain_does_what_the_rules_say(node: Node) -> None:
    rules = OfRules(OPERATOR.address, INITIAL, [each.address for each in FOUNDERS])
    target = OfBinding(deploy(node), list(ACCOUNTS[:6]))
    assert compare(rules, target, drawn(7, 40))["closed"] > 1
