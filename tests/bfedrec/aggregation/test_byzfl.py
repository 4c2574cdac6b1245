"""The rules of the library byzfl: against ours where they say the same, in runs, and without it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.aggregation.aggregator import DecodedUpdate
from bfedrec.aggregation.registry import AGGREGATORS, aggregator_named
from bfedrec.aggregation.rules.robust import krum_scores
from bfedrec.cli.main import main
from bfedrec.federation.global_model import GlobalModel
from tests.helpers import tiny
from tests.helpers.payloads import exchange

installed = pytest.mark.skipif(
    AGGREGATORS["byzfl_krum"].missing() != "", reason="byzfl is not installed"
)
PEERS = [name for name in AGGREGATORS if name.startswith("byzfl_")]

shapes = {
    "seed": st.integers(0, 2**32),
    "n": st.integers(1, 12),
    "r": st.integers(1, 3),
    "N": st.integers(1, 12),
    "scale": st.sampled_from([1e-30, 1e-3, 1.0, 1e30]),
}


def updates(seed: int, n: int, r: int, N: int, scale: float = 1.0) -> list[DecodedUpdate]:
    """Updates of n clients that all touched every item; some of them are far from the others."""
    rng = np.random.default_rng(seed)
    far = np.where(rng.random(n) < 0.2, 30.0, 1.0)[:, None, None]
    A = (scale * far * (1 + rng.standard_normal((n, r, N)))).astype(np.float32)
    return [DecodedUpdate(each, np.ones(N, np.uint8)) for each in A]


def combined(name: str, given: list[DecodedUpdate], **parameters: int) -> np.ndarray:
    """The aggregate, float64[r, N], by a rule with these parameters beside its defaults."""
    rule = aggregator_named(name, aggregator_named(name).parameters | parameters)
    return rule.mean(iter(given), [1] * len(given), *given[0].A.shape)


# --- against ours ---------------------------------------------------------------------------------


@installed
@settings(deadline=None)
@given(**shapes)
def test_medians_are_the_same_numbers(seed: int, n: int, r: int, N: int, scale: float) -> None:
    given = updates(seed, n, r, N, scale)
    assert np.array_equal(combined("byzfl_median", given), combined("median", given))


@installed
@settings(deadline=None)
@given(**shapes, permille=st.integers(0, 499))
def test_trimmed_means_are_the_same(
    seed: int, n: int, r: int, N: int, scale: float, permille: int
) -> None:
    given = updates(seed, n, r, N, scale)
    ours, theirs = (
        combined(name, given, malicious_permille=permille)
        for name in ("trimmed_mean", "byzfl_trimmed_mean")
    )
    assert theirs == pytest.approx(ours, rel=1e-12, abs=1e-12 * 30 * scale)


@installed
@settings(deadline=None)
@given(**shapes, permille=st.integers(0, 499))
def test_krum_chooses_the_same_update(
    seed: int, n: int, r: int, N: int, scale: float, permille: int
) -> None:
    """Of n updates with f malicious theirs looks at the n - f - 1 nearest, ours at n - f - 2."""
    given = updates(seed, n, r, N, scale)
    f = min(-(-n * permille // 1000), (n - 1) // 2)
    masks = np.ones((n, N), np.uint8)
    scores = krum_scores(np.stack([each.A for each in given]), masks, f - 1)
    theirs = combined("byzfl_krum", given, malicious_permille=permille)
    (chosen,) = (place for place, each in enumerate(given) if np.array_equal(each.A, theirs))
    assert scores[chosen] <= scores.min() * (1 + 1e-12)


@installed
@settings(deadline=None)
@given(**shapes)
def test_geometric_medians_meet(seed: int, n: int, r: int, N: int, scale: float) -> None:
    """They begin at different points, ours at the medians and theirs at 0: both near the point
    whose distances to all updates are least, they have nearly the same sum of distances."""
    given = updates(seed, n, r, N)
    stacked = np.stack([each.A for each in given]).astype(np.float64)

    def far(centre: np.ndarray) -> float:
        return float(np.sqrt(np.square(stacked - centre).sum(axis=(1, 2))).sum())

    ours, theirs = (
        combined(name, given, iterations=200)
        for name in ("geometric_median", "byzfl_geometric_median")
    )
    assert far(theirs) == pytest.approx(far(ours), rel=1e-3, abs=1e-5)


@installed
@settings(deadline=None)
@given(**shapes, permille=st.sampled_from([0, 1, 1000, 2**31]))
def test_one_step_of_centered_clipping_is_clip(
    seed: int, n: int, r: int, N: int, scale: float, permille: int
) -> None:
    given = updates(seed, n, r, N, scale)
    theirs = combined("byzfl_centered_clipping", given, norm_permille=permille, iterations=1)
    ours = combined("clip", given, norm_permille=permille) if n > 1 else given[0].A
    assert theirs == pytest.approx(ours, rel=1e-9, abs=1e-12 * 30 * scale)


@installed
@pytest.mark.parametrize("name", PEERS)
def test_a_far_minority_does_not_decide(name: str) -> None:
    rng = np.random.default_rng(5)
    A = (1 + 0.1 * rng.standard_normal((30, 2, 40))).astype(np.float32)
    A[:6] = -1e6
    found = combined(name, [DecodedUpdate(each, np.empty(0, np.uint8)) for each in A])
    assert np.abs(found - 1).max() < 0.5


# --- the same bytes -------------------------------------------------------------------------------


@installed
@pytest.mark.parametrize("name", PEERS)
@settings(deadline=None)
@given(**shapes)
def test_every_server_has_the_same_finite_bytes(
    name: str, seed: int, n: int, r: int, N: int, scale: float
) -> None:
    given = updates(seed, n, r, N)
    extreme = [
        DecodedUpdate((np.clip(each.A, -1, 1) * 3.4e38).astype(np.float32), each.touched)
        for each in given
    ]
    for these in (given, extreme, [each._replace(A=0 * each.A) for each in given]):
        found = combined(name, these)
        assert (found.dtype, found.shape) == (np.float64, (r, N))
        assert np.isfinite(found).all()
        frozen = [each._replace(A=np.asfortranarray(each.A)) for each in these]
        assert combined(name, frozen).tobytes() == found.tobytes()


@installed
def test_zeros_have_one_sign() -> None:
    signs = ([-0.0, 0.0, 0.0], [0.0, -0.0, -0.0], [-0.0, -0.0, -0.0])
    for each in signs:
        given = [DecodedUpdate(np.float32([[one]]), np.empty(0, np.uint8)) for one in each]
        for name in PEERS:
            assert not np.signbit(combined(name, given)).any()


@installed
def test_a_run_is_audited_by_another_process(tmp_path: Path) -> None:
    heads = {}
    config = tmp_path / "tiny.yaml"
    config.write_text(f"rounds: 2\n{tiny.TINY}", encoding="utf-8")
    for name in PEERS:
        out = tmp_path / name
        assert main(["run", str(config), f"aggregation.rule={name}", "--out", str(out)]) == 0
        heads[name] = json.loads((out / "summary.json").read_text(encoding="utf-8"))["head"]
    assert len(set(heads.values())) == len(PEERS)
    words = [sys.executable, "-m", "bfedrec", "audit", str(tmp_path / "byzfl_krum")]
    assert subprocess.run(words, capture_output=True).returncode == 0


# --- without the library --------------------------------------------------------------------------


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if byzfl were not installed."""
    monkeypatch.setattr("bfedrec.aggregation.aggregator.find_spec", lambda name: None)


