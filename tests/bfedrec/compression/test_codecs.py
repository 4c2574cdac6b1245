"""Updates and models as bytes: what each codec keeps, how many bytes it takes, what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.aggregation.registry import AGGREGATORS, aggregator_named
from bfedrec.compression.codec import Codec
from bfedrec.compression.codecs.quantised import Quantised
from bfedrec.compression.codecs.random_places import Random
from bfedrec.compression.codecs.svd import Svd
from bfedrec.compression.codecs.top_k import TopK
from bfedrec.compression.decomposition import truncated_svd
from bfedrec.compression.exchange import Exchange
from bfedrec.compression.registry import CODECS, codec_named

EVERY_CODEC = pytest.mark.parametrize("kind", list(CODECS))
COMPRESSING = pytest.mark.parametrize("kind", ["quantised", "random", "top_k", "svd"])

shapes = {
    "seed": st.integers(0, 2**32),
    "d": st.integers(1, 6),
    "N": st.integers(1, 15),
    "s": st.integers(1, 6),
}


def update(seed: int, d: int, N: int, share: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """A (float32[d, N]) and its mask."""
    rng = np.random.default_rng(seed)
    touched = rng.random(N) < share
    A = np.where(touched, rng.standard_normal((d, N)), 0).astype(np.float32)
    return A, touched


def codec(kind: str, d: int, N: int, s: int) -> Codec:
    return codec_named(kind, d, N, min(s, d))


# --- sizes and round trips ------------------------------------------------------------------------


@settings(deadline=None)  # the first call compiles
@given(**shapes)
def test_every_encoding_has_the_promised_size_and_passes_the_check(
    seed: int, d: int, N: int, s: int
) -> None:
    s = min(s, d)
    sizes = {
        "low_rank": 4 * d * N,
        "quantised": N * (2 + (d * min((32 * s - 16) // d, 8) + 7) // 8),
        "dense": 4 * d * N,
        "random": 4 * s * N,
        "top_k": 8 * s * N,
        "svd": 4 * (N * s + s + d * s),
        "ternary": N * (2 + (d + 4) // 5),
        "levels": (4 * d * N + 7) // 8,
    }
    A, _ = update(seed, d, N)
    assert set(sizes) == set(CODECS)
    for kind, size in sizes.items():
        for sent in (A, np.zeros_like(A), -np.zeros_like(A)):
            data = codec(kind, d, N, s).encode(sent, b"beacon")
            assert len(data) == codec(kind, d, N, s).byte_size == size
            assert codec(kind, d, N, s).check(data) is None


@settings(deadline=None)
@given(**shapes)
def test_what_decodes_encodes_to_the_same_bytes(seed: int, d: int, N: int, s: int) -> None:
    A, _ = update(seed, d, N)
    for kind in ("low_rank", "quantised", "dense", "random", "top_k"):
        one = codec(kind, d, N, s)
        data = one.encode(A, b"beacon")
        again = one.decode(data, b"beacon")
        assert again.dtype == np.float32
        assert again.shape == A.shape
        assert one.encode(again, b"beacon") == data
        if kind == "quantised":
            continue
        kept = again != 0
        assert np.array_equal(again[kept], A[kept])  # numbers travel as they are


@settings(deadline=None)
@given(**shapes)
def test_at_full_size_nothing_is_lost(seed: int, d: int, N: int, s: int) -> None:
    A, _ = update(seed, d, N)
    for kind in sorted(set(CODECS) - {"quantised", "ternary", "levels"}):
        one = codec(kind, d, N, d)
        again = one.decode(one.encode(A, b"beacon"), b"beacon")
        assert again == pytest.approx(A, abs=1e-5 if kind == "svd" else 0)


@EVERY_CODEC
def test_a_codec_is_what_these_very_bytes_say(kind: str) -> None:
    # Servers vote on the digest of such bytes: other bytes are another protocol.
    A = np.array([[3, 0, -1], [4, 0, 0.5]], np.float32)
    expected = {
        "low_rank": "00004040 00000000 000080bf 00008040 00000000 0000003f",
        "dense": "00004040 00000000 000080bf 00008040 00000000 0000003f",
        "top_k": "00004040 000080bf 00008040 00000000 02000000 03000000",
        # Steps 4/127, 0 and 1/127, then by item the levels 95 and 127, 0 and 0, -127 and 64, + 127.
        "quantised": "013d0000 013cdefe 7f7f00bf",
    }
    if kind in expected:
        assert codec(kind, 2, 3, 1).encode(A, b"").hex(" ", 4) == expected[kind]
    elif kind == "random":
        places = Random(2, 3, 1).places(b"beacon")
        assert codec(kind, 2, 3, 1).encode(A, b"beacon") == A.ravel()[places].tobytes()
        assert Random(4, 5, 2).places(b"beacon").tolist() == PLACES
    else:
        U, S, V = truncated_svd(A[:, :1], 1)
        assert (U.tolist(), S.tolist()) == ([[1.0]], [5.0])
        assert V.ravel() == pytest.approx([0.6, 0.8])


PLACES = [1, 2, 6, 10, 11, 13, 15, 16, 17, 18]


# --- quantised ------------------------------------------------------------------------------------


def step_of(numbers: np.ndarray, L: int) -> float:
    """The bfloat16 nearest to the largest magnitude over L, by search among its neighbours."""
    exact = float(np.abs(numbers).max()) / L
    if exact == 0:
        return 0.0
    unit = 2.0 ** (math.frexp(exact)[1] - 8)  # of 8 significant bits
    return round(exact / unit) * unit


@settings(deadline=None)
@given(**shapes, scale=st.floats(-20, 20))
def test_quantised_numbers_are_the_nearest_multiples_of_their_items_step(
    seed: int, d: int, N: int, s: int, scale: float
) -> None:
    A = (update(seed, d, N)[0] * 10**scale).astype(np.float32)
    one = Quantised(d, N, s)
    b, L = one.bits, 2 ** (one.bits - 1) - 1
    data = one.encode(A, b"")
    again = one.decode(data, b"")
    for i in range(N):
        step = step_of(A[:, i], L)
        assert abs(again[:, i] - A[:, i]).max() <= step / 2 * (1 + 1e-5)
        levels = [round(number / step) if step else 0 for number in again[:, i].tolist()]
        assert again[:, i].tolist() == [level * step for level in levels]
        row = np.frombuffer(data, np.uint8, offset=2 * N).reshape(N, -1)[i]
        stored = int.from_bytes(row.tobytes(), "little")
        assert [(stored >> k * b) % 2**b - L for k in range(d)] == levels
        assert stored >> d * b == 0


def test_more_numbers_of_fewer_bits_take_the_same_bytes() -> None:
    sizes = {(r, s): (Quantised(r, 1, s).bits, Quantised(r, 1, s).byte_size) for r, s in QUANTISED}
    assert sizes == QUANTISED


QUANTISED = {  # (r, s): bits and bytes of an item; 4 s bytes at most
    (28, 4): (4, 16),
    (16, 4): (7, 16),
    (37, 4): (3, 16),
    (4, 4): (8, 6),
    (4, 1): (4, 4),
    (60, 8): (4, 32),
    (64, 16): (7, 58),
}


@pytest.mark.parametrize(
    ("steps", "levels", "reason"),
    [
        ([0x3F80, 0], [[254, 7], [127, 127]], None),
        ([0x3F80, 0], [[0, 7], [127, 127]], None),
        ([0x3F80, 0], [[253, 7], [127, 127]], "do not fit"),  # a finer step would do
        ([0x3F80, 0], [[255, 7], [127, 127]], "do not fit"),  # beyond L
        ([0x3F80, 0], [[254, 7], [126, 127]], "do not fit"),  # what has no step is 0
        ([0xBF80, 0], [[254, 7], [127, 127]], "finite"),  # a negative step
        ([0x7F80, 0], [[254, 7], [127, 127]], "finite"),
        ([0x7FC0, 0], [[254, 7], [127, 127]], "finite"),
        ([0x7F7F, 0], [[254, 7], [127, 127]], "finite"),  # 127 steps are more than a float32 holds
        ([0x0080, 0], [[254, 7], [127, 127]], None),
        ([0x007F, 0], [[254, 7], [127, 127]], "too small"),  # fewer significant bits
    ],
)
def test_quantised_has_one_encoding_of_an_update(
    steps: list[int], levels: list[list[int]], reason: str | None
) -> None:
    one = Quantised(2, 2, 2)
    data = np.array(steps, "<u2").tobytes() + np.array(levels, np.uint8).tobytes()
    if reason is None:
        assert one.check(data) is None
        assert one.encode(one.decode(data, b""), b"") == data
    else:
        assert reason in str(one.check(data))


def test_unused_bits_stay_0() -> None:
    one = Quantised(3, 1, 1)  # 3 numbers of 5 bits
    data = bytearray(one.encode(np.ones((3, 1), np.float32), b""))
    assert (one.bits, one.check(bytes(data))) == (5, None)
    data[-1] |= 0x80
    assert one.check(bytes(data)) == "unused bits are set"


def test_numbers_too_small_for_a_step_are_0() -> None:
    one = Quantised(2, 1, 2)
    data = one.encode(np.full((2, 1), 1e-45, np.float32), b"")
    assert one.check(data) is None
    assert not one.decode(data, b"").any()


@pytest.mark.parametrize("size", [1, 2])
def test_steps_that_are_close_to_0_have_no_flaw(size: int) -> None:
    """Of largest numbers of any size from the least float32 upwards."""
    rng = np.random.default_rng(0)
    A = np.ldexp(rng.random((7, 4000)), rng.integers(-150, -100, 4000)).astype(np.float32)
    one = Quantised(7, 4000, size)
    data = one.encode(A, b"")
    assert one.check(data) is None
    again = one.decode(data, b"")
    assert one.encode(again, b"") == data
    L, nearest = np.float32(2 ** (one.bits - 1) - 1), 2.0**-126 * (1 - 2.0**-8)
    assert np.array_equal(again.any(axis=0), A.max(axis=0) / L >= nearest)


def test_an_item_of_tiny_numbers_does_not_annul_a_round() -> None:
    """The mean of what one client sends for an item is smaller than all that it can send."""
    exchange = Exchange.named(aggregator_named("samples"), "quantised", 4, 2, 2)
    A, one = np.zeros((4, 2), np.float32), np.ones((4, 2), np.float32)
    one[:, 1], A[:, 0] = 2.0**-126 * 127, 1.0
    payloads = [exchange.encode(each, each.any(axis=0), b"") for each in (one, *[A] * 50)]
    assert [exchange.check(each) for each in payloads] == [None] * 51
    moved = exchange.decode_aggregate(exchange.aggregate(payloads, [1] * 51, b""), b"")
    assert moved[:, 0] == pytest.approx(1.0, rel=1e-3)
    assert not moved[:, 1].any()


# --- random ---------------------------------------------------------------------------------------


def test_random_places_are_drawn_evenly_and_anew_every_height() -> None:
    """Without a scale, the mean over the draws of what arrives is s/d of the update."""
    one = Random(4, 10, 1)
    draws = [one.places(height.to_bytes(4, "big")) for height in range(4000)]
    assert all(len(np.unique(places)) == 10 for places in draws)
    assert all((np.diff(places) > 0).all() for places in draws)
    counts = np.bincount(np.concatenate(draws), minlength=40)
    # Each is binomial, 4,000 x 1/4, with a deviation of 27.
    assert abs(counts - 1000).max() < 130
    A, _ = update(1, 4, 10, share=1.0)
    mean = np.mean([one.decode(one.encode(A, bytes([b])), bytes([b])) for b in range(250)], axis=0)
    assert mean == pytest.approx(A / 4, abs=0.4)
    assert one.places(b"one").tolist() != one.places(b"two").tolist()


def test_the_aggregate_comes_down_without_loss_under_random() -> None:
    exchange = Exchange.named(aggregator_named("per_item"), "random", 4, 10, 2)
    updates = [update(seed, 4, 10) for seed in range(5)]
    payloads = [exchange.encode(A, touched, b"beacon") for A, touched in updates]
    decoded = [exchange.decode(payload, b"beacon") for payload in payloads]
    exact = exchange.rule.mean(decoded, [1] * 5, 4, 10).astype(np.float32)
    aggregate = exchange.aggregate(payloads, [1] * 5, b"beacon")
    assert np.array_equal(exchange.decode_aggregate(aggregate, b"beacon"), exact)
    assert exact.any()


# --- top_k ----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(**shapes)
def test_top_k_keeps_what_numpy_sorts_first(seed: int, d: int, N: int, s: int) -> None:
    s = min(s, d)
    A = np.round(update(seed, d, N)[0])  # rounded, so that many magnitudes are equal
    one = TopK(d, N, s)
    order = np.argsort(-np.abs(A).ravel(), kind="stable")[: s * N]
    expected = np.zeros(d * N, np.float32)
    expected[order] = A.ravel()[order]
    assert np.array_equal(one.decode(one.encode(A, b""), b"").ravel(), expected)
    places = np.frombuffer(one.encode(A, b""), "<u4", offset=4 * s * N)
    assert places.tolist() == sorted(order.tolist())


# --- svd ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "N", "rank"), [(8, 50, 8), (8, 50, 3), (6, 4, 4), (16, 300, 16)])
def test_svd_is_as_near_as_numpys(d: int, N: int, rank: int) -> None:
    rng = np.random.default_rng(d + N)
    A = (rng.standard_normal((d, rank)) @ rng.standard_normal((rank, N))).astype(np.float32)
    A[:, ::7] = 0
    values = np.linalg.svd(A.astype(np.float64), compute_uv=False)
    for s in range(1, d + 1):
        U, S, V = truncated_svd(A, s)
        assert np.allclose(S, np.pad(values, (0, d))[:s], atol=1e-6 * values[0])
        held = np.flatnonzero(S / S[0] > 1e-6)
        assert (V.T @ V)[held][:, held] == pytest.approx(np.eye(len(held)), abs=1e-9)
        assert (U.T @ U)[held][:, held] == pytest.approx(np.eye(len(held)), abs=1e-6)
        assert all(column[np.abs(column).argmax()] > 0 for column in V.T[held])
        one = Svd(d, N, s)
        again = one.decode(one.encode(A, b""), b"")
        best = np.sqrt(np.square(values[s:]).sum())
        assert np.linalg.norm(again - A) <= best + 1e-5 * values[0]
        assert not again[:, ::7].any()


def test_svd_does_not_depend_on_how_an_update_lies_in_memory() -> None:
    A, _ = update(3, 64, 200)
    data = Svd(64, 200, 4).encode(A, b"")
    assert data == Svd(64, 200, 4).encode(np.asfortranarray(A), b"")


# --- refusals -------------------------------------------------------------------------------------


@EVERY_CODEC
@pytest.mark.parametrize("rule", ["samples", "per_item"])
@pytest.mark.parametrize("change", [-1, 1, 8])
def test_wrong_length_is_refused(kind: str, rule: str, change: int) -> None:
    exchange = Exchange.named(aggregator_named(rule), kind, 4, 9, 4 if kind == "dense" else 2)
    payload = exchange.encode(*update(1, 4, 9), b"")
    mask = 2 if rule == "per_item" and kind in ("low_rank", "dense", "levels") else 0
    assert len(payload) == exchange.payload_size == exchange.up.byte_size + mask
    changed = payload[:change] if change < 0 else payload + bytes(change)
    assert exchange.check(payload) is None
    assert exchange.check(changed) == f"{len(changed)} bytes instead of {len(payload)}"
    with pytest.raises(ValueError, match=r"payload 0: .* instead of"):
        exchange.aggregate([changed], [1], b"")
    with pytest.raises(ValueError, match="an aggregate of 4 x 9"):
        exchange.decode_aggregate(changed[: exchange.down.byte_size - 1], b"")


@EVERY_CODEC
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(kind: str, number: float) -> None:
    exchange = Exchange.named(aggregator_named("per_item"), kind, 4, 9, 4)
    A, touched = update(1, 4, 9)
    A[2, 3], touched[3] = number, True
    assert exchange.check(exchange.encode(A, touched, b"")) == "not all numbers are finite"


def test_svd_that_decodes_to_infinity_is_refused() -> None:
    one = Svd(1, 1, 1)
    data = np.array([3e38, 3e38, 1], "<f4").tobytes()
    assert one.check(data) == "not all numbers are finite"


@pytest.mark.parametrize(
    "rows", [[[1, float("inf")]], [[1, 2], [float("-inf"), 1]], [[1e-30], [float("inf")]]]
)
def test_an_infinite_number_anywhere_is_no_update_of_zeros(rows: list[list[float]]) -> None:
    A = np.array(rows, np.float32)
    one = codec_named("svd", *A.shape, 1)
    assert one.check(one.encode(A, b"")) == "not all numbers are finite"


@pytest.mark.parametrize(
    ("values", "places", "reason"),
    [
        ([1, 2, 3], [0, 2, 2], "not ascending"),
        ([1, 2, 3], [0, 4, 2], "not ascending"),
        ([1, 2, 3], [0, 2, 6], "not ascending"),
        ([1, 2, 3], [0, 2, 2**32 - 1], "not ascending"),
        ([1, 0, 3], [0, 2, 5], "zeros are not at the lowest"),
        ([0, 2, 3], [1, 2, 5], "zeros are not at the lowest"),
        ([1, -0.0, 3], [0, 1, 5], "a zero has a sign"),
        ([1, 0, 3], [0, 1, 5], None),
        ([0, 0, 3], [0, 1, 5], None),
        ([1, -2, 3], [3, 4, 5], None),
    ],
)
def test_top_k_has_one_encoding_of_an_update(
    values: list[float], places: list[int], reason: str | None
) -> None:
    one = TopK(2, 3, 1)
    data = np.array(values, "<f4").tobytes() + np.array(places, "<u4").tobytes()
    if reason is None:
        assert one.check(data) is None
        assert one.encode(one.decode(data, b""), b"") == data
    else:
        assert reason in str(one.check(data))


def test_random_has_one_encoding_of_an_update() -> None:
    assert Random(2, 1, 1).check(np.array([-0.0], "<f4").tobytes()) == "a zero has a sign"


def test_singular_values_must_descend() -> None:
    for S in ([1, 2], [1, -1]):
        data = np.array([1, 0, *S, 1, 0, 0, 1], "<f4").tobytes()
        assert "do not descend" in str(Svd(2, 1, 2).check(data))


@settings(deadline=None)
@given(st.binary(max_size=150), st.sampled_from(list(CODECS)), st.sampled_from(list(AGGREGATORS)))
def test_any_bytes_are_judged_without_an_error(data: bytes, kind: str, rule: str) -> None:
    exchange = Exchange.named(aggregator_named(rule), kind, 3, 7, 2)
    size = exchange.payload_size
    for payload in (data, (data * size)[:size].ljust(size, b"\1")):
        reason = exchange.check(payload)
        assert reason is None or isinstance(reason, str)
        if reason is None:
            assert np.isfinite(exchange.decode(payload, b"x").A).all()


@pytest.mark.parametrize(
    ("kind", "size", "downlink", "words"),
    [
        ("zip", 1, "same", "'zip' is not one of dense, low_rank, quantised, random, svd, top_k"),
        ("svd", 5, "same", "size of 1 to 4, not 5"),
        ("svd", 0, "same", "size of 1 to 4, not 0"),
        ("svd", True, "same", "size of 1 to 4, not True"),
        ("quantised", 0, "same", "size of 1 to 4, not 0"),
        ("svd", 1, "both", "'both' is not one of same, dense"),
    ],
)
def test_a_codec_that_there_is_not(kind: str, size: int, downlink: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Exchange.named(aggregator_named("samples"), kind, 4, 9, size, downlink)


def test_too_many_numbers_for_their_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"9 numbers of 2 bits .* more than size 1"):
        codec_named("quantised", 9, 5, 1)


# --- masks, and what comes down -------------------------------------------------------------------


@COMPRESSING
def test_an_update_tells_which_items_were_touched(kind: str) -> None:
    exchange = Exchange.named(aggregator_named("per_item"), kind, 6, 40, 4)
    A, touched = update(5, 6, 40)
    read = exchange.decode(exchange.encode(A, touched, b"x"), b"x")
    assert read.touched.dtype == np.uint8
    assert np.array_equal(read.touched == 1, read.A.any(axis=0))
    assert (read.touched <= touched).all()
    assert read.touched.sum() > touched.sum() / 2


@pytest.mark.parametrize("rule", list(AGGREGATORS))
@COMPRESSING
def test_every_rule_aggregates_what_decodes(kind: str, rule: str) -> None:
    exchange = Exchange.named(aggregator_named(rule), kind, 5, 12, 2, "dense")
    updates = [update(seed, 5, 12) for seed in range(7)]
    payloads = [exchange.encode(A, touched, b"x") for A, touched in updates]
    whole = Exchange.named(aggregator_named(rule), "dense", 5, 12, 5)
    again = [exchange.decode(payload, b"x").A for payload in payloads]
    plain = [whole.encode(A, A.any(axis=0), b"x") for A in again]
    counts = list(range(1, 8))
    aggregate = exchange.aggregate(payloads, counts, b"x")
    assert aggregate == whole.aggregate(plain, counts, b"x")
    assert len(aggregate) == 4 * 5 * 12


@COMPRESSING
def test_bytes_that_are_no_encoding_move_nothing(kind: str) -> None:
    """What a captured committee may decide: standard normals of the aggregate's length."""
    exchange = Exchange.named(aggregator_named("per_item"), kind, 5, 12, 2)
    size = exchange.down.byte_size
    noise = np.random.default_rng(1).standard_normal(-(-size // 4)).astype("<f4")
    moved = exchange.decode_aggregate(noise.tobytes()[:size], b"x")
    assert np.isfinite(moved).all()
    assert moved.any() == (kind == "random")
    nan = np.full(len(noise), np.nan, "<f4").tobytes()[:size]
    assert not exchange.decode_aggregate(nan, b"x").any()
