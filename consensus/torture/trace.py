"""The trace of a torture scenario: the scenario, its servers, the timeline of all its heights, and
the violation that ended it. A record, and its form in JSON, which may come from anybody."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from consensus.encoding.node import Node
from consensus.simulation.checked_json import (
    BadTimeline,
    count,
    counts,
    items,
    maybe,
    members,
    parsed,
    text,
)
from consensus.simulation.layout import Layout
from consensus.simulation.timeline import HeightTimeline

FORMAT: Final = "bfedrec-trace-1"
MOST_HEIGHTS: Final = 64
"""Most heights of a scenario."""
MOST_SCENARIO: Final = 2**16
"""Longest text of a scenario, in characters."""
MOST_COMMAND: Final = 2**18
"""Longest command line, in characters: the scenario's text with whatever a shell needs."""
MOST_WHAT: Final = 2_000
"""Longest symptom of a violation, in characters."""
COUNTED: Final = ("faults", "behaviours", "branches", "clients")


@dataclass(frozen=True)
class Violated:
    """The violation that ended a scenario."""

    invariant: str
    what: str
    """The symptom, in a line."""
    at_us: int
    """Simulated microseconds."""
    height: int | None
    """The height that it names, or the last one that had begun."""
    servers: tuple[int, ...] = ()
    """The servers that it names, and the one at which it showed."""


@dataclass(frozen=True)
class Trace:
    """A scenario, played to its end."""

    scenario: str
    """The text that replays it."""
    command: str
    """The command line that replays it."""
    protocol: str
    premise: str
    rule: str
    """The rule that was switched off; empty for none."""
    layout: Layout
    heights: tuple[HeightTimeline, ...]
    """In their order; without figures."""
    violation: Violated | None
    """None if every invariant holds."""
    outside: bool
    """True if a committee formed outside of the premise: what depends on it is not judged."""
    simulated_us: int
    """Simulated microseconds at the end."""
    digest: str
    """Digest of all messages and blocks, hexadecimal."""
    counted: Mapping[str, Mapping[str, int]]
    """Counts of what each fault, behaviour of malicious servers, branch of the protocol and action
    of hostile clients came to, under ``faults``, ``behaviours``, ``branches`` and ``clients``."""

    def encode(self) -> str:
        """The text of a file that holds the trace: one line of JSON for every height."""
        node = self.to_node()
        heights = ",\n".join(height.line() for height in self.heights)
        head = json.dumps({**node, "heights": []}, allow_nan=False)
        assert head.endswith('"heights": []}')
        return f"{head[:-2]}\n{heights}\n]}}\n"

    def to_node(self) -> Node:
        """The trace as JSON-ready values, to be read by `from_node`; the heights come last."""
        violation = self.violation
        return {
            "format": FORMAT,
            "scenario": self.scenario,
            "command": self.command,
            "protocol": self.protocol,
            "premise": self.premise,
            "rule": self.rule,
            "layout": self.layout.to_node(),
            "violation": violation and {**vars(violation), "servers": list(violation.servers)},
            "outside": self.outside,
            "simulated": self.simulated_us,
            "digest": self.digest,
            "counted": {name: dict(found) for name, found in self.counted.items()},
            "heights": [height.to_node() for height in self.heights],
        }

    @classmethod
    def decode(cls, source: str) -> Trace:
        """The trace in a file's text; raises `BadTimeline`."""
        return cls.from_node(parsed(source))

    @classmethod
    def from_node(cls, node: object) -> Trace:
        """The trace that `to_node` gave; raises `BadTimeline` for anything else."""
        if not isinstance(node, dict) or node.get("format") != FORMAT:
            raise BadTimeline(f"not a trace: expected the format {FORMAT}")
        found = members(node, "trace", _KEYS)
        if type(found["outside"]) is not bool:
            raise BadTimeline("outside: expected true or false")
        counted = members(found["counted"], "counted", COUNTED)
        heights = [
            HeightTimeline.from_node(e) for e in items(found["heights"], "heights", MOST_HEIGHTS)
        ]
        if any(one.height >= other.height for one, other in pairwise(heights)):
            raise BadTimeline("heights: expected ascending heights")
        return cls(
            text(found["scenario"], "scenario", MOST_SCENARIO),
            text(found["command"], "command", MOST_COMMAND),
            text(found["protocol"], "protocol"),
            text(found["premise"], "premise"),
            text(found["rule"], "rule"),
            Layout.from_node(found["layout"]),
            tuple(heights),
            None if found["violation"] is None else _violated(found["violation"]),
            found["outside"],
            count(found["simulated"], "simulated"),
            text(found["digest"], "digest"),
            {name: counts(each, f"counted.{name}") for name, each in counted.items()},
        )


_KEYS: Final = (
    *("format", "scenario", "command", "protocol", "premise", "rule", "layout", "violation"),
    *("outside", "simulated", "digest", "counted", "heights"),
)


def _violated(node: object) -> Violated:
    found = members(node, "violation", tuple(Violated.__dataclass_fields__))
    return Violated(
        text(found["invariant"], "violation.invariant"),
        text(found["what"], "violation.what", MOST_WHAT),
        count(found["at_us"], "violation.at_us"),
        maybe(count, found["height"], "violation.height"),
        tuple(count(s, "violation.servers") for s in items(found["servers"], "servers", 1_000)),
    )
