"""The measurement: stores and sizes in a random order, new content each time, cold clients."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bfedrec.merchants.storage.places import Place
from bfedrec.merchants.storage.record import MB, Benchmark, StoreTimes
from bfedrec.streams import Streams
from consensus.storage.content import StoreError

SIZES: Final = (10_000, 100_000, MB, 4 * MB, 16 * MB, 64 * MB)
"""Bytes, from the 10 KB of the report's Figure 7 to 64 MB."""

Tell = Callable[[str], None]


class Unequal(StoreError):
    """Error: a store that gave other bytes than were put."""


def measure(
    places: Mapping[str, Place],
    absent: Mapping[str, str],
    repetitions: int,
    sizes: Sequence[int],
    seed: int,
    tell: Tell,
) -> Benchmark:
    """Measure all stores, ``repetitions`` times each size.

    In each repetition the cases (a store and a size) come in an order that the seed draws, so that
    no store has the quiet minutes. A store that fails is told of, and left out from there on.
    Content comes from the system's generator, so that nothing put before, here or in an earlier
    benchmark, is the same. Raises ValueError where no store is left.
    """
    streams = Streams(seed)
    gone = dict(absent)
    times: dict[str, dict[str, dict[int, list[float]]]] = {
        name: {act: {size: [] for size in sizes} for act in ("put", "get")} for name in places
    }

    def one(name: str, size: int) -> tuple[float, float] | None:
        try:
            return _once(places[name], size)
        except StoreError as error:
            gone[name] = str(error)
            tell(f"{name}: left out: {error}")
            return None

    for name in places:  # what is loaded at the first use is not the store's time
        one(name, sizes[0])
    for repetition in range(repetitions):
        cases = [(name, size) for name in places for size in sizes]
        order = streams.generator("storage_order", repetition).permutation(len(cases))
        for place in order.tolist():
            name, size = cases[place]
            found = None if name in gone else one(name, size)
            if found is not None:
                for act, seconds in zip(("put", "get"), found, strict=True):
                    times[name][act][size].append(seconds)
        tell(f"repetition {repetition + 1} of {repetitions}")
    stores = {
        name: StoreTimes(places[name].about, acts["put"], acts["get"])
        for name, acts in times.items()
        if name not in gone
    }
    if not stores:
        raise ValueError("no store is left to measure")
    return Benchmark(seed, repetitions, _machine(), stores, gone)


def _once(place: Place, size: int) -> tuple[float, float]:
    """Seconds of a put by a new client, and of the get by another new client."""
    data = os.urandom(size)
    place.renew()
    start = time.perf_counter()
    address = place.put(data)
    put = time.perf_counter() - start
    try:
        place.renew()
        start = time.perf_counter()
        found = place.get(address)
        get = time.perf_counter() - start
        if found != data:
            raise Unequal(f"{size:,} bytes came back as other bytes")
    finally:
        place.remove(address, data)
    return put, get


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
