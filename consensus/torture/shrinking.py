"""Shrinking of a scenario: a small scenario that still violates the same invariant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from consensus.encoding.node import Node
from consensus.torture.arena.scenario import Scenario

#: Fields that are set to their defaults if the scenario still violates the invariant.
PLAIN = (
    "hostile",
    "onset",
    "topology",
    "stakes",
    "committee",
    "size",
    "max_step",
    "quota",
    "latency",
    "settle",
    "vote",
    "ticket",
    "update",
    "resend",
    "incentives",
)


def shrink(scenario: Scenario, violates: Callable[[Scenario], bool], runs: int = 150) -> Scenario:
    """The smallest scenario, found in at most ``runs`` runs, for which ``violates`` is still true.

    Faults, malicious servers, behaviours, servers, heights and settings are removed as long as the
    violation remains.
    """
    left = runs
    progress = True
    while progress:
        progress = False
        for smaller in _smaller(scenario):
            if left == 0:
                return scenario
            left -= 1
            if violates(smaller):
                scenario, progress = smaller, True
                break
    return scenario


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Scenarios that are a little smaller, the largest reductions first."""
    if scenario.faults:
        yield replace(scenario, faults=())
    if scenario.malicious:
        yield replace(scenario, malicious=())
    for index in range(len(scenario.faults)):
        yield replace(scenario, faults=_without(scenario.faults, index))
    for index, (server, names) in enumerate(scenario.malicious):
        rest = _without(scenario.malicious, index)
        yield replace(scenario, malicious=rest)
        for name in names if len(names) > 1 else ():
            fewer = (server, tuple(other for other in names if other != name))
            yield replace(scenario, malicious=tuple(sorted((*rest, fewer))))
    yield from _with_less_corruption(scenario)
    for heights in range(1, scenario.heights):
        yield replace(scenario, heights=heights)
    if scenario.servers > 4:
        yield _with_fewer_servers(scenario)
    if scenario.clients > 1 + scenario.hostile:
        clients = scenario.clients - 1
        yield replace(scenario, clients=clients, quota=min(scenario.quota, clients))
    defaults = {field.name: field.default for field in fields(Scenario)}
    for name in PLAIN:
        plain: Mapping[str, Any] = {name: defaults[name]}
        if getattr(scenario, name) != defaults[name]:
            yield replace(scenario, **plain)


def _with_less_corruption(scenario: Scenario) -> Iterator[Scenario]:
    """Scenarios in which fewer servers are corrupted, at once, or to do less."""
    if not scenario.corruption:
        return
    yield replace(scenario, corruption="", corrupts=0, turning=0, turncoats=())
    for corrupts in range(1, scenario.corrupts):
        yield replace(scenario, corrupts=corrupts)
    for index in range(len(scenario.turncoats)):
        yield replace(scenario, turncoats=_without(scenario.turncoats, index))
    if scenario.turning:
        yield replace(scenario, turning=0)


def _without(items: tuple[Any, ...], index: int) -> tuple[Any, ...]:
    return items[:index] + items[index + 1 :]


def _with_fewer_servers(scenario: Scenario) -> Scenario:
    """The scenario without its last server, and with less than a third of them malicious."""
    servers = scenario.servers - 1
    size = scenario.size if 0 < scenario.size < servers else 0
    whole = min(size or servers, servers)
    malicious = tuple(entry for entry in scenario.malicious if entry[0] < servers)
    malicious = malicious[: (whole - 1) // 3]
    corrupts = min(scenario.corrupts, (whole - 1) // 3 - len(malicious))
    if scenario.corrupts and not corrupts:
        scenario = replace(scenario, corruption="", turning=0, turncoats=())
    return replace(
        scenario,
        corrupts=corrupts,
        servers=servers,
        size=size,
        stakes=scenario.stakes[:servers],
        malicious=malicious,
        faults=tuple(
            found for fault in scenario.faults if (found := _of_fewer(fault, servers)) is not None
        ),
    )


def _of_fewer(fault: Mapping[str, Any], servers: int) -> Mapping[str, Any] | None:
    """The fault restricted to the first ``servers``; None if it strikes none of them."""
    found: Node = {}
    for key, value in fault.items():
        if key == "partition":
            groups = [[server for server in group if server < servers] for group in value]
            groups = [group for group in groups if group]
            if not groups:
                return None
            found[key] = groups
        elif isinstance(value, list):
            kept = [server for server in value if server < servers]
            if not kept and key != "sees":
                return None
            found[key] = kept
        else:
            found[key] = value
    return found
