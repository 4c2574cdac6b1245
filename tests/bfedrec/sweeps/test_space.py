"""The space of a study: what words of a command line mean, and where the sampler tries next."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from bfedrec.config.yaml_core import ConfigError
from bfedrec.sweeps.space import Choice, Point, Range, Space, parse, propose

RISING = parse(["training.item_step=0.001..10:log", "model.rank=1..8", "training.loss=bce,softmax"])


def test_words_are_ranges_choices_or_fixed() -> None:
    space = parse(
        ["training.l2=1e-4..0.1:log", "model.rank=2..8", "rounds=7", "@x.yaml", "protocol=a,b"]
    )
    assert space.axes == (
        Range("training.l2", 1e-4, 0.1, True),
        Range("model.rank", 2, 8, False),
        Choice("protocol", ("a", "b")),
    )
    assert [axis.text for axis in space.axes] == ["0.0001..0.1:log", "2..8", "a,b"]
    assert space.fixed == ("rounds=7", "@x.yaml")
    assert space.overrides({"training.l2": 1e-05, "model.rank": 3}) == [
        "rounds=7",
        "@x.yaml",
        "training.l2=1e-05",
        "model.rank=3",
    ]


def test_what_only_looks_like_a_range_is_a_value() -> None:
    """A path may hold two dots; and a list in brackets is one value."""
    for word in ("data.csv.path=../a..b.csv", "x=1..", "x=..2", "x=[1,2]"):
        assert parse([word]) == Space((), (word,))
    (axis,) = parse(["training.l2=-.5..+1."]).axes
    assert (axis.ends, axis.text) == ((-0.5, 1.0), "-0.5..1.0")


def test_all_combinations_of_choices() -> None:
    space = parse(["a=1,2,4", "b=x,y", "c=3"])
    points = space.combinations()
    assert len(points) == 6
    assert points[1] == {"a": "1", "b": "y"}
    assert parse([]).combinations() == [{}]
    with pytest.raises(ConfigError, match=r"training.l2=0.1..0.2: a range needs --trials"):
        parse(["training.l2=0.1..0.2"]).combinations()


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("training.l2=0.1..0.01", "LOW below HIGH"),
        ("training.l2=0.1..0.1", "LOW below HIGH"),
        ("training.l2=0..1e999", "LOW below HIGH"),
        ("training.l2=0..0.1:log", "a LOW above 0"),
        ("model.rank=0..4:log", "a LOW above 0"),
        ("training.l2=-1..0.1:log", "a LOW above 0"),
        ("model.rank=1..4.5", "expected integers, as model.rank is one"),
        ("model.rank=1e0..4", "expected integers"),
        ("model.rank=1,2,1", "a value is there twice"),
        ("seed=0..5", "not an option to tune"),
        ("name=a", "not an option to tune"),
        ("rounds", "expected key=value"),
    ],
)
def test_words_that_are_refused(word: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        parse([word])
    assert str(refused.value).startswith("command line: ")
    assert "\n" not in str(refused.value)


def test_a_key_has_one_place() -> None:
    with pytest.raises(ConfigError, match=r"command line: rounds: given twice"):
        parse(["rounds=7", "rounds=1..3"])


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("training.stepp=0.1..1", "training.stepp: unknown key"),
        ("training.l2=-1..1", "training.l2: -1.0: expected float"),
        ("model.rank=4..99", "model.rank: 99: expected"),
        ("training.loss=bce,softmaxx", "did you mean 'softmax'"),
        ("training.loss=1..2", "training.loss: 1.0: expected"),
    ],
)
def test_every_end_has_to_be_allowed(tmp_path: Path, word: str, why: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("model: {dimension: 8, rank: 2}\n")
    space = parse([word, "training.item_step=0.1..1"])
    with pytest.raises(ConfigError, match=why):
        space.checked(path)


def test_the_config_at_the_first_values_is_checked(tmp_path: Path) -> None:
    """Options that disagree elsewhere, here a rank of 8 at a dimension of 4, are failed trials."""
    path = tmp_path / "x.yaml"
    path.write_text("name: x\n")
    config = parse(["model.dimension=8,4", "model.rank=1..8", "rounds=3"]).checked(path)
    assert (config.model.dimension, config.model.rank, config.rounds) == (8, 1, 3)


# --- proposals -----------------------------------------------------------------------------------


def hill(point: Point) -> float:
    """A score with its optimum at item_step 0.2, rank 6, softmax."""
    step, rank = point["training.item_step"], point["model.rank"]
    assert isinstance(step, float)
    assert isinstance(rank, int)
    far = math.log10(step / 0.2) ** 2 + ((rank - 6) / 4) ** 2
    return -far - 0.5 * (point["training.loss"] == "bce")


def searched(seed: int, trials: int) -> list[tuple[Point, float]]:
    scored: list[tuple[Point, float]] = []
    for number in range(trials):
        point = propose(RISING, seed, number, scored)
        scored.append((point, hill(point)))
    return scored


def test_a_planted_optimum_is_found() -> None:
    """Nearer than as many draws at random come, on average of three seeds."""
    best = [max(searched(seed, 50), key=lambda each: each[1]) for seed in range(3)]
    for point, score in best:
        assert score > -0.12
        assert point["training.loss"] == "softmax"
    random = [
        max(hill(propose(RISING, seed, number, [])) for number in range(50)) for seed in range(3)
    ]
    assert sum(score for _, score in best) > sum(random)


def test_a_proposal_follows_from_seed_number_and_trials() -> None:
    scored = searched(3, 15)
    point = propose(RISING, 3, 15, scored)
    assert point == propose(RISING, 3, 15, scored)
    assert point != propose(RISING, 4, 15, scored)
    assert point != propose(RISING, 3, 16, scored)
    assert point != propose(RISING, 3, 15, scored[:12])
    assert point != propose(RISING, 3, 15, scored, [point] * 5)


def test_proposals_lie_in_the_space_with_few_digits() -> None:
    space = parse(["training.item_step=0.123456..0.12347", "model.rank=3..4"])
    for number in range(20):
        step, rank = propose(space, 0, number, []).values()
        assert isinstance(step, float)
        assert 0.123456 <= step <= 0.12347
        assert rank in (3, 4)
    step = propose(RISING, 0, 0, [])["training.item_step"]
    assert float(f"{step:.4g}") == step


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'bfedrec\[tune\]'") as refused:
        propose(RISING, 0, 0, [])
    assert "\n" not in str(refused.value)
