"""The suites of cryptography: both refuse the same altered, swapped and malformed bytes."""

from __future__ import annotations

import copy
import pickle
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.crypto import keys, vrf
from consensus.crypto.suites import MODELLED, REAL, Suite, suite_named
from consensus.crypto.vrf import InvalidProof
from consensus.encoding.cid import digest
from consensus.ledger.sortition import role_hash

SUITES = (REAL, MODELLED)
SEED = bytes(range(32))
MESSAGE = digest(b"message")
ALPHA = b"chain, beacon, height"
MALFORMED: tuple[Any, ...] = (
    None,
    "",
    "x" * 32,
    3,
    0.5,
    [],
    bytearray(32),
    memoryview(bytes(32)),
    b"",
)
"""No suite takes these for a key, digest, signature or proof; `alpha` alone may be empty bytes."""

every_suite = pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
seeds = st.binary(min_size=32, max_size=32)


def beta_of(suite: Suite, public: Any, alpha: Any, pi: Any) -> bytes | None:
    """What the proof shows, None where it is refused; any other exception fails the test."""
    try:
        return suite.vrf_verify(public, alpha, pi)
    except InvalidProof:
        return None


def bit_flips(data: bytes) -> list[bytes]:
    """`data` with each of its bits flipped in turn."""
    number = int.from_bytes(data, "big")
    return [(number ^ 1 << bit).to_bytes(len(data), "big") for bit in range(8 * len(data))]


def other_lengths(data: bytes) -> list[bytes]:
    return [data[:-1], data[1:], data + b"\x00", b"\x00" + data, data + data, bytes(1), b""]


# --- Signatures -------------------------------------------------------------------------------


@every_suite
@settings(deadline=None)
@given(seed=seeds, other=seeds, message=seeds)
def test_what_is_signed_verifies_and_nothing_else(
    suite: Suite, seed: bytes, other: bytes, message: bytes
) -> None:
    key, stranger = suite.signing_key(seed), suite.signing_key(other)
    signature = key.sign(message)
    assert (len(key.public), len(signature)) == (keys.PUBLIC_BYTES, keys.SIGNATURE_BYTES)
    assert suite.verify(key.public, message, signature)
    assert not suite.verify(key.public, digest(message), signature)
    assert suite.verify(stranger.public, message, signature) == (seed == other)
    assert suite.verify(key.public, message, stranger.sign(message)) == (seed == other)
    assert not suite.verify(key.public, message, message + message)


@every_suite
def test_any_flipped_bit_of_a_signature_is_refused(suite: Suite) -> None:
    key = suite.signing_key(SEED)
    signature = key.sign(MESSAGE)
    for altered in bit_flips(signature):
        assert not suite.verify(key.public, MESSAGE, altered)
    for altered in bit_flips(MESSAGE):
        assert not suite.verify(key.public, altered, signature)
    for altered in bit_flips(key.public):
        assert not suite.verify(altered, MESSAGE, signature)


@every_suite
def test_malformed_signatures_are_refused(suite: Suite) -> None:
    key = suite.signing_key(SEED)
    signature = key.sign(MESSAGE)
    for wrong in (*MALFORMED, bytearray(signature), *other_lengths(signature)):
        assert suite.verify(key.public, MESSAGE, wrong) is False
    for wrong in (*MALFORMED, bytearray(MESSAGE), *other_lengths(MESSAGE)):
        assert suite.verify(key.public, wrong, signature) is False
        with pytest.raises(ValueError, match="32-byte digest"):
            key.sign(wrong)
    for wrong in (*MALFORMED, bytearray(key.public), *other_lengths(key.public)):
        assert suite.verify(wrong, MESSAGE, signature) is False


@every_suite
def test_bytes_do_not_move_between_key_and_digest(suite: Suite) -> None:
    """As in a hash of both, where the border would not show."""
    key = suite.signing_key(SEED)
    signature = key.sign(MESSAGE)
    assert not suite.verify(key.public + MESSAGE[:1], MESSAGE[1:], signature)
    assert not suite.verify(key.public[:-1], key.public[-1:] + MESSAGE, signature)


# --- Verifiable random function ---------------------------------------------------------------


