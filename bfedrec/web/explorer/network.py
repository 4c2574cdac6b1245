"""The page of a run's network: its servers as laid out, and their state at a height."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from starlette.responses import Response

from bfedrec.config.load import config_hash
from bfedrec.explorer.comparison import config_of
from bfedrec.explorer.network import Network
from bfedrec.explorer.timeline import Timeline
from bfedrec.runs.folder import RunError
from bfedrec.web.explorer.drawing import MOST_DRAWN, network_map, severed_links
from bfedrec.web.explorer.kept import Kept
from bfedrec.web.explorer.telling import called, fault, named
from bfedrec.web.explorer.visits import Visit
from consensus.simulation.layout import FaultFacts, Layout, Malice, Placed
from consensus.simulation.timeline import HeightTimeline

MOST_LINKS_LISTED: Final = 500
"""Most links in the table of links."""
NO_TIMELINE: Final = (
    "This run has no timeline.jsonl: a version that wrote none played it. Who was down or cut off, "
    "and what happened at a height, is seen after the same config is run again: bfedrec run "
    "config.yaml --out FOLDER"
)

_networks: Kept[tuple[str, int], Network] = Kept(8)
_timelines: Kept[Path, Timeline] = Kept(16)
_reading = threading.Lock()


@dataclass(frozen=True)
class ServerState:
    """One server as drawn and as told."""

    kind: str
    """``honest`` or ``malicious``."""
    down: bool
    off: bool
    acts: bool
    """True if it is the one that acts at the step that is shown."""
    quiet: bool
    """True if nothing was heard of it up to the step that is shown."""
    told: str


@dataclass(frozen=True)
class Now:
    """The state of a network in a time."""

    height: int | None = None
    """The height at which behaviours count; None: those of all heights."""
    down: frozenset[int] = frozenset()
    off: frozenset[int] = frozenset()
    faults: tuple[FaultFacts, ...] = ()
    acts: int | None = None
    heard: frozenset[int] | None = None
    """The servers of which something was heard; None: of all."""


def network_of(folder: Path) -> Network:
    """The network of a run's folder. Raises `RunError`."""
    config = config_of(folder)
    return _networks.get((config_hash(config), config.seed), lambda: Network(config))


def timeline_of(folder: Path, height: int | None) -> tuple[Sequence[int], HeightTimeline | None]:
    """The heights of a run that have a timeline, and the timeline of one of them; None where it is
    not there. Raises `RunError` for a file of something else."""
    with _reading:
        timeline = _timelines.get(folder, lambda: Timeline(folder))
        timeline.refresh()
        heights = tuple(timeline.heights)
        return heights, timeline.height(height) if height in heights and height else None


def parts_of(faults: Sequence[FaultFacts]) -> list[Mapping[int, int]]:
    """For every partition among some faults: the part of the network by server."""
    return [
        {server: part for part, group in enumerate(each.groups) for server in group.servers}
        for each in faults
        if each.groups
    ]


def states_of(layout: Layout, now: Now) -> list[ServerState]:
    """The state of each server."""
    return [_state(server, layout.region_name(server.region), now) for server in layout.servers]


def _state(server: Placed, region: str, now: Now) -> ServerState:
    names = names_at(server, now.height)
    down, off = server.index in now.down, server.index in now.off
    who = (
        f"Server {server.index}" if now.height is None else called(server, server.index, now.height)
    )
    if now.height is None and names:
        who += f" (malicious: {', '.join(names)})"
    told = f"{who}, region {region}, stake {server.stake:,}"
    told += ", down" if down else ""
    told += ", cut off" if off else ""
    acts = server.index == now.acts
    quiet = now.heard is not None and server.index not in now.heard
    return ServerState("malicious" if names else "honest", down, off, acts, quiet, told)


def names_at(server: Placed, height: int | None) -> tuple[str, ...]:
    """The behaviours of a server at a height; None: at any."""
    if height is None:
        return tuple(dict.fromkeys(malice.name for malice in server.malicious))
    return server.malicious_at(height)


