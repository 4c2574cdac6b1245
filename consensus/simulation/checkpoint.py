"""The state of a world between two heights, beyond its chain and its clock: the servers that have
less than that chain, and the servers that hold contents which others may still ask for. A resumed
run begins with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from consensus.encoding.node import Node


@dataclass(frozen=True)
class ServerStanding:
    """The state of a server that has less than the whole chain, or may lose some of it in a
    crash."""

    index: int
    height: int
    """Height of its own chain."""
    written: int
    """Height up to which its chain survives a crash (`EdgeServer.written_height`)."""
    lacking: tuple[int, ...]
    """Heights of its chain whose aggregates it does not have yet."""


@dataclass(frozen=True)
class Standing:
    """The state of a world between two heights; empty if every server has the whole chain and none
    may crash."""

    servers: tuple[ServerStanding, ...] = ()
    """By ascending index."""
    holders: tuple[tuple[int, tuple[int, ...]], ...] = ()
    """(height, servers) for each aggregate that some server lacks: the servers that hold it."""

    def to_node(self) -> Node:
        """The state as plain lists and numbers, JSON-ready."""
        return {
            "servers": [[s.index, s.height, s.written, list(s.lacking)] for s in self.servers],
            "holders": [[height, list(servers)] for height, servers in self.holders],
        }

    @classmethod
    def from_node(cls, node: Mapping[str, Any]) -> Self:
        """The state from which `to_node` made ``node``."""
        return cls(
            tuple(
                ServerStanding(index, height, written, tuple(lacking))
                for index, height, written, lacking in node["servers"]
            ),
            tuple((height, tuple(servers)) for height, servers in node["holders"]),
        )
