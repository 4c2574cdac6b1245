"""Worlds under protocols whose one committee a height leads in rotation."""

from __future__ import annotations

from consensus.adversary.behaviour import Circle
from consensus.adversary.composed import Composed
from consensus.simulation.results import HeightResult
from tests.helpers.toy import Toy


def toy(protocol: str, seed: int = 0, servers: int = 7, **options: object) -> Toy:
    """A world whose servers all sit."""
    defaults = {"clients": 4, "committee_size": servers, "protocol": protocol}
    return Toy(servers=servers, seed=seed, crypto="modelled", **{**defaults, **options})  # type: ignore[arg-type]


def circle(names: tuple[str, ...], servers: tuple[int, ...]) -> dict[int, Composed]:
    """Malicious servers of one adversary."""
    shared = Circle(frozenset(servers))
    return {server: Composed(names, circle=shared) for server in servers}


def played(world: Toy, heights: int = 6) -> list[HeightResult]:
    """The results of so many heights."""
    return [world.play() for _ in range(heights)]