@every_suite
@settings(deadline=None)
@given(seed=seeds, other=seeds, alpha=st.binary(max_size=200), beside=st.binary(max_size=200))
def test_what_is_proven_verifies_and_nothing_else(
    suite: Suite, seed: bytes, other: bytes, alpha: bytes, beside: bytes
) -> None:
    key, stranger = suite.vrf_key(seed), suite.vrf_key(other)
    pi, beta = key.prove(alpha)
    assert (len(key.public), len(pi), len(beta)) == (32, vrf.PROOF_BYTES, vrf.BETA_BYTES)
    assert beta_of(suite, key.public, alpha, pi) == beta
    assert beta_of(suite, key.public, beside, pi) == (beta if beside == alpha else None)
    assert beta_of(suite, stranger.public, alpha, pi) == (beta if seed == other else None)
    assert (beta == key.prove(beside)[1]) == (beside == alpha)
    assert (beta == stranger.prove(alpha)[1]) == (seed == other)


@every_suite
def test_any_flipped_bit_of_a_proof_is_refused(suite: Suite) -> None:
    key = suite.vrf_key(SEED)
    pi, _ = key.prove(ALPHA)
    for altered in bit_flips(pi):
        assert beta_of(suite, key.public, ALPHA, altered) is None
    for altered in bit_flips(ALPHA):
        assert beta_of(suite, key.public, altered, pi) is None
    for altered in bit_flips(key.public):
        assert beta_of(suite, altered, ALPHA, pi) is None


@every_suite
def test_parts_of_two_proofs_do_not_mix(suite: Suite) -> None:
    key = suite.vrf_key(SEED)
    (a, _), (b, _) = key.prove(ALPHA), key.prove(ALPHA + b"'")
    for mixed in (a[:32] + b[32:], a[:48] + b[48:], b[:32] + a[32:], a[:32] + b[32:48] + a[48:]):
        assert beta_of(suite, key.public, ALPHA, mixed) is None


@every_suite
def test_malformed_proofs_are_refused(suite: Suite) -> None:
    key = suite.vrf_key(SEED)
    pi, _ = key.prove(ALPHA)
    for wrong in (*MALFORMED, bytearray(pi), *other_lengths(pi)):
        assert beta_of(suite, key.public, ALPHA, wrong) is None
    for wrong in (*MALFORMED, bytearray(ALPHA), *other_lengths(ALPHA)):
        assert beta_of(suite, key.public, wrong, pi) is None
    for wrong in (*MALFORMED, bytearray(key.public), *other_lengths(key.public)):
        assert beta_of(suite, wrong, ALPHA, pi) is None


@every_suite
def test_bytes_do_not_move_between_key_and_alpha(suite: Suite) -> None:
    key = suite.vrf_key(SEED)
    pi, _ = key.prove(ALPHA)
    assert beta_of(suite, key.public + ALPHA[:1], ALPHA[1:], pi) is None
    assert beta_of(suite, key.public[:-1], key.public[-1:] + ALPHA, pi) is None


@every_suite
@pytest.mark.parametrize("alpha", [None, "text", 3, bytearray(3)], ids=lambda alpha: repr(alpha))
def test_only_bytes_are_drawn_on(suite: Suite, alpha: Any) -> None:
    with pytest.raises(TypeError):
        suite.vrf_key(SEED).prove(alpha)


def test_a_modelled_output_has_many_proofs_as_a_real_one_has() -> None:
    """Whoever compared proofs instead of outputs could be ground, with either suite. (The real
    one's other proofs are in test_vrf.py.)"""
    key = MODELLED.vrf_key(SEED)
    pi, beta = key.prove(ALPHA)
    gamma = pi[:32]
    for s in (digest(b"%d" % i) for i in range(20)):
        c = blake2b(b"c" + gamma + s).digest()[:16]
        assert gamma + c + s != pi
        assert beta_of(MODELLED, key.public, ALPHA, gamma + c + s) == beta


