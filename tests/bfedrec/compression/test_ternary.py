"""Numbers of three levels: their arithmetic against a readable form, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.aggregation.registry import aggregator_named
from bfedrec.compression.codec import Codec
from bfedrec.compression.codecs.ternary import Ternary
from bfedrec.compression.exchange import Exchange
from bfedrec.compression.registry import CODECS, codec_named
from bfedrec.compression.ternary import float32, rounded
from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.learning.gradients import Gradients, Problem, Unwritten

BYTES = pytest.mark.parametrize("step_bytes", [1, 2])


def readable(A: np.ndarray, cut: float, step_bytes: int) -> np.ndarray:
    """The update that an encoding of A stands for, number by number."""
    result = np.zeros(A.shape, np.float32)
    for i in range(A.shape[1]):
        exact = float(np.float32(np.abs(A[:, i]).max()) * np.float32(cut))
        if exact == 0:
            continue
        fraction, exponent = math.frexp(exact)  # exact = fraction 2^exponent, 1/2 <= fraction < 1
        if step_bytes == 1:
            step = math.ldexp(1.0 if fraction >= 0.75 else 0.5, exponent)
        else:
            step = math.ldexp(round(fraction * 256) / 256, exponent)  # round: ties to even
        for k in range(len(A)):
            number = float(A[k, i])
            level = (number > step / 2) - (number < -step / 2)
            result[k, i] = level * step
    return result


@BYTES
@settings(deadline=None)  # the first call compiles
@given(
    seed=st.integers(0, 2**32),
    r=st.integers(1, 12),
    N=st.integers(1, 9),
    cut=st.sampled_from([1, 300, 700, 1000]),
)
def test_an_update_becomes_its_nearest_levels(
    step_bytes: int, seed: int, r: int, N: int, cut: int
) -> None:
    rng = np.random.default_rng(seed)
    scale = np.float32(10.0) ** rng.integers(-9, 9, N)
    A = (rng.standard_normal((r, N)) * scale * (rng.random(N) < 0.8)).astype(np.float32)
    one = Ternary(r, N, r, cut_permille=cut, step_bytes=step_bytes)
    data = one.encode(A, b"")
    assert len(data) == one.byte_size == N * (step_bytes + (r + 4) // 5)
    assert one.check(data) is None
    decoded = one.decode(data, b"")
    assert np.array_equal(decoded, readable(A, np.float32(cut / 1000), step_bytes))
    # An item that moves is never lost whole: rules that go by item can see who touched it.
    assert np.array_equal(decoded.any(axis=0), A.any(axis=0))


def test_the_very_bytes() -> None:
    A = np.array([[1, 0], [-1, 0], [0.2, 0], [0, 0], [0.5, 0], [-0.5, 0]], np.float32)
    # Step 0.7 is 3f33 (bfloat16); digits 2 0 1 1 2 are 2 + 9 + 27 + 162, and 0 alone is 0.
    # Without a step all digits are 1: 121, and 1.
    assert Ternary(6, 2, 1).encode(A, b"").hex() == "333f0000" + "c800" + "7901"
    # The nearest power of two is 0.5 (exponent 126), of which 0.5 is a whole step.
    assert Ternary(6, 2, 1, step_bytes=1).encode(A, b"").hex() == "7e00" + "c800" + "7901"


@BYTES
def test_every_other_bytes_are_refused(step_bytes: int) -> None:
    """Of all values of one byte of an encoding, those that pass are those that something encodes
    to."""
    one = Ternary(6, 1, 1, step_bytes=step_bytes)
    A = np.array([[1.0], [-1.0], [0.1], [0.2], [1.0], [1.0]], np.float32)
    data = bytearray(one.encode(A, b""))
    for place in range(len(data)):
        for value in range(256):
            changed = bytes(data[:place]) + bytes([value]) + bytes(data[place + 1 :])
            flaw = one.check(changed)
            if (place == step_bytes and value >= 243) or (place == step_bytes + 1 and value >= 3):
                assert flaw == "digits are beyond the last level"
            elif flaw is None:
                assert np.isfinite(one.decode(changed, b"")).all()
                assert one.decode(changed, b"").any()
    still = bytes(step_bytes) + bytes([121, 1])
    assert one.check(still) is None
    assert not one.decode(still, b"").any()
    assert one.check(bytes(step_bytes) + bytes(data[step_bytes:])) == "levels do not fit their step"
    moved = bytes(data[:step_bytes]) + bytes([121, 1])
    assert one.check(moved) == "levels do not fit their step"


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 2**32), r=st.integers(1, 12), changes=st.integers(0, 2))
def test_a_flaw_is_found_in_any_item(seed: int, r: int, changes: int) -> None:
    """Of several flaws, that of the first item is told."""
    rng = np.random.default_rng(seed)
    N, width, last = 9, -(-r // 5), 3 ** (r % 5 or 5)
    one = Ternary(r, N, r)
    A = (rng.standard_normal((r, N)) * (rng.random(N) < 0.5)).astype(np.float32)
    data = bytearray(one.encode(A, b""))
    for place in rng.integers(2 * N, len(data), changes):
        data[place] = rng.choice([0, 1, 121, 242, 243, 255])
    steps = np.frombuffer(data, "<u2", N)
    told = None
    for i, item in enumerate(np.frombuffer(data, np.uint8, offset=2 * N).reshape(N, width)):
        still = [121] * (width - 1) + [(last - 1) // 2]
        if item.max() >= 243 or item[-1] >= last:
            told = "digits are beyond the last level"
        elif (item.tolist() != still) != (steps[i] > 0):
            told = "levels do not fit their step"
        if told is not None:
            break
    assert one.check(bytes(data)) == told


@BYTES
@pytest.mark.parametrize("cut", [1, 500, 700, 1000])
def test_numbers_that_are_close_to_0_are_encoded_without_a_flaw(step_bytes: int, cut: int) -> None:
    """All numbers of one significant bit, and of three, from the least float32 upwards."""
    one = Ternary(1, 4 * 35, 1, cut_permille=cut, step_bytes=step_bytes)
    A = np.ldexp([[4.0], [5.0], [6.0], [7.0]], np.arange(-151, -116)).astype(np.float32)
    data = one.encode(A.reshape(1, -1), b"")
    assert one.check(data) is None
    decoded = one.decode(data, b"")
    assert np.isfinite(decoded).all()
    assert decoded[0, 34] > 0


@BYTES
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_encoded_as_such(step_bytes: int, wrong: float) -> None:
    A = np.ones((3, 2), np.float32)
    A[1, 1] = wrong
    one = Ternary(3, 2, 1, step_bytes=step_bytes)
    assert one.check(one.encode(A, b"")) == "not all numbers are finite"


def unwritten(seed: int, r: int, N: int, flipped: bool = False, alpha: float = 0.3) -> Unwritten:
    """Updates of three clients with drawn terms: one without interactions, one with repeats."""
    rng = np.random.default_rng(seed)
    indptr = np.array([0, 4, 4, 4 + N])
    indices = np.concatenate([[0, N - 1, N - 1, 0], rng.integers(0, N, N)]).astype(np.int32)
    x, slopes = rng.standard_normal((3, N)), rng.standard_normal((3, r))
    factors = rng.standard_normal((r, N)) * 10.0 ** rng.integers(-3, 2, N)
    terms = (array.astype(np.float32) for array in (x, slopes, factors))
    problem = Problem(alpha, 0.05, *((0.0, 1.0) if flipped else (1.0, 0.0)))
    gradients = Gradients(*terms, problem, np.array([2, 0, 1]), indptr, indices)
    three = np.zeros(3)
    return Unwritten(np.zeros((3, r), np.float32), three.astype(np.int64), three, gradients)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32),
    r=st.integers(1, 12),
    N=st.sampled_from([1, 7, 127, 128, 129, 300]),
    flipped=st.booleans(),
    alpha=st.sampled_from([0.3, -0.02]),
    step_bytes=st.integers(1, 2),
)
def test_updates_are_encoded_without_being_written_out(
    seed: int, r: int, N: int, flipped: bool, alpha: float, step_bytes: int
) -> None:
    """The bytes are those of the written update, which are compared with the readable form above;
    items are encoded 128 at a time. With decoys alpha may be negative."""
    updates = unwritten(seed, r, N, flipped, alpha)
    one = Ternary(r, N, r, step_bytes=step_bytes)
    A = updates.written().A
    told = [one.encode(each, b"") for each in A]
    assert one.encode_unwritten(updates, b"", threads=1) == told
    assert one.encode_unwritten(updates, b"", threads=3) == told
    decoded = np.array([one.decode(data, b"") for data in told])
    cut = np.float32(0.7)
    assert np.array_equal(decoded, [readable(each, cut, step_bytes) for each in A])


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32),
    r=st.integers(1, 12),
    M=st.integers(1, 5),
    step_bytes=st.integers(1, 2),
)
def test_updates_are_added_up_undecoded(seed: int, r: int, M: int, step_bytes: int) -> None:
    """The same numbers in the same order as one decodes and adds: the first two cancel out, which
    would swallow the others behind or between them."""
    rng = np.random.default_rng(seed)
    one = Ternary(r, 9, r, step_bytes=step_bytes)
    scales = np.float32(2.0) ** rng.integers(-30, 30, (M, 1, 9)).astype(np.float32)
    A = (rng.standard_normal((M, r, 9)) * scales * (rng.random((M, 1, 9)) < 0.8)).astype(np.float32)
    A[0] *= np.float32(2.0**60)
    A[1:2] = -A[0]
    datas = [one.encode(each, b"") for each in A]
    assert one.total(datas, b"").tobytes() == Codec.total(one, datas, b"").tobytes()
    uniform = aggregator_named("uniform")
    exchange = Exchange(uniform, one, one)
    decoded = [exchange.decode(data, b"") for data in datas]
    mean = uniform.mean(decoded, [1] * M, r, 9).astype(np.float32)
    assert exchange.aggregate(datas, [1] * M, b"") == one.encode(mean, b"")


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    term=st.sampled_from(["x", "slopes", "factors"]),
    value=st.sampled_from([np.nan, -np.nan, np.inf, -np.inf, 3e38, 1e-44]),
    alpha=st.sampled_from([0.3, 0.0, -0.3]),
)
def test_terms_that_are_not_finite_are_encoded_as_such(
    seed: int, term: str, value: float, alpha: float
) -> None:
    """As in a written update: of items that a client has (some of its first and its last) and of
    others."""
    one, updates = Ternary(6, 130, 4), unwritten(seed, 6, 130)
    problem = updates.gradients.problem._replace(alpha=alpha)
    updates = replace(updates, gradients=updates.gradients._replace(problem=problem))
    array = getattr(updates.gradients, term)
    array.reshape(-1)[np.random.default_rng(seed).integers(array.size)] = value
    with np.errstate(all="ignore"):
        told = [one.encode(A, b"") for A in updates.written().A]
    assert one.encode_unwritten(updates, b"") == told
    if alpha and not np.isfinite(value):
        assert "not all numbers are finite" in [one.check(data) for data in told]


@pytest.mark.parametrize("kind", list(CODECS))
def test_every_codec_encodes_unwritten_updates(kind: str) -> None:
    updates = unwritten(1, 6, 40)
    one = codec_named(kind, 6, 40, 4)
    told = [one.encode(A, b"beacon") for A in updates.written().A]
    assert one.encode_unwritten(updates, b"beacon") == told


def test_steps_are_rounded_to_the_nearest() -> None:
    values = np.array([0, 1, 1.5, 1.49, 3e38, np.inf, 1e-45], np.float32)
    assert float32(rounded(values, 1), 1).tolist() == [0, 1, 2, 1, np.inf, np.inf, 0]
    assert float32(rounded(values[:4], 2), 2).tolist() == [0, 1, 1.5, 1.4921875]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["model.rank=64"], "compression.size: None: expected the size s"),
        (["compression.size=1", "model.rank=16"], "model.rank: 16: expected at most 15"),
        (["compression.size=1", "model.rank=15"], "a step of 2 bytes take more than size 1"),
        (["compression.size=1", "model.rank=70"], "model.rank: 70: expected at most"),
        (["compression.size=4", "compression.cut_permille=0"], "compression.cut_permille: 0"),
    ],
)
def test_a_rank_that_does_not_fit_is_told(options: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, ["compression.kind=ternary", *options])
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parameters_of_other_codecs_are_refused() -> None:
    with pytest.raises(ConfigError, match="as kind low_rank does not read it"):
        load(None, ["compression.cut_permille=500"])
