"""The standing of a world between two heights, beyond its chain and its clock: the servers that
have less than that chain, and those that hold what the others may still ask for. A run that is
resumed begins with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class ServerStanding:
    """A server that has less than the chain, or may lose some of it in a crash."""

    index: int
    height: int
    """The height of its own chain."""
    written: int
    """The height up to which a crash takes nothing from it (`EdgeServer.written_height`)."""
    lacking: tuple[int, ...]
    """Heights of its chain whose aggregates it has not got yet."""


@dataclass(frozen=True)
class Standing:
    """The standing of a world between two heights. It is empty where all servers have all there
    is and none may crash."""

    servers: tuple[ServerStanding, ...] = ()
    """By ascending index."""
    holders: tuple[tuple[int, tuple[int, ...]], ...] = ()
    """By height: the servers that hold the aggregate of a block which others lack."""

    def to_node(self) -> dict[str, Any]:
        """As plain lists and numbers, JSON-ready."""
        return {
            "servers": [[s.index, s.height, s.written, list(s.lacking)] for s in self.servers],
            "holders": [[height, list(servers)] for height, servers in self.holders],
        }

    @classmethod
    def from_node(cls, node: Mapping[str, Any]) -> Self:
        """The standing that `to_node` gave."""
        return cls(
            tuple(
                ServerStanding(index, height, written, tuple(lacking))
                for index, height, written, lacking in node["servers"]
            ),
            tuple((height, tuple(servers)) for height, servers in node["holders"]),
        )