def since(malice: Malice) -> str:
    """A behaviour with the heights of it."""
    told = malice.name if malice.first <= 1 else f"{malice.name}, from height {malice.first:,}"
    if malice.last is not None:
        told = f"{malice.name}, heights {malice.first:,} to {malice.last:,}"
    if malice.turns > 1:
        told += f", {malice.each:,} of every {malice.each * malice.turns:,} heights"
    return told


def drawing(layout: Layout, now: Now, stake_when: str = "") -> dict[str, object]:
    """The values of the drawing of a network and of its tables; ``stake_when``: words that say
    which stake is shown where it moves, with a space before."""
    eclipsed = {s for each in now.faults if each.name == "eclipse" for s in each.servers.servers}
    severed = severed_links(layout, now.down | eclipsed, parts_of(now.faults))
    states = states_of(layout, now)
    bad = [server for server in layout.servers if names_at(server, now.height)]
    stake = sum(server.stake for server in layout.servers)
    return {
        "map": network_map(layout, severed),
        "states": states,
        "severed": len(severed),
        "servers": layout.servers[:MOST_DRAWN],
        "total": len(layout.servers),
        "stake": stake,
        "stake_when": stake_when,
        "malicious": len(bad),
        "malicious_stake": sum(server.stake for server in bad),
        "links": None if layout.links is None else layout.links[:MOST_LINKS_LISTED],
        "link_count": len(layout.links or ()),
        "regions": [*map(layout.region_name, sorted({server.region for server in layout.servers}))],
        "region_name": layout.region_name,
        "words": bool(layout.region_names),
        "latencies": layout.latencies_us,
        "since": since,
        "faults": [fault(each, len(layout.servers)) for each in now.faults],
    }


def with_stakes(layout: Layout, held: Sequence[int]) -> Layout:
    """A layout with the stake that each server holds, by index."""
    servers = zip(layout.servers, held, strict=True)
    return replace(layout, servers=tuple(replace(each, stake=stake) for each, stake in servers))


def _staked(visit: Visit, folder: Path, layout: Layout, height: int | None) -> tuple[Layout, str]:
    """The layout of a run with the stake as a height begins, and words that say so; as it is where
    stake does not move. Raises `RunError` for a height that the chain has not reached."""
    if not config_of(folder).ledger.incentives.on:
        return layout, ""
    held = visit.explorer.chains.of(folder).stakes(height) if height else None
    if held is None or len(held) != len(layout.servers):
        return layout, " in the genesis"
    return with_stakes(layout, held), f" as height {height:,} begins"


def show(visit: Visit) -> Response:
    """The network of a run; ``height``: with the state at that height."""
    folder = visit.place()
    layout = network_of(folder).layout
    if not visit.explorer.catalogue.run(visit.path).ledger:
        raise RunError(f"{visit.path}: it was learnt without a ledger: there were no servers")
    asked = visit.asked("height", 12).strip()
    height = int(asked) if asked.isascii() and asked.isdigit() and int(asked) else None
    problem = f"{asked[:12]!a} is no height." if asked and height is None else ""
    heights: Sequence[int] = ()
    timeline = None
    try:
        heights, timeline = timeline_of(folder, height)
    except RunError as error:
        problem = str(error)
    if height is not None and heights and timeline is None:
        problem = f"There is no timeline of height {height:,}."
    now = Now(height)
    if timeline is not None:
        active = tuple(
            each for each in layout.faults if each.active(timeline.began_us, timeline.ended_us)
        )
        off = frozenset(timeline.cut_off.servers)
        now = Now(height, frozenset(timeline.down.servers), off, active)
    when = ""
    try:
        layout, when = _staked(visit, folder, layout, height)
    except RunError as error:
        problem, when = problem or str(error), " in the genesis"
    values = {
        **drawing(layout, now, when),
        "asked": asked,
        "height": height,
        "heights": heights,
        "timeline": timeline,
        "problem": problem or ("" if heights else NO_TIMELINE),
        "named": named,
        "all_faults": [fault(each, len(layout.servers)) for each in layout.faults],
    }
    return visit.page("network.html", values)