def test_modelled_sizes_hold_where_the_hashes_would() -> None:
    """What only a forger can make, of another length than a key, digest or proof has."""
    prover = MODELLED.vrf_key(SEED)
    gamma, beta = prover.prove(ALPHA)[0][:32], prover.prove(ALPHA)[1]
    for length in (0, 31, 32, 33):
        name = bytes(length)
        signature = blake2b(b"signature" + name + MESSAGE).digest()
        assert MODELLED.verify(name, MESSAGE, signature) == (length == 32)
        signature = blake2b(b"signature" + prover.public + name).digest()
        assert MODELLED.verify(prover.public, name, signature) == (length == 32)
        pi = gamma + blake2b(b"c" + gamma + name).digest()[:16] + name
        assert beta_of(MODELLED, prover.public, ALPHA, pi) == (beta if length == 32 else None)


# --- Keys and suites --------------------------------------------------------------------------


@every_suite
@given(seed=seeds)
def test_the_same_seed_gives_the_same_everything(suite: Suite, seed: bytes) -> None:
    assert suite.signing_key(seed).public == suite.signing_key(seed).public
    assert suite.signing_key(seed).sign(MESSAGE) == suite.signing_key(seed).sign(MESSAGE)
    assert suite.vrf_key(seed).public == suite.vrf_key(seed).public
    assert suite.vrf_key(seed).prove(ALPHA) == suite.vrf_key(seed).prove(ALPHA)


@every_suite
def test_seeds_are_32_bytes(suite: Suite) -> None:
    for wrong in (*MALFORMED, bytes(31), bytes(33), bytes(64)):
        with pytest.raises(ValueError, match="32 bytes"):
            suite.signing_key(wrong)
        with pytest.raises(ValueError, match="32 bytes"):
            suite.vrf_key(wrong)


@every_suite
def test_outputs_look_uniform(suite: Suite) -> None:
    """No bit of an output, or of its hash for a role, is set much more or less often than half
    the time."""
    provers = [suite.vrf_key(digest(b"%d" % i)) for i in range(20)]
    betas = [prover.prove(b"%d" % i)[1] for prover in provers for i in range(50)]
    assert len(set(betas)) == 1_000
    for outputs in (betas, [role_hash(beta, "committee/0") for beta in betas]):
        for bit in range(8 * len(outputs[0])):
            count = sum(output[bit // 8] >> bit % 8 & 1 for output in outputs)
            assert 500 - 80 < count < 500 + 80  # five standard deviations


def test_suites_know_nothing_of_each_other() -> None:
    """A run with one suite cannot be passed off as a run with the other."""
    for mine, other in ((REAL, MODELLED), (MODELLED, REAL)):
        key, prover = mine.signing_key(SEED), mine.vrf_key(SEED)
        assert key.public != other.signing_key(SEED).public
        assert prover.public != other.vrf_key(SEED).public
        assert not other.verify(key.public, MESSAGE, key.sign(MESSAGE))
        assert beta_of(other, prover.public, ALPHA, prover.prove(ALPHA)[0]) is None


def test_modelled_bytes_stay_as_they_are() -> None:
    """Recorded sweeps are made again byte for byte."""
    key, prover = MODELLED.signing_key(SEED), MODELLED.vrf_key(SEED)
    pi, beta = prover.prove(ALPHA)
    everything = key.public + key.sign(MESSAGE) + prover.public + pi + beta
    assert (
        digest(everything).hex()
        == "08d1631fe6eba56e5a895fa674121c5ece259525f984564724b3a21202a8ad1a"
    )


def test_the_real_suite_is_the_ledgers_own() -> None:
    assert isinstance(REAL.signing_key(SEED), keys.SigningKey)
    assert isinstance(REAL.vrf_key(SEED), vrf.VrfKey)
    assert (REAL.verify, REAL.vrf_verify) == (keys.verify, vrf.verify)


def test_suites_by_name() -> None:
    assert suite_named("real") is REAL
    assert suite_named("modelled") is MODELLED
    for unknown in ("", "Real", "ed25519", None, ["real"]):
        with pytest.raises(ValueError, match="use real, modelled"):
            suite_named(unknown)


@every_suite
def test_suites_travel_between_processes(suite: Suite) -> None:
    assert pickle.loads(pickle.dumps(suite)) == suite
    assert copy.deepcopy(suite) == suite
    assert repr(suite) == f"Suite(name={suite.name!r})"