TOLD = "byzfl_krum: this needs byzfl: pip install 'bfedrec[byzfl]'"


@pytest.mark.usefixtures("without")
def test_without_the_library_a_run_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(f"rounds: 2\n{tiny.TINY}", encoding="utf-8")
    words = ["run", str(config), "aggregation.rule=byzfl_krum", "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert capsys.readouterr().err.endswith(f"aggregation.rule: {TOLD}\n")


@pytest.mark.usefixtures("without")
def test_without_the_library_a_chain_is_not_audited() -> None:
    rule = aggregator_named("byzfl_krum")
    model = GlobalModel(np.ones((5, 4), np.float32), "seeded", exchange(2, 5, rule), None, b"one")
    with pytest.raises(ValueError, match=r"^aggregation rule byzfl_krum: this needs byzfl: pip"):
        GlobalModel.from_genesis(model.describe(), model.encode(), b"one")


def test_the_other_rules_need_nothing() -> None:
    for name, kind in AGGREGATORS.items():
        assert bool(kind.libraries) == bool(kind.extra) == (name in PEERS)


@installed
def test_the_library_is_not_left_half_imported() -> None:
    """A caller's own `import byzfl` after ours is the whole package, or fails as it would have."""
    code = """
import sys
import numpy as np
from bfedrec.aggregation.aggregator import DecodedUpdate
from bfedrec.aggregation.registry import aggregator_named
assert not {"torch", "byzfl"} & set(sys.modules)
given = [DecodedUpdate(np.ones((1, 1), np.float32), np.ones(1, np.uint8))] * 3
assert aggregator_named("byzfl_median").mean(given, [1] * 3, 1, 1) == 1
print([name for name in sys.modules if name.partition(".")[0] in ("byzfl", "torchvision")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
