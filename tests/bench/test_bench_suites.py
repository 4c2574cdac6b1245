"""Unit costs of the suites of cryptography, real and modelled (make bench-all)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from consensus.crypto import vrf
from consensus.crypto.suites import MODELLED, REAL, Suite
from consensus.encoding.cid import digest

Benchmark = Any
"""pytest-benchmark's fixture."""

every_suite = pytest.mark.parametrize("suite", [REAL, MODELLED], ids=lambda suite: suite.name)


def measure(
    benchmark: Benchmark, suite: Suite, call: Callable[..., Any], make: Callable[[bytes], Any]
) -> None:
    """Time `call` on what `make` gives for a fresh digest: no memo answers. The modelled suite
    has none, so one argument serves many calls, which a clock tells apart from its own cost."""
    if suite is MODELLED:
        benchmark(call, *make(digest(b"message")))
        return
    numbers = count()

    def setup() -> tuple[Any, dict[str, Any]]:
        arguments = make(digest(b"%d" % next(numbers)))
        vrf._encode_to_curve.cache_clear()
        return arguments, {}

    benchmark.pedantic(call, setup=setup, rounds=500)


@every_suite
def test_sign(benchmark: Benchmark, suite: Suite) -> None:
    measure(benchmark, suite, suite.signing_key(digest(b"key")).sign, lambda message: (message,))


@every_suite
def test_verify(benchmark: Benchmark, suite: Suite) -> None:
    key = suite.signing_key(digest(b"key"))
    measure(
        benchmark, suite, suite.verify, lambda message: (key.public, message, key.sign(message))
    )


@every_suite
def test_prove(benchmark: Benchmark, suite: Suite) -> None:
    measure(benchmark, suite, suite.vrf_key(digest(b"key")).prove, lambda alpha: (alpha,))


@every_suite
def test_vrf_verify(benchmark: Benchmark, suite: Suite) -> None:
    key = suite.vrf_key(digest(b"key"))
    measure(
        benchmark, suite, suite.vrf_verify, lambda alpha: (key.public, alpha, key.prove(alpha)[0])
    )
